"""Licenses as other formats state them, by URL or by name, as SPDX license expressions."""

from __future__ import annotations

import hashlib
import re

from databom.model.claims import MAX_EXPRESSION_CHARS, UNSEEN

_SPDX_URL = re.compile(r"https?://(?:www\.)?spdx\.org/licenses/([A-Za-z0-9.+-]+?)(?:\.(?:html|json))?/?")
_CC_URL = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-sa|-nd)?)/(1\.0|2\.0|2\.5|3\.0|4\.0)"
    r"|publicdomain/(zero|mark)/1\.0)(?:/(?:legalcode|deed)(?:\.[a-z-]+)?)?/?"
)
_CC_ID = re.compile(r"CC-(BY(?:-NC)?(?:-SA|-ND)?)-(1\.0|2\.0|2\.5|3\.0|4\.0)", re.IGNORECASE)
_PUBLIC = {"cc0-1.0": "zero", "cc-pdm-1.0": "mark"}
_ID = r"\(?[A-Za-z0-9.+:-]+\)?"
_EXPRESSION = re.compile(rf"{_ID}(?: (?:AND|OR|WITH) {_ID})*")


def spdx_of(stated: str) -> str:
    """The expression for one license: an SPDX or Creative Commons URL by its id, an id or expression as it is.

    Anything else becomes a LicenseRef made of the text, which no table permits by itself. Whether an id exists
    is not asked here.
    """
    if match := _SPDX_URL.fullmatch(stated):
        return match[1]
    if match := _CC_URL.fullmatch(stated):
        if match[3]:
            return "CC0-1.0" if match[3] == "zero" else "CC-PDM-1.0"
        return f"CC-{match[1].upper()}-{match[2]}"
    if len(stated) <= MAX_EXPRESSION_CHARS and _EXPRESSION.fullmatch(stated) and not UNSEEN.search(stated):
        return stated
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", stated.partition("://")[2] or stated)[:60].strip("-")
    # Two texts may make one slug; the digest keeps their references apart.
    return f"LicenseRef-{slug or 'stated'}-{hashlib.sha256(stated.encode()).hexdigest()[:8]}"


def url_of(name: str) -> str | None:
    """Where the text of a license can be read, by its SPDX id; None for a LicenseRef, whose text is anybody's."""
    plain = name.removesuffix("+")
    if not plain or ":" in plain or plain.startswith(("LicenseRef-", "AdditionRef-")):
        return None
    if plain.casefold() in ("none", "noassertion"):
        return None
    if match := _CC_ID.fullmatch(plain):
        kind, version = match[1].lower(), match[2]
        return f"https://creativecommons.org/licenses/{kind}/{version}/"
    if plain.casefold() in _PUBLIC:
        return f"https://creativecommons.org/publicdomain/{_PUBLIC[plain.casefold()]}/1.0/"
    return f"https://spdx.org/licenses/{plain}.html"
