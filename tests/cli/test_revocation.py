"""M09, and what a notice about one release does: a revoked license blocks, an irrevocable one is a claim for legal."""

from __future__ import annotations

from typing import Any

import pytest

from databom.model import times
from databom.testing.simulator import Release
from databom.trust.proof import sign_proof
from support.payments import NOW, Team

KIND = "urn:databom:revocation:v1"
SAYS = {"issued_at": times.format(NOW), "reason": "the creator withdraws it"}


@pytest.fixture
def owner(team: Team) -> Team:
    """A team that believes somebody about revocations."""
    team.sim.trust_role("revocation", "revocation")
    (team.house.project / "provenance/trust.json").write_bytes(team.sim.trust_root())
    return team


def notice(team: Team, release: Release, says: dict[str, Any] = SAYS, signer: str = "revocation") -> bytes:
    return sign_proof(KIND, "sim-pets@1", release.digest, says, [team.sim.key(signer)])


def license_(revocable: bool | None) -> dict[str, Any]:
    stated = {"type": "commercial", "spdx": "CC-BY-4.0"}
    return stated if revocable is None else {**stated, "revocable": revocable}


def said(team: Team) -> dict[str, str]:
    return {f["code"]: f["severity"] for f in team.check().findings if f["code"].startswith("revocation.")}


def test_an_irrevocable_license_is_not_taken_back_by_a_notice(owner: Team) -> None:
    release = owner.pin(license=license_(False))
    assert owner.attach(notice(owner, release)).code == 0
    assert owner.check().code == 0
    assert said(owner) == {"revocation.claimed": "warn"}
    assert owner.house.cli("check", "--strict").code == 1
    key = owner.house.base / "legal.key"
    owner.house.ok("key", "new", key)
    owner.house.ok("trust", "add", f"{key}.pub", "--role", "legal")
    why = ("--reason", "the contract says for ever", "--expires", "30")
    owner.house.ok("approve", "pets", "--key", key, "--role", "legal", *why)
    assert said(owner) == {"revocation.claimed": "info"}
    [record] = owner.check().report["reports"][0]["approvals"]
    assert record["reason"] == "the contract says for ever"


@pytest.mark.parametrize("revocable", [True, None])
def test_a_revoked_license_blocks_and_nobody_settles_it(owner: Team, revocable: bool | None) -> None:
    # A revocable CC-BY is a contradiction, which blocks by itself.
    release = owner.pin(license=license_(revocable), code=1 if revocable else 0)
    owner.attach(notice(owner, release))
    assert owner.check().code == 1
    assert said(owner) == {"revocation.revoked": "block"}
    assert owner.house.cli("exec", "pets", "--", "true").code == 1


def test_a_forged_notice_is_not_kept_and_takes_nothing_back(owner: Team) -> None:
    release = owner.pin()
    assert owner.attach(notice(owner, release, signer="payment")).blocking == {"revocation.invalid"}
    assert owner.kept() == []
    assert owner.check().code == 0


@pytest.mark.parametrize(
    "says",
    [
        {"reason": "why"},
        {"issued_at": times.format(NOW), "reason": " "},
        {"issued_at": "yesterday", "reason": "why"},
        {**SAYS, "asets": []},
    ],
)
def test_a_notice_that_says_less_or_more_is_not_kept(owner: Team, says: dict[str, Any]) -> None:
    release = owner.pin()
    assert owner.attach(notice(owner, release, says)).blocking == {"revocation.invalid"}
    assert owner.kept() == []
