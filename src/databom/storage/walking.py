"""A tree walked in the order of its paths, so that it can be laid beside a sorted list of any length."""

from __future__ import annotations

from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from databom.storage.localfile import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from databom.storage.tree import LocalTree

DIRECTORIES = frozenset({Kind.EMPTY, Kind.UNREADABLE, Kind.DEEP})
"""Kinds that stand for a directory: such an entry comes where the directory's contents would."""

Run = tuple[list[str], Kind | None]
"""Entries of one kind that stand side by side, and belong to one directory; None: directories still to be read."""


def walk_in_order(tree: LocalTree) -> Iterator[tuple[list[str], Kind]]:
    """As `LocalTree.walk`, sorted by path (by code points, which is the order of UTF-8 bytes), in runs of one kind.

    In memory are the names of the directories the walk is in.

    Raises:
        StorageError: as `LocalTree.walk`.
    """
    levels: list[Iterator[Run]] = [iter([([""], None)])]
    while levels:
        if (run := next(levels[-1], None)) is None:
            levels.pop()
            continue
        paths, kind = run
        if kind is not None:
            yield paths, kind
            continue
        levels.append(chain.from_iterable(map(partial(_runs, tree), paths)))


def _runs(tree: LocalTree, path: str) -> Iterator[Run]:
    """The entries of one directory, in order."""
    below: list[str] = []
    files: list[str] = []
    others = list(tree.entries(path, below, files))
    if files and not below and not others:  # the usual directory of a release
        files.sort()
        yield files, Kind.FILE
        return
    found: list[tuple[str, str, Kind | None]] = [(name, name, Kind.FILE) for name in files]
    found += [(f"{name}/" if kind in DIRECTORIES else name, name, kind) for name, kind in others]
    found += [(f"{name}/", name, None) for name in below]
    found.sort(key=itemgetter(0))
    for kind, run in groupby(found, itemgetter(2)):
        yield [name for _, name, _ in run], kind
