"""Whom a release's license wants credited, and how: read off the manifest, for checks, pages and model registries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from databom.model.assets import MAX_ASSETS
from databom.model.licenses import url_of

if TYPE_CHECKING:
    from databom.model.manifest import Manifest

_ID = re.compile(r"[A-Za-z0-9.+:-]+")
_OPERATORS = frozenset({"AND", "OR", "WITH"})
_FREE = frozenset(
    name.casefold()
    for name in (
        "0BSD",
        "CC-PDDC",
        "CC-PDM-1.0",
        "CC0-1.0",
        "DL-DE-ZERO-2.0",
        "MIT-0",
        "PDDL-1.0",
        "Unlicense",
    )
)
"""Licenses that ask for no credit."""
MAX_CREATORS = 10_000
"""Creators of single assets that are looked at; a release with more says how many assets it has."""


@dataclass(frozen=True, slots=True)
class Credit:
    """The credit of one release. Texts are as signed: they are made safe where they are shown."""

    release: str
    manifest: str
    license: str
    urls: tuple[str, ...]
    """Where the license, or each license of its expression, can be read."""
    creators: tuple[str, ...]
    """The release's creator first, then those of single assets, each once."""
    text: str | None
    """What the publisher asks to be said."""
    url: str | None
    is_required: bool
    is_cut: bool = False
    """Whether there are more creators than these."""


def credit_of(manifest: Manifest) -> Credit:
    """The credit that the release asks for.

    Single assets are not looked at where their shards were not read, or they are more than a check holds at once.
    """
    terms = manifest.license
    creators: set[str] = set()
    licenses: set[str | None] = {terms.spdx}
    is_looked_at = manifest.is_complete and manifest.asset_count <= MAX_ASSETS
    for asset in manifest.assets if is_looked_at else ():
        if asset.creator_id is not None:
            creators.add(asset.creator_id)
        if asset.license is not None:
            licenses.add(asset.license)
    others = sorted(creators - {manifest.creator_id or ""})
    first = [manifest.creator_id] if manifest.creator_id else []
    asked = terms.attribution
    return Credit(
        release=manifest.release,
        manifest=manifest.digest,
        license=terms.spdx or "none",
        urls=_urls(manifest),
        creators=(*first, *others[:MAX_CREATORS]),
        text=_said(manifest),
        url=asked.url if asked else None,
        is_required=_is_asked(manifest) or any(map(requires_credit, licenses)),
        is_cut=len(others) > MAX_CREATORS or not is_looked_at,
    )


def missing_credit(manifest: Manifest) -> tuple[str, ...]:
    """What keeps the release from being credited as its license asks: who, or where the license is. () where nothing.

    Assets are looked at only where the release itself does not answer: there may be a million of them.
    """
    is_required = requires_credit(manifest.license.spdx) or _is_asked(manifest)
    if not is_required and not any(
        asset.license and requires_credit(asset.license) for asset in manifest.assets
    ):
        return ()
    is_named = manifest.creator_id or _said(manifest) or any(asset.creator_id for asset in manifest.assets)
    lacks = () if is_named else ("creator_id",)
    return (*lacks, *(() if _urls(manifest) else ("the license's URL (license.text.uri)",)))


def _is_asked(manifest: Manifest) -> bool:
    """Whether the publisher asks for credit; a license may ask for it whatever its publisher says."""
    return bool(manifest.license.attribution and manifest.license.attribution.required)


def _said(manifest: Manifest) -> str | None:
    asked = manifest.license.attribution
    return asked.text if asked and asked.text and asked.text.strip() else None


def requires_credit(expression: str | None) -> bool:
    """Whether a license asks for credit: every license does, unless all of its expression are known not to."""
    return not expression or not all(name.casefold() in _FREE for name in _names(expression))


def _names(expression: str) -> list[str]:
    return [name for name in _ID.findall(expression) if name not in _OPERATORS] or [expression]


def _urls(manifest: Manifest) -> tuple[str, ...]:
    stated = manifest.license.text.uri if manifest.license.text else None
    if stated and stated.startswith(("https://", "http://")):
        return (stated,)
    found = (url_of(name) for name in _names(manifest.license.spdx or ""))
    return tuple(dict.fromkeys(url for url in found if url))
