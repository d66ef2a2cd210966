"""Processes in which scanners look at assets: as many as there are cores, started anew when one dies or falls silent.

Each gets a few assets at a time and answers for them in order, so it is always known which one it was looking at. That
one could not be answered; those behind it are asked of another process.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self

import msgspec

from databom.checks.scanworker import LENGTH, Answer, Job, Ready, Setup
from databom.errors import PluginError
from databom.scanners.looking import FAILED, Doubt, Seen

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE_SECONDS = 60.0
"""How long a process may give no sign of life; between the members of an archive it gives one."""
SLOWEST = 250_000
"""Bytes a second: for every so many of the asset it is at, it may take a second more."""
BATCH_FILES = 32
BATCH_BYTES = 8 * 1024 * 1024
MAX_DEATHS = 100
"""Processes that may end before their time; after that the rest is not tried."""
MAX_STILLBORN = 3
"""Processes that may end before they are ready: one that does will hardly start the fourth time."""
MAX_MESSAGE_BYTES = 1 << 20

_READY = msgspec.msgpack.Decoder(Ready)
_ANSWER = msgspec.msgpack.Decoder(Answer | None)


def cores() -> int:
    """How many processes work at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def failed(what: str, media_type: str | None = None) -> Answer:
    """The answer for an asset that no scanner got to the end of."""
    return Answer(Seen({}, (), (Doubt(FAILED, media_type or "", what),)))


class Pool:
    """A context manager that leaves no process behind.

    Args:
        setup: where the assets are, and who looks at them.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._deaths = self._stillborn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()
        self._selector.close()

    def ready(self) -> Ready:
        """Who looks, asked of a process.

        Raises:
            PluginError: none can be started.
        """
        worker = self._start()
        while worker.ready is None:
            list(self._events())
            if worker not in self._workers:
                raise PluginError(
                    "the scanners' process does not start",
                    hint="try without DATABOM_SCANNERS; see databom doctor",
                )
        return worker.ready

    def answers(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Answer]]:
        """The answer for every job, in no order."""
        batches = deque(_batches(jobs))
        wanted = min(cores(), len(batches))
        while batches or any(worker.jobs for worker in self._workers):
            if self._stillborn >= MAX_STILLBORN:
                yield from self._given_up(batches, "the scanners' process does not start")
                return
            if self._deaths >= MAX_DEATHS:
                yield from self._given_up(batches)
                return
            while len(self._workers) < min(wanted, len(batches) + sum(bool(w.jobs) for w in self._workers)):
                try:
                    self._start()
                except PluginError as error:
                    if not self._workers:
                        yield from self._given_up(batches, str(error))
                        return
                    wanted = len(self._workers)
            for worker in self._workers:
                if not worker.jobs and batches:
                    worker.ask(batches.popleft())
            for job, answer, left in self._events():
                if left:
                    batches.appendleft(left)
                if job is not None:
                    yield job, answer

    def _given_up(self, batches: deque[list[Job]], why: str = "") -> Iterator[tuple[Job, Answer]]:
        what = why or f"not tried: the scanners' processes ended {MAX_DEATHS} times before their time"
        for batch in (*(list(worker.jobs) for worker in self._workers), *batches):
            for job in batch:
                yield job, failed(what, job.media_type)

    def _start(self) -> _Worker:
        worker = _Worker(self._setup)
        self._workers.append(worker)
        self._selector.register(worker.descriptor, selectors.EVENT_READ, worker)
        return worker

    def _events(self) -> Iterator[tuple[Job | None, Answer, list[Job]]]:
        """What the processes said; of one that ended, the job it was at and those it had still to do."""
        now = time.monotonic()
        soonest = min((worker.deadline for worker in self._workers if worker.is_busy), default=now)
        ready = self._selector.select(max(0.0, min(soonest - now, 1.0)))
        for key, _ in ready:
            worker: _Worker = key.data
            try:
                for job, answer in worker.said():
                    yield job, answer, []
            except _Ended as end:
                yield self._bury(worker, str(end))
        for worker in [one for one in self._workers if one.is_busy and one.deadline < time.monotonic()]:
            what = f"a scanner gave no sign of life for {worker.patience:g} seconds"
            yield self._bury(worker, what)

    def _bury(self, worker: _Worker, what: str) -> tuple[Job | None, Answer, list[Job]]:
        self._deaths += 1
        self._selector.unregister(worker.descriptor)
        self._workers.remove(worker)
        worker.end()
        if worker.ready is None:  # it never looked at anything
            self._stillborn += 1
            return None, Answer(), list(worker.jobs)
        job = worker.jobs.popleft() if worker.jobs else None
        return job, failed(what, job.media_type if job else None), list(worker.jobs)


class _Ended(Exception):  # noqa: N818  # of a process
    pass


class _Worker:
    """One process and the jobs it was given.

    Raises:
        PluginError: it cannot be started.
    """

    def __init__(self, setup: Setup) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "databom.checks.scanworker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the process that asks; it ends this one
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        except (OSError, ValueError) as error:
            raise PluginError(f"the scanners' process cannot be started: {type(error).__name__}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.descriptor = self._process.stdout.fileno()
        self.ready: Ready | None = None
        self.jobs: deque[Job] = deque()
        self._buffer = bytearray()
        self._alive()
        self._send(setup)

    @property
    def patience(self) -> float:
        """How many seconds it may be silent."""
        return PATIENCE_SECONDS + ((self.jobs[0].size or 0) // SLOWEST if self.jobs else 0)

    @property
    def deadline(self) -> float:
        """When it must have given a sign of life."""
        return self._heard + self.patience

    @property
    def is_busy(self) -> bool:
        return bool(self.jobs) or self.ready is None

    def ask(self, jobs: list[Job]) -> None:
        """Give it jobs; it has none."""
        self.jobs.extend(jobs)
        self._alive()
        self._send(jobs)

    def said(self) -> Iterator[tuple[Job, Answer]]:
        """The answers that have arrived.

        Raises:
            _Ended: the process is gone, or says what no process of ours would.
        """
        data = os.read(self.descriptor, 1 << 16)
        if not data:
            raise _Ended(self._obituary())
        self._buffer += data
        self._alive()
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            if length > MAX_MESSAGE_BYTES:
                raise _Ended("the scanners' process answered with something else")
            if len(self._buffer) < LENGTH.size + length:
                return
            message = bytes(self._buffer[LENGTH.size : LENGTH.size + length])
            del self._buffer[: LENGTH.size + length]
            try:
                if self.ready is None:
                    self.ready = _READY.decode(message)
                elif (answer := _ANSWER.decode(message)) is not None:
                    yield self.jobs.popleft(), answer
            except (msgspec.MsgspecError, IndexError):
                raise _Ended("the scanners' process answered with something else") from None

    def end(self) -> None:
        """End the process and whatever a scanner started in it, and close what leads to it."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _alive(self) -> None:
        self._heard = time.monotonic()

    def _send(self, message: object) -> None:
        data = msgspec.msgpack.encode(message)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended: reading says so
            self._process.stdin.write(LENGTH.pack(len(data)) + data)
            self._process.stdin.flush()

    def _obituary(self) -> str:
        code = self._process.wait()
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        return f"a scanner ended its process {how}"


def _batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    batch: list[Job] = []
    size = 0
    for job in jobs:
        if batch and (len(batch) >= BATCH_FILES or size + (job.size or 0) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += job.size or 0
    if batch:
        yield batch
