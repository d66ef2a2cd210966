"""A disk whose power can be cut: ext4 on a loop device, shut down without its journal being flushed.

What was not flushed before the cut is gone when it is mounted again, as after a real one. (A drive that loses what it
said it had flushed is another matter, which no program can help.)
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN
_NOLOGFLUSH = struct.pack("I", 2)


class Disk:
    """One such disk; `at` is where it is mounted."""

    def __init__(self, base: Path) -> None:
        self.at = base / "disk"
        self._image = base / "disk.img"
        self.at.mkdir()
        self._run("truncate", "-s", "64m", self._image)
        self._run("mkfs.ext4", "-q", self._image)
        self.mount()

    def mount(self) -> None:
        self._run("mount", "-o", "loop", self._image, self.at)

    def cut(self) -> None:
        """From here on every call fails; nothing more reaches the disk."""
        descriptor = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NOLOGFLUSH)
        finally:
            os.close(descriptor)

    def again(self) -> None:
        """Power is back."""
        self.unmount()
        self.mount()

    def unmount(self) -> None:
        self._run("umount", self.at)

    @staticmethod
    def _run(*command: object) -> None:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{command[0]}: {done.stderr.strip()[:200]}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Skips where nobody may mount."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("a power cut needs root and ext4")
    try:
        made = Disk(tmp_path)
    except OSError as error:
        pytest.skip(f"cannot mount a loop device here: {error}")
    yield made
    made.unmount()
