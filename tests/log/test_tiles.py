"""Tiles and bundles: the names of the specification, a real log of Tessera's, and any tree against the reference."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import InputError
from databom.log.appending import Log
from databom.log.checkpoint import Speakers, open_checkpoint
from databom.log.merkle import leaf_hash
from databom.log.note import format_vkey, parse_vkey
from databom.log.reading import LogReader
from databom.log.tiles import (
    MAX_ENTRY,
    Edge,
    bundle_name,
    edge_tiles,
    format_bundle,
    parse_bundle,
    parse_tile,
    tile_name,
    width_in,
)
from databom.storage.location import parse_location
from databom.storage.shelf import open_shelf, open_writable_shelf
from databom.trust.keys import PrivateKey
from support.tlog import NOW, naive_root, outsider_opens

TESSERA = Path(__file__).parents[1] / "vectors" / "tessera-tlog-tiles" / "log"
VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
# Tessera's published key for test data: its signatures can be made again, byte for byte.
SEED = base64.b64decode("AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg")[1:]
LEAVES = [leaf_hash(b"%d" % number) for number in range(70_000)]


def tessera_key() -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return PrivateKey(Ed25519PrivateKey.from_private_bytes(SEED))


def test_the_names_of_the_specification() -> None:
    assert tile_name(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_name(3, 0, 17) == "tile/3/000.p/17"
    assert tile_name(1, 999) == "tile/1/999"
    assert tile_name(1, 1000) == "tile/1/x001/000"
    assert bundle_name(1234067, 1) == "tile/entries/x001/x234/067.p/1"


def test_the_tree_of_70_000_of_the_specification() -> None:
    edge, tiles = Edge().grown(LEAVES)
    names = {tile.file[0] for tile in tiles}
    assert sum(name.startswith("tile/0/") and ".p/" not in name for name in names) == 273
    assert {name for name in names if ".p/" in name} == {
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    }
    assert list(edge_tiles(70_000)) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(edge_tiles(256)) == [(0, 1, 0), (1, 0, 1)]
    assert edge.root() == naive_root(LEAVES)
    assert width_in(70_000, 0, 272) == 256
    assert width_in(70_000, 0, 273) == 112
    assert width_in(70_000, 0, 274) <= 0


@given(steps=st.lists(st.integers(0, 700), max_size=6))
def test_an_edge_grows_as_the_tree_does(steps: list[int]) -> None:
    edge, files = Edge(), {}
    for count in steps:
        edge, tiles = edge.grown(LEAVES[edge.size : edge.size + count])
        files |= dict(tile.file for tile in tiles)
    assert edge.size == sum(steps)
    assert edge.root() == naive_root(LEAVES[: edge.size])
    for level, number, width in edge_tiles(edge.size):
        if width:
            row = parse_tile(files[tile_name(level, number, width)], width, "")
            assert tuple(row) == edge.levels[level]
            span = 256**level
            first = number * 256 * span
            assert row[0] == naive_root(LEAVES[first : first + span])
        for full in range(number):
            assert len(files[tile_name(level, full)]) == 8192


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_a_bundle_round_trips(entries: list[bytes]) -> None:
    data = format_bundle(entries)
    assert parse_bundle(data, len(entries), "") == parse_bundle(data, None, "") == entries
    with pytest.raises(InputError):
        parse_bundle(data + b"\0\1x", len(entries), "") if len(entries) < 255 else parse_bundle(
            data[:-1], None, ""
        )


def test_of_a_full_bundle_the_first_entries_are_taken() -> None:
    entries = [b"%d" % number for number in range(256)]
    assert parse_bundle(format_bundle(entries), 7, "") == entries[:7]


@given(st.binary(max_size=60), st.integers(0, 300))
def test_no_bytes_break_the_readers(data: bytes, width: int) -> None:
    for parse in (parse_bundle, parse_tile):
        try:
            found: object = len(parse(data, width, "name"))
        except InputError as error:
            found = [problem.code for problem in error.problems]
        assert found in (width, ["log.corrupt"])


def test_an_entry_has_a_limit() -> None:
    assert len(format_bundle([bytes(MAX_ENTRY)])) == MAX_ENTRY + 2
    with pytest.raises(ValueError, match="65535"):
        format_bundle([bytes(MAX_ENTRY + 1)])


# --- Tessera's log -----------------------------------------------------------------------------------


def test_tesseras_checkpoints_and_entries_hold() -> None:
    origin, kind, key = parse_vkey(VKEY)
    assert format_vkey(origin, kind, key) == VKEY
    speakers = Speakers.by_keys([key])
    newest = LogReader.open(open_shelf(parse_location(str(TESSERA))), speakers, origin, now=NOW)
    assert newest.size == 15
    for size in range(16):
        raw = (TESSERA / f"checkpoint.{size}").read_bytes()
        opened = open_checkpoint(raw, speakers, origin, now=NOW)
        assert (opened.checkpoint.size, opened.raw) == (size, raw)
        assert outsider_opens(raw, VKEY) == (origin, size, opened.checkpoint.root)
        assert newest.begins_with(opened.checkpoint)
    assert newest.edge().root() == newest.checkpoint.root
    assert [entry for _, entry in newest.entries(0, 3)] == [b"one", b"two", b"three"]


def test_our_log_of_tesseras_entries_is_tesseras_log(tmp_path: Path) -> None:
    """The same key, the same entries, in the same steps: the same files, byte for byte."""
    origin, _, key = parse_vkey(VKEY)
    signer = tessera_key()
    assert signer.public == key
    old = LogReader.open(open_shelf(parse_location(str(TESSERA))), Speakers.by_keys([key]), origin, now=NOW)
    log = Log(open_writable_shelf(parse_location(str(tmp_path))), origin, [signer], Speakers.by_keys([key]))
    for index, entry in old.entries(0, 15):
        log.append([entry])
        assert (tmp_path / "checkpoint").read_bytes() == (TESSERA / f"checkpoint.{index + 1}").read_bytes()
    theirs = {path.relative_to(TESSERA) for path in (TESSERA / "tile").rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path) for path in (tmp_path / "tile").rglob("*") if path.is_file()} == theirs
    for path in theirs:
        assert (tmp_path / path).read_bytes() == (TESSERA / path).read_bytes(), path
