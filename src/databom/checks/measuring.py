"""The engine: reads and hashes the assets of one location, on whatever executor, in bounded memory.

1. `plan` makes batches: small local files together, everything else alone, longest first.
2. `measure` reads and hashes one batch. It is a plain function of picklable arguments: any
   `concurrent.futures.Executor` may run it, here or elsewhere.
3. `measure_all` keeps at most `WINDOW` batches in flight, so a million assets cost no more than their
   outcomes.

Without an executor, many small local files are shared with forked copies of this process where it may fork
(`databom.checks.forking`): threads that take turns make those slower, not faster. Otherwise large files are hashed by
threads (the interpreter's lock is free meanwhile) while the calling thread works through the small ones alone.

A local file is looked at before and after reading (device, inode, size, mtime, ctime): if it changed
meanwhile it is read once more, and if it changed again that is the answer. Nothing is remembered between
runs: every byte is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from databom.checks import forking
from databom.errors import DatabomError, MissingError, PluginError, Problem, StorageError
from databom.model.text import printable
from databom.storage.hashing import MAX_UNSIZED_ASSET, Meter, hash_stream
from databom.storage.reader import with_retries
from databom.storage.tree import FileStat, LocalTree, TreeBatch

if TYPE_CHECKING:
    from databom.model.manifest import Asset
    from databom.storage.reader import Reader

SMALL_BYTES = 64 * 1024
"""Local files up to this size travel in batches; a future of their own would cost more than hashing them."""
BATCH_FILES = 256
BATCH_BYTES = 8 * 1024 * 1024
WINDOW = 64
"""Batches in flight."""
LOCAL_THREADS = 4
REMOTE_THREADS = 16
GIVE_UP_AFTER = 64
"""Assets in a row without a usable answer after which the rest is not tried: each would cost a deadline."""
NOT_TRIED = f"not tried, because {GIVE_UP_AFTER} assets in a row had no usable answer"
SUBJECT_CHARS = 1024
"""Paths are shown whole: no manifest path is longer."""

FORK_BATCHES = 4
"""From so many batches of small files on, copies of this process share the work."""

_TICK_SECONDS = 0.2

Batch = Sequence[tuple[str, int | None]]
Progress = Callable[[int, int], None]


class Outcome(NamedTuple):
    """What reading one asset gave.

    `size` is what was found: a minimum unless `complete`. Digests are bare hex; None when they could not be
    had or were not needed (the size already differs). `stat` is a local file's key, the same before and after
    reading. `foreign_links` is the number of names the file has, when it has others than DVC's cache gave it,
    else 0.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    stat: FileStat | None = None
    error: Problem | None = None
    complete: bool = True
    foreign_links: int = 0


class Plan(NamedTuple):
    """`single`: batches of one asset, longest first; `small`: batches of many, in path order."""

    single: list[Batch]
    small: list[Batch]


def plan(assets: Iterable[Asset], reader: Reader) -> Plan:
    """Make batches of the assets. Sizes are the declared ones, else what a local file seems to have."""
    tree = reader if isinstance(reader, LocalTree) else None
    single: list[tuple[int, str, int | None]] = []
    small: list[tuple[str, int | None, int]] = []
    for asset in assets:
        weight = asset.size
        if weight is None:
            weight = tree.size_hint(asset.path) if tree is not None else 0
        if tree is not None and weight <= SMALL_BYTES:
            small.append((asset.path, asset.size, weight))
        else:
            single.append((-weight, asset.path, asset.size))
    batches: list[Batch] = []
    batch: list[tuple[str, int | None]] = []
    room = 0
    for path, size, weight in sorted(small):
        if not batches or len(batch) == BATCH_FILES or weight > room:
            batch, room = [], BATCH_BYTES
            batches.append(batch)
        batch.append((path, size))
        room -= weight
    return Plan([[(path, size)] for _, path, size in sorted(single)], batches)


# --- one batch: runs wherever the executor runs ----------------------------------------------------


def measure(reader: Reader, batch: Batch, *, md5: bool = False, meter: Meter | None = None) -> list[Outcome]:
    """Read and hash a batch of (path, declared size): one outcome each, in order, whatever goes wrong.

    Top-level and of picklable arguments, so that any executor can run it (`meter` is for executors of this
    process).
    """
    job = _Job(
        md5, meter, reader if isinstance(reader, LocalTree) and reader.cache_root is not None else None
    )
    if not isinstance(reader, LocalTree):
        return [_measure(reader, path, size, job) for path, size in batch]
    with reader.batch() as opener:
        return [_measure(opener, path, size, job) for path, size in batch]


class _Job(NamedTuple):
    """What holds for every asset of a batch; `cached` is the tree, when files may be DVC's cache's."""

    md5: bool
    meter: Meter | None
    cached: LocalTree | None


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
    small = batch.read_small(path, SMALL_BYTES) if size is None or size <= SMALL_BYTES else None
    if small is not None:
        data, opened, same, linked = small
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
            got = hash_stream(
                stream, opened.size, md5=job.md5 or bool(linked and job.cached), meter=job.meter
            )
            if not got.complete or stream.stat() != opened:
                return None
        sha256, md5 = got.sha256, got.md5
    if linked and job.cached is not None and md5 is not None and job.cached.in_cache(md5, opened):
        linked = 0
    return Outcome(path, opened.size, sha256, md5 if job.md5 else None, opened, foreign_links=linked)


def problem_of(error: StorageError, path: str) -> Problem:
    """What a storage error means for an asset: a "no" where the store answered, else "could not answer"."""
    missing = isinstance(error, MissingError)
    code = "integrity.missing" if missing else error.code
    do = error.hint or ("fetch it with databom sync, or ask the publisher where it is" if missing else None)
    return Problem(code, shown_path(path), printable(str(error), SUBJECT_CHARS), do=do)


def shown_path(path: str) -> str:
    """A path as a finding's subject: whole, and safe to print."""
    return printable(path, SUBJECT_CHARS)


# --- all of them ---------------------------------------------------------------------------------


def measure_all(
    assets: Sequence[Asset],
    reader: Reader,
    *,
    executor: Executor | None = None,
    md5: bool = False,
    progress: Progress | None = None,
) -> Generator[Outcome, None, None]:
    """The outcomes of many assets as they become known, in no order. Closing the iterator stops the work.

    When `GIVE_UP_AFTER` assets in a row had no usable answer, the rest are not tried, and their outcomes say
    so.

    Args:
        assets: what to read.
        reader: where it is.
        executor: runs `measure`; by default threads of this process. Left open.
        md5: also give each outcome its MD5 (DVC's name for the file; never evidence).
        progress: called in this thread with (assets done, bytes done), both about right while it runs.

    Raises:
        PluginError: the executor broke.
    """
    left = {asset.path for asset in assets}
    meter = _Meter()
    silent = done = 0
    with contextlib.closing(_run(plan(assets, reader), reader, executor, md5, meter)) as results:
        for outcomes in results:
            for outcome in outcomes:
                left.discard(outcome.path)
                silent = silent + 1 if outcome.error and outcome.error.code == "storage.unreachable" else 0
                yield outcome
            done += len(outcomes)
            if progress is not None:
                progress(done, meter.bytes)
            if silent >= GIVE_UP_AFTER:
                break
    for path in sorted(left):
        yield Outcome(path, error=Problem("storage.unreachable", shown_path(path), NOT_TRIED))


class _Stopped(Exception):  # noqa: N818  # nobody sees it: it ends a reading whose answer nobody waits for
    pass


class _Meter:
    """Bytes hashed so far, counted from all threads, and the switch that stops them."""

    def __init__(self) -> None:
        self.bytes = 0
        self.stopped = False
        self._lock = Lock()

    def __call__(self, count: int) -> None:
        if self.stopped:
            raise _Stopped
        with self._lock:
            self.bytes += count


def _run(
    work: Plan, reader: Reader, executor: Executor | None, md5: bool, meter: _Meter
) -> Generator[list[Outcome], None, None]:
    """Outcomes batch by batch; an empty list now and then while nothing is ready, to show progress by."""
    if executor is not None:
        yield from _foreign(work, reader, executor, md5, meter)
        return
    threads = REMOTE_THREADS
    if isinstance(reader, LocalTree):
        threads = min(LOCAL_THREADS, _cores())
        if len(work.small) >= FORK_BATCHES and threads > 1 and forking.may_fork():
            yield from _forked(work, reader, threads, md5, meter)
            return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="databom")

    def submit(batch: Batch) -> Future[list[Outcome]]:
        return pool.submit(measure, reader, batch, md5=md5, meter=meter)

    def here(batch: Batch) -> list[Outcome]:
        return measure(reader, batch, md5=md5, meter=meter)

    try:
        yield from _drive(iter(work.single), submit, map(here, work.small))
    finally:
        meter.stopped = True
        pool.shutdown(cancel_futures=True)


def _forked(
    work: Plan, reader: LocalTree, processes: int, md5: bool, meter: _Meter
) -> Generator[list[Outcome], None, None]:
    """Large files first, the longest before all, then the batches of small ones: by copies of this process."""
    batches = [*work.single, *work.small]
    reader.check_root()  # opened once, for all of them

    def one(number: int, count: Meter) -> list[Outcome]:
        return measure(reader, batches[number], md5=md5, meter=count)

    with forking.Copies(len(batches), one, list[Outcome], processes - 1, meter) as copies:
        for _, outcomes in copies.results():
            yield outcomes


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else LOCAL_THREADS


def _foreign(
    work: Plan, reader: Reader, executor: Executor, md5: bool, meter: _Meter
) -> Generator[list[Outcome], None, None]:
    def submit(batch: Batch) -> Future[list[Outcome]]:
        return executor.submit(measure, reader, batch, md5=md5)

    try:
        for outcomes in _drive(iter([*work.single, *work.small]), submit, iter(())):
            for outcome in outcomes:
                meter(outcome.size if outcome.sha256 and outcome.size else 0)
            yield outcomes
    except DatabomError:
        raise
    except Exception as error:
        raise PluginError(
            f"the executor {type(executor).__name__} failed: {printable(str(error)) or type(error).__name__}",
            hint="run without --executor, or see that its workers have databom installed",
        ) from error


def _drive(
    batches: Iterator[Batch],
    submit: Callable[[Batch], Future[list[Outcome]]],
    here: Iterator[list[Outcome]],
) -> Generator[list[Outcome], None, None]:
    """Keep the window full, do the work of this thread, hand out what is ready."""
    ready: SimpleQueue[Future[list[Outcome]]] = SimpleQueue()
    flying: set[Future[list[Outcome]]] = set()
    try:
        while True:
            while len(flying) < WINDOW and (batch := next(batches, None)) is not None:
                future = submit(batch)
                flying.add(future)
                future.add_done_callback(ready.put)
            own = next(here, None)
            if own is not None:
                yield own
            elif not flying:
                return
            try:
                future = ready.get(block=own is None, timeout=_TICK_SECONDS)
            except Empty:
                if own is None:
                    yield []
            else:
                flying.discard(future)
                yield future.result()
    finally:
        for future in flying:
            future.cancel()
