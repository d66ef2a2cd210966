"""The one loop that reads and hashes: the same answer whether a thread reads ahead or not, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import StorageError
from databom.storage import hashing
from databom.storage.hashing import hash_stream
from databom.storage.tree import LocalTree


class Stream:
    """Bytes in pieces of a few sizes, into whatever buffer is given; may fail on the way."""

    def __init__(self, data: bytes, piece: int, fails_at: int | None = None) -> None:
        self._data, self._at, self._piece, self._fails_at = data, 0, piece, fails_at
        self.length = len(data)

    def readinto(self, buffer: memoryview) -> int:
        if self._fails_at is not None and self._at >= self._fails_at:
            raise StorageError("the disk stopped answering", where="here")
        part = self._data[self._at : self._at + min(len(buffer), self._piece)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is read ahead, in small buffers."""
    monkeypatch.setattr(hashing, "AHEAD_BYTES", 0)
    monkeypatch.setattr(hashing, "CHUNK_BYTES", 7)


def threads() -> int:
    return sum(thread.name == "databom-ahead" for thread in threading.enumerate())


class Collected:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: memoryview) -> None:
        self.data += bytes(data)


@given(st.binary(max_size=200), st.integers(1, 30), st.integers(0, 220))
def test_reading_ahead_changes_no_answer(data: bytes, piece: int, stop: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "CHUNK_BYTES", 7)
        answers = []
        for least in (0, 1 << 40):
            patch.setattr(hashing, "AHEAD_BYTES", least)
            sink, counted = Collected(), []
            got = hash_stream(Stream(data, piece), stop, md5=True, sinks=[sink], meter=counted.append)
            answers.append((got, sink.data, sum(counted)))
    assert answers[0] == answers[1]
    got, seen, counted = answers[0]
    whole = data[:stop]
    assert seen == whole
    assert counted == len(whole)
    assert got.complete == (len(data) <= stop)
    assert got.size == min(len(data), stop + 1)
    assert (got.sha256, got.md5) == (hashlib.sha256(whole).hexdigest(), hashlib.md5(whole).hexdigest())
    assert threads() == 0


@pytest.mark.usefixtures("ahead")
@pytest.mark.parametrize("fails_at", [0, 7, 70, 99])
def test_what_the_thread_meets_is_raised_here(fails_at: int) -> None:
    with pytest.raises(StorageError, match="stopped answering"):
        hash_stream(Stream(b"x" * 100, 7, fails_at), 1000)
    assert threads() == 0


@pytest.mark.usefixtures("ahead")
@pytest.mark.parametrize("after", [0, 30, 90])
def test_whoever_stops_waits_for_no_thread_and_leaves_none(after: int) -> None:
    class Enough(Exception):
        pass

    seen = 0

    def meter(count: int) -> None:
        nonlocal seen
        seen += count
        if seen > after:
            raise Enough

    with pytest.raises(Enough):
        hash_stream(Stream(b"x" * 100, 7), 1000, meter=meter)
    assert threads() == 0


def test_a_large_file_is_read_ahead(tmp_path: Path) -> None:
    size = hashing.AHEAD_BYTES + 5
    with (tmp_path / "sparse").open("wb") as file:
        os.truncate(file.fileno(), size)
    names = set()
    with LocalTree(tmp_path).open("sparse") as stream:
        got = hash_stream(stream, size, meter=lambda _: names.add(threads()))
    expected = hashlib.sha256()
    for _ in range(size // (1 << 20)):
        expected.update(bytes(1 << 20))
    expected.update(bytes(size % (1 << 20)))
    assert (got.size, got.sha256, got.complete) == (size, expected.hexdigest(), True)
    assert 1 in names
    assert threads() == 0
