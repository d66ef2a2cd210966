"""`databom approve`: somebody in a role accepts, by a signature, what a check alone could not.

In this order, under the project's writing lock:

1. the gate is asked, by the documents alone: which findings are open, and who may settle them;
2. the statement is made, over the manifest's and the policy's digest, with its scope and its end, and signed;
3. it is opened as the gate will open it: where the key may not speak in that role now, nothing is kept;
4. it is kept in `provenance/evidence/<name>/`, and the gate is asked again.

About the project itself (data that no pin covers) there is no manifest: there the policy stands in its place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.approvals import check_acceptance, may_settle
from databom.errors import ConfigError, InputError
from databom.model import times
from databom.model.approvals import INVALID, MAX_ASSETS, MAX_REASON, MAX_SETTLED, UNSCANNED, WAIVERS
from databom.model.config import ROLES
from databom.model.finding import Finding, Report, Severity, Subject, findings_of
from databom.model.manifest import Manifest
from databom.model.text import printable, unsafe_character
from databom.storage import files
from databom.tasks.attached import SUFFIX, waiting
from databom.tasks.believing import Believed, load_trust
from databom.tasks.covering import EVIDENCE, settle_project, unsettled
from databom.tasks.gatekeeping import Gatekeeper
from databom.tasks.judging import judge_pin
from databom.tasks.keyring import read_private_key
from databom.tasks.noting import Noted, approved, noting
from databom.tasks.project import Project, exclusive_project, find_root
from databom.trust import dsse
from databom.trust.proof import open_proof, read_proof, sign_proof
from databom.trust.root import TrustRoot

APPROVAL = "urn:databom:approval:v1"
WAIVER = "urn:databom:waiver:v1"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_DAYS = re.compile(r"[0-9]{1,4}\Z", re.ASCII)


class Open(Struct, frozen=True):
    """A finding that people may settle, and the roles that may."""

    finding: Finding
    roles: tuple[str, ...]


class Approved(Struct, frozen=True):
    """What became of an approval. `report` says no where it was refused; then nothing was kept."""

    report: Report
    path: Path | None = None
    is_complete: bool = False
    """Whether enough keys have signed."""
    left: int = 0
    """How many other findings still keep the pin from passing, as far as the documents say."""


def open_findings(
    name: str | None = None, *, project: Path | str | None = None, now: datetime | None = None
) -> tuple[Open, ...]:
    """What of a pin (or, without a name, of the project's coverage) people may settle, and who. Reads only.

    Raises:
        ConfigError: no project, no such pin, no trust root.
        CheckFailed: the pin's manifest is not believed.
    """
    place = Project.load(project)
    case = _Case.of(place, name, load_trust(place), times.or_now(now))
    if not case.is_believed:
        case.report.require()
    return case.open


def approve(
    name: str | None = None,
    *,
    key: Path | str,
    role: str,
    reason: str,
    expires: str,
    settles: Sequence[str] = (),
    project: Path | str | None = None,
    now: datetime | None = None,
) -> Approved:
    """Accept open findings of a pin, in a role.

    Args:
        name: the pin; None for data that no pin covers.
        key: the private key of somebody in the role.
        role: `legal`, `billing`, `steward` or `mlops`.
        reason: why, for whoever reads it later.
        expires: a day (`2027-01-31`), a time (RFC 3339 with `Z`), or a number of days from now.
        settles: the findings, as `CODE` or `CODE:SUBJECT`; by default all that the role may settle.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.

    Raises:
        ConfigError: no project, no such pin, no key, a text or date that will not do, or nothing to settle.
        StorageError: it cannot be written.
    """
    if role not in ROLES:
        raise ConfigError(
            f"there is no role {printable(role)} that accepts", hint=f"one of {', '.join(ROLES)}"
        )

    def predicate(case: _Case, until: str) -> tuple[str, dict[str, Any]]:
        chosen = _chosen(case, role, settles)
        scopes = sorted({(one.finding.code, one.finding.subject) for one in chosen}, key=str)
        if len(scopes) > MAX_SETTLED:
            raise ConfigError(
                f"an approval settles at most {MAX_SETTLED:,} findings", hint="name some: --settles"
            )
        return APPROVAL, {
            "policy": case.place.config.policy_digest,
            "role": role,
            "settles": [{"code": code, "subject": subject} for code, subject in scopes],
            "reason": reason,
            "expires_at": until,
        }

    return _sign(name, predicate, key, reason, expires, project, now)


def waive(
    name: str,
    *,
    key: Path | str,
    waives: str,
    reason: str,
    expires: str,
    assets: Sequence[str] = (),
    project: Path | str | None = None,
    now: datetime | None = None,
) -> Approved:
    """Say why assets of a pin need no consent, or accept that nothing looks into assets of a media type.

    Args:
        name: the pin.
        key: the private key of somebody in a role that the trust root and `accept.personal_data` name.
        waives: `illustration`, `animal`, `public-figure`, `not-personal`, or `unscanned:<media type>`.
        reason: why.
        expires: as for `approve`.
        assets: their paths in the manifest, or their digests; may be empty only for `unscanned:…`.
        project: as for `approve`.
        now: as for `approve`.

    Raises:
        ConfigError: as for `approve`; an asset that the manifest does not list.
        StorageError: it cannot be written.
    """
    if waives not in WAIVERS and not waives.startswith(UNSCANNED):
        known = f"{', '.join(WAIVERS)}, {UNSCANNED}<media type>"
        raise ConfigError(f"{printable(waives)} is nothing that can be waived", hint=f"one of {known}")
    if not assets and not waives.startswith(UNSCANNED):
        raise ConfigError("a waiver names its assets", hint="--asset PATH or --asset sha256:HEX, repeatable")

    def predicate(case: _Case, until: str) -> tuple[str, dict[str, Any]]:
        assert case.manifest is not None
        return WAIVER, {
            "policy": case.place.config.policy_digest,
            "waives": waives,
            "assets": _digests(case.manifest, assets),
            "reason": reason,
            "expires_at": until,
        }

    return _sign(name, predicate, key, reason, expires, project, now)


def cosign(
    name: str | None,
    file: Path | str,
    *,
    key: Path | str,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> Approved:
    """Add a signature to an approval or waiver that waits for more, as it lies in the pin's evidence.

    What it says is not changed: whoever signs, vouches for it.

    Raises:
        ConfigError: no such file, or not one about the manifest that is pinned.
        StorageError: it cannot be written.
    """
    signer = read_private_key(key)
    folder = _folder(project)
    with noting(folder, now) as happened, exclusive_project(folder):
        case = _Case.load(name, project, now)
        if not case.is_believed:
            return Approved(case.report)
        path = case.folder / Path(file).name
        if not files.is_taken(path):
            raise ConfigError(f"{path} is not there", hint=f"its name ends in {SUFFIX}")
        raw = files.read_bounded(path, dsse.MAX_ENVELOPE_BYTES)
        try:
            stated = read_proof(raw, file=path.name)
        except InputError as error:
            return Approved(case.refused(findings_of(error)))
        if stated.code != INVALID or stated.manifest != case.digest:
            raise ConfigError(
                f"{path.name} is no approval of the manifest that is pinned", hint="sign a new one"
            )
        old = stated.envelope
        if signer.public.keyid in dsse.verified_keyids(old, {signer.public.keyid: signer.public}):
            raise ConfigError("this key has signed it already", hint="somebody else in the role has to")
        more = dsse.sign(old.payload_type, old.payload, [signer])
        both = dsse.Envelope(old.payload_type, old.payload, (*old.signatures, *more.signatures))
        alone = dsse.format_envelope(more)
        return _kept(case, dsse.format_envelope(both), alone, path, happened)


# --- what it is about ------------------------------------------------------------------------------------


class _Case(Struct, frozen=True):
    """A pin, or the project's coverage, as the gate sees it by the documents alone."""

    place: Project
    name: str | None
    root: TrustRoot | None
    now: datetime
    report: Report
    digest: str
    """Of what is approved: the manifest; of the project the policy."""
    manifest: Manifest | None = None
    is_believed: bool = True

    @classmethod
    def load(cls, name: str | None, project: Path | str | None, now: datetime | None) -> _Case:
        place = Project.load(_folder(project))
        return cls.of(place, name, load_trust(place), times.or_now(now))

    @classmethod
    def of(cls, place: Project, name: str | None, believed: Believed, now: datetime) -> _Case:
        if name is None:
            settled = settle_project(place, unsettled(place) or (), believed, now)
            findings = (*believed.findings, *settled.findings)
            policy = place.config.policy_digest
            report = Report(
                Subject(), findings, trust=believed.digest, policy=policy, approvals=settled.approvals
            )
            is_believed = believed.root is not None and not any(
                one.severity is Severity.BLOCK for one in believed.findings
            )
            return cls(place, None, believed.root, now, report, policy, is_believed=is_believed)
        judged = judge_pin(place, name, believed, now=now)
        judged = Gatekeeper.of(place, name, judged, believed, now).documents(judged)
        report = judged.report(name)
        digest = place.pin(name).manifest
        return cls(place, name, believed.root, now, report, digest, judged.manifest, judged.is_believed)

    @property
    def folder(self) -> Path:
        """Where its evidence is kept."""
        return self.place.evidence_dir(self.name or EVIDENCE)

    @property
    def release(self) -> str:
        """What a statement calls it."""
        return self.report.subject.release or "databom.toml"

    @property
    def open(self) -> tuple[Open, ...]:
        """What people may settle."""
        config = self.place.config
        pairs = ((one, may_settle(one, config)) for one in self.report.findings)
        return tuple(Open(finding, roles) for finding, roles in pairs if roles)

    def refused(self, findings: Iterable[Finding]) -> Report:
        """A report that says only why the approval was not kept."""
        return replace(self.report, findings=tuple(findings), approvals=())


def _folder(project: Path | str | None) -> Path:
    return Path(project).absolute() if project is not None else find_root()


def _chosen(case: _Case, role: str, settles: Sequence[str]) -> list[Open]:
    """The open findings that are to be settled.

    Raises:
        ConfigError: there is none that was named, or none that the role may settle.
    """
    mine = [one for one in case.open if role in one.roles]
    others = sorted({name for one in case.open for name in one.roles} - {role})
    subject = case.name or "the project"
    if not mine:
        raise ConfigError(
            f"there is nothing to settle for the role {role} in {subject}",
            hint=f"what is open is for {' or '.join(others)}"
            if others
            else "databom check says what keeps it from passing; not everything can be accepted",
        )
    chosen = []
    for text in settles:
        found = [
            one for one in mine if text in (one.finding.code, f"{one.finding.code}:{one.finding.subject}")
        ]
        if not found:
            known = ", ".join(f"{one.finding.code}:{one.finding.subject}" for one in mine[:5])
            raise ConfigError(
                f"{printable(text)} is nothing that the role {role} could settle in {subject} now",
                hint=f"open for it: {printable(known, 500)}",
            )
        chosen += found
    return chosen or mine


def _digests(manifest: Manifest, assets: Sequence[str]) -> list[str]:
    """The digests of assets that are named by path or digest, sorted.

    Raises:
        ConfigError: the manifest does not list one of them.
    """
    wanted = dict.fromkeys(assets)
    found: dict[str, str] = {}
    for asset in manifest.assets if wanted else ():
        digest = f"sha256:{asset.sha256}"
        for text in (asset.path, digest):
            if text in wanted:
                found[text] = digest
    if missing := [text for text in wanted if text not in found]:
        raise ConfigError(
            f"the manifest lists no asset {printable(missing[0])}",
            hint="name it by its path in the manifest, or by its digest",
        )
    if len(found) > MAX_ASSETS:
        raise ConfigError(f"a waiver names at most {MAX_ASSETS:,} assets")
    return sorted(set(found.values()))


# --- signing and keeping -----------------------------------------------------------------------------------


def _sign(
    name: str | None,
    predicate: Callable[[_Case, str], tuple[str, dict[str, Any]]],
    key: Path | str,
    reason: str,
    expires: str,
    project: Path | str | None,
    now: datetime | None,
) -> Approved:
    signer = read_private_key(key)
    folder = _folder(project)
    with noting(folder, now) as happened, exclusive_project(folder):
        case = _Case.load(name, project, now)
        until = _until(expires, case.now)
        _require_reason(reason)
        if not case.is_believed:
            return Approved(case.report)
        kind, says = predicate(case, until)
        raw = sign_proof(kind, case.release, case.digest, says, [signer])
        payload = dsse.parse_envelope(raw).payload
        short = kind.split(":")[2]
        # Named after what is signed: one more signature does not make it another file.
        path = case.folder / f"{short}-{hashlib.sha256(payload).hexdigest()[:16]}{SUFFIX}"
        if files.is_taken(path):
            raise ConfigError(f"{path.name} says the same and is there", hint="add a signature to it: --add")
        return _kept(case, raw, raw, path, happened)


def _kept(case: _Case, raw: bytes, alone: bytes, path: Path, happened: list[Noted]) -> Approved:
    """Keep a statement that the new signature may be on, and ask the gate again.

    Args:
        case: what it is about.
        raw: the whole envelope.
        alone: the same with the new signature only.
        path: where it goes.
        happened: hears of it once enough keys have signed.
    """
    assert case.root is not None
    file = path.name
    try:
        if not read_proof(alone, file=file).signed_in(case.root, case.now):
            open_proof(alone, case.root, file=file, now=case.now)
        waits = waiting(read_proof(raw, file=file), case.root, file=file, now=case.now)
        findings, proof = [], None
        if waits is None:
            proof = open_proof(raw, case.root, file=file, now=case.now)
            findings = list(check_acceptance(proof, case.place.config, case.now))
    except InputError as error:
        return Approved(case.refused(findings_of(error)))
    if findings:
        return Approved(case.refused(findings))
    files.make_folder(path.parent)
    files.write_atomic(path, raw)
    if proof is not None:
        happened.append(approved(case.name or EVIDENCE, case.release, proof))
    after = _Case.load(case.name, case.place.root, case.now)
    mine = [one for one in after.report.approvals if one.get("file") == file]
    scopes = {(scope["code"], scope["subject"]) for one in mine for scope in one["settles"]}
    told = [one for one in after.report.findings if (one.code, one.subject) in scopes]
    told += [] if waits is None else [waits]
    report = replace(after.report, findings=tuple(told), approvals=tuple(mine))
    left = sum(one.severity is Severity.BLOCK for one in after.report.findings)
    return Approved(report, path, waits is None, left)


def _until(expires: str, now: datetime) -> str:
    """The end of an approval as RFC 3339.

    Raises:
        ConfigError: not a day, a time or a number of days, or not in the future.
    """
    hint = "a day (2027-01-31), a time (2027-01-31T00:00:00Z), or a number of days (90)"
    try:
        if _DAYS.match(expires):
            until = now + timedelta(days=int(expires))
        elif _DAY.match(expires):
            until = datetime.fromisoformat(expires).replace(tzinfo=UTC)
        else:
            until = times.parse(expires)
    except (ValueError, OverflowError):
        raise ConfigError(f"--expires {printable(expires)} is no time", hint=hint) from None
    if until <= now:
        raise ConfigError(f"--expires {printable(expires)} is not in the future", hint=hint)
    return times.format(until)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("an approval says why", hint='--reason "…"')
    if len(reason) > MAX_REASON or unsafe_character(reason, allow="\n") is not None:
        raise ConfigError(f"a reason has at most {MAX_REASON:,} characters, all of them visible")
