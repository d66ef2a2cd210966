"""Reading ahead: one thread fills buffers while another uses those that are full.

For one long file where a core has nothing else to do: copying its bytes out of the page cache takes a sixth of the time
that hashing takes, and waiting for a disk more. Two buffers of a quarter of a MiB are passed to and fro within a core's
own cache; with 2 MiB of them it is slower than without a thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

BUFFER_BYTES = 256 * 1024
BUFFERS = 2

Fill = Callable[[memoryview], int]


@contextlib.contextmanager
def chunks_ahead(fill: Fill, most: int) -> Iterator[Iterator[memoryview]]:
    """The chunks that `fill` gives, until it gives none or gave `most` bytes; each is good until the next is asked for.

    `fill` runs in another thread, which has ended when the context has. What it raises, the iterator raises.

    Raises:
        RuntimeError: this process can have no more threads.
    """
    empty: SimpleQueue[memoryview | None] = SimpleQueue()
    full: SimpleQueue[memoryview | BaseException] = SimpleQueue()
    for _ in range(BUFFERS):
        empty.put(memoryview(bytearray(BUFFER_BYTES)))

    def read() -> None:
        left = most
        try:
            while left and (buffer := empty.get()) is not None:
                chunk = buffer[: fill(buffer[:left])]
                left -= len(chunk)
                full.put(chunk)
                if not chunk:
                    return
            full.put(memoryview(b""))
        except BaseException as error:  # noqa: BLE001  # raised where the chunks are used
            full.put(error)

    def chunks() -> Iterator[memoryview]:
        while True:
            chunk = full.get()
            if isinstance(chunk, BaseException):
                raise chunk
            if not chunk:
                return
            yield chunk
            empty.put(memoryview(chunk.obj))

    thread = threading.Thread(target=read, name="databom-ahead", daemon=True)
    try:
        thread.start()
        yield chunks()
    finally:
        empty.put(None)
        if thread.ident is not None:  # it was to be had
            thread.join()
