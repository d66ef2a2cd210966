"""How a tree and its entries are cut into files that never change (C2SP tlog-tiles).

    tile/<L>/<N>[.p/<W>]         up to 256 hashes of 32 bytes; those of level L are over 256**L leaves each
    tile/entries/<N>[.p/<W>]     up to 256 entries, each after its length (uint16, big-endian)

N is written in groups of three digits, all but the last with an `x` before them: 1234067 is `x001/x234/067`. A file
with fewer than 256 members is partial and says how many it has. As if by these commands, in a log of 300 entries:

    tail -c 8192 tile/0/000 | xxd -c 32 -p      the hashes of the first 256 entries, one a line
    xxd tile/entries/001.p/44                   the other 44 entries

Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn

from msgspec import Struct

from databom.errors import InputError, Problem
from databom.log.merkle import HASH_BYTES, Peaks, perfect_root

WIDTH = 256
_HEIGHT = 8
MAX_ENTRY = 65_535
"""Bytes of an entry: its length has 16 bits."""
MAX_TILE_BYTES = WIDTH * HASH_BYTES
MAX_BUNDLE_BYTES = WIDTH * (MAX_ENTRY + 2)
MAX_SIZE = 2**53 - 1
"""Entries of a log: as many as every JSON reader can count."""


def refuse(
    subject: str | None, what: str, *, expected: str | None = None, found: str | None = None
) -> NoReturn:
    """Raise `log.corrupt`."""
    raise InputError(
        Problem(
            "log.corrupt",
            subject,
            what,
            expected=expected,
            found=found,
            do="keep a copy of the log as evidence, then restore it from a backup or a mirror; never repair it by hand",
        )
    )


def _name(kind: str, index: int, width: int) -> str:
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    parts = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/{kind}/{parts}" + ("" if width == WIDTH else f".p/{width}")


def tile_name(level: int, index: int, width: int = WIDTH) -> str:
    """The name of a tile of hashes."""
    return _name(str(level), index, width)


def bundle_name(index: int, width: int = WIDTH) -> str:
    """The name of a bundle of entries."""
    return _name("entries", index, width)


def width_in(size: int, level: int, index: int) -> int:
    """How many members the tile has in a tree of `size` leaves; 0 or less where there is no such tile."""
    return min(WIDTH, (size >> _HEIGHT * level) - index * WIDTH)


def parse_tile(data: bytes, width: int, name: str) -> list[bytes]:
    """The first `width` hashes of a tile.

    Raises:
        InputError: `log.corrupt`: it has another length.
    """
    if len(data) not in (width * HASH_BYTES, MAX_TILE_BYTES):
        refuse(
            name, "this tile has another length", expected=f"{width * HASH_BYTES} bytes", found=f"{len(data)}"
        )
    return [data[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]


def format_bundle(entries: Iterable[bytes]) -> bytes:
    """The bytes of a bundle.

    Raises:
        ValueError: an entry is longer than `MAX_ENTRY`.
    """
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise ValueError(f"an entry has at most {MAX_ENTRY} bytes")
        parts += [struct.pack(">H", len(entry)), entry]
    return b"".join(parts)


def parse_bundle(data: bytes, width: int | None, name: str) -> list[bytes]:
    """The first `width` entries of a bundle that has so many, or is full; None: all of them, however many.

    Raises:
        InputError: `log.corrupt`: it is cut, or has another number of entries.
    """
    entries: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        start = at + 2
        at = start + int.from_bytes(data[at:start])
        if at > end or start > end:
            refuse(name, f"this bundle is cut: entry {len(entries)} of it is not whole")
        entries.append(data[start:at])
    if width is not None and len(entries) not in (width, WIDTH):
        refuse(
            name, "this bundle has another number of entries", expected=str(width), found=str(len(entries))
        )
    return entries[:width]


class Tile(NamedTuple):
    """A tile with its hashes."""

    level: int
    number: int
    hashes: tuple[bytes, ...]

    @property
    def file(self) -> tuple[str, bytes]:
        """Its name and its bytes."""
        return tile_name(self.level, self.number, len(self.hashes)), b"".join(self.hashes)


class Edge(Struct, frozen=True):
    """The right edge of a tree: per level the hashes of its last, partial tile. All it takes to append."""

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()

    def root(self) -> bytes:
        """The root of the tree."""
        peaks = Peaks()
        for level in reversed(range(len(self.levels))):
            for one in self.levels[level]:
                peaks.add(_HEIGHT * level, one)
        return peaks.root()

    def grown(self, leaves: Sequence[bytes]) -> tuple[Edge, list[Tile]]:
        """The edge after these leaf hashes, and the tiles that are new."""
        levels = [list(row) for row in self.levels]
        tiles: list[Tile] = []
        coming, level = list(leaves), 0
        while coming:
            if level == len(levels):
                levels.append([])
            index = self.size >> _HEIGHT * (level + 1)
            row, levels[level], above = [*levels[level], *coming], [], []
            for at in range(0, len(row), WIDTH):
                tile = Tile(level, index, tuple(row[at : at + WIDTH]))
                tiles.append(tile)
                index += 1
                if len(tile.hashes) == WIDTH:
                    above.append(perfect_root(tile.hashes))
                else:
                    levels[level] = list(tile.hashes)
            coming, level = above, level + 1
        return Edge(self.size + len(leaves), tuple(map(tuple, levels))), tiles


def edge_tiles(size: int) -> Iterator[tuple[int, int, int]]:
    """(level, index, width) of the partial tiles at the right edge of a tree, width 0 where a level has none."""
    level = 0
    while size >> _HEIGHT * level:
        count = size >> _HEIGHT * level
        yield level, count // WIDTH, count % WIDTH
        level += 1
