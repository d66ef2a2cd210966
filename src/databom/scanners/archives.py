"""The members of archives, unpacked within limits. What is beyond them is not answered for.

Zip (and so office documents), tar, gzip, bzip2, xz; the encoded parts of e-mails; files that texts hold in base64.
A limit is over a whole asset, however deep its archives are in one another: 100,000 members, 2 GiB, four levels.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import mmap
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from typing import IO, NamedTuple

from databom.scanners import media, texts
from databom.scanners.protocol import Data, Unreadable

MAX_DEPTH = 4
MAX_MEMBERS = 100_000
MAX_BYTES = 2 * 1024**3
MAX_MEMBER_BYTES = 64 * 1024 * 1024
MAX_RATIO = 500
"""Of what a zip says a member becomes to what it is, for members of over a megabyte."""
ZIP, TAR, GZIP, BZIP2, XZ = (
    "application/zip",
    "application/x-tar",
    "application/gzip",
    "application/x-bzip2",
    "application/x-xz",
)
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, KeyError, IndexError, zlib.error,
           lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)  # fmt: skip


class Member(NamedTuple):
    """One file inside of another."""

    name: str
    data: bytes
    declared: str | None = None


class Budget:
    """What may still be unpacked of one asset."""

    def __init__(self) -> None:
        self.members = MAX_MEMBERS
        self.bytes = MAX_BYTES

    def take(self, size: int) -> None:
        """Count a member of so many bytes.

        Raises:
            Unreadable: that is beyond the limits.
        """
        self.members -= 1
        self.bytes -= size
        if self.members < 0 or self.bytes < 0:
            raise Unreadable(f"an archive of more than {MAX_MEMBERS:,} members or {MAX_BYTES >> 30} GiB")


def is_archive(media_type: str) -> bool:
    """Whether it is nothing but a container; e-mails and markup are text as well."""
    return media_type in _OPENERS and not media.is_text(media_type)


def members(data: Data, media_type: str, budget: Budget, depth: int) -> Iterator[Member]:
    """What is inside; nothing for what is no container. `depth`: how many others it lies in.

    Raises:
        Unreadable: it is damaged, encrypted, or larger inside than what is unpacked.
    """
    opener = _OPENERS.get(media_type)
    if opener is None and media.is_text(media_type) and any(data.find(sign) >= 0 for sign in _SIGNS):
        opener = _embedded
    if opener is None:
        return
    if depth >= MAX_DEPTH:
        raise Unreadable(f"files inside of files, more than {MAX_DEPTH} levels deep")
    try:
        yield from opener(data, budget)
    except _BROKEN:
        raise Unreadable("an archive that cannot be unpacked") from None


def _file(data: Data) -> IO[bytes]:
    if isinstance(data, mmap.mmap):
        data.seek(0)
        return io.BufferedReader(_Mapped(data))
    return io.BytesIO(data)


class _Mapped(io.RawIOBase):
    """A mapped file as a file of its own: closing it leaves the mapping open."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._data))[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _read(file: IO[bytes], budget: Budget) -> bytes:
    raw = file.read(MAX_MEMBER_BYTES + 1)
    if len(raw) > MAX_MEMBER_BYTES:
        raise Unreadable(f"a member of over {MAX_MEMBER_BYTES >> 20} MiB")
    budget.take(len(raw))
    return raw


def _zip(data: Data, budget: Budget) -> Iterator[Member]:
    with zipfile.ZipFile(_file(data)) as archive:
        if len(archive.infolist()) > budget.members:
            raise Unreadable(f"an archive of more than {MAX_MEMBERS:,} members")
        for one in archive.infolist():
            if one.is_dir():
                continue
            if one.flag_bits & 1:
                raise Unreadable("an encrypted archive")
            if one.file_size > 1 << 20 and one.file_size > MAX_RATIO * max(1, one.compress_size):
                raise Unreadable("an archive that grows like a bomb")
            with archive.open(one) as file:
                yield Member(one.filename, _read(file, budget))


def _tar(data: Data, budget: Budget) -> Iterator[Member]:
    yield from _tar_stream(_file(data), budget)


def _tar_stream(file: IO[bytes], budget: Budget) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r|", ignore_zeros=True) as archive:
        for one in archive:
            content = archive.extractfile(one) if one.isreg() else None
            if content is not None:
                yield Member(one.name, _read(content, budget))
            else:
                budget.take(0)


def _packed(opener: Callable[[IO[bytes]], IO[bytes]]) -> Callable[[Data, Budget], Iterator[Member]]:
    def unpack(data: Data, budget: Budget) -> Iterator[Member]:
        with opener(_file(data)) as file:
            counted = io.BufferedReader(_Counted(file, budget), 1 << 16)
            if media.media_type_of(counted.peek(512)[:512], None, "") == TAR:
                yield from _tar_stream(counted, Budget())
            else:
                yield Member("", _read(counted, Budget()))

    return unpack


class _Counted(io.RawIOBase):
    """What comes out of a decompressor, counted as it comes."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file, self._budget = file, budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._file.read(len(buffer))
        buffer[: len(part)] = part
        self._budget.bytes -= len(part)
        if self._budget.bytes < 0:
            raise Unreadable(f"an archive of more than {MAX_BYTES >> 30} GiB")
        return len(part)


_MAILS = re.compile(rb"(?:\A|\n\r?\n)From [^\n]*\n(?=[!-9;-~]+:)")
"""Between the messages of an mbox file."""
_ENCODED = re.compile(rb"(?i)content-transfer-encoding:\s*(?:base64|quoted-printable|x-uue|uue)")


def _mail(data: Data, budget: Budget) -> Iterator[Member]:
    """The parts of e-mails that are encoded; the others stand in it as they are."""
    if len(data) > MAX_MEMBER_BYTES:
        raise Unreadable(f"a mail file of over {MAX_MEMBER_BYTES >> 20} MiB")
    whole = bytes(texts.narrow(data)[:])
    for one in _MAILS.split(whole) if _ENCODED.search(whole) else ():
        if _ENCODED.search(one) is None:
            continue
        for part in message_from_bytes(one).walk():
            raw = None if part.is_multipart() else part.get_payload(decode=True)
            if isinstance(raw, bytes) and raw:
                budget.take(len(raw))
                yield Member(part.get_filename() or "part", _unwound(raw, part), part.get_content_type())


def _unwound(raw: bytes, part: Message) -> bytes:
    """A part in UTF-8 if its charset is one in which ASCII is not ASCII."""
    charset = str(part.get_content_charset("")).lower()
    if part.get_content_maintype() != "text" or not charset.startswith(("utf-16", "utf-32", "utf-7", "utf7")):
        return raw
    try:
        return raw.decode(charset).encode(*texts.ENCODING)
    except (LookupError, ValueError):
        return raw


_EMBEDDED = re.compile(
    rb"(?:data:([\w/+.-]{1,100})(?:;[\w=-]+)*;base64,|(?=iVBORw0KGgo|/9j/[24]|R0lGOD|UklGR))"
    rb"((?:[A-Za-z0-9+/=\s]+|\\[nr/])+)"
)
"""Base64 that is said to be a file, or begins like a picture; in JSON its lines end with `\\n`."""
_SIGNS = (b"base64,", b"iVBORw0KGgo", b"/9j/", b"R0lGOD", b"UklGR")
_LEAST_CHARS = 100
"""Of a picture; what is shorter is a word that happens to begin like one."""


def _embedded(data: Data, budget: Budget) -> Iterator[Member]:
    for match in _EMBEDDED.finditer(texts.narrow(data)):
        said, text = match.groups()
        text = re.sub(rb"\\[nr]|[\\\s=]", b"", text)
        if said is not None or len(text) >= _LEAST_CHARS:
            raw = base64.b64decode(text + b"=" * (-len(text) % 4))
            budget.take(len(raw))
            yield Member("data:", raw, said.decode("ascii", "replace") if said else None)


def _gunzip(file: IO[bytes]) -> IO[bytes]:
    return io.BufferedReader(gzip.GzipFile(fileobj=file))


_OPENERS: dict[str, Callable[[Data, Budget], Iterator[Member]]] = {
    ZIP: _zip,
    TAR: _tar,
    GZIP: _packed(_gunzip),
    BZIP2: _packed(bz2.BZ2File),
    XZ: _packed(lzma.LZMAFile),
    "message/rfc822": _mail,
}
