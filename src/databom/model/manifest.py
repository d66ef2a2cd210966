"""The manifest: the signed JSON document that describes a release, read strictly and kept as received.

`read_manifest` proceeds in this order:

1. strict JSON (`strictjson.check`): one meaning or none;
2. typed decode by msgspec into the frozen types of `claims`, assets last;
3. bulk checks of digests and paths, and of the few rules types cannot say;
4. a walk for unknown members, which are kept (they are in `raw`, the signature covers them) and listed;
5. when 2 or 3 refused: the published JSON Schema words every problem (`wording`).

A Croissant document (`croissant`) is read as a manifest, too: translated, then held to the same rules.

It does not ask who signed: `databom.trust` does, over `raw`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from databom.errors import InputError, Problem
from databom.model import digest, members, paths, strictjson, times
from databom.model.claims import (
    UNSEEN,
    Amount,
    Asset,
    Attribution,
    Consent,
    Hash,
    Head,
    Instant,
    License,
    LicenseText,
    Payment,
    Share,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

__all__ = [
    "MAX_ASSETS",
    "MAX_MANIFEST_BYTES",
    "MAX_STRING_CHARS",
    "Amount",
    "Asset",
    "Attribution",
    "Consent",
    "Hash",
    "License",
    "LicenseText",
    "Manifest",
    "Payment",
    "Share",
    "assemble",
    "read_manifest",
]

MAX_MANIFEST_BYTES = strictjson.MAX_DOCUMENT_BYTES
"""The largest manifest in bytes: 256 MiB."""
MAX_ASSETS = 2_000_000
"""Assets in one manifest; a larger release is split."""
MAX_STRING_CHARS = 65_536
"""The longest string anywhere in a manifest, in characters."""

_VERSIONS = (None, "1", "1.0", 1)
_CHUNK = 8_192

Form = Literal["manifest", "croissant", "oms"]
"""The kind of document that made the claims."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One release, as its publisher describes it. Not to be believed before its signature is opened.

    `digest` is of the bytes as received, `tree` the `dirHash1` of the assets, both `sha256:<hex>`. `unknown`
    lists members this version does not know, as JSON pointers.
    """

    raw: bytes = field(repr=False)
    digest: str
    tree: str
    dataset_id: str
    version: str
    license: License
    assets: tuple[Asset, ...] = field(repr=False)
    creator_id: str | None = None
    marketplace_id: str | None = None
    sequence: int | None = None
    supersedes: str | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    payment: Payment | None = None
    consents: tuple[Consent, ...] = ()
    classification: tuple[str | dict[str, Any], ...] = ()
    signature: str | None = None
    total_bytes: int | None = None
    unknown: tuple[str, ...] = ()
    form: Form = "manifest"

    @property
    def release(self) -> str:
        """`dataset_id@version`."""
        return f"{self.dataset_id}@{self.version}"

    def content(self) -> dict[str, Any]:
        """The parsed object without `signature`: what RFC 8785 is applied to. Parsed anew at each call.

        Only a manifest has a `signature` that is none of its content.
        """
        value: dict[str, Any] = _strict_value(self.raw)
        if self.form == "manifest":
            value.pop("signature", None)
        return value


def read_manifest(raw: bytes) -> Manifest:
    """The manifest in some bytes.

    Raises:
        InputError: with every problem found (at most 100), each with a JSON pointer: `manifest.syntax`,
            `.limit`, `.schema`, `.path` or `.duplicate`. Nothing else is raised, whatever the bytes.
    """
    shapes = strictjson.shapes(raw, prefix="manifest", max_string=MAX_STRING_CHARS, floats=False)
    foreign = shapes is None or any("@context" in names for names in shapes)
    if foreign:
        from databom.model import croissant

        if croissant.is_croissant(document := _strict_value(raw)):
            translation = croissant.translate(document)
            return assemble(raw, translation.claims, form="croissant", told=translation.told)
    try:
        head, assets = _decode(raw)
        _check_head(head)
        _check_assets(assets)
        unknown = _unknown(members.look(raw, shapes, asset_count=len(assets)))
    except (msgspec.MsgspecError, _Refused) as error:
        raise _refusal(raw, error) from None
    return _manifest(raw, head, assets, unknown=unknown)


def assemble(
    raw: bytes, claims: dict[str, Any], *, form: Form, told: Callable[[Problem], Problem]
) -> Manifest:
    """The manifest that another kind of document stands for: its bytes and digest are that document's.

    `claims` says in a manifest's members what the document states, and is held to every rule a manifest has;
    `told` turns a problem of theirs into one of the document.

    Raises:
        InputError: as `read_manifest`.
    """
    try:
        head, assets = _decode(msgspec.json.encode(claims))
        _check_head(head)
        _check_assets(assets)
        return _manifest(raw, head, assets, form=form)
    except (msgspec.MsgspecError, _Refused):
        from databom.model import wording

        problems = wording.explain(claims, _is_good_asset)
    except InputError as error:
        problems = list(error.problems)
    what = "the document does not fit a manifest's schema"
    raise InputError(*(map(told, problems or [Problem("manifest.schema", "", what)])))


def _manifest(
    raw: bytes,
    head: Head,
    assets: tuple[Asset, ...],
    *,
    unknown: tuple[str, ...] = (),
    form: Form = "manifest",
) -> Manifest:
    sizes = [asset.size for asset in assets if asset.size is not None]
    if sum(sizes) > strictjson.MAX_INT:
        raise _limit(
            "the sizes add up to too much", f"at most {strictjson.MAX_INT:,} bytes", f"{sum(sizes):,} bytes"
        )
    in_order = sorted(assets, key=attrgetter("path"))
    return Manifest(
        raw=raw,
        digest=digest.sha256(raw),
        tree=digest.tree_digest(((asset.path, asset.sha256) for asset in in_order), is_sorted=True),
        dataset_id=head.dataset_id,
        version=head.version,
        license=head.license,
        assets=assets,
        creator_id=head.creator_id,
        marketplace_id=head.marketplace_id,
        sequence=head.sequence,
        supersedes=None if head.supersedes is None else f"sha256:{head.supersedes.sha256}",
        issued_at=head.issued_at,
        expires_at=head.expires_at,
        payment=head.payment,
        consents=head.consents,
        classification=head.classification,
        signature=head.signature or None,
        total_bytes=sum(sizes) if len(sizes) == len(assets) else None,
        unknown=unknown,
        form=form,
    )


class _Refused(Exception):  # noqa: N818  # never escapes this module
    """A rule that types cannot say does not hold; `_refusal` finds the words."""


def _instant(kind: type, value: Any) -> Any:
    if kind is not Instant or not isinstance(value, str):
        raise ValueError("a time is a string")
    when = times.parse(value)
    return Instant.combine(when.date(), when.timetz())


_HEAD = msgspec.json.Decoder(Head, dec_hook=_instant)
_TEXTS = tuple(map(attrgetter, ("media_type", "license", "creator_id", "consent")))
_ASSETS = msgspec.json.Decoder(tuple[Asset, ...])


def _decode(raw: bytes) -> tuple[Head, tuple[Asset, ...]]:
    try:
        head: Head = _HEAD.decode(raw)
        return head, _ASSETS.decode(head.assets)
    except msgspec.MsgspecError:
        # A null says absent. Most types take it as it stands; lists do not, and then the manifest is spelled
        # anew, which takes several times the memory.
        if b"null" not in raw:
            raise
    head = _HEAD.decode(members.without_nulls(raw))
    return head, _ASSETS.decode(head.assets)


def _check_head(head: Head) -> None:
    if not (head.signature is None or isinstance(head.signature, str) or head.signature in ({}, [])):
        raise _Refused("signature")
    if head.manifest_version not in _VERSIONS:
        raise _Refused("manifest_version")


def _check_assets(assets: tuple[Asset, ...]) -> None:
    if len(assets) > MAX_ASSETS:
        raise _limit("the manifest lists too many assets", f"at most {MAX_ASSETS:,}", f"{len(assets):,}")
    if not assets:
        raise _Refused("assets")
    for start in range(0, len(assets), _CHUNK):
        _check_texts(assets[start : start + _CHUNK])
    if paths.check_paths([asset.path for asset in assets]):
        raise _Refused("paths")


def _unknown(found: members.Found) -> tuple[str, ...]:
    if "asset_index" in found.names:
        raise _Refused("asset_index")
    return found.unknown


def _check_texts(assets: Sequence[Asset]) -> None:
    hexes = [asset.sha256 for asset in assets]
    # bytes.fromhex would take upper case and spaces, `$` in a pattern a trailing line feed.
    if set(map(len, hexes)) != {64} or "".join(hexes).encode().translate(None, b"0123456789abcdef"):
        raise _Refused("sha256")
    texts: set[str | None] = set().union(*[asset.flags for asset in assets if asset.flags])
    for get in _TEXTS:
        texts.update(map(get, assets))
    if UNSEEN.search("".join(filter(None, texts))):
        raise _Refused("a control or invisible character")


def _limit(what: str, expected: str, found: str) -> InputError:
    do = "ask the publisher to split the release"
    return InputError(Problem("manifest.limit", "/assets", what, expected=expected, found=found, do=do))


def _refusal(raw: bytes, reason: Exception) -> InputError:
    from databom.model import wording

    problems = wording.explain(_strict_value(raw), _is_good_asset)
    # The fast reader and the schema agree, a property test says. Should they ever not, the answer is still
    # no.
    return InputError(
        *(problems or [Problem("manifest.schema", "", f"the manifest does not fit its schema: {reason}")])
    )


def _is_good_asset(value: Any) -> bool:
    """Whether one parsed asset needs no second look when problems are worded; its path has one of its own."""
    try:
        _check_texts([msgspec.convert(members.prune(value, Asset), Asset)])
    except (msgspec.MsgspecError, _Refused):
        return False
    return True


def _strict_value(raw: bytes) -> Any:
    return strictjson.loads(raw, prefix="manifest", max_string=MAX_STRING_CHARS, floats=False)
