"""Work shared with forked copies of this process: for many small files, where threads only take turns.

Each copy has the work in its memory already, so only numbers travel to it and outcomes back: no task is pickled, no
module is imported again, and a copy costs a millisecond. The calling process works too, and does itself whatever a
copy did not answer for (one was killed, the system is out of memory): an answer is never missing because of this.

Forking is safe only while a process has one thread, so `may_fork` asks the kernel. A notebook, a training script with
its loaders, or a server has more, and goes another way (`databom.checks.measuring`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import msgspec

if TYPE_CHECKING:
    from types import TracebackType

_NUMBER = struct.Struct("<I")
MOST_NUMBERS = 8192
"""Numbers the task pipe holds at once: half of what Linux gives a pipe, so that filling it never blocks."""
PIPE_BYTES = 1 << 20
"""Room for the outcomes of a copy while this process is busy with its own share."""
TELL_EVERY_BYTES = 32 << 20
"""How often a copy tells how far it is within one task."""

Meter = Callable[[int], None]


def may_fork() -> bool:
    """Whether this process has one thread, as the kernel counts them; False where it cannot be asked."""
    try:
        return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False


class Copies:
    """Forked copies of this process that take numbered tasks; a context manager that leaves none behind.

    Args:
        tasks: how many there are, numbered from 0.
        work: does one task; its result must be what `msgspec` can write as MessagePack and read back as `kind`.
        kind: the type of a result.
        copies: how many to make besides this process.
        meter: told the bytes a task has got through, in this process.
    """

    def __init__(
        self, tasks: int, work: Callable[[int, Meter], Any], kind: Any, copies: int, meter: Meter
    ) -> None:
        self._tasks = tasks
        self._work = work
        self._decode = msgspec.msgpack.Decoder(tuple[int, kind | int]).decode
        self._copies = copies
        self._meter = meter
        self._children: dict[int, int] = {}
        """Process id by the descriptor its outcomes come from."""
        self._buffers: dict[int, bytearray] = {}
        self._queue = -1

    def __enter__(self) -> Self:
        self._queue, fill = os.pipe2(os.O_CLOEXEC)
        try:
            step = -(-self._tasks // MOST_NUMBERS) or 1
            self._step = step
            os.write(fill, b"".join(map(_NUMBER.pack, range(0, self._tasks, step))))
            for _ in range(self._copies):
                self._fork(fill)
        except OSError:
            pass  # no memory or no process left: whoever there is does the work
        finally:
            os.close(fill)  # so that an empty queue ends instead of blocking
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for descriptor, child in self._children.items():
            os.close(descriptor)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self._children.clear()
        os.close(self._queue)

    def results(self) -> Iterator[tuple[int, Any]]:
        """The result of every task with its number, in no order."""
        left = set(range(self._tasks))
        for number, result in self._shared():
            if number in left:
                left.discard(number)
                yield number, result
        for number in sorted(left):
            yield number, self._work(number, self._meter)

    def _shared(self) -> Iterator[tuple[int, Any]]:
        while numbers := self._next():
            for number in numbers:
                yield number, self._work(number, self._meter)
                yield from self._arrived(wait=False)
        while self._children:
            yield from self._arrived(wait=True)

    def _next(self) -> range:
        """The next numbers nobody has taken; empty when there are none."""
        data = os.read(self._queue, _NUMBER.size)
        if len(data) < _NUMBER.size:
            return range(0)
        (start,) = _NUMBER.unpack(data)
        return range(start, min(start + self._step, self._tasks))

    # --- here --------------------------------------------------------------------------------

    def _arrived(self, *, wait: bool) -> Iterator[tuple[int, Any]]:
        if not self._children:
            return
        ready, _, _ = select.select(list(self._children), [], [], None if wait else 0)
        for descriptor in ready:
            data = os.read(descriptor, PIPE_BYTES)
            if not data:
                self._gone(descriptor)
                continue
            buffer = self._buffers[descriptor]
            buffer += data
            yield from self._frames(buffer)

    def _frames(self, buffer: bytearray) -> Iterator[tuple[int, Any]]:
        at = 0
        while len(buffer) - at >= _NUMBER.size:
            (length,) = _NUMBER.unpack_from(buffer, at)
            end = at + _NUMBER.size + length
            if len(buffer) < end:
                break
            number, result = self._decode(memoryview(buffer)[at + _NUMBER.size : end])
            at = end
            if number < 0:
                self._meter(result)
            else:
                yield number, result
        del buffer[:at]

    def _gone(self, descriptor: int) -> None:
        child = self._children.pop(descriptor)
        self._buffers.pop(descriptor)
        os.close(descriptor)
        os.waitpid(child, 0)

    # --- in a copy ---------------------------------------------------------------------------

    def _fork(self, fill: int) -> None:
        out, into = os.pipe2(os.O_CLOEXEC)
        try:
            child = os.fork()
        except OSError:
            os.close(out)
            os.close(into)
            raise
        if child:
            os.close(into)
            self._children[out] = child
            self._buffers[out] = bytearray()
            return
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process; one of them speaks
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            gc.disable()  # a collection would copy every page it marks
            for descriptor in (fill, out, *self._children):
                os.close(descriptor)
            self._serve(into)
            code = 0
        except BaseException:  # noqa: BLE001  # the other side does what is left, and meets the error itself
            code = 1
        finally:
            os._exit(code)  # no exit handlers, no flushing: all of that is the parent's

    def _serve(self, into: int) -> None:
        import fcntl

        with contextlib.suppress(OSError):  # a limit of this system: the pipe stays as it is
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        untold = 0

        def meter(count: int) -> None:
            nonlocal untold
            untold += count
            if untold >= TELL_EVERY_BYTES:
                _send(into, (-1, untold))
                untold = 0

        while numbers := self._next():
            for number in numbers:
                _send(into, (number, self._work(number, meter)))
        if untold:
            _send(into, (-1, untold))


def _send(descriptor: int, value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    rest = memoryview(_NUMBER.pack(len(data)) + data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
