"""What each finding's code stands for, in the words of docs/reference/findings.md.

That page is the one place where they are written; `python docs/reference.py` copies them into `codes.json`.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import NamedTuple


class Meaning(NamedTuple):
    """One row of the page, as plain text."""

    says: str
    do: str


def meaning(code: str) -> Meaning:
    """What a code stands for; a code that the page does not have stands for itself."""
    says, do = _known().get(code, (code, "read the finding"))
    return Meaning(says, do)


@functools.cache
def _known() -> dict[str, tuple[str, str]]:
    text = (files("databom") / "checks" / "formats" / "codes.json").read_text(encoding="utf-8")
    known: dict[str, tuple[str, str]] = json.loads(text)
    return known
