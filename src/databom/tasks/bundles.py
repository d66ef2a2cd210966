"""OpenSSF Model Signing bundles: judged like a manifest, as far as one says anything."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from databom.model import times
from databom.model.config import Config
from databom.model.finding import Finding, Severity
from databom.model.manifest import MAX_MANIFEST_BYTES
from databom.storage.location import Location
from databom.storage.reader import read_document
from databom.tasks.believing import Believed
from databom.tasks.judging import Judged
from databom.trust.oms import open_bundle


def judge_bundle(
    location: Location, believed: Believed, *, config: Config | None, now: datetime | None = None
) -> Judged:
    """Fetch a bundle and decide whether it is believed.

    A bundle states no license, no payment and no creator: that is one warning (`license.missing`), and no bundle
    can be pinned.

    Raises:
        StorageError: it could not be had.
    """
    raw = read_document(location, limit=MAX_MANIFEST_BYTES)
    now = times.or_now(now)
    digest = config.policy_digest if config else None
    if believed.root is None:
        return Judged(None, believed, believed.findings, (), digest)
    opened = open_bundle(raw, believed.root, now=now)
    doubts = [*believed.findings, *opened.findings]
    if believed.also is not None:
        narrower = open_bundle(raw, believed.also, now=now)
        doubts += [
            replace(one, what=f"by the user's own trust root: {one.what}") for one in narrower.findings
        ]
    policy = () if opened.manifest is None else (_silent(opened.manifest.release),)
    return Judged(opened.manifest, believed, tuple(doubts), policy, digest, opened.keyids, opened.marketplace)


def _silent(release: str) -> Finding:
    return Finding(
        "license.missing",
        Severity.WARN,
        release,
        "a bundle says which files were signed, and nothing of license, payment or creator",
        expected="a manifest",
        found="an OpenSSF Model Signing bundle",
        do="ask the publisher for a manifest before you train on this; a bundle cannot be pinned",
    )
