"""Looking at a project in the background: first what is recorded (quick), then whether the trees changed (the sweep).

One thread looks, one project after the other. A look that has not begun yet serves every run that starts before it
does; one that has begun serves nobody else, since what it says must be about a time after the run's start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from databom.mlflow.background import Background

if TYPE_CHECKING:
    from databom.tasks.evidence import RunEvidence
    from databom.tasks.surroundings import Surroundings

START_BUDGET_SECONDS = 0.1
"""How long a run's start may wait for the sweep."""


class Gathering:
    """One look at one project."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.evidence: RunEvidence | None = None
        """The best there is by now."""
        self.around: Surroundings | None = None
        """Code, environment and what is known of each pin, as they were found after the run's start."""
        self.broken = False
        """The project could not be read at all."""
        self._quick = threading.Event()
        self._full = threading.Event()
        self._around = threading.Event()
        self._sweeping_since = 0.0
        self._waiting = 0
        self._callbacks: dict[threading.Event, list[Callable[[], None]]] = {self._quick: [], self._full: []}
        self._lock = threading.Lock()

    def join(self) -> None:
        """One more run is interested."""
        with self._lock:
            self._waiting += 1

    def leave(self) -> None:
        """One run fewer is interested; when nobody is left the sweep stops."""
        with self._lock:
            self._waiting -= 1

    def when_quick(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when what is recorded has been read. It must not raise, and not take long."""
        self._when(self._quick, callback)

    def when_full(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when all is known. It must not raise, and not take long."""
        self._when(self._full, callback)

    def _when(self, event: threading.Event, callback: Callable[[], None]) -> None:
        with self._lock:
            if not event.is_set():
                self._callbacks[event].append(callback)
                return
        callback()

    def _reached(self, event: threading.Event) -> None:
        with self._lock:
            event.set()
            callbacks, self._callbacks[event] = self._callbacks[event], []
        for callback in callbacks:
            callback()

    def wait_quick(self, seconds: float) -> bool:
        """Wait until what is recorded has been read."""
        return self._quick.wait(max(0.0, seconds))

    def wait_full(self, seconds: float) -> bool:
        """Wait until the trees have been compared."""
        return self._full.wait(max(0.0, seconds))

    def wait_around(self, seconds: float) -> bool:
        """Wait until code and environment have been looked at."""
        return self._around.wait(max(0.0, seconds))

    def wait_sweep(self, deadline: float) -> None:
        """Let a sweep that has only just begun have its small budget; one that had it is not waited for."""
        if self._quick.is_set():
            self.wait_full(min(deadline, self._sweeping_since + START_BUDGET_SECONDS) - time.monotonic())

    def _is_abandoned(self) -> bool:
        return self._waiting <= 0

    def run(self) -> float:
        """Look; the seconds it took, imports aside. Called once, in the background."""
        started = time.monotonic()
        try:
            from databom.tasks import evidence, receipts, recorded  # noqa: F401  # imported here, not in the run's thread

            started = time.monotonic()
            self.evidence = evidence.for_run(self.root)
            self._sweeping_since = time.monotonic()
            self._reached(self._quick)
            self.evidence = self.evidence.compared(stop=self._is_abandoned)
        except BaseException:  # noqa: BLE001  # a thread of ours: whatever is wrong with the project, the run goes on
            self.broken = self.evidence is None
        finally:
            self._reached(self._quick)
            self._reached(self._full)
        return time.monotonic() - started

    def look_around(self) -> None:
        """Look at code and environment. Called once, after `run`, where no run's start waits for it."""
        try:
            from databom.tasks.surroundings import surroundings

            if self.evidence is not None and not self._is_abandoned():
                self.around = surroundings(self.evidence)
        except BaseException:  # noqa: BLE001  # a thread of ours: the receipt says what could not be told
            self.around = None
        finally:
            self.around_is_over()

    def around_is_over(self) -> None:
        """Code and environment are known, or never will be."""
        self._around.set()


class Gatherer:
    """The thread that looks, and the looks that have not begun."""

    def __init__(self) -> None:
        self._background = Background("databom-evidence")
        self._aside = Background("databom-surroundings")
        self._lock = threading.Lock()
        self._queued: dict[str, Gathering] = {}
        self._slow: set[str] = set()

    def start(self, root: str) -> Gathering:
        """A look at the project that begins after this call; the caller has joined it, and must `leave()` it.

        Raises:
            RuntimeError: the interpreter shuts down.
        """
        with self._lock:
            queued = self._queued.get(root)
            gathering = queued or Gathering(root)
            gathering.join()
            if queued is not None:
                return queued
            self._queued[root] = gathering
        try:
            self._background.submit(lambda: self._run(gathering))
        except RuntimeError:
            with self._lock:
                self._queued.pop(root, None)
            raise
        return gathering

    def patience(self, root: str) -> float:
        """How long a start waits for a sweep here: not at all where the last one took longer than it may."""
        return 0.0 if root in self._slow else START_BUDGET_SECONDS

    def _run(self, gathering: Gathering) -> None:
        with self._lock:
            self._queued.pop(gathering.root, None)
        took = gathering.run()
        (self._slow.add if took > START_BUDGET_SECONDS else self._slow.discard)(gathering.root)
        try:
            self._aside.submit(gathering.look_around)
        except RuntimeError:  # the interpreter shuts down
            gathering.around_is_over()
