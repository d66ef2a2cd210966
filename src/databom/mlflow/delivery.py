"""One tracking server, from one bounded thread, until the first trouble.

MLflow retries a dead server for minutes, by settings of the whole process that are not ours to change. So its calls
are made in a thread nobody has to wait for, and a run's end waits for it a bounded time. After one failure nothing is
asked of that server for a while: what would have been sent is spooled at once. After one wait in vain the thread goes
on (a slow server gets everything, late), but nobody waits for it again until it has answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from databom.mlflow.background import Background

COOL_DOWN_SECONDS = 60.0
"""How long a server is left alone after it failed."""


class Refused(Exception):  # noqa: N818  # never leaves this package
    """The circuit is open: nothing is asked of this server now."""


class Server:
    """The thread and the circuit of one tracking server."""

    def __init__(self) -> None:
        self._background = Background("databom-delivery")
        self._open_until = 0.0
        self._is_late = False
        self._troubled = False
        self._drained: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def is_shut_off(self) -> bool:
        """Whether nothing may be asked now."""
        with self._lock:
            return time.monotonic() < self._open_until

    def shut_off(self) -> None:
        """Leave the server alone for a while."""
        with self._lock:
            self._open_until = time.monotonic() + COOL_DOWN_SECONDS

    @property
    def is_late(self) -> bool:
        """Whether a run waited in vain, and the server has not answered since."""
        with self._lock:
            return self._is_late

    def was_late(self) -> None:
        """A run waited in vain."""
        with self._lock:
            self._is_late = True

    def call(self, function: Callable[[], None]) -> None:
        """Make one call to the server; only from a submitted job.

        Raises:
            Refused: the server is left alone now.
            Exception: whatever MLflow raises; then the server is left alone from here on.
        """
        if self.is_shut_off:
            raise Refused
        try:
            function()
        except BaseException:
            self.shut_off()
            raise
        with self._lock:
            self._is_late = False

    def submit(self, job: Callable[[], None], *, due: float = 0.0) -> None:
        """Have a job run in the server's thread.

        Raises:
            RuntimeError: the interpreter shuts down and there is no thread yet.
        """
        self._background.submit(job, due=due)

    @property
    def is_wanted(self) -> bool:
        """Whether another job waits."""
        return self._background.has_work

    def is_first_trouble(self) -> bool:
        """Whether this is the first time something is to be said about this server; one warning a process is enough."""
        with self._lock:
            first, self._troubled = not self._troubled, True
        return first

    def may_drain(self, root: str) -> bool:
        """Whether it is time to look into a project's spool; at most once in a cool-down."""
        now = time.monotonic()
        with self._lock:
            if now < self._drained.get(root, float("-inf")) + COOL_DOWN_SECONDS:
                return False
            self._drained[root] = now
        return True
