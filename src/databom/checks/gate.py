"""May it be used so? Not judged yet: this release records license, payment and consent, and says so.

A manifest that states no license at all is refused all the same: "nothing was said" can never be recorded as
a permission.
"""

from __future__ import annotations

from collections.abc import Iterator

from databom.model.finding import Finding, Severity
from databom.model.manifest import Manifest
from databom.model.text import printable


def check_gate(manifest: Manifest) -> Iterator[Finding]:
    """`license.missing` (block), else `license.not-judged` (info)."""
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
        return
    yield Finding(
        "license.not-judged",
        Severity.INFO,
        manifest.release,
        "license, payment and consent are recorded, not judged: this version of databom has no gate for them",
        found=printable(stated),
        do="have legal compare the license with [use] in databom.toml",
    )
