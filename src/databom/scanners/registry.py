"""Which scanners there are: the built-in ones, and entry points that the user named.

The built-in ones are known without loading them, so that a release whose answers are all remembered costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import NamedTuple

from databom.model.text import printable
from databom.scanners import versions
from databom.scanners.protocol import Identity, Scanner, identity_of

GROUP = "databom.scanners"
VARIABLE = "DATABOM_SCANNERS"


class Loaded(NamedTuple):
    """Scanners that can be used, and what is wrong with those that cannot."""

    scanners: tuple[Scanner, ...]
    troubles: tuple[str, ...]


def named(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The entry points that the user named, in order; nothing a project holds can add to them."""
    return tuple(dict.fromkeys(part.strip() for part in environ.get(VARIABLE, "").split(",") if part.strip()))


def built_in() -> tuple[Identity, ...]:
    """The built-in scanners that can be used here, without loading them."""
    pictures = versions.pictures()
    return (versions.patterns(),) if pictures is None else (versions.patterns(), pictures)


def load(names: Sequence[str]) -> Loaded:
    """The built-in scanners and the named entry points. What cannot be loaded is told, not raised."""
    from databom.scanners.patterns import Patterns

    scanners: list[Scanner] = [Patterns()]
    troubles: list[str] = []
    pictures = versions.pictures()
    if pictures is not None:
        from databom.scanners.pictures import Pictures

        scanners.append(Pictures(pictures))
    for name in names:
        try:
            (entry,) = entry_points(group=GROUP, name=name)
        except ValueError:
            troubles.append(f"no installed package has the scanner {printable(name)}")
            continue
        try:
            made = entry.load()
            scanner = made() if isinstance(made, type) else made
            identity_of(scanner)
        except BaseException as error:  # noqa: BLE001  # whatever somebody else's code does while it is imported
            troubles.append(f"the scanner {printable(name)} cannot be loaded: {type(error).__name__}")
            continue
        scanners.append(scanner)
    return Loaded(tuple(scanners), tuple(troubles))
