"""RSL 1.0 (Really Simple Licensing): the licenses in such a document, as far as they concern a use.

    rsl > content[url, server]+ > license* > permits|prohibits[type=usage|user|geo]* | payment[type]

A document type declaration is refused, and with it every entity of its own: nothing is expanded, nothing is fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

from databom.model.signals import Unreadable

MAX_DEPTH = 32
_NAMESPACE = "https://rslstandard.org/rsl"


@dataclass(slots=True)
class Offer:
    """One license of a document: words by ("permits" or "prohibits", "usage", "user" or "geo")."""

    words: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    payments: tuple[str, ...] = ()
    """Its payments' types; none: free."""
    server: str | None = None
    """Where a license has to be asked for, even a free one."""

    def get(self, verb: str, kind: str) -> tuple[str, ...]:
        """The words after `permits` or `prohibits` of one kind."""
        return self.words.get((verb, kind), ())


def words_in(text: str) -> tuple[str, ...]:
    """The words of a list that commas or spaces separate."""
    return tuple(filter(None, re.split(r"[\s,]+", text)))


def read_rsl(text: str) -> tuple[tuple[Offer, ...], ...]:
    """For each `content` of a document, the licenses it offers: any one of them is enough.

    Raises:
        Unreadable: it is no RSL document. Nothing else is raised, whatever the text.
    """
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(text.encode("utf-8", "surrogatepass"), True)  # isfinal, positional only
    except expat.ExpatError as error:
        raise Unreadable(f"it is no XML: {expat.ErrorString(error.code)}") from None
    if not reader.is_rsl:
        raise Unreadable("it is no RSL document")
    return tuple(map(tuple, reader.contents))


def _refuse_doctype(*_: object) -> None:
    raise Unreadable("it has a document type declaration")


class _Reader:
    def __init__(self) -> None:
        self.contents: list[list[Offer]] = []
        self.is_rsl = False
        self._open: list[str] = []
        self._offer: Offer | None = None
        self._server: str | None = None
        self._kind = ""
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = self._tag(name)
        if not self._open:
            self.is_rsl = tag == "rsl"
        self._open.append(tag)
        if len(self._open) > MAX_DEPTH:
            raise Unreadable(f"its elements are more than {MAX_DEPTH} deep")
        if tag == "content":
            self.contents.append([])
            self._server = attributes.get("server")
        elif tag == "license" and self.contents:
            self._offer = Offer(server=self._server)
            self.contents[-1].append(self._offer)
        elif tag == "payment" and self._offer is not None:
            self._offer.payments += (attributes.get("type", "free"),)
        self._kind = attributes.get("type", "usage")
        self._text = []

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        tag = self._tag(name)
        self._open.pop()
        if tag in ("permits", "prohibits") and self._offer is not None:
            key = (tag, self._kind)
            self._offer.words[key] = self._offer.get(*key) + words_in("".join(self._text))
        elif tag == "license":
            self._offer = None

    @staticmethod
    def _tag(name: str) -> str:
        """The local name of RSL's elements, "" for those of others."""
        space, _, local = name.rpartition(" ")
        return local if space in ("", _NAMESPACE) else ""
