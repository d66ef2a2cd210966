"""One loop that reads a stream and hashes it; verification and ingest both stand on it.

The loop never reads more than one byte past the end it was given, whatever the other side sends, and keeps
one buffer (a few, when it reads ahead) however long the stream is.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from databom.errors import FullError
from databom.storage.ahead import BUFFER_BYTES, chunks_ahead

if TYPE_CHECKING:
    from databom.storage.reader import Stream
    from databom.storage.staging import TempFile

CHUNK_BYTES = 1 << 20
"""Buffer of one running loop."""

MAX_UNSIZED_ASSET = 256 * 1024**3
"""Where reading stops when nothing we trust says how long an asset is: 256 GiB."""

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of no bytes: the only digest an empty asset can have."""

Meter = Callable[[int], None]
"""Called with the number of bytes of each chunk. May raise to stop the loop."""


class Measured(NamedTuple):
    """What a stream turned out to be.

    `complete` is False when it went on past the stop: then `size` is a minimum, and the digests are of the
    part before the stop.
    """

    size: int
    sha256: str
    md5: str | None
    complete: bool


class Sink(Protocol):
    """Where bytes go while they are hashed."""

    def write(self, data: memoryview) -> None:
        """Take all of `data`."""
        ...


def hash_stream(
    stream: Stream,
    stop: int,
    *,
    md5: bool = False,
    sinks: Sequence[Sink] = (),
    meter: Meter | None = None,
    ahead: bool = False,
) -> Measured:
    """Read `stream` to its end, or to `stop` + 1 bytes, and hash what was read.

    Args:
        stream: anything with `read(n)`; `readinto(buffer)` is used where there is one.
        stop: the most bytes a good stream can hold.
        md5: also compute MD5 (DVC's name for the file, never evidence).
        sinks: each gets the same buffers, at most `stop` bytes in all: the one too many is never written. What they
            get is proven only when this returns, and may be kept only until the next buffer comes.
        meter: told about each chunk.
        ahead: read in a second thread, if one can be had and the stream has `readinto`.

    Raises:
        StorageError: reading or writing failed.
    """
    sha, name = hashlib.sha256(), hashlib.md5(usedforsecurity=False) if md5 else None
    size = 0
    with contextlib.ExitStack() as stack:
        for chunk in _chunks(stream, stop + 1, stack if ahead else None):
            size += len(chunk)
            good = chunk if size <= stop else chunk[:-1]
            sha.update(good)
            if name is not None:
                name.update(good)
            for sink in sinks:
                sink.write(good)
            if meter is not None:
                meter(len(good))
    return Measured(
        size, sha.hexdigest(), name.hexdigest() if name is not None else None, complete=size <= stop
    )


def _chunks(stream: Stream, most: int, ahead: contextlib.ExitStack | None) -> Iterator[memoryview]:
    """At most `most` bytes of a stream, in chunks that are good until the next one; `ahead` ends the reading thread."""
    readinto = getattr(stream, "readinto", None)
    if ahead is not None and readinto is not None and most > BUFFER_BYTES:
        with contextlib.suppress(RuntimeError):  # no more threads are to be had
            return ahead.enter_context(chunks_ahead(readinto, most))
    return _chunks_here(stream, readinto, most)


def _chunks_here(
    stream: Stream, readinto: Callable[[memoryview], int] | None, most: int
) -> Iterator[memoryview]:
    room = min(CHUNK_BYTES, most)
    buffer = memoryview(bytearray(room if readinto else 0))
    while most > 0:
        want = min(room, most)
        chunk = buffer[: readinto(buffer[:want])] if readinto else memoryview(stream.read(want))
        if not chunk:
            return
        yield chunk
        most -= len(chunk)


def copy_verified(
    stream: Stream,
    temp: TempFile,
    expected_sha256: str,
    expected_size: int | None,
    *,
    md5: bool = False,
    also: Sequence[Sink] = (),
    limit: int = MAX_UNSIZED_ASSET,
    meter: Meter | None = None,
) -> tuple[Measured, bool]:
    """Copy `stream` into a staged file while hashing it; say what it was and whether it is what was expected.

    Reads at most the declared size + 1 bytes and writes at most the declared size; without a declared size
    the stop is `limit` or the room that is left, whichever is less. Publishing or setting aside is the
    caller's to decide.

    Args:
        stream: where the bytes come from.
        temp: an empty file of `Staging.create`; closed when this returns.
        expected_sha256: 64 lower-case hex digits.
        expected_size: bytes, or None when the manifest does not say.
        md5: also compute MD5.
        also: who else sees the bytes, in the same pass.
        limit: the most bytes taken when no size is declared.
        meter: told about each chunk.

    Raises:
        FullError: no room for it; the staged file is gone.
        StorageError: reading or writing failed; the staged file is gone.
    """
    room = None if expected_size is not None else temp.room()
    stop = expected_size if expected_size is not None else min(limit, room or 0)
    try:
        measured = hash_stream(stream, stop, md5=md5, sinks=(temp, *also), meter=meter)
        temp.close()
    except BaseException:
        temp.discard()
        raise
    if not measured.complete and room is not None and room < limit:
        temp.discard()
        raise _no_room(temp, room)
    right_size = expected_size is None or measured.size == expected_size
    return measured, measured.complete and right_size and measured.sha256 == expected_sha256


def _no_room(temp: TempFile, room: int) -> FullError:
    return FullError(
        f"an asset of undeclared size is longer than the {room:,} bytes there is room for",
        where=temp.shown,
        hint="free some space, then run the same command again",
    )
