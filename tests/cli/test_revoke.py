"""M03, M06, M09, M10 and what `databom revoke` does without a tracking server: refuse from now on, and remember it."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from databom.model import times
from databom.storage.location import Location
from databom.testing.simulator import Release
from databom.trust.proof import sign_proof
from support.affecting import alone, ask, move, pin, runs, team, train
from support.explained import git
from support.house import Answer
from support.payments import NOW, Team

__all__ = ["alone", "team"]
KIND = "urn:databom:revocation:v1"
SAYS = {"issued_at": times.format(NOW), "reason": "the creator withdraws it"}
LICENSE = {"type": "commercial", "spdx": "CC-BY-4.0"}


def notice(
    team: Team, release: Release, says: dict[str, Any] = SAYS, signer: str = "revocation", kind: str = KIND
) -> Path:
    """A signed notice as a file."""
    path = team.house.base / "notice.dsse.json"
    name = f"{release.dataset_id}@{release.version}"
    path.write_bytes(sign_proof(kind, name, release.digest, says, [team.sim.key(signer)]))
    return path


def revoke(team: Team, path: Path) -> Answer:
    return team.house.json("revoke", path)


def events(team: Team, kind: str) -> list[dict[str, Any]]:
    every = json.loads(team.house.ok("log", "show", "--format", "json").out)
    return [one["entry"] for one in every if one["kind"] == kind]


def test_a_release_that_was_taken_back_is_refused_everywhere(team: Team) -> None:
    release = pin(team, "pets", license=LICENSE, creator_id="creator:alice")
    run = train("pets")
    assert team.house.json("check").code == 0
    answer = revoke(team, notice(team, release))
    assert answer.code == 0, answer.out
    assert answer.codes == {"revocation.recorded"}
    assert [one["run"] for one in answer.report["affected"]["runs"]] == [run]
    for command in (("check",), ("sync",), ("exec", "pets", "--", "true")):
        assert team.house.cli(*command).code == 1, command
    assert "revocation.revoked" in team.house.json("check").blocking
    [event] = events(team, "revoked")
    assert (event["manifest"], event["claimed"], event["release"]) == (release.digest, False, "sim-pets@1")
    assert event["evidence"] == answer.findings[0]["found"].partition(",")[0]
    # Again: nothing is done twice.
    assert revoke(team, notice(team, release)).code == 0
    assert len(events(team, "revoked")) == 1
    assert len(team.kept()) == 1


def test_text_lists_what_stands_on_it(team: Team) -> None:
    release = pin(team, "pets", license=LICENSE)
    run = train("pets")
    answer = team.house.ok("revoke", notice(team, release))
    assert run in answer.out
    assert answer.out.rstrip().endswith("verdict: pass")
    assert answer.err == "notice of revocation notice.dsse.json: pass\n"


def test_every_name_and_the_release_before(team: Team) -> None:
    """A release that the pin left long ago: its runs are found, its notice is kept, the newer one passes."""
    first = pin(team, "pets", license=LICENSE)
    old = train("pets")
    move(team, "pets", {"c.txt": b"c"}, license=LICENSE)
    new = train("pets")
    answer = revoke(team, notice(team, first))
    assert (answer.code, answer.codes) == (0, {"revocation.recorded"})
    assert [one["run"] for one in answer.report["affected"]["runs"]] == [old]
    assert team.house.json("check").code == 0
    assert runs(ask(team, "pets")) == {old: "declared", new: "declared"}


def test_a_run_where_it_was_only_present_is_told(team: Team) -> None:
    release = pin(team, "pets", license=LICENSE)
    run = train()
    answer = revoke(team, notice(team, release))
    assert answer.code == 0
    assert {one["subject"] for one in answer.findings if one["code"] == "revocation.possible"} == {run}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"signer": "payment"}, "revocation.invalid"),
        ({"signer": "nobody"}, "revocation.invalid"),
        ({"says": {"reason": "why"}}, "revocation.invalid"),
        ({"kind": "urn:databom:consent:v1", "signer": "revocation"}, "consent.invalid"),
        ({"kind": "urn:databom:payment-receipt:v1", "signer": "payment"}, "revocation.invalid"),
        ({"kind": "urn:example:other"}, "evidence.invalid"),
    ],
)
def test_a_notice_that_does_not_hold_changes_nothing_and_is_remembered(
    team: Team, changed: dict[str, Any], code: str
) -> None:
    """M03."""
    release = pin(team, "pets", license=LICENSE)
    train("pets")
    before = team.kept()
    answer = revoke(team, notice(team, release, **changed))
    assert (answer.code, answer.blocking) == (1, {code})
    assert "affected" not in answer.report
    assert team.kept() == before
    assert team.house.json("check").code == 0
    told = [(one["manifest"], one["code"]) for one in events(team, "notice-refused")]
    assert told == ([] if code == "evidence.invalid" else [(release.digest, code)])


def test_a_trust_root_that_expired_takes_nothing_back(team: Team) -> None:
    """As the drill says: nobody has said lately whom to believe."""
    release = pin(team, "pets", license=LICENSE)
    path = team.house.project / "provenance/trust.json"
    root = json.loads(path.read_text())
    path.write_text(json.dumps({**root, "expires": times.format(NOW - timedelta(days=1))}))
    answer = revoke(team, notice(team, release))
    assert (answer.code, answer.blocking) == (1, {"trust.expired"})
    assert team.kept() == []
    assert "drill.nobody" in team.house.json("drill").blocking


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"payloadType": 1}'])
def test_what_is_no_statement_is_a_no(team: Team, raw: bytes) -> None:
    pin(team, "pets")
    path = team.house.base / "notice"
    path.write_bytes(raw)
    answer = revoke(team, path)
    assert (answer.code, answer.blocking) == (1, {"evidence.invalid"})


def test_a_notice_that_cannot_be_read_is_unanswered(team: Team) -> None:
    pin(team, "pets")
    assert team.house.cli("revoke", team.house.base / "nothing").code == 3


def test_an_irrevocable_license_is_claimed_and_nothing_is_done(team: Team) -> None:
    """M09."""
    release = pin(team, "pets", license={**LICENSE, "revocable": False})
    train("pets")
    answer = revoke(team, notice(team, release))
    assert (answer.code, answer.codes) == (0, {"revocation.claimed"})
    assert "affected" not in answer.report
    assert team.house.json("check").code == 0
    [event] = events(team, "revoked")
    assert event["claimed"] is True
    assert team.house.cli("revoke", notice(team, release), "--strict").code == 1
    assert len(events(team, "revoked")) == 1


def test_a_release_that_nobody_pinned_is_refused_when_somebody_does(team: Team) -> None:
    pin(team, "pets", license=LICENSE)
    other = team.sim.publish({"q": b"q"}, dataset_id="sim-cars", license=LICENSE)
    answer = revoke(team, notice(team, other))
    assert (answer.code, answer.codes) == (0, {"revocation.recorded", "revocation.unknown"})
    manifest = team.sim.write(other.documents(), team.house.market / "cars")
    added = team.house.json("add", manifest, "--no-dvc")
    assert "revocation.revoked" in added.blocking
    # The log remembers it under any other name, too.
    added = team.house.json("add", manifest, "--name", "vehicles", "--no-dvc")
    assert "revocation.revoked" in added.blocking
    assert "revocation.revoked" in team.house.json("check").blocking


def test_another_name_of_it_is_refused_where_the_log_is_not(team: Team) -> None:
    """A fresh clone: the notice lies in git beside the pin, and the log is elsewhere."""
    release = pin(team, "pets", license=LICENSE)
    assert revoke(team, notice(team, release)).code == 0
    shutil.rmtree(team.house.project / ".databom")
    manifest = team.sim.write(release.documents(), team.house.market / "again")
    team.house.json("add", manifest, "--name", "vehicles", "--no-dvc")
    for command in (("sync", "vehicles"), ("exec", "vehicles", "--", "true")):
        assert team.house.cli(*command).code == 1, command
    told = [one for one in team.house.json("check").findings if one["code"] == "revocation.revoked"]
    assert len(told) == 2  # one a pin


def test_a_notice_that_was_removed_is_remembered_by_the_log(team: Team) -> None:
    """M06, M10: taking the file away, or an older commit, gives nothing back; the log stays verifiable."""
    release = pin(team, "pets", license=LICENSE)
    git(team.house, "init", "-q")
    git(team.house, "add", "-A")
    git(team.house, "commit", "-q", "-m", "before")
    attached = team.house.json("attach", "pets", notice(team, release))
    assert attached.code == 0
    shutil.rmtree(team.house.project / "provenance/evidence/pets")
    git(team.house, "checkout", "-q", "--", "provenance", "databom.lock")
    answer = team.house.json("check")
    assert (answer.code, answer.blocking) == (1, {"revocation.revoked"})
    shutil.rmtree(team.house.project / "data/pets")
    assert team.house.cli("log", "verify").code == 0
    # With the notice back, it is told once, by the pin.
    revoke(team, notice(team, release))
    told = [
        one["subject"] for one in team.house.json("check").findings if one["code"] == "revocation.revoked"
    ]
    assert len(told) == 1
    assert len(events(team, "revoked")) == 1


def test_a_manifest_that_is_gone_is_unanswered_and_still_refused(team: Team) -> None:
    first = pin(team, "pets", license=LICENSE)
    run = train("pets")
    move(team, "pets", {"c.txt": b"c"}, license=LICENSE)
    shutil.rmtree(team.house.project / ".databom/seen")
    answer = revoke(team, notice(team, first))
    assert answer.code == 3
    assert answer.blocking == {"revocation.unanswered"}
    assert [one["run"] for one in answer.report["affected"]["runs"]] == [run]
    assert len(team.kept()) == 1


def test_a_notice_that_comes_while_a_run_goes_on_is_in_its_receipt(team: Team) -> None:
    """M01: the run ends as it would; its receipt says it, and whoever asks about the model is refused."""
    import databom
    from support.explained import explained, lines
    from support.receipts import dependencies_of

    release = pin(team, "pets", license=LICENSE)
    before = train("pets")
    databom.use("pets")
    with databom.training("train") as run:
        team.house.ok("revoke", notice(team, release))
    assert run.verdict == "pass"
    notes = dependencies_of(run.receipt.read_bytes())["pets"]["annotations"]
    [evidence] = notes["revoked"]
    assert evidence == events(team, "revoked")[0]["evidence"]
    answer, strength, _ = lines(explained(team.house, run.id))["taken back"]
    assert (strength, evidence in answer) == ("verified", True)
    assert "taken back" not in lines(explained(team.house, before.removeprefix("databom:")))


# --- the drill ----------------------------------------------------------------------------------------------


def test_a_drill_says_what_would_be_done_and_does_nothing(team: Team) -> None:
    pin(team, "pets", license=LICENSE)
    pin(team, "cars", {"c": b"c"}, dataset_id="sim-cars")
    train("pets")
    before = sorted(path for path in team.house.project.rglob("*") if path.is_file())
    answer = team.house.json("drill")
    assert answer.code == 0, answer.out
    told = {(one["code"], one["subject"]): one["what"] for one in answer.findings}
    assert told["drill.stands", "pets"].startswith("on it stand 1 run and 0 registered versions;")
    assert told["drill.stands", "cars"].startswith("on it stand 0 runs and")
    assert ("drill.claim", "cars") in told  # the simulator sells what cannot be taken back
    assert ("drill.claim", "pets") not in told
    assert ("drill.unasked", None) in told
    assert sorted(path for path in team.house.project.rglob("*") if path.is_file()) == before
    assert events(team, "revoked") == []


def test_a_drill_reads_each_manifest_once(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not once a pin: of 1,000 pins that took minutes."""
    from databom.tasks import kept_manifests

    for name in ("pets", "cars", "birds"):
        pin(team, name, {name: b"x"}, dataset_id=f"sim-{name}")
    real, read = kept_manifests.kept_here, []

    def counting(place: Any, name: str, digest: str) -> Any:
        read.append(name)
        return real(place, name, digest)

    monkeypatch.setattr(kept_manifests, "kept_here", counting)
    assert team.house.json("drill").code == 0
    assert sorted(read) == ["birds", "cars", "pets"]


def test_a_drill_fails_where_a_notice_would(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(team, "pets", license=LICENSE)
    root = team.house.project / "provenance/trust.json"
    value = json.loads(root.read_text())
    value["roles"].pop("revocation")
    root.write_text(json.dumps(value))
    answer = team.house.json("drill")
    assert (answer.code, answer.blocking) == (1, {"drill.nobody"})
    monkeypatch.delenv("DATABOM_LOG_KEY")
    assert "drill.unlogged" in team.house.json("drill").codes
    (team.house.project / "databom.lock").unlink()
    assert team.house.cli("drill").code == 2


def test_a_drill_finds_what_cannot_be_looked_at(team: Team) -> None:
    pin(team, "pets", license=LICENSE)
    move(team, "pets", {"c.txt": b"c"}, license=LICENSE)
    shutil.rmtree(team.house.project / ".databom/seen")
    answer = team.house.json("drill")
    assert (answer.code, answer.blocking) == (3, {"drill.unanswered"})


def test_whoever_does_not_write_the_log_is_told(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    release = pin(team, "pets", license=LICENSE)
    path = notice(team, release)
    monkeypatch.delenv("DATABOM_LOG_KEY")
    answer = revoke(team, path)
    assert (answer.code, "revocation.unlogged" in answer.codes) == (0, True)
    assert "revocation.revoked" in team.house.json("check").blocking


def test_a_license_that_may_be_irrevocable_is_not_carried_out_unseen(team: Team) -> None:
    """M09: the manifest of an earlier release is gone here, and only it says whether the license can be taken back."""
    first = pin(team, "pets", license={**LICENSE, "revocable": False})
    train("pets")
    move(team, "pets", {"c.txt": b"c"}, license=LICENSE)
    kept = team.house.project / ".databom/seen"
    shutil.move(kept, team.house.base / "seen")
    answer = revoke(team, notice(team, first))
    assert (answer.code, answer.blocking) == (3, {"revocation.unanswered"})
    assert events(team, "revoked") == []
    shutil.move(team.house.base / "seen", kept)
    answer = revoke(team, notice(team, first))
    assert (answer.code, answer.codes) == (0, {"revocation.claimed"})


@pytest.mark.s3
def test_another_clone_with_the_team_s_log_knows_the_same(
    team: Team, r2_bucket: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log lies in a bucket: whoever has the repository and may read it finds the runs of the others."""
    config = team.house.project / "databom.toml"
    config.write_text(config.read_text().replace('".databom/log"', f'"{r2_bucket.stored}/log"'))
    release = pin(team, "pets", license=LICENSE)
    run = train("pets")
    clone = team.house.base / "clone"
    shutil.copytree(team.house.project, clone, ignore=shutil.ignore_patterns(".databom"))
    monkeypatch.chdir(clone)
    team.house.project = clone
    answer = ask(team, "pets")
    assert (answer.code, runs(answer)) == (0, {run: "declared"})
    assert team.house.ok("meter").err.startswith("meter: 1 run used 1 of 1 releases")
    done = revoke(team, notice(team, release))
    assert (done.code, [one["run"] for one in done.report["affected"]["runs"]]) == (0, [run])
    assert [one["release"] for one in events(team, "revoked")] == ["sim-pets@1"]
