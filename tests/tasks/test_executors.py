"""Hashing elsewhere: the same report by any executor, workers that die, clusters that go away."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
import trustme

from databom import __version__
from databom.checks.integrity import check_integrity
from databom.errors import ConfigError, DatabomError, PluginError, UnreachableError
from databom.model.finding import Report, Subject
from databom.storage.reader import open_reader
from databom.storage.tree import LocalTree
from databom.tasks.executors import Cluster, adapted, executor_at
from databom.tasks.verifying import verify
from support.daskteam import DaskTeam
from support.fixtures_r2 import FaultyBucket
from support.house import House
from support.trees import manifest_of, plant

MANY = {f"d{i % 7}/{i:04}.bin": os.urandom(70_000) for i in range(160)} | {
    f"s/{i:04}": b"%d" % i for i in range(900)
}
"""Files that are a task each, and enough small ones for some batches."""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskTeam]:
    with DaskTeam(tmp_path_factory.mktemp("dask")) as team:
        team.worker(threads=2)
        yield team


# --- by name -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "dask",
            "dask://",
            "dask://host",
            "dask://host:0",
            "dask://host:99999",
            "dask://user:pw@host:1",
        ),
        *("tcp://host:1", "ray://host:1", "threads", "threads:", "threads:x", "threads:-1", "fork:2"),
        *("dask://host:1/path", "dask://host:1\n", "processes:2 ", "inproc://x", "module:function"),
    ],
)
def test_an_executor_that_is_not_on_the_list_is_a_usage_error(url: str) -> None:
    with pytest.raises(ConfigError, match="--executor") as refused, executor_at(url):
        pass
    assert "dask://HOST:PORT" in (refused.value.hint or "")


@pytest.mark.parametrize("url", ["threads:0", "processes:0", "threads:999"])
def test_a_number_out_of_bounds_is_a_usage_error(url: str) -> None:
    with pytest.raises(ConfigError, match="asks for"), executor_at(url):
        pass


@pytest.mark.parametrize("url", ["threads:3", pytest.param("processes:2", marks=pytest.mark.slow)])
def test_the_command_line_gives_the_same_bytes_by_any_executor(house: House, url: str) -> None:
    house.pinned("--no-dvc")
    house.ok("sync")
    for change in (None, house.data / "images/cat1.jpg"):
        if change is not None:
            change.unlink()
            change.write_bytes(b"a rat\n")
        plain = house.json("verify", "pets")
        there = house.json("verify", "pets", "--executor", url)
        assert (there.code, there.out) == (plain.code, plain.out)
        plain, there = house.json("check"), house.json("check", "--executor", url)
        assert (there.code, there.out) == (plain.code, plain.out)
        assert there.code == (0 if change is None else 1)


def test_the_command_line_refuses_what_it_does_not_know(house: House) -> None:
    house.pinned("--no-dvc")
    answer = house.cli("verify", "--executor", "ray://host:10001")
    assert answer.code == 2
    assert "dask://HOST:PORT" in answer.err


def test_without_dask_the_command_line_names_the_extra(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.pinned("--no-dvc")
    monkeypatch.setitem(sys.modules, "distributed", None)
    answer = house.cli("verify", "--executor", "dask://localhost:8786")
    assert answer.code == 2
    assert "databom[dask]" in answer.err


def test_an_executor_of_another_library_stays_what_it_is() -> None:
    with executor_at("threads:1") as threads:
        assert adapted(threads) is threads
    assert adapted(None) is None


# --- Dask ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_dask_over_tls_gives_the_same_bytes(house: House, tmp_path: Path) -> None:
    """By the certificates of Dask's own configuration; whoever has none is not let in."""
    authority = trustme.CA()
    files = {name: tmp_path / f"{name}.pem" for name in ("ca-file", "cert", "key")}
    leaf = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(files["ca-file"]))
    leaf.cert_chain_pems[0].write_to_path(str(files["cert"]))
    leaf.private_key_pem.write_to_path(str(files["key"]))
    pair = {"cert": str(files["cert"]), "key": str(files["key"])}
    tls = "distributed.comm.tls"
    mine = {f"{tls}.ca-file": str(files["ca-file"])} | {
        f"{tls}.{role}.{what}": path
        for role in ("client", "scheduler", "worker")
        for what, path in pair.items()
    }
    theirs = {
        f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": path for key, path in mine.items()
    } | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    house.pinned("--no-dvc")
    house.ok("sync")
    plain = house.json("verify", "pets")
    with dask.config.set(mine), DaskTeam(tmp_path, theirs, protocol="tls") as team:
        team.worker()
        assert team.url.startswith("dask+tls://127.0.0.1:")
        there = house.json("verify", "pets", "--executor", team.url)
        assert (there.code, there.out) == (0, plain.out)
        assert house.json("verify", "pets", "--executor", team.url.replace("+tls", "")).code == 3
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
        for nobody in (
            {f"{tls}.client.cert": None, f"{tls}.client.key": None},
            {f"{tls}.ca-file": str(tmp_path / "other.pem")},
        ):
            with dask.config.set(nobody):
                assert house.json("verify", "pets", "--executor", team.url).code == 3


@pytest.mark.slow
def test_dask_by_url_and_by_client_gives_the_same_bytes(house: House, team: DaskTeam) -> None:
    house.pinned("--no-dvc")
    house.ok("sync")
    plain = house.json("verify", "pets")
    there = house.json("verify", "pets", "--executor", team.url)
    assert (there.code, there.out) == (0, plain.out)
    with team.client() as client:
        report = verify("pets", project=house.project, executor=client.get_executor())
    assert report.to_json() == plain.out
    (house.data / "images/dog1.jpg").write_bytes(b"a wolf in here")
    plain = house.json("check")
    there = house.json("check", "--executor", team.url)
    assert (there.code, there.out) == (1, plain.out)
    assert "integrity.mismatch" in there.codes


def _report(manifest: Any, reader: Any, **options: Any) -> str:
    answer = check_integrity(manifest, reader, **options)
    return Report(Subject(), answer.findings, answer.summary).to_json()


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_nothing_of_a_local_tree(tmp_path: Path) -> None:
    plant(tmp_path / "data", MANY)
    (tmp_path / "data" / "d0" / "0007.bin").write_bytes(b"other")
    manifest, tree = manifest_of(MANY), LocalTree(tmp_path / "data")
    with DaskTeam(tmp_path) as team:
        victim, _ = team.worker(), team.worker()
        told: list[int] = []

        def kill_one(done: int, _bytes: int) -> None:
            if done and not any(told):
                os.kill(victim, signal.SIGKILL)
            told.append(done)

        with executor_at(team.url) as executor:
            there = _report(manifest, tree, executor=executor, progress=kill_one)
        with team.client() as client:
            assert len(client.nthreads()) == 1
    assert there == _report(manifest, tree)
    assert told[-1] == len(MANY)


@pytest.mark.slow
@pytest.mark.s3
def test_a_worker_killed_in_the_middle_changes_nothing_of_a_bucket(
    tmp_path: Path, faulty_bucket: FaultyBucket
) -> None:
    files = {path: MANY[path] for path in sorted(MANY)[:150]}
    for path, data in files.items():
        faulty_bucket.put(path, data)
    faulty_bucket.put("d0/0007.bin", b"other")
    manifest, reader = manifest_of(files), open_reader(faulty_bucket.location)
    with DaskTeam(tmp_path) as team:  # its workers have this process's credentials, in their own environment
        victim, _ = team.worker(), team.worker()
        killed: list[int] = []

        def kill_one(done: int, _bytes: int) -> None:
            if done and not killed:
                killed.append(victim)
                os.kill(victim, signal.SIGKILL)

        with executor_at(team.url) as executor:
            there = _report(manifest, reader, executor=executor, progress=kill_one)
    assert killed
    assert there == _report(manifest, reader)
    assert '"integrity.size"' in there


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_folder_could_not_answer(tmp_path: Path, team: DaskTeam) -> None:
    files = {f"{i}": b"x" for i in range(3)}
    plant(tmp_path / "data", files)
    with executor_at(team.url) as executor:
        answer = check_integrity(manifest_of(files), Elsewhere(tmp_path / "data"), executor=executor)
    assert {finding.code for finding in answer.findings} == {"storage.unreachable"}
    assert "does not see this folder" in answer.findings[0].what
    assert "mount it" in (answer.findings[0].do or "")
    assert answer.summary.checked == 0


class Elsewhere(LocalTree):
    """A tree that another machine does not have."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (LocalTree, (self.root / "not-mounted",))


@pytest.mark.slow
@pytest.mark.parametrize("url", ["dask://127.0.0.1:1", "dask+tls://127.0.0.1:1"])
def test_a_client_that_found_nobody_is_closed_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the collector comes to it while the next one is made, and its finalizer waits for that one's lock."""
    from distributed import Client

    monkeypatch.setattr("databom.tasks.executors.CONNECT_SECONDS", 1)
    gc.disable()
    try:
        with pytest.raises(DatabomError) as refused, executor_at(url):
            pass
        assert refused.value.__cause__ is not None
        left = [one for one in gc.get_objects() if isinstance(one, Client) and one.status != "closed"]
        assert left == []
    finally:
        gc.enable()


def test_nobody_at_the_address_is_exit_3(house: House) -> None:
    house.pinned("--no-dvc")
    answer = house.cli("verify", "--executor", "dask://127.0.0.1:9")
    assert answer.code == 3
    assert "does not answer" in answer.err


@pytest.mark.slow
def test_a_scheduler_without_workers_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("databom.tasks.executors.CONNECT_SECONDS", 2)
    with (
        DaskTeam(tmp_path) as team,
        pytest.raises(UnreachableError, match="no workers") as refused,
        executor_at(team.url),
    ):
        pass
    assert "dask worker" in (refused.value.hint or "")


@pytest.mark.slow
def test_a_worker_without_databom_is_refused_with_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "hidden" / "databom").mkdir(parents=True)
    (tmp_path / "hidden" / "databom" / "__init__.py").write_text("raise ImportError('no databom here')\n")
    with DaskTeam(tmp_path) as team:
        team.worker(environ={"PYTHONPATH": str(tmp_path / "hidden")})
        with pytest.raises(PluginError, match="a worker") as refused, executor_at(team.url):
            pass
        assert f"install databom {__version__}" in (refused.value.hint or "")


@pytest.mark.slow
def test_a_scheduler_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    plant(tmp_path / "data", MANY)
    with DaskTeam(tmp_path) as team:
        team.worker()

        def kill_it(done: int, _bytes: int) -> None:
            if done:
                team.scheduler.kill()

        with team.client() as client:
            _lost(Cluster(client, team.url, lonely_seconds=2), tmp_path / "data", kill_it)


@pytest.mark.slow
def test_a_cluster_that_loses_its_last_worker_ends_the_run(tmp_path: Path) -> None:
    plant(tmp_path / "data", MANY)
    with DaskTeam(tmp_path) as team:
        victim = team.worker()
        killed: list[int] = []

        def kill_it(done: int, _bytes: int) -> None:
            if done and not killed:
                killed.append(done)
                os.kill(victim, signal.SIGKILL)

        with team.client() as client:
            _lost(Cluster(client, team.url, lonely_seconds=2), tmp_path / "data", kill_it)


def _lost(executor: Cluster, data: Path, kill: Callable[[int, int], None]) -> None:
    manifest = manifest_of(MANY)
    with pytest.raises(PluginError, match="lost its scheduler or all its workers") as lost:
        check_integrity(manifest, LocalTree(data), executor=executor, progress=kill)
    assert "run the same command again" in (lost.value.hint or "")
