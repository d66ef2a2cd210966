"""Reading ahead of the hashing changes no answer, and leaves no thread behind."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.checks.integrity import check_integrity
from databom.errors import StorageError
from databom.storage import ahead
from databom.storage.hashing import hash_stream
from databom.storage.tree import LocalTree
from support.trees import manifest_of, plant

DATA = os.urandom(3 * ahead.BUFFER_BYTES + 17)


class Fed:
    """A stream that gives at most `piece` bytes at a time, and then, where asked to, an error."""

    length = None

    def __init__(self, data: bytes, piece: int, error: Exception | None = None) -> None:
        self.left = data
        self.piece = piece
        self.error = error

    def read(self, n: int, /) -> bytes:
        if not self.left and self.error:
            raise self.error
        got, self.left = self.left[: min(n, self.piece)], self.left[min(n, self.piece) :]
        return got

    def readinto(self, buffer: memoryview) -> int:
        got = self.read(len(buffer))
        buffer[: len(got)] = got
        return len(got)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass


def no_thread_is_left() -> bool:
    return not any(thread.name == "databom-ahead" for thread in threading.enumerate())


@given(
    st.integers(0, len(DATA)),
    st.sampled_from([70_001, ahead.BUFFER_BYTES, ahead.BUFFER_BYTES + 1, len(DATA)]),
    st.one_of(st.integers(0, len(DATA) + 2), st.sampled_from([ahead.BUFFER_BYTES * n for n in range(1, 4)])),
)
def test_the_answer_is_the_same(length: int, piece: int, stop: int) -> None:
    data, seen = DATA[:length], bytearray()

    class Sink:
        def write(self, chunk: memoryview) -> None:
            seen.extend(chunk)

    got = hash_stream(Fed(data, piece), stop, md5=True, sinks=[Sink()], ahead=True)
    assert got == hash_stream(Fed(data, piece), stop, md5=True)
    assert bytes(seen) == data[:stop]
    assert got.sha256 == hashlib.sha256(data[:stop]).hexdigest()
    assert no_thread_is_left()


def test_never_more_than_one_byte_too_many_is_read() -> None:
    stream = Fed(DATA, len(DATA))
    hash_stream(stream, len(DATA) - 1000, ahead=True)
    assert len(stream.left) == 999


def test_what_the_disk_says_is_said_here() -> None:
    with pytest.raises(StorageError, match="gone"):
        hash_stream(Fed(DATA, 70_001, StorageError("gone")), len(DATA), ahead=True)
    assert no_thread_is_left()


def test_whoever_stops_the_hashing_stops_the_reading() -> None:
    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hash_stream(Fed(DATA, 70_001), len(DATA), meter=stop, ahead=True)
    assert no_thread_is_left()


def test_without_a_thread_to_be_had_it_reads_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert hash_stream(Fed(DATA, 70_001), len(DATA), ahead=True).complete


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_one_changed_byte_in_the_last_long_file(tmp_path: Path, count: int) -> None:
    files = {f"{n}.bin": DATA * 6 + bytes([n]) for n in range(count)}
    root = plant(tmp_path, files)
    tree = LocalTree(root)
    assert check_integrity(manifest_of(files), tree).findings == ()
    with (root / f"{count - 1}.bin").open("r+b") as file:
        file.seek(len(DATA) * 4)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    findings = check_integrity(manifest_of(files), tree).findings
    assert [(one.code, one.subject) for one in findings] == [("integrity.mismatch", f"{count - 1}.bin")]
    assert no_thread_is_left()
