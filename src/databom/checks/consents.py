"""What consents and redaction records say once their signatures have been verified, and what waivers are good for.

    consent    {"assets": ["sha256:…"], "subject": "…", "scope": ["train"], "expires_at": "…"}
    redaction  {"assets": ["sha256:…"], "kinds": ["face"]}

Of a consent all but `scope` may be absent, of a redaction record `kinds`. `uri` and `sha256`, as in a manifest's
`consents`, say where a consent is written down, and are not looked at; any other member is refused. What a waiver says
is in `databom.model.approvals`, and which of them hold in `databom.checks.approvals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from databom.errors import Problem
from databom.model import times
from databom.model.approvals import UNSCANNED
from databom.model.finding import Finding, Severity
from databom.model.text import printable

if TYPE_CHECKING:
    from databom.model.approvals import Waiver
    from databom.model.config import Config
    from databom.model.manifest import Asset, Consent
    from databom.model.proofs import Proof, Proofs

WAIVABLE: Mapping[str, frozenset[str] | None] = {
    "illustration": frozenset({"face"}),
    "animal": frozenset({"face"}),
    "public-figure": None,
    "not-personal": None,
}
"""Which kinds a waiver settles, by what it says; None: all."""
_DIGEST_CHARS = 71
_MEMBERS = {
    "consent": frozenset({"assets", "subject", "scope", "expires_at", "uri", "sha256"}),
    "redaction": frozenset({"assets", "kinds", "expires_at"}),
}
"""Each narrows what a statement covers, so one with a typo would cover more than was meant."""


class Covering(Struct, frozen=True):
    """A consent or a redaction record."""

    assets: frozenset[str] | None
    subject: str | None
    kinds: frozenset[str] | None
    scope: frozenset[str]
    expires_at: datetime | None

    def is_about(self, asset: Asset) -> bool:
        """Whether it is about the asset: by digest, else by the consent that the asset names, else about all."""
        if self.assets is not None:
            return f"sha256:{asset.sha256}" in self.assets
        return self.subject is None or self.subject == asset.consent

    def is_current(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or self.expires_at > now


class Statements:
    """The consents and redaction records kept for a pin; and findings about those that do not say what they must."""

    def __init__(self, proofs: Proofs) -> None:
        self.invalid: list[Finding] = []
        self.consents = list(self._read(proofs, "consent"))
        self.redactions = list(self._read(proofs, "redaction"))

    def _read(self, proofs: Proofs, kind: str) -> Iterator[Covering]:
        for proof in proofs.of(kind):
            try:
                yield _covering(proof)
            except (ValueError, TypeError) as error:
                what = f"the {kind} does not say what it must: {error}"
                do = "ask whoever signed it for another one"
                problem = Problem(f"{kind}.invalid", printable(proof.file), printable(what), do=do)
                self.invalid.append(Finding.of(problem))


def _covering(proof: Proof) -> Covering:
    said = proof.predicate
    if unknown := sorted(said.keys() - _MEMBERS[proof.kind]):
        raise ValueError(f"it has a member that no {proof.kind} has, {unknown[0]!r}")
    assets, subject, kinds, expires_at = (
        said.get(name) for name in ("assets", "subject", "kinds", "expires_at")
    )
    if proof.kind == "redaction" and assets is None:
        raise ValueError("assets lists the digests of what was redacted")
    if subject is not None and not isinstance(subject, str):
        raise ValueError("subject is a text")
    return Covering(
        None if assets is None else _digests(assets),
        subject,
        None if kinds is None else _texts(kinds, "kinds"),
        _texts(said.get("scope", []), "scope"),
        None if expires_at is None else times.parse(expires_at),
    )


def _texts(value: object, name: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} is a list of texts")
    return frozenset(value)


def _digests(value: object) -> frozenset[str]:
    found = _texts(value, "assets")
    if any(not one.startswith("sha256:") or len(one) != _DIGEST_CHARS for one in found):
        raise ValueError("assets are digests, sha256:<hex>")
    return found


# --- the manifest's own ---------------------------------------------------------------------------------


def names_of(consent: Consent) -> Iterator[str]:
    """What an asset may call one of the manifest's consents by."""
    digest = consent.sha256
    for name in (consent.subject, consent.uri, digest, f"sha256:{digest}" if digest else None):
        if name:
            yield name


def called(consent: Consent) -> str:
    """What a message calls one of the manifest's consents."""
    return printable(next(names_of(consent), "without a name"))


def allows(scope: frozenset[str], config: Config) -> bool:
    """Whether a consent of this scope is for the intended use."""
    purpose = config.use.purpose
    fits = scope & {purpose, f"ai-{purpose}", "all", "ai-all"}
    return bool(fits) and not (config.use.commercial and "non-commercial" in scope)


def expired(subject: str, when: datetime, weight: Severity) -> Finding:
    """`consent.expired`."""
    return Finding(
        "consent.expired",
        weight,
        subject,
        "the consent has expired",
        expected="one that holds now",
        found=f"until {times.format(when)}",
        do="ask the publisher for a renewed consent, or for a release without this data",
    )


def not_shown(subject: str, consent: Consent, expected: str, found: str, weight: Severity) -> Finding:
    """`consent.missing` of a consent that the asset names and the manifest has."""
    return Finding(
        "consent.missing",
        weight,
        subject,
        f"the consent {called(consent)} is claimed, and not shown",
        expected=printable(expected),
        found=printable(found),
        do="put the document into provenance/evidence/NAME/consents/, or attach a signed consent",
    )


# --- waivers --------------------------------------------------------------------------------------------


def settled_by(waiver: Waiver, asset: Asset, kinds: frozenset[str]) -> frozenset[str]:
    """Which of the kinds that were found in an asset a waiver settles."""
    if waiver.waives not in WAIVABLE or f"sha256:{asset.sha256}" not in waiver.assets:
        return frozenset()
    waived = WAIVABLE[waiver.waives]
    return kinds if waived is None else kinds & waived


def lets_be(waiver: Waiver, asset: Asset, media_type: str) -> bool:
    """Whether, by a waiver, nobody needs to look into an asset of this media type."""
    is_named = f"sha256:{asset.sha256}" in waiver.assets
    if waiver.waives == f"{UNSCANNED}{media_type}":
        return is_named or not waiver.assets
    return waiver.waives == "not-personal" and is_named


def record(proof: Proof, waiver: Waiver, settled: list[tuple[str, str]]) -> dict[str, Any]:
    """What a report says of a waiver that settled these (code, subject)."""
    return {
        "kind": proof.kind,
        "waives": waiver.waives,
        "file": printable(proof.file),
        "digest": proof.digest,
        "roles": list(proof.roles),
        "keyids": list(proof.keyids),
        "settles": [{"code": code, "subject": subject} for code, subject in settled],
        "reason": printable(waiver.reason, 300),
        "expires_at": times.format(waiver.expires),
    }
