"""The little of JSON-LD 1.1 that reading one known vocabulary needs: which member stands for which name.

Not a processor: nothing is fetched, nothing is expanded but names. A document may spell a name bare, with a
prefix (`sc:name`) or in full (`https://schema.org/name`). A context may say what it likes about other names; one
under which a name that is read here would mean something else, or another name would mean what is read here, is
refused, lest another reader see another document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCHEMA_ORG = ("https://schema.org/", "http://schema.org/")
CROISSANT = ("http://mlcommons.org/croissant/", "https://mlcommons.org/croissant/")
DUBLIN_CORE = ("http://purl.org/dc/terms/", "https://purl.org/dc/terms/")

_SPACES = (*SCHEMA_ORG, *CROISSANT, *DUBLIN_CORE)
_PREFIXES = {"sc": SCHEMA_ORG, "schema": SCHEMA_ORG, "cr": CROISSANT, "dct": DUBLIN_CORE}
_SCOPED = frozenset(("@context", "@reverse", "@nest"))
_KEYWORDS = frozenset(("@context", "@id", "@type"))
"""What an object may hold beside names. Others (`@nest`, `@graph`, …) bring members of their own along."""
_CONTAINERS = (None, "@set", "@list")
_VOCAB = SCHEMA_ORG[0]
_MAX_STEPS = 8

Refuse = Callable[[str, str, str, object], None]
"""Told of a fault: a JSON pointer, what is wrong, what was expected, what was found."""


def items(value: Any) -> list[Any]:
    """A member's values: JSON-LD writes one as itself, several as a list, and none as null."""
    return [] if value is None else value if isinstance(value, list) else [value]


def reference(value: Any) -> str | None:
    """The text or `@id` of a reference to another part of the document."""
    if isinstance(value, dict):
        value = value.get("@id")
    return value if isinstance(value, str) else None


class Names:
    """What the names of one document mean, under its own context."""

    def __init__(
        self,
        context: Any,
        *,
        read: frozenset[str],
        classes: frozenset[str],
        fetched: frozenset[str],
        refuse: Refuse,
    ) -> None:
        """Judge a context.

        Args:
            context: the document's `@context`.
            read: the short names of members that are read.
            classes: the short names of types that are asked for.
            fetched: contexts that a document may name by URL, because their content is known.
            refuse: told of every fault.
        """
        self._read, self._classes, self._known = read, classes, read | classes
        self._refuse = refuse
        self._prefixes = {name: spaces[0] for name, spaces in _PREFIXES.items()}
        for one in items(context):
            if isinstance(one, dict):
                self._define(one)
            elif not isinstance(one, str) or one not in fetched:
                what = "the context would have to be fetched to know what the document means"
                refuse("/@context", what, "a standard context, written out", one)

    def members(self, value: dict[str, Any], where: str) -> dict[str, Any]:
        """The members of an object that are read, by their short names."""
        found: dict[str, Any] = {}
        for name, member in value.items():
            if name.startswith("@") and name not in _KEYWORDS:
                what = f"{name[:60]!a} could give this part members that are not read here"
                self._refuse(f"{where}/{name}", what, ", ".join(sorted(_KEYWORDS)), None)
            local = name if name in self._read else self.local(name)
            if local not in self._read or member is None:
                continue
            if local in found:
                what = f"{local} is stated twice, in two spellings"
                self._refuse(f"{where}/{name}", what, "one of them", None)
            found[local] = member
        if where and "@context" in value:
            what = "a context of its own could change what this part means"
            self._refuse(f"{where}/@context", what, "one context, at the top", None)
        return found

    def types(self, value: dict[str, Any]) -> set[str]:
        """Those of an object's types that are asked for, by their short names."""
        found = {self.local(one) for one in items(value.get("@type")) if isinstance(one, str)}
        return {one for one in found if one in self._classes}

    def local(self, name: str) -> str | None:
        """The short name, without a prefix or namespace; None for a name of another vocabulary."""
        if ":" not in name:
            return name
        full = self._full(name)
        space = next((one for one in _SPACES if full.startswith(one)), None)
        if space is None:
            return None
        rest = full[len(space) :]
        # Of Dublin Core one name is read. No name is schema.org's and Croissant's with two meanings.
        return rest if space not in DUBLIN_CORE or rest == "conformsTo" else None

    def _full(self, name: str) -> str:
        for _ in range(_MAX_STEPS):
            prefix, colon, rest = name.partition(":")
            if not colon or rest.startswith("//") or prefix not in self._prefixes:
                break
            name = self._space(prefix) + rest
        return name

    def _space(self, prefix: str) -> str:
        """What a prefix stands for: without a colon that is another term, or a name of the vocabulary."""
        space = self._prefixes[prefix]
        for _ in range(_MAX_STEPS):
            if ":" in space or space not in self._prefixes:
                break
            space = self._prefixes[space]
        return space if ":" in space else _VOCAB + space

    def _define(self, context: dict[str, Any]) -> None:
        iris = {name: one.get("@id") if isinstance(one, dict) else one for name, one in context.items()}
        plain = {name: iri for name, iri in iris.items() if isinstance(iri, str)}
        # Any term may serve as a prefix. What is longer than any name that is read leads to none of them.
        self._prefixes |= {
            name: iri for name, iri in plain.items() if "@" not in (iri[:1], name[:1]) and len(iri) < 200
        }
        for name, definition in context.items():
            iri = plain.get(name)
            local, own = self.local(iri) if iri is not None else None, self.local(name)
            if name in _PREFIXES:
                changes = iri not in _PREFIXES[name]
            elif name.startswith("@"):
                changes = name == "@import" or (name == "@vocab" and iri not in SCHEMA_ORG)
            else:
                ours = own in self._known or local in self._known
                changes = (iri or "").startswith("@") or (ours and (local != own or _reshapes(definition)))
            if changes or (isinstance(definition, dict) and not _SCOPED.isdisjoint(definition)):
                what = f"the context gives {name[:60]!a} a meaning of its own"
                self._refuse(
                    "/@context", what, "the standard context, where this name is concerned", definition
                )


def _reshapes(definition: Any) -> bool:
    """Whether a term's definition makes something else of its values: a literal, a graph, an index."""
    if not isinstance(definition, dict):
        return False
    containers = items(definition.get("@container")) or [None]
    return definition.get("@type") == "@json" or any(one not in _CONTAINERS for one in containers)
