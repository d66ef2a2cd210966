"""Answers line by line, as text for people: each with how strong it is and what shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from databom.model.explanation import Line

MAX_SHOWN = 200
"""Lines shown under one heading; `--format json` has all of them."""
_COLORS = {"verified": "green", "declared": "yellow", "missing": "red"}


def lines_as_text(title: str, lines: Iterable[Line], *, quiet: bool) -> str:
    """The lines under their headings; without what shows them where `quiet`."""
    return "\n".join(_text(title, list(lines), quiet=quiet))


def _text(title: str, lines: list[Line], *, quiet: bool) -> Iterator[str]:
    from databom.model.explanation import grouped

    yield click.style(title, bold=True)
    width = max((len(line.title) for line in lines), default=0)
    for heading, under in grouped(lines):
        yield ""
        yield click.style(heading, bold=True)
        for line in islice(under, MAX_SHOWN):
            strength = click.style(f"{line.strength:<8}", fg=_COLORS[line.strength])
            yield f"  {strength}  {line.title:<{width}}  {line.answer}"
            if line.evidence and not quiet:
                yield f"            {'':<{width}}  by {line.evidence}"
        if len(under) > MAX_SHOWN:
            yield f"  … and {len(under) - MAX_SHOWN:,} more; --format json has all of them"
