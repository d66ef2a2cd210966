"""May the personal data be here? What scanners saw, held against consents, redaction records and waivers.

An asset in which something was found passes when each kind of it is settled:

1. a **waiver** names the asset's digest: `illustration` and `animal` settle faces, `public-figure` and `not-personal`
   everything. Signed in a role of `[accept] personal_data`, and expiring;
2. a **redaction record** names the digest, and the manifest says what the asset was made from (`redacted_from`). The
   manifest's word alone does not do: the scanner still fires;
3. a **consent** covers it, for the intended purpose, until later than now: a statement signed in the role `consent`, or
   one of the manifest's `consents` that the asset names, whose document is kept beside the pin and has its digest.

What no scanner could see is `pii.unanswered`, unless a waiver `unscanned:<media type>` settles it. A scanner that
failed, or that the policy demands and nobody has, is settled by nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from databom.checks.bounding import shown_bounded
from databom.checks.measuring import shown_path
from databom.errors import InputError, Problem
from databom.model import times
from databom.model.finding import Finding, Severity
from databom.model.text import printable
from databom.scanners.looking import FAILED, Doubt, Seen

if TYPE_CHECKING:
    from databom.checks.scanning import Scan
    from databom.model.config import Config
    from databom.model.manifest import Asset, Consent, Manifest
    from databom.model.proofs import Proof, Proofs

MOST_LISTED = 1_000
"""Assets of a kind that a report lists; one finding counts the rest."""
WAIVABLE: Mapping[str, frozenset[str] | None] = {
    "illustration": frozenset({"face"}),
    "animal": frozenset({"face"}),
    "public-figure": None,
    "not-personal": None,
}
"""What a waiver may say, and which kinds that settles; None: all."""
UNSCANNED = "unscanned:"
_HINT = (
    "ask the publisher for consents; or databom redact; or have legal or a steward waive it (databom approve)"
)


class Personal(NamedTuple):
    """The answer: findings, and the waivers that were used as a report names them."""

    findings: tuple[Finding, ...]
    approvals: tuple[dict[str, Any], ...] = ()


def check_consents(manifest: Manifest, config: Config, now: datetime) -> Iterator[Finding]:
    """`consent.expired` and `consent.missing`, as the manifest itself says; before any asset is fetched."""
    if config.policy.personal_data == "off":
        return
    weight = _weight(config)
    for consent in manifest.consents:
        if consent.expires_at is not None and consent.expires_at <= now:
            yield _expired(_called(consent), consent.expires_at, weight)
    names = {name for consent in manifest.consents for name in _names(consent)}
    lost = sorted({asset.consent for asset in manifest.assets if asset.consent is not None} - names)
    yield from shown_bounded(
        Finding(
            "consent.missing",
            weight,
            printable(name),
            "assets name a consent that the manifest does not have",
            expected="an entry of `consents` of this subject, uri or digest",
            found="none",
            do="ask the publisher for a manifest that has it",
        )
        for name in lost
    )


def check_personal(
    scan: Scan, manifest: Manifest, config: Config, proofs: Proofs, documents: frozenset[str], now: datetime
) -> Personal:
    """What the policy says of what was seen.

    Args:
        scan: what was seen, and by whom.
        manifest: the release.
        config: the policy, and the intended use.
        proofs: what is kept for the pin, signatures verified.
        documents: digests (`sha256:<hex>`) of the consent documents that are kept for the pin.
        now: the time to judge by.
    """
    judge = _Judge(manifest, config, proofs, documents, now)
    findings = [*judge.troubles(), *_who(scan, config)]
    for asset, answer in scan.told:
        if answer.refused is not None:
            findings.append(_unanswered(shown_path(asset.path), answer.refused))
        elif answer.seen is not None:
            findings += judge.hits(asset, answer.seen)
            findings += judge.doubts(asset, answer.seen.doubts)
    return Personal(tuple(shown_bounded(findings, MOST_LISTED)), judge.used())


def _who(scan: Scan, config: Config) -> Iterator[Finding]:
    """Scanners that should have looked and did not."""
    have = {one.name for one in scan.scanners}
    for name in sorted(set(config.policy.scanners) - have):
        what = "the policy demands this scanner, and it is not used here"
        do = "install it, and name it: DATABOM_SCANNERS"
        yield _unanswered(printable(name), what, do)
    for trouble in scan.troubles:
        yield _unanswered("DATABOM_SCANNERS", printable(trouble))


def _weight(config: Config) -> Severity:
    return Severity.BLOCK if config.policy.personal_data == "require" else Severity.WARN


@dataclass(frozen=True, slots=True)
class _Waiver:
    waives: str
    assets: frozenset[str]
    expires_at: datetime
    reason: str
    proof: Proof


@dataclass(frozen=True, slots=True)
class _Covering:
    """A consent statement or a redaction record."""

    assets: frozenset[str] | None
    subject: str | None
    kinds: frozenset[str] | None
    scope: frozenset[str]
    expires_at: datetime | None


class _Judge:
    def __init__(
        self, manifest: Manifest, config: Config, proofs: Proofs, documents: frozenset[str], now: datetime
    ) -> None:
        self._config, self._now, self._documents = config, now, documents
        self._weight = _weight(config)
        self._invalid: list[Finding] = []
        self._waivers: list[_Waiver] = [
            one for proof in proofs.of("waiver") if (one := self._parsed(proof, _waiver)) is not None
        ]
        self._consents: list[_Covering] = [
            one for proof in proofs.of("consent") if (one := self._parsed(proof, _covering)) is not None
        ]
        self._redactions: list[_Covering] = [
            one for proof in proofs.of("redaction") if (one := self._parsed(proof, _covering)) is not None
        ]
        self._entries = {name: consent for consent in manifest.consents for name in _names(consent)}
        self._used: Counter[str] = Counter()

    def troubles(self) -> list[Finding]:
        """Proofs that do not say what a proof of their kind must say."""
        return self._invalid

    def used(self) -> tuple[dict[str, Any], ...]:
        """The waivers that settled something, as a report names them."""
        return tuple(
            {
                "kind": "waiver",
                "waives": waiver.waives,
                "reason": printable(waiver.reason, 1000),
                "file": printable(waiver.proof.file),
                "digest": waiver.proof.digest,
                "roles": list(waiver.proof.roles),
                "keyids": list(waiver.proof.keyids),
                "expires_at": times.format(waiver.expires_at),
                "assets": self._used[waiver.proof.digest],
            }
            for waiver in sorted(self._waivers, key=lambda one: one.proof.file)
            if self._used[waiver.proof.digest]
        )

    # --- what was found -----------------------------------------------------------------------

    def hits(self, asset: Asset, seen: Seen) -> Iterator[Finding]:
        if not seen.hits:
            return
        left, ways = set(seen.hits), []
        for waiver in self._valid_waivers(asset):
            kinds = WAIVABLE.get(waiver.waives, frozenset())
            settled = left if kinds is None else left & kinds
            if settled:
                ways.append(f"waived as {waiver.waives} ({printable(waiver.proof.file)})")
                self._used[waiver.proof.digest] += 1
                left -= settled
        if left and asset.redacted_from is not None:
            for record in self._redactions:
                settled = left & record.kinds if record.kinds is not None else left
                if settled and self._is_about(record, asset) and self._is_current(record.expires_at):
                    ways.append("a signed redaction record")
                    left -= settled
        consent = self._consent(asset)
        if left and consent is _HELD:
            ways.append("a consent")
            left = set()
        found = f"{_counted(seen)} in sha256:{asset.sha256}"
        subject = shown_path(asset.path)
        if not left:
            yield Finding(
                "pii.settled", Severity.INFO, subject, f"personal data: {', '.join(ways)}", found=found
            )
            return
        lapsed = any(self._names_asset(one, asset) for one in self._waivers)
        what = f"personal data that nothing covers: {', '.join(sorted(left))}"
        what += "; a waiver for it has expired, or its role may not waive" if lapsed else ""
        yield Finding(
            "pii.found",
            self._weight,
            subject,
            what,
            expected="a consent, a redaction record or a waiver",
            found=found,
            do=_HINT,
        )
        if isinstance(consent, Finding):
            yield consent

    def _consent(self, asset: Asset) -> Finding | str | None:
        """`_HELD`, why the consent that is claimed is none, or None where none is claimed."""
        subject = shown_path(asset.path)
        expired: datetime | None = None
        for one in self._consents:
            if self._is_about(one, asset) and self._allows(one.scope):
                if self._is_current(one.expires_at):
                    return _HELD
                expired = one.expires_at
        entry = self._entries.get(asset.consent or "")
        if entry is not None:
            if entry.expires_at is not None and entry.expires_at <= self._now:
                expired = entry.expires_at
            elif not self._allows(frozenset(entry.scope)):
                return self._missing(
                    subject, entry, f"for {self._config.use.purpose}", ", ".join(entry.scope) or "none"
                )
            elif entry.sha256 is None or f"sha256:{entry.sha256}" not in self._documents:
                digest = f"sha256:{entry.sha256}" if entry.sha256 else "a digest in the manifest"
                return self._missing(subject, entry, f"its document, {digest}", "not kept beside the pin")
            else:
                return _HELD
        if expired is not None:
            return _expired(subject, expired, self._weight)
        return None

    def _missing(self, subject: str, entry: Consent, expected: str, found: str) -> Finding:
        return Finding(
            "consent.missing",
            self._weight,
            subject,
            f"the consent {printable(_called(entry))} is claimed, and not shown",
            expected=printable(expected),
            found=printable(found),
            do="put the document into provenance/evidence/NAME/consents/, or attach a signed consent",
        )

    def _allows(self, scope: frozenset[str]) -> bool:
        purpose = self._config.use.purpose
        fits = scope & {purpose, f"ai-{purpose}", "all", "ai-all"}
        return bool(fits) and not (self._config.use.commercial and "non-commercial" in scope)

    # --- what nobody saw ----------------------------------------------------------------------

    def doubts(self, asset: Asset, doubts: tuple[Doubt, ...]) -> Iterator[Finding]:
        subject = shown_path(asset.path)
        left: list[Doubt] = []
        ways: list[str] = []
        for doubt in doubts:
            waiver = None if doubt.why == FAILED else self._unscanned(asset, doubt.media_type)
            if waiver is None:
                left.append(doubt)
                continue
            way = f"waived as {printable(waiver.waives)} ({printable(waiver.proof.file)})"
            if way not in ways:
                ways.append(way)
                self._used[waiver.proof.digest] += 1
        if left:
            more = f"; and {len(left) - 1} more" if len(left) > 1 else ""
            what, do = f"{left[0].what}{more}", _advice(left[0])
            if self._weight is Severity.BLOCK or any(doubt.why == FAILED for doubt in left):
                yield _unanswered(subject, what, do)
            else:
                yield Finding("pii.unscanned", Severity.WARN, subject, what, do=do)
        elif ways:
            yield Finding("pii.settled", Severity.INFO, subject, f"not scanned: {', '.join(ways)}")

    def _unscanned(self, asset: Asset, media_type: str) -> _Waiver | None:
        for waiver in self._waivers:
            if not self._counts(waiver) or (waiver.assets and f"sha256:{asset.sha256}" not in waiver.assets):
                continue
            if waiver.waives == f"{UNSCANNED}{media_type}" or (
                waiver.waives == "not-personal" and waiver.assets
            ):
                return waiver
        return None

    # --- proofs -------------------------------------------------------------------------------

    def _valid_waivers(self, asset: Asset) -> Iterator[_Waiver]:
        return (one for one in self._waivers if self._names_asset(one, asset) and self._counts(one))

    @staticmethod
    def _names_asset(waiver: _Waiver, asset: Asset) -> bool:
        return f"sha256:{asset.sha256}" in waiver.assets

    def _counts(self, waiver: _Waiver) -> bool:
        return waiver.expires_at > self._now and not set(waiver.proof.roles).isdisjoint(
            self._config.accept.personal_data
        )

    def _is_current(self, expires_at: datetime | None) -> bool:
        return expires_at is None or expires_at > self._now

    @staticmethod
    def _is_about(one: _Covering, asset: Asset) -> bool:
        if one.assets is not None:
            return f"sha256:{asset.sha256}" in one.assets
        return one.subject is None or one.subject == asset.consent

    def _parsed(self, proof: Proof, parse: Any) -> Any:
        try:
            return parse(proof)
        except (InputError, ValueError, TypeError, KeyError) as error:
            what = f"the {proof.kind} does not say what it must: {error}"
            do = "ask whoever signed it for another one"
            problem = Problem(f"{proof.kind}.invalid", printable(proof.file), printable(what), do=do)
            self._invalid.append(Finding.of(problem))
            return None


_HELD = "held"


def _waiver(proof: Proof) -> _Waiver:
    said = proof.predicate
    waives = said["waives"]
    if waives not in WAIVABLE and not (isinstance(waives, str) and waives.startswith(UNSCANNED)):
        raise ValueError(f"waives is one of {', '.join(WAIVABLE)} or {UNSCANNED}<media type>")
    assets = _digests(said.get("assets", []))
    if not assets and waives in WAIVABLE:
        raise ValueError("assets lists the digests that are waived")
    reason = said.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError("reason says why")
    return _Waiver(waives, assets, times.parse(said["expires_at"]), reason, proof)


def _covering(proof: Proof) -> _Covering:
    said = proof.predicate
    assets, subject, kinds, expires_at = (
        said.get(name) for name in ("assets", "subject", "kinds", "expires_at")
    )
    if proof.kind == "redaction" and assets is None:
        raise ValueError("assets lists the digests of what was redacted")
    if subject is not None and not isinstance(subject, str):
        raise ValueError("subject is a text")
    return _Covering(
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
    if any(not one.startswith("sha256:") or len(one) != 71 for one in found):
        raise ValueError("assets are digests, sha256:<hex>")
    return found


def _names(consent: Consent) -> Iterator[str]:
    """What an asset may call a consent by."""
    digest = consent.sha256
    for name in (consent.subject, consent.uri, digest, f"sha256:{digest}" if digest else None):
        if name:
            yield name


def _called(consent: Consent) -> str:
    return printable(next(_names(consent), "without a name"))


def _expired(subject: str, when: datetime, weight: Severity) -> Finding:
    return Finding(
        "consent.expired",
        weight,
        subject,
        "the consent has expired",
        expected="one that holds now",
        found=f"until {times.format(when)}",
        do="ask the publisher for a renewed consent, or for a release without this data",
    )


def _counted(seen: Seen) -> str:
    return ", ".join(
        f"{kind} {count:,}" + (f" ({score:.2f})" if score < 1 else "")
        for kind, (count, score) in sorted(seen.hits.items())
    )


def _unanswered(subject: str, what: str, do: str | None = None) -> Finding:
    return Finding(
        "pii.unanswered", Severity.BLOCK, subject, what, do=do or "run it again; then look at the scanner"
    )


def _advice(doubt: Doubt) -> str:
    from databom.scanners import media, versions

    if doubt.why == FAILED:
        return "run it again; if it repeats, tell the scanner's developers"
    if media.is_picture(doubt.media_type) and versions.pictures() is None:
        return "pip install 'databom[pii]'"
    return f"add a scanner that can (DATABOM_SCANNERS), or have it waived: {UNSCANNED}{doubt.media_type}"
