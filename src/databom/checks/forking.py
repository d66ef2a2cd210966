"""Work shared with forked copies of this process: threads would take turns where files are small.

`Copies` share numbered tasks; `Aside` does one thing while this process does another. Each copy has the work in its
memory already, so only numbers travel to it and outcomes back: no task is pickled, no module is imported again, and a
copy costs a millisecond. The calling process works too, and does itself whatever a copy did not answer for (one was
killed, the system is out of memory): an answer is never missing because of this.

Forking is safe only while a process has one thread, so `may_fork` asks the kernel. A notebook, a training script with
its loaders, or a server has more, and goes another way (`databom.checks.engine`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

import msgspec

from databom.storage.posix import close

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
T = TypeVar("T")


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
        fill = -1
        try:
            self._queue, fill = os.pipe2(os.O_CLOEXEC)
            step = -(-self._tasks // MOST_NUMBERS) or 1
            self._step = step
            os.write(fill, b"".join(map(_NUMBER.pack, range(0, self._tasks, step))))
            for _ in range(self._copies):
                self._fork(fill)
        except OSError:
            pass  # no memory, descriptor or process left: whoever there is does the work
        finally:
            close(fill)  # so that an empty queue ends instead of blocking
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for descriptor, child in self._children.items():
            close(descriptor)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self._children.clear()
        close(self._queue)

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
        try:
            data = os.read(self._queue, _NUMBER.size)
        except OSError:
            data = b""
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
            try:
                data = os.read(descriptor, PIPE_BYTES)
            except OSError:
                os.kill(self._children[descriptor], signal.SIGKILL)
                data = b""
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
        close(descriptor)
        os.waitpid(child, 0)

    # --- in a copy ---------------------------------------------------------------------------

    def _fork(self, fill: int) -> None:
        out, into = os.pipe2(os.O_CLOEXEC)
        try:
            child = os.fork()
        except OSError:
            close(out)
            close(into)
            raise
        if child:
            close(into)
            self._children[out] = child
            self._buffers[out] = bytearray()
            return
        _be_a_copy(lambda: self._serve(into), (fill, out, *self._children))

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


class Aside(Generic[T]):
    """One answer that a copy of this process looks for meanwhile; a context manager that leaves no copy behind.

    Args:
        work: gives the answer, which must be what `msgspec` can write as MessagePack and read back as `kind`.
        kind: its type.
        copied: False does the work at once, in this process.
    """

    def __init__(self, work: Callable[[], T], kind: Any, *, copied: bool = True) -> None:
        self._work = work
        self._kind = kind
        self._copied = copied
        self._child = self._out = 0

    def __enter__(self) -> Self:
        if not (self._copied and self._fork()):
            answer = self._work()
            self._work = lambda: answer
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            self._reap()

    def answer(self) -> T:
        """The answer, waited for; one that the copy did not give is found here, or its error raised."""
        if not self._child:
            return self._work()
        data = bytearray()
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            while chunk := os.read(self._out, PIPE_BYTES):
                data += chunk
            answer: T = msgspec.msgpack.decode(data, type=self._kind)
            if self._reap() == 0:
                return answer
        return self._work()

    def _fork(self) -> bool:
        try:
            self._out, into = os.pipe2(os.O_CLOEXEC)
        except OSError:
            return False
        try:
            self._child = os.fork()
        except OSError:
            close(self._out)
            close(into)
            return False
        if not self._child:
            _be_a_copy(lambda: _write(into, msgspec.msgpack.encode(self._work())), (self._out,))
        close(into)
        return True

    def _reap(self) -> int:
        child, self._child = self._child, 0
        close(self._out)
        return os.waitpid(child, 0)[1]


def _be_a_copy(work: Callable[[], None], others: Iterable[int]) -> NoReturn:
    """What a copy does, from the fork to its end; `others` are descriptors that are not its own."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process; one of them speaks
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.disable()  # a collection would copy every page it marks
        for descriptor in others:
            close(descriptor)
        work()
        code = 0
    except BaseException:  # noqa: BLE001  # the other side does what is left, and meets the error itself
        code = 1
    finally:
        os._exit(code)  # no exit handlers, no flushing: all of that is the parent's


def _send(descriptor: int, value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    _write(descriptor, _NUMBER.pack(len(data)) + data)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
