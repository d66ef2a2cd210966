"""What a scanner is. Whoever writes one needs this page and an entry point of the group `databom.scanners`.

    class Badges:
        name, version, model, settings = "acme.badges", "1.0", None, ""

        def takes(self, media_type):
            return media_type.startswith("text/")

        def scan(self, data, media_type, context):
            for match in re.finditer(rb"ACME-[0-9]{6}", data):
                yield Hit("badge", 1.0, match.span())

A scanner runs in a process of its own, many times. It may raise `Unreadable` for bytes it takes and cannot read; any
other exception, a crash, silence for too long or an answer of another form is "could not be answered", never a pass.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

Data = bytes | mmap.mmap
"""Bytes to scan. Both are buffers that regular expressions, slices and `len` take; a file of over 64 MiB is mapped."""

KIND = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
MAX_KIND_CHARS = 40


class Hit(NamedTuple):
    """Personal data, by its kind, how sure that is (0 to 1), and where: never by its value.

    `place` is (start, end) in the text, (x, y, width, height) in the picture, or empty.
    """

    kind: str
    score: float = 1.0
    place: tuple[int, ...] = ()


class Context(NamedTuple):
    """What is known besides the bytes: the asset's path and, of an archive's member, its name."""

    path: str
    member: str = ""


class Unreadable(Exception):  # noqa: N818  # reads as what is said: these bytes are unreadable
    """The bytes cannot be scanned: damaged, encrypted, too large. The text is shown; it holds none of them."""


class Scanner(Protocol):
    """Looks for personal data in bytes.

    `name` is unique (`acme.badges`). What was found is remembered by `version`, `model` (`sha256:<hex>` of its
    weights, or None) and `settings`: a scanner that could answer differently must say so in one of them.
    """

    name: str
    version: str
    model: str | None
    settings: str

    def takes(self, media_type: str) -> bool:
        """Whether it can look into bytes of this media type."""
        ...

    def scan(self, data: Data, media_type: str, context: Context) -> Iterable[Hit]:
        """What it finds.

        Raises:
            Unreadable: these bytes cannot be scanned.
        """
        ...


class Identity(NamedTuple):
    """Which scanner, exactly: what a report names and what a remembered answer is valid for."""

    name: str
    version: str
    model: str | None = None
    settings: str = ""


def identity_of(scanner: Scanner) -> Identity:
    """The scanner's identity.

    Raises:
        TypeError: it has none, or one that cannot be shown on a line.
    """
    identity = Identity(scanner.name, scanner.version, scanner.model, scanner.settings)
    texts: tuple[object, ...] = (identity.name, identity.version, identity.model or "", identity.settings)
    if not all(isinstance(text, str) and len(text) <= 200 and text.isprintable() for text in texts):
        raise TypeError("a scanner's name, version, model and settings are short printable strings")
    return identity
