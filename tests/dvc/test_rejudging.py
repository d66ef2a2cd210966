"""DVC asks again when anything changes that a pin is judged by: the policy, a license, what is attached."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from databom import tasks
from databom.model import times
from databom.tasks.project import Project
from databom.trust.keys import PrivateKey
from databom.trust.proof import sign_proof
from support.dvcteam import Team

pytestmark = pytest.mark.dvc
RUNNING = "Running stage 'databom-pets'"
SKIPPED = "Stage 'databom-pets' didn't change, skipping"
RISK = ('risk = "normal"', 'risk = "high"')
OWN_LICENSE = """
[license."LicenseRef-acme-1.0"]
reproduction = "permit"
"""


@pytest.fixture
def pinned(team: Team) -> Team:
    """The release pinned, verified and trained on."""
    team.manifest = team.house.pinned()
    assert RUNNING in team.dvc("repro")
    return team


def edit(team: Team, old: str, new: str) -> None:
    path = team.project / "databom.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def evidence(team: Team) -> Path:
    return team.project / "provenance/evidence/pets"


def colleague(team: Team, role: str) -> Path:
    key = team.house.base / f"{role}.pem"
    team.house.ok("key", "new", key)
    team.house.ok("trust", "add", f"{key}.pub", "--role", role)
    return key


def approval(team: Team, key: Path, expires: datetime) -> None:
    """What `databom approve` writes, with an end that it would refuse."""
    place = Project.load(team.project)
    says = {
        "policy": place.config.policy_digest,
        "role": "legal",
        "settles": [{"code": "license.review", "subject": "risk"}],
        "reason": "read",
        "expires_at": times.format(expires),
    }
    signer = PrivateKey.from_pem(key.read_bytes())
    raw = sign_proof("urn:databom:approval:v1", "hn-pets@1", place.pin("pets").manifest, says, [signer])
    (evidence(team) / "approval-0123456789abcdef.dsse.json").write_bytes(raw)


def test_who_may_accept_what(pinned: Team) -> None:
    config = pinned.project / "databom.toml"
    whole = config.read_text()
    table = whole[whole.index("[accept]") :]
    table = table[: table.index("\n\n") + 2]
    config.write_text(whole.replace(table, ""))
    assert RUNNING in pinned.dvc("repro")  # a table may be missing, as in an older project
    config.write_text(whole)
    assert RUNNING in pinned.dvc("repro")
    edit(pinned, 'license = ["legal"]', 'license = ["legal", "steward"]')
    assert RUNNING in pinned.dvc("repro")
    config.write_text(config.read_text() + "\n# a remark\n")
    trained = pinned.trained  # the report names the policy, so another policy trains again
    out = pinned.dvc("repro")
    assert SKIPPED in out
    edit(pinned, 'auto = "full"', 'auto = "tags"')
    assert RUNNING in pinned.dvc("repro")
    assert pinned.trained == trained  # the same answer under the same policy


def test_a_license_of_the_teams_own(pinned: Team) -> None:
    config = pinned.project / "databom.toml"
    config.write_text(config.read_text() + OWN_LICENSE)
    assert RUNNING in pinned.dvc("repro")
    assert SKIPPED in pinned.dvc("repro")
    edit(pinned, 'reproduction = "permit"', 'reproduction = "deny"')
    assert RUNNING in pinned.dvc("repro")


def test_an_approval_opens_and_its_removal_closes(pinned: Team) -> None:
    edit(pinned, *RISK)
    assert "license.review" in pinned.refused()
    key = colleague(pinned, "legal")
    assert "license.review" in pinned.refused()
    pinned.house.ok(
        *("approve", "pets", "--key", key, "--role", "legal", "--reason", "read", "--expires", "30")
    )
    assert RUNNING in pinned.dvc("repro")
    assert SKIPPED in pinned.dvc("repro")
    [kept] = evidence(pinned).glob("*.dsse.json")
    kept.unlink()
    assert "license.review" in pinned.refused()


def test_a_notice_that_is_attached_stops_the_pipeline(pinned: Team) -> None:
    key = colleague(pinned, "revocation")
    pinned.dvc("repro")
    assert SKIPPED in pinned.dvc("repro")
    place = Project.load(pinned.project)
    signer = PrivateKey.from_pem(key.read_bytes())
    says = {"reason": "the creator withdrew", "issued_at": times.format(datetime.now(UTC))}
    raw = sign_proof("urn:databom:revocation:v1", "hn-pets@1", place.pin("pets").manifest, says, [signer])
    notice = pinned.house.base / "notice.json"
    notice.write_bytes(raw)
    pinned.house.ok("attach", "pets", notice)
    assert "revocation.revoked" in pinned.refused()


def test_what_ends_by_itself_changes_no_file(pinned: Team) -> None:
    """The gate in the training's command asks the clock; DVC does where a person wrote `always_changed`."""
    edit(pinned, *RISK)
    key = colleague(pinned, "legal")
    end = datetime.now(UTC).replace(microsecond=0)
    approval(pinned, key, end)
    report = tasks.sync("pets", project=pinned.project, now=end - timedelta(seconds=1))
    assert not report.blocking
    pinned.dvc("commit", "-f", "-q", "databom-pets")
    assert SKIPPED in pinned.dvc("repro", "databom-pets")
    assert "license.review" in pinned.refused("-f", "-s", "train")

    path = pinned.project / "dvc.yaml"
    path.write_text(
        path.read_text().replace("        desc: Fetch", "        always_changed: true\n        desc: Fetch")
    )
    assert "license.review" in pinned.refused()
    before = path.read_text()
    pinned.house.cli("update", "pets")
    assert path.read_text() == before


def test_an_always_changed_stage_does_not_train_again(pinned: Team) -> None:
    path = pinned.project / "dvc.yaml"
    path.write_text(
        path.read_text().replace("        desc: Fetch", "        always_changed: true\n        desc: Fetch")
    )
    assert RUNNING in pinned.dvc("repro")
    assert RUNNING in pinned.dvc("repro")
    assert pinned.trained == 1


def test_a_stage_of_an_earlier_form_is_told_and_rewritten(pinned: Team) -> None:
    path = pinned.project / "dvc.yaml"
    now = path.read_text()
    old = now.replace("            - provenance/evidence/pets\n", "")
    old = old.replace("databom.toml: null", "databom.toml:\n                - use\n                - policy")
    assert old != now
    path.write_text(old)
    (pinned.project / "dvc.lock").unlink()
    (evidence(pinned) / "README.md").unlink()
    evidence(pinned).rmdir()
    pinned.dvc("repro")
    assert "databom update pets rewrites it" in pinned.house.ok("doctor").out
    answer = pinned.house.json("update", "pets")
    assert answer.code == 0
    assert path.read_text() == now
    assert "rewrites it" not in pinned.house.ok("doctor").out
    assert RUNNING in pinned.dvc("repro")
    assert json.loads(pinned.house.ok("bom").out)


def test_the_folder_of_evidence_is_kept_by_git(pinned: Team) -> None:
    """A clone has it too: DVC cannot depend on what is not there."""
    about = evidence(pinned) / "README.md"
    assert "databom attach pets FILE" in about.read_text()
    about.write_text("ours\n")
    pinned.house.ok("update", "pets")
    assert about.read_text() == "ours\n"
    assert pinned.house.ok("check")
