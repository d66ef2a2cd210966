r"""What this machine remembers of files it has hashed: their keys and their digests, one file a tree.

A key is (device, inode, size, mtime_ns, ctime_ns): no ordinary program can write to a file and leave all five as they
were. `databom.checks.recalling` says when a key may be recorded and when it may be believed; this module keeps rows so
that nobody else can put words in our mouth. They lie in the user's cache directory (`DATABOM_CACHE`, else
`$XDG_CACHE_HOME/databom`, else `~/.cache/databom`), 0700 and ours, and carry a MAC.

`hashes/<name>.rows`, as if by a shell command,

    printf 'databom hashes 1\n'; then each block: its length in 4 bytes, its HMAC-SHA256, its data

More precisely: a block's data is two 4-byte numbers (rows, bytes of names), the names joined by NUL, then for each row
dev, ino, size (unsigned), mtime_ns, ctime_ns (signed), 8 bytes each, the SHA-256 (32 bytes) and the MD5 (16 bytes,
zeros where it is not known); all little-endian; rows are sorted by name. The MAC is over the block's index (8 bytes)
and its data, under a key derived from `hashes/key` (32 random bytes, 0600), this machine, this user and the tree's
path: a row that was edited, moved, or copied from another machine or tree is no row.

Losing any of it costs a second reading and nothing else, so nothing here raises for a cache that cannot be used.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from databom.errors import DatabomError
from databom.storage import files
from databom.storage.localfile import FileStat
from databom.storage.machine import machine
from databom.storage.sealed import file_of, is_ours, read_blocks, write_blocks

MAGIC = b"databom hashes 1\n"
KEY_BYTES = 32
BLOCK_ROWS = 4096
MAX_BLOCK_BYTES = 32 * 1024 * 1024
"""More than any block we write: 4,096 names of 4,096 bytes and their rows."""
LEAST_BYTES = 1024
"""Files up to this size are not remembered: a lease and a row cost more than their hash."""
NO_MD5 = bytes(16)

_COUNTS = struct.Struct("<II")
_KEY = struct.Struct("<QQQqq")
_SIZE = struct.Struct("<Q")
_SIZE_AT = struct.calcsize("<QQ")
_DIGESTS = struct.Struct("<32s16s")
KEY_SIZE = _KEY.size
ROW_SIZE = _KEY.size + _DIGESTS.size


class Row(NamedTuple):
    """A row, taken apart. `sha256` and `md5` are bare hex; `md5` is None where only the SHA-256 was computed."""

    key: FileStat
    sha256: str
    md5: str | None


def pack_key(status: os.stat_result) -> bytes:
    """The first `KEY_SIZE` bytes of the row of a file that looks like this."""
    return _KEY.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def pack_row(row: Row) -> bytes:
    """The `ROW_SIZE` bytes of a row."""
    md5 = bytes.fromhex(row.md5) if row.md5 else NO_MD5
    return _KEY.pack(*row.key) + _DIGESTS.pack(bytes.fromhex(row.sha256), md5)


def key_of(row: bytes) -> FileStat:
    """The key of a packed row."""
    return FileStat(*_KEY.unpack_from(row))


def row_size(rows: bytes | bytearray, start: int) -> int:
    """The size, in bytes, of the file whose row begins at `start`."""
    size: int
    (size,) = _SIZE.unpack_from(rows, start + _SIZE_AT)
    return size


def unpack_row(data: bytes | bytearray | memoryview) -> Row:
    """The row in `ROW_SIZE` bytes."""
    sha256, md5 = _DIGESTS.unpack_from(data, _KEY.size)
    return Row(FileStat(*_KEY.unpack_from(data)), sha256.hex(), None if md5 == NO_MD5 else md5.hex())


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The user's cache directory for databom; None where there is no home to put it in. Relative paths do not count."""
    named = environ.get("DATABOM_CACHE")
    if named:
        return Path(named).absolute()
    base = environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # noqa: PTH117  # a text, maybe empty
        try:
            base = os.fspath(Path("~/.cache").expanduser())
        except RuntimeError:
            return None
    return Path(base) / "databom"


class HashCache:
    """The rows of one tree. Reads as empty, and keeps nothing, where the cache cannot be used.

    Args:
        root: the tree's absolute path.
        directory: the cache directory; by default the user's.
    """

    def __init__(self, root: Path, directory: Path | None = None) -> None:
        self._root = os.fsencode(root)
        place = directory or cache_directory()
        self._folder = None if place is None else place / "hashes"

    def rows(self) -> Iterator[tuple[str, bytes]]:
        """(path, packed row) of what is remembered, sorted by path; ends at the first block that is not ours."""
        secret = self._secret(make=False)
        if secret is None:
            return
        with contextlib.suppress(OSError):
            for data in read_blocks(self._file(secret), MAGIC, secret, MAX_BLOCK_BYTES):
                yield from _rows_of(data)

    def keep(self, rows: Iterable[tuple[str, bytes]]) -> bool:
        """Remember these (path, packed row), sorted by path, and nothing else of this tree; False when it cannot be."""
        secret = self._secret(make=True)
        if secret is None:
            return False
        try:
            write_blocks(self._file(secret), MAGIC, _blocks(rows), secret)
        except (OSError, ValueError, struct.error):
            return False
        return True

    def forget(self) -> None:
        """Remember nothing of this tree."""
        secret = self._secret(make=False)
        if secret is not None:
            with contextlib.suppress(OSError):
                self._file(secret).unlink(missing_ok=True)

    # --- who may read and write ---------------------------------------------------------------

    def _file(self, secret: bytes) -> Path:
        assert self._folder is not None
        return file_of(self._folder, secret)

    def _secret(self, *, make: bool) -> bytes | None:
        """The key of this tree's MACs, derived from the user's; None where there is none to be had."""
        if self._folder is None:
            return None
        try:
            key = user_key(self._folder.parent, make=make)
        except (OSError, ValueError, DatabomError):
            return None
        if key is None:
            return None
        who = f"{machine()} {os.getuid()} ".encode()
        return hmac.digest(key, b"databom hashes 1\0" + who + self._root, "sha256")


def user_key(cache: Path, *, make: bool) -> bytes | None:
    """The user's key, from the cache directory; None where there is none to be had.

    Raises:
        OSError, ValueError, DatabomError: the directory cannot be used.
    """
    folder = cache / "hashes"
    if make:
        files.make_private_dir(cache)
        files.make_private_dir(folder)
    return _read_key(folder) or (_make_key(folder) if make else None)


def _read_key(folder: Path) -> bytes | None:
    """The user's key; None unless folder and file are ours alone."""
    try:
        place = folder.lstat()
        descriptor = os.open(folder / "key", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        private = stat.S_ISDIR(place.st_mode) and place.st_uid == os.getuid() and not place.st_mode & 0o077
        key = file.read(KEY_BYTES + 1) if private and is_ours(status) and not status.st_mode & 0o077 else b""
    return key if len(key) == KEY_BYTES else None


def _make_key(folder: Path) -> bytes | None:
    """A new key, unless another process was quicker: then its."""
    with contextlib.suppress(DatabomError):
        files.write_new(folder / "key", os.urandom(KEY_BYTES), mode=0o600)
    return _read_key(folder)


# --- rows and bytes -----------------------------------------------------------------------------------


def _blocks(rows: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    rest = iter(rows)
    while block := list(islice(rest, BLOCK_ROWS)):
        names = "\0".join([path for path, _ in block]).encode()
        yield b"".join([_COUNTS.pack(len(block), len(names)), names, *[row for _, row in block]])


def _rows_of(data: bytes) -> Iterator[tuple[str, bytes]]:
    count, size = _COUNTS.unpack_from(data)  # the MAC says that it is ours
    start = _COUNTS.size + size
    names = data[_COUNTS.size : start].decode().split("\0")
    places = range(start, start + count * ROW_SIZE, ROW_SIZE)
    return zip(names, [data[at : at + ROW_SIZE] for at in places], strict=True)
