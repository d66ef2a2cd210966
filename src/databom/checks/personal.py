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

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from databom.checks.approvals import waivers
from databom.checks.bounding import shown_bounded
from databom.checks.consents import (
    Statements,
    allows,
    called,
    expired,
    lets_be,
    names_of,
    not_shown,
    record,
    settled_by,
)
from databom.checks.measuring import shown_path
from databom.model.approvals import UNSCANNED, Waiver
from databom.model.finding import Finding, Severity
from databom.model.text import printable
from databom.scanners import media, versions
from databom.scanners.looking import FAILED, Doubt, Seen

if TYPE_CHECKING:
    from databom.checks.scanning import Scan
    from databom.model.config import Config
    from databom.model.manifest import Asset, Consent, Manifest
    from databom.model.proofs import Proof, Proofs

MOST_LISTED = 1_000
"""Assets of a kind that a report lists; one finding counts the rest."""
_HINT = (
    "ask the publisher for consents; or databom redact; or have legal or a steward waive it (databom approve)"
)
_HELD = "held"


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
            yield expired(called(consent), consent.expires_at, weight)
    names = {name for consent in manifest.consents for name in names_of(consent)}
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
    findings = [*judge.statements.invalid, *_who(scan, config)]
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


class _Judge:
    """One release's assets, judged one by one."""

    def __init__(
        self, manifest: Manifest, config: Config, proofs: Proofs, documents: frozenset[str], now: datetime
    ) -> None:
        self.statements = Statements(proofs)
        self._config, self._now, self._documents = config, now, documents
        self._weight = _weight(config)
        self._waivers = waivers(proofs, config, now)
        self._entries: dict[str, list[Consent]] = {}
        for entry in manifest.consents:
            for name in names_of(entry):
                self._entries.setdefault(name, []).append(entry)
        self._used: dict[str, list[tuple[str, str]]] = {}

    def used(self) -> tuple[dict[str, Any], ...]:
        """The waivers that settled something, as a report names them."""
        return tuple(
            record(proof, waiver, self._used[proof.file][:MOST_LISTED])
            for proof, waiver in sorted(self._waivers, key=lambda one: one[0].file)
            if proof.file in self._used
        )

    def _use(self, proof: Proof, waiver: Waiver, code: str, subject: str) -> str:
        self._used.setdefault(proof.file, []).append((code, subject))
        return f"waived as {waiver.waives} ({printable(proof.file)})"

    # --- what was found -----------------------------------------------------------------------

    def hits(self, asset: Asset, seen: Seen) -> Iterator[Finding]:
        """`pii.found`, or `pii.settled`."""
        if not seen.hits:
            return
        subject, found = shown_path(asset.path), f"{_counted(seen)} in sha256:{asset.sha256}"
        left, ways = frozenset(seen.hits), []
        for proof, waiver in self._waivers:
            if settled := settled_by(waiver, asset, left):
                ways.append(self._use(proof, waiver, "pii.found", subject))
                left -= settled
        for one in self.statements.redactions if asset.redacted_from is not None else ():
            settled = left & one.kinds if one.kinds is not None else left
            if settled and one.is_about(asset) and one.is_current(self._now):
                ways.append("a signed redaction record")
                left -= settled
        consent = self._consent(asset, subject)
        if left and consent == _HELD:
            ways.append("a consent")
            left = frozenset()
        if not left:
            yield Finding(
                "pii.settled", Severity.INFO, subject, f"personal data: {', '.join(ways)}", found=found
            )
            return
        yield Finding(
            "pii.found",
            self._weight,
            subject,
            f"personal data that nothing covers: {', '.join(sorted(left))}",
            expected="a consent, a redaction record or a waiver",
            found=found,
            do=_HINT,
        )
        if isinstance(consent, Finding):
            yield consent

    def _consent(self, asset: Asset, subject: str) -> Finding | str | None:
        """`_HELD`, why the consent that is claimed is none, or None where none is claimed."""
        ended: datetime | None = None
        for one in self.statements.consents:
            if one.is_about(asset) and allows(one.scope, self._config):
                if one.is_current(self._now):
                    return _HELD
                ended = one.expires_at
        lacking: Finding | None = None
        for entry in self._entries.get(asset.consent or "", ()):  # one person may have given several
            if entry.expires_at is not None and entry.expires_at <= self._now:
                ended = entry.expires_at
            elif not allows(frozenset(entry.scope), self._config):
                wanted, scope = f"for {self._config.use.purpose}", ", ".join(entry.scope) or "none"
                lacking = not_shown(subject, entry, wanted, scope, self._weight)
            elif entry.sha256 is None or f"sha256:{entry.sha256}" not in self._documents:
                digest = f"sha256:{entry.sha256}" if entry.sha256 else "a digest in the manifest"
                wanted = f"its document, {digest}"
                lacking = not_shown(subject, entry, wanted, "not kept beside the pin", self._weight)
            else:
                return _HELD
        if lacking is None and ended is not None:
            return expired(subject, ended, self._weight)
        return lacking

    # --- what nobody saw ----------------------------------------------------------------------

    def doubts(self, asset: Asset, doubts: tuple[Doubt, ...]) -> Iterator[Finding]:
        """`pii.unanswered`, `pii.unscanned`, or `pii.settled`."""
        subject = shown_path(asset.path)
        left: list[Doubt] = []
        ways: list[str] = []
        files: set[str] = set()
        for doubt in doubts:
            by = (pair for pair in self._waivers if lets_be(pair[1], asset, doubt.media_type))
            pair = None if doubt.why == FAILED else next(by, None)
            if pair is None:
                left.append(doubt)
            elif pair[0].file not in files:
                files.add(pair[0].file)
                ways.append(self._use(*pair, "pii.unanswered", subject))
        if left:
            more = f"; and {len(left) - 1} more" if len(left) > 1 else ""
            what, do = f"{left[0].what}{more}", advice(left[0])
            if self._weight is Severity.BLOCK or any(doubt.why == FAILED for doubt in left):
                yield _unanswered(subject, what, do)
            else:
                yield Finding("pii.unscanned", Severity.WARN, subject, what, do=do)
        elif ways:
            yield Finding("pii.settled", Severity.INFO, subject, f"not scanned: {', '.join(ways)}")


def _counted(seen: Seen) -> str:
    return ", ".join(
        f"{kind} {count:,}" + (f" ({score:.2f})" if score < 1 else "")
        for kind, (count, score) in sorted(seen.hits.items())
    )


def _unanswered(subject: str, what: str, do: str = "run it again; then look at the scanner") -> Finding:
    return Finding("pii.unanswered", Severity.BLOCK, subject, what, do=do)


def advice(doubt: Doubt) -> str:
    """What to do about bytes that were not answered for."""
    if doubt.why == FAILED:
        return "run it again; if it repeats, tell the scanner's developers"
    if media.is_picture(doubt.media_type) and versions.pictures() is None:
        return "pip install 'databom[pii]'"
    return f"add a scanner that can (DATABOM_SCANNERS), or have it waived: {UNSCANNED}{doubt.media_type}"
