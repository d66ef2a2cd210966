"""Work shared with forked copies of this process: threads would take turns where files are small.

`Copies` share numbered tasks; `Aside` does one thing while this process does another. Each copy has the work in its
memory already, so only numbers travel to it and outcomes back: no task is pickled, no module is imported again, and a
copy costs a millisecond. The calling process works too, and does itself whatever a copy did not answer for (one was
killed, the system is out of memory): an answer is never missing because of this.

Nor does a copy outlive its use: it is killed when nobody waits for it any more (`_end`), and when this process is gone
without a word, it finds nobody to write to.

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
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

import msgspec

from databom.storage.posix import close

if TYPE_CHECKING:
    from types import TracebackType

_NUMBER = struct.Struct("<I")
MOST_NUMBERS = 1024
"""Numbers the task pipe holds at once: one page, which is all that Linux gives a pipe of a user who has many. Nobody
reads while it is filled, so that must not block."""
PIPE_BYTES = 1 << 20
"""Room for the outcomes of a copy while this process is busy with its own share."""
TELL_EVERY_BYTES = 32 << 20
"""How often a copy tells how far it is within one task."""
PATIENCE_SECONDS = 2.0
"""How long killed copies are waited for. One that reads from a mount whose server is gone does not die before that is
back, and this process must be able to end."""

Meter = Callable[[int], None]
T = TypeVar("T")

_ends: set[int] = set()
"""Every descriptor that copies are heard through. No copy keeps another's: who writes to it would not learn that this
process is gone."""
_dying: set[int] = set()
"""Process ids of copies that were killed and not yet seen to end."""


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
        self._begun: dict[int, int] = {}
        self._buffers: dict[int, bytearray] = {}
        self._heard = select.poll()
        self._queue = -1

    def __enter__(self) -> Self:
        fill = -1
        try:
            self._queue, fill = os.pipe2(os.O_CLOEXEC)
            os.write(fill, b"".join(map(_NUMBER.pack, range(min(self._tasks, MOST_NUMBERS)))))
            for _ in range(self._copies):
                _fork(self._serve, self._keep, fill)
        except OSError:
            pass  # no memory, descriptor or process left: whoever there is does the work
        except BaseException:
            self.__exit__(None, None, None)
            raise
        finally:
            close(fill)  # so that an empty queue ends instead of blocking
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            _end(self._begun)
        finally:
            close(self._queue)
            self._queue = -1

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
        while self._begun:
            yield from self._arrived(wait=True)

    def _next(self) -> range:
        """The next numbers nobody has taken; empty when there are none.

        Neighbours are not taken together: where the first tasks are the longest, they are everybody's.
        """
        try:
            data = os.read(self._queue, _NUMBER.size)
        except OSError:
            data = b""
        if len(data) < _NUMBER.size:
            return range(0)
        (start,) = _NUMBER.unpack(data)
        return range(start, self._tasks, MOST_NUMBERS)

    # --- here --------------------------------------------------------------------------------

    def _keep(self, out: int, child: int) -> None:
        self._begun[out] = child
        self._buffers[out] = bytearray()
        self._heard.register(out, select.POLLIN)

    def _arrived(self, *, wait: bool) -> Iterator[tuple[int, Any]]:
        if not self._begun:
            return
        for descriptor, _ in self._heard.poll(None if wait else 0):
            try:
                data = os.read(descriptor, PIPE_BYTES)
            except OSError:
                data = b""
            if not data:
                self._heard.unregister(descriptor)
                del self._buffers[descriptor]
                _end({descriptor: self._begun.pop(descriptor)})
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

    # --- in a copy ---------------------------------------------------------------------------

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
        self._begun: dict[int, int] = {}

    def __enter__(self) -> Self:
        if self._copied:
            try:
                _fork(
                    lambda into: _write(into, msgspec.msgpack.encode(self._work())), self._begun.__setitem__
                )
            except OSError:
                pass
            except BaseException:
                _end(self._begun)
                raise
        if not self._begun:
            answer = self._work()
            self._work = lambda: answer
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        _end(self._begun)

    def answer(self) -> T:
        """The answer, waited for; one that the copy did not give is found here, or its error raised."""
        if self._begun:
            (out,) = self._begun
            data = bytearray()
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                while chunk := os.read(out, PIPE_BYTES):
                    data += chunk
                # MessagePack that was cut short cannot be read, so nobody needs to know how the copy ended.
                answer: T = msgspec.msgpack.decode(data, type=self._kind)
                self._work = lambda: answer
            _end(self._begun)
        return self._work()


# --- the life of a copy --------------------------------------------------------------------------


@contextlib.contextmanager
def _undisturbed() -> Iterator[set[int]]:
    """Keep signals waiting within this block; it is given those that waited before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # A call of its own, as it may raise: here a handler runs whose signal came a moment ago. (The real-time signals
        # without a name are left out; with them it takes five times as long.)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.Signals)
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(work: Callable[[int], None], keep: Callable[[int, int], None], *others: int) -> None:
    """Make a copy that does this work, with a descriptor to write to.

    Signals wait until this process has taken note of it, and the copy ends by SIGINT and SIGTERM, whatever its parent
    does on them: an error raised by a handler would lose the copy, or would have it unwind what its parent has begun.

    Args:
        work: what the copy does.
        keep: takes note of a copy, by the descriptor it is heard through and its process id.
        others: descriptors that are not for the copy.

    Raises:
        OSError: there is no process, memory or descriptor left.
    """
    _reap()
    with _undisturbed() as before:
        out, into = os.pipe2(os.O_CLOEXEC)
        others = (*others, out, *_ends)
        try:
            child = os.fork()
            if not child:
                _be_a_copy(work, into, before, others)
            _ends.add(out)
            keep(out, child)
        except OSError:
            close(out)
            raise
        finally:
            close(into)


def _be_a_copy(
    work: Callable[[int], None], into: int, waiting: set[int], others: tuple[int, ...]
) -> NoReturn:
    """What a copy does, from the fork to its end.

    Args:
        work: what it is for.
        into: what it writes to.
        waiting: signals that were kept waiting before the fork.
        others: descriptors that are not its own.
    """
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process; one of them speaks
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
        gc.disable()  # a collection would copy every page it marks
        for descriptor in others:
            close(descriptor)
        _ends.clear()
        _dying.clear()
        work(into)
        code = 0
    except BaseException:  # noqa: BLE001  # the other side does what is left, and meets the error itself
        code = 1
    finally:
        os._exit(code)  # no exit handlers, no flushing: all of that is the parent's


def _end(begun: dict[int, int]) -> None:
    """Kill these copies and forget them. None is left but those the kernel does not let go in `PATIENCE_SECONDS`.

    A process id is signalled only while it is a child's of ours: where SIGCHLD is ignored, or somebody waits for any
    child there is, it may name another process by now. (A pidfd would not need that care. Kernels before 5.3 have
    none, nor have Pythons that were built there, on however new a kernel they run.)
    """
    killed = set(begun.values())
    with _undisturbed():
        _dying.update(killed)
        for child in killed & _reap():
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        for descriptor in begun:
            _ends.discard(descriptor)
            close(descriptor)
        begun.clear()
    last, nap = time.monotonic() + PATIENCE_SECONDS, 0.00005
    while killed & _reap() and time.monotonic() < last:
        time.sleep(nap)  # no call waits for one child and gives up in time
        nap = min(2 * nap, 0.05)


def _reap() -> set[int]:
    """The killed copies that have not ended; of the others, no zombie is left. Whoever forks next asks again."""
    for child in tuple(_dying):
        try:
            ended = os.waitpid(child, os.WNOHANG)[0]
        except ChildProcessError:
            ended = child  # somebody else was told
        if ended:
            _dying.discard(child)
    return _dying


def _send(descriptor: int, value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    _write(descriptor, _NUMBER.pack(len(data)) + data)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
