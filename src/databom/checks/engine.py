"""The engine: reads and hashes the assets of one location, on whatever executor, in bounded memory.

1. `plan` makes batches: small files together, small objects too where there are many; the rest alone, longest first.
2. `databom.checks.measuring.measure` reads and hashes one batch, on any `concurrent.futures.Executor`.
3. `measure_all` and `survey` keep at most `WINDOW` batches in flight. `survey` answers in counts and doubts, so a
   million assets that are right cost nothing to tell about.

Without an executor, local files are shared with forked copies of this process where that pays and it may fork
(`databom.checks.forking`): threads take turns, which makes small files slower than one thread is. Where it may not,
large files are hashed by threads (the interpreter's lock is free meanwhile) while the calling thread works through the
small ones alone. A file that would keep one worker busy when all others are done is read ahead of its hashing
(`databom.storage.ahead`).

Every byte is read, but for what a `Memory` knows (`databom.checks.recalling`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Self

from databom.checks import forking
from databom.checks.measuring import SMALL_BYTES, Batch, Found, Leases, measure, shown_path
from databom.checks.outcome import Outcome
from databom.errors import DatabomError, PluginError, Problem
from databom.model.text import printable
from databom.storage.hashing import Meter
from databom.storage.tree import LocalTree

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from databom.checks.recalling import Memory
    from databom.model.manifest import Asset
    from databom.storage.reader import Reader

BATCH_FILES = 256
"""Small local files in a batch."""
BATCH_OBJECTS = 8
"""Small remote objects in a batch at most."""
WINDOW = 64
"""Batches in flight."""
LOCAL_THREADS = 4
REMOTE_THREADS = 16
GIVE_UP_AFTER = 64
"""Assets in a row without a usable answer after which the rest is not tried: each would cost a deadline."""
NOT_TRIED = f"not tried, because {GIVE_UP_AFTER} assets in a row had no usable answer"

SHARED_BATCHES = 4
SHARED_BYTES = 8 * 1024 * 1024
"""So many batches of small files, or bytes, are work that others share; less is done before they have begun."""

_TICK_SECONDS = 0.2
_PATH = attrgetter("path")

Progress = Callable[[int, int], None]


class Plan(NamedTuple):
    """`single`: batches of one asset, longest first; `size`: their bytes, about; `small`: batches of many, by path.

    The first `lone` of the single ones are longer than a worker's share of all: the last of them end after all others.
    """

    single: list[Batch]
    size: int
    small: list[Batch]
    lone: int = 0


def plan(assets: Iterable[Asset], reader: Reader) -> Plan:
    """Make batches of the assets. Sizes are the declared ones, else what a local file seems to have."""
    if not isinstance(reader, LocalTree):
        return Plan(_remote_batches(assets, getattr(reader, "parallel", None)), 0, [])
    # Of a long list of small files each copy of this process decodes its own share.
    small_parts = getattr(assets, "small_parts", None)
    if small_parts is not None and (parts := small_parts(SMALL_BYTES)) is not None:
        return Plan([], 0, parts)
    listed = sorted(assets, key=_PATH)
    with reader.batch() as batch:
        sizes = [batch.size_hint(asset.path) if asset.size is None else asset.size for asset in listed]
    small = [asset for asset, size in zip(listed, sizes, strict=True) if size <= SMALL_BYTES]
    single = [(size, asset) for asset, size in zip(listed, sizes, strict=True) if size > SMALL_BYTES]
    single.sort(key=itemgetter(0), reverse=True)
    share = sum(sizes) / _workers()
    return Plan(
        [[asset] for _, asset in single],
        sum(size for size, _ in single),
        [small[at : at + BATCH_FILES] for at in range(0, len(small), BATCH_FILES)],
        sum(size > share for size, _ in single),
    )


def _remote_batches(assets: Iterable[Asset], parallel: int | None) -> list[Batch]:
    """Everything alone, longest first; small objects together, where they are enough to keep a reader busy.

    That is asked of readers that say how many they read at a time (`parallel`).
    """
    ordered = sorted(assets, key=lambda asset: (-(asset.size or 0), asset.path))
    if parallel is None:
        return [[asset] for asset in ordered]
    small = [asset for asset in ordered if asset.size is not None and asset.size <= SMALL_BYTES]
    several = max(1, min(BATCH_OBJECTS, len(small) // (4 * parallel)))
    return [
        *([asset] for asset in ordered if asset.size is None or asset.size > SMALL_BYTES),
        *(small[i : i + several] for i in range(0, len(small), several)),
    ]


def measure_all(
    assets: Sequence[Asset],
    reader: Reader,
    *,
    executor: Executor | None = None,
    md5: bool = False,
    leases: bool = False,
    memory: Memory | None = None,
    progress: Progress | None = None,
) -> Generator[Outcome, None, None]:
    """The outcomes of many assets as they become known, in no order. Closing the iterator stops the work.

    When `GIVE_UP_AFTER` assets in a row had no usable answer, the rest are not tried, and their outcomes say
    so.

    Args:
        assets: what to read.
        reader: where it is.
        executor: runs `measure`; by default threads or copies of this process. Left open.
        md5: also give each outcome its MD5 (DVC's name for the file; never evidence).
        leases: keep writers away from each local file while it is read, and refuse one that has any.
        memory: what is remembered of these assets; what it knows is not read.
        progress: called in this thread with (assets done, bytes done), both about right while it runs.

    Raises:
        PluginError: the executor broke.
    """
    how = _How(reader, executor, md5, _leases(leases, memory), doubts=False)
    for _, found in _all(assets, how, memory, progress):
        yield from found.outcomes
    if memory is not None:
        yield from memory.known(assets)


def survey(
    assets: Sequence[Asset],
    reader: Reader,
    *,
    executor: Executor | None = None,
    leases: bool = False,
    memory: Memory | None = None,
    progress: Progress | None = None,
    begun: Begun | None = None,
) -> Generator[tuple[Batch, Found], None, None]:
    """As `measure_all`, in counts: how many assets are right, and the outcomes of those that are not plainly so.

    Each comes with the assets that it is about; what was not tried comes with none. What the memory knows is not among
    them: `memory.counts` tells, at the end. `begun` is a reading of these very assets; it is gone on with unless the
    memory knows some of them.
    """
    how = _How(reader, executor, False, _leases(leases, memory), doubts=True)
    return _all(assets, how, memory, progress, begun)


class Begun:
    """A reading of local files that has begun: copies of this process are at work, and this one can do other things.

    Nothing they find is looked at before `survey` goes on with it.
    """

    def __init__(self, assets: Sequence[Asset], tree: LocalTree, *, memory: bool) -> None:
        """Begin. `memory`: whether `survey` will have one."""
        wanted = Leases.ASK if memory else Leases.NONE
        self.assets = assets
        self.started_ns = time.time_ns()
        self.meter = _Meter(None)
        how = _How(tree, None, False, wanted, doubts=True)
        self.results = _read(assets, how, self.meter, aside=True)
        next(self.results)

    def close(self) -> None:
        """Stop; nothing if it has come to its end."""
        self.results.close()


def _leases(hold: bool, memory: Memory | None) -> Leases:
    if hold:
        return Leases.HOLD
    return Leases.NONE if memory is None else Leases.ASK


class _How(NamedTuple):
    """How one call reads: where, on what, with which care, and whether it tells only doubts."""

    reader: Reader
    executor: Executor | None
    md5: bool
    leases: Leases
    doubts: bool

    def measure(self, batch: Batch, meter: Meter, *, ahead: bool = False) -> Found:
        return measure(
            self.reader,
            batch,
            md5=self.md5,
            leases=self.leases,
            doubts=self.doubts,
            meter=meter,
            ahead=ahead,
        )


def _all(
    assets: Sequence[Asset],
    how: _How,
    memory: Memory | None,
    progress: Progress | None,
    begun: Begun | None = None,
) -> Generator[_Result, None, None]:
    left = assets if memory is None else memory.left(assets)
    if begun is not None and len(left) == len(assets):
        meter, results = begun.meter.seen_by(progress), begun.results
    else:
        if begun is not None:
            begun.close()
        meter = _Meter(progress)
        meter.assets = len(assets) - len(left)
        results = _read(left, how, meter)
    if memory is None:
        yield from results
        return
    doubted = False
    for batch, found in results:
        listed = tuple(batch) if found.rows else ()
        for at, row in found.rows:
            memory.note(listed[at].path, row)
        for outcome in found.outcomes:
            doubted = memory.is_contradicted_by(outcome) or doubted
        yield batch, found
    if doubted:
        yield from _read(memory.forget(assets), how, meter)


def _read(
    assets: Sequence[Asset], how: _How, meter: _Meter, *, aside: bool = False
) -> Generator[tuple[Batch, Found], None, None]:
    work = plan(assets, how.reader)
    left = dict.fromkeys(map(id, (*work.single, *work.small)))
    silent = 0
    with contextlib.closing(_run(work, how, meter, aside=aside)) as results:
        for batch, found in results:
            if batch:
                del left[id(batch)]
            if found.right:
                silent = 0
            for outcome in found.outcomes:
                silent = silent + 1 if outcome.error and outcome.error.code == "storage.unreachable" else 0
            yield batch, found
            meter.tell(found.right + len(found.outcomes))
            if silent >= GIVE_UP_AFTER:
                break
    if left:
        paths = [asset.path for batch in (*work.single, *work.small) if id(batch) in left for asset in batch]
        problem = "storage.unreachable"
        yield (
            (),
            Found([Outcome(path, error=Problem(problem, shown_path(path), NOT_TRIED)) for path in paths]),
        )


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

    def here(self, count: int) -> None:
        """As calling it, from the thread that waits for the answers: it hears of them at once."""
        self(count)
        self.tell(0)

    def seen_by(self, progress: Progress | None) -> Self:
        """The same, told to somebody from now on."""
        self._progress = progress
        return self

    def tell(self, done: int) -> None:
        self.assets += done
        if self._progress is not None:
            self._progress(self.assets, self.bytes)


_Result = tuple[Batch, Found]
_NOTHING: _Result = ((), Found([]))
"""Handed out now and then while nothing is ready, to show progress by."""


def _run(work: Plan, how: _How, meter: _Meter, *, aside: bool) -> Generator[_Result, None, None]:
    """What each batch gave. When it has given nothing once, copies of this process are at work, if any are to be.

    `aside`: this process has other things to do meanwhile.
    """
    meter.stopped = False
    lone = frozenset(map(id, work.single[: work.lone]))

    def one(batch: Batch, count: Meter = meter) -> Found:
        return how.measure(batch, count, ahead=id(batch) in lone)

    if how.executor is not None:
        yield from _foreign(work, how, how.executor, meter)
        return
    threads = int(getattr(how.reader, "parallel", REMOTE_THREADS))
    if isinstance(how.reader, LocalTree):
        threads = _workers()
        batches = [*work.single, *work.small]
        little = len(work.small) < SHARED_BATCHES and work.size < SHARED_BYTES
        if threads == 1 or (len(batches) == 1 and not aside) or little:
            yield _NOTHING
            for batch in batches:
                yield batch, one(batch, meter.here)
            return
        if forking.may_fork():
            how.reader.check_root()  # opened once, for all of them
            yield from _forked(batches, one, threads, meter)
            return
    yield _NOTHING
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, thread_name_prefix="databom")

    def submit(batch: Batch) -> Future[Found]:
        return pool.submit(one, batch)

    def here(batch: Batch) -> _Result:
        return batch, one(batch)

    try:
        yield from _drive(iter(work.single), submit, map(here, work.small))
    finally:
        meter.stopped = True
        pool.shutdown(cancel_futures=True)


def _forked(
    batches: Sequence[Batch], one: Callable[[Batch, Meter], Found], processes: int, meter: _Meter
) -> Generator[_Result, None, None]:
    """What each batch gave, by this process and copies of it."""

    def numbered(number: int, count: Meter) -> Found:
        return one(batches[number], count)

    with forking.Copies(len(batches), numbered, Found, processes - 1, meter.here) as copies:
        yield _NOTHING
        for number, found in copies.results():
            yield batches[number], found


def _workers() -> int:
    """How many work on local files."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else LOCAL_THREADS
    return min(LOCAL_THREADS, cores)


def _foreign(work: Plan, how: _How, executor: Executor, meter: _Meter) -> Generator[_Result, None, None]:
    def submit(batch: Batch) -> Future[Found]:
        return executor.submit(measure, how.reader, batch, md5=how.md5, leases=how.leases, doubts=how.doubts)

    try:
        for batch, found in _drive(iter([*work.single, *work.small]), submit, iter(())):
            meter(found.size + sum(one.size or 0 for one in found.outcomes if one.sha256))
            yield batch, found
    except DatabomError:
        raise
    except Exception as error:
        raise PluginError(
            f"the executor {type(executor).__name__} failed: {printable(str(error)) or type(error).__name__}",
            hint="run without --executor, or see that its workers have databom installed",
        ) from error


def _drive(
    batches: Iterator[Batch], submit: Callable[[Batch], Future[Found]], here: Iterator[_Result]
) -> Generator[_Result, None, None]:
    """Keep the window full, do the work of this thread, hand out what is ready."""
    ready: SimpleQueue[Future[Found]] = SimpleQueue()
    flying: dict[Future[Found], Batch] = {}
    try:
        while True:
            while len(flying) < WINDOW and (batch := next(batches, None)) is not None:
                future = submit(batch)
                flying[future] = batch
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
                    yield _NOTHING
            else:
                yield flying.pop(future), future.result()
    finally:
        for future in flying:
            future.cancel()
