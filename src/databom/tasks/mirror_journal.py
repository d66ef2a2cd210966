"""What an interrupted `databom mirror` has already stored: one line an object, as the store acknowledged it.

The next run does not send these again, whatever its credentials may read. The journal is gone once a mirror is
complete, and not believed a day later: somebody may have emptied the bucket meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Self

from databom.storage.posix import storage_error
from databom.tasks.project import Project, read_optional

BELIEVED_SECONDS = 24 * 3600
MAX_JOURNAL_BYTES = 1024 * 1024 * 1024


class Journal:
    """The journal of one mirror. A context manager; `stale` says that there was one too old to be believed."""

    def __init__(self, place: Project, where: str) -> None:
        """Open the journal of the mirror that `where` names: its location, and the endpoint it is at.

        Raises:
            StorageError: it cannot be read or written.
        """
        name = hashlib.sha256(where.encode()).hexdigest()[:32]
        self._path = place.state("mirrored") / name
        self._lines: set[bytes] = set()
        raw = read_optional(self._path, MAX_JOURNAL_BYTES) or b""
        self.stale = bool(raw) and time.time() - self._path.stat().st_mtime > BELIEVED_SECONDS
        if self.stale:
            self.forget()
        else:
            # A line that a crash cut short names nothing.
            self._lines = set(raw[: raw.rfind(b"\n") + 1].splitlines())
        self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)

    def has(self, key: str, sha256: str) -> bool:
        """Whether these bytes were stored under this key."""
        return _line(key, sha256) in self._lines

    def add(self, key: str, sha256: str) -> None:
        """These bytes are stored under this key. Not flushed: a line that is lost costs one more question.

        Raises:
            StorageError: it cannot be written.
        """
        line = _line(key, sha256) + b"\n"
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                line = b"\n" + line  # what a crash cut short stays a line of its own
            os.write(self._file, line)
        except OSError as error:
            raise storage_error(error, os.fspath(self._path), "write") from error

    def forget(self) -> None:
        """Remove it."""
        self._path.unlink(missing_ok=True)


def _line(key: str, sha256: str) -> bytes:
    return (key if key.endswith(sha256) else f"{key} {sha256}").encode()
