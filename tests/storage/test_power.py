"""Power cuts: what was acknowledged is there afterwards, what has a name is whole, and the next run just goes on.

A few by default; `DATABOM_TORTURE=1` cuts two hundred times (attacks.md G02).
"""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys

import pytest

from databom.checks.log import audit
from databom.storage.staging import PARTIAL
from support.house import House
from support.powercut import Disk, disk
from support.tlog import SmallLog
from support.tracing import ENVIRONMENT, start

__all__ = ["disk"]

CUTS = 200 if os.environ.get("DATABOM_TORTURE") else 8
BODY = b"x" * 5000

WORKER = """
    import os, sys
    from pathlib import Path
    from databom.storage.files import write_atomic
    from databom.storage.staging import Staging
    from databom.trust.keys import PrivateKey
    from support.tlog import SmallLog
    root, number = Path(sys.argv[1]), int(sys.argv[3])
    writer = SmallLog(root / "log", PrivateKey.from_pem(sys.argv[2].encode())).writer()
    staging = Staging(root / "set")
    staging.sweep()
    while True:
        os.write(1, b"log %d %d\\n" % (number, writer.append([b"%d" % number]).start))
        count = (1, 4, 12)[number % 3]  # flushed one by one, together, with many directories
        temps = [staging.create() for _ in range(count)]
        for temp in temps:
            temp.write(b"x" * 5000)
        staging.publish_all([(temp, f"{number}/{i % 9 if count < 12 else i}/asset") for i, temp in enumerate(temps)])
        os.write(1, b"set %d %d\\n" % (number, count))
        write_atomic(root / "state.json", b"%08d" % number * 700)
        os.write(1, b"state %d 0\\n" % number)
        number += 1
"""


def acknowledged(disk: Disk, small: SmallLog, number: int, chance: random.Random) -> list[list[str]]:
    """What a worker said was durable before the power went."""
    child = start(WORKER, disk.at, small.key.pem().decode(), number)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(chance.randrange(1, 12))]
    # Somewhere in the next step, each of which takes a few milliseconds.
    select.select([], [], [], chance.random() * 0.02)
    disk.cut()
    child.kill()
    rest, _ = child.communicate()
    return [
        line.decode().split() for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith(b"\n")
    ]


def test_g02_nothing_that_was_acknowledged_is_lost(disk: Disk) -> None:
    small = SmallLog(disk.at / "log")
    chance, entries, number = random.Random(2), {}, 1
    for _ in range(CUTS):
        said = acknowledged(disk, small, number, chance)
        disk.again()
        entries |= {int(where): b"%d" % int(what) for kind, what, where in said if kind == "log"}
        found = dict(enumerate(small.entries()))
        assert {index: found.get(index) for index in entries} == entries
        assert audit(small.reader(), {}, small.speakers).findings == ()
        named = {p for p in (disk.at / "set").rglob("*") if p.is_file() and PARTIAL not in p.parts}
        assert {p.read_bytes() for p in named} <= {BODY}
        for kind, what, count in said:
            if kind == "set":
                assert len(list((disk.at / "set" / what).glob("*/asset"))) == int(count)
        states = [int(what) for kind, what, _ in said if kind == "state"]
        if states:
            state = (disk.at / "state.json").read_bytes()
            assert len(state) == 5600
            assert int(state[:8]) >= states[-1]
        number = max(number, *(int(what) for _, what, _ in said)) + 1
        for path in sorted((disk.at / "set").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    assert len(entries) >= CUTS
    assert small.append(b"after all that").start >= len(entries)


def test_g02_a_sync_whose_power_is_cut(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (disk.at / "house").mkdir()
    house = House(disk.at / "house", monkeypatch, capfd)
    house.init()
    files = {f"part/{number:03}.bin": b"%03d" % number * 7000 for number in range(300)}
    house.ok("add", house.release(files), "--name", "pets")
    os.sync()
    chance = random.Random(3)
    for _ in range(CUTS // 4):
        child = subprocess.Popen(
            [sys.executable, "-m", "databom", "sync", "pets", "-q"],
            cwd=house.project,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while child.poll() is None and not (house.data / PARTIAL).exists():
            pass
        select.select([], [], [], chance.random() * 0.3)
        monkeypatch.chdir("/")
        disk.cut()
        child.kill()
        child.wait()
        disk.again()
        monkeypatch.chdir(house.project)
        for path in house.data.rglob("*.bin"):
            assert path.read_bytes() == files[path.relative_to(house.data).as_posix()]
        house.ok("sync", "pets")
        house.ok("verify", "pets", "--full")
        assert not (house.data / PARTIAL).exists()
        house.ok("log", "verify")
        for path in sorted(house.data.rglob("*.bin"))[:: chance.randrange(1, 3)]:
            path.unlink()
        os.sync()
    monkeypatch.chdir("/")
