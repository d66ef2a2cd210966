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
meanwhile it is read once more, and if it changed again that is the answer. Every byte is read, unless a `Memory` is
given (`databom.checks.recalling`).
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from databom.checks import forking
from databom.checks.outcome import Outcome
from databom.checks.recalling import LEAST_BYTES
from databom.errors import DatabomError, MissingError, PluginError, Problem, StorageError
from databom.model.text import printable
from databom.storage.hashing import MAX_UNSIZED_ASSET, Meter, hash_stream
from databom.storage.reader import with_retries
from databom.storage.tree import LocalStream, LocalTree, TreeBatch

if TYPE_CHECKING:
    from databom.checks.recalling import Memory
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


class Leases(enum.Enum):
    """What read leases are for: nothing, to know whether a file may be remembered, or to keep writers away."""

    NONE = "none"
    ASK = "ask"
    HOLD = "hold"


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


def measure(
    reader: Reader,
    batch: Batch,
    *,
    md5: bool = False,
    leases: Leases = Leases.NONE,
    meter: Meter | None = None,
) -> list[Outcome]:
    """Read and hash a batch of (path, declared size): one outcome each, in order, whatever goes wrong.

    Top-level and of picklable arguments, so that any executor can run it (`meter` is for executors of this
    process).
    """
    cached = reader if isinstance(reader, LocalTree) and reader.cache_root is not None else None
    job = _Job(md5, leases, meter, cached)
    if not isinstance(reader, LocalTree):
        return [_measure(reader, path, size, job) for path, size in batch]
    with reader.batch() as opener:
        return [_measure(opener, path, size, job) for path, size in batch]


class _Job(NamedTuple):
    """What holds for every asset of a batch; `cached` is the tree, when files may be DVC's cache's."""

    md5: bool
    leases: Leases
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
                stream, opened.size, md5=job.md5 or bool(linked and job.cached), meter=job.meter
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


# --- all of them ---------------------------------------------------------------------------------


def measure_all(
    assets: Sequence[Asset],
    reader: Reader,
    *,
    executor: Executor | None = None,
    md5: bool = False,
    leases: bool = False,
    memory: Memory | None = None,
    known: bool = True,
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
        leases: keep writers away from each local file while it is read, and refuse one that has any.
        memory: what is remembered of these assets; what it knows is not read.
        known: also give the outcomes of what was not read; without it they are in `memory.counts()`.
        progress: called in this thread with (assets done, bytes done), both about right while it runs.

    Raises:
        PluginError: the executor broke.
    """
    how = _How(reader, executor, md5, Leases.HOLD if leases else Leases.ASK if memory else Leases.NONE)
    meter = _Meter(progress)
    if memory is None:
        yield from _read_all(assets, how, meter)
        return
    try:
        left = memory.left()
        meter.assets = len(assets) - len(left)
        doubted = False
        for outcome in _read_all(left, how, meter):
            doubted = memory.is_contradicted_by(outcome) or doubted
            yield outcome
        if doubted:
            yield from _read_all(memory.forget(), how, meter)
        if known:
            yield from memory.known()
    finally:
        memory.close()


class _How(NamedTuple):
    """How one call reads: where, on what, and with which care."""

    reader: Reader
    executor: Executor | None
    md5: bool
    leases: Leases

    def measure(self, batch: Batch, meter: Meter | None) -> list[Outcome]:
        return measure(self.reader, batch, md5=self.md5, leases=self.leases, meter=meter)


def _read_all(assets: Sequence[Asset], how: _How, meter: _Meter) -> Generator[Outcome, None, None]:
    left = {asset.path for asset in assets}
    silent = 0
    with contextlib.closing(_run(plan(assets, how.reader), how, meter)) as results:
        for outcomes in results:
            for outcome in outcomes:
                left.discard(outcome.path)
                silent = silent + 1 if outcome.error and outcome.error.code == "storage.unreachable" else 0
                yield outcome
            meter.tell(len(outcomes))
            if silent >= GIVE_UP_AFTER:
                break
    for path in sorted(left):
        yield Outcome(path, error=Problem("storage.unreachable", shown_path(path), NOT_TRIED))


class _Stopped(Exception):  # noqa: N818  # nobody sees it: it ends a reading whose answer nobody waits for
    pass


class _Meter:
    """Assets done and bytes hashed so far, counted from all threads, and the switch that stops them."""

    def __init__(self, progress: Progress | None) -> None:
        self.assets = 0
        self.bytes = 0
        self.stopped = False
        self._progress = progress
        self._lock = Lock()

    def __call__(self, count: int) -> None:
        if self.stopped:
            raise _Stopped
        with self._lock:
            self.bytes += count

    def tell(self, done: int) -> None:
        self.assets += done
        if self._progress is not None:
            self._progress(self.assets, self.bytes)


def _run(work: Plan, how: _How, meter: _Meter) -> Generator[list[Outcome], None, None]:
    """Outcomes batch by batch; an empty list now and then while nothing is ready, to show progress by."""
    meter.stopped = False
    if how.executor is not None:
        yield from _foreign(work, how, how.executor, meter)
        return
    threads = REMOTE_THREADS
    if isinstance(how.reader, LocalTree):
        threads = min(LOCAL_THREADS, _cores())
        if len(work.small) >= FORK_BATCHES and threads > 1 and forking.may_fork():
            yield from _forked(work, how, threads, meter)
            return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="databom")

    def submit(batch: Batch) -> Future[list[Outcome]]:
        return pool.submit(how.measure, batch, meter)

    def here(batch: Batch) -> list[Outcome]:
        return how.measure(batch, meter)

    try:
        yield from _drive(iter(work.single), submit, map(here, work.small))
    finally:
        meter.stopped = True
        pool.shutdown(cancel_futures=True)


def _forked(work: Plan, how: _How, processes: int, meter: _Meter) -> Generator[list[Outcome], None, None]:
    """Large files first, the longest before all, then the batches of small ones: by copies of this process."""
    batches = [*work.single, *work.small]
    assert isinstance(how.reader, LocalTree)
    how.reader.check_root()  # opened once, for all of them

    def one(number: int, count: Meter) -> list[Outcome]:
        return how.measure(batches[number], count)

    with forking.Copies(len(batches), one, list[Outcome], processes - 1, meter) as copies:
        for _, outcomes in copies.results():
            yield outcomes


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else LOCAL_THREADS


def _foreign(
    work: Plan, how: _How, executor: Executor, meter: _Meter
) -> Generator[list[Outcome], None, None]:
    def submit(batch: Batch) -> Future[list[Outcome]]:
        return executor.submit(measure, how.reader, batch, md5=how.md5, leases=how.leases)

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
