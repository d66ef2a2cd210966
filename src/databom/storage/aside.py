"""Moving one thing out of a tree without changing, following or replacing anything.

Evidence is what a bad file is: it is renamed, or, across file systems, copied with its kind and its bytes and
removed only after the copy is durable.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from databom.storage import posix

if TYPE_CHECKING:
    from pathlib import Path

_TRIES = 10_000


def move_new(directory: int, name: str, target: Path) -> Path:
    """Move the entry `name` of an open directory to `target`, or to `target.2`, `.3` … where names are taken.

    The target's directory is private to us (the caller made it 0700): nobody races us for names there.

    Raises:
        OSError: for the caller to translate; the entry is still where it was.
    """
    place = os.open(target.parent, posix.LISTING)
    try:
        for number in range(1, _TRIES):
            free = target.name if number == 1 else f"{target.name}.{number}"
            try:
                _move(directory, name, place, free)
            except FileExistsError:
                continue
            return target.with_name(free)
    finally:
        posix.close(place)
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))


def _move(directory: int, name: str, place: int, free: str) -> None:
    try:
        _rename(directory, name, place, free)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(directory, name, place, free)
        os.unlink(name, dir_fd=directory)


def _rename(directory: int, name: str, place: int, free: str) -> None:
    try:
        posix.rename_new(directory, name, place, free)
    except OSError as error:
        if error.errno not in {errno.ENOSYS, errno.EINVAL}:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.stat(free, dir_fd=place, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(name, free, src_dir_fd=directory, dst_dir_fd=place)


def _copy(directory: int, name: str, place: int, free: str) -> None:
    """The same kind of thing with the same bytes on another file system; removed again if anything fails."""
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=directory), free, dir_fd=place)
    elif stat.S_ISREG(mode):
        _copy_file(directory, name, place, free)
    elif stat.S_ISDIR(mode):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    else:
        os.mknod(free, stat.S_IFMT(mode) | 0o600, dir_fd=place)
    os.fsync(place)


def _copy_file(directory: int, name: str, place: int, free: str) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        copy = os.open(free, flags, 0o600, dir_fd=place)
        try:
            while part := os.read(source, 1 << 20):
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(copy, rest) :]
            os.fsync(copy)
        except BaseException:
            os.unlink(free, dir_fd=place)
            raise
        finally:
            posix.close(copy)  # flushed already
    finally:
        posix.close(source)
