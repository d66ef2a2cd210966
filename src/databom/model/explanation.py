"""What is known of one training run: lines, each with the evidence that shows it, and how strong that is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from msgspec import Struct

VERIFIED: Literal["verified"] = "verified"
"""Checked now: a signature by whoever the trust root lets say this, a proof, or bytes by their digest."""
DECLARED: Literal["declared"] = "declared"
"""Somebody says so, and nothing more: the evidence names who."""
MISSING: Literal["missing"] = "missing"
"""Nothing here shows it."""
Strength = Literal["verified", "declared", "missing"]

DATA = "data"
"""The questions about a pin."""
RERUN = "rerun"
"""The questions about running it again."""


class Line(Struct, frozen=True):
    """One answer. All texts are fit to be shown."""

    question: str
    """`run`, `models`, `rerun`, or `data` of the pin in `about`."""
    about: str
    """What exactly is asked, in a word or two: `supplied by`, `fetched`, `paid`, …"""
    answer: str
    strength: Strength
    evidence: str
    pin: str | None = None

    @property
    def title(self) -> str:
        """What is asked, where the heading does not name the pin."""
        return self.about if self.pin is None or self.question == DATA else f"{self.about} of {self.pin}"

    def to_dict(self) -> dict[str, Any]:
        """The line as plain JSON values."""
        return {
            "question": self.question,
            "pin": self.pin,
            "about": self.about,
            "answer": self.answer,
            "strength": self.strength,
            "evidence": self.evidence,
        }


def grouped(lines: Iterable[Line]) -> Iterator[tuple[str, list[Line]]]:
    """Lines under their headings, in order."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(f"data {line.pin}" if line.question == DATA else line.question, []).append(line)
    yield from found.items()


class Explanation(Struct, frozen=True):
    """All there is to say about one run."""

    run: str
    """Its invocation: `mlflow:<run id>` or `databom:<id>`."""
    asked: str
    """What was asked about, where that was a model; else the run."""
    receipt: str
    """Digest of its receipt."""
    index: int | None
    """Where the receipt stands in the log, None where the log here does not have it."""
    trust: str
    """Digest of the trust root that it was read by."""
    lines: tuple[Line, ...]

    @property
    def missing(self) -> tuple[Line, ...]:
        """What is in the way of running it again."""
        return tuple(one for one in self.lines if one.question == RERUN and one.strength == MISSING)

    @property
    def is_reproducible(self) -> bool:
        """Whether nothing that a second run needs is known to be missing."""
        return not self.missing

    def groups(self) -> Iterator[tuple[str, list[Line]]]:
        """The lines under their headings, in order."""
        return grouped(self.lines)

    def sentence(self) -> str:
        """One summary sentence."""
        count = {
            kind: sum(one.strength == kind for one in self.lines) for kind in (VERIFIED, DECLARED, MISSING)
        }
        told = ", ".join(f"{number} {kind}" for kind, number in count.items())
        can = (
            "nothing that a second run needs is known to be missing"
            if self.is_reproducible
            else "it cannot be run again as it was"
        )
        return f"{self.run}: {told}; {can}"

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain JSON values."""
        return {
            "run": self.run,
            "asked": self.asked,
            "receipt": self.receipt,
            "index": self.index,
            "trust": self.trust,
            "reproducible": self.is_reproducible,
            "missing": [one.title for one in self.missing],
            "lines": [one.to_dict() for one in self.lines],
        }
