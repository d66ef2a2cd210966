"""What is not read again, through the command line and `databom.open`: group E of the attack catalogue."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

import databom
from databom.checks import recalling
from support.house import House

FILES = {f"{n:02}.bin": bytes([n]) * 5_000 for n in range(20)}


@pytest.fixture
def synced(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> House:
    """A release large enough to remember, by this test's measure, that nobody has verified here yet."""
    monkeypatch.setattr(recalling, "WORTH_FILES", 1)
    monkeypatch.setattr(recalling, "RACY_NS", 0)
    monkeypatch.setenv("DATABOM_CACHE", str(tmp_path / "cache"))
    house.init()
    manifest = house.release(FILES)
    house.ok("add", manifest, "--name", "pets")
    house.ok("sync", "pets")
    return house


def summary(house: House, *args: str) -> tuple[int, int]:
    report = house.json(*args).report
    one = report.get("reports", [report])[0]
    counts = one["reading"]
    assert one["summary"]["checked"] == counts["hashed"] + counts["unchanged"] == len(FILES)
    return counts["hashed"], counts["unchanged"]


@pytest.mark.parametrize("command", [("verify", "pets"), ("check",), ("sync", "pets")])
def test_the_report_says_what_was_hashed_and_what_is_unchanged(
    synced: House, command: tuple[str, ...]
) -> None:
    assert summary(synced, "verify", "pets") == (20, 0)
    if command[0] == "sync":  # what DVC wants was not computed yet, where there is DVC
        summary(synced, *command)
    assert summary(synced, *command) == (1, 19)
    assert summary(synced, *command, "--full") == (20, 0)
    assert "19 unchanged since hashed" in synced.cli("verify", "pets").err


def test_the_stages_report_does_not_depend_on_what_is_remembered(synced: House) -> None:
    path = synced.project / "provenance/reports/pets.json"
    first = path.read_bytes()
    for _ in range(2):
        synced.ok("sync", "pets")
        assert path.read_bytes() == first


def test_the_cache_is_the_users_own(synced: House, tmp_path: Path) -> None:
    synced.ok("verify", "pets")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "cache").rglob("*")}
    assert modes.pop("hashes") == 0o700
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    "command", [["verify", "pets"], ["sync", "pets"], ["check"], ["exec", "pets", "--", "true"]]
)
def test_e01_a_restored_mtime_is_seen_by_every_verb(synced: House, command: list[str]) -> None:
    synced.ok("verify", "pets")
    victim = synced.data / "07.bin"
    before = victim.stat()
    with victim.open("r+b") as file:
        file.write(b"x" * 5_000)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    head, tail = (command, []) if "--" not in command else (command[:2], command[2:])
    answer = synced.cli(*head, "--format", "json", *tail)
    assert answer.code == 1
    assert "integrity.mismatch" in answer.blocking


def test_e03_by_the_command_line(synced: House) -> None:
    with (synced.data / "07.bin").open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:] = FILES["07.bin"]
        assert synced.json("verify", "pets").code == 0
        for command in (["verify", "pets"], ["check"]):
            answer = synced.json(*command, "--leases")
            assert answer.code == 1
            assert answer.blocking == {"integrity.changed"}
        assert synced.cli("exec", "pets", "--leases", "--", "true").code == 1
        view[:] = b"x" * 5_000
    assert synced.json("verify", "pets").blocking == {"integrity.mismatch"}


def test_e05_an_open_asset_stays_what_it_was(synced: House) -> None:
    with databom.open("pets", "07.bin") as file:
        with (synced.data / "07.bin").open("r+b") as other:
            other.write(b"x" * 5_000)
        assert file.read() == FILES["07.bin"]
    with pytest.raises(databom.CheckFailed), databom.open("pets", "07.bin"):
        pass


def test_e08_full_reads_everything(synced: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forged ctime, here by making the memory fit: only a full reading is certain to see it."""
    from databom.storage import hashcache
    from databom.storage.localfile import file_stat

    synced.ok("verify", "pets")
    cache = hashcache.HashCache(synced.data)
    rows = {path: hashcache.unpack_row(row) for path, row in cache.rows()}
    (synced.data / "07.bin").write_bytes(b"x" * 5_000)
    rows["07.bin"] = rows["07.bin"]._replace(key=file_stat((synced.data / "07.bin").stat()))
    cache.keep((path, hashcache.pack_row(row)) for path, row in sorted(rows.items()))
    monkeypatch.setattr(recalling, "_sample", lambda known, _size: known[:1])
    assert synced.json("verify", "pets").code == 0
    assert synced.json("verify", "pets", "--full").blocking == {"integrity.mismatch"}
