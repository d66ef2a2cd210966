r"""Answers that cost much to find again, each under a key: one file for all that depend on the same things.

`scans/<name>.rows`: what scanners said of bytes, by the bytes' digest; a file a dataset and set of scanners.
`logs/<name>.rows`: what a log had said up to one of its checkpoints; a file a log. In the user's cache directory, 0700
and ours (`databom.storage.hashcache` has the key and the rules), as if by a shell command,

    printf 'databom scans 1\n'; then each block: its length in 4 bytes, its HMAC-SHA256, its data

More precisely: a block's data is a MessagePack array of [key, answer] pairs, the key a text, the answer bytes. The MAC
is over the block's index (8 bytes, little-endian) and its data, under a key derived from the user's, this machine, and
what the file is about: the dataset and the identities of all scanners, or the log. An answer of other scanners, or of
another version of one, is in another file; a row that somebody else wrote is no row.

Losing any of it costs a second look and nothing else, so nothing here raises for a cache that cannot be used.
"""

from __future__ import annotations

import contextlib
import hmac
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from databom.errors import DatabomError
from databom.storage import files, hashcache
from databom.storage.machine import machine
from databom.storage.sealed import file_of, read_blocks, write_blocks

BLOCK_ROWS = 4096
MAX_BLOCK_BYTES = 64 * 1024 * 1024
_ROWS = msgspec.msgpack.Decoder(list[tuple[str, bytes]])


class AnswerCache:
    """What is remembered about one thing. Reads as empty, and keeps nothing, where the cache cannot be used.

    Args:
        about: everything an answer depends on besides its key.
        directory: the cache directory; by default the user's.
        kind: which folder of it.
    """

    def __init__(self, about: bytes, directory: Path | None = None, *, kind: str = "scans") -> None:
        place = directory or hashcache.cache_directory()
        self._place = place
        self._about = about
        self._kind = kind
        self._magic = f"databom {kind} 1\n".encode()

    def rows(self) -> dict[str, bytes]:
        """The remembered answers by their keys."""
        secret = self._secret(make=False)
        if secret is None:
            return {}
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            blocks = read_blocks(self._file(secret), self._magic, secret, MAX_BLOCK_BYTES)
            return dict(row for data in blocks for row in _ROWS.decode(data))
        return {}

    def keep(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Remember these answers in place of all others about this dataset."""
        secret = self._secret(make=True)
        if secret is None:
            return
        with contextlib.suppress(OSError):
            write_blocks(self._file(secret), self._magic, _blocks(rows), secret)

    def _file(self, secret: bytes) -> Path:
        assert self._place is not None
        return file_of(self._place / self._kind, secret)

    def _secret(self, *, make: bool) -> bytes | None:
        if self._place is None:
            return None
        try:
            if make:
                files.make_private_dir(self._place)
                files.make_private_dir(self._place / self._kind)
            key = hashcache.user_key(self._place, make=make)
        except (OSError, ValueError, DatabomError):
            return None
        if key is None:
            return None
        who = f"{machine()} {os.getuid()} ".encode()
        return hmac.digest(key, self._magic[:-1] + b"\0" + who + self._about, "sha256")


def _blocks(rows: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    rest = iter(rows)
    while block := list(islice(rest, BLOCK_ROWS)):
        yield msgspec.msgpack.encode(block)
