"""Where in a JSON document something is wrong: the second pass of `strictjson`, for refused documents only.

The standard library's parser calls its hooks from the inside out. Each hook here answers with the doubts it
found, at places relative to itself, and forgets the value; whoever contains it prepends its own name. So a
million good assets cost no memory while the one bad number among them is looked for.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from databom.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DOUBTS = 100

_SURROGATE = re.compile("[\ud800-\udfff]")
# Possessive, and content with an open end: an unterminated string is one token, never the start of many.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
_WINDOW = 1_000_000


class Doubt(NamedTuple):
    """Something refused, and its place relative to where it was seen."""

    place: tuple[str | int, ...]
    is_limit: bool
    what: str
    expected: str
    found: str

    def under(self, part: str | int) -> Doubt:
        """The same doubt, seen from the array or object around it."""
        return self._replace(place=(part, *self.place))


class _Doubts(list[Doubt]):
    """What the pass keeps of a value: only its doubts."""


def find(text: str, *, max_string: int, max_int: int, floats: bool) -> list[Doubt]:
    """Everything in a document of bounded depth that strict JSON refuses though JSON's grammar allows it.

    At most `MAX_DOUBTS`, in the order of the document.

    Raises:
        json.JSONDecodeError: the text is not JSON.
    """
    finder = _Finder(max_string, max_int, floats)
    decoder = json.JSONDecoder(
        object_pairs_hook=finder.of_object,
        parse_int=finder.of_integer,
        parse_float=finder.of_float,
        parse_constant=lambda name: _Doubts([_number(name, "a finite number")]),
    )
    return finder.of_value(decoder.decode(text))


class _Finder(NamedTuple):
    max_string: int
    max_int: int
    floats: bool

    def of_object(self, pairs: list[tuple[str, Any]]) -> _Doubts | None:
        found = _Doubts()
        seen = set()
        for key, value in pairs:
            if key in seen:
                found.append(Doubt((key,), False, "the key is repeated in one object", "each key once", key))
            seen.add(key)
            found += [doubt.under(key) for doubt in self.of_string(key, "key")]
            found += [doubt.under(key) for doubt in self.of_value(value)]
        del found[MAX_DOUBTS:]
        return found or None

    def of_value(self, value: Any) -> list[Doubt]:
        if isinstance(value, _Doubts):
            return value
        if isinstance(value, str):
            return self.of_string(value, "string")
        if not isinstance(value, list):
            return []
        found: list[Doubt] = []
        for index, item in enumerate(value):
            if item is not None:
                found += [doubt.under(index) for doubt in self.of_value(item)]
                if len(found) >= MAX_DOUBTS:
                    break
        return found[:MAX_DOUBTS]

    def of_string(self, text: str, what: str) -> list[Doubt]:
        if len(text) > self.max_string:
            limit = f"at most {self.max_string:,} characters"
            return [Doubt((), True, f"the {what} is too long", limit, f"{len(text):,} characters")]
        if not text.isascii() and _SURROGATE.search(text):
            return [
                Doubt((), False, f"the {what} holds a lone surrogate", "characters that can be encoded", text)
            ]
        return []

    def of_integer(self, text: str) -> _Doubts | None:
        # The length first: CPython refuses to convert thousands of digits.
        if len(text) <= 17 and abs(int(text)) <= self.max_int:
            return None
        return _Doubts([_number(text, f"an integer from -{self.max_int:,} to {self.max_int:,}")])

    def of_float(self, text: str) -> _Doubts | None:
        if not self.floats:
            return _Doubts([_number(text, "an integer, or a decimal number in a string")])
        if is_held(text, float(text)):
            return None
        return _Doubts([_number(text, "a number that a 64-bit float can hold")])


def is_held(text: str, value: float) -> bool:
    """Whether a float stands for its text: neither overflowed (`1e400`) nor vanished (`1e-400`)."""
    return math.isfinite(value) and (value != 0 or not text.lower().partition("e")[0].strip("-0."))


def _number(text: str, expected: str) -> Doubt:
    return Doubt((), False, "the number is not allowed", expected, text)


# --- places ---------------------------------------------------------------------------------------


def pointer(parts: tuple[str | int, ...]) -> str:
    """The JSON pointer (RFC 6901) of a place, printable, cut to 200 characters; the whole document is ""."""
    return printable("".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts))


def pointer_of_position(text: str, position: int) -> str | None:
    """The innermost place around a character of a broken document; None when that is over a million in."""
    if position > _WINDOW:
        return None
    place: tuple[str | int, ...] = ()
    for _, place in _places(text, position):  # noqa: B007  # the last one counts
        pass
    return pointer(place)


def pointer_of_depth(text: str, depth: int) -> str | None:
    """Where a document first nests deeper than `depth`; None when not in its first million characters."""
    for opened, place in _places(text, _WINDOW):
        if opened > depth:
            return pointer(place[:depth])
    return None


def _places(text: str, end: int) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    """The depth and place after each token: a rough reading that holds up to the first error."""
    stack: list[str | int | None] = []
    for token in _TOKEN.finditer(text, 0, end):
        mark = token[0]
        if mark in {"[", "{"}:
            stack.append(0 if mark == "[" else None)
        elif mark in {"]", "}"}:
            if stack:
                stack.pop()
        elif mark == ",":
            if stack:
                stack[-1] = stack[-1] + 1 if isinstance(stack[-1], int) else None
        elif stack and stack[-1] is None:
            stack[-1] = mark.strip('"')
        yield len(stack), tuple(part for part in stack if part is not None)
