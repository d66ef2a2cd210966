"""G12: forked and spawned workers, threads, asyncio, the ranks of a launcher: one receipt a run, by one process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from databom._forks import ForkLock
from support.house import databom
from support.programs import WORKERS
from support.receipts import internal_of, left_in, logged, statement_of
from support.tracking import PATIENCE_SECONDS, environment

pytestmark = pytest.mark.mlflow


@pytest.fixture(autouse=True)
def first_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def runs_of(project: Path) -> list[str]:
    """The runs that the log has receipts of, once for each receipt."""
    return [
        statement_of(raw)["predicate"]["runDetails"]["metadata"]["invocationId"].removeprefix("mlflow:")
        for raw in logged(project)
    ]


def start(code: str, project: Path, env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    script = project / "train.py"
    script.write_text(code)
    return subprocess.Popen(
        [sys.executable, "train.py", *arguments],
        cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_g12_workers(how: str, project: Path, metadata: Path, store: str) -> None:
    """Workers are forked while databom's own threads are at work, and each begins runs of its own."""
    env = environment(metadata, MLFLOW_TRACKING_URI=store)
    ids = finish(start(WORKERS, project, env, how)).split()
    assert len(ids) == len(set(ids)) == 5
    databom("log", "flush", cwd=project, MLFLOW_TRACKING_URI=store)
    assert sorted(runs_of(project)) == sorted(ids)
    assert {internal_of(raw)["status"] for raw in logged(project)} == {"completed"}
    assert left_in(project, "open") == left_in(project, "pending") == []


RANKED = """\
import os, sys, mlflow
with mlflow.start_run() as run:  # MLFLOW_RUN_ID names it, as a launcher does
    mlflow.log_metric("rank", int(os.environ["RANK"]))
"""


def test_g12_ranks_of_a_launcher(project: Path, metadata: Path, store: str) -> None:
    """Three processes with what torchrun, Accelerate and Ray Train set, at once, in one run."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    run_id = client.create_run("0").info.run_id
    env = environment(metadata, MLFLOW_TRACKING_URI=store, MLFLOW_RUN_ID=run_id, WORLD_SIZE="3")
    ranks = [start(RANKED, project, {**env, "RANK": str(n), "LOCAL_RANK": str(n)}) for n in range(3)]
    for one in ranks:
        finish(one)
    databom("log", "flush", cwd=project, MLFLOW_TRACKING_URI=store)
    assert runs_of(project) == [run_id]
    assert left_in(project, "open") == left_in(project, "pending") == []
    assert {one.value for one in client.get_metric_history(run_id, "rank")} == {0.0, 1.0, 2.0}


def test_g12_tasks_of_an_event_loop(inside: Path) -> None:
    """Runs of a bare client that begin and end in each other's middle."""
    from mlflow.tracking import MlflowClient

    client, ids = MlflowClient(), []

    async def train(number: int) -> None:
        run_id = client.create_run("0").info.run_id
        ids.append(run_id)
        await asyncio.sleep(0)
        client.log_param(run_id, "number", number)
        await asyncio.sleep(0)
        client.set_terminated(run_id)

    async def everything() -> None:
        await asyncio.gather(*map(train, range(3)))

    asyncio.run(everything())
    assert sorted(runs_of(inside)) == sorted(ids)


def our_locks() -> Iterator[ForkLock]:
    from databom._forks import _all

    return iter(list(_all))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_g12_no_lock_is_carried_into_a_forked_child(inside: Path) -> None:
    """Every lock of ours is held by another thread at the moment of the fork, and a job is at work."""
    from databom.mlflow import place, runs, warn
    from databom.tasks.use import snapshot

    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in our_locks():
                stack.enter_context(lock)
            held.set()
            let_go.wait(PATIENCE_SECONDS)

    assert len(list(our_locks())) >= 5
    runs._state.ledgers.submit(lambda: let_go.wait(PATIENCE_SECONDS) and None)
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(PATIENCE_SECONDS)
    child = os.fork()
    if child == 0:
        _in_child(lambda: (place.find(), warn.once("x"), snapshot(inside), runs._state.records()))
    let_go.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    done = threading.Event()
    runs._state.ledgers.submit(done.set)
    assert done.wait(PATIENCE_SECONDS)


def _in_child(work: Callable[[], Any]) -> None:
    """Do it in a forked child, which ends itself if that takes for ever."""
    import signal

    signal.alarm(20)
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_g12_no_lock_file_is_carried_into_a_forked_child(inside: Path) -> None:
    """A worker that outlives its parent must not make the parent's open runs look alive."""
    import mlflow

    def owners() -> list[str]:
        names = []
        for name in os.listdir("/proc/self/fd"):
            try:
                names.append(os.readlink(f"/proc/self/fd/{name}"))
            except OSError:
                continue
        return [one for one in names if "/receipts/owners/" in one]

    with mlflow.start_run():
        assert [one for one in owners() if one.startswith(str(inside))]
        child = os.fork()
        if child == 0:
            os._exit(len(owners()))
        assert os.waitpid(child, 0)[1] == 0
