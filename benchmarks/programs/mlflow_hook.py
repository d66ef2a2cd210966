"""What a run costs in this folder, and what MLflow's asking our provider costs. Prints two numbers: milliseconds.

Argument: how many runs. A tracking store of sqlite in this folder; the first runs are not counted.
"""

import statistics
import sys
import time

import mlflow

from databom.mlflow import RunContext

mlflow.set_tracking_uri("sqlite:///mlflow.db")
runs = int(sys.argv[1])


def one() -> float:
    begin = time.perf_counter()
    with mlflow.start_run():
        mlflow.log_metric("loss", 0.5)
    return (time.perf_counter() - begin) * 1000


for _ in range(3):
    one()
whole = statistics.median(one() for _ in range(runs))
provider = RunContext()
begin = time.perf_counter()
for _ in range(200):
    if provider.in_context():
        provider.tags()
print(whole, (time.perf_counter() - begin) * 1000 / 200)
