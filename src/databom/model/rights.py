"""What licenses say about using data to build models: a table (`rights.json`), and what a team defines by itself.

A row holds, for each right of `config.RIGHTS`, whether the license permits it (permit | deny | conditional | unknown)
and in which section it says so; what it asks in return; and whether it can be taken back. The table is read by people
and reviewed row by row: `reviewed` says when. Where a text does not say, or where its meaning is not settled, the row
says `unknown`, and whoever decides by it has to ask a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

Value = Literal["permit", "conditional", "unknown", "deny"]
VALUES: tuple[Value, ...] = ("permit", "conditional", "unknown", "deny")
"""From the most that a license can say of a right to the least."""
Revocable = Literal["no", "on-breach", "yes", "unknown"]


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One license. Sections are those of its own text; "" where none can be named."""

    id: str
    name: str
    url: str
    rights: dict[str, tuple[Value, str]]
    obligations: dict[str, str]
    """What it asks in return, and where."""
    revocable: tuple[Revocable, str]
    reviewed: str
    """The day this row was last gone over; "" for a license of the team's own."""
    note: str = ""
    aliases: tuple[str, ...] = ()
    territory: tuple[str, ...] = ()
    """Where it holds, by ISO 3166-1; empty: everywhere."""

    def value(self, right: str) -> Value:
        """What it says of a right; `unknown` where the row does not name it."""
        return self.rights.get(right, ("unknown", ""))[0]

    def clause(self, right: str) -> str:
        """Where it says so."""
        return self.rights.get(right, ("unknown", ""))[1]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    licenses: tuple[Terms, ...]


@cache
def table() -> tuple[Terms, ...]:
    """Every row that databom ships, in its order."""
    raw = files("databom.model").joinpath("rights.json").read_bytes()
    return msgspec.json.decode(raw, type=_Table).licenses


@cache
def _by_id() -> Mapping[str, Terms]:
    return {name.casefold(): row for row in table() for name in (row.id, *row.aliases)}


def terms_of(name: str, own: Mapping[str, Terms]) -> Terms | None:
    """The row for an id, in any case; a team's own license before one that databom ships; None where there is none."""
    key = name.casefold()
    return own.get(key) or _by_id().get(key)


def own_terms(licenses: Mapping[str, Mapping[str, Any]]) -> dict[str, Terms]:
    """What a team defines in `[license."LicenseRef-…"]` as rows, by their ids in lower case."""
    from databom.model.config import RIGHTS

    return {
        name.casefold(): Terms(
            id=name,
            name=keys["name"],
            url=keys["url"],
            rights={right: (keys[right], keys["clause"]) for right in RIGHTS},
            obligations=dict.fromkeys(keys["obligations"], keys["clause"]),
            revocable=(keys["revocable"], keys["clause"]),
            reviewed="",
            territory=keys["territory"],
        )
        for name, keys in licenses.items()
    }
