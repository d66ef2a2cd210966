"""Zip archives of one form: files side by side, stored as they are, and not a byte between or around them.

    local header, name, bytes        for each file, by name
    central directory                the same names in the same order
    end record                       22 bytes, no comment

No compression: what a deflater writes depends on its version, and what it reads can grow without end. No times, no
modes, no comments, no extra fields. So one set of files is one archive, on every machine; and whatever hides in zips
(bytes before or behind, overlapping or repeated members, links, encryption, other sizes in the one header than in the
other) is not of this form, and is refused before any content is looked at.

Any zip program reads such an archive. One that was packed again by another program is refused here: unpack it, and
what is in it is still the same.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import NoReturn

from databom.errors import InputError, Problem
from databom.model.text import printable

_LOCAL, _CENTRAL, _END = (
    struct.Struct("<4s5H3L2H"),
    struct.Struct("<4s4B4HL2L5H2L"),
    struct.Struct("<4s4H2LH"),
)
_ZIP64 = b"PK\x06\x07"
_DATE = (1980, 1, 1, 0, 0, 0)
_DOS_DATE = 1 << 5 | 1
_VERSION, _UNIX, _MODE = 20, 3, 0o100644
_AGAIN = "get the archive again, as databom wrote it"


def pack(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files. Names are plain ASCII."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system, member.external_attr = _UNIX, _MODE << 16
            archive.writestr(member, files[name])
    return target.getvalue()


def unpack(raw: bytes, *, max_files: int, max_name: int) -> dict[str, bytes]:
    """The files of an archive of this form, by name; names are not judged here.

    Takes no more memory than the archive has, and a little for each file.

    Raises:
        InputError: `bundle.syntax` or `bundle.limit`: it is no such archive.
    """
    start = _start_of_directory(raw, max_files, max_name)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
    except (  # all that `zipfile` raises at a directory; NotImplementedError is its word for a later version of zip
        zipfile.BadZipFile,
        ValueError,
        NotImplementedError,
        OverflowError,
        struct.error,
        EOFError,
    ) as error:
        _refuse(None, f"its directory cannot be read: {error}", "a zip archive", type(error).__name__)
    found: dict[str, bytes] = {}
    expected, place = [], 0
    for member in members:
        name = member.filename
        _require_plain(member, found)
        ascii_name = name.encode("ascii", "replace")
        body = place + _LOCAL.size + len(ascii_name)
        sizes = (member.CRC, member.file_size, member.file_size, len(ascii_name), 0)
        header = _LOCAL.pack(b"PK\x03\x04", _VERSION, 0, 0, 0, _DOS_DATE, *sizes)
        if member.header_offset != place or raw[place:body] != header + ascii_name:
            what = "something lies before, between or across the files, or a header says other than the directory"
            _refuse(name, what, f"its header at {place}", f"at {member.header_offset}, or another header")
        data = raw[body : body + member.file_size]
        if body + member.file_size > start or zlib.crc32(data) != member.CRC:
            _refuse(
                name, "its bytes are not those that were packed", f"CRC {member.CRC:08x}", "others, or fewer"
            )
        expected.append(
            _CENTRAL.pack(
                *(b"PK\x01\x02", _VERSION, _UNIX, _VERSION, 0, 0, 0, 0, _DOS_DATE),
                *(*sizes, 0, 0, 0, _MODE << 16, place),
            )
            + ascii_name
        )
        found[name], place = data, body + member.file_size
    if place != start or raw[start : -_END.size] != b"".join(expected):
        what = (
            "something lies between the files and the directory, or the directory has more in it than files"
        )
        _refuse(None, what, f"the directory at {place}", f"at {start}, or another directory")
    return found


def _start_of_directory(raw: bytes, max_files: int, max_name: int) -> int:
    """Where the directory begins, as the end record says; bounded before anything parses it."""
    if len(raw) < _END.size or raw[-_END.size :][:4] != b"PK\x05\x06":
        begins = "begins like one, and has something behind its end" if raw[:2] == b"PK" else "is none"
        _refuse(
            None,
            f"this is no zip archive that databom wrote: it {begins}",
            "an end record at its end",
            "none",
        )
    _, disk, first, here, total, size, start, comment = _END.unpack(raw[-_END.size :])
    if (disk, first, comment) != (0, 0, 0) or here != total or raw[-_END.size - 20 :][:4] == _ZIP64:
        _refuse(None, "its end record is not a plain one", "one disk, no comment, no zip64", "another form")
    if total > max_files:
        _refuse(None, "it has too many files", f"at most {max_files:,}", f"{total:,}", code="bundle.limit")
    if size > total * (_CENTRAL.size + max_name) or start + size + _END.size != len(raw):
        what = "its directory is not where its end record says, or something lies before, behind or beside it"
        _refuse(None, what, f"{len(raw) - _END.size:,} bytes up to the end record", f"{start + size:,}")
    return int(start)


def _require_plain(member: zipfile.ZipInfo, found: Mapping[str, bytes]) -> None:
    """Say of the usual tricks what they are; the comparison of the bytes refuses every other one."""
    name, mode = member.filename, member.external_attr >> 16
    tricks = (
        (name in found, "it is in the archive twice"),
        (bool(member.flag_bits & 0x1), "it is encrypted"),
        (member.compress_type != zipfile.ZIP_STORED, "it is compressed, and may grow to any size"),
        (member.compress_size != member.file_size, "it has two sizes"),
        (mode & 0o170000 not in (0, 0o100000), "it is a link, a folder or a device"),
        (member.is_dir(), "it is a folder"),
        (member.orig_filename != name or not name.isascii(), "its name has two readings"),
    )
    for is_so, what in tricks:
        if is_so:
            _refuse(
                name, f"this member of the archive is refused: {what}", "a plain file, once, stored", what
            )


def _refuse(
    name: str | None, what: str, expected: str, found: str, *, code: str = "bundle.syntax"
) -> NoReturn:
    subject = printable(name) if name is not None else None
    raise InputError(Problem(code, subject, printable(what, 400), expected, printable(found), _AGAIN))
