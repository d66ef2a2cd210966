"""Has the license of this very release been taken back?

    revocation  {"issued_at": "2026-11-01T00:00:00Z", "reason": "…"}

is the predicate of `urn:databom:revocation:v1`, signed in the role `revocation`; the statement's subject is the
manifest. A license that was sold as irrevocable is not taken back by a letter: such a notice is a claim. It is recorded
and told, nothing is refused for it, and a person decides (`databom approve`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from databom.model import times
from databom.model.finding import Finding, Severity
from databom.model.manifest import Manifest
from databom.model.proofs import Proof, Proofs
from databom.model.text import printable

CLAIMED = "revocation.claimed"
INVALID = "revocation.invalid"
MEMBERS = ("issued_at", "reason")
MAX_REASON = 2_000


def check_revocations(manifest: Manifest, proofs: Proofs) -> Iterator[Finding]:
    """`revocation.revoked` (block), `.claimed` (warn) where the license is irrevocable, `.invalid` (block)."""
    for proof in proofs.of("revocation"):
        if (doubt := check_notice(proof)) is not None:
            yield doubt
            continue
        when = proof.predicate["issued_at"]
        told = f"{printable(proof.predicate['reason'], 300)} ({printable(proof.file)}, of {when})"
        if manifest.license.revocable is False:
            yield Finding(
                CLAIMED,
                Severity.WARN,
                printable(proof.file),
                f"somebody takes back a license that was given as irrevocable: {told}",
                expected="license.revocable: false, as it was signed",
                found="a notice of revocation",
                do="nothing is refused for it; legal decides: databom approve NAME --settles revocation.claimed …",
            )
            continue
        yield Finding(
            "revocation.revoked",
            Severity.BLOCK,
            printable(proof.file),
            f"the license of this release was taken back: {told}",
            expected="a license that holds",
            found="a notice of revocation",
            do="do not use it any more; move to a release that is not revoked: databom update NAME",
        )


def check_notice(proof: Proof) -> Finding | None:
    """`revocation.invalid` where a notice does not say when it was issued and why, or says what nobody knows."""
    found = _problem(proof.predicate)
    if found is None:
        return None
    return Finding(
        INVALID,
        Severity.BLOCK,
        printable(proof.file),
        f"this is no notice of revocation: {found}",
        expected="issued_at (RFC 3339, UTC, with Z) and reason (text), and nothing else",
        found=printable(", ".join(sorted(map(str, proof.predicate))), 200) or "nothing",
        do="ask whoever signed it for another one",
    )


def _problem(predicate: Mapping[str, Any]) -> str | None:
    if unknown := sorted(set(predicate) - set(MEMBERS)):
        return f"{printable(unknown[0], 60)} is not known"
    reason, issued = predicate.get("reason"), predicate.get("issued_at")
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= MAX_REASON:
        return "it gives no reason"
    try:
        times.parse(issued if isinstance(issued, str) else "")
    except ValueError:
        return "issued_at is no time"
    return None
