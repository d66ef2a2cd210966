"""One batch of assets, read and hashed: what runs wherever the work runs.

`measure` is a plain function of picklable arguments: any `concurrent.futures.Executor` may run it, here or elsewhere
(`databom.checks.engine` hands the batches out).

A local file is looked at before and after reading (device, inode, size, mtime, ctime): if it changed meanwhile it is
read once more, and if it changed again that is the answer.
"""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from databom.checks.outcome import Outcome
from databom.errors import MissingError, Problem, StorageError
from databom.model.text import printable
from databom.storage.hashcache import LEAST_BYTES, NO_MD5, Row, pack_key, pack_row
from databom.storage.hashing import MAX_UNSIZED_ASSET, Meter, hash_stream
from databom.storage.matching import match_small
from databom.storage.reader import with_retries
from databom.storage.tree import LocalStream, LocalTree, TreeBatch

if TYPE_CHECKING:
    from databom.model.claims import Asset
    from databom.storage.reader import Reader

SMALL_BYTES = 64 * 1024
"""Local files up to this size travel in batches; a future of their own would cost more than hashing them."""
SUBJECT_CHARS = 1024
"""Paths are shown whole: no manifest path is longer."""

Batch = Sequence["Asset"]
"""Assets that are read together. All that is asked of one is its path, its size and its SHA-256."""


class Leases(enum.Enum):
    """What read leases are for: nothing, to know whether a file may be remembered, or to keep writers away."""

    NONE = "none"
    ASK = "ask"
    HOLD = "hold"


class Found(NamedTuple):
    """What a batch gave.

    `outcomes` of all its assets or, where only doubts were asked for, of those that are not plainly right; of the
    others there are `right`, of `size` bytes. `rows`: (position in the batch, packed row) of those that may be
    remembered.
    """

    outcomes: list[Outcome]
    right: int = 0
    size: int = 0
    rows: list[tuple[int, bytes]] = []  # noqa: RUF012  # nobody adds to it


def measure(
    reader: Reader,
    batch: Batch,
    *,
    md5: bool = False,
    leases: Leases = Leases.NONE,
    doubts: bool = False,
    meter: Meter | None = None,
    ahead: bool = False,
) -> Found:
    """Read and hash a batch of assets, whatever goes wrong. Outcomes are in the batch's order.

    Top-level and of picklable arguments, so that any executor can run it (`meter` is for executors of this
    process). `doubts`: say nothing of an asset that is right but that it is. `ahead`: read local files in a thread of
    their own, ahead of the hashing.
    """
    batch = tuple(batch)  # a part of a long list is decoded here
    cached = reader if isinstance(reader, LocalTree) and reader.cache_root is not None else None
    job = _Job(md5, leases, meter, cached, ahead)
    if not doubts:
        return Found(_measure_each(reader, batch, job))
    right = size = 0
    rows: list[tuple[int, bytes]] = []
    left: Iterable[int] = range(len(batch))
    if isinstance(reader, LocalTree) and len(batch) > 1 and leases is not Leases.HOLD:
        with reader.batch() as opener:
            settle = LEAST_BYTES if leases is Leases.ASK else None
            size, left, looks = match_small(opener, batch, SMALL_BYTES, settle=settle)
        right = len(batch) - len(left)
        rows = [(at, pack_key(status) + bytes.fromhex(batch[at].sha256) + NO_MD5) for at, status in looks]
        if meter is not None:
            meter(size)
    outcomes = []
    for at, outcome in zip(left, _measure_each(reader, [batch[at] for at in left], job), strict=True):
        asset = batch[at]
        sure = outcome.sha256 == asset.sha256 and outcome.complete and asset.size in {None, outcome.size}
        if not sure or outcome.error or outcome.foreign_links:
            outcomes.append(outcome)
            continue
        right += 1
        size += outcome.size or 0
        if outcome.settled and outcome.stat is not None:
            rows.append((at, pack_row(Row(outcome.stat, asset.sha256, outcome.md5))))
    return Found(outcomes, right, size, rows)


def _measure_each(reader: Reader, batch: Batch, job: _Job) -> list[Outcome]:
    if not isinstance(reader, LocalTree):
        return [_measure(reader, asset.path, asset.size, job) for asset in batch]
    with reader.batch() as opener:
        return [_measure(opener, asset.path, asset.size, job) for asset in batch]


class _Job(NamedTuple):
    """What holds for every asset of a batch; `cached` is the tree, when files may be DVC's cache's."""

    md5: bool
    leases: Leases
    meter: Meter | None
    cached: LocalTree | None
    ahead: bool


def _measure(opener: Reader | TreeBatch, path: str, size: int | None, job: _Job) -> Outcome:
    try:
        if not isinstance(opener, TreeBatch):
            # A body that broke is read again from its first byte; how often is the storage room's to know.
            return with_retries(lambda: _read(opener, path, size, job))
        for _ in range(2):
            outcome = _read_local(opener, path, size, job)
            if outcome is not None:
                return outcome
    except StorageError as error:
        return Outcome(path, error=problem_of(error, path))
    what = "the file was changed while it was read, twice"
    do = "find out who writes to it; check again when nobody does"
    return Outcome(path, error=Problem("integrity.changed", shown_path(path), what, do=do))


def _read(reader: Reader, path: str, size: int | None, job: _Job) -> Outcome:
    """Read an object that cannot be looked at, only received."""
    with reader.open(path) as stream:
        length = stream.length
        if size is not None and length is not None and length != size:
            return Outcome(path, length)  # no byte need be read to know
        stop = size
        if stop is None:
            stop = MAX_UNSIZED_ASSET if length is None else min(length, MAX_UNSIZED_ASSET)
        got = hash_stream(stream, stop, md5=job.md5, meter=job.meter)
    if not got.complete:
        return Outcome(path, got.size, complete=False)
    return Outcome(path, got.size, got.sha256, got.md5)


def _read_local(batch: TreeBatch, path: str, size: int | None, job: _Job) -> Outcome | None:
    """Read a file; None when it changed meanwhile. Small ones are read and hashed in one go."""
    small = None
    if job.leases is not Leases.HOLD and (size is None or size <= SMALL_BYTES):
        settle = LEAST_BYTES if job.leases is Leases.ASK else None
        small = batch.read_small(path, SMALL_BYTES, settle=settle)
    if small is not None:
        data, opened, same, linked, settled = small
        if size is not None and opened.size != size:
            return Outcome(path, opened.size, stat=opened)
        if len(data) != opened.size or not same:
            return None
        sha256 = hashlib.sha256(data).hexdigest()
        md5 = (
            hashlib.md5(data, usedforsecurity=False).hexdigest()
            if job.md5 or (linked and job.cached)
            else None
        )
        if job.meter is not None:
            job.meter(len(data))
    else:
        with batch.open(path) as stream:
            opened, linked = stream.opened, stream.linked
            if size is not None and opened.size != size:
                return Outcome(path, opened.size, stat=opened)
            if job.leases is Leases.HOLD and (problem := _without_lease(stream, path)):
                return Outcome(path, opened.size, error=problem)
            settled = job.leases is Leases.ASK and stream.is_settled()
            got = hash_stream(
                stream,
                opened.size,
                md5=job.md5 or bool(linked and job.cached),
                meter=job.meter,
                ahead=job.ahead,
            )
            if not got.complete or stream.stat() != opened:
                return None
            if job.leases is Leases.HOLD and not stream.is_held():
                return Outcome(
                    path, opened.size, error=_written(path, "asked to write to it while it was read")
                )
        sha256, md5 = got.sha256, got.md5
    if linked and job.cached is not None and md5 is not None and job.cached.in_cache(md5, opened):
        linked = 0
    return Outcome(
        path,
        opened.size,
        sha256,
        md5 if job.md5 else None,
        opened,
        foreign_links=linked,
        settled=settled,
    )


def _without_lease(stream: LocalStream, path: str) -> Problem | None:
    """Take the lease that keeps writers away; the problem where there is one already, or no lease is to be had."""
    try:
        return None if stream.hold() else _written(path, "has it open for writing, or mapped into memory")
    except OSError as error:
        what = f"this file system or user can have no read lease ({os.strerror(error.errno or 0)})"
        do = "ask without --leases, or as the user who owns the files, on a file system that has leases"
        return Problem("integrity.unanswered", shown_path(path), what, do=do)


def _written(path: str, what: str) -> Problem:
    do = "find out who it is (fuser, lsof); check again when nobody writes here"
    return Problem("integrity.changed", shown_path(path), f"another process {what}", do=do)


def problem_of(error: StorageError, path: str) -> Problem:
    """What a storage error means for an asset: a "no" where the store answered, else "could not answer"."""
    missing = isinstance(error, MissingError)
    code = "integrity.missing" if missing else error.code
    do = error.hint or ("fetch it with databom sync, or ask the publisher where it is" if missing else None)
    return Problem(code, shown_path(path), printable(str(error), SUBJECT_CHARS), do=do)


def shown_path(path: str) -> str:
    """A path as a finding's subject: whole, and safe to print."""
    return printable(path, SUBJECT_CHARS)
