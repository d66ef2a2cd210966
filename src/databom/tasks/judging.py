"""What every verb asks of a manifest before it looks at a single asset.

The order is fixed, and the same in the docs:

1. the bytes are strict JSON and a manifest (`manifest.*`);
2. whoever signed them may speak for this dataset, now (`signature.*`, `trust.*`); then, of a large release, its shards
   are what was signed, and together a release (`integrity.*`, `manifest.*`);
3. it is the release that was asked for, and history does not contradict it (`release.*`);
4. it says enough (`manifest.incomplete`, `attribution.missing`, `license.missing`).

Whether policy allows the use is asked by who is about to use it (`databom.tasks.gatekeeping`).

A refusal in 1-3 means the document is not believed, and nothing may be written on its word. A refusal in 4 is
about a believed document.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.attribution import check_attribution
from databom.checks.completeness import check_completeness
from databom.checks.release import check_clock, check_expiry, check_history, check_pin
from databom.checks.stated import not_judged
from databom.errors import InputError, StorageError
from databom.model import times
from databom.model.config import Config, default_config
from databom.model.finding import Finding, Report, Severity, Subject, Summary, findings_of
from databom.model.lock import Lock, Pin, Seen
from databom.model.manifest import Manifest
from databom.tasks.believing import Believed
from databom.tasks.project import Project
from databom.tasks.receiving import Received, kept
from databom.trust.content import content_digest
from databom.trust.opening import open_manifest

REISSUABLE = ("payment", "issued_at", "expires_at")
"""Members in which a re-issue of a release may differ."""


class Judged(Struct, frozen=True):
    """A manifest and every finding about it short of its assets."""

    manifest: Manifest | None
    believed: Believed
    doubts: tuple[Finding, ...]
    """Findings of steps 1-3: about whether the document is believed."""
    policy: tuple[Finding, ...]
    """Findings of step 4: about a believed document."""
    policy_digest: str | None
    keyids: tuple[str, ...] = ()
    marketplace: str | None = None
    approvals: tuple[dict[str, Any], ...] = ()
    """What people accepted of it (`databom.tasks.gatekeeping`)."""

    @property
    def is_believed(self) -> bool:
        """Whether nothing in steps 1-3 blocks."""
        return self.manifest is not None and self.manifest.is_complete and not self.is_doubted

    @property
    def is_doubted(self) -> bool:
        """Whether a finding of steps 1-3 blocks."""
        return any(f.severity is Severity.BLOCK for f in self.doubts)

    def report(
        self, name: str | None, findings: tuple[Finding, ...] = (), summary: Summary | None = None
    ) -> Report:
        """A report over this judgement and `findings` about the assets."""
        manifest = self.manifest
        subject = Subject(name)
        if manifest is not None:
            subject = Subject(name, manifest.release, manifest.digest, manifest.tree or None)
        return Report(
            subject=subject,
            findings=(*self.doubts, *self.policy, *findings),
            summary=summary or Summary(assets=manifest.asset_count if manifest else 0),
            trust=self.believed.digest,
            policy=self.policy_digest,
            approvals=self.approvals,
        )


def judge(
    received: Received,
    believed: Believed,
    *,
    config: Config | None,
    pin: Pin | None = None,
    seen: Seen | None = None,
    now: datetime | None = None,
) -> Judged:
    """Run steps 1-4 over a manifest and what stands beside it.

    Args:
        received: the manifest exactly as received, and its signatures.
        believed: the trust root in force.
        config: the project's decisions; None judges by `init`'s default policy.
        pin: when the manifest is one that was pinned, the pin.
        seen: what the project has seen of this dataset; pass None for a kept manifest that `pin` fixes.
        now: the time to judge by; the clock's by default.
    """
    now = times.or_now(now)
    digest = config.policy_digest if config else None
    try:
        manifest = received.read()
    except InputError as error:
        return Judged(None, believed, (*believed.findings, *findings_of(error)), (), digest)
    opened = _open(manifest, received, believed, now)
    if not manifest.is_complete and not opened.is_doubted:
        # Only now: nothing that an unsigned document names is fetched or read.
        try:
            manifest = received.complete(manifest)
        except (InputError, StorageError) as error:
            return replace(opened, doubts=(*opened.doubts, *findings_of(error)), policy_digest=digest)
        opened = _open(manifest, received, believed, now)
    if not manifest.is_complete:
        return replace(opened, policy_digest=digest)
    doubts = list(opened.doubts)
    doubts += check_expiry(manifest, now)
    if pin is not None:
        doubts += check_pin(manifest, pin)
    elif seen is not None:
        content, core = content_digests(manifest)
        doubts += check_history(manifest, content, core, seen)
    asked = config or default_config()
    policy = (
        *check_completeness(manifest, asked.policy, now),
        *check_attribution(manifest, asked),
        *not_judged(manifest),
    )
    return replace(opened, doubts=tuple(doubts), policy=policy, policy_digest=digest)


def _open(manifest: Manifest, received: Received, believed: Believed, now: datetime) -> Judged:
    """Step 2: who signed, by the root in force and by the user's own."""
    doubts = list(believed.findings)
    keyids: tuple[str, ...] = ()
    marketplace = None
    if believed.root is not None:
        # The lock's `first_seen` is our own claim and no evidence that a signature is older than its key's end.
        opened = open_manifest(
            manifest, received.envelope, believed.root, now=now, timestamps=received.timestamps
        )
        doubts += opened.findings
        keyids, marketplace = opened.keyids, opened.marketplace
    if believed.also is not None:
        narrower = open_manifest(
            manifest, received.envelope, believed.also, now=now, timestamps=received.timestamps
        )
        doubts += [
            replace(one, what=f"by the user's own trust root: {one.what}") for one in narrower.findings
        ]
    return Judged(manifest, believed, tuple(doubts), (), None, keyids, marketplace)


def judge_pin(
    project: Project,
    name: str,
    believed: Believed,
    *,
    now: datetime | None = None,
    received: Received | None = None,
) -> Judged:
    """Run steps 1-4 over the manifest that is kept for a pin: `received`, if somebody has looked it up.

    Raises:
        StorageError: the kept manifest or envelope is there and cannot be read.
    """
    pin = project.pin(name)
    received = received or kept(project, name)
    if received is None:
        lost = Finding(
            "release.mismatch",
            Severity.BLOCK,
            pin.release,
            "the manifest that was kept for this pin is gone",
            expected=pin.manifest,
            found="no file",
            do=f"git restore provenance/manifests/{name}.json",
        )
        return Judged(None, believed, (*believed.findings, lost), (), project.config.policy_digest)
    now = times.or_now(now)
    judged = judge(received, believed, config=project.config, pin=pin, now=now)
    return replace(judged, doubts=(*judged.doubts, *check_clock(project.lock, now)))


def remember(judged: Judged, lock: Lock) -> Judged:
    """The judgement with what the project has seen of the dataset; of a manifest that a pin fixes, as it is."""
    manifest = judged.manifest
    if manifest is None or any(pin.manifest == manifest.digest for pin in lock.pins.values()):
        return judged
    if (seen := lock.seen.get(manifest.dataset_id)) is None:
        return judged
    history = check_history(manifest, *content_digests(manifest), seen, asked=True)
    return replace(judged, doubts=(*judged.doubts, *history))


def content_digests(manifest: Manifest) -> tuple[str, str]:
    """The content digest, and the same without the members a re-issue may change."""
    return content_digest(manifest), content_digest(manifest, without=REISSUABLE)
