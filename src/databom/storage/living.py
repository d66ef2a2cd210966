"""Whether the process that wrote something still lives: a file that it holds locked for as long as it does.

The kernel gives a lock (flock) up when its process ends, however it ends; a process id would say nothing after a
reboot or beyond a container. A forked child holds no lock of its parent's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from pathlib import Path

from databom.storage import posix
from databom.storage.files import make_private_dir

SUFFIX = ".lock"
_GRACE_SECONDS = 3600.0
_TRIES = 8

_held: dict[str, tuple[str, int]] = {}
"""By folder: the token of this process, and its descriptor."""


def _forget() -> None:
    """In a forked child: close our copies. The parent's own keep the lock."""
    while _held:
        with contextlib.suppress(OSError):
            posix.close(_held.popitem()[1][1])


os.register_at_fork(after_in_child=_forget)


def token(folder: Path) -> str:
    """The token of this process in `folder`, whose lock it holds from now on until it ends.

    Raises:
        StorageError: the folder cannot be made.
        OSError: the file cannot be made or locked.
    """
    key = os.path.realpath(folder)
    if key in _held:
        return _held[key][0]
    make_private_dir(folder)
    for _ in range(_TRIES):
        name = secrets.token_hex(8)
        path = folder / f"{name}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                _held[key] = (name, descriptor)
                return name
        except OSError:  # a `clear` was looking at it, or has taken it away
            pass
        posix.close(descriptor)
    raise BlockingIOError("the folder of locks is not to be had")


def lives(folder: Path, name: str) -> bool:
    """Whether the process with this token lives (as far as this machine can tell: the folder is a local one)."""
    if (own := _held.get(os.path.realpath(folder))) is not None and own[0] == name:
        return True
    try:
        descriptor = os.open(folder / f"{name}{SUFFIX}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        posix.close(descriptor)
    return False


def clear(folder: Path) -> None:
    """Remove the files of processes that ended an hour ago or more."""
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _GRACE_SECONDS and not lives(folder, path.stem):
                path.unlink()
