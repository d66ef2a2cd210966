"""The project's own small files: whole or not at all, bounded, one writer at a time.

`write_atomic` and `read_bounded` are the only ways databom touches `databom.toml`, `databom.lock`,
`dvc.yaml`, reports and keys. `exclusive` is the lock every writing command holds: the kernel's (flock), so a
killed process leaves none.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING

from databom.errors import InputError, Problem, StorageError, UnsafeFileError
from databom.storage import posix
from databom.storage.directories import flush_directory, make_directories, require_ours
from databom.storage.localfile import kind_of
from databom.storage.posix import no_name, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK_PATIENCE_SECONDS = 600.0
"""How long `exclusive` waits before it says who is in the way."""

_POLL_SECONDS = 0.05


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False for a name that nothing can have, and where one may not look."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def has_folder(path: Path) -> bool:
    """Whether a folder is there, for whoever would take False as an answer.

    Raises:
        StorageError: one may not look, so nobody knows.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise storage_error(error, os.fspath(path), "look at") from error


@contextlib.contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """A block whose `OSError`s are told as ours, about `path`; `doing` as in `storage_error`.

    Raises:
        StorageError: any `OSError` of the block.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, os.fspath(path), doing) from error


def is_taken(path: Path) -> bool:
    """Whether anything is there, a dangling link too; False as in `is_folder`."""
    return os.path.lexists(path)


def _kind(mode: int) -> str:
    """What a mode says a thing is, for a message."""
    return f"a {kind_of(mode) or 'directory'}"


def read_bounded(path: Path, limit: int, *, prefix: str = "manifest") -> bytes:
    """The bytes of a regular file of at most `limit` bytes. Symlinks are followed: the user named the path.

    Never blocks on a FIFO or device, and never reads more than `limit` + 1 bytes.

    Raises:
        InputError: longer than `limit` (code `<prefix>.limit`).
        MissingError: there is no such file.
        UnsafeFileError: it is a directory, FIFO, socket or device.
        StorageError: it cannot be read.
    """
    shown = os.fspath(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError as error:
        raise no_name(shown, "read") from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # what the kernel answers for a socket
            raise UnsafeFileError(f"{shown} is a socket or a device, not a file", where=shown) from error
        raise storage_error(error, shown, "read") from error
    try:
        status = os.fstat(descriptor)
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            hint = "name the file itself" if stat.S_ISDIR(mode) else None
            raise UnsafeFileError(f"{shown} is {_kind(mode)}, not a file", where=shown, hint=hint)
        # All at once, so that there is one copy of it; then the end, or what was added meanwhile.
        parts, left, most = [], limit + 1, max(status.st_size + 1, 1 << 20)
        while left and (part := os.read(descriptor, min(left, most))):
            parts.append(part)
            left -= len(part)
            most = 1 << 20
    except OSError as error:
        raise storage_error(error, shown, "read") from error
    finally:
        posix.close(descriptor)
    if not left:
        raise InputError(
            Problem(f"{prefix}.limit", shown, "the file is too long", expected=f"at most {limit:,} bytes")
        )
    return b"".join(parts)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Put `data` at `path`: readers see the old bytes or the new, also after a power cut; never a mixture.

    What can be lost without harm need not be `durable`: it costs a tenth, and after a power cut it may be empty.

    Missing parent directories are made. An existing file keeps its mode; a new one gets `mode` less the
    umask. A symlink or special file at `path` is refused: replacing it would surprise whoever put it there.

    Raises:
        UnsafeFileError: something other than a regular file is there.
        StorageError: it cannot be written; what was there before still is.
    """
    with _beside(path, data, mode, durable=durable) as temporary:
        kept = _mode_to_keep(path)
        if kept is not None:
            temporary.chmod(kept)
        temporary.replace(path)
    if durable:
        sync_directory(path.parent)


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put `data` at `path`, where nothing may be yet: whole or not at all, with exactly `mode`, durable.

    Raises:
        StorageError: something is there already (it is untouched), or it cannot be written.
    """
    try:
        with _beside(path, data, mode) as temporary:
            temporary.chmod(mode)
            posix.name_new(os.fspath(temporary), os.fspath(path))
    except StorageError as error:
        if isinstance(error.__cause__, FileExistsError):
            shown = os.fspath(path)
            raise StorageError(f"{shown} exists and is not overwritten", where=shown) from error
        raise
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Make sure that no file is at `path`; a link there goes, what it leads to stays.

    Raises:
        StorageError: something is there that cannot be removed, a directory for one.
    """
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:
        pass  # what should be the folder is a file: nothing can be in it
    except ValueError as error:
        raise no_name(os.fspath(path), "remove") from error
    except OSError as error:
        raise storage_error(error, os.fspath(path), "remove") from error


def make_folder(path: Path) -> None:
    """Make sure a folder is at `path`; parents are made.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        make_directories(path)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except ValueError as error:
        raise no_name(os.fspath(path), "make") from error
    except OSError as error:
        raise storage_error(error, os.fspath(path), "make the directory") from error


@contextlib.contextmanager
def _beside(path: Path, data: bytes, mode: int, *, durable: bool = True) -> Iterator[Path]:
    """A durable file with `data` beside `path`, which the block gives its name; gone if it does not.

    Raises:
        StorageError: any `OSError`, also of the block.
    """
    shown = os.fspath(path)
    temporary = path.with_name(f".{path.name[:100]}.{os.urandom(8).hex()}.tmp")
    try:
        make_directories(path.parent)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(descriptor)
            yield temporary
        finally:
            with contextlib.suppress(OSError):  # it has its name
                temporary.unlink()
    except ValueError as error:
        raise no_name(shown, "write") from error
    except OSError as error:
        raise storage_error(error, shown, "write") from error


def _mode_to_keep(path: Path) -> int | None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise UnsafeFileError(
            f"{path} is {_kind(mode)}; databom will not replace it",
            where=os.fspath(path),
            hint="put a regular file there, or remove it",
        )
    return stat.S_IMODE(mode)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        StorageError: the flush failed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flush_directory(descriptor)
        finally:
            posix.close(descriptor)
    except ValueError as error:
        raise no_name(os.fspath(path), "flush") from error
    except OSError as error:
        raise storage_error(error, os.fspath(path), "flush") from error


def make_private_dir(path: Path) -> None:
    """Make sure `path` is a real directory of ours that nobody else can enter (0700). Parents are made.

    Raises:
        UnsafeFileError: it is a symlink or no directory, or another user owns it.
        StorageError: it cannot be made.
    """
    shown = os.fspath(path)
    try:
        make_directories(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise UnsafeFileError(f"{shown} is {_kind(status.st_mode)}, not a directory", where=shown)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            require_ours(status, shown)
            if stat.S_IMODE(status.st_mode) & 0o077:
                os.fchmod(descriptor, 0o700)
        finally:
            posix.close(descriptor)
    except ValueError as error:
        raise no_name(shown, "make") from error
    except OSError as error:
        raise storage_error(error, shown, "make the directory") from error


_held: set[int] = set()


def _forget_locks() -> None:
    """In a forked child: close our copies, so that a worker outliving its parent does not keep the lock."""
    while _held:
        with contextlib.suppress(OSError):
            posix.close(_held.pop())


os.register_at_fork(after_in_child=_forget_locks)


@contextlib.contextmanager
def exclusive(
    path: Path, *, waiting: Callable[[str], None] | None = None, patience: float = LOCK_PATIENCE_SECONDS
) -> Iterator[None]:
    """Hold the lock file `path` (made 0600, never removed) for the length of a `with` block.

    While another process holds it, `waiting` is called once with that process's name ("process 4711 on
    host"), and then the lock is asked for until `patience` seconds are over. Not re-entrant: a second call in
    the same process waits too. The lock dies with its process, however that ends.

    Raises:
        StorageError: still held after `patience` seconds, or the file cannot be made or locked.
    """
    shown = os.fspath(path)
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
        )
    except ValueError as error:
        raise no_name(shown, "lock") from error
    except OSError as error:
        raise storage_error(error, shown, "lock") from error
    _held.add(descriptor)
    try:
        _lock(descriptor, shown, waiting, patience)
        yield
    finally:
        if descriptor in _held:  # not in a forked child, which has closed it already
            _held.discard(descriptor)
            # Closing alone would leave the lock with a worker that was forked just now and has not closed its copy.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            posix.close(descriptor)


def _lock(descriptor: int, shown: str, waiting: Callable[[str], None] | None, patience: float) -> None:
    deadline, told = time.monotonic() + patience, False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _holder(descriptor)
            if waiting is not None and not told:
                waiting(holder)
                told = True
            if time.monotonic() >= deadline:
                raise StorageError(
                    f"another databom is at work here: {holder} holds {shown}",
                    where=shown,
                    hint="wait for it to end, or end it, then run the same command again",
                )
            time.sleep(_POLL_SECONDS)
        import socket

        with contextlib.suppress(
            OSError
        ):  # whoever waits is told no name: a full disk keeps nobody from working
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        raise storage_error(error, shown, "lock") from error


def _holder(descriptor: int) -> str:
    """Who says it holds the lock. Anyone may have written there, so only a plain name is repeated."""
    text = os.pread(descriptor, 200, 0).decode("ascii", "replace").partition("\n")[0]
    return text if text.startswith("process ") and text.isprintable() else "another process"
