"""What a manifest claims, as frozen data. Parts are named after OASIS, RSL or SPDX where those have a word.

The constraints in the annotations are those of `schemas/manifest.v1.json`; a property test holds the two
together. None means the field is absent; in a document a null says the same.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from databom.model import times
from databom.model.strictjson import MAX_INT

MAX_ID_CHARS = 200
"""Identifiers, media types, flags: whatever is shown on one line."""
MAX_EXPRESSION_CHARS = 1_000
"""An SPDX expression; an MLflow tag must hold it whole."""
MAX_URI_CHARS = 4_096
MAX_SHARDS = 10_000
"""Shards of one release."""
MAX_SHARD_BYTES = 256 * 1024 * 1024
"""Bytes of one shard."""
MAX_SHARD_ASSETS = 1_000_000
"""Assets in one shard; what one takes in memory follows from it."""

# C0 and C1 controls, bidi marks and overrides, zero-width, invisible and line-separating characters, tags and
# variation selectors (which can smuggle text). A lookahead, because `^[^…]*$` lets a trailing line feed
# through in Python.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff"
)
UNSEEN = re.compile(f"[{_UNSEEN}]")
"""A character that identifiers may not hold."""
_CLEAN = rf"^(?![\s\S]*[{_UNSEEN}])"
_TRIMMED = r"(?!\s)(?![\s\S]*\s$)"

Line = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS, pattern=_CLEAN)]
DatasetId = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS, pattern=_CLEAN + r"(?![\s\S]*@)" + _TRIMMED)
]
Version = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS, pattern=_CLEAN + _TRIMMED)]
Expression = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EXPRESSION_CHARS, pattern=_CLEAN)]
Uri = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_URI_CHARS, pattern=_CLEAN)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
# The lengths also refuse the trailing line feed that `$` lets through.
Hex = Annotated[str, msgspec.Meta(min_length=64, max_length=64, pattern="^[0-9a-f]{64}$")]
Decimal = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?(?![\s\S])")]
Currency = Annotated[str, msgspec.Meta(min_length=3, max_length=3, pattern="^[A-Z]{3}$")]
PaymentModel = Literal["one-time", "subscription", "per-use", "royalty", "free"]


class Instant(datetime):
    """An aware UTC datetime that its document wrote as RFC 3339 with `Z`."""


def instant(kind: type, value: Any) -> Instant:
    """Decode an `Instant`: msgspec's `dec_hook` for these types.

    Raises:
        ValueError: it is not written so, or there is no such time.
    """
    if kind is not Instant or not isinstance(value, str):
        raise ValueError("a time is a string")
    when = times.parse(value)
    return Instant.combine(when.date(), when.timetz())


class Hash(msgspec.Struct, frozen=True):
    """Other bytes, named by their SHA-256 in hex."""

    sha256: Hex


class Asset(msgspec.Struct, frozen=True, gc=False):
    """One file of a release. `sha256` is 64 lower-case hex digits, `size` in bytes or None: not declared."""

    # Patterns are missing here: what a million assets hold is checked in bulk, by `manifest` and `paths`.
    path: str
    sha256: str
    size: Count | None = None
    media_type: Line | None = None
    license: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EXPRESSION_CHARS)] | None = None
    creator_id: Line | None = None
    consent: Line | None = None
    flags: tuple[Line, ...] = ()
    redacted_from: Hash | None = None


ShardType = Literal["application/x-ndjson", "application/vnd.apache.parquet"]


class Shard(msgspec.Struct, frozen=True):
    """A list of assets in a file of its own: where it is, its bytes by SHA-256 and size, and how many it lists."""

    uri: Uri
    sha256: Hex
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARD_BYTES)]
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARD_ASSETS)]
    media_type: ShardType


class LicenseText(msgspec.Struct, frozen=True):
    """Where the text of the license is, and what it hashes to."""

    uri: Uri | None = None
    sha256: Hex | None = None


class Attribution(msgspec.Struct, frozen=True):
    """What is to be said about the creator. `text` is free text: show it through `text.printable`."""

    required: bool | None = None
    text: str | None = None
    url: Uri | None = None


class Signal(msgspec.Struct, frozen=True):
    """What somebody else says about using the data, as found: `kind` is whose words they are (`model.signals`)."""

    kind: Text
    value: str
    uri: Uri | None = None


class License(msgspec.Struct, frozen=True):
    """The terms as the publisher states them: recorded here, judged elsewhere. The lists use RSL's words."""

    type: Text | None = None
    spdx: Expression | None = None
    revocable: bool | None = None
    text: LicenseText | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    permits: tuple[Text, ...] = ()
    prohibits: tuple[Text, ...] = ()
    user: tuple[Text, ...] = ()
    geo: tuple[Text, ...] = ()
    attribution: Attribution | None = None
    signals: tuple[Signal, ...] = ()


class Amount(msgspec.Struct, frozen=True):
    """Money: a decimal number in a string, never a float, and an ISO 4217 code."""

    value: Decimal
    currency: Currency


class Share(msgspec.Struct, frozen=True):
    """The part of a payment that goes to one creator, a decimal number in a string."""

    creator_id: Text
    share: Decimal


class Payment(msgspec.Struct, frozen=True):
    """What the publisher says was agreed and paid. A receipt is another document, signed by the payee."""

    model: PaymentModel
    transaction_id: Text | None = None
    amount: Amount | None = None
    payer: Text | None = None
    payee: Text | None = None
    paid_at: Instant | None = None
    period: str | dict[str, Any] | None = None
    schedule: str | dict[str, Any] | tuple[Any, ...] | None = None
    allocation: tuple[Share, ...] = ()


class Consent(msgspec.Struct, frozen=True):
    """A consent the publisher refers to: whose, for what, until when."""

    subject: Text | None = None
    uri: Uri | None = None
    sha256: Hex | None = None
    scope: tuple[Text, ...] = ()
    expires_at: Instant | None = None


class Head(msgspec.Struct, frozen=True):
    """A manifest's members as they stand on the wire; the assets stay bytes until they are read in bulk."""

    dataset_id: DatasetId
    version: Version
    license: License
    assets: msgspec.Raw = msgspec.Raw(b"")
    manifest_version: int | str | None = None
    creator_id: Text | None = None
    marketplace_id: Text | None = None
    sequence: Count | None = None
    supersedes: Hash | None = None
    issued_at: Instant | None = None
    expires_at: Instant | None = None
    payment: Payment | None = None
    consents: tuple[Consent, ...] = ()
    provenance: dict[str, Any] | None = None
    classification: tuple[str | dict[str, Any], ...] = ()
    risk_reducing: tuple[str | dict[str, Any], ...] = msgspec.field(default=(), name="data-risk-reducing")
    asset_index: Annotated[tuple[Shard, ...], msgspec.Meta(min_length=1, max_length=MAX_SHARDS)] | None = None
    signature: Any = None
