"""The process in which scanners run: `python -P -m databom.checks.scanworker`, started by `databom.checks.scanning`.

Apart from the process that asks: a scanner that crashes, hangs or eats memory takes nothing else with it, and whatever
it prints goes nowhere. `-P`, because the folder it is started in may hold a module of any name.

Messages are MessagePack, each after its length in 4 bytes. In: a `Setup`, then lists of `Job`s. Out: one `Ready`, then
for each job, in order, any number of signs of life (`None`) and one `Answer`.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import struct
import sys
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from databom.errors import StorageError
from databom.scanners.looking import Looker, Seen
from databom.scanners.protocol import Identity, identity_of
from databom.scanners.registry import load
from databom.storage.hashing import hash_stream
from databom.storage.localfile import LocalStream
from databom.storage.tree import LocalTree

LENGTH = struct.Struct("<I")
WHOLE_BYTES = 64 * 1024 * 1024
"""Files up to this size are read once, hashed and scanned in memory; longer ones are hashed, then mapped."""
MAX_MEMORY_BYTES = 8 * 1024**3
"""What a scanner may take of the memory: more than any file within the limits needs."""


class Setup(NamedTuple):
    """What holds for every job."""

    root: str
    cache_root: str | None
    scanners: tuple[str, ...]


class Job(NamedTuple):
    """One asset to look at."""

    path: str
    size: int | None
    sha256: str
    media_type: str | None


class Ready(NamedTuple):
    """Who will look, and what is wrong with those who will not."""

    scanners: tuple[Identity, ...]
    troubles: tuple[str, ...]


class Answer(NamedTuple):
    """What was seen; `refused` says instead why the verified bytes could not be had."""

    seen: Seen | None = None
    refused: str | None = None


def write(file: BinaryIO, message: object) -> None:
    """Send one message."""
    data = msgspec.msgpack.encode(message)
    file.write(LENGTH.pack(len(data)) + data)
    file.flush()


def read(file: BinaryIO) -> bytes | None:
    """The next message; None at the end."""
    prefix = file.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    data = file.read(LENGTH.unpack(prefix)[0])
    return data if len(data) == LENGTH.unpack(prefix)[0] else None


def main() -> None:
    """Answer until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing_in, open(os.devnull, "wb") as nothing_out:
        questions = os.fdopen(os.dup(0), "rb")
        os.dup2(nothing_in.fileno(), 0)
        os.dup2(nothing_out.fileno(), 1)
        os.dup2(nothing_out.fileno(), 2)
    _limit()
    raw = read(questions)
    if raw is None:
        return
    setup = msgspec.msgpack.decode(raw, type=Setup)
    loaded = load(setup.scanners)
    me = os.getpid()

    def say(message: object) -> None:
        if os.getpid() != me:  # a scanner forked, and this is what came of it: one of us answers
            os._exit(0)
        write(answers, message)

    say(Ready(tuple(map(identity_of, loaded.scanners)), loaded.troubles))
    looker = Looker(loaded.scanners, alive=lambda: say(None))
    tree = LocalTree(Path(setup.root), cache_root=Path(setup.cache_root) if setup.cache_root else None)
    while (raw := read(questions)) is not None:
        for job in msgspec.msgpack.decode(raw, type=list[Job]):
            try:
                answer = look(tree, job, looker)
            except StorageError as error:
                answer = Answer(refused=str(error))
            say(answer)


def _limit() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))


def look(tree: LocalTree, job: Job, looker: Looker) -> Answer:
    """Look at an asset's bytes, which are those of its digest; of other bytes nothing is said.

    Raises:
        StorageError: the file cannot be read.
    """
    with tree.open(job.path) as stream:
        if stream.opened.size <= WHOLE_BYTES:
            data: bytes = b"".join(iter(lambda: stream.read(1 << 20), b""))
            if hashlib.sha256(data).hexdigest() != job.sha256:
                return Answer(refused="it is not what it was when it was verified")
            return Answer(looker.look(data, job.media_type, job.path))
        measured = hash_stream(stream, stream.opened.size, meter=lambda _: looker.alive())
        if not measured.complete or measured.sha256 != job.sha256:
            return Answer(refused="it is not what it was when it was verified")
        with _mapped(stream) as mapping:
            seen = looker.look(mapping, job.media_type, job.path)
        if stream.stat() != stream.opened:
            return Answer(refused="it was changed while it was looked at")
    return Answer(seen)


def _mapped(stream: LocalStream) -> mmap.mmap:
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


if __name__ == "__main__":
    main()
    sys.stdout = None  # nothing of a scanner's is flushed to anybody
