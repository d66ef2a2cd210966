"""A large release from its shards: every shard read strictly, and the rules of a whole release held across them.

No path twice, no two paths that some file system folds into one, no file where another asset needs a directory, and
the tree digest over all assets in the order of their paths: all of it needs the assets in an order the publisher need
not have kept. So each shard is read by itself and its range noted. Where the ranges of shards do not overlap, which is
so for every publisher who cut a sorted list, their order is the order of the assets. Shards that do overlap are sorted
one by one into a temporary file and merged (`databom.storage.spill`). Memory is bounded by one shard.

Collisions are found between neighbors: with `/` sorted before every character of a name, a path that needs a directory
comes right after the file that stands in its way.

Up to `FEW_ASSETS` the assets are kept in memory. Above it a walk over them reads the shards again; their bytes are held
against the manifest each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from databom.errors import InputError, Problem
from databom.model import paths, shards
from databom.model.assets import Listed, Own, check_total, note_licenses
from databom.model.digest import TreeDigest
from databom.model.listings import Listing
from databom.model.members import MAX_UNKNOWN
from databom.model.text import printable
from databom.storage.spill import Spill

if TYPE_CHECKING:
    from databom.model.claims import Asset, Shard
    from databom.model.manifest import Manifest

FEW_ASSETS = 100_000
"""Releases up to this size are kept decoded."""

Source = Callable[["Shard"], bytes]
"""Gives a shard's bytes, not yet held against anything. Asked again whenever the shard is looked at."""

_BY_PATH = attrgetter("path")


class _Range(NamedTuple):
    """The first and the last line of a shard in one of the two orders."""

    first: bytes
    last: bytes
    number: int


Group = Sequence[_Range]
"""Shards whose ranges overlap; all others come before the first of them or after the last."""


class Sharded(Listing):
    """The assets of a release that its shards list."""

    def __init__(self, index: Sequence[Shard], source: Source, groups: Sequence[Group]) -> None:
        self._index = index
        self._source = source
        self._groups = groups
        self._count = sum(shard.count for shard in index)

    def __len__(self) -> int:
        return self._count

    def parts(self) -> Iterator[Sequence[Asset]]:
        """As `Listing.parts`: one shard at a time."""
        for shard in self._index:
            yield shards.read_again(self._source(shard), shard)

    def in_order(self) -> Iterator[tuple[str, str]]:
        """As `Listing.in_order`."""
        for group in self._groups:
            if len(group) == 1:
                yield from (
                    (asset.path, asset.sha256) for asset in sorted(self._read(group[0]), key=_BY_PATH)
                )
                continue
            with Spill() as spill:
                for one in group:
                    spill.add(sorted(map(_path_line, self._read(one))))
                for line in spill.merged():
                    path, _, digest = line.decode().partition("\0")
                    yield path, digest

    def key_lines(self, groups: Iterable[Group]) -> Iterator[bytes]:
        """The keys in their order, but of a shard that overlaps with no other only the first and the last."""
        for group in groups:
            if len(group) == 1:
                yield from sorted({group[0].first, group[0].last})
                continue
            with Spill() as spill:
                for one in group:
                    spill.add(sorted(map(_key_line, self._read(one))))
                yield from spill.merged()

    def _read(self, one: _Range) -> Sequence[Asset]:
        shard = self._index[one.number]
        return shards.read_again(self._source(shard), shard)


def assemble(manifest: Manifest, source: Source) -> Manifest:
    """The manifest with its assets and its tree digest; a manifest that has them is given back as it is.

    Ask for it only once somebody has signed the manifest: until then nothing it names need be read.

    Raises:
        InputError: with every problem found (at most 100): of a shard as `databom.model.shards.read_shard`, of the
            whole release `manifest.path`, `.duplicate` or `.limit`.
        StorageError: a shard, or the disk for temporary files, could not be had.
        ConfigError: a shard is Parquet and the extra `parquet` is not installed.
    """
    if manifest.is_complete:
        return manifest
    return _Assembly(manifest.index, source).run(manifest)


class _Assembly:
    """One reading of all shards."""

    def __init__(self, index: Sequence[Shard], source: Source) -> None:
        self.index = index
        self.source = source
        self.kept: list[Asset] | None = [] if sum(one.count for one in index) <= FEW_ASSETS else None
        self.paths: list[_Range] = []
        self.keys: list[_Range] = []
        self.unknown: list[str] = []
        self.licenses: dict[str, Own] = {}
        self.total = self.sized = 0

    def run(self, manifest: Manifest) -> Manifest:
        tree = TreeDigest()
        last = ""
        in_order = True
        for number, shard in enumerate(self.index):
            ordered = self._note(number, shard)
            in_order = in_order and last < ordered[0].path
            if in_order:
                last = ordered[-1].path
                tree.add((asset.path, asset.sha256) for asset in ordered)
        check_total(self.total)
        listing = Sharded(self.index, self.source, _groups(self.paths))
        _check_apart(listing.key_lines(_groups(self.keys)))
        if not in_order:
            tree = TreeDigest()
            tree.add(listing.in_order())
        assets = listing if self.kept is None else tuple(self.kept)
        complete = self.total if self.sized == len(assets) else None
        return manifest.completed(Listed(assets, tree.digest(), complete, self.licenses), tuple(self.unknown))

    def _note(self, number: int, shard: Shard) -> list[Asset]:
        """Read one shard for the first time; its assets, sorted by path."""
        read = shards.read_shard(self.source(shard), shard)
        note_licenses(self.licenses, read.assets)
        self.unknown += read.unknown[: MAX_UNKNOWN - len(self.unknown)]
        if self.kept is not None:
            self.kept += read.assets
        sizes = [asset.size for asset in read.assets if asset.size is not None]
        self.total, self.sized = self.total + sum(sizes), self.sized + len(sizes)
        ordered = sorted(read.assets, key=_BY_PATH)
        self.paths.append(_Range(_path_line(ordered[0]), _path_line(ordered[-1]), number))
        keys = list(map(_key_line, ordered))
        self.keys.append(_Range(min(keys), max(keys), number))
        return ordered


def _path_line(asset: Asset) -> bytes:
    # NUL, which no path holds, sorts a path before those it is the beginning of.
    return f"{asset.path}\0{asset.sha256}".encode()


def _key_line(asset: Asset) -> bytes:
    key = paths.collision_key(asset.path).replace("/", "\1")
    return f"{key}\0{asset.path}".encode()


def _groups(ranges: Iterable[_Range]) -> Sequence[Group]:
    groups: list[list[_Range]] = []
    end = b""
    for one in sorted(ranges):
        if groups and one.first <= end:
            groups[-1].append(one)
        else:
            groups.append([one])
        end = max(end, one.last)
    return groups


def _check_apart(lines: Iterator[bytes]) -> None:
    """Refuse paths that collide; `lines` are keys and paths in the order of the keys."""
    if problems := list(islice(_collisions(lines), paths.MAX_PROBLEMS)):
        raise InputError(*problems)


def _collisions(lines: Iterator[bytes]) -> Iterator[Problem]:
    before = next(lines, b"")
    held, _, _ = before.partition(b"\0")
    for line in lines:
        key, _, _ = line.partition(b"\0")
        if key == held or key.startswith(held + b"\1"):
            yield _collision(before, line, is_same=key == held)
        held, before = key, line


def _collision(before: bytes, line: bytes, *, is_same: bool) -> Problem:
    one, other = (printable(text.partition(b"\0")[2].decode()) for text in (before, line))
    if one == other:
        what, expected = "the path is listed twice, in different shards", "each path once"
        return Problem(
            "manifest.duplicate",
            "/asset_index",
            what,
            expected,
            one,
            "ask the publisher for a corrected release",
        )
    why = (
        "are one name where case or Unicode form is folded"
        if is_same
        else "need a file and a directory of one name"
    )
    return Problem(
        "manifest.path",
        "/asset_index",
        f"the paths '{one}' and '{other}', in different shards, {why}",
        expected="paths that can exist side by side on every system",
        found=other,
        do="ask the publisher to rename one of them",
    )
