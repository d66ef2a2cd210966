"""Whom a release's license wants credited, and how: read off the manifest, for checks, pages and model registries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

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

    @property
    def missing(self) -> tuple[str, ...]:
        """What it lacks to be a credit: who, or where the license is."""
        lacks = [] if self.creators or self.text else ["creator_id"]
        return (*lacks, *([] if self.urls else ["the license's URL (license.text.uri)"]))


def credit_of(manifest: Manifest) -> Credit:
    """The credit that the release asks for. Of a release in shards that were not read, without its single assets."""
    terms = manifest.license
    asked = terms.attribution
    others = sorted(
        {asset.creator_id for asset in manifest.assets if asset.creator_id} - {manifest.creator_id}
    )
    first = [manifest.creator_id] if manifest.creator_id else []
    # A license asks for credit whatever its publisher says; a publisher may ask for it where the license does not.
    is_required = requires_credit(terms.spdx) or any(
        requires_credit(one) for one in {asset.license for asset in manifest.assets if asset.license}
    )
    return Credit(
        release=manifest.release,
        manifest=manifest.digest,
        license=terms.spdx or "none",
        urls=_urls(manifest),
        creators=(*first, *islice(filter(None, others), MAX_CREATORS)),
        text=asked.text if asked and asked.text and asked.text.strip() else None,
        url=asked.url if asked else None,
        is_required=is_required or bool(asked and asked.required),
        is_cut=len(others) > MAX_CREATORS or len(manifest.assets) < manifest.asset_count,
    )


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
