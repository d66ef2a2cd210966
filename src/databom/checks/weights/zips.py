"""Archives: PyTorch, NumPy, Keras and skops all write zip, each with something of the moment in it."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from databom.checks.weights.forms import CHUNK

MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 64 * 1024 * 1024
"""The central directory, or a JSON document that is rewritten, at most: both are read whole."""
_LOCAL_HEADER = 30
_ENCRYPTED = 0x1
_BAD = (
    *(zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError),
    *(struct.error, zlib.error, IndexError),
)
"""What zipfile raises for bytes that it does not take."""

_TORCH, _TORCH_ID = "data.pkl", ".data/serialization_id"
_KERAS = frozenset({"config.json", "metadata.json", "model.weights.h5"})
_SAVED = re.compile(rb'(?<!\\)"date_saved":\s*"[^"\\]*"')
_SKOPS = "schema.json"
# In JSON, a quote inside a string has a backslash before it: these find members, and never text.
_VERSION = re.compile(rb'(?<!\\)"_skops_version":')
_ID = re.compile(rb'(?<!\\)"__id__":\s*([0-9]+)')
_FILE = re.compile(rb'(?<!\\)"file":\s*"([0-9A-Za-z_.-]+)"')


class Listed(NamedTuple):
    """An archive's form, and its entries with their digests."""

    form: str
    lines: dict[str, str]


def listed(file: BinaryIO) -> Listed | None:
    """The entries of an archive; None where it is not a plain one.

    Raises:
        OSError: the file cannot be read.
    """
    size = file.seek(0, io.SEEK_END)
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            members = _members(archive, size)
            return None if members is None else _listed(archive, members)
    except _BAD:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place that no file has
            return None
        raise


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo] | None:
    """The files of an archive by name, if each byte of it belongs to one of them at most."""
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    if not entries or len(entries) > MAX_MEMBERS or entries[0].header_offset != 0:
        return None
    ends = [entry.header_offset for entry in entries[1:]] + [size]
    found: dict[str, zipfile.ZipInfo] = {}
    for entry, end in zip(entries, ends, strict=True):
        least = _LOCAL_HEADER + len(entry.orig_filename) + entry.compress_size
        plain = entry.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
        if entry.header_offset + least > end or not plain or entry.flag_bits & _ENCRYPTED:
            return None
        if entry.filename != entry.orig_filename or entry.filename in found:
            return None
        if not entry.is_dir():
            found[entry.filename] = entry
        elif entry.file_size:
            return None
    return found


def _listed(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> Listed:
    tops = {name.partition("/")[0] for name in members}
    top = f"{tops.pop()}/" if len(tops) == 1 else ""
    if top and f"{top}{_TORCH}" in members:
        lines = {name.removeprefix(top): _digest(archive, entry) for name, entry in members.items()}
        lines.pop(_TORCH_ID, None)
        return Listed("torch", lines)
    if members.keys() >= _KERAS:
        return Listed(
            "keras", _rewritten(archive, members, "metadata.json", lambda raw, _: _SAVED.sub(b"", raw))
        )
    if _SKOPS in members and _is_small(members[_SKOPS]) and _VERSION.search(archive.read(members[_SKOPS])):
        return Listed("skops", _rewritten(archive, members, _SKOPS, _without_addresses))
    return Listed("zip", {name: _digest(archive, entry) for name, entry in members.items()})


def _rewritten(
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    name: str,
    rewrite: Callable[[bytes, dict[str, str]], bytes],
) -> dict[str, str]:
    """The members' digests, that of `name` after `rewrite`, which may take entries out."""
    lines = {one: _digest(archive, entry) for one, entry in members.items()}
    if _is_small(members[name]):
        lines[name] = hashlib.sha256(rewrite(archive.read(members[name]), lines)).hexdigest()
    return lines


def _without_addresses(raw: bytes, lines: dict[str, str]) -> bytes:
    """The schema of skops without memory addresses, bound to the members by their contents."""
    named: set[str] = set()
    numbers: dict[bytes, int] = {}

    def content(match: re.Match[bytes]) -> bytes:
        name = match[1].decode()
        if name not in lines:
            return match[0]
        named.add(name)
        return f'"file": sha256({lines[name]})'.encode()

    def number(match: re.Match[bytes]) -> bytes:
        return b'"__id__": #%d' % numbers.setdefault(match[1], len(numbers) + 1)

    schema = _ID.sub(number, _FILE.sub(content, raw))
    for name in named:
        lines.pop(name, None)
    return schema


def _is_small(entry: zipfile.ZipInfo) -> bool:
    return entry.file_size <= MAX_DIRECTORY_BYTES


def _digest(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    state, size = hashlib.sha256(), 0
    with archive.open(entry) as member:
        while data := member.read(CHUNK):
            state.update(data)
            size += len(data)
    if size != entry.file_size:  # of what is shorter than announced, zipfile says nothing
        raise zipfile.BadZipFile
    return state.hexdigest()


class _Bounded(io.RawIOBase):
    """A file of which nobody reads much at once: zipfile reads a central directory whole, as long as it says it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise ValueError("more than is read at once")
        return self._file.read(size if size >= 0 else MAX_DIRECTORY_BYTES)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
