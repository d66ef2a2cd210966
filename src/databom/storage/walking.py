"""A tree walked in the order of its paths, so that it can be laid beside a sorted list of any length."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from databom.storage.localfile import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from databom.storage.tree import LocalTree

DIRECTORIES = frozenset({Kind.EMPTY, Kind.UNREADABLE, Kind.DEEP})
"""Kinds that stand for a directory: such an entry comes where the directory's contents would."""


def walk_in_order(tree: LocalTree) -> Iterator[tuple[str, Kind]]:
    """As `LocalTree.walk`, sorted by path (by code points, which is the order of UTF-8 bytes).

    In memory are the names of the directories the walk is in.

    Raises:
        StorageError: as `LocalTree.walk`.
    """
    levels: list[Iterator[tuple[str, str, Kind | None]]] = [iter([("", "", None)])]
    while levels:
        if (entry := next(levels[-1], None)) is None:
            levels.pop()
            continue
        _, path, kind = entry
        if kind is not None:
            yield path, kind
            continue
        below: list[str] = []
        found: list[tuple[str, str, Kind | None]] = [
            (f"{name}/" if kind in DIRECTORIES else name, name, kind)
            for name, kind in tree.entries(path, below)
        ]
        found += [(f"{name}/", name, None) for name in below]
        found.sort(key=itemgetter(0))
        levels.append(iter(found))
