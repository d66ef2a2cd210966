"""I05: a run that is killed. What its tags say of the data is in the end what its receipt says, or worse."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from support.house import House
from support.receipts import internal_of, logged
from support.tracking import databom_tags, environment, run_id_of, run_python, train_and_deliver

pytestmark = pytest.mark.mlflow

VERDICT = "databom.verdict"
BEGIN = """\
import mlflow, os, signal, sys, time
run = mlflow.start_run(run_id=os.environ.get("RESUMED"))
print(run.info.run_id, flush=True)
end = time.monotonic() + 60
while mlflow.get_run(run.info.run_id).data.tags.get("databom.verdict") != os.environ["AWAITED"]:
    assert time.monotonic() < end
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture(autouse=True)
def first_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "RESUMED"):
        monkeypatch.delenv(name, raising=False)


def killed(project: Path, metadata: Path, store: str, verdict: str) -> str:
    """A run that is killed as soon as it says `verdict` of its data; its id."""
    env = environment(metadata, MLFLOW_TRACKING_URI=store, AWAITED=verdict)
    done = run_python(BEGIN + KILL, project, env)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return run_id_of(done)


def tags(run_id: str, store: str) -> dict[str, str]:
    from mlflow.tracking import MlflowClient

    return databom_tags(MlflowClient(store).get_run(run_id))


def flushed(house: House, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    house.ok("log", "flush")


def last_receipt(project: Path) -> tuple[str, str]:
    internal = internal_of(logged(project)[-1])
    return internal["status"], internal["verdict"]


def test_what_a_killed_run_said_is_taken_back(
    house: House, store: str, metadata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said `pass` when it began; that nothing changed until its end, nobody looked."""
    run_id = killed(house.project, metadata, store, "pass")
    assert tags(run_id, store)[VERDICT] == "pass"
    flushed(house, store, monkeypatch)
    assert last_receipt(house.project) == ("aborted", "unverified")
    assert tags(run_id, store)[VERDICT] == "unverified"
    answer = house.json("log", "verify", "--run", run_id)
    assert (answer.code, answer.blocking) == (0, set())
    house.ok("log", "flush")
    assert tags(run_id, store)[VERDICT] == "unverified"


def test_the_next_run_takes_it_back_too(house: House, store: str, metadata: Path) -> None:
    run_id = killed(house.project, metadata, store, "pass")
    env = environment(metadata, MLFLOW_TRACKING_URI=store, AWAITED="pass")
    train_and_deliver(BEGIN, house.project, env)
    end = time.monotonic() + 60
    while "databom.receipt" not in tags(run_id, store):
        assert time.monotonic() < end
        train_and_deliver(BEGIN, house.project, env)
    assert tags(run_id, store)[VERDICT] == "unverified"


def test_a_no_stays_a_no(house: House, store: str, metadata: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its receipt knows nothing of it, and nobody is accused of an edit. A run that is resumed keeps it, too."""
    (house.project / "data/pack/labels.csv").write_bytes(b"dog,cat\n")
    run_id = killed(house.project, metadata, store, "fail")
    flushed(house, store, monkeypatch)
    assert last_receipt(house.project) == ("aborted", "unverified")
    assert tags(run_id, store)[VERDICT] == "fail"
    assert house.json("log", "verify", "--run", run_id).code == 0
    assert house.cli("sync", "pack").code == 1
    house.ok("sync", "pack", "--refetch")
    env = environment(metadata, MLFLOW_TRACKING_URI=store, AWAITED="fail", RESUMED=run_id)
    train_and_deliver(BEGIN, house.project, env)
    assert tags(run_id, store)[VERDICT] == "fail"


def test_a_killed_run_that_is_resumed_says_what_its_last_receipt_says(
    house: House, store: str, metadata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    run_id = killed(house.project, metadata, store, "pass")
    MlflowClient(store).set_tag(
        run_id, VERDICT, "none"
    )  # so that the `pass` awaited is that of the second process
    env = environment(metadata, MLFLOW_TRACKING_URI=store, AWAITED="pass", RESUMED=run_id)
    # As another process's delivery of the first receipt would, meanwhile.
    late = "mlflow.MlflowClient().set_tag(run.info.run_id, 'databom.verdict', 'unverified')\n"
    train_and_deliver(BEGIN + late, house.project, env)
    flushed(house, store, monkeypatch)
    assert last_receipt(house.project) == ("completed", "pass")
    assert tags(run_id, store)[VERDICT] == "pass"
    assert house.json("log", "verify", "--run", run_id).blocking == set()
