"""Training programs that never mention databom, and the ways to begin a run that they go."""

from __future__ import annotations

FIVE_LINES = """\
import mlflow
with mlflow.start_run() as run:
    mlflow.log_param("depth", 3)
    mlflow.log_metric("accuracy", 0.5)
print(run.info.run_id)
"""

EVERY_WAY = '''\
"""Begin runs in every way there is; leave their ids in runs.json."""
import json, os, sys, threading
import mlflow
from mlflow import MlflowClient, start_run as early_bound
from mlflow.tracking.context.registry import resolve_tags

runs = {}
client = MlflowClient()

# A bare client, as the very first thing: no context provider is asked.
run = client.create_run("0")
runs["client"] = run.info.run_id
client.log_param(run.info.run_id, "p", 1)
client.set_terminated(run.info.run_id)

run = client.create_run("0", None, {"mine": "1"}, "positional")
runs["client ended by update_run"] = run.info.run_id
client.update_run(run.info.run_id, status="FAILED")

# Lightning's MLFlowLogger
run = client.create_run(experiment_id="0", tags=resolve_tags({"mlflow.runName": "lightning"}))
runs["lightning"] = run.info.run_id
client.log_metric(run.info.run_id, "loss", 0.1)
client.set_terminated(run.info.run_id, "FINISHED")

# Transformers' MLflowCallback
mlflow.start_run(run_name="transformers")
runs["transformers"] = mlflow.active_run().info.run_id
mlflow.log_params({f"p{i}": i for i in range(200)}, synchronous=False)
mlflow.end_run()

with mlflow.start_run() as run:
    runs["fluent"] = run.info.run_id

with early_bound() as run:
    runs["early bound, parent"] = run.info.run_id
    for child in ("nested", "second nested"):
        with mlflow.start_run(nested=True) as run:
            runs[child] = run.info.run_id

mlflow.log_metric("implicit", 1)
runs["implicit"] = mlflow.active_run().info.run_id
mlflow.end_run()

def in_a_thread(name):
    with mlflow.start_run() as run:
        runs[name] = run.info.run_id
        mlflow.log_metric("m", 1)
threads = [threading.Thread(target=in_a_thread, args=(f"thread {i}",)) for i in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()

try:
    with mlflow.start_run() as run:
        runs["raises"] = run.info.run_id
        raise ValueError("training broke")
except ValueError:
    pass

if hasattr(os, "fork"):
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with mlflow.start_run() as run:
            os.write(write, run.info.run_id.encode())
        os._exit(0)
    os.waitpid(child, 0)
    runs["forked"] = os.read(read, 100).decode()

if "sklearn" in sys.argv:
    import mlflow.sklearn
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    mlflow.sklearn.autolog(log_models=False, max_tuning_runs=2)
    before = {run.info.run_id for run in client.search_runs(["0"])}
    X, y = load_iris(return_X_y=True)
    GridSearchCV(LogisticRegression(max_iter=200), {"C": [0.1, 1]}, cv=2).fit(X, y)
    mlflow.sklearn.autolog(disable=True)
    new = [run for run in client.search_runs(["0"]) if run.info.run_id not in before]
    for number, run in enumerate(new):
        is_child = "mlflow.parentRunId" in run.data.tags
        runs[f"grid search child {number}" if is_child else "grid search parent"] = run.info.run_id

mlflow.start_run()
runs["left open"] = mlflow.active_run().info.run_id
runs["client left open"] = client.create_run("0").info.run_id
with open("runs.json", "w") as file:
    json.dump(runs, file)
'''

WORKERS = '''\
"""Begin a run, and at once workers that begin and end two runs each; print every run's id."""
import multiprocessing, sys
import mlflow

def work(number):
    ids = []
    for _ in range(2):
        with mlflow.start_run() as run:
            mlflow.log_param("worker", number)
            ids.append(run.info.run_id)
    return ids

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with mlflow.start_run() as run:
        with context.Pool(2) as pool:
            found = pool.map(work, range(2), chunksize=1)
            pool.close()
            pool.join()
    print(run.info.run_id, *[one for ids in found for one in ids])
'''

LAST_WORDS = """\
import mlflow
with mlflow.start_run() as run:
    print("run", run.info.run_id, flush=True)
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("weights", "model.txt")
    mlflow.log_param("depth", 3)  # the last thing that the server hears
    for attempt in range(2):
        try:
            mlflow.log_metric("accuracy", attempt)
        except Exception as error:
            print("not logged:", type(error).__name__, flush=True)
print("never said: the end of the run raises")
"""
