"""The command ends its process itself: what would have happened at the end has happened, and the code is its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.house import House

LEAVING = """
import atexit, sys, threading
sys.argv[0] = "databom"
{before}
from databom.__main__ import program
program()
"""


def left(house: House, *args: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = LEAVING.format(before=before)
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=house.project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("atexit.register(print, 'at exit')", "at exit"),
        ("atexit.register(print, 'second'); atexit.register(print, 'first')", "first\nsecond"),
        ("sys.stdout.write('half a line')", "half a line"),
        ("threading.Timer(0.3, print, ['a thread']).start()", "a thread"),
        ("atexit.register(lambda: 1 / 0); atexit.register(print, 'at exit')", "at exit"),
    ],
    ids=["one", "in order", "what is buffered", "threads are waited for", "one that fails"],
)
def test_nothing_is_cut_off_at_the_end(house: House, before: str, said: str) -> None:
    house.synced()
    done = left(house, "verify", before=before)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "verdict: pass" in done.stdout
    (house.data / "images" / "cat1.jpg").write_bytes(b"a rat\n")
    done = left(house, "verify", before=before)
    assert done.returncode == 1, done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(
    ("args", "code"),
    [(["--version"], 0), (["verify", "--no"], 2), (["verify", "nobody"], 2), ([], 2)],
    ids=str,
)
def test_the_code_is_the_commands(house: House, args: list[str], code: int) -> None:
    house.synced()
    assert left(house, *args).returncode == code
    assert left(house, *args, before="sys.setprofile(lambda *_: None)").returncode == code


def test_the_end_cannot_change_a_verdict(house: House, tmp_path: Path) -> None:
    """Whatever fails after the answer was given."""
    house.synced()
    for before in (
        "atexit.register(sys.stdout.close)",
        "atexit.register(sys.exit, 1)",
        "import os; atexit.register(os.close, 2)",
    ):
        assert left(house, "verify", before=before).returncode == 0
