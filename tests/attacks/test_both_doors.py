"""Cases that no folder can hold: races, clocks, file systems, plugins. Each through the CLI and through Python.

What the two doors say must be the same: `both` compares verdicts and blocking codes. Where a race decides which of
several refusals comes, only what must never happen is compared: that either of them passes.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import databom
import databom.dvc
from attacks import make
from databom import tasks
from databom.errors import DatabomError, StorageError
from databom.model import times
from support.house import FILES, House
from support.mounts import MOUNTS

Door = Callable[[], tuple[str, set[str]]]


def by_python(**options: Any) -> tuple[str, set[str]]:
    """The verdict on `pets` and the codes of what blocks, asked in Python."""
    report = databom.verify("pets", **options)
    assert isinstance(report, databom.Report)
    return report.verdict.value, {one.code for one in report.blocking}


def by_cli(house: House, *words: str) -> tuple[str, set[str]]:
    """The same, asked on the command line."""
    answer = house.json("verify", "pets", *words)
    return answer.report["verdict"], answer.blocking


def both(house: House) -> tuple[str, set[str]]:
    """What both doors say; they must agree."""
    said = by_cli(house)
    assert by_python() == said
    return said


@contextmanager
def meanwhile(change: Callable[[], object]) -> Iterator[list[int]]:
    """Call `change` again and again in a thread, and wait for the first; yields a list whose item says how often."""
    done, begun, count = threading.Event(), threading.Event(), [0]

    def work() -> None:
        while not done.is_set():
            change()
            count[0] += 1
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(60)
        yield count
    finally:
        done.set()
        thread.join()


def never_passes(doors: list[Door], count: list[int], codes: set[str]) -> None:
    """Ask each door until the other side has had its chances: no pass, and no code but these."""
    for number in range(400):
        if number >= 15 and count[0] >= 300:
            break
        for door in doors:
            verdict, found = door()
            assert verdict != "pass"
            assert found <= codes, found
    assert count[0]


# --- B11: a key that was taken back -------------------------------------------------------------


def test_b11_a_revoked_key_signs_for_nobody(house: House) -> None:
    house.synced()
    assert both(house) == ("pass", set())
    house.ok("key", "new", house.base / "next.key")
    house.ok(
        "trust", "add", house.base / "next.key.pub", "--marketplace", "human-native", "--datasets", "hn-*"
    )
    house.ok("trust", "remove", tasks.key_id(house.key.with_suffix(".key.pub")))
    assert both(house) == ("fail", {"signature.untrusted"})


def test_b11_a_revoked_key_does_not_speak_for_what_it_dates_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest's own date is its signer's claim: a key past its end cannot sign itself back into its window."""
    house.init()
    path = house.project / "provenance" / "trust.json"
    root = json.loads(path.read_bytes())
    key = root["keys"][tasks.key_id(house.key.with_suffix(".key.pub"))]
    with monkeypatch.context() as patch:
        patch.setattr(times, "now", lambda: datetime(2026, 1, 10, tzinfo=UTC))
        manifest = house.release()
    assert json.loads(manifest.read_bytes())["issued_at"] == "2026-01-10T00:00:00Z"
    house.ok("add", manifest, "--name", "pets")
    house.ok("sync", "pets")
    assert both(house) == ("pass", set())
    key["valid_until"] = "2026-02-01T00:00:00Z"
    path.write_text(json.dumps(root))
    assert both(house) == ("fail", {"signature.expired"})


# --- B14: what was verified is what is used -------------------------------------------------------


def test_b14_a_manifest_exchanged_meanwhile(house: House) -> None:
    """The assets are the evil ones: whichever manifest is read, its signature or its digests must refuse them."""
    house.init()
    good = house.release()
    evil = {**FILES, "images/cat1.jpg": b"a bat\n"}
    (good.parent / "images/cat1.jpg").write_bytes(evil["images/cat1.jpg"])
    texts = [good.read_bytes()]
    value = json.loads(texts[0])
    for asset in value["assets"]:
        asset["sha256"] = make.sha(evil[asset["path"]])
    texts.append(make.dump(value))
    turn = [0]

    def exchange() -> None:
        turn[0] += 1
        fresh = house.base / "fresh.json"
        fresh.write_bytes(texts[turn[0] % 2])
        fresh.replace(good)

    def cli() -> tuple[str, set[str]]:
        answer = house.json("verify", good)
        return answer.report["verdict"], answer.blocking

    def python() -> tuple[str, set[str]]:
        report = databom.verify(good)
        assert isinstance(report, databom.Report)
        return report.verdict.value, {one.code for one in report.blocking}

    with meanwhile(exchange) as count:
        never_passes([cli, python], count, {"signature.invalid", "integrity.mismatch"})


# --- B15: clocks ------------------------------------------------------------------------------------

ISSUED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(minutes=4, seconds=59), set()),
        (timedelta(minutes=5, seconds=1), {"manifest.future"}),
        (timedelta(days=1), {"manifest.future"}),
        (timedelta(days=-29), set()),
        (timedelta(days=-30), {"release.expired"}),
    ],
)
def test_b15_a_clock_beside_ours(
    house: House, monkeypatch: pytest.MonkeyPatch, ahead: timedelta, expected: set[str]
) -> None:
    house.init()
    monkeypatch.setattr(times, "now", lambda: ISSUED)
    fields = house.base / "fields.json"
    fields.write_text(json.dumps({"expires_at": times.format(ISSUED + timedelta(days=30))}))
    manifest = house.release(FILES, "--from", str(fields))
    assert json.loads(manifest.read_bytes())["issued_at"] == times.format(ISSUED)
    monkeypatch.setattr(times, "now", lambda: ISSUED - ahead)
    answer = house.json("verify", manifest)
    report = databom.verify(manifest)
    assert isinstance(report, databom.Report)
    assert {one.code for one in report.blocking} == answer.blocking == expected
    assert answer.code == (1 if expected else 0)


def test_b15_a_clock_set_back_is_reported(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would give an expired manifest a second life, if the manifest states no date of its own."""
    with monkeypatch.context() as patch:
        patch.setattr(times, "now", lambda: datetime(2026, 1, 10, tzinfo=UTC))
        house.init()
        manifest = house.release()
    house.ok("add", manifest, "--name", "pets")
    house.ok("sync", "pets")
    assert "release.clock" not in house.json("verify", "pets").codes
    for when, blocking in (
        (times.now() - timedelta(minutes=10), False),
        (datetime(1970, 1, 1, tzinfo=UTC), True),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(times, "now", lambda when=when: when)
            answer = house.json("verify", "pets")
            report = databom.verify("pets")
            assert isinstance(report, databom.Report)
            assert "release.clock" in answer.codes
            assert {one.code for one in report.findings} == answer.codes
            assert ("manifest.future" in answer.blocking) is blocking
            assert house.cli("verify", "pets", "--strict").code == 1


# --- C04: the files of one release beside the manifest of another ------------------------------------


def test_c04_the_release_whose_bytes_were_served_is_named(house: House) -> None:
    house.init()
    one = house.release(FILES, "--sequence", "1")
    newer = {**FILES, "images/cat1.jpg": b"a CAT\n"}
    two = house.release(newer, "--sequence", "2", version="2", folder="v2")
    house.ok("add", one, "--name", "pets")
    house.ok("sync", "pets")
    house.ok("update", "pets", two)
    (two.parent / "images/cat1.jpg").write_bytes(FILES["images/cat1.jpg"])
    assert "they are those of hn-pets@1" in next(
        one["what"]
        for one in house.json("verify", "pets", "--root", two.parent).findings
        if one["code"] == "integrity.mismatch"
    )
    report = databom.sync("pets")
    assert isinstance(report, databom.Report)
    (finding,) = [one for one in report.blocking if one.code == "integrity.mismatch"]
    assert "they are those of hn-pets@1" in finding.what
    answer = house.json("sync", "pets", "--refetch")
    assert answer.blocking == {"integrity.mismatch"}
    assert "they are those of hn-pets@1" in answer.out
    (two.parent / "images/cat1.jpg").write_bytes(b"a cow\n")
    assert "they are those of" not in house.json("sync", "pets", "--refetch").out


# --- D12: a parent exchanged for a link ---------------------------------------------------------------


def test_d12_a_parent_exchanged_for_a_link(house: House) -> None:
    """The right bytes lie outside only: a pass would show that a link was followed."""
    house.synced()
    outside = house.base / "outside"
    (house.data / "images").rename(outside)
    inside = house.data / "images"
    inside.mkdir()
    for path in outside.iterdir():
        (inside / path.name).write_bytes(path.read_bytes().upper())
    link = house.base / "link"
    link.symlink_to(outside)
    libc, here, exchange = ctypes.CDLL(None, use_errno=True), -100, 2
    one, two = os.fsencode(inside), os.fsencode(link)
    if not hasattr(libc, "renameat2") or libc.renameat2(here, one, here, two, exchange):
        pytest.skip("this system has no renameat2(RENAME_EXCHANGE)")
    codes = {"integrity.mismatch", "integrity.unsafe-file", "integrity.unlisted", "integrity.missing"}
    with meanwhile(lambda: libc.renameat2(here, one, here, two, exchange)) as count:
        never_passes([by_python, lambda: by_cli(house)], count, codes)


# --- D16, D17: file systems and modes -------------------------------------------------------------------


@pytest.mark.parametrize("mounted", MOUNTS, indirect=True)
def test_d16_the_same_answers_on_other_file_systems(
    mounted: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    house = House(mounted, monkeypatch, capfd)
    house.synced()
    assert both(house) == ("pass", set())
    (house.data / "images/cat1.jpg").write_bytes(b"A cat\n")
    assert both(house) == ("fail", {"integrity.mismatch"})
    assert house.json("sync", "pets").blocking == {"integrity.mismatch"}
    report = databom.sync("pets", refetch=True)
    assert isinstance(report, databom.Report)
    assert report.verdict is databom.Verdict.PASS
    assert both(house) == ("pass", set())
    monkeypatch.chdir("/")


@pytest.mark.parametrize("mounted", ["bind"], indirect=True)
def test_d16_where_nothing_can_be_written(
    mounted: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    house = House(mounted, monkeypatch, capfd)
    house.synced()
    subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
    assert both(house) == ("pass", set())
    with pytest.raises(StorageError, match="Read-only file system") as caught:
        databom.sync("pets")
    answer = house.cli("sync", "pets")
    assert answer.code == caught.value.exit_code == 3
    assert "Read-only file system" in answer.err
    monkeypatch.chdir("/")


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("door", ["cli", "python"])
def test_d17_what_is_fetched_cannot_be_run(house: House, umask: int, door: str) -> None:
    manifest = house.pinned()
    for path in manifest.parent.rglob("*"):
        path.chmod(0o4777 if path.is_file() else 0o755)
    before = os.umask(umask)
    try:
        _ = house.ok("sync", "pets") if door == "cli" else databom.sync("pets")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in house.data.rglob("*") if path.is_file()}
    assert modes == {0o644}


# --- E04: modified while it is hashed -----------------------------------------------------------------


def test_e04_a_file_that_is_written_meanwhile(house: House) -> None:
    house.init()
    big = b"c" * 3_000_000
    house.ok("add", house.release({"big.bin": big}), "--name", "pets")
    house.ok("sync", "pets")
    assert both(house) == ("pass", set())
    path = house.data / "big.bin"
    letters = [b"a", b"b"]

    def write() -> None:
        letters.reverse()
        with path.open("r+b", buffering=0) as file:
            for _ in range(0, len(big), 50_000):
                file.write(letters[0] * 50_000)

    with meanwhile(write) as count:
        never_passes([by_python, lambda: by_cli(house)], count, {"integrity.changed", "integrity.mismatch"})


# --- L: where settings and code come from ----------------------------------------------------------------

PYTHON = "import databom, sys; sys.exit(databom.verify('pets').verdict.exit_code)"
COMMAND = "import sys; sys.argv = ['databom', 'verify', 'pets']; from databom.cli import main; main()"
DOORS = pytest.mark.parametrize("code", [COMMAND, PYTHON], ids=["cli", "python"])


def run(house: House, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=house.project,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def distribution(folder: Path, name: str, version: str, points: str = "") -> Path:
    """A package that is installed in `folder`, as its metadata tells it."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (place / "entry_points.txt").write_text(points)
    return folder


def test_l04_a_dependency_that_is_too_old_is_told(house: House) -> None:
    house.init()
    old = distribution(house.base / "old", "cryptography", "45.0.1")
    distribution(old, "aiohttp", "3.9.0")
    code = (
        "import json; from databom import tasks\n"
        "print(json.dumps([[f.level, f.name, f.value] for f in tasks.doctor() if f.level == 'warn']))"
    )
    told = json.loads(run(house, code, PYTHONPATH=str(old)).stdout)
    assert ["warn", "cryptography", "45.0.1"] in told
    assert ["warn", "aiohttp", "3.9.0"] in told
    command = "import sys; sys.argv = ['databom', 'doctor', '--format', 'json']; from databom.cli import main; main()"
    facts = json.loads(run(house, command, PYTHONPATH=str(old)).stdout)
    facts = facts["facts"] if isinstance(facts, dict) else facts
    assert [[f["level"], f["name"], f["value"]] for f in facts if f["level"] == "warn"] == told


WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("pickle.find_class", "os.system", "marshal.loads", "os.exec", "os.posix_spawn") and not hushed():
        os.write(2, f"UNSAFE {event}\\n".encode())
    if event in ("socket.connect", "socket.bind", "urllib.Request"):
        os.write(2, f"NETWORK {event}\\n".encode())
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        os.write(2, f"WRITES {arguments[0]}\\n".encode())
    if event in ("_thread.start_new_thread", "subprocess.Popen"):
        os.write(2, f"STARTS {event}\\n".encode())
def hushed():  # the import system reads its own caches by marshal
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
sys.addaudithook(watch)
"""


@DOORS
def test_l05_nothing_in_a_project_is_run(house: House, code: str) -> None:
    """Pickles, YAML tags and shell words lie where databom reads; its own words to the interpreter are listened to."""
    house.synced()
    mark = house.base / "pwned"
    (house.project / "dvc.yaml").write_text(
        f"stages: !!python/object/apply:os.system ['touch {shlex.quote(str(mark))}']\n"
    )
    evil = b"cos\nsystem\n(S'touch " + os.fsencode(mark) + b"'\ntR."
    for name in ("pets.json", "pets.stat"):
        (house.project / ".databom" / "last" / name).write_bytes(evil)
    done = run(house, WATCH + code)
    assert done.returncode == 0, done.stderr
    assert "UNSAFE" not in done.stderr
    assert "STARTS subprocess" not in done.stderr
    house.cli("add", house.market / "v1" / "manifest.json", "--name", "pets")
    for door in (databom.dvc.register_stage, databom.verify):
        with suppress(DatabomError):
            door("pets")
    assert not mark.exists()


@pytest.mark.parametrize(
    "code",
    ["import databom, databom.tasks, databom.dvc, databom.mlflow", "import databom.cli"],
    ids=["python", "cli"],
)
def test_l06_an_import_touches_nothing(house: House, code: str) -> None:
    done = run(house, WATCH + code, PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stderr) == (0, "")


@DOORS
def test_l07_a_rogue_plugin_is_never_asked(house: House, code: str) -> None:
    """Installed for real, by its entry points, for every scheme that databom reads."""
    house.synced()
    folder = distribution(
        house.base / "rogue",
        "rogue",
        "1.0",
        "[fsspec.specs]\n"
        + "".join(f"{name} = rogue:System\n" for name in ("file", "local", "s3", "r2", "https")),
    )
    mark = house.base / "asked"
    (folder / "rogue.py").write_text(f"open({str(mark)!r}, 'w').close()\nSystem = None\n")
    done = run(house, code, PYTHONPATH=str(folder))
    assert done.returncode == 0, done.stderr
    assert not mark.exists()
    run(house, "import fsspec; fsspec.get_filesystem_class('r2')", PYTHONPATH=str(folder))
    assert mark.exists(), "the plugin would have been found"
