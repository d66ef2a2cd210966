"""Where the answer goes may be full or closed: the exit code stays the verdict's, or says "could not answer"."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.house import House

CLOSE = (
    "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


def closed(number: int, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `databom` with one of its three standard files closed."""
    command = [sys.executable, "-c", CLOSE, str(number), "-m", "databom", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("command", [["verify"], ["check", "--format", "json"], ["sync"], ["doctor"]])
def test_a_closed_standard_file(house: House, command: list[str], number: int) -> None:
    house.synced()
    before = (house.project / "databom.lock").read_bytes()
    done = closed(number, *command, cwd=house.project)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr
    assert (house.project / "databom.lock").read_bytes() == before
    (house.data / "images" / "cat1.jpg").write_bytes(b"a rat\n")
    assert closed(number, "verify", cwd=house.project).returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_behind_the_output(house: House) -> None:
    house.synced()

    def full(stdout: bool, *args: str) -> tuple[int, str]:
        with open("/dev/full", "wb") as device:
            done = subprocess.run(
                [sys.executable, "-m", "databom", *args],
                cwd=house.project,
                stdout=device if stdout else subprocess.PIPE,
                stderr=subprocess.PIPE if stdout else device,
                text=True,
                timeout=120,
                check=False,
            )
        return done.returncode, done.stderr or ""

    for command in (
        ["verify"],
        ["verify", "--format", "json"],
        ["bom"],
        ["doctor"],
        ["publish", "--template"],
    ):
        code, said = full(True, *command)
        assert code == 3, command
        assert "the answer cannot be written: No space left on device" in said
        assert "internal error" not in said
    assert full(False, "verify")[0] == 0
    assert full(False, "verify", "nosuch")[0] == 2
    assert full(False, "nosuch")[0] == 2
    (house.data / "images" / "cat1.jpg").write_bytes(b"a rat\n")
    assert full(False, "verify")[0] == 1
