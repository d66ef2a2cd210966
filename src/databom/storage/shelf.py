"""Shelves: named bytes that are written once and never changed, and a few that are replaced whole.

What a log needs of the place it is kept in, and no more: a directory, a bucket, or a web server that only reads. The
shelf knows names and bytes; what they mean, and whether they are right, others decide.

    shelf = open_shelf(parse_location("r2://evidence/log"))
    with shelf.exclusive():
        shelf.keep([("tile/0/000", tile)])
        shelf.update("checkpoint", lambda found: newer)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from databom.errors import ConfigError, MissingError
from databom.storage.patience import PATIENCE, Patience, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from contextlib import AbstractContextManager

    from databom.storage.location import Location
    from databom.storage.reader import Reader


class Shelf(Protocol):
    """A place that can be read."""

    @property
    def shown(self) -> str:
        """Where it is, as text that holds no secret."""

    def read(self, name: str, /, limit: int) -> bytes | None:
        """The bytes under a name, None where there are none; never more than `limit` + 1 of them.

        Who gets more than `limit` knows that they are too many.

        Raises:
            StorageError: they cannot be had.
        """


class WritableShelf(Shelf, Protocol):
    """A place that can be written."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other writers out, where the place can do that; a bucket cannot, and `claim` decides there.

        Raises:
            StorageError: somebody else has held it for too long.
        """

    def claim(self, name: str, data: bytes, /) -> bool:
        """Put `data` under a name that nothing has, durably; whether it is what the name holds now.

        Raises:
            StorageError: it cannot be written; the name may hold it or not.
        """

    def keep(self, files: Sequence[tuple[str, bytes]], /, *, derived: Collection[str] = ()) -> list[str]:
        """Put all of these under their names, durably. Answers the names that hold other bytes, which stay.

        Args:
            files: names and bytes.
            derived: names whose bytes can be computed again: a power cut may take or tear them.

        Raises:
            StorageError: one of them cannot be written; each is there whole or not at all.
        """

    def update(self, name: str, change: Callable[[bytes | None], bytes | None], /) -> None:
        """Replace what a name holds by what `change` makes of it, atomically and durably; None changes nothing.

        Where the place keeps no writer out, `change` is asked again whenever another was faster.

        Raises:
            StorageError: it cannot be written, or others were always faster.
        """

    def discard(self, names: Iterable[str], /) -> None:
        """Remove what is of no use any more: a file, a folder with its files, or with `/` at the end its files only.

        What cannot be removed stays.
        """


class WebShelf:
    """A shelf behind any reader, for those who only look."""

    def __init__(self, reader: Reader, patience: Patience = PATIENCE) -> None:
        self._reader = reader
        self._patience = patience

    @property
    def shown(self) -> str:
        """As `Shelf.shown`."""
        return self._reader.shown

    def read(self, name: str, /, limit: int) -> bytes | None:
        """As `Shelf.read`."""
        patience = self._patience
        with contextlib.suppress(MissingError):
            return with_retries(
                lambda: self._read(name, limit),
                attempts=patience.attempts,
                budget=patience.budget,
                pause=patience.pause,
            )
        return None

    def _read(self, name: str, limit: int) -> bytes:
        data = bytearray()
        with self._reader.open(name) as stream:
            while len(data) <= limit and (piece := stream.read(limit + 1 - len(data))):
                data += piece
        return bytes(data)


def open_shelf(location: Location) -> Shelf:
    """The shelf at a location, to read."""
    if location.is_local:
        from databom.storage.shelf_local import LocalShelf

        return LocalShelf(location.local_path)
    from databom.storage.reader import open_reader

    return WebShelf(open_reader(location))


def open_writable_shelf(location: Location, patience: Patience = PATIENCE) -> WritableShelf:
    """The shelf at a location, to write; `patience` is for one elsewhere.

    Raises:
        ConfigError: nothing can be written there.
    """
    if location.is_local:
        from databom.storage.shelf_local import LocalShelf

        return LocalShelf(location.local_path)
    if location.is_bucket:
        from databom.storage.shelf_s3 import BucketShelf

        return BucketShelf(location, patience)
    raise ConfigError(
        f"{location.shown} can only be read", hint="use a directory, s3://bucket/prefix or r2://bucket/prefix"
    )
