"""The three Linux calls Python lacks, read leases, and every `OSError` in our words.

`openat2`, `renameat2` and `syncfs` are reached through libc's `syscall`/`syncfs`; each answers "not here"
with `ENOSYS`, so callers keep a portable way beside it. This is the one place where storage turns an errno
into an error of `databom.errors`: nothing above the room sees a bare `OSError`.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import struct
import sys
from typing import Any

from databom.errors import DeniedError, FullError, MissingError, StorageError, UnsafeFileError

# Calls newer than Linux 5.1 have one number everywhere; renameat2 is older.
_SYS_OPENAT2 = 437
_SYS_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347}

_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS

_RENAME_NOREPLACE = 1
AT_FDCWD = -100
"""In the place of a directory descriptor: names are resolved from the working directory."""

O_PATH: int = getattr(os, "O_PATH", os.O_RDONLY)
"""A handle that only names a directory, so it needs no read permission; read-only elsewhere."""

DIRECTORY = O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open a real directory as a place to resolve names from, never through a symlink."""

LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""As `DIRECTORY`, and the entries can be read and flushed."""

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@functools.cache
def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> int:
    """One libc call; raises `OSError` with its errno, and repeats a call that a signal interrupted."""
    import ctypes

    if not sys.platform.startswith("linux"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    function = getattr(_libc(), name)
    while True:
        answer = int(function(*arguments))
        if answer >= 0:
            return answer
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


@functools.cache
def _how(flags: int) -> Any:
    """`struct open_how` of openat2(2): flags, mode, resolve, each 64 bits in native order."""
    import ctypes

    return ctypes.create_string_buffer(struct.pack("=QQQ", flags, 0, _RESOLVE), 24)


def openat2(directory: int, path: str, flags: int) -> int:
    """Open `path` beneath the directory descriptor: no symlink at any level, no way out, no magic links.

    Raises:
        OSError: as openat2(2): ELOOP for a symlink, EXDEV for a way out, ENOSYS where the kernel has no such
            call.
    """
    import ctypes

    number, at, size = ctypes.c_long(_SYS_OPENAT2), ctypes.c_long(directory), ctypes.c_size_t(24)
    name = ctypes.c_char_p(os.fsencode(path))
    for _ in range(32):
        try:
            return _call("syscall", number, at, name, _how(flags), size)
        except OSError as error:
            # EAGAIN: a rename ran through the path and the kernel could not prove "beneath". Ask again.
            if error.errno != errno.EAGAIN:
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@functools.cache
def has_openat2() -> bool:
    """Whether this kernel (5.6 or newer) and its sandbox let us call openat2; asked once a process."""
    try:
        close(openat2(AT_FDCWD, ".", DIRECTORY))
    except OSError:
        return False
    return True


def rename_new(source_dir: int, source: str, target_dir: int, target: str) -> None:
    """Rename without ever replacing: renameat2(2) with RENAME_NOREPLACE, atomic.

    Raises:
        OSError: EEXIST when the target exists; ENOSYS or EINVAL where kernel or file system cannot do it.
    """
    import ctypes

    number = _SYS_RENAMEAT2.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    long, name = ctypes.c_long, ctypes.c_char_p
    _call(
        "syscall",
        long(number),
        long(source_dir),
        name(os.fsencode(source)),
        long(target_dir),
        name(os.fsencode(target)),
        ctypes.c_uint(_RENAME_NOREPLACE),
    )


def name_new(source: str, target: str, source_dir: int = AT_FDCWD, target_dir: int = AT_FDCWD) -> None:
    """Give a file a second name if nothing has it; the first may be gone afterwards, and may be left.

    A hard link, which fails if the name is taken; where there are none (FAT, some network mounts), `rename_new`.

    Raises:
        FileExistsError: the name is taken.
        OSError: neither way works here.
    """
    try:
        os.link(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        rename_new(source_dir, source, target_dir, target)


def syncfs(descriptor: int) -> bool:
    """Flush the whole file system that holds `descriptor`; False where the call does not exist.

    Since Linux 5.8 a failed write-back since the descriptor was opened is reported here.

    Raises:
        OSError: the flush failed: what was written since cannot be relied on, and a second flush proves
            nothing.
    """
    try:
        _call("syncfs", descriptor)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return False
        raise
    return True


def lease(descriptor: int, *, hold: bool = False) -> bool:
    """Whether nobody has this file open for writing or mapped writable now: a read lease (fcntl(2)) is to be had.

    With `hold` the lease is kept until the descriptor is closed: whoever then opens the file for writing waits for
    that, up to the system's lease-break time (45 s).

    Raises:
        OSError: this system, file system or user cannot have leases.
    """
    import fcntl

    if not hasattr(fcntl, "F_SETLEASE"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    # A writer who comes meanwhile makes the kernel send a signal: by default SIGIO, which would end this process.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return False
    if not hold:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def lease_is_held(descriptor: int) -> bool:
    """Whether the lease of `lease(hold=True)` is whole: nobody has asked to write since."""
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK


def close(descriptor: int) -> None:
    """Close a descriptor nothing was written through: there is nothing an error could tell (it is closed anyway)."""
    try:  # noqa: SIM105  # once a file, where half a microsecond counts
        os.close(descriptor)
    except OSError:
        pass


def storage_error(error: OSError, where: str, doing: str) -> StorageError:
    """The error of ours that an `OSError` stands for; `doing` completes "cannot … <where>" ("read", "write").

    The caller raises it `from` the original.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    text = f"cannot {doing} {where}: {reason}"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return MissingError(text, where=where)
    if error.errno in _DENIED:
        return DeniedError(
            text, where=where, hint="check who owns it and its permissions, or the mount's options"
        )
    if error.errno in _FULL:
        return FullError(
            text, where=where, hint="free some space (or raise the quota), then run the same command again"
        )
    if error.errno == errno.ELOOP:
        return UnsafeFileError(f"{text}: a symbolic link leads elsewhere", where=where)
    return StorageError(text, where=where)


def no_name(where: str, doing: str) -> MissingError:
    """The error for a path that can be no file's: it holds NUL or a lone surrogate (`ValueError` in Python)."""
    return MissingError(f"cannot {doing} {where!a}: it is no file name", where=ascii(where))
