"""A directory as a shelf: temporary names, flushed, then linked; one writer at a time by the kernel's lock.

    <root>/.state/lock    the lock (flock), which dies with its process
    <root>/.state/coming/ files on their way to a name; whoever gets the lock sweeps what a kill left there
    <root>/.state/reserve room that is given back once the disk is full, so that the log can still say what failed

A name never leads to half a file, also after a power cut, unless its bytes are derived from another's: data is flushed
before it has a name, and the name before anything refers to it. A flush that failed proves nothing when it is repeated,
so it is not: the bytes are written anew.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from databom.errors import FullError, UnsafeFileError
from databom.storage import files, posix
from databom.storage.directories import flush_directory, make_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

_Answer = TypeVar("_Answer")
_STATE = ".state"
_TEMPORARY = f"{_STATE}/coming"
_RESERVE = f"{_STATE}/reserve"
_RESERVED = 1 << 20
"""Bytes: several commits of events. A bundle of long receipts may be larger; it waits for room as others do."""
_ONE_BY_ONE = 8
"""Up to as many files are flushed each by itself; more by one flush of the file system, as full as others made it."""


class LocalShelf:
    """A shelf in a directory, which is made when it is first written to."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = root / _TEMPORARY

    @property
    def shown(self) -> str:
        """The directory."""
        return os.fspath(self._root)

    def read(self, name: str, /, limit: int) -> bytes | None:
        """As `Shelf.read`."""
        path = self._root / name
        with files.translated(path, "read"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENXIO}:
                    raise UnsafeFileError(f"{path} is no file", where=os.fspath(path)) from error
                raise
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise UnsafeFileError(f"{path} is no file", where=os.fspath(path))
                parts, left = [], limit + 1
                while left and (part := os.read(descriptor, min(left, 1 << 20))):
                    parts.append(part)
                    left -= len(part)
            finally:
                posix.close(descriptor)
        return b"".join(parts)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """As `WritableShelf.exclusive`; waits for ten minutes at most."""
        files.make_folder(self._temporary)
        with files.exclusive(self._root / _STATE / "lock"):
            self.discard(self._left_behind())
            yield
            self._reserve()

    def _reserve(self) -> None:
        """Take room for hard times, where there is enough."""
        if not hasattr(os, "posix_fallocate"):
            return
        path = self._root / _RESERVE
        with contextlib.suppress(OSError):
            descriptor = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                os.posix_fallocate(descriptor, 0, _RESERVED)
            except OSError:
                path.unlink()
            finally:
                posix.close(descriptor)

    def _with_reserve(self, write: Callable[[], _Answer]) -> _Answer:
        """What `write` answers; on a full disk it is tried once more without the reserve."""
        try:
            return write()
        except FullError:
            if not os.path.lexists(self._root / _RESERVE):
                raise
            self.discard([_RESERVE])
        return write()

    def _left_behind(self) -> list[str]:
        with files.translated(self._temporary, "look into"):
            return [f"{_TEMPORARY}/{entry.name}" for entry in self._temporary.iterdir()]

    def claim(self, name: str, data: bytes, /) -> bool:
        """As `WritableShelf.claim`."""
        return not self.keep([(name, data)])

    def keep(self, files_: Sequence[tuple[str, bytes]], /, *, derived: Collection[str] = ()) -> list[str]:
        """As `WritableShelf.keep`."""
        return self._with_reserve(lambda: self._keep(files_, derived))

    def _keep(self, files_: Sequence[tuple[str, bytes]], derived: Collection[str]) -> list[str]:
        taken: list[str] = []
        folders: dict[Path, None] = {}
        bodies = [(data, name not in derived) for name, data in files_]
        with files.translated(self._root, "write into"), self._written(bodies) as ready:
            for (name, data), temporary in zip(files_, ready, strict=True):
                path = self._root / name
                make_directories(path.parent)
                if name not in derived:
                    folders[path.parent] = None
                try:
                    posix.name_new(os.fspath(temporary), os.fspath(path))
                except FileExistsError:
                    found = self.read(name, len(data)) or b""
                    if found != data and not (name in derived and is_torn(found, data)):
                        taken.append(name)
                        continue
                    # The same bytes: but were they, and their name, ever flushed? These are.
                    temporary.replace(path)
            for folder in folders:
                self._flush(folder)
        return taken

    def update(self, name: str, change: Callable[[bytes | None], bytes | None], /) -> None:
        """As `WritableShelf.update`; to be called while `exclusive` holds."""
        self._with_reserve(lambda: self._update(name, change))

    def _update(self, name: str, change: Callable[[bytes | None], bytes | None]) -> None:
        data = change(self.read(name, 1 << 20))
        if data is None:
            return
        path = self._root / name
        with files.translated(path, "write"), self._written([(data, True)]) as ready:
            ready[0].replace(path)
            self._flush(path.parent)

    def discard(self, names: Iterable[str], /) -> None:
        """As `WritableShelf.discard`."""
        for name in names:
            path = self._root / name
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    for inner in path.iterdir():
                        inner.unlink()
                    if not name.endswith("/"):  # a folder that comes again would have to be flushed again
                        path.rmdir()
                else:
                    path.unlink()

    @contextlib.contextmanager
    def _written(self, bodies: Sequence[tuple[bytes, bool]]) -> Iterator[list[Path]]:
        """Files with these bytes, flushed where that is asked, under temporary names, which are gone afterwards."""
        ready: list[Path] = []
        make_directories(self._temporary)
        folder = os.open(self._temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            together = sum(durable for _, durable in bodies) > _ONE_BY_ONE
            for data, durable in bodies:
                temporary = self._temporary / secrets.token_hex(8)
                ready.append(temporary)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(temporary, flags, 0o644), "wb", buffering=0) as file:
                    left = memoryview(data)
                    while left:
                        left = left[file.write(left) or 0 :]
                    if durable and not together:
                        os.fsync(file.fileno())
            if together and not posix.syncfs(folder):
                for temporary, (_, durable) in zip(ready, bodies, strict=True):
                    if durable:
                        _flush_file(temporary)
            yield ready
        finally:
            posix.close(folder)
            for temporary in ready:
                with contextlib.suppress(OSError):
                    temporary.unlink()

    def _flush(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flush_directory(descriptor)
        finally:
            posix.close(descriptor)


def is_torn(found: bytes, whole: bytes) -> bool:
    """Whether a power cut can have left this of a file that was not flushed: its end is missing, parts are zeros."""
    return len(found) <= len(whole) and all(
        one in (0, wanted) for one, wanted in zip(found, whole, strict=False)
    )


def _flush_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        posix.close(descriptor)
