"""Reading a log: entries, proofs, and what was appended since, each held against a checkpoint that was believed before.

Opening reads nothing but the checkpoint. An entry costs one bundle and a tile per level; nothing that a log answers is
handed out before it has been proved to be in the tree that the checkpoint states.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from databom.errors import MissingError
from databom.log.checkpoint import Checkpoint, Opened, Speakers, open_checkpoint
from databom.log.merkle import (
    HASH_BYTES,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
)
from databom.log.note import MAX_NOTE_BYTES
from databom.log.tiles import (
    MAX_BUNDLE_BYTES,
    MAX_TILE_BYTES,
    WIDTH,
    Edge,
    bundle_name,
    edge_tiles,
    parse_bundle,
    parse_tile,
    refuse,
    tile_name,
    width_in,
)
from databom.log.tlogproof import TlogProof

if TYPE_CHECKING:
    from databom.storage.shelf import Shelf

CHECKPOINT = "checkpoint"
"""The name of a log's newest checkpoint."""
_HEIGHT = 8
_TILES_KEPT = 64


def read_checkpoint(shelf: Shelf) -> bytes | None:
    """The bytes of a log's newest checkpoint as they are, None where there is no log yet.

    Raises:
        StorageError: they cannot be had.
    """
    return shelf.read(CHECKPOINT, MAX_NOTE_BYTES)


class LogReader:
    """One log at one checkpoint."""

    def __init__(self, shelf: Shelf, opened: Opened) -> None:
        self._shelf = shelf
        self.opened = opened
        self._tiles: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()

    @classmethod
    def open(
        cls,
        shelf: Shelf,
        speakers: Speakers,
        origin: str | None,
        *,
        now: datetime,
        known: Collection[Checkpoint] = (),
    ) -> LogReader:
        """The log at its newest checkpoint; `known` as for `open_checkpoint`.

        Raises:
            MissingError: there is no log yet.
            InputError: as `open_checkpoint`.
            StorageError: it cannot be read.
        """
        raw = read_checkpoint(shelf)
        if raw is None:
            raise MissingError(
                f"there is no log at {shelf.shown} yet", where=shelf.shown, hint="the first event makes it"
            )
        return cls(shelf, open_checkpoint(raw, speakers, origin, now=now, known=known))

    @property
    def checkpoint(self) -> Checkpoint:
        """What the log states."""
        return self.opened.checkpoint

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self.opened.checkpoint.size

    # --- files --------------------------------------------------------------------------------

    def file(self, whole: str, partial: str, limit: int) -> bytes:
        """The bytes of a tile or bundle, partial or, where that has gone, whole.

        Raises:
            InputError: `log.corrupt`: the log has lost both.
        """
        for name in dict.fromkeys((partial, whole)):
            data = self._shelf.read(name, limit)
            if data is not None:
                break
        else:
            refuse(partial, "the log has lost this file, which its checkpoint covers")
        return data

    def tile(self, level: int, index: int) -> list[bytes]:
        """The hashes of a tile, as far as the checkpoint covers it. Nobody vouches for them yet.

        Raises:
            InputError: `log.corrupt`: it is not there, or not one.
        """
        kept = self._tiles.get((level, index))
        if kept is None:
            kept = self._read_tile(level, index, width_in(self.size, level, index))
            self._tiles[level, index] = kept
            if len(self._tiles) > _TILES_KEPT:
                self._tiles.popitem(last=False)
        return kept

    def _read_tile(self, level: int, index: int, width: int) -> list[bytes]:
        whole, name = tile_name(level, index), tile_name(level, index, width)
        if level or width == WIDTH:
            return parse_tile(self.file(whole, name, MAX_TILE_BYTES), width, name)
        for one in (name, whole):
            data = self._shelf.read(one, MAX_TILE_BYTES)
            # Not flushed when it is written: what a power cut leaves is missing, cut, or has zeros.
            if data and len(data) >= width * HASH_BYTES and bytes(HASH_BYTES) not in data:
                return parse_tile(data, width, one)
        return [leaf_hash(entry) for entry in self.bundle(index)]

    def bundle(self, index: int) -> list[bytes]:
        """The entries of a bundle, as far as the checkpoint covers it. Nobody vouches for them yet.

        Raises:
            InputError: `log.corrupt`: it is not there, or not one.
        """
        width = width_in(self.size, 0, index)
        name = bundle_name(index, width)
        return parse_bundle(self.file(bundle_name(index), name, MAX_BUNDLE_BYTES), width, name)

    def _node(self, level: int, index: int) -> bytes:
        height, below = divmod(level, _HEIGHT)
        first = index << below
        tile, at = divmod(first, WIDTH)
        row = self.tile(height, tile)[at : at + (1 << below)]
        while len(row) > 1:
            row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
        return row[0]

    # --- answers ------------------------------------------------------------------------------

    def entry(self, index: int) -> bytes:
        """One entry, proved to be the one the checkpoint covers.

        Raises:
            InputError: `log.corrupt`.
            ValueError: there is no such entry.
        """
        entry, _ = self._proved(index)
        return entry

    def entries(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """The entries [start, stop), each proved.

        Raises:
            InputError: `log.corrupt`.
        """
        for number in range(start // WIDTH, -(-stop // WIDTH)) if start < stop else ():
            entries = self._proved_bundle(number)
            for at, entry in enumerate(entries, number * WIDTH):
                if start <= at < stop:
                    yield at, entry

    def _proved_bundle(self, number: int) -> list[bytes]:
        """A bundle, held against its tile, and the tile by one proof: it leads over all hashes of the tile."""
        entries, hashes = self.bundle(number), self.tile(0, number)
        first = number * WIDTH
        for at, (entry, stated) in enumerate(zip(entries, hashes, strict=True), first):
            if leaf_hash(entry) != stated:
                _refuse_entry(at)
        self._require(first, entries[0], self._proof(first))
        return entries

    def prove(self, index: int) -> tuple[bytes, TlogProof]:
        """One entry, and the proof that it is in the log.

        Raises:
            InputError: `log.corrupt`.
            ValueError: there is no such entry.
        """
        entry, proof = self._proved(index)
        return entry, TlogProof(index, proof, self.opened.raw)

    def prove_since(self, old: int) -> tuple[bytes, ...]:
        """That the log begins with its first `old` entries; to be checked by whoever knows their root.

        Raises:
            InputError: `log.corrupt`.
            ValueError: the log is shorter.
        """
        return prove_consistency(old, self.size, self._node)

    def begins_with(self, old: Checkpoint) -> bool:
        """Whether this log begins with what an older checkpoint states; False for a larger one.

        Raises:
            InputError: `log.corrupt`: a tile is missing, so that nobody can tell.
        """
        if old.size > self.size:
            return False
        if old.size == 0:
            return True
        return check_consistency(
            old.size, self.size, self.prove_since(old.size), old.root, self.checkpoint.root
        )

    def find(self, entry: bytes, since: int = 0) -> int | None:
        """The newest index, from `since` on, of exactly this entry; None where it is not in the log.

        Reads a tile of 256 hashes at a time, from the newest to `since`: whoever noted the log's size before he
        handed an entry over reads no more than what came after.

        Raises:
            InputError: `log.corrupt`.
        """
        leaf = leaf_hash(entry)
        for number in reversed(range(since // WIDTH, -(-self.size // WIDTH))):
            row = self.tile(0, number)
            for at in reversed(range(len(row))):
                index = number * WIDTH + at
                if row[at] == leaf and index >= since:
                    self._require(index, entry, self._proof(index))
                    return index
        return None

    def edge(self) -> Edge:
        """The tree's right edge, which leads to the checkpoint's root.

        Raises:
            InputError: `log.corrupt`: it does not.
        """
        levels = [
            tuple(self.tile(level, index)) if width else () for level, index, width in edge_tiles(self.size)
        ]
        edge = Edge(self.size, tuple(levels))
        if edge.root() != self.checkpoint.root:
            refuse("tile", "the tiles at the end of the log do not lead to the root of its checkpoint")
        return edge

    def _proof(self, index: int) -> tuple[bytes, ...]:
        return prove_inclusion(index, self.size, self._node)

    def _proved(self, index: int) -> tuple[bytes, tuple[bytes, ...]]:
        proof = self._proof(index)
        entry = self.bundle(index // WIDTH)[index % WIDTH]
        self._require(index, entry, proof)
        return entry, proof

    def _require(self, index: int, entry: bytes, proof: tuple[bytes, ...]) -> None:
        if not check_inclusion(leaf_hash(entry), index, self.size, proof, self.checkpoint.root):
            _refuse_entry(index)


def _refuse_entry(index: int) -> NoReturn:
    refuse(f"entry {index}", "this entry, or a hash beside it, is not what the checkpoint covers")
