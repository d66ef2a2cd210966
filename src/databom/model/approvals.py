"""What an approval or a waiver says: the predicates of `urn:databom:approval:v1` and `urn:databom:waiver:v1`.

    approval   {"policy": "sha256:…", "role": "legal", "settles": [{"code": "license.review", "subject": "…"}],
                "reason": "…", "expires_at": "2027-01-01T00:00:00Z"}
    waiver     {"policy": "sha256:…", "waives": "illustration", "assets": ["sha256:…"],
                "reason": "…", "expires_at": "…"}

Which manifest it is about stands in the statement's subject. `schemas/` has the published form. Reading is strict: a
member that is not known is refused, since an approval with a typo would hold for something else than was meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from databom.errors import InputError, Problem
from databom.model import times
from databom.model.text import printable

INVALID = "approval.invalid"
MAX_SETTLED = 10_000
MAX_ASSETS = 100_000
MAX_REASON = 2_000

WAIVERS = ("illustration", "animal", "public-figure", "not-personal")
"""Why what a scanner found in an asset needs no consent."""
UNSCANNED = "unscanned:"
"""Before a media type: assets of it are accepted although nothing can look into them."""

_Digest = Annotated[str, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON)]
_Waives = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"\A(?:{'|'.join(WAIVERS)}|{UNSCANNED}[a-z0-9][a-z0-9.+-]{{0,100}}/[a-z0-9][a-z0-9.+-]{{0,100}})\Z"
    ),
]


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """One finding, by its code and what it is about."""

    code: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]+\.[a-z-]+\Z", max_length=100)]
    subject: Annotated[str, msgspec.Meta(max_length=4_096)] | None


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person, in a role, accepts these findings about one manifest under one policy, until then."""

    policy: _Digest
    role: Literal["legal", "billing", "steward", "mlops"]
    settles: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1, max_length=MAX_SETTLED)]
    reason: _Text
    expires_at: str

    @property
    def expires(self) -> datetime:
        """`expires_at` as an instant."""
        return times.parse(self.expires_at)


class Waiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person says why these assets, or assets of a media type, need no consent, until then."""

    waives: _Waives
    assets: Annotated[tuple[_Digest, ...], msgspec.Meta(max_length=MAX_ASSETS)]
    reason: _Text
    expires_at: str
    policy: _Digest | None = None
    """Under which policy; under any where absent."""

    def __post_init__(self) -> None:
        if not self.assets and not self.waives.startswith(UNSCANNED):
            raise ValueError(
                "a waiver names its assets by digest; only `unscanned:<media type>` may name none"
            )

    @property
    def expires(self) -> datetime:
        """`expires_at` as an instant."""
        return times.parse(self.expires_at)


def shown(record: Mapping[str, Any]) -> str:
    """An approval of a report (`Report.approvals`) in a line, safe to print."""
    settled = ", ".join(
        str(scope["code"]) if scope.get("subject") is None else f"{scope['code']} {scope['subject']}"
        for scope in record.get("settles", ())
    )
    keyids = ", ".join(str(keyid)[:16] for keyid in record.get("keyids", ()))
    who = f"{', '.join(map(str, record.get('roles', ())))} ({keyids})"
    return printable(f"{settled} by {who} until {record.get('expires_at')}: {record.get('reason')}", 1_000)


_T = TypeVar("_T", Approval, Waiver)


def parse_approval(predicate: Mapping[str, Any], *, file: str) -> Approval:
    """Read the predicate of an approval.

    Raises:
        InputError: `approval.invalid`: a member is missing, of a wrong form or not known (the nearest is named).
    """
    return _parse(Approval, predicate, file)


def parse_waiver(predicate: Mapping[str, Any], *, file: str) -> Waiver:
    """Read the predicate of a waiver.

    Raises:
        InputError: as `parse_approval`.
    """
    return _parse(Waiver, predicate, file)


def _parse(kind: type[_T], predicate: Mapping[str, Any], file: str) -> _T:
    try:
        read = msgspec.convert(predicate, kind)
        times.parse(read.expires_at)
    except (msgspec.ValidationError, ValueError) as error:
        known = [name for part in (kind, Scope) for name in part.__struct_fields__]
        raise InputError(
            Problem(
                INVALID,
                printable(file),
                f"the {kind.__name__.lower()} does not say what one must: {printable(_told(str(error), known))}",
                expected=f"the members {', '.join(kind.__struct_fields__)}, each in its form",
                do="sign another one with `databom approve`; this one is signed, so do not edit it",
            )
        ) from None
    return read


def _told(error: str, known: list[str]) -> str:
    """The reader's words, with the nearest known member for one that is not."""
    import difflib

    unknown = re.search(r"unknown field `(.+?)`", error)
    near = difflib.get_close_matches(unknown[1], known, n=1, cutoff=0.5) if unknown else []
    return f"{error}; did you mean `{near[0]}`?" if near else error
