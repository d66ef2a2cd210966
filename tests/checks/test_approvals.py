"""Settling: whatever is signed, only what may be settled is, and only by whom the policy names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from databom.checks.approvals import settle, waivers
from databom.model.config import ROLES, Config, default_config_text, parse_config
from databom.model.finding import Finding, Severity
from databom.model.proofs import Proof, Proofs

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONFIG = parse_config(default_config_text("test").encode())
DIGEST = "sha256:" + "1" * 64
MAY = {
    "license.review": "license",
    "license.unknown": "license",
    "license.contradiction": "license",
    "payment.missing": "payment",
    "payment.unsigned": "payment",
    "payment.mismatch": "payment",
    "coverage.unpinned": "coverage",
}
NEVER = (
    *("license.not-permitted", "license.missing", "license.expired", "payment.invalid", "integrity.mismatch"),
    *("signature.invalid", "trust.expired", "release.rollback", "manifest.schema", "storage.denied"),
    *("approval.invalid", "pii.found", "consent.missing"),
)
SUBJECTS = st.sampled_from(["risk", "hn-pets@1", "a.png", None])
FINDINGS = st.builds(
    Finding,
    st.sampled_from([*MAY, *NEVER]),
    st.sampled_from(list(Severity)),
    SUBJECTS,
    st.just("what"),
)
SCOPES = st.fixed_dictionaries({"code": st.sampled_from([*MAY, *NEVER]), "subject": SUBJECTS})


def proof(number: int, roles: tuple[str, ...], **predicate: Any) -> Proof:
    return Proof("approval", f"{number}.dsse.json", DIGEST, DIGEST, roles, ("k" * 64,), predicate)


@st.composite
def proofs(draw: Any) -> Proofs:
    """Approvals of every quality, from good to nonsense."""
    held = []
    for number in range(draw(st.integers(0, 4))):
        role = draw(st.sampled_from(ROLES))
        members = {
            "policy": draw(st.sampled_from([CONFIG.policy_digest, CONFIG.policy_digest, DIGEST])),
            "role": role,
            "settles": draw(st.lists(SCOPES, min_size=1, max_size=3)),
            "reason": "because",
            "expires_at": draw(st.sampled_from(["2027-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "soon"])),
        }
        spoken = draw(st.sampled_from([(role,), (role,), ("mlops",)]))
        held.append(proof(number, spoken, **members))
    return Proofs(tuple(held))


def may_settle(finding: Finding, one: Proof, config: Config) -> bool:
    """The rule, said once more and plainly."""
    said = one.predicate
    if said["expires_at"] != "2027-01-01T00:00:00Z" or said["policy"] != config.policy_digest:
        return False
    scopes = [(scope["code"], scope["subject"]) for scope in said["settles"]]
    if (finding.code, finding.subject) not in scopes or said["role"] not in one.roles:
        return False

    def accepts(code: str, subject: str | None) -> bool:
        if (code, subject) == ("license.review", "risk"):
            return said["role"] == "legal"
        return code in MAY and said["role"] in getattr(config.accept, MAY[code])

    return all(accepts(*scope) for scope in scopes)


@given(st.lists(FINDINGS, max_size=6), proofs())
def test_exactly_what_may_be_settled_is_settled(findings: list[Finding], held: Proofs) -> None:
    settled = settle(findings, held, CONFIG, NOW)
    for before, after in zip(findings, settled.findings, strict=False):
        expected = before.severity is not Severity.INFO and any(
            may_settle(before, one, CONFIG) for one in held.held
        )
        assert (before.code, before.subject) == (after.code, after.subject)
        if expected:
            assert after.severity is Severity.INFO
            assert "accepted by" in after.what
        else:
            assert after == before
    used = {(scope["code"], scope["subject"]) for one in settled.approvals for scope in one["settles"]}
    accepted = {(one.code, one.subject) for one in settled.findings if "accepted by" in one.what}
    assert used == accepted
    assert settle(settled.findings, held, CONFIG, NOW).findings == settled.findings


def test_a_policy_may_give_it_to_somebody_else_or_nobody() -> None:
    unknown = Finding("license.unknown", Severity.BLOCK, "x", "what")
    for roles in ((), ("mlops",)):
        config = replace(CONFIG, accept=replace(CONFIG.accept, license=roles))
        said = {
            "policy": config.policy_digest,
            "settles": [{"code": "license.unknown", "subject": "x"}],
            "reason": "because",
            "expires_at": "2027-01-01T00:00:00Z",
        }
        for role in ROLES:
            held = Proofs((proof(1, (role,), role=role, **said),))
            [first, *_] = settle([unknown], held, config, NOW).findings
            assert (first.severity is Severity.INFO) == (role in roles)


def waiver(roles: tuple[str, ...], **members: Any) -> Proof:
    said = {"waives": "animal", "assets": [DIGEST], "reason": "a cat", "expires_at": "2027-01-01T00:00:00Z"}
    return Proof("waiver", "w.dsse.json", DIGEST, DIGEST, roles, ("k" * 64,), {**said, **members})


def test_waivers_that_hold_and_those_that_do_not() -> None:
    good = [waiver(("legal",)), waiver(("steward",), policy=CONFIG.policy_digest)]
    bad = [
        waiver(("billing",)),
        waiver(("legal",), expires_at="2026-06-01T00:00:00Z"),
        waiver(("legal",), policy=DIGEST),
        waiver(("legal",), asset=[]),
        waiver(("legal",), assets=[]),
    ]
    assert [one for one, _ in waivers(Proofs((*good, *bad)), CONFIG, NOW)] == good
    for one in good:
        assert settle([], Proofs((one,)), CONFIG, NOW).findings == ()
    weights = [settle([], Proofs((one,)), CONFIG, NOW).findings[0].severity.value for one in bad]
    assert weights == ["block", "info", "info", "block", "block"]
