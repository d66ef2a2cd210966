"""Sorted lines by the million, on disk: runs that are written one by one and merged on the way out.

The file has no name (it is gone with its process), lies where temporary files lie (`TMPDIR`), and takes the bytes of
the lines and nothing more. In memory there is one block a run.
"""

from __future__ import annotations

import heapq
import os
from itertools import islice
from typing import TYPE_CHECKING, Self

from databom.storage.posix import storage_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BUFFER_BYTES = 64 * 1024 * 1024
"""What all runs together may hold in memory while they are merged."""
MAX_BLOCK_BYTES = 1024 * 1024
MIN_BLOCK_BYTES = 8 * 1024
_LINES = 10_000


class Spill:
    """Runs of lines, each run sorted by its bytes; no line holds a line feed. Closes like a file."""

    def __init__(self) -> None:
        import tempfile

        try:
            self._file = tempfile.TemporaryFile(prefix="databom-")  # noqa: SIM115  # closed by `close`
        except OSError as error:
            raise storage_error(error, tempfile.gettempdir(), "write a temporary file in") from error
        self._folder = tempfile.gettempdir()
        self._runs: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()

    def add(self, lines: Iterable[bytes]) -> None:
        """Write one run.

        Raises:
            StorageError: the disk is full, or does not answer.
        """
        rest = iter(lines)
        try:
            begin = self._file.seek(0, os.SEEK_END)
            while batch := list(islice(rest, _LINES)):
                self._file.write(b"\n".join(batch) + b"\n")
            self._file.flush()
            self._runs.append((begin, self._file.tell()))
        except OSError as error:
            raise storage_error(error, self._folder, "write a temporary file in") from error

    def merged(self) -> Iterator[bytes]:
        """The lines of all runs, sorted by their bytes.

        Raises:
            StorageError: the disk does not answer.
        """
        room = BUFFER_BYTES // max(len(self._runs), 1)
        block = min(max(room, MIN_BLOCK_BYTES), MAX_BLOCK_BYTES)
        return heapq.merge(*(self._lines(begin, end, block) for begin, end in self._runs))

    def _lines(self, at: int, end: int, block: int) -> Iterator[bytes]:
        rest = b""
        while at < end:
            try:
                data = os.pread(self._file.fileno(), min(block, end - at), at)
            except OSError as error:
                raise storage_error(error, self._folder, "read a temporary file in") from error
            at += len(data)
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            yield from lines
