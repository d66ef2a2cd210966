"""The oldest MLflow we promise, and mlflow-skinny: in environments of their own, made by uv.

Only where DATABOM_TEST_MLFLOW_MATRIX=1 says so (CI does): each environment is some 60 packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from support.programs import EVERY_WAY
from support.tracking import REPOSITORY, environment, run_python, train_and_deliver

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("DATABOM_TEST_MLFLOW_MATRIX") != "1", reason="DATABOM_TEST_MLFLOW_MATRIX=1 is not set"
    ),
]

MATRIX = {
    # SQLAlchemy 2.1 dropped a name that MLflow 2 imports; setuptools 81 the pkg_resources of its dependencies.
    "oldest": ("mlflow==2.22.4", "sqlalchemy<2.1", "setuptools<81", "scikit-learn"),
    "skinny": ("mlflow-skinny",),
}


def make_python(folder: Path, row: str) -> str:
    """Make an environment with a row of the matrix and databom's own dependencies; gives its interpreter."""
    uv = shutil.which("uv")
    assert uv, "the matrix needs uv"
    dependencies = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", "3.11", str(folder)], check=True, timeout=120)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, *dependencies, *MATRIX[row]],
        check=True,
        timeout=600,
    )
    return python


READ_BACK = """\
import json, sys, mlflow, mlflow.data
sys.path.insert(0, {tests!r})
from support.tracking import WHOLE, artifacts, databom_tags
client, runs = mlflow.MlflowClient(), json.load(open("runs.json"))
assert len(runs) >= 15, runs
for way, run_id in runs.items():
    run = client.get_run(run_id)
    tags = databom_tags(run)
    assert tags["databom.verdict"] == "pass", (way, tags)
    assert tags["databom.bom"].startswith("sha256:"), way
    assert len(artifacts(client, run_id)) == (4 if way == "client left open" else WHOLE), way
    (mine,) = [one for one in run.inputs.dataset_inputs if one.dataset.name == "pack"]
    assert type(mlflow.data.get_source(mine)).__name__ == "DatabomSource", way
"""

ENFORCE = """\
import mlflow, databom, databom.mlflow
databom.mlflow.autolog(mode="enforce")
before = len(mlflow.MlflowClient().search_runs(["0"]))
for start in (mlflow.start_run, lambda: mlflow.MlflowClient().create_run("0")):
    try:
        start()
    except databom.CheckFailed:
        continue
    raise AssertionError("a run on bad data was created")
assert len(mlflow.MlflowClient().search_runs(["0"])) == before
"""


@pytest.mark.parametrize("row", MATRIX)
def test_every_way_by_this_version(
    row: str, tmp_path: Path, project: Path, metadata: Path, request: pytest.FixtureRequest
) -> None:
    """Every way to begin a run, read back by that very version; and enforce.

    The oldest writes to sqlite, skinny (no SQLAlchemy, pandas or numpy) to a server.
    """
    python = make_python(tmp_path / "environment", row)
    store = f"sqlite:///{project}/mlflow.db" if row == "oldest" else request.getfixturevalue("server")
    env = environment(metadata, MLFLOW_TRACKING_URI=store)
    train_and_deliver(
        EVERY_WAY, project, env, python=python, arguments=("sklearn",) if row == "oldest" else ()
    )
    done = run_python(READ_BACK.format(tests=str(REPOSITORY / "tests")), project, env, python=python)
    assert done.returncode == 0, done.stderr
    (project / "data/pack/labels.csv").write_text("changed\n")
    done = run_python(ENFORCE, project, env, python=python)
    assert done.returncode == 0, done.stderr
