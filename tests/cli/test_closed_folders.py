"""A folder one may not enter: nobody knows what is in it, so the answer is "could not answer", never a "no"."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.house import House

# Root may enter everything; PR_CAPBSET_DROP takes CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH from what is run next.
HUMBLE = """\
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "databom", *sys.argv[1:]])
"""


def humble(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `databom` with no more rights than the owner of the files has."""
    command = [sys.executable, "-c", HUMBLE, *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def shut(folder: Path) -> Iterator[None]:
    mode = folder.stat().st_mode & 0o777
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(mode)


@pytest.mark.parametrize(
    "folder",
    [
        ".databom",
        ".databom/last",
        ".databom/quarantine",
        ".databom/quarantine/pets",
        ".databom/synced",
        ".databom/synced/pets",
        "provenance/manifests",
        "provenance/reports",
        "data",
        "data/pets",
        "data/pets/images",
    ],
)
def test_sync(house: House, folder: str) -> None:
    house.synced()
    (house.data / "images" / "cat1.jpg").write_bytes(b"a rat\n")
    assert house.cli("sync").code == 1
    house.ok("sync", "--refetch")
    with shut(house.project / folder):
        done = humble("sync", "pets", cwd=house.project)
    assert done.returncode == 3, done
    assert "internal error" not in done.stderr
    assert "Permission denied" in done.stdout + done.stderr
    house.ok("sync", "pets")


@pytest.mark.parametrize("folder", ["data", "data/pets", "data/pets/images"])
def test_verify(house: House, folder: str) -> None:
    house.synced()
    with shut(house.project / folder):
        done = humble("verify", "pets", "--format", "json", cwd=house.project)
        there = humble("verify", "pets", "--root", house.data, "--format", "json", cwd=house.project)
    for answer in (done, there):
        assert answer.returncode == 3, answer
        report = json.loads(answer.stdout)
        assert report["verdict"] == "unanswered"
        assert {f["code"] for f in report["findings"] if f["severity"] == "block"} == {"storage.denied"}
