"""A disk that is full (attacks.md G06): said before the first byte, nothing half there, and the log still says it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from databom.checks.log import audit
from databom.errors import FullError
from support.house import FILES, House
from support.mounts import fill, mounted
from support.tlog import SmallLog

__all__ = ["mounted"]

pytestmark = pytest.mark.parametrize("mounted", ["tmpfs"], indirect=True)


@pytest.fixture
def small_house(
    mounted: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[House]:
    """A project on a disk of 8 MiB; its marketplace is elsewhere."""
    monkeypatch.delenv("DATABOM_LOG_KEY", raising=False)
    house = House(mounted, monkeypatch, capfd)
    house.market = tmp_path / "market"
    house.init()
    yield house
    monkeypatch.chdir("/")


def told(house: House) -> list[str]:
    house.ok("log", "verify", "-q")
    return [one["entry"].get("verdict", one["kind"]) for one in house.json("log", "show").report]


def test_g06_what_does_not_fit_is_refused_before_the_first_byte(mounted: Path, small_house: House) -> None:
    house = small_house
    house.ok("add", house.release({"big": bytes(600_000), "small": b"s"}), "--name", "pets")
    filler = fill(mounted, 610_000)  # less 5 % it is too little
    answer = house.json("sync", "pets")
    assert (answer.code, answer.codes & {"storage.full"}) == (3, {"storage.full"})
    assert not any(path.is_file() for path in house.data.rglob("*"))
    filler.unlink()
    house.ok("sync", "pets")
    assert told(house) == ["pinned", "unanswered", "pass"]


@pytest.mark.parametrize("left", [0, 4096, 100_000])
def test_g06_the_log_keeps_room_to_say_what_failed(mounted: Path, small_house: House, left: int) -> None:
    house = small_house
    house.ok("add", house.release({f"{number}": bytes(40_000) for number in range(9)}), "--name", "pets")
    filler = fill(mounted, left)
    answer = house.cli("sync", "pets")
    assert (answer.code, "Traceback" in answer.err) == (3, False), answer.err
    assert told(house) == ["pinned", "unanswered"]
    filler.unlink()
    house.ok("sync", "pets")
    house.ok("verify", "pets", "--full")
    assert told(house) == ["pinned", "unanswered", "pass"]
    assert (house.project / ".databom/log/.state/reserve").stat().st_size == 1 << 20  # and has it again


@pytest.mark.parametrize("command", ["add", "update"])
def test_g06_state_files_are_whole_or_as_they_were(mounted: Path, small_house: House, command: str) -> None:
    house = small_house
    house.ok("add", house.release(FILES, "--sequence", "1"), "--name", "pets")
    second = house.release({"n": b"2"}, "--sequence", "2", version="2", folder="v2")
    before = (house.project / "databom.lock").read_bytes()
    filler = fill(mounted)
    arguments = ("update", "pets", second) if command == "update" else ("add", second, "--name", "pets")
    answer = house.cli(*arguments)
    assert (answer.code, "No space left" in answer.err) == (3, True), answer.err
    assert (house.project / "databom.lock").read_bytes() == before
    house.ok("verify", "pets", "--root", house.market / "v1")
    filler.unlink()
    house.ok(*arguments)
    assert json.loads((house.project / "databom.lock").read_text())["pins"]["pets"]["version"] == "2"
    house.ok("sync", "pets")
    assert [path for path in house.project.rglob("*.tmp") if path.is_file()] == []


def test_g06_an_entry_is_in_the_log_whole_or_not_at_all(mounted: Path) -> None:
    small = SmallLog(mounted / "log")
    small.append(b"one")
    filler = fill(mounted)
    size, is_full = 1, False
    while not is_full:  # as long as the reserve lasts
        try:
            size = small.append(os.urandom(60_000)).stop
        except FullError:
            is_full = True
    assert size > 2
    reader = small.reader()
    assert reader.size in (size, size + 1)
    assert audit(reader, {}, small.speakers).findings == ()
    filler.unlink()
    last = small.append(b"last").start
    assert last in (size, size + 1)
    assert small.reader().entry(last) == b"last"
