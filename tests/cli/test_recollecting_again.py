"""What this machine remembers of a log: only what is new is read, and nothing is believed over the log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from databom.log.events import format_event
from databom.storage.shelf_local import LocalShelf
from databom.tasks.project import Project
from databom.tasks.remembering import remember_entries
from support.house import House

MANY = 20_000


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("DATABOM_LOG_KEY", raising=False)
    monkeypatch.setenv("DATABOM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def event(release: str, *, byte: int = 0xAB, **more: object) -> bytes:
    said: dict[str, object] = dict.fromkeys(("content", "core", "manifest"), f"sha256:{byte:02x}" + "00" * 31)
    said |= {"event": "pinned", "sequence": 1, "release": release, "time": "2026-11-26T12:00:00Z"}
    return format_event({**said, **more})


def write(house: House, *entries: bytes) -> None:
    remember_entries(Project.load(house.project), entries)


@pytest.fixture
def long(house: House) -> House:
    house.init()
    house.ok("add", house.release(), "--name", "kept")
    house.ok("sync")
    fill = [
        b'{"event":"verified","n":%d,"time":"2026-11-26T12:00:00Z"}' % number for number in range(MANY // 2)
    ]
    write(house, event("pets@1"), *fill)
    write(house, *fill, event("cats@1"))
    return house


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[House], list[str]]:
    """The files of the log that a `check` reads; it finds that the lock has forgotten these datasets."""

    def of(house: House, *forgotten: str) -> list[str]:
        names: list[str] = []
        read = LocalShelf.read

        def noted(self: LocalShelf, name: str, limit: int) -> bytes | None:
            names.append(name)
            return read(self, name, limit)

        with monkeypatch.context() as patch:
            patch.setattr(LocalShelf, "read", noted)
            answer = house.json("check")
        found = [one["subject"] for one in answer.findings if one["code"] == "release.forgotten"]
        assert found == list(forgotten)
        return names

    return of


def rows(cache: Path) -> Path:
    (path,) = (cache / "logs").glob("*.rows")
    return path


def test_the_second_time_only_what_is_new_is_read(long: House, reads: Callable[..., list[str]]) -> None:
    assert len(reads(long, "cats", "pets")) > MANY // 256
    assert reads(long, "cats", "pets") == ["checkpoint"]
    write(long, event("dogs@1"), event("pets@2"))
    again = reads(long, "cats", "dogs", "pets")
    assert sum("entries" in name for name in again) == 1
    assert len(again) < 12
    assert reads(long, "cats", "dogs", "pets") == ["checkpoint"]


@pytest.mark.parametrize(
    "how", ["deleted", "edited", "cut", "open to others", "another user's key", "from another log"]
)
def test_a_memory_that_is_not_ours_is_none(
    long: House, reads: Callable[..., list[str]], cache: Path, how: str, tmp_path: Path
) -> None:
    reads(long, "cats", "pets")
    path = rows(cache)
    data = path.read_bytes()
    if how == "deleted":
        path.unlink()
    elif how == "edited":
        assert data.count(b"cats") == 1
        path.write_bytes(data.replace(b"cats", b"rats"))
    elif how == "cut":
        path.write_bytes(data[:-1])
    elif how == "open to others":
        path.chmod(0o666)
    elif how == "another user's key":
        (cache / "hashes" / "key").write_bytes(os.urandom(32))
    else:
        toml = long.project / "databom.toml"
        shutil.copytree(long.project / ".databom" / "log", tmp_path / "moved")
        toml.write_text(toml.read_text().replace('".databom/log"', f'"{tmp_path}/moved"'))
    assert len(reads(long, "cats", "pets")) > MANY // 256


def test_c08_a_memory_of_another_history_is_not_believed(
    house: House, reads: Callable[..., list[str]], cache: Path
) -> None:
    house.init()
    house.ok("add", house.release(), "--name", "kept")
    house.ok("sync")
    write(house, event("pets@1"), event("cats@1"))
    reads(house, "cats", "pets")
    for gone in (house.project / ".databom" / "log", house.project / ".databom" / "checkpoints"):
        shutil.rmtree(gone)
    (house.project / "provenance" / "checkpoint").unlink()
    write(house, event("pets@1"), event("dogs@1"), event("mice@1"))
    reads(house, "dogs", "mice", "pets")
    assert b"cats" not in rows(cache).read_bytes()


def test_c08_what_was_read_once_is_not_forgotten_with_the_bundle(
    long: House, reads: Callable[..., list[str]]
) -> None:
    """Nor is it hidden from those who look: `log verify` reads everything."""
    reads(long, "cats", "pets")
    bundle = long.project / ".databom" / "log" / "tile" / "entries" / "000"
    bundle.write_bytes(bundle.read_bytes().replace(b"pets@1", b"bats@1"))
    reads(long, "cats", "pets")
    assert long.json("log", "verify").blocking == {"log.corrupt"}


def test_where_nothing_can_be_remembered_everything_is_read(
    long: House, reads: Callable[..., list[str]], cache: Path
) -> None:
    cache.mkdir(exist_ok=True)
    shutil.rmtree(cache)
    cache.write_bytes(b"no folder")
    for _ in range(2):
        assert len(reads(long, "cats", "pets")) > MANY // 256
