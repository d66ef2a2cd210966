"""Whom a release's license wants credited, and how: read off the manifest, for checks, pages and model registries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from databom.model.assets import MAX_ASSETS
from databom.model.licenses import url_of

if TYPE_CHECKING:
    from databom.model.manifest import Manifest

_ID = re.compile(r"[A-Za-z0-9.+:-]+")
_OPERATORS = frozenset({"AND", "OR", "WITH"})
MAX_CREATORS = 10_000
"""Creators of single assets that are looked at; a release with more says how many assets it has."""


class Credit(Struct, frozen=True):
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

    @property
    def missing(self) -> tuple[str, ...]:
        """What it lacks to be a credit: who, or where the license can be read."""
        lacks = () if self.creators or self.text else ("creator_id",)
        return (*lacks, *(() if self.urls else ("the license's URL (license.text.uri)",)))


def credit_of(manifest: Manifest, *, is_required: bool, urls: tuple[str, ...] = ()) -> Credit:
    """The credit of a release; `is_required` says whether its licenses ask for it, `urls` where else they can be read.

    Single assets are not looked at where their shards were not read, or they are more than a check holds at once.
    """
    is_looked_at = manifest.is_complete and manifest.asset_count <= MAX_ASSETS
    assets = manifest.assets if is_looked_at else ()
    others = sorted({one.creator_id for one in assets if one.creator_id is not None} - {manifest.creator_id})
    first = [manifest.creator_id] if manifest.creator_id else []
    asked = manifest.license.attribution
    return Credit(
        release=manifest.release,
        manifest=manifest.digest,
        license=manifest.license.spdx or "none",
        urls=_urls(manifest) or urls,
        creators=(*first, *others[:MAX_CREATORS]),
        text=_said(manifest),
        url=asked.url if asked else None,
        is_required=is_required,
        is_cut=len(others) > MAX_CREATORS or not is_looked_at,
    )


def has_credit(manifest: Manifest) -> bool:
    """Whether the manifest says whom to credit, and where its license can be read; whether it must is not asked.

    Assets are looked at only where the release itself names nobody: there may be a million of them.
    """
    is_named = manifest.creator_id or _said(manifest) or any(asset.creator_id for asset in manifest.assets)
    return bool(is_named and _urls(manifest))


def _said(manifest: Manifest) -> str | None:
    asked = manifest.license.attribution
    return asked.text if asked and asked.text and asked.text.strip() else None


def _names(expression: str) -> list[str]:
    return [name for name in _ID.findall(expression) if name not in _OPERATORS] or [expression]


def _urls(manifest: Manifest) -> tuple[str, ...]:
    stated = manifest.license.text.uri if manifest.license.text else None
    if stated and stated.startswith(("https://", "http://")):
        return (stated,)
    found = (url_of(name) for name in _names(manifest.license.spdx or ""))
    return tuple(dict.fromkeys(url for url in found if url))
