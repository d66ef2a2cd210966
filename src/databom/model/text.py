"""Text from documents, made safe to show, and the characters that never belong in an identifier.

A terminal obeys escape sequences, a reader is fooled by bidirectional overrides and zero-width characters,
and a log is forged by a line feed. Every string that came from a document passes `printable` before it is
shown.
"""

from __future__ import annotations

import unicodedata

# Cc control, Cf format (bidi, zero width, soft hyphen, tags), Cs surrogate, Co private use, Zl and Zp line
# separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str, limit: int = 200) -> str:
    r"""The text with every unprintable character escaped (`\x1b`, `\u202e`), cut to `limit` characters.

    Nothing in the answer is a control, format, surrogate, private-use or unassigned character, or a space
    other than U+0020. A cut ends in `…`. Printable text within the limit is returned as it is, so printing
    twice changes nothing.
    """
    head = text[: limit + 1]  # a hostile string may be long: escape no more of it than can be shown
    if not head.isprintable():
        head = "".join([c if c.isprintable() else _escape(c) for c in head])
    return head if len(head) <= limit else head[: max(limit - 1, 0)] + "…"


def unsafe_character(text: str, allow: str = "") -> str | None:
    """The first control, bidi, zero-width, surrogate, private-use or line-separating character, or None.

    `allow` names characters to let pass, such as a line feed in free text.
    """
    if text.isprintable():
        return None
    for character in text:
        if unicodedata.category(character) in _UNSAFE and character not in allow:
            return character
    return None


def name_of(character: str) -> str:
    """How a message names one character: `U+202E`."""
    return f"U+{ord(character):04X}"


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def counted(number: int, noun: str) -> str:
    """`1 finding`, `2 findings`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
