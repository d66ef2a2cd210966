"""The stat record: `pass` only when nothing changed since the bytes were proven here, by this trust and policy."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databom.tasks import recorded
from databom.tasks.project import Project
from databom.tasks.recorded import Comparison

DATA = "data/pack"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[..., Path]) -> Path:
    """A project for tests that only read it, or put back what they change."""
    return make_project(tmp_path_factory.mktemp("recorded") / "project")


def compare(project: Path, **options: Any) -> Comparison:
    return recorded.compare(Project.load(project), "pack", **options)


def record_of(project: Path) -> Path:
    return project / ".databom" / "last" / "pack.stat"


def test_nothing_changed(project: Path) -> None:
    assert compare(project) == ("pass", None)
    (project / DATA / "labels.csv").read_bytes()  # reading changes at most the atime
    assert compare(project) == ("pass", None)


def rewritten(data: Path) -> None:
    times = (data / "labels.csv").stat()
    (data / "labels.csv").write_bytes(b"dog,cat\n")
    os.utime(data / "labels.csv", ns=(times.st_atime_ns, times.st_mtime_ns))


def replaced_by_a_copy(data: Path) -> None:
    shutil.copy2(data / "labels.csv", data / "new")
    (data / "new").replace(data / "labels.csv")


def truncated(data: Path) -> None:
    os.truncate(data / "images/cat.jpg", 2)


def through_a_hard_link(data: Path) -> None:
    os.link(data / "images/dog.jpg", data.parent.parent / "other-name")
    with open(data.parent.parent / "other-name", "r+b") as file:
        file.write(b"A")


def removed(data: Path) -> None:
    (data / "images/dog.jpg").unlink()


def replaced_by_a_link(data: Path) -> None:
    (data / "labels.csv").rename(data.parent / "elsewhere")
    (data / "labels.csv").symlink_to(data.parent / "elsewhere")


def file_added(data: Path) -> None:
    (data / "images/extra.jpg").write_bytes(b"")


def folder_added(data: Path) -> None:
    (data / "more").mkdir()


def folder_gone(data: Path) -> None:
    shutil.rmtree(data)


def folder_is_a_file(data: Path) -> None:
    shutil.rmtree(data / "images")
    (data / "images").write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (rewritten, "labels.csv changed since it was verified"),
        (replaced_by_a_copy, "labels.csv changed since it was verified"),
        (truncated, "images/cat.jpg changed since it was verified"),
        (through_a_hard_link, "images/dog.jpg changed since it was verified"),
        (removed, "images/dog.jpg is gone"),
        (replaced_by_a_link, "labels.csv changed since it was verified"),
        (file_added, "something was added to or removed from images"),
        (folder_added, "something was added to or removed from the folder"),
        (folder_gone, "images/cat.jpg is gone"),
        (folder_is_a_file, "images/cat.jpg is gone"),
    ],
)
def test_any_change_fails(project: Path, change: Callable[[Path], None], reason: str) -> None:
    change(project / DATA)
    assert compare(project) == ("fail", reason)


def test_what_was_added_and_taken_away_again_is_no_change(project: Path) -> None:
    (project / DATA / "extra").write_bytes(b"")
    (project / DATA / "extra").unlink()
    assert compare(project) == ("pass", None)
    (project / DATA / ".databom-partial").mkdir()  # a sync that runs
    assert compare(project) == ("pass", None)


def test_another_machine_cannot_tell(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "machine", lambda: "0" * 32)
    assert compare(project) == ("unverified", "it was verified on another machine")


def test_a_clone_cannot_tell(project: Path) -> None:
    shutil.rmtree(project / ".databom")
    verdict, reason = compare(project)
    assert verdict == "unverified"
    assert "not proven on this machine" in str(reason)


def test_a_moved_project_cannot_tell(project: Path) -> None:
    moved = project.rename(project.with_name("moved"))
    assert compare(moved) == ("unverified", "it was verified in another folder")


@pytest.mark.parametrize("what", ["trust", "policy", "manifest", "tree", "name"])
def test_a_record_about_something_else_says_nothing(project: Path, what: str) -> None:
    path = record_of(project)
    magic, header, body = path.read_bytes().split(b"\n", 2)
    changed = {**json.loads(header), what: "sha256:" + "0" * 64}
    path.write_bytes(b"\n".join((magic, json.dumps(changed).encode(), body)))
    verdict, reason = compare(project)
    assert verdict == "unverified"
    assert "another" in str(reason)


def test_a_device_number_alone_is_no_change_but_no_proof(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reboot network and overlay file systems get other device numbers."""
    real = recorded._look

    def elsewhere(root: Path, path: str) -> Any:
        found = real(root, path)
        return found and found._replace(dev=found.dev + 1)

    monkeypatch.setattr(recorded, "_look", elsewhere)
    assert compare(project) == (
        "unverified",
        "the file system has another device number than when it was verified",
    )
    rewritten(project / DATA)
    assert compare(project).verdict == "fail"


def test_no_time_is_unverified_with_how_far_it_came(project: Path) -> None:
    expected = ("unverified", "looked at 0 of 3 assets in the time there was")
    assert compare(project, deadline=time.monotonic() - 1) == expected
    assert compare(project, stop=lambda: True) == expected
    assert compare(project, deadline=time.monotonic() + 60, stop=lambda: False) == ("pass", None)


def test_a_file_that_cannot_be_looked_at_is_unverified(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_root: Path, _path: str) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(recorded, "_look", broken)
    assert compare(project) == ("unverified", "images/cat.jpg cannot be looked at (PermissionError)")


# --- a record that is not whole -----------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(data=st.data())
def test_no_damage_of_a_record_turns_a_changed_tree_into_a_pass(fresh: Path, data: st.DataObject) -> None:
    path = record_of(fresh)
    good = path.read_bytes()
    labels = fresh / DATA / "labels.csv"
    start = good.index(b"\n", len(recorded.MAGIC)) + 1
    extra = fresh / DATA / "extra"
    try:
        extra.write_bytes(b"")
        position = data.draw(st.integers(start, len(good) - 1))
        flipped = good[position] ^ (1 << data.draw(st.integers(0, 7)))
        damaged = data.draw(
            st.sampled_from(
                [
                    good[:position] + bytes([flipped]) + good[position + 1 :],
                    good[:position],
                    good + good[start:],
                ]
            )
        )
        path.write_bytes(damaged)
        assert compare(fresh).verdict != "pass"
    finally:
        extra.unlink()
        path.write_bytes(good)
    assert labels.is_file()
    assert compare(fresh).verdict == "pass"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else\n",
        recorded.MAGIC,
        recorded.MAGIC + b"{}\n",
        recorded.MAGIC + b"[" * 50_000 + b"\n",
        recorded.MAGIC + b'{"assets": true, "directories": 1}\n',
        recorded.MAGIC + b'{"assets": 1, "directories": 0}\n',
    ],
)
def test_what_is_no_record_is_unverified(project: Path, content: bytes) -> None:
    record_of(project).write_bytes(content)
    assert compare(project).verdict == "unverified"


def test_a_block_that_would_grow_without_end_is_not_read(project: Path) -> None:
    import zlib

    path = record_of(project)
    magic, header, _ = path.read_bytes().split(b"\n", 2)
    bomb = zlib.compress(b"\0" * (recorded.MAX_BLOCK_BYTES + 1))
    for block in (struct.pack("<I", len(bomb)) + bomb, struct.pack("<I", 2**32 - 1)):
        path.write_bytes(b"\n".join((magic, header, block)))
        assert compare(project).verdict == "unverified"


# --- making one -----------------------------------------------------------------------------------------


def outcomes(project: Path) -> list[Any]:
    from databom.checks.integrity import Outcome
    from databom.storage.localfile import file_stat

    root = project / DATA
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [Outcome(str(path.relative_to(root)), stat=file_stat(path.stat())) for path in files]


def test_a_record_is_made_of_what_passed(project: Path) -> None:
    place = Project.load(project)
    recorded.forget(place, "pack")
    recorded.forget(place, "pack")
    assert compare(project).verdict == "unverified"
    assert recorded.record(place, "pack", outcomes(project))
    assert compare(project).verdict == "pass"
    assert record_of(project).stat().st_mode & 0o777 == 0o600


def test_many_assets_take_many_blocks(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "BLOCK_ENTRIES", 2)
    assert recorded.record(Project.load(project), "pack", outcomes(project))
    assert compare(project).verdict == "pass"
    file_added(project / DATA)
    assert compare(project).verdict == "fail"


def test_no_record_of_what_may_have_changed_meanwhile(project: Path) -> None:
    place = Project.load(project)
    known = outcomes(project)
    rewritten(project / DATA)
    assert not recorded.record(place, "pack", known)
    assert not record_of(project).exists()
    assert not recorded.record(place, "pack", [])
    assert not recorded.record(place, "pack", [known[0]._replace(stat=None)])
    file_added(project / DATA)
    assert not recorded.record(place, "pack", known)


def test_no_record_of_a_file_from_the_future(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ctime ahead of the clock could be given to a later write too."""
    known = outcomes(project)
    behind = time.time_ns() - 3_600_000_000_000
    monkeypatch.setattr(recorded.time, "time_ns", lambda: behind)
    assert not recorded.record(Project.load(project), "pack", known)


def test_a_record_that_cannot_be_written_costs_nobody(project: Path) -> None:
    known = outcomes(project)
    shutil.rmtree(project / ".databom" / "last")
    (project / ".databom" / "last").write_text("in the way")
    place = Project.load(project)
    with pytest.raises(NotADirectoryError):
        record_of(project).stat()
    assert not recorded.record(place, "pack", known)


def test_the_machine_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import platform

    from databom.storage import machine

    name = machine.machine()
    assert len(name) == 32
    assert platform.node() not in name
    machine.machine.cache_clear()
    monkeypatch.setattr(Path, "read_bytes", lambda _self: b"")
    by_name = machine.machine()
    machine.machine.cache_clear()
    assert len(by_name) == 32
