"""How long a store may take, and how often it is asked: the limits every remote reader keeps.

Clients bound little by themselves: their time-outs restart with every byte, and their retries multiply (a store
that hangs costs s3fs half an hour an object). Here one object bounds an attempt (`Patience`), one watches a body
for a drip (`Pace`), and one function is the only place that tries again (`with_retries`).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from databom.errors import StorageError, UnreachableError
from databom.storage.answers import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Patience(Struct, frozen=True):
    """How long a store may take. All figures are seconds unless they say otherwise.

    Together they bound everything: one attempt to open ends after `connect + idle`, an open with its retries
    after `budget + connect + idle`, a stream of n bytes after `n / least_rate + window + idle` of waiting
    (time the caller spends between reads is not counted), a whole document after `document`.
    """

    connect: float = 5.0
    idle: float = 30.0
    """Longest silence: before the first byte of an answer and between two pieces of it."""
    window: float = 30.0
    least_rate: int = 8 * 1024
    """Bytes per second each window must reach; a drip below it is given up."""
    attempts: int = 5
    budget: float = 45.0
    """No attempt starts later than this after the first one."""
    document: float = 600.0
    pause: float = 0.5
    """Upper bound of the first pause between attempts; doubles each time, jittered."""


PATIENCE: Final = Patience()


def within(call: Callable[[], T], seconds: float, where: str) -> T:
    """What a call answers, for calls that nothing else bounds: name resolution, other libraries' clients.

    One that takes longer goes on in a daemon thread, which keeps nobody waiting.

    Raises:
        UnreachableError: it took longer; `where` says to whom it speaks.
        BaseException: whatever the call raises.
    """
    answers: list[T] = []
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
            failures.append(error)

    thread = threading.Thread(target=attempt, name="databom-within", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise UnreachableError(f"{where}: no answer within {seconds:.0f} s", where=where)
    return answers[0]


class Pace:
    """Watches one stream for a drip: each window of waiting must bring its share of bytes."""

    def __init__(self, patience: Patience, where: str) -> None:
        self._patience = patience
        self._where = where
        self._waited = 0.0
        self._got = 0

    def add(self, seconds: float, count: int) -> None:
        """Record that `count` bytes took `seconds` of waiting.

        Raises:
            UnreachableError: a whole window brought less than `least_rate` asks for.
        """
        self._waited += seconds
        self._got += count
        if self._waited < self._patience.window:
            return
        if self._got < self._patience.least_rate * self._waited:
            raise UnreachableError(
                f"{self._where}: too slow: {self._got} bytes in {self._waited:.0f} s, "
                f"less than {self._patience.least_rate} bytes per second",
                where=self._where,
                hint="try again; if it stays slow, ask whoever runs the store",
            )
        self._waited, self._got = 0.0, 0


_SPENT: Final = "_databom_retries_spent"


def _jitter() -> float:
    import random

    return random.random()  # noqa: S311  # spreads load, keeps no secret


def with_retries(
    call: Callable[[], T],
    *,
    attempts: int = PATIENCE.attempts,
    budget: float = PATIENCE.budget,
    pause: float = PATIENCE.pause,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    jitter: Callable[[], float] = _jitter,
) -> T:
    """Call `call` until it succeeds, fails for good, or the patience is spent.

    Only a `StorageError` whose `retryable` is true is tried again, after an exponential pause with full
    jitter or after the store's own `Retry-After` if that is longer. A pause that would not fit into `budget`
    is not begun. An error that has been through this once is final: nested calls do not multiply.

    Args:
        call: the whole operation, from its start: a body that broke is read again from byte 0.
        attempts: calls at most, the first one included.
        budget: seconds after the first call within which the last one must start.
        pause: upper bound of the first pause, in seconds.
        sleep: waits; tests hand in their own.
        clock: a monotonic clock in seconds.
        jitter: a number in [0, 1).

    Raises:
        StorageError: the last failure.
    """
    start = clock()
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except StorageError as error:
            if not error.retryable or hasattr(error, _SPENT):
                raise
            wait = pause * 2 ** (attempt - 1) * jitter()
            if isinstance(error, BusyError):
                wait = max(wait, error.retry_after)
            if attempt == attempts or clock() - start + wait > budget:
                setattr(error, _SPENT, attempt)
                raise
        sleep(wait)
    raise AssertionError("attempts is at least 1")
