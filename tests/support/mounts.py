"""Other file systems, mounted for one test where kernel and container allow it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MOUNTS = {
    "tmpfs": "mount -t tmpfs -o size=8m none {at}",
    "overlay": "mkdir {at}-l {at}-u {at}-w && "
    "mount -t overlay none {at} -o lowerdir={at}-l,upperdir={at}-u,workdir={at}-w",
    "ext4": "truncate -s 16m {at}.img && mkfs.ext4 -q {at}.img && mount -o loop {at}.img {at}",
    "bind": "mkdir {at}-real && mount --bind {at}-real {at}",
}


@pytest.fixture
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of the given kind, mounted; what a kernel or container cannot do is skipped, with its words."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    at = tmp_path / "mounted"
    at.mkdir()
    command = MOUNTS[request.param].format(at=at)
    made = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount {request.param} here: {made.stderr.strip()[:100]}")
    yield at
    subprocess.run(["umount", "-l", at], check=True)


def fill(at: Path, left: int = 0) -> Path:
    """A file that leaves so many bytes of a small file system, in whole pages; remove it to have them back."""
    filler = at / "filler"
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while (free := shutil.disk_usage(at).free) > left:
            file.write(bytes(min(1 << 16, free - left)))
    return filler
