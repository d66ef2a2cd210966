"""Directories, entered and made one level at a time, never through a symlink, and made durable."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from databom.errors import StorageError, UnsafeFileError
from databom.storage.localfile import kind_of
from databom.storage.posix import LISTING, close, storage_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def enter(directory: int, name: str, shown: str, *, make: bool, flush: bool = False) -> tuple[int, bool]:
    """Open the real directory `name` of an open directory; answers its descriptor and whether it was made.

    A directory made here is 0755 whatever the umask (and keeps an inherited setgid bit). With `flush` its
    entry is durable on return. `shown` names it in messages.

    Raises:
        UnsafeFileError: a symlink, or no directory.
        MissingError: it is not there and was not to be made.
        StorageError: it cannot be entered or made.
    """
    try:
        try:
            return os.open(name, LISTING, dir_fd=directory), False
        except FileNotFoundError:
            if not make:
                raise
        made = True
        try:
            os.mkdir(name, 0o755, dir_fd=directory)
        except FileExistsError:  # by somebody else meanwhile: then it is theirs, and must pass the open
            made = False
        descriptor = os.open(name, LISTING, dir_fd=directory)
        try:
            if made:
                os.fchmod(descriptor, (stat.S_IMODE(os.fstat(descriptor).st_mode) & ~0o777) | 0o755)
            if flush:
                flush_directory(directory)
        except OSError:
            close(descriptor)
            raise
    except OSError as error:
        raise refused(error, name, directory, shown) from error
    return descriptor, made


@contextlib.contextmanager
def way_to(
    root: int, path: str, shown: str, *, made: list[str] | None = None, flush: bool = False
) -> Iterator[int]:
    """Open a directory by its POSIX path below an open root; with `made`, make and note what is missing.

    Raises:
        StorageError: as `enter`.
    """
    current = os.dup(root)
    try:
        done = ""
        for name in path.split("/") if path else ():
            done = f"{done}/{name}" if done else name
            below, new = enter(current, name, f"{shown}/{done}", make=made is not None, flush=flush)
            close(current)
            current = below
            if new and made is not None:
                made.append(done)
        yield current
    finally:
        close(current)


def make_directories(path: Path) -> None:
    """Make a directory and what is missing above it: durably, 0755 less the umask. Follows links.

    Raises:
        OSError: for the caller to translate, who knows what the directory was for.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path == path.parent:
            break
        path = path.parent
    for each in reversed(missing):
        with contextlib.suppress(
            FileExistsError
        ):  # made meanwhile, or no directory: then the next step says so
            each.mkdir(mode=0o755)
            above = os.open(each.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                flush_directory(above)
            finally:
                close(above)


def flush_directory(descriptor: int) -> None:
    """Make a directory's entries durable: without this a power cut may lose a name just written.

    Raises:
        OSError: the flush failed.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # file systems that cannot flush a directory
            raise


def require_ours(status: os.stat_result, shown: str) -> None:
    """Refuse a directory of another user: whoever owns it decides what is in it.

    Raises:
        UnsafeFileError: another user owns it.
    """
    if status.st_uid != os.geteuid():
        raise UnsafeFileError(
            f"{shown} belongs to user {status.st_uid}, not to you",
            where=shown,
            hint="remove it and try again",
        )


def refused(error: OSError, name: str | Path, directory: int | None, shown: str) -> StorageError:
    """Why a directory could not be had, in words: above all, what stands in its place."""
    try:
        kind = kind_of(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        kind = None
    if kind is None and error.errno in {
        errno.ELOOP,
        errno.ENOTDIR,
    }:  # exchanged for a directory since we asked
        return UnsafeFileError(f"{shown} was no directory a moment ago: something replaces it", where=shown)
    if kind is None:
        return storage_error(error, shown, "open the directory")
    return UnsafeFileError(
        f"{shown} is a {kind.value}, not a directory",
        where=shown,
        hint="remove it" if directory is not None else "pass the real directory with --path",
    )
