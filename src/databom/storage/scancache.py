r"""What scanners said of bytes, remembered by the bytes' digest: one file a dataset and set of scanners.

`scans/<name>.rows` in the user's cache directory, 0700 and ours (`databom.storage.hashcache` has the key and the
rules), as if by a shell command,

    printf 'databom scans 1\n'; then each block: its length in 4 bytes, its HMAC-SHA256, its data

More precisely: a block's data is a MessagePack array of [key, answer] pairs, the key a text, the answer bytes. The MAC
is over the block's index (8 bytes, little-endian) and its data, under a key derived from the user's, this machine, and
what the file is about: the dataset and the identities of all scanners. An answer of other scanners, or of another
version of one, is in another file; a row that somebody else wrote is no row.

Losing any of it costs a second look and nothing else, so nothing here raises for a cache that cannot be used.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from databom.errors import DatabomError
from databom.storage import files, hashcache
from databom.storage.machine import machine

MAGIC = b"databom scans 1\n"
BLOCK_ROWS = 4096
MAX_BLOCK_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")
_INDEX = struct.Struct("<Q")
_MAC_BYTES = 32
_ROWS = msgspec.msgpack.Decoder(list[tuple[str, bytes]])


class ScanCache:
    """What is remembered about one dataset. Reads as empty, and keeps nothing, where the cache cannot be used.

    Args:
        about: everything an answer depends on besides the bytes.
        directory: the cache directory; by default the user's.
    """

    def __init__(self, about: bytes, directory: Path | None = None) -> None:
        place = directory or hashcache.cache_directory()
        self._place = place
        self._about = about

    def rows(self) -> dict[str, bytes]:
        """The remembered answers by their keys."""
        secret = self._secret(make=False)
        if secret is None:
            return {}
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return dict(_read(self._file(secret), secret))
        return {}

    def keep(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Remember these answers in place of all others about this dataset."""
        secret = self._secret(make=True)
        if secret is None:
            return
        path = self._file(secret)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        with contextlib.suppress(OSError):
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                with open(descriptor, "wb") as file:
                    file.write(MAGIC)
                    file.writelines(_blocks(rows, secret))
                temporary.replace(path)  # not flushed: what a power cut tears has no MAC
            finally:
                temporary.unlink(missing_ok=True)

    def _file(self, secret: bytes) -> Path:
        assert self._place is not None
        return self._place / "scans" / f"{hmac.digest(secret, b'name', 'sha256').hex()[:32]}.rows"

    def _secret(self, *, make: bool) -> bytes | None:
        if self._place is None:
            return None
        try:
            if make:
                files.make_private_dir(self._place)
                files.make_private_dir(self._place / "scans")
            key = hashcache.user_key(self._place, make=make)
        except (OSError, ValueError, DatabomError):
            return None
        if key is None:
            return None
        who = f"{machine()} {os.getuid()} ".encode()
        return hmac.digest(key, b"databom scans 1\0" + who + self._about, "sha256")


def _blocks(rows: Iterable[tuple[str, bytes]], secret: bytes) -> Iterator[bytes]:
    rest, index = iter(rows), 0
    while block := list(islice(rest, BLOCK_ROWS)):
        data = msgspec.msgpack.encode(block)
        yield _LENGTH.pack(len(data)) + _mac(secret, index, data) + data
        index += 1


def _read(path: Path, secret: bytes) -> Iterator[tuple[str, bytes]]:
    with open(path, "rb") as file:
        if not hashcache.is_ours(os.fstat(file.fileno())) or file.read(len(MAGIC)) != MAGIC:
            return
        index = 0
        while len(prefix := file.read(_LENGTH.size + _MAC_BYTES)) == _LENGTH.size + _MAC_BYTES:
            (length,) = _LENGTH.unpack_from(prefix)
            if length > MAX_BLOCK_BYTES:
                return
            data = file.read(length)
            if not hmac.compare_digest(_mac(secret, index, data), prefix[_LENGTH.size :]):
                return
            yield from _ROWS.decode(data)
            index += 1


def _mac(secret: bytes, index: int, data: bytes) -> bytes:
    return hmac.digest(secret, _INDEX.pack(index) + data, "sha256")
