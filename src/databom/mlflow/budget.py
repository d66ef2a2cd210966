"""The seconds that one run may be made to wait for its evidence: one purse for its start, its uploads and its end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

RUN_SECONDS = 1.5
"""Of one run. Under two seconds are promised; the rest is for what cannot be cut short, a write to disk for one."""


class Budget:
    """What is left for one run. For any thread; what two of them spend at once is counted twice."""

    def __init__(self) -> None:
        self._left = RUN_SECONDS
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        """Seconds, never less than none."""
        with self._lock:
            return max(0.0, self._left)

    @contextmanager
    def spending(self, most: float = math.inf) -> Iterator[float]:
        """A block whose time is counted; gives the moment (monotonic) until which it may wait, `most` seconds away."""
        began = time.monotonic()
        try:
            yield began + max(0.0, min(most, self.left))
        finally:
            with self._lock:
                self._left -= time.monotonic() - began
