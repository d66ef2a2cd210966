"""Does the manifest say all that an auditor will ask?

These are findings about a signed document that nobody here can change: under `completeness = "warn"` they
warn, under `"require"` they block, under `"off"` they are not asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from databom.model import times
from databom.model.config import Policy
from databom.model.finding import Finding, Severity
from databom.model.manifest import Manifest

SEVERITY = {"warn": Severity.WARN, "require": Severity.BLOCK}


def check_completeness(manifest: Manifest, policy: Policy, now: datetime) -> Iterator[Finding]:
    """`manifest.incomplete`, `manifest.future` and `manifest.unknown` (info)."""
    if (severity := SEVERITY.get(policy.completeness)) and (missing := list(_missing(manifest, policy))):
        yield Finding(
            "manifest.incomplete",
            severity,
            manifest.release,
            f"the manifest does not say: {', '.join(missing)}",
            expected="issued_at, creator_id, a size for every asset, a transaction id for every payment",
            found=f"{', '.join(missing)} missing",
            do="ask the marketplace to state them in its next release",
        )
    if manifest.issued_at is not None and manifest.issued_at > now + times.CLOCK_SKEW:
        yield Finding(
            "manifest.future",
            Severity.BLOCK,
            manifest.release,
            "the manifest says it was issued in the future",
            expected=f"issued_at before {times.format(now + times.CLOCK_SKEW)}",
            found=times.format(manifest.issued_at),
            do="check this machine's clock; if it is right, ask the marketplace",
        )
    if manifest.unknown:
        shown = ", ".join(manifest.unknown[:10])
        yield Finding(
            "manifest.unknown",
            Severity.INFO,
            manifest.release,
            f"fields this release of databom does not know: {shown}"
            + (f" and {len(manifest.unknown) - 10} more" if len(manifest.unknown) > 10 else ""),
            do="nothing: they are kept, and the signature covers them",
        )


def _missing(manifest: Manifest, policy: Policy) -> Iterator[str]:
    if manifest.issued_at is None:
        yield "issued_at"
    if manifest.creator_id is None:
        yield "creator_id"
    if manifest.total_bytes is None:
        count = sum(1 for asset in manifest.assets if asset.size is None)
        yield f"the size of {count} asset{'' if count == 1 else 's'}"
    payment = manifest.payment
    # Where the policy asks about payment, `payment.missing` says it.
    if (
        policy.payment == "off"
        and payment is not None
        and payment.model != "free"
        and not payment.transaction_id
    ):
        yield "the payment's transaction id"
