"""Who accepted what a check alone could not: signed approvals settle findings, and say on whose word.

What may be settled, and by whom:

| finding | by |
|---|---|
| `license.review`, `.unknown`, `.contradiction` | a role in `accept.license` |
| `license.review` about `risk` | `legal` |
| `payment.missing`, `.unsigned`, `.mismatch` | a role in `accept.payment` |
| `coverage.unpinned` | a role in `accept.coverage` |
| `revocation.claimed` | `legal` |

Nothing else: what is denied stays denied (`license.not-permitted`, `.expired`, `.missing`), and no word of a person
makes a signature, a byte or a forged receipt right. What scanners find is settled by waivers (`waivers`).

An approval holds for exactly the manifest and the policy whose digests it names, for the findings it names, until it
expires. One that pretends blocks: a role its keys do not hold, a scope that is not its to accept, a member that does
not exist. One that is over, or was given under another policy, is as good as none, and is told where it is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import replace

from databom.checks.revocation import CLAIMED
from databom.errors import InputError
from databom.model import times
from databom.model.approvals import INVALID, Approval, Scope, Waiver, parse_approval, parse_waiver
from databom.model.config import Config
from databom.model.finding import Finding, Severity, findings_of
from databom.model.manifest import Manifest
from databom.model.proofs import Proof, Proofs
from databom.model.text import printable

RISK = "risk"
"""Subject of the finding by which `risk = "high"` asks legal about every pin."""
_SETTLED = {
    "license": ("review", "unknown", "contradiction"),
    "payment": ("missing", "unsigned", "mismatch"),
    "coverage": ("unpinned",),
}
"""What a person may settle: the room of a code, which is also the key of `[accept]` that says who, and its kinds."""
_KEYID_CHARS = 16
_REASON_CHARS = 300


class Settled(NamedTuple):
    """Findings after approvals, and what the report says of the approvals that were used."""

    findings: tuple[Finding, ...]
    approvals: tuple[dict[str, Any], ...] = ()


def check_risk(manifest: Manifest, config: Config) -> Iterator[Finding]:
    """`license.review` for every release where the policy calls the risk high."""
    if config.policy.risk == "high":
        yield Finding(
            "license.review",
            Severity.BLOCK,
            RISK,
            'the policy says risk = "high": legal approves every release before it is used',
            expected="an approval by the role legal",
            found=manifest.release,
            do="legal reviews the manifest, then: databom approve NAME --role legal --key FILE …",
        )


def may_settle(finding: Finding, config: Config) -> tuple[str, ...]:
    """The roles that may settle a finding; empty where nobody may, or nothing has to be settled."""
    if finding.severity is Severity.INFO:
        return ()
    return _roles(Scope(finding.code, finding.subject), config)


def _roles(scope: Scope, config: Config) -> tuple[str, ...]:
    if scope == Scope("license.review", RISK) or scope.code == CLAIMED:
        return ("legal",)
    room, _, kind = scope.code.partition(".")
    return tuple(getattr(config.accept, room)) if kind in _SETTLED.get(room, ()) else ()


def settle(findings: Iterable[Finding], proofs: Proofs, config: Config, now: datetime) -> Settled:
    """The findings, those that a valid approval settles turned into information that names it.

    Asking again with the findings of the answer changes nothing.
    """
    found = list(findings)
    held, stale, doubts = _sorted_out(proofs, config, now)
    used: dict[str, set[Scope]] = {}
    for place, finding in enumerate(found):
        roles = may_settle(finding, config)
        scope = Scope(finding.code, finding.subject)
        by = next((one for one in held if one.role in roles and scope in one.scopes), None)
        if by is not None:
            used.setdefault(by.proof.file, set()).add(scope)
            found[place] = _accepted(finding, by)
    open_ = {Scope(one.code, one.subject) for one in found if one.severity is not Severity.INFO}
    doubts += [_over(one, config, now, is_missed=not one.scopes.isdisjoint(open_)) for one in stale]
    found += [doubt for doubt in doubts if doubt not in found]
    records = [one.record(used[one.proof.file]) for one in held if one.proof.file in used]
    return Settled(tuple(found), tuple(sorted(records, key=lambda record: str(record["file"]))))


def check_acceptance(proof: Proof, config: Config, now: datetime) -> Iterator[Finding]:
    """`approval.invalid` (block): why an approval or waiver settles nothing here and now, for whoever would keep it."""
    for finding in settle((), Proofs((proof,)), config, now).findings:
        yield replace(finding, severity=Severity.BLOCK)


def waivers(proofs: Proofs, config: Config, now: datetime) -> tuple[tuple[Proof, Waiver], ...]:
    """The waivers that hold now: signed in a role of `accept.personal_data`, not over, under this policy or any.

    Those that do not hold are told by `settle`.
    """
    found = []
    for proof in proofs.of("waiver"):
        try:
            waiver = parse_waiver(proof.predicate, file=proof.file)
        except InputError:
            continue
        is_current = waiver.expires > now and waiver.policy in (None, config.policy_digest)
        if is_current and not set(proof.roles).isdisjoint(config.accept.personal_data):
            found.append((proof, waiver))
    return tuple(found)


class _Held(NamedTuple):
    """An approval that is what it claims to be."""

    proof: Proof
    approval: Approval | Waiver
    role: str | None = None
    """In which an approval says it was given."""
    scopes: frozenset[Scope] = frozenset()

    def record(self, used: set[Scope]) -> dict[str, Any]:
        """What a report says of it: who accepted what of this report, why and until when."""
        proof, approval = self.proof, self.approval
        return {
            "kind": proof.kind,
            "file": printable(proof.file),
            "digest": proof.digest,
            "roles": list(proof.roles),
            "keyids": list(proof.keyids),
            "settles": [
                {"code": scope.code, "subject": scope.subject}
                for scope in sorted(used, key=lambda scope: (scope.code, scope.subject or ""))
            ],
            "reason": printable(approval.reason, _REASON_CHARS),
            "expires_at": times.format(approval.expires),
        }


def _sorted_out(
    proofs: Proofs, config: Config, now: datetime
) -> tuple[list[_Held], list[_Held], list[Finding]]:
    """The approvals that hold now, the ones that did once, and what is wrong with the others.

    Those that hold are ordered by how long they will: the longest is named where several settle one finding.
    """
    held, stale = [], []
    doubts: list[Finding] = []
    for proof in (*proofs.of("approval"), *proofs.of("waiver")):
        try:
            one = _read(proof)
        except InputError as error:
            doubts += findings_of(error)
            continue
        if one.approval.expires <= now or one.approval.policy not in (None, config.policy_digest):
            stale.append(one)
        elif pretended := list(_pretended(one, config)):
            doubts += pretended
        elif isinstance(one.approval, Approval):
            held.append(one)
    held.sort(key=lambda one: (-one.approval.expires.timestamp(), one.proof.file))
    return held, stale, doubts


def _read(proof: Proof) -> _Held:
    if proof.kind == "waiver":
        return _Held(proof, parse_waiver(proof.predicate, file=proof.file))
    approval = parse_approval(proof.predicate, file=proof.file)
    return _Held(proof, approval, approval.role, frozenset(approval.settles))


def _pretended(one: _Held, config: Config) -> Iterator[Finding]:
    """What it says it may accept, and may not, by this policy."""
    file = printable(one.proof.file)
    if isinstance(one.approval, Waiver):
        allowed = config.accept.personal_data
        if set(one.proof.roles).isdisjoint(allowed):
            yield Finding(
                INVALID,
                Severity.BLOCK,
                file,
                f"the role {' and '.join(one.proof.roles)} may not waive what a scanner found",
                expected=" or ".join(allowed) or "nobody: accept.personal_data is empty",
                found=", ".join(one.proof.roles),
                do="have somebody in such a role sign it, and remove this file",
            )
        return
    role = one.approval.role
    if role not in one.proof.roles:
        yield Finding(
            INVALID,
            Severity.BLOCK,
            file,
            f"it was not signed by enough keys of the role {role}, in which it says it was given",
            expected=f"enough keys of the role {role}",
            found=", ".join(one.proof.roles),
            do="have somebody in that role sign it, and remove this file",
        )
    for scope in sorted(one.scopes, key=lambda scope: (scope.code, scope.subject or "")):
        roles = _roles(scope, config)
        if role not in roles:
            yield Finding(
                INVALID,
                Severity.BLOCK,
                file,
                f"the role {role} may not accept {scope.code}",
                expected=" or ".join(roles) or "nobody may accept it",
                found=role,
                do="settle what it is about, and remove this file",
            )
            return


def _over(one: _Held, config: Config, now: datetime, *, is_missed: bool) -> Finding:
    approval = one.approval
    is_expired = approval.expires <= now
    return Finding(
        INVALID,
        Severity.WARN if is_missed else Severity.INFO,
        printable(one.proof.file),
        f"this {one.proof.kind} has expired, and settles nothing any more"
        if is_expired
        else f"this {one.proof.kind} was given under another policy, and settles nothing under this one",
        expected=f"one that expires after {times.format(now)}" if is_expired else config.policy_digest,
        found=times.format(approval.expires) if is_expired else approval.policy,
        do="look at it again, and sign a new one: databom approve NAME"
        if is_missed
        else "nothing; remove it when nobody needs it any more",
    )


def _accepted(finding: Finding, by: _Held) -> Finding:
    approval = by.approval
    names = ", ".join(keyid[:_KEYID_CHARS] for keyid in by.proof.keyids)
    return replace(
        finding,
        severity=Severity.INFO,
        what=f"{finding.what}; accepted by {', '.join(by.proof.roles)} ({names}) until "
        f"{times.format(approval.expires)}: {printable(approval.reason, _REASON_CHARS)}",
        do=f"nothing until then; the approval is {printable(by.proof.file)}",
    )
