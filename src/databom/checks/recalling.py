"""What need not be read again: files that look exactly as they did when this machine hashed them.

`recall` compares keys (`databom.storage.hashcache`) and answers for the files whose key is the recorded one; all others
are read. What may be recorded, and what may be believed:

1. A row is recorded only of a file that nobody had open for writing when it was hashed: a read lease was to be had. A
   process that had it mapped writable could change it later and leave every time as it was.
2. A row is recorded only of a file that had not changed for two seconds: a write in the same tick of the file system's
   clock would leave its ctime as it was (git's "racy" entries).
3. A row that says other than the manifest is not believed: bad news is always read again.
4. Of the files that would be believed, a random sample is read all the same. If one of them is not what its row says,
   no row of the tree is believed and all of it is read: somebody can forge a ctime here, as root can.

Small work is not worth remembering: a tree that is read in a moment is read, and so is every file of a kilobyte.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from stat import S_ISREG
from typing import TYPE_CHECKING

from databom.checks.outcome import Outcome
from databom.model.listings import in_order
from databom.storage.hashcache import (
    KEY_SIZE,
    ROW_SIZE,
    HashCache,
    Row,
    key_of,
    pack_key,
    pack_row,
    row_size,
    unpack_row,
)

if TYPE_CHECKING:
    from databom.model.manifest import Asset
    from databom.storage.tree import LocalTree

WORTH_FILES = 2_000
WORTH_BYTES = 32 * 1024 * 1024
"""A tree with fewer files and fewer bytes is read every time: it takes a tenth of a second."""
RACY_NS = 2_000_000_000
"""How long a file must have been left alone before it was hashed: the coarsest tick of a file system's clock."""
SAMPLE_ONE_IN = 1_000
SAMPLE_BYTES = 64 * 1024 * 1024
"""Bytes of remembered files that are read again each time, about."""


def is_worth_it(assets: Sequence[Asset], tree: LocalTree) -> bool:
    """Whether reading the assets takes long enough for remembering to pay."""
    if len(assets) >= WORTH_FILES:
        return True
    total = 0
    with tree.batch() as batch:
        for asset in assets:
            total += batch.size_hint(asset.path) if asset.size is None else asset.size
            if total >= WORTH_BYTES:
                return True
    return False


_UNKNOWN, _KNOWN, _SAMPLED, _NEW = range(4)


class Memory:
    """What is remembered of one run's assets: asked at its start, told at its end. For one thread.

    A run may ask and tell of its assets a part at a time, if the first part is `sampled`; it holds some 170 bytes of
    each asset, and its path.

    Args:
        assets: what the run is about.
        tree: where the files are.
        cache: what is remembered of the tree.
        md5: whether an answer needs an MD5 too.
        started_ns: when reading began, if it has, in nanoseconds since 1970.
    """

    def __init__(
        self,
        assets: Sequence[Asset],
        tree: LocalTree,
        cache: HashCache,
        *,
        md5: bool,
        started_ns: int | None = None,
    ) -> None:
        self._paths: list[str] = []
        # One packed row and one state an asset: a million assets are 90 MB, and would be 500 as objects.
        self._rows = bytearray(ROW_SIZE * len(assets))
        self._states = bytearray(len(assets))
        self._cache = cache
        self._md5 = md5
        self._news = self._lied = False
        self._started_ns = time.time_ns() if started_ns is None else started_ns
        self._recall(in_order(assets), tree)

    # --- at the start -------------------------------------------------------------------------

    def _recall(self, listed: Iterator[tuple[str, str]], tree: LocalTree) -> None:
        """Compare the recorded keys with the files'. Reads no asset."""
        states, rows = self._states, self._rows
        with tree.batch() as batch:
            for at, (path, sha256, row) in enumerate(_beside(listed, self._cache.rows())):
                self._paths.append(path)
                if row is None or row[KEY_SIZE : KEY_SIZE + 32].hex() != sha256:
                    continue
                if self._md5 and not unpack_row(row).md5:
                    continue
                status = batch.look(path)
                if (
                    status is not None
                    and status.st_nlink == 1
                    and S_ISREG(status.st_mode)
                    and row.startswith(pack_key(status))
                ):
                    states[at] = _KNOWN
                    rows[at * ROW_SIZE : (at + 1) * ROW_SIZE] = row
        for at in _sample([at for at, state in enumerate(states) if state == _KNOWN], self._size):
            states[at] = _SAMPLED

    def sampled(self, assets: Iterable[Asset]) -> list[Asset]:
        """Those that are read although they are remembered."""
        if _SAMPLED not in self._states:
            return []
        return [asset for at, asset in self._placed(assets) if self._states[at] == _SAMPLED]

    def left(self, assets: Sequence[Asset]) -> Sequence[Asset]:
        """Those that must be read: what is not known, and the sample."""
        states = self._states
        if _KNOWN not in states:
            return assets
        return [asset for at, asset in self._placed(assets) if states[at] != _KNOWN]

    def _placed(self, assets: Iterable[Asset]) -> Iterator[tuple[int, Asset]]:
        """Assets of the run, each with its position in the order of paths."""
        paths, at = self._paths, 0
        for asset in assets:
            if at == len(paths) or paths[at] != asset.path:  # most lists are in order
                at = bisect_left(paths, asset.path)
            yield at, asset
            at += 1

    # --- meanwhile ----------------------------------------------------------------------------

    def note(self, path: str, row: bytes) -> None:
        """Take note of a file that was read and is right, and that nobody had open for writing."""
        if key_of(row).ctime_ns <= self._started_ns - RACY_NS:
            at = bisect_left(self._paths, path)
            self._news = self._news or self._rows[at * ROW_SIZE : (at + 1) * ROW_SIZE] != row
            self._rows[at * ROW_SIZE : (at + 1) * ROW_SIZE] = row
            self._states[at] = _NEW

    def is_contradicted_by(self, outcome: Outcome) -> bool:
        """Take note of what reading gave; True when a file of the sample is not what its row says.

        A file of the sample that changed this very moment says nothing about its row.
        """
        at = bisect_left(self._paths, outcome.path)
        sampled, self._states[at] = self._states[at] == _SAMPLED, _UNKNOWN
        if outcome.stat is None or outcome.sha256 is None:
            return False
        row = self._row(at)
        if outcome.settled:
            self.note(outcome.path, pack_row(Row(outcome.stat, outcome.sha256, outcome.md5)))
        lied = sampled and outcome.stat == row.key and outcome.sha256 != row.sha256
        self._lied = self._lied or lied
        return lied

    def forget(self, assets: Iterable[Asset]) -> list[Asset]:
        """Believe no row any more; answers which of the assets now must be read as well."""
        self._cache.forget()
        self._lied = False
        known = [asset for _, asset in self._known(assets)]
        self._states = self._states.replace(bytes([_KNOWN]), bytes([_UNKNOWN]))
        self._news = any(self._states)
        return known

    # --- at the end ---------------------------------------------------------------------------

    def known(self, assets: Iterable[Asset]) -> Iterator[Outcome]:
        """The outcomes of those that were not read."""
        for at, asset in self._known(assets):
            key, sha256, md5 = self._row(at)
            yield Outcome(asset.path, key.size, sha256, md5 if self._md5 else None, key, remembered=True)

    def counts(self, assets: Iterable[Asset]) -> tuple[int, int]:
        """How many of them were not read, and their bytes."""
        sizes = [self._size(at) for at, _ in self._known(assets)]
        return len(sizes), sum(sizes)

    def _known(self, assets: Iterable[Asset]) -> Iterator[tuple[int, Asset]]:
        states = self._states
        return ((at, asset) for at, asset in self._placed(assets) if states[at] == _KNOWN)

    def close(self) -> None:
        """Record what was learned, if any of it is new; also of a run that was cut short."""
        if self._lied:  # and nobody came to act on it
            self.forget(())
        if self._news:
            self._cache.keep(
                (path, bytes(self._rows[at * ROW_SIZE : (at + 1) * ROW_SIZE]))
                for at, (path, state) in enumerate(zip(self._paths, self._states, strict=True))
                if state != _UNKNOWN
            )

    def _row(self, at: int) -> Row:
        return unpack_row(memoryview(self._rows)[at * ROW_SIZE : (at + 1) * ROW_SIZE])

    def _size(self, at: int) -> int:
        return row_size(self._rows, at * ROW_SIZE)


def _beside(
    listed: Iterator[tuple[str, str]], rows: Iterator[tuple[str, bytes]]
) -> Iterator[tuple[str, str, bytes | None]]:
    """(path, SHA-256 in hex, its row) of what is listed; both come sorted by path."""
    row = next(rows, None)
    for path, sha256 in listed:
        while row is not None and row[0] < path:
            row = next(rows, None)
        yield path, sha256, row[1] if row is not None and row[0] == path else None


def _sample(known: list[int], size_of: Callable[[int], int]) -> list[int]:
    """Which of the remembered files are read all the same: nobody can know them beforehand.

    A file that is larger than the whole allowance is taken now and then: on average it costs the allowance.
    """
    if not known:
        return []
    from random import SystemRandom

    secret = SystemRandom()
    room = SAMPLE_BYTES
    taken: list[int] = []
    for at in secret.sample(known, max(1, len(known) // SAMPLE_ONE_IN)):
        size = size_of(at)
        if size <= room or (not taken and secret.random() < SAMPLE_BYTES / size):
            taken.append(at)
            room -= size
    return taken
