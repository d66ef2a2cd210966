"""What an entry of a local tree is, and an open regular file of it."""

from __future__ import annotations

import enum
import os
import stat
from typing import BinaryIO, NamedTuple, Self

from databom.storage.posix import close, lease, lease_is_held, storage_error


class FileStat(NamedTuple):
    """What changes whenever a file's bytes may have: the key by which a digest can be remembered."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


def file_stat(status: os.stat_result) -> FileStat:
    """The part of a stat result that is a file's key."""
    return FileStat(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Kind(enum.StrEnum):
    """What an entry of a tree is. `DEEP` and `UNREADABLE` are directories that were not entered."""

    FILE = "file"
    SYMLINK = "symbolic link"
    FIFO = "FIFO"
    SOCKET = "socket"
    DEVICE = "device"
    EMPTY = "empty directory"
    DEEP = "directory deeper than any manifest may name"
    UNREADABLE = "directory that cannot be read"


def kind_of(mode: int) -> Kind | None:
    """The kind a mode stands for; None for a directory."""
    if stat.S_ISDIR(mode):
        return None
    if stat.S_ISREG(mode):
        return Kind.FILE
    return {stat.S_IFLNK: Kind.SYMLINK, stat.S_IFIFO: Kind.FIFO, stat.S_IFSOCK: Kind.SOCKET}.get(
        stat.S_IFMT(mode), Kind.DEVICE
    )


def is_same(before: os.stat_result, after: os.stat_result) -> bool:
    """`file_stat(before) == file_stat(after)` for two looks at one descriptor, at half the cost."""
    return (
        before.st_ctime_ns == after.st_ctime_ns
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_size == after.st_size
        and before.st_ino == after.st_ino
        and before.st_dev == after.st_dev
    )


def is_settled(descriptor: int) -> bool:
    """Whether the kernel says that nobody has the file open for writing now; False where it cannot say."""
    try:
        return lease(descriptor)
    except OSError:
        return False


class SmallFile(NamedTuple):
    """A file read in one go: its bytes, its key, whether that was the same after reading, `linked` and `settled`."""

    data: bytes
    opened: FileStat
    same: bool
    linked: int
    settled: bool


class LocalStream:
    """An open regular file of a tree: a `Stream` that can also be looked at.

    `opened` is its key when it was opened, and `linked` the number of its names if it had several then. A
    file that was reached through a link into DVC's cache counts as having one: the cache may have links.
    """

    __slots__ = ("_fd", "length", "linked", "opened", "shown")

    def __init__(self, descriptor: int, opened: FileStat, linked: int, shown: str) -> None:
        self._fd = descriptor
        self.opened = opened
        self.length: int | None = opened.size
        self.linked = linked
        self.shown = shown

    def read(self, n: int, /) -> bytes:
        """At most `n` bytes; empty at the end.

        Raises:
            StorageError: the disk did not answer.
        """
        try:
            return os.read(self._fd, n)
        except OSError as error:
            raise storage_error(error, self.shown, "read") from error

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as one call does; 0 at the end.

        Raises:
            StorageError: the disk did not answer.
        """
        try:
            return os.readv(self._fd, [buffer])
        except OSError as error:
            raise storage_error(error, self.shown, "read") from error

    def file(self) -> BinaryIO:
        """The same open file, as one that can be sought in; it is closed by itself, and shares this one's place.

        Raises:
            OSError: there are no descriptors left.
        """
        return os.fdopen(os.dup(self._fd), "rb")

    def stat(self) -> FileStat:
        """The file's key now; equal to `opened` as long as nobody changed it.

        Raises:
            StorageError: the disk did not answer.
        """
        try:
            return file_stat(os.fstat(self._fd))
        except OSError as error:
            raise storage_error(error, self.shown, "look at") from error

    def fileno(self) -> int:
        """The descriptor, for whoever maps the file."""
        return self._fd

    def is_settled(self) -> bool:
        """Whether the kernel says that nobody has the file open for writing now; False where it cannot say."""
        return is_settled(self._fd)

    def hold(self) -> bool:
        """Keep writers away until the file is closed; False if there is one already, see `posix.lease`.

        Raises:
            OSError: there are no leases here.
        """
        return lease(self._fd, hold=True)

    def is_held(self) -> bool:
        """Whether nobody has asked to write since `hold`."""
        return lease_is_held(self._fd)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
