"""Mutations of signed JSON: of its structure, of its spelling, of its bytes; each drawn from a tape of bytes.

Hypothesis draws the tape, so it can shorten what it finds; an empty tape changes nothing.
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")
NAMES = (
    *("dataset_id", "version", "sequence", "marketplace_id", "license", "spdx", "assets", "path", "sha256"),
    *(
        "size",
        "signature",
        "signatures",
        "payload",
        "payloadType",
        "keyid",
        "sig",
        "unknown",
        "",
        "é",
        "__proto__",
    ),
)
SCALARS = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        7,
        2**53 - 1,
        2**53,
        -(2**63),
        10**400,
        0.5,
        1e300,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "1", "hn-imagepack-2026-01", "\u202e", "\ud800", "é", "e\u0301", "\x00", "../x", "0" * 64),
    *("2026-01-10T09:30:00Z", "2026-01-10T09:30:00.0Z", "human-native", [], {}),
)
BLANKS = ("", " ", "\t", "\n", "\r\n  ", "\u00a0", "\ufeff", "\x0b", "/**/")


class Tape:
    """Choices read from bytes; zero when they have run out."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, below: int) -> int:
        piece = self.data[self.at : self.at + 2]
        self.at += 2
        return int.from_bytes(piece, "big") % below if below else 0

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number(len(options))]

    def once_in(self, times: int) -> bool:
        return self.number(times) == times - 1


class Object(list):  # type: ignore[type-arg]
    """A JSON object as its pairs, so that a name can stand in it twice."""


def parsed(raw: bytes) -> Any:
    return json.loads(raw, object_pairs_hook=Object)


def _containers(value: Any) -> list[Any]:
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop(0)
        found.append(one)
        inner = [item[1] for item in one] if isinstance(one, Object) else one
        waiting += [item for item in inner if isinstance(item, list)]
    return found


def _other(value: Any, tape: Tape) -> Any:
    """A value near this one, or any."""
    kind = tape.number(3)
    if kind == 0 and isinstance(value, str) and value:
        at = tape.number(len(value))
        return value[:at] + tape.pick(string.printable + "éß\u200b\ud800") + value[at + tape.number(2) :]
    if kind == 0 and isinstance(value, int):
        return value + tape.pick([1, -1, 2**32, 10**20])
    if kind == 1 and isinstance(value, str):
        return tape.pick(
            [value.upper(), value + " ", value + "\n", value + "=", value[:-1], "\ufeff" + value, [value]]
        )
    if kind == 1 and isinstance(value, int):
        return tape.pick([str(value), float(value), -value, [value], bool(value)])
    return tape.pick(SCALARS)


def restructured(value: Any, tape: Tape) -> None:
    """Change, add, remove, repeat, rename or move one member or item somewhere in it."""
    container = tape.pick(_containers(value))
    kind, at = tape.number(7), tape.number(len(container))
    is_object = isinstance(container, Object)
    if kind == 0 and len(container) > 1:  # another order: the same object, another list
        container.insert(tape.number(len(container)), container.pop(at))
    elif kind == 1 or not container:
        item = tape.pick(SCALARS)
        container.insert(at, (tape.pick(NAMES), item) if is_object else item)
    elif kind == 2:
        del container[at]
    elif kind == 3:
        container.insert(tape.number(len(container) + 1), container[at])
    elif kind == 4 and is_object:
        name, item = container[at]
        container[at] = (tape.pick([*NAMES, name.upper(), name + " ", name[:-1], name + "\u200b"]), item)
    elif is_object:
        name, item = container[at]
        container[at] = (name, _other(item, tape))
    else:
        container[at] = _other(container[at], tape)


def written(value: Any, tape: Tape, *, level: int = 0, limit: int = 80) -> str:
    """The value as JSON, in one of its spellings, now and then in one that JSON does not have."""
    gap = tape.pick(BLANKS[:5]) if tape.once_in(12) else ""
    if tape.once_in(400):
        gap = tape.pick(BLANKS)
    if level >= limit:
        return "[]"
    if isinstance(value, Object):
        inner = f",{gap}".join(
            f"{_text(name, tape)}{gap}:{gap}{written(item, tape, level=level + 1)}" for name, item in value
        )
        return f"{{{gap}{inner}{gap}}}"
    if isinstance(value, list):
        return f"[{gap}{f',{gap}'.join(written(item, tape, level=level + 1) for item in value)}{gap}]"
    if isinstance(value, str):
        return _text(value, tape)
    if type(value) is int and tape.once_in(40):
        return tape.pick([f"{value}.0", f"{value}e0", f"0{value}", f"+{value}", f"{value}0E-1", f"-{value}"])
    return str(value) if type(value) is int and abs(value) > 10**300 else json.dumps(value)


def _text(text: str, tape: Tape) -> str:
    plain = json.dumps(text, ensure_ascii=tape.once_in(2))
    if not text or not tape.once_in(6):
        return plain
    at = tape.number(len(text))
    code = f"\\u{ord(text[at]):04x}" if ord(text[at]) < 0x10000 else text[at]
    if tape.once_in(2):
        code = "\\u" + code[2:].upper() if code.startswith("\\u") else code
    before, after = json.dumps(text[:at], ensure_ascii=False), json.dumps(text[at + 1 :], ensure_ascii=False)
    return before[:-1] + code + after[1:]


def mangled(raw: bytes, tape: Tape) -> bytes:
    """The bytes with one place changed."""
    kind, at = tape.number(7), tape.number(len(raw) + 1)
    end = at + tape.pick([1, 2, 4, 16, 64, 1024])
    if kind == 0 and at < len(raw):
        return raw[:at] + bytes([raw[at] ^ 1 << tape.number(8)]) + raw[at + 1 :]
    if kind == 1:
        return raw[:at] + bytes([tape.number(256)]) + raw[at:]
    if kind == 2:
        return raw[:at] + raw[end:]
    if kind == 3:
        return raw[:at] + raw[at:end] + raw[at:]
    if kind == 4:
        return raw[:at] + bytes([tape.number(256)]) + raw[at + 1 :]
    if kind == 5:
        return raw[:at]
    return (
        raw[:at]
        + tape.pick([b" ", b"\n", b"\x00", b'"', b"\\", b",", b"{}", b"\xef\xbb\xbf", b"\xed\xa0\x80"])
        + raw[at:]
    )


def mutated(raw: bytes, tape: Tape) -> bytes:
    """The document changed in structure, in spelling, in bytes, or in several of these."""
    kind = tape.number(8)
    if kind >= 2:
        value = parsed(raw)
        for _ in range((0, 0, 0, 0, 1, 1, 1, 2)[kind]):
            restructured(value, tape)
        raw = written(value, tape).encode("utf-8", "surrogatepass")
    if kind == 1 or (kind == 7 and tape.once_in(2)):
        raw = mangled(raw, tape)
    return raw
