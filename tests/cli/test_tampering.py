"""Group E and L01 of the attack catalogue, through the command line: what DVC and mtimes do not see."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.house import FILES, House

BAD = b"a bat\n"


def in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(BAD)


def by_mmap(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:] = BAD
        view.flush()


def by_hard_link(path: Path) -> None:
    outside = path.parents[3] / "outside"
    os.link(path, outside)
    in_place(outside)
    outside.unlink()


def by_rename(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(BAD)
    other.replace(path)


@pytest.mark.parametrize("tamper", [in_place, by_mmap, by_hard_link, by_rename])
@pytest.mark.parametrize(
    "command", [["verify", "pets"], ["sync", "pets"], ["check"], ["exec", "pets", "--", "true"]]
)
def test_e01_e02_same_size_and_restored_mtime(
    house: House, tamper: Callable[[Path], None], command: list[str]
) -> None:
    house.synced()
    cat = house.data / "images/cat1.jpg"
    before = cat.stat()
    tamper(cat)
    os.utime(cat, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (cat.stat().st_size, cat.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    head, tail = (command, []) if "--" not in command else (command[:2], command[2:])
    answer = house.cli(*head, "--format", "json", *tail)
    assert answer.code == 1
    assert "integrity.mismatch" in answer.blocking


def test_a_second_hard_link_is_told(house: House) -> None:
    """D14: whoever holds the other name can change the file."""
    house.synced()
    os.link(house.data / "images/cat1.jpg", house.base / "outside")
    answer = house.json("verify", "pets")
    assert answer.code == 0
    [finding] = [f for f in answer.findings if f["code"] == "integrity.unsafe-file"]
    assert (finding["severity"], finding["subject"]) == ("warn", "images/cat1.jpg")
    assert house.json("verify", "pets", "--strict").code == 1


def test_the_data_folder_may_not_be_a_link(house: House) -> None:
    """D11: the tree's own root is not followed either."""
    house.synced()
    elsewhere = house.base / "elsewhere"
    shutil.move(house.data, elsewhere)
    house.data.symlink_to(elsewhere)
    for command in ("verify", "sync"):
        assert "integrity.unsafe-file" in house.json(command, "pets").blocking
    assert {p.name for p in elsewhere.iterdir()} == {"images", "empty.bin"}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a file away")
def test_l01_somebody_elses_project_is_not_followed(house: House) -> None:
    house.synced()
    os.chown(house.project / "databom.toml", 12345, 12345)
    answer = house.cli("verify", "pets")
    assert answer.code == 2
    assert "belongs to another user" in answer.err


def test_l02_no_variable_lowers_a_check(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.synced()
    (house.data / "images/cat1.jpg").write_bytes(BAD)
    for name in (
        "DATABOM_SKIP",
        "DATABOM_NO_VERIFY",
        "DATABOM_INSECURE",
        "DATABOM_STRICT",
        "DATABOM_TRUST_ALL",
    ):
        monkeypatch.setenv(name, "1")
    assert house.json("verify", "pets").code == 1
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    from support.house import databom

    assert databom("verify", "pets", cwd=house.project).returncode == 1


def test_an_expired_key_stops_the_gate(house: House) -> None:
    """What DVC cannot notice: nothing changed but the time."""
    import json

    house.synced()
    path = house.project / "provenance/trust.json"
    trust = json.loads(path.read_text())
    keyid = trust["roles"]["marketplace"]["human-native"]["keyids"][0]
    trust["keys"][keyid]["valid_until"] = "2026-01-01T00:00:00Z"
    path.write_text(json.dumps(trust))
    ran = house.project / "ran"
    answer = house.cli("exec", "pets", "--format", "json", "--", "touch", ran)
    assert answer.code == 1
    assert answer.blocking == {"signature.expired"}
    assert not ran.exists()


def test_umask_and_modes(house: House) -> None:
    """D17: never executable, never writable by others, whatever the umask."""
    old = os.umask(0)
    try:
        house.synced()
    finally:
        os.umask(old)
    for name in FILES:
        assert (house.data / name).stat().st_mode & 0o777 == 0o644
    assert (house.data / "images").stat().st_mode & 0o777 == 0o755


def test_nothing_is_written_through_a_link_on_the_way(house: House) -> None:
    """D11: a cloned project may bring `data` as a link to anywhere."""
    house.pinned()
    elsewhere = house.base / "elsewhere"
    elsewhere.mkdir()
    (house.project / "data").symlink_to(elsewhere)
    answer = house.json("sync", "pets")
    assert answer.code == 1
    assert "integrity.unsafe-file" in answer.blocking
    assert list(elsewhere.iterdir()) == []


def test_two_syncs_at_once(house: House) -> None:
    """G08: one waits for the other, and says so; the tree is whole."""
    import subprocess
    import sys

    house.init()
    files = {f"part/{number:03}.bin": os.urandom(20_000) for number in range(200)}
    house.ok("add", house.release(files), "--name", "pets")
    command = [sys.executable, "-m", "databom", "sync", "pets", "-q"]
    both = [
        subprocess.Popen(
            command, cwd=house.project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert {n: (house.data / n).read_bytes() for n in files} == files


def _edit_pin(house: House, **changes: object) -> None:
    import json

    path = house.project / "databom.lock"
    lock = json.loads(path.read_text())
    lock["pins"]["pets"].update(changes)
    path.write_text(json.dumps(lock))


@pytest.mark.parametrize("where", ["/{base}/victim", "../victim", ".git/hooks", ".", "provenance", ""])
def test_a_cloned_lock_cannot_choose_where_we_write(house: House, where: str) -> None:
    house.pinned()
    victim = house.base / "victim"
    (victim / "images").mkdir(parents=True)
    (victim / "images/cat1.jpg").write_bytes(b"my precious")
    _edit_pin(house, path=where.format(base=str(house.base).lstrip("/")))
    for command in (["sync", "pets"], ["sync", "pets", "--refetch"]):
        assert house.cli(*command).code == 2
    assert (victim / "images/cat1.jpg").read_bytes() == b"my precious"
    assert [p.name for p in victim.rglob("*")] == ["images", "cat1.jpg"]


def test_a_folder_outside_is_the_users_own_choice(house: House) -> None:
    outside = house.base / "disk" / "pets"
    house.pinned("--path", str(outside))
    assert house.json("sync", "pets").code == 0
    assert (outside / "images/cat1.jpg").read_bytes() == FILES["images/cat1.jpg"]


@pytest.mark.parametrize(
    "forged",
    [
        {"license": "MIT"},
        {"payment": "one-time:FORGED"},
        {"creator_id": "creator:eve"},
        {"version": "2"},
        {"sequence": 9},
    ],
)
def test_what_the_lock_repeats_must_be_what_was_signed(house: House, forged: dict[str, object]) -> None:
    house.synced()
    _edit_pin(house, **forged)
    for command in (["verify", "pets"], ["sync", "pets"], ["check"]):
        assert house.json(*command).blocking == {"release.mismatch"}


def test_an_envelope_that_leads_nowhere_is_not_absent(house: House) -> None:
    """Both forms present: both must hold, and a dangling link is not "no envelope"."""
    house.init()
    manifest = house.release(FILES, "--embed")
    manifest.with_name("manifest.json.dsse").symlink_to("nowhere")
    answer = house.json("add", manifest)
    assert answer.code == 1
    assert answer.blocking == {"integrity.unsafe-file"}
