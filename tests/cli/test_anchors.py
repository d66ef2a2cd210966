"""A reader with a clone and no memory of his own: the checkpoint in git shows what became of a log (H03, H04)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from databom.log.note import MAX_NOTE_BYTES
from databom.storage.location import parse_location
from databom.storage.shelf import open_writable_shelf
from databom.tasks.project import Project
from databom.tasks.remembering import remember
from support.house import House

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
EVENT = {"_type": "urn:databom:event:v1", "event": "pinned", "time": "2026-11-26T12:00:00Z", "name": "pets"}


def git(*arguments: str, cwd: Path) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    subprocess.run(["git", *who, *arguments], cwd=cwd, check=True, capture_output=True)


def team(house: House, location: str) -> Project:
    """A project in git whose log is shared."""
    house.ok("init")
    toml = house.project / "databom.toml"
    toml.write_text(toml.read_text().replace('".databom/log"', f'"{location}"'))
    git("init", "-q", cwd=house.project)
    return Project.load(house.project)


def commit(house: House) -> None:
    git("add", "-A", cwd=house.project)
    git("commit", "-qm", "more", cwd=house.project)


def clone(house: House, name: str) -> Path:
    git("clone", "-q", str(house.project), str(house.base / name), cwd=house.base)
    assert not (house.base / name / ".databom").exists()
    return house.base / name


def restore_folder(house: House, location: str) -> Callable[[], None]:
    """Back up a directory; the answer restores it."""
    backup = shutil.copytree(location, house.base / "backup")

    def restore() -> None:
        shutil.rmtree(location)
        shutil.copytree(backup, location)

    return restore


def restore_bucket(_house: House, location: str) -> Callable[[], None]:
    """The same in a bucket, where nothing but the checkpoint is ever replaced."""
    shelf = open_writable_shelf(parse_location(location))
    old = shelf.read("checkpoint", MAX_NOTE_BYTES)
    return lambda: shelf.update("checkpoint", lambda _: old)


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.s3)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a log is that everybody can reach."""
    return (
        f"{request.getfixturevalue('r2_bucket')}/log" if request.param == "bucket" else str(tmp_path / "log")
    )


def test_h03_a_log_that_was_restored_from_an_older_backup(house: House, shared: str) -> None:
    place = team(house, shared)
    remember(place, EVENT, EVENT, now=NOW)
    commit(house)
    earlier = clone(house, "earlier")
    is_bucket = place.locate(shared).is_bucket
    restore = (restore_bucket if is_bucket else restore_folder)(house, shared)
    remember(place, EVENT, now=NOW)
    commit(house)
    reader = clone(house, "reader")
    assert house.json("log", "verify", cwd=reader).report["log"]["anchors"] == ["provenance/checkpoint"]
    shutil.rmtree(reader / ".databom")
    restore()
    answer = house.json("log", "verify", cwd=reader)
    assert (answer.code, answer.blocking) == (1, {"log.rolled-back"})
    (finding,) = (one for one in answer.findings if one["code"] == "log.rolled-back")
    assert finding["subject"] == "provenance/checkpoint"
    assert ("3 entries" in finding["expected"], "2 entries" in finding["found"]) == (True, True)
    # The chain alone cannot show it: who has only older checkpoints sees a whole log.
    assert house.json("log", "verify", cwd=earlier).code == 0
    # An older commit asks no less, where the newer checkpoint is handed over.
    kept = reader / "provenance" / "checkpoint"
    assert house.json("log", "verify", "--checkpoint", kept, cwd=earlier).blocking == {"log.rolled-back"}


def test_h04_a_log_that_was_rewritten_with_its_own_key(house: House, shared: str) -> None:
    place = team(house, f"{shared}/true")
    remember(place, EVENT, EVENT, now=NOW)
    commit(house)
    reader = clone(house, "reader")
    toml = house.project / "databom.toml"
    toml.write_text(toml.read_text().replace(f"{shared}/true", f"{shared}/false"))
    shutil.rmtree(house.project / ".databom" / "checkpoints")
    (house.project / "provenance" / "checkpoint").unlink()
    remember(Project.load(house.project), *[{**EVENT, "name": "others"}] * 3, now=NOW)
    assert house.json("log", "verify", cwd=house.project).code == 0
    answer = house.json("log", "verify", "--log", f"{shared}/false", cwd=reader)
    assert (answer.code, answer.blocking) == (1, {"log.forked"})
    assert [one["subject"] for one in answer.findings if one["severity"] == "block"] == [
        "provenance/checkpoint"
    ]
    assert house.json("log", "verify", cwd=reader).code == 0
