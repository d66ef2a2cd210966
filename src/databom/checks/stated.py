"""Is a license stated at all? All that `databom verify` asks about it.

Verifying asks who signed and whether the bytes are right. Whether the license permits the use is judged in `license`.
"""

from __future__ import annotations

from collections.abc import Iterator

from databom.model.finding import Finding, Severity
from databom.model.manifest import Manifest
from databom.model.text import printable


def check_stated(manifest: Manifest) -> Iterator[Finding]:
    """`license.missing` where the manifest states none: "nothing was said" is no permission."""
    stated = manifest.license.spdx
    if stated is None or not stated.strip():
        yield Finding(
            "license.missing",
            Severity.BLOCK,
            manifest.release,
            "the manifest states no license",
            expected="license.spdx, an SPDX license expression",
            found="none",
            do="ask the marketplace under which license it sells this release",
        )


def not_judged(manifest: Manifest) -> Iterator[Finding]:
    """`license.missing` (block), else `license.not-judged` (info)."""
    missing = list(check_stated(manifest))
    yield from missing
    if not missing:
        yield Finding(
            "license.not-judged",
            Severity.INFO,
            manifest.release,
            "license, payment and consent were not judged: verifying asks who signed and if the bytes are right",
            found=printable(manifest.license.spdx or ""),
            do="databom check judges every pin by [use] and [policy] of databom.toml",
        )
