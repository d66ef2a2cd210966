"""A writer that is killed, or whose system calls fail: nothing acknowledged is gone, and the next writer just goes on.

A sample by default; `DATABOM_TORTURE=1 pytest tests/log` kills a thousand times (attacks.md G01 to G06, H06, H08).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from databom.checks.log import audit
from support.tlog import SmallLog
from support.tracing import start, traced

FULL = bool(os.environ.get("DATABOM_TORTURE"))

WRITER = """
    import os, sys
    from pathlib import Path
    from databom.trust.keys import PrivateKey
    from support.tlog import SmallLog
    small = SmallLog(Path(sys.argv[1]), PrivateKey.from_pem(sys.argv[2].encode()))
    writer = small.writer()
    number = int(sys.argv[3])
    while True:
        entries = [b"%d" % one for one in range(number, number + number % 5 + 1)]
        indexes = writer.append(entries)
        os.write(1, b"".join(b"%d %s\\n" % pair for pair in zip(indexes, entries)))
        number += len(entries)
"""


def test_g01_h06_a_writer_that_is_killed_at_any_moment(tmp_path: Path) -> None:
    small = SmallLog(tmp_path / "log")
    chance, acknowledged, seen = random.Random(7), {}, 0
    kills, total = (1000 if FULL else 12), 0
    for kill in range(kills):
        child = start(WRITER, small.folder, small.key.pem().decode(), 1000 + total * 7)
        assert child.stdout is not None
        for _ in range(chance.randrange(1, 8)):
            index, entry = child.stdout.readline().split()
            acknowledged[int(index)] = entry
        # Somewhere in the next commit, whose steps take about as long as this.
        try:
            child.wait(timeout=chance.random() * 0.05)
        except subprocess.TimeoutExpired:
            child.kill()
        rest, _ = child.communicate()
        for line in rest.decode().splitlines():
            index, entry = line.split()
            acknowledged[int(index)] = entry.encode()
        reader = small.reader()
        found = dict(reader.entries(seen, reader.size))
        assert {index: found.get(index) for index in acknowledged} == acknowledged
        if kill % 50 == 0 or kill == kills - 1:
            assert audit(reader, {}, small.speakers).findings == ()
        total += len(acknowledged)
        acknowledged, seen = {}, reader.size
    assert small.reader().size >= total > kills
    last = small.append(b"after all that")
    assert small.reader().entry(last.start) == b"after all that"
    assert list((small.folder / ".state" / "coming").iterdir()) == []


# --- system calls ----------------------------------------------------------------------------------------

COMMIT = """
import resource, sys
from pathlib import Path
from databom.trust.keys import PrivateKey
from support.tlog import SmallLog
small = SmallLog(Path(sys.argv[1]), PrivateKey.from_pem(sys.argv[2].encode()))
SmallLog(Path(sys.argv[1] + ".warm"), small.key).append(b"x")  # whatever is loaded late is loaded now
writer = small.writer()
ready()
if largest := int(sys.argv[3]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
try:
    said = "appended %d" % writer.append([b"new one", b"new two"]).start
except DatabomError as error:
    said = " ".join(("refused", type(error).__name__, str(error)))
say(said)
leave()
"""
OLD = [b"%d" % number for number in range(255)]


def commit(small: SmallLog, inject: str | None, largest: int = 0) -> tuple[str, int]:
    """What one commit said, and the exit code (negative: the signal that ended it)."""
    return traced(COMMIT, small.folder, small.key.pem().decode(), largest, inject=inject)


FAULTS = [
    *(
        (call, "signal=KILL")
        for call in ("openat", "write", "fsync", "linkat", "rename", "unlink", "mkdir", "close")
    ),
    *(
        (call, "error=EIO")
        for call in ("openat", "write", "fsync", "linkat", "rename", "unlink", "mkdir", "flock")
    ),
    *((call, "error=EIO") for call in ("ftruncate", "read", "getdents64", "close")),
    *((call, "error=ENOSPC") for call in ("openat", "write", "fsync", "linkat", "rename", "mkdir")),
    *((call, "error=EINTR") for call in ("openat", "write", "fsync", "flock", "read")),
]
TIDYING = {"unlink", "close", "rename", "getdents64"}
"""Calls that may fail without anything being lost: what they would have removed is removed later."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make system calls fail")
@pytest.mark.parametrize(("call", "what"), FAULTS)
def test_g03_g04_every_system_call_of_a_commit_fails_once(tmp_path: Path, call: str, what: str) -> None:
    key = SmallLog(tmp_path).key
    base = SmallLog(tmp_path / "base", key)
    base.append(*OLD)
    for n in range(1, 80):
        small = SmallLog(tmp_path / str(n), key)
        shutil.copytree(base.folder, small.folder)
        (small.folder / ".state" / "reserve").unlink()  # with which a full disk is no failure
        fault = f"{call}:{what}:when={n}"
        out, code = commit(small, fault)
        assert code == (-9 if out == "" else 0), (fault, out, code)
        done = out.startswith("appended 255")
        if out and not done:
            assert out.startswith(("refused StorageError", "refused FullError", "refused DeniedError")), (
                fault,
                out,
            )
            if "ENOSPC" in what:
                assert "FullError" in out, (fault, out)
        # What readers see is one or the other, and the next writer repairs without a hand.
        reader = small.reader()
        assert reader.size in ((257,) if done else (255, 257)), fault
        assert small.append(b"later").start in ((257,) if done else (255, 257)), fault
        found = small.entries()
        assert found[:255] == OLD, fault
        assert found[255:-1] in ([], [b"new one", b"new two"]), fault
        reader = small.reader()
        assert audit(reader, {}, small.speakers).findings == (), fault
        shutil.rmtree(small.folder)
        shutil.rmtree(f"{small.folder}.warm")
        if done and code == 0 and (n > 12 or call not in TIDYING | {"read"}):
            return
    pytest.fail("no commit got through")


def test_g04_a_write_that_is_cut_short(tmp_path: Path) -> None:
    """A limit on the size of files makes the kernel write a part, and then refuse."""
    small = SmallLog(tmp_path / "log")
    small.append(*OLD)
    # Larger than what is loaded late writes, smaller than the claim, than the bundle, than the tile.
    for largest in (400, 1000, 8000):
        out, code = commit(small, None, largest)
        assert (out.split()[:2], code) == (["refused", "FullError"], 0), out
        assert small.reader().size in (255, 257)
    assert small.append(b"later").start == 257
    assert small.entries() == [*OLD, b"new one", b"new two", b"later"]
    assert audit(small.reader(), {}, small.speakers).findings == ()
