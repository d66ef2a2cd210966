"""Proofs: signed statements about one manifest that a team keeps beside it (`provenance/evidence/<name>/`).

A receipt, a consent, a redaction record, an approval, a waiver, a revocation: each is an in-toto Statement v1 whose one
subject is the manifest, by digest. Here is what they say once their signature has been verified; who verified it is
`databom.trust.proof`, and what a proof is good for is the checks' to decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field

from databom.model.finding import Finding
from databom.model.receipts import Receipt


class Kind(NamedTuple):
    """A kind of proof: its short name, which roles of the trust root may make one, and what one that is none is."""

    name: str
    roles: tuple[str, ...]
    code: str


KINDS: Mapping[str, Kind] = {
    "urn:databom:payment-receipt:v1": Kind("payment", ("payment",), "payment.invalid"),
    "urn:databom:consent:v1": Kind("consent", ("consent",), "consent.invalid"),
    "urn:databom:redaction:v1": Kind("redaction", ("steward", "legal"), "redaction.invalid"),
    "urn:databom:approval:v1": Kind("approval", ("legal", "billing", "steward", "mlops"), "approval.invalid"),
    "urn:databom:waiver:v1": Kind("waiver", ("legal", "steward"), "approval.invalid"),
    "urn:databom:revocation:v1": Kind("revocation", ("revocation",), "revocation.invalid"),
}
"""Every kind of proof by its `predicateType`."""


class Proof(Struct, frozen=True):
    """One statement whose signature holds, about one manifest.

    `roles` are those whose threshold its signatures meet, sorted: never empty. `predicate` is the statement's, parsed
    strictly, its members not yet judged.
    """

    kind: str
    file: str
    """Its name in the evidence folder."""
    digest: str
    """`sha256:<hex>` of the file's bytes."""
    manifest: str
    """Digest of the manifest that it is about."""
    roles: tuple[str, ...]
    keyids: tuple[str, ...]
    predicate: Mapping[str, Any]
    form: str = "dsse"
    """`jws` where it is an x402 receipt: the predicate is its payload, and the manifest the one it was kept for."""


class Spent(NamedTuple):
    """Another release that a payment is used for."""

    release: str
    dataset_id: str


class Proofs(Struct, frozen=True):
    """All that is kept for one pin: what holds, and findings about what does not."""

    held: tuple[Proof, ...] = ()
    findings: tuple[Finding, ...] = ()
    unsigned: tuple[Receipt, ...] = ()
    """Evidence of a payment that nobody signed."""
    spent: Mapping[str, tuple[Spent, ...]] = field(default_factory=dict)
    """By transaction id, and for an x402 receipt by its digest: the other releases that it is used for, sorted."""

    def of(self, kind: str) -> Iterator[Proof]:
        """The proofs of one kind, by file name."""
        return (proof for proof in self.held if proof.kind == kind)
