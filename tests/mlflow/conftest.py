"""Projects with pins, made by the real verbs; stores and servers; a databom that has forgotten the last test."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.house import House
from support.tracking import Switchboard, forget, make_metadata, mlflow_server

FILES = {"images/cat.jpg": b"a cat\n", "images/dog.jpg": b"a dog, longer\n", "labels.csv": b"cat,dog\n"}


@pytest.fixture(scope="session", autouse=True)
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """databom's entry points as pyproject.toml has them, found before those of an older installation.

    MLflow reads them once. A test that made it do so before these were in place does no harm where they are the same.
    """
    installed = _entry_points()
    folder = make_metadata(tmp_path_factory.mktemp("metadata"))
    sys.path.insert(0, str(folder))
    assert "mlflow.tracking" not in sys.modules or installed == _entry_points()
    return folder


def _entry_points() -> set[tuple[str, str, str]]:
    return {
        (one.group, one.name, one.value)
        for one in importlib.metadata.distribution("databom").entry_points
        if one.group.startswith("mlflow.")
    }


@dataclass(frozen=True)
class Market:
    """A marketplace: a signed release in a folder, and its key."""

    manifest: Path
    key: Path


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory, metadata: Path) -> Market:
    from databom.tasks import new_key, publish

    folder = tmp_path_factory.mktemp("market")
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    key = tmp_path_factory.mktemp("key") / "market.pem"
    new_key(key)
    fields = {
        "dataset_id": "hn-imagepack",
        "version": "2026-01-10",
        "creator_id": "creator:alice",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0"},
        "payment": {"model": "one-time", "transaction_id": "txn_7"},
    }
    publish(folder, key=key, fields=fields, output=folder / "manifest.json")
    return Market(folder / "manifest.json", key)


@pytest.fixture(scope="session")
def make_project(market: Market) -> Callable[..., Path]:
    """Make a project whose pins are fetched and verified."""
    from databom.tasks import add, init, sync, trust_add

    def make(folder: Path, *names: str, synced: bool = True) -> Path:
        init(folder)
        trust_add(
            market.key.with_suffix(".pem.pub"), marketplace="human-native", datasets=["hn-*"], project=folder
        )
        for name in names or ("pack",):
            add(str(market.manifest), name=name, project=folder)
        if synced:
            sync(project=folder).require()
        return folder

    return make


@pytest.fixture
def project(tmp_path: Path, make_project: Callable[..., Path]) -> Path:
    """A project with one pin, `pack`, verified."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory, metadata: Path) -> Path:
    """A sqlite store MLflow has made its tables in: that takes seconds, so it is done once and copied."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    """As `store`, for what the tests of a module have in common."""
    return new_store(tmp_path_factory.mktemp("shared"), empty_store)


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> str:
    """The URI of a fresh sqlite store whose artifacts go beside it."""
    return new_store(tmp_path / "store", empty_store)


def new_store(folder: Path, empty_store: Path) -> str:
    """A fresh sqlite store with one experiment, `0`'s artifacts beside it."""
    import sqlite3

    folder.mkdir(exist_ok=True)
    shutil.copy(empty_store, folder / "mlflow.db")
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("UPDATE experiments SET artifact_location = ?", ((folder / "artifacts").as_uri(),))
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real tracking server."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def board(server: str) -> Iterator[Switchboard]:
    """A way to the real server that can be made to fail."""
    switchboard = Switchboard(server)
    yield switchboard
    switchboard.close()


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """databom.mlflow in this process, with nothing left of an earlier test and nothing left for a later one."""
    import mlflow

    import databom.mlflow
    from databom.mlflow import wraps

    for name in [name for name in os.environ if name.startswith(("DATABOM_", "DVC_", "MLFLOW_RUN"))]:
        monkeypatch.delenv(name)
    forget()
    assert wraps.install()
    before = mlflow.get_tracking_uri() if mlflow.tracking.is_tracking_uri_set() else None
    yield databom.mlflow
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)  # None: nobody has named one, which databom tells apart
    forget()


@pytest.fixture
def inside(project: Path, store: str, door: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is the project, the tracking store an empty one."""
    import mlflow

    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(store)
    return project


@pytest.fixture
def house(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> House:
    """The command line, in that project."""
    (tmp_path / "house").mkdir()
    made = House(tmp_path / "house", monkeypatch, capfd)
    made.project = inside
    monkeypatch.chdir(inside)
    return made
