"""One daemon thread with a timetable: everything slow that a run must not wait for.

Daemon, because a hanging server must not keep the process from ending; a plain thread and not a pool, because pools
refuse work while the interpreter shuts down, which is when MLflow ends the run of a program that did not.

A job may hold locks that are not ours: an import's, MLflow's, a connection pool's. A child that is forked meanwhile
would wait for them for ever, so a fork waits for the job at work, as long as that has not taken long.
"""

from __future__ import annotations

import contextlib
import contextvars
import heapq
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable

FORK_PATIENCE_SECONDS = 0.3
"""How old a job may become that a fork waits for; counted from its start, so a job that hangs costs this once."""
_here = threading.local()


def is_ours() -> bool:
    """Whether the caller runs in one of these threads: then MLflow's client is called by databom itself."""
    return getattr(_here, "ours", False)


class Background:
    """Runs jobs one after the other, each no earlier than it is due. The thread starts with the first job."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: list[tuple[float, int, contextvars.Context, Callable[[], None]]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._since: float | None = None
        """When the job at work was begun."""
        self._busy = threading.Lock()
        _all.add(self)

    def submit(self, job: Callable[[], None], *, due: float = 0.0) -> None:
        """Have `job` run at `due` (monotonic) or soon after, with the caller's context variables.

        A job must not raise; one that does is dropped.

        Raises:
            RuntimeError: there is no thread and none can be started any more (the interpreter shuts down).
        """
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
            heapq.heappush(self._jobs, (due, next(self._count), contextvars.copy_context(), job))
            self._changed.notify()

    @property
    def has_work(self) -> bool:
        """Whether a job is due now."""
        with self._changed:
            return bool(self._jobs) and self._jobs[0][0] <= time.monotonic()

    def is_stuck(self, seconds: float) -> bool:
        """Whether it is at one job for longer than `seconds`."""
        since = self._since
        return since is not None and time.monotonic() - since > seconds

    def pause(self) -> bool:
        """Let no job begin, and wait for the one at work; False where that is too old to be waited for."""
        since = self._since or time.monotonic()
        return self._busy.acquire(timeout=max(0.0, since + FORK_PATIENCE_SECONDS - time.monotonic()))

    def resume(self) -> None:
        """Go on after a `pause` that was True."""
        self._busy.release()

    def _next(self) -> tuple[contextvars.Context, Callable[[], None]]:
        with self._changed:
            while True:
                wait = self._jobs[0][0] - time.monotonic() if self._jobs else None
                if wait is not None and wait <= 0:
                    _, _, context, job = heapq.heappop(self._jobs)
                    return context, job
                self._changed.wait(wait)

    def _run(self) -> None:
        _here.ours = True
        while True:
            context, job = self._next()
            # Jobs report for themselves; the thread must go on, also where a plugin of MLflow's says `sys.exit()`.
            with self._busy, contextlib.suppress(BaseException):
                self._since = time.monotonic()
                context.run(job)
            self._since = None
            del context, job  # or the last job's run would live until the next one


_all: weakref.WeakSet[Background] = weakref.WeakSet()
_paused: list[Background] = []


def _before_fork() -> None:
    if not is_ours():
        _paused.extend(one for one in list(_all) if one.pause())


def _after_fork() -> None:
    while _paused:
        _paused.pop().resume()


def _in_child() -> None:
    """The copies have no thread any more, and `runs` makes new ones: nobody is to wait for these."""
    _all.clear()
    _paused.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
