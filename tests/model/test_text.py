"""Text made safe to show, over every code point there is."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.model.text import name_of, printable, unsafe_character

UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("images/cat 1.jpg", "images/cat 1.jpg"),
        ("Ünïcode 猫 😀", "Ünïcode 猫 😀"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("gpj.\u202egnp", "gpj.\\u202egnp"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("a\u2028b\u00a0c", "a\\u2028b\\xa0c"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_text_is_cut() -> None:
    assert printable("x" * 200) == "x" * 200
    assert printable("x" * 201) == "x" * 199 + "…"
    assert printable("\n" * 10**6, 10) == "\\x0a\\x0a\\…"
    assert printable("abc", 3) == "abc"
    assert printable("abcd", 1) == "…"


@given(st.text() | st.text(alphabet=st.characters(categories=["Cs", "Cc", "Cf", "Zs"])), st.integers(1, 300))
def test_shown_text_is_short_encodable_one_line_and_shown_once(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) <= 1
    assert printable(shown, limit) == shown
    if text.isprintable() and len(text) <= limit:
        assert shown == text


def test_every_code_point_is_safe_or_named() -> None:
    """All 1,114,112, in one pass a category: the safe ones as one text, the unsafe ones each alone."""
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    unsafe = [character for character in every if unicodedata.category(character) in UNSAFE]
    safe = "".join(character for character in every if unicodedata.category(character) not in UNSAFE)
    assert unsafe_character(safe) is None
    assert len(unsafe) > 137_000  # private use alone
    for character in unsafe:
        if unsafe_character(character) != character:
            raise AssertionError(name_of(character))
    shown = printable("".join(every), 20_000_000)
    assert shown.isprintable()


def test_the_first_unsafe_character_is_found_and_some_may_be_allowed() -> None:
    assert unsafe_character("ok\u00a0") is None  # not printable, but a space
    assert unsafe_character("a\nb\u202e") == "\n"
    assert unsafe_character("a\nb\u202e", allow="\n\t") == "\u202e"
    assert name_of("\u202e") == "U+202E"
    assert name_of("\U0001f600") == "U+1F600"
