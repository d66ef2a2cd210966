"""Files of the user's cache whose blocks carry a MAC: what a machine remembers, so that nobody else can add to it.

    a line that says what the file is, then each block: its length in 4 bytes, its HMAC-SHA256, its data

The MAC is over the block's index (8 bytes) and its data, all numbers little-endian. What stands in a block, and from
what the secret is derived, is its owner's (`hashcache`, `answercache`).
"""

from __future__ import annotations

import hmac
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

_LENGTH = struct.Struct("<I")
_INDEX = struct.Struct("<Q")
_PREFIX_BYTES = _LENGTH.size + 32


def is_ours(status: os.stat_result) -> bool:
    """A regular file of this user that nobody else can write."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def file_of(folder: Path, secret: bytes) -> Path:
    """Where the file with this secret is; its name says nothing of what it is about."""
    return folder / f"{hmac.digest(secret, b'name', 'sha256').hex()[:32]}.rows"


def write_blocks(path: Path, magic: bytes, blocks: Iterable[bytes], secret: bytes) -> None:
    """Put a file of these blocks in place of whatever is there, in one step.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with open(descriptor, "wb") as file:
            file.write(magic)
            file.writelines(
                _LENGTH.pack(len(data)) + _mac(secret, index, data) + data
                for index, data in enumerate(blocks)
            )
        temporary.replace(path)  # not flushed: what a power cut tears has no MAC
    finally:
        temporary.unlink(missing_ok=True)


def read_blocks(path: Path, magic: bytes, secret: bytes, most: int) -> Iterator[bytes]:
    """The blocks of a file, up to the first that is not ours or longer than `most` bytes.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        if not is_ours(os.fstat(file.fileno())) or file.read(len(magic)) != magic:
            return
        index = 0
        while len(prefix := file.read(_PREFIX_BYTES)) == _PREFIX_BYTES:
            (length,) = _LENGTH.unpack_from(prefix)
            if length > most:
                return
            data = file.read(length)
            if not hmac.compare_digest(_mac(secret, index, data), prefix[_LENGTH.size :]):
                return
            yield data
            index += 1


def _mac(secret: bytes, index: int, data: bytes) -> bytes:
    return hmac.digest(secret, _INDEX.pack(index) + data, "sha256")
