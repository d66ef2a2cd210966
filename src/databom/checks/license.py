"""Does the license allow the intended use?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from databom.model.config import Config
from databom.model.finding import Finding, Severity
from databom.model.manifest import Manifest


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


def check_license(manifest: Manifest, config: Config, now: datetime) -> Iterator[Finding]:
    """`license.*`: every license of the release against `[use]` and `[policy]`."""
    del config, now
    yield from check_stated(manifest)
