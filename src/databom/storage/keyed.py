"""Reading assets that are stored under other names than their own: content-addressed, for instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from databom.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from databom.storage.reader import Reader, Stream


class KeyedReader:
    """Opens assets by path, from objects that a table names. A copy takes the table along."""

    def __init__(self, objects: Reader, keys: Mapping[str, str]) -> None:
        """Read `objects`; `keys` has the name of each asset's object, by the asset's path."""
        self._objects = objects
        self._keys = keys

    @property
    def shown(self) -> str:
        """The root of the objects."""
        return self._objects.shown

    def open(self, path: str, /) -> Stream:
        """The stream of the asset at `path`; see `Reader.open`."""
        key = self._keys.get(path)
        if key is None:
            raise MissingError(f"{self.shown}: no object is known for {path!r}", where=self.shown)
        return self._objects.open(key)
