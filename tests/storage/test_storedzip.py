"""Stored zips: one set of files is one archive; whatever else calls itself a zip is refused, in bounded memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import InputError
from databom.storage.storedzip import pack, unpack

FILES = {"bundle.json": b"{}", "run/a.json": b"one", "run/b": b""}


def read(raw: bytes, *, max_files: int = 100) -> dict[str, bytes]:
    return unpack(raw, max_files=max_files, max_name=240)


def refused(raw: bytes, **how: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(raw, **how)
    [problem] = caught.value.problems
    return f"{problem.code}: {problem.what}"


def zipped(*members: tuple[zipfile.ZipInfo | str, bytes], comment: bytes = b"", **how: Any) -> bytes:
    """A zip as another program would write it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", **how) as archive:
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = comment
    return target.getvalue()


def member(name: str, **how: Any) -> zipfile.ZipInfo:
    one = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    one.create_system, one.external_attr = 3, 0o100644 << 16
    for key, value in how.items():
        setattr(one, key, value)
    return one


def test_what_is_packed_comes_back_and_any_zip_program_reads_it() -> None:
    raw = pack(FILES)
    assert read(raw) == FILES
    assert pack(dict(reversed(FILES.items()))) == raw
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(FILES)
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert zipped(*((member(name), FILES[name]) for name in sorted(FILES))) == raw


def test_every_bit_counts() -> None:
    raw = pack(FILES)
    for at in range(len(raw)):
        for bit in (1, 0x80):
            refused(raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :])
    for cut in range(len(raw)):
        refused(raw[:cut])


def crossed(raw: bytes) -> bytes:
    """The second entry of the directory points to the first file's bytes."""
    at = raw.index(b"PK\x01\x02", raw.index(b"PK\x01\x02") + 4)
    return raw[: at + 42] + struct.pack("<L", 0) + raw[at + 46 :]


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "it is none"),
    "no zip": (lambda: b"%PDF-1.7 " + bytes(100), "it is none"),
    "something before": (lambda: b"#!/bin/sh\n" + pack(FILES), "not where its end record says"),
    "something behind": (lambda: pack(FILES) + b"x", "has something behind its end"),
    "a comment": (lambda: zipped((member("a"), b"1"), comment=b"hello"), "has something behind its end"),
    "a comment that is an archive": (
        lambda: zipped((member("a"), b"1"), comment=pack({"b": b"2"})),
        "not where its end record says",
    ),
    "compressed": (lambda: zipped((member("a", compress_type=8), b"0" * 99)), "it is compressed"),
    "a bomb": (lambda: zipped((member("a", compress_type=8), bytes(100_000_000))), "it is compressed"),
    "twice": (lambda: zipped((member("a"), b"1"), (member("a"), b"2")), "twice"),
    "a link": (lambda: zipped((member("a", external_attr=0o120777 << 16), b"/etc/passwd")), "a link"),
    "a device": (
        lambda: zipped((member("a", external_attr=0o060644 << 16), b"")),
        "a link, a folder or a device",
    ),
    "a folder": (lambda: zipped((member("a/"), b"")), "a folder"),
    "executable": (lambda: zipped((member("a", external_attr=0o100755 << 16), b"1")), "directory has more"),
    "a date": (lambda: zipped((member("a", date_time=(2026, 1, 1, 0, 0, 0)), b"1")), "says other than"),
    "an extra field": (lambda: zipped((member("a", extra=b"\x99\x99\x04\x00abcd"), b"1")), "says other than"),
    "a member's comment": (lambda: zipped((member("a", comment=b"c"), b"1")), "directory has more"),
    "not sorted twice over": (lambda: crossed(pack({"a": b"same", "b": b"same"})), "across the files"),
    "a name with a zero": (lambda: pack({"aXb": b""}).replace(b"aXb", b"a\0b"), "two readings"),
    "a name that is not ASCII": (lambda: zipped((member("bücher"), b"1")), "two readings"),
    "encrypted": (
        lambda: bytes(
            pack({"a": b"1"}).replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0")
        ),
        "encrypted",
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_and_it_is_said_why(what: str) -> None:
    make, why = HOSTILE[what]
    raw = make()
    tracemalloc.start()
    said = refused(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said.startswith("bundle.syntax: ")
    assert why in said
    assert peak < 2_000_000 + 3 * len(raw)


def test_too_many_files_are_refused_before_they_are_read() -> None:
    many = pack({f"{number:05}": b"" for number in range(1_001)})
    assert refused(many, max_files=1_000).startswith("bundle.limit: ")
    assert len(read(many, max_files=1_001)) == 1_001


def test_a_directory_that_lies_about_its_length_costs_nothing() -> None:
    entry = pack({"a": b""})
    central = entry[entry.index(b"PK\x01\x02") : -22]
    raw = central * 200_000 + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central) * 200_000, 0, 0)
    tracemalloc.start()
    assert "not where its end record says" in refused(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.dictionaries(st.from_regex(r"[a-z0-9]{1,9}(/[a-z]{1,3})?", fullmatch=True), st.binary(max_size=50)))
def test_anything_that_is_packed_comes_back(files: dict[str, bytes]) -> None:
    assert read(pack(files)) == files


@given(st.binary(max_size=300), st.integers(0, 400), st.binary(max_size=8))
def test_noise_is_refused_or_read_and_never_crashes(noise: bytes, at: int, patch: bytes) -> None:
    whole = pack(FILES)
    for raw in (noise, noise + whole[-22:], whole[:at] + patch + whole[at + len(patch) :]):
        codes, found = set(), None
        try:
            found = read(raw)
        except InputError as error:
            codes = {one.code for one in error.problems}
        assert codes <= {"bundle.syntax", "bundle.limit"}
        assert codes or pack(found or {}) == raw
