r"""The pieces of a document that say something, and where they stand in it.

A number in an SVG's path is no phone number, and a number in a column called `phone` is. So of JSON the strings are
read, each with its key; of CSV the cells, each with its column; of SVG, XML and HTML everything but the geometry; of
an e-mail its encoded headers as well, and not the numbers that part it (its parts are `archives`'). A document that
is not what it is called is read as plain text, which finds more: a wrong name hides nothing. Everywhere `&#64;`,
`\u0040` and `%40` are an `@`.

Long documents are read in blocks of whole lines, so that memory does not grow with them.
"""

from __future__ import annotations

import codecs
import contextlib
import html
import json
import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import NamedTuple

from databom.scanners import media
from databom.scanners.protocol import Data, Unreadable

BLOCK_BYTES = 4 * 1024 * 1024
MAX_WIDE_BYTES = 64 * 1024 * 1024
"""What is decoded at once: UTF-16 and UTF-32, whose lines cannot be told by their bytes, and text without gaps."""
ENCODING = ("utf-8", "surrogateescape")
"""What is not UTF-8 keeps its bytes, and its ASCII can be read."""


class Piece(NamedTuple):
    """A text and what its column or key is called.

    It stands at `start` of the decoded document, character by character, if `exact`; else it is what the characters
    from `start` to `end` mean, where those are known. `bare`: a number that stands for itself, without quotes.
    """

    text: str
    start: int
    hint: str = ""
    exact: bool = True
    end: int = 0
    bare: bool = False


def pieces(data: Data, media_type: str) -> Iterator[Piece]:
    """The pieces of a document.

    Raises:
        Unreadable: it is no text.
    """
    state = _State(media_type)
    start = 0
    for text in blocks(data):
        for piece in _extract(text, state):
            yield piece._replace(start=piece.start + start, end=piece.end and piece.end + start)
        start += len(text)


def blocks(data: Data) -> Iterator[str]:
    """The decoded text, some megabytes of whole lines at a time.

    Raises:
        Unreadable: it is no text.
    """
    head = bytes(data[:4])
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if len(data) > MAX_WIDE_BYTES:
            raise Unreadable("UTF-16 or UTF-32 text of over 64 MiB")
        wide = "utf-32" if head in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE) else "utf-16"
        try:
            yield bytes(data[:]).decode(wide, "surrogatepass")
        except UnicodeDecodeError:
            raise Unreadable(f"it begins like {wide.upper()} and is none") from None
        return
    at = 0
    while at < len(data):
        end = min(at + BLOCK_BYTES, len(data))
        if end < len(data):
            end = _cut(data, at, end)
        block = bytes(data[at:end])
        if not media.is_textual(block):
            raise Unreadable("it is called text and holds other bytes")
        yield block.decode(*ENCODING)
        at = end


def narrow(data: Data) -> Data:
    """The same text in an encoding that keeps ASCII: UTF-16 and UTF-32 become UTF-8.

    Raises:
        Unreadable: it is no text.
    """
    is_wide = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return "".join(blocks(data)).encode(*ENCODING) if is_wide else data


_CUTS = (b"\n", b"},", b'",')
"""Where a block may end, the best place first."""
_JOINT = re.compile(rb"[A-Za-z,;}>\]] |,")
_LOOK_BACK = 4096


def _cut(data: Data, at: int, end: int) -> int:
    """Where to cut so that no address and no number is cut: rather a longer block than that."""
    for sep in _CUTS:
        if (cut := data.rfind(sep, at, end)) > at:
            return cut + len(sep)
    joint = _JOINT.search(data, max(at, end - _LOOK_BACK))
    until = len(data) if joint is None else joint.end()
    if until - at > MAX_WIDE_BYTES:
        raise Unreadable("a text of over 64 MiB without a gap in it")
    return until


class _State:
    """What is known of a document from its earlier blocks."""

    def __init__(self, media_type: str) -> None:
        self.kind = _kind(media_type)
        self.delimiter = "\t" if media_type == "text/tab-separated-values" else ""
        self.columns: list[str] | None = None
        self.key = ""
        self.boundaries: set[str] = set()


def _kind(media_type: str) -> str:
    if media_type == "message/rfc822":
        return "mail"
    if "json" in media_type:
        return "json"
    if media_type in ("text/csv", "text/tab-separated-values"):
        return "cells"
    if media_type == "text/html" or "xml" in media_type:
        return "markup"
    return "plain"


def _extract(text: str, state: _State) -> Iterator[Piece]:
    match state.kind:
        case "json" if _is_json(text):
            yield from _json(text, state)
            return
        case "cells":
            yield from _cells(text, state)
        case "markup":
            text = _DATA_URI.sub(_blank, _GEOMETRY.sub(_blank, text))
            yield Piece(text, 0)
            yield from _joined(text)
        case "mail":
            text = _unbounded(text, state)
            yield Piece(text, 0)
            yield from _headers(text)
        case _:
            yield Piece(text, 0)
    yield from _spelled(text)


_SPELLED = re.compile(
    r"&(?:#\w{2,6}|commat|period|lpar|plus|nbsp);|\\u(?:00|20|ff)[0-9A-Fa-f]{2}|%(?:40|2[Bb])"
)
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})|%(40|2[Bb])")


def _spelled(text: str) -> Iterator[Piece]:
    """Lines in which characters are written as references or escapes, read."""
    if _SPELLED.search(text) is not None:
        for line in text.splitlines():
            if _SPELLED.search(line) is not None:
                yield Piece(_read(line), 0, exact=False)


def _read(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), html.unescape(text))


# --- JSON ---------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'"((?:[^"\\\n]++|\\.)*+)("(?:\s*:)?)?|(-?\d[\d.eE+-]*)')
"""A string that does not end is one, too: from every quote in it one would look for its end again."""
_BETWEEN = re.compile(r"(?:[\s,:{}\[\]]|true|false|null|NaN|-?Infinity)*")


def _is_json(text: str) -> bool:
    """Whether there is nothing between the strings and numbers that would go unread."""
    at = 0
    for match in _TOKEN.finditer(text):
        if at != match.start() and _BETWEEN.fullmatch(text, at, match.start()) is None:
            return False
        if match[1] is not None and match[2] is None:
            return False
        at = match.end()
    return _BETWEEN.fullmatch(text, at) is not None


def _json(text: str, state: _State) -> Iterator[Piece]:
    for match in _TOKEN.finditer(text):
        said, end, number = match.groups()
        if number is not None:
            if len(number) >= 7 and says_number(state.key):
                yield Piece(number, match.start(), state.key, bare=True)
            continue
        exact = "\\" not in said
        if not exact:
            try:
                said = json.loads(f'"{said}"', strict=False)
            except ValueError:
                exact = True  # no escape that means anything: as it stands
        if said:
            yield Piece(said, match.start(1), state.key, exact, 0 if exact else match.end(1))
            if _SPELLED.search(said) is not None:
                yield Piece(_read(said), match.start(1), state.key, exact=False, end=match.end(1))
        if end.endswith(":"):
            state.key = said[:200]


_NUMBERED = re.compile(
    r"(?i)phone|mobil|telefon|handy|(?<![a-z])(?:tel|fax|cell|celular|rufnummer|ssn|msisdn|ccn?|pan)(?![a-z])|"
    r"social.?sec|card|iban|account"
)


def says_number(hint: str) -> bool:
    """Whether a column or key of this name holds numbers that mean somebody."""
    return _NUMBERED.search(re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", hint)) is not None


# --- cells --------------------------------------------------------------------------------------------

_BARE = re.compile(r"\s*[-+]?\d[\d,]*(?:\.\d*)?(?:[eE][-+]?\d+)?\s*")
"""A number. `536-90-4399` and `81.2.69.142` are none."""


def _cells(text: str, state: _State) -> Iterator[Piece]:
    """The cells of lines that could hold anything. A line that does not split into cells is read as it is."""
    from databom.scanners.patterns import TRIGGER

    if state.columns is None:
        head = text[: text.find("\n") if "\n" in text else len(text)]
        state.delimiter = state.delimiter or max(",;\t|", key=head.count)
        state.columns = [cell.strip().strip('"') for cell in head.split(state.delimiter)]
    at = 0
    while (found := TRIGGER.search(text, at)) is not None:
        start = text.rfind("\n", 0, found.start()) + 1
        end = text.find("\n", found.end())
        end = len(text) if end < 0 else end
        yield from _line(text[start:end], start, state)
        at = end + 1


def _line(line: str, start: int, state: _State) -> Iterator[Piece]:
    assert state.columns is not None
    if line.count('"') % 2:
        yield Piece(line, start)
        return
    at = 0
    by = re.escape(state.delimiter)
    for number, match in enumerate(re.finditer(rf'("(?:[^"]|"")*"|[^{by}]*)(?:{by}|$)', line)):
        cell = match[1]
        hint = state.columns[number][:200] if number < len(state.columns) else ""
        at = match.end()
        if cell and (_BARE.fullmatch(cell) is None or says_number(hint) or cell.lstrip().startswith("+")):
            yield Piece(cell, start + match.start(1), hint)
        if at >= len(line):
            break
    if at < len(line):
        yield Piece(line[at:], start + at)


# --- markup -------------------------------------------------------------------------------------------

_GEOMETRY = re.compile(
    r"""(?i)\b(?:d|points|style|transform|gradientTransform|patternTransform|viewBox|values|keyTimes|keySplines|path|"""
    r"""[xyrwh][12]?|[cf][xy]|r[xy]|d[xy]|width|height|offset|class|coords|srcset|integrity|nonce|"""
    r"""stroke-[a-z]+|clip-path|xmlns(?::\w+)?)\s*=\s*(?:"[^"@]*"|'[^'@]*')"""
)
_DATA_URI = re.compile(r"data:[\w/+.;=-]{0,100}base64,[A-Za-z0-9+/=\s]+")
_TAG = re.compile(r"<[^<>]*>")
_BLOCK = re.compile(
    r"(?i)</?(?:\w+:)?(?:p|div|t[rdh]|li|[uo]l|table|br|hr|h[1-6]|body|head|title|section|article|tab|cell|row|text)\b[^<>]*>"
)
"""Tags that part what stands before them from what stands behind."""


def _joined(text: str) -> Iterator[Piece]:
    """Addresses and numbers that tags cut into parts: `<b>ada</b>@example.org`, and the runs of an office document."""
    from databom.scanners.patterns import TRIGGER, find

    for part in _BLOCK.split(text):
        whole = _TAG.sub("", part)
        if len(whole) == len(part) or TRIGGER.search(whole) is None:
            continue
        if len(list(find(whole))) > len(list(find(_TAG.sub(" ", part)))):
            yield Piece(whole, 0, exact=False)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


# --- e-mail -------------------------------------------------------------------------------------------

_MULTIPART = re.compile(r"(?im)^content-type:[ \t]*multipart/[^\n]*(?:\n[ \t][^\n]*)*")
"""The header field of a message, or part, that has parts; with the lines it is folded over."""
_BOUNDARY = re.compile(
    r"(?i)(?<=[; \t]boundary=)(?:\"([\w'()+,./:=? -]{1,70})\"|([\w'+./=-]{1,70})(?=[\s;]|\Z))"
)
_DELIMITER = re.compile(r"(?m)(?<=^--)\S(?:[^\n]{0,70}\S)?(?=[ \t\r]*$)")
_DASHES = "--"


def _unbounded(text: str, state: _State) -> str:
    """The text without the boundaries of its parts (RFC 2046, 5.1.1): mailers draw them at random, of digits."""

    def declared(match: re.Match[str]) -> str:
        state.boundaries.update(one or other for one, other in _BOUNDARY.findall(match[0]))
        return _BOUNDARY.sub(_blank, match[0])

    def blank(match: re.Match[str]) -> str:
        said = match[0].rstrip()
        return _blank(match) if {said, said.removesuffix(_DASHES)} & state.boundaries else match[0]

    text = _MULTIPART.sub(declared, text)
    return _DELIMITER.sub(blank, text) if state.boundaries else text


_WORD = re.compile(r"=\?[^?\s]{1,40}\?[BbQq]\?[^?\n]*\?=(?:\s{1,4}=\?[^?\s]{1,40}\?[BbQq]\?[^?\n]*\?=)*")


def _headers(text: str) -> Iterator[Piece]:
    """What the encoded words of headers say (RFC 2047)."""
    for match in _WORD.finditer(text):
        with contextlib.suppress(HeaderParseError, ValueError, LookupError):  # as it stands it was read
            yield Piece(str(make_header(decode_header(match[0]))), 0, exact=False)
