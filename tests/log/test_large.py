"""A large log costs no more to open, to prove from and to append to than its height.

70,000 entries here, a million with `DATABOM_TORTURE=1`. Seconds are measured by `python -m benchmarks`.
"""

from __future__ import annotations

import os
import random

import pytest

from databom.checks.log import audit
from databom.log.appending import MAX_ENTRIES, Log
from databom.log.reading import LogReader
from databom.storage.shelf_local import LocalShelf
from support.tlog import NOW, ORIGIN, SmallLog

ENTRIES = 1_000_000 if os.environ.get("DATABOM_TORTURE") else 70_000
LEVELS = 3


class CountingShelf(LocalShelf):
    """Counts what is read."""

    reads = 0

    def read(self, name: str, /, limit: int) -> bytes | None:
        self.reads += 1
        return super().read(name, limit)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> SmallLog:
    small = SmallLog(tmp_path_factory.mktemp("large") / "log")
    writer = small.writer()
    for start in range(0, ENTRIES, MAX_ENTRIES):
        writer.append([b"%d" % number for number in range(start, min(ENTRIES, start + MAX_ENTRIES))])
    return small


def opened(large: SmallLog) -> tuple[CountingShelf, LogReader]:
    shelf = CountingShelf(large.folder)
    return shelf, LogReader.open(shelf, large.speakers, ORIGIN, now=NOW)


def test_h14_opening_reads_one_file(large: SmallLog) -> None:
    shelf, reader = opened(large)
    assert (shelf.reads, reader.size) == (1, ENTRIES)


def test_h14_a_proof_reads_a_tile_a_level_beside_its_path(large: SmallLog) -> None:
    for index in random.Random(1).sample(range(ENTRIES), 5):
        shelf, reader = opened(large)
        entry, proof = reader.prove(index)
        assert (entry, proof.holds_for(entry)) == (b"%d" % index, True)
        # The path's own tiles, and those at the tree's right edge.
        assert shelf.reads <= 2 + 2 * LEVELS


def test_h14_an_append_reads_the_edge(large: SmallLog) -> None:
    shelf = CountingShelf(large.folder)
    writer = Log(shelf, ORIGIN, [large.key], large.speakers)
    before = large.reader().size
    assert writer.append([b"one more"]).start == before
    assert shelf.reads <= 6 + LEVELS
    first = shelf.reads
    writer.append([b"and another"])
    assert shelf.reads - first <= 4


def test_h14_it_is_whole(large: SmallLog) -> None:
    assert audit(large.reader(), {}, large.speakers).findings == ()
