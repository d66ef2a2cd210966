"""JSON with one meaning: RFC 8259, read so that no two readers can disagree about a signed document.

Refused before anything else looks: bytes that are not UTF-8, a byte order mark, a repeated key (spelled
plainly or with escapes, at any level), NaN and Infinity, numbers that overflow or vanish, integers beyond 2^53-1 (RFC
7493, I-JSON), lone surrogates, nesting beyond 32 levels, anything after the document, and whatever is over a
limit. The standard library, msgspec and orjson each take some of these silently, keeping the last of two
equal keys.

How: guards over the bytes bound size, depth and strings without a parser; one pass of the standard library's
C parser, with hooks, sees every pair and every number. Only when something is wrong does a second pass
(`doubts`) find out where.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any, Never

from databom.errors import InputError, Problem
from databom.model import doubts
from databom.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
"""The largest manifest: 256 MiB, about two million assets."""
MAX_DEPTH = 32
"""Arrays and objects around a value, the outermost included."""
MAX_INT = 2**53 - 1
"""The largest integer every JSON reader holds exactly (RFC 7493 section 2.2)."""
MAX_STRING_CHARS = 1024 * 1024
"""The longest string, in characters, unless a caller allows less."""
MAX_CONTAINERS = 10_000_000
"""Arrays and objects in one document: `[]` takes 2 bytes there and 56 in memory."""
MAX_COMMAS = 16_000_000
"""Commas in one document, those in strings included: it bounds the values, for the same reason."""
ECHO_CHARS = 80
"""How much of a refused document a message may repeat."""

_MAX_SHAPES = 1_000
_SPACE = " \t\r\n"
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_OUTLINE = bytes(set(range(256)) - set(b'{}[]:"'))
_WINDOW = 1 << 20
# A high surrogate without a low one after it, or a low one without a high one before it.
_LONE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_HTML = re.compile(r"<\s*(?:!doctype\s+html|html|head|body|title)\b", re.IGNORECASE)
_NOUNS = {"manifest": "a manifest"}
_ASK = "fetch the document again; if it stays so, ask whoever published it for a corrected one"
_WORDS = ("true", "false", "null", "-0")
_BEGINNINGS = frozenset(word[:cut] for word in _WORDS for cut in range(len(word)))

Pairs = list[tuple[str, Any]]


class _Suspect(Exception):  # noqa: N818  # never escapes this module
    """A hook saw something that is to be refused; `doubts` says what and where."""


def loads(
    raw: bytes,
    *,
    prefix: str = "manifest",
    limit: int = MAX_DOCUMENT_BYTES,
    max_string: int = MAX_STRING_CHARS,
    floats: bool = True,
) -> Any:
    """The value of a JSON document, when it has exactly one.

    `limit` bounds the document in bytes, `max_string` each string in characters. With `floats=False` a number
    with a fraction or an exponent is refused too.

    Raises:
        InputError: `<prefix>.limit` for size, depth, counts and lengths, else `<prefix>.syntax`; the subject
        is a JSON
            pointer where there is one. Nothing else is raised, whatever the bytes.
    """
    return _Reader(prefix, limit, max_string, floats).read(raw, _keep)


def check(
    raw: bytes,
    *,
    prefix: str = "manifest",
    limit: int = MAX_DOCUMENT_BYTES,
    max_string: int = MAX_STRING_CHARS,
    floats: bool = True,
) -> None:
    """Refuse what `loads` refuses and keep no object, for a document that a faster parser reads next.

    Raises:
        InputError: as `loads`.
    """
    shapes(raw, prefix=prefix, limit=limit, max_string=max_string, floats=floats)


def shapes(
    raw: bytes,
    *,
    prefix: str = "manifest",
    limit: int = MAX_DOCUMENT_BYTES,
    max_string: int = MAX_STRING_CHARS,
    floats: bool = True,
) -> dict[tuple[str, ...], int] | None:
    """As `check`, and how often each sequence of member names occurs; None when over a thousand do.

    It costs little more than looking for repeated names, and tells whether a million objects hold an unknown
    member.

    Raises:
        InputError: as `loads`.
    """
    counts: dict[tuple[str, ...], int] = {}
    others = False

    def note(pairs: Pairs) -> None:
        nonlocal others
        if len(pairs) > _MAX_SHAPES:  # no shape worth remembering, and too many arguments for zip
            others = True
            return _drop(pairs)
        names: tuple[str, ...] = next(zip(*pairs, strict=True), ())
        count = counts.get(names)
        if count is not None:
            counts[names] = count + 1
            return None
        if len(set(names)) != len(names):
            raise _Suspect
        if len(counts) < _MAX_SHAPES:
            counts[names] = 1
        else:
            others = True
        return None

    _Reader(prefix, limit, max_string, floats).read(raw, note)
    return None if others else counts


def count_members(
    raw: bytes,
    *,
    prefix: str = "manifest",
    limit: int = MAX_DOCUMENT_BYTES,
    max_string: int = MAX_STRING_CHARS,
) -> int | None:
    """How many members the objects of a document have together, repeated ones included, without parsing it.

    Whoever then decodes just as many has lost none: no name was repeated. That is `check`, but for numbers, at a third
    of its cost. It counts colons, so of what is no JSON it says nothing. None when it takes a closer look.

    Raises:
        InputError: as `loads`, for what bytes alone can tell.
    """
    reader = _Reader(prefix, limit, max_string, floats=False)
    reader.require_utf8(raw)
    colons = reader.guard(raw)
    return None if _has_lone_surrogate(raw) or reader.may_hold_long_string(raw) else colons


def _keep(pairs: Pairs) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Suspect
    return value


def _drop(pairs: Pairs) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _Suspect


def _integer(text: str) -> int:
    # The length first: converting 5,000 digits is slow, and CPython refuses it with a bare ValueError.
    if len(text) > 17 or not -MAX_INT <= (value := int(text)) <= MAX_INT:
        raise _Suspect
    return value


def _float(text: str) -> float:
    value = float(text)
    if not doubts.is_held(text, value):
        raise _Suspect
    return value


def _refuse(_: str) -> Never:
    raise _Suspect


class _Reader:
    """One reading of one document: what to refuse, and how to word it."""

    def __init__(self, prefix: str, limit: int, max_string: int, floats: bool) -> None:
        self.prefix, self.limit, self.max_string, self.floats = prefix, limit, max_string, floats
        self.noun = _NOUNS.get(prefix, "a JSON document")

    def read(self, raw: bytes, hook: Callable[[Pairs], Any]) -> Any:
        text = self.decode(raw)
        self._guard_form(text)
        self.guard(raw)
        decoder = json.JSONDecoder(
            object_pairs_hook=hook,
            parse_int=_integer,
            parse_float=_float if self.floats else _refuse,
            parse_constant=_refuse,
        )
        try:
            if not _has_lone_surrogate(raw) and not (self.may_hold_long_string(raw) and self._doubts(text)):
                return decoder.decode(text)
        except _Suspect:
            pass
        except json.JSONDecodeError as error:
            raise self._syntax(text, error) from None
        except RecursionError:
            raise self._limit("the document is nested too deeply for this process") from None
        raise self._explanation(text)

    # --- what bytes and text alone can tell ------------------------------------------------------

    def require_utf8(self, raw: bytes) -> None:
        """Refuse what `decode` refuses, without a second copy of a large document."""
        if len(raw) > self.limit or raw.startswith(b"\xef\xbb\xbf") or not _is_utf8(raw):
            self.decode(raw)

    def decode(self, raw: bytes) -> str:
        """The bytes as text, when they are UTF-8 and not too many."""
        if len(raw) > self.limit:
            raise self._limit(
                "the document is too large",
                expected=f"at most {self.limit:,} bytes",
                found=f"{len(raw):,} bytes",
            )
        if raw.startswith(b"\xef\xbb\xbf"):
            raise self._error(
                "the document starts with a byte order mark", expected="UTF-8 without a byte order mark"
            )
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            around = raw[max(error.start - 20, 0) : error.start + 20]
            raise self._error(
                f"the document is not UTF-8: {error.reason} at byte {error.start}",
                expected="UTF-8",
                found=printable(around.decode("utf-8", "backslashreplace"), ECHO_CHARS),
            ) from None

    def _guard_form(self, text: str) -> None:
        head = text[:1024].lstrip(_SPACE)
        if not head and not text.strip(_SPACE):
            raise self._error("the document is empty", expected=self.noun, found=f"{len(text):,} characters")
        if head.startswith("<"):
            kind = "an HTML page" if _HTML.search(head) else "an XML document"
            raise self._error(
                f"this is {kind}, not {self.noun}",
                expected=self.noun,
                found=printable(head, ECHO_CHARS),
                do="open the location in a browser: it may ask for a login, or the address may be wrong",
            )

    def guard(self, raw: bytes) -> int:
        """Refuse what is too much or too deep; answers the number of colons outside strings."""
        if raw.count(b",") > MAX_COMMAS:
            raise self._limit("the document holds too many values", expected=f"at most {MAX_COMMAS:,}")
        outline = _outline(raw)
        colons = outline.count(b":")
        outline = outline.replace(b":", b"")
        if (count := outline.count(b"[")) > MAX_CONTAINERS:
            raise self._limit(
                "the document holds too many arrays and objects",
                expected=f"at most {MAX_CONTAINERS:,}",
                found=f"{count:,}",
            )
        # Each pass removes the innermost brackets, so the number of passes is the depth.
        for _ in range(MAX_DEPTH):
            outline = outline.replace(b"[]", b"")
        # What is left of balanced brackets is too deep. Unbalanced ones are a syntax error, which the parser
        # words, unless so many are never closed that a recursive parser would go too deep.
        if b"[]" in outline or outline.count(b"[") > MAX_DEPTH:
            raise self._limit(
                "the document is nested too deeply",
                subject=doubts.pointer_of_depth(self.decode(raw), MAX_DEPTH),
                expected=f"at most {MAX_DEPTH} levels",
            )
        return colons

    def may_hold_long_string(self, raw: bytes) -> bool:
        """Whether a string may be longer than it is allowed to be; False is certain."""
        # A string longer than max_string would cover a whole window of half that size without a quote, but for
        # escaped ones; whitespace could too, hence "may".
        if len(raw) <= self.max_string:
            return False
        half = max(self.max_string // 2, 1)
        if b"\\" not in raw:
            starts = range(0, len(raw) - half + 1, half)
            return any(raw.find(b'"', start, start + half) < 0 for start in starts)
        windows = (window for window in _windows(raw, half) if len(window) >= half)
        return any(b'"' not in window.replace(b"\\\\", b"").replace(b'\\"', b"") for window in windows)

    # --- wording, only for a refused document -----------------------------------------------------

    def _doubts(self, text: str) -> list[doubts.Doubt]:
        return doubts.find(text, max_string=self.max_string, max_int=MAX_INT, floats=self.floats)

    def _explanation(self, text: str) -> InputError:
        try:
            found = self._doubts(text)
        except json.JSONDecodeError as error:
            return self._syntax(text, error)
        return InputError(
            *[
                Problem(
                    f"{self.prefix}.{'limit' if doubt.is_limit else 'syntax'}",
                    doubts.pointer(doubt.place),
                    doubt.what,
                    expected=doubt.expected,
                    found=printable(doubt.found, ECHO_CHARS),
                    do=_ASK,
                )
                for doubt in found
            ]
        )

    def _syntax(self, text: str, error: json.JSONDecodeError) -> InputError:
        rest = text[error.pos : error.pos + 10].rstrip(_SPACE)
        if error.msg.startswith("Unterminated string") or rest in _BEGINNINGS:
            what = "the document ends too early"
        elif error.msg == "Extra data":
            what = "something follows the document"
        else:
            what = f"this is not JSON: {error.msg[0].lower()}{error.msg[1:].removesuffix(' at')}"
        return self._error(
            f"{what} (line {error.lineno}, column {error.colno})",
            subject=doubts.pointer_of_position(text, error.pos),
            expected=self.noun,
            found=printable(text[max(error.pos - 20, 0) : error.pos + 40], ECHO_CHARS),
        )

    def _error(self, what: str, *, subject: str | None = None, do: str = _ASK, **rest: str) -> InputError:
        return InputError(Problem(f"{self.prefix}.syntax", subject, what, do=do, **rest))

    def _limit(self, what: str, *, subject: str | None = None, **rest: str) -> InputError:
        return InputError(Problem(f"{self.prefix}.limit", subject, what, do=_ASK, **rest))


def _has_lone_surrogate(raw: bytes) -> bool:
    # An escaped backslash begins no escape: out of the way first, and leaving a mark, so that it still
    # separates.
    return b"\\" in raw and b"\\u" in raw and _LONE.search(raw.replace(b"\\\\", b"__")) is not None


def _is_utf8(raw: bytes) -> bool:
    if raw.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(raw), _WINDOW):
            decoder.decode(raw[start : start + _WINDOW])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _windows(raw: bytes, size: int) -> Iterator[bytes]:
    """The bytes in windows of `size`, or of one more where a window would end within an escape."""
    start = 0
    while start < len(raw):
        window = raw[start : start + size]
        if (len(window) - len(window.rstrip(b"\\"))) % 2:
            window = raw[start : start + size + 1]
        yield window
        start += len(window)


def _outline(raw: bytes) -> bytes:
    """Only the brackets and colons outside strings, curly ones made square: what depth and counts are read from."""
    # In windows: a large document is not copied, and millions of strings that hold brackets make no list of
    # millions of pieces.
    outside: list[bytes] = []
    inside = 0
    for window in _windows(raw, _WINDOW):
        if b"\\" in window:
            window = window.replace(b"\\\\", b"").replace(b'\\"', b"")  # noqa: PLW2901
        # Two quotes side by side are an empty string, or the seam of two strings: without them what is left is
        # still on its side of a quote, and strings without brackets and colons are gone.
        pieces = window.translate(_BRACKETS, _NOT_OUTLINE).replace(b'""', b"").split(b'"')
        outside.append(b"".join(pieces[inside::2]))
        inside ^= (len(pieces) - 1) & 1
    return b"".join(outside)
