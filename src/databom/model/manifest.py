"""The manifest: the signed JSON document that describes a release, read strictly and kept as received.

`read_manifest` proceeds in this order:

1. strict JSON (`strictjson.check`): one meaning or none;
2. typed decode by msgspec into the frozen types of `claims`, assets last (`assets`);
3. bulk checks of digests and paths, and of the few rules types cannot say;
4. a walk for unknown members, which are kept (they are in `raw`, the signature covers them) and listed;
5. when 2 or 3 refused: the published JSON Schema words every problem (`wording`).

Most manifests are plain: 2 and 3 hold, and find as many members as the document has colons outside strings. That proves
1, and that 4 finds nothing in the assets, so it is tried first. A property test holds the two ways together.

A Croissant document (`croissant`) is read as a manifest, too: translated, then held to the same rules.

A large release lists its assets in shards (`asset_index`, `shards`). Such a manifest comes without its assets and its
tree digest; `completed` gives it both once they are known.

It does not ask who signed: `databom.trust` does, over `raw`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from databom.errors import InputError, Problem
from databom.model import digest, members, shards, strictjson
from databom.model.assets import (
    MAX_ASSETS,
    MAX_STRING_CHARS,
    Listed,
    Own,
    Refused,
    is_good_asset,
    read_listed,
)
from databom.model.claims import (
    Amount,
    Asset,
    Attribution,
    Consent,
    Hash,
    Head,
    License,
    LicenseText,
    Payment,
    Shard,
    Share,
    Signal,
    instant,
)
from databom.model.listings import likely

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from databom.model.assets import Meanwhile

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
    "Shard",
    "Share",
    "Signal",
    "assemble",
    "read_manifest",
]

MAX_MANIFEST_BYTES = strictjson.MAX_DOCUMENT_BYTES
"""The largest manifest in bytes: 256 MiB."""

_VERSIONS = (None, "1", "1.0", 1)

Form = Literal["manifest", "croissant", "oms"]
"""The kind of document that made the claims."""


class Manifest(Struct, frozen=True):
    """One release, as its publisher describes it. Not to be believed before its signature is opened.

    `digest` is of the bytes as received, `tree` the `dirHash1` of the assets, both `sha256:<hex>`. `unknown`
    lists members this version does not know, as JSON pointers. Where `index` is not empty and the shards have not been
    read, there are no `assets` and the `tree` is "", which is no digest and equal to none.
    """

    raw: bytes
    digest: str
    tree: str
    dataset_id: str
    version: str
    license: License
    assets: Sequence[Asset]
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
    index: tuple[Shard, ...] = ()
    """The shards that list the assets; empty where the manifest lists them itself."""
    own_licenses: Mapping[str, Own] = field(default_factory=dict)
    """The licenses that assets state for themselves, and how many do; `assets.TOO_MANY` for those not kept apart."""

    def __repr__(self) -> str:
        return f"<Manifest {self.release} {self.digest}>"  # its bytes and assets may be a hundred megabytes

    @property
    def asset_count(self) -> int:
        """How many assets the release has, by the index where there is one."""
        return sum(shard.count for shard in self.index) if self.index else len(self.assets)

    @property
    def is_complete(self) -> bool:
        """Whether its assets are at hand: always, but for an index whose shards have not been read."""
        return bool(self.tree)

    def completed(self, listed: Listed, unknown: tuple[str, ...] = ()) -> Manifest:
        """The same manifest with the assets that its shards list; `unknown` are their unknown members."""
        known = (*self.unknown, *unknown)[: members.MAX_UNKNOWN]
        return replace(
            self,
            assets=listed.assets,
            tree=listed.tree,
            total_bytes=listed.total_bytes,
            own_licenses=listed.licenses,
            unknown=known,
        )

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


def read_manifest(raw: bytes, *, meanwhile: Meanwhile | None = None) -> Manifest:
    """The manifest in some bytes.

    Args:
        raw: the bytes.
        meanwhile: called with the assets as soon as they have been found, before a single rule was checked: for work
            that may begin, and may be for nothing. If the manifest's `assets` are not that very object in the end,
            it was. Called with something that cannot be iterated to its end, or not at all, where the manifest is
            not plain; then called once more, with None.

    Raises:
        InputError: with every problem found (at most 100), each with a JSON pointer: `manifest.syntax`,
            `.limit`, `.schema`, `.path` or `.duplicate`. Nothing else is raised, whatever the bytes.
    """
    plain = _read_plain(raw, meanwhile)
    if plain is not None:
        return plain
    if meanwhile is not None:
        meanwhile(None)
    return _read_closely(raw)


def _read_plain(raw: bytes, meanwhile: Meanwhile | None = None) -> Manifest | None:
    """The manifest, if it is plain; None means nothing but that it must be read closely."""
    try:
        text = _LIST.decode(raw).assets
        found = likely(text) if _is_there(text) else None
        if meanwhile is not None and found is not None:
            meanwhile(found)
        there = strictjson.count_members(raw, max_string=MAX_STRING_CHARS)
        if there is None:
            return None
        rest = _without(raw, text)
        head, listed = _read(_HEAD.decode(rest), text, found)
        unknown = members.look_at_head(rest, count=there - listed.members)
    except (InputError, Refused, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if unknown is None else _manifest(raw, head, listed, unknown=unknown)


def _is_there(text: msgspec.Raw) -> bool:
    """Whether a member is there: an absent one has no text, and a null says the same."""
    return bytes(memoryview(text)[:5]) not in _ABSENT


def _without(raw: bytes, text: msgspec.Raw) -> bytes:
    """The document with an empty list where this text first stands; as it is, where that would spare little.

    Should it stand there twice, the members that are gone with the wrong one are missed when they are counted.
    """
    view = memoryview(text)
    at = raw.find(bytes(view[:_LONG])) if len(view) > _LONG else -1
    return raw[:at] + b"[]" + raw[at + len(view) :] if at >= 0 and raw.startswith(view, at) else raw


def _read_closely(raw: bytes) -> Manifest:
    shapes = strictjson.shapes(raw, prefix="manifest", max_string=MAX_STRING_CHARS, floats=False)
    foreign = shapes is None or any("@context" in names for names in shapes)
    if foreign:
        from databom.model import croissant

        if croissant.is_croissant(document := _strict_value(raw)):
            translation = croissant.translate(document)
            return assemble(raw, translation.claims, form="croissant", told=translation.told)
    try:
        head, listed = _decode(raw)
        unknown = members.look(raw, shapes, asset_count=len(listed.assets))
    except (msgspec.MsgspecError, Refused) as error:
        raise _refusal(raw, error) from None
    return _manifest(raw, head, listed, unknown=unknown)


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
        head, listed = _decode(msgspec.json.encode(claims))
        return _manifest(raw, head, listed, form=form)
    except (msgspec.MsgspecError, Refused):
        from databom.model import wording

        problems = wording.explain(claims, is_good_asset)
    except InputError as error:
        problems = list(error.problems)
    what = "the document does not fit a manifest's schema"
    raise InputError(*(map(told, problems or [Problem("manifest.schema", "", what)])))


def _manifest(
    raw: bytes,
    head: Head,
    listed: Listed,
    *,
    unknown: tuple[str, ...] = (),
    form: Form = "manifest",
) -> Manifest:
    return Manifest(
        raw=raw,
        digest=digest.sha256(raw),
        tree=listed.tree,
        dataset_id=head.dataset_id,
        version=head.version,
        license=head.license,
        assets=listed.assets,
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
        total_bytes=listed.total_bytes,
        unknown=unknown,
        form=form,
        index=head.asset_index or (),
        own_licenses=listed.licenses,
    )


class _List(Struct):
    """A manifest's assets as they stand in it, and nothing else."""

    assets: msgspec.Raw = msgspec.Raw(b"")


_LIST = msgspec.json.Decoder(_List)
_HEAD = msgspec.json.Decoder(Head, dec_hook=instant)
_ABSENT = (b"", b"null")
_LONG = 4_096
"""Bytes of a list from which on what is around it is read alone."""
_LATER = Listed((), "", None)
"""What is known of assets whose shards have not been read."""


def _decode(raw: bytes) -> tuple[Head, Listed]:
    try:
        return _read_close(_HEAD.decode(raw))
    except msgspec.MsgspecError:
        # A null says absent. Most types take it as it stands; lists do not, and then the manifest is spelled
        # anew, which takes several times the memory.
        if b"null" not in raw:
            raise
    return _read_close(_HEAD.decode(members.without_nulls(raw)), is_verbatim=False)


def _read_close(head: Head, *, is_verbatim: bool = True) -> tuple[Head, Listed]:
    found = likely(head.assets, is_verbatim=is_verbatim) if _is_there(head.assets) else None
    return _read(head, head.assets, found, is_verbatim=is_verbatim)


def _read(
    head: Head, text: msgspec.Raw, found: Sequence[Asset] | None, *, is_verbatim: bool = True
) -> tuple[Head, Listed]:
    """The rules for what was decoded; `text` are the assets, and `found` is what they seem to be."""
    _check_head(head)
    if head.asset_index is None:
        return head, read_listed(text, found, is_verbatim=is_verbatim)
    if _is_there(text) or any(shards.uri_problem(shard.uri) for shard in head.asset_index):
        raise Refused("asset_index")
    return head, _LATER


def _check_head(head: Head) -> None:
    if not (head.signature is None or isinstance(head.signature, str) or head.signature in ({}, [])):
        raise Refused("signature")
    if head.manifest_version not in _VERSIONS:
        raise Refused("manifest_version")


def _refusal(raw: bytes, reason: Exception) -> InputError:
    from databom.model import wording

    problems = wording.explain(_strict_value(raw), is_good_asset)
    # The fast reader and the schema agree, a property test says. Should they ever not, the answer is still
    # no.
    return InputError(
        *(problems or [Problem("manifest.schema", "", f"the manifest does not fit its schema: {reason}")])
    )


def _strict_value(raw: bytes) -> Any:
    return strictjson.loads(raw, prefix="manifest", max_string=MAX_STRING_CHARS, floats=False)
