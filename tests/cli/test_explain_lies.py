"""`databom explain` of a run that somebody lies about: no line is stronger than what shows it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import databom
from databom.log.events import Verified
from databom.tasks import explain, sync
from databom.tasks.project import Project
from databom.tasks.remembering import remember
from support.explained import alone, committed, explained, lines, own_key, strengths, trained
from support.house import House

__all__ = ["alone"]


def pin_of(house: House) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((house.project / "databom.lock").read_text())["pins"]["pets"]
    return found


def vouched(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose keys are no development keys, with its data."""
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    house.ok("sync")


# --- what was checked before the run ------------------------------------------------------------------------


def test_the_last_look_before_a_run_is_the_one_that_counts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    vouched(house, monkeypatch)
    (house.data / "images/cat1.jpg").write_bytes(b"a dog\n")
    assert house.cli("sync", "pets").code == 1
    with databom.training("pets") as run:
        pass
    answer, strength, evidence = lines(explained(house, run.id))["checked"]
    assert strength == "missing"
    assert "did not hold" in answer
    assert evidence.startswith("log entry ")


def test_what_does_not_say_how_it_ended_has_not_passed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    told = {"event": "verified", "time": "2026-01-01T00:00:00Z", "name": "pets", **_subject(house)}
    remember(Project.load(house.project), told)
    with databom.training("pets") as run:
        pass
    assert lines(explained(house, run.id))["checked"][1] == "missing"


def _subject(house: House) -> dict[str, Any]:
    return {"release": "hn-pets@1", "manifest": pin_of(house)["manifest"]}


def _passed(house: House, name: str) -> Verified:
    pin = pin_of(house)
    return Verified(
        name=name,
        **_subject(house),
        tree=pin["tree"],
        verdict="pass",
        trust=pin["manifest"],
        policy=pin["manifest"],
        assets=3,
        bytes=20,
        failed=0,
        report=pin["manifest"],
    )


def test_another_pin_of_the_release_was_looked_at_elsewhere(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pins of one release are two folders: that one holds says nothing of the other."""
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    remember(Project.load(house.project), _passed(house, "others"))
    with databom.training("pets") as run:
        pass
    assert lines(explained(house, run.id))["checked"][1] == "missing"


def test_what_came_after_the_run_does_not_count(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt that is not in the log has no place in its order."""
    house.init()
    own_key(house, monkeypatch)
    house.ok("add", house.release(), "--name", "pets")
    with monkeypatch.context() as patch:
        patch.setenv("DATABOM_LOG_KEY", str(house.base / "nowhere.pem"))
        with databom.training("pets") as run:
            pass
    sync("pets", now=datetime.now(UTC) + timedelta(minutes=1))
    answer = explained(house, run.id)
    assert answer["index"] is None
    said = strengths(answer)
    assert (said["in the log"], said["checked"]) == ("missing", "missing")
    house.ok("log", "flush")
    answer = explained(house, run.id)
    said = strengths(answer)
    assert (answer["index"], said["in the log"]) == (2, "verified")
    assert said["checked"] == "missing"  # logged after the look, and ended before it


# --- whose log it is ----------------------------------------------------------------------------------------


def test_a_development_key_of_the_log_declares(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    own_key(house, monkeypatch, "receipt")
    house.ok("add", house.release(), "--name", "pets")
    house.ok("sync")
    answer = explained(house, trained().id)
    assert "development key" in lines(answer)["in the log"][0]
    said = strengths(answer)
    assert {said[about] for about in ("in the log", "checked", "ended", "release")} == {"declared"}


def test_a_proof_of_another_history_under_the_same_key(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log was begun anew, with its key: what the old one held is not in it."""
    vouched(house, monkeypatch)
    run = trained()
    for path in (".databom/log", ".databom/checkpoints"):
        shutil.rmtree(house.project / path)
    (house.project / "provenance/checkpoint").unlink()
    remember(Project.load(house.project), *(_passed(house, f"n{number}") for number in range(5)))
    answer = explained(house, run.id)
    said = strengths(answer)
    assert (said["in the log"], said["ended"]) == ("missing", "declared")
    assert "another history" in lines(answer)["not believed"][0]


# --- lists beside a receipt ---------------------------------------------------------------------------------


def test_an_edited_list_does_not_unseat_the_receipt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write to this clone cannot bring back an older ending by it."""
    vouched(house, monkeypatch)
    with databom.training("pets") as run:
        folder = Path("out")
        folder.mkdir()
        for number in range(400):
            (folder / f"{'part' * 20}-{number}.bin").write_bytes(b"%d" % number)
            run.produced(folder / f"{'part' * 20}-{number}.bin")
    before = explained(house, run.id)
    assert len([one for one in before["lines"] if one["question"] == "models"]) > 100
    run.receipt.with_name("receipt.subjects.json").write_text("[]")
    after = explained(house, run.id)
    assert (after["index"], after["receipt"]) == (before["index"], before["receipt"])
    models = [one for one in after["lines"] if one["question"] == "models"]
    assert [(one["answer"], one["strength"]) for one in models] == [
        ("a list of 400, which is not here", "missing")
    ]
    assert "not the one that it names" in lines(after)["not believed"][0]


def test_releases_that_nobody_can_name_are_missing_for_a_second_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.explained import many_pins

    run = many_pins(house, monkeypatch)
    shutil.rmtree(house.project / ".databom/receipts/runs")
    answer = explained(house, run.id)
    assert "releases" in answer["missing"]
    assert not answer["reproducible"]


# --- the trust root -----------------------------------------------------------------------------------------


def test_a_trust_root_that_is_not_believed_explains_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older root may believe keys that were withdrawn."""
    vouched(house, monkeypatch)
    run = trained()
    lock = json.loads(Path("databom.lock").read_text())
    lock["trust"] = {"version": 2, "digest": f"sha256:{64 * '0'}"}
    Path("databom.lock").write_text(json.dumps(lock))
    answer = house.cli("explain", run.id)
    assert (answer.code, answer.out) == (2, "")
    assert "this project has accepted a newer trust root" in answer.err


def test_another_trust_root_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    vouched(house, monkeypatch)
    run = trained()
    other = house.base / "other.json"
    other.write_bytes(Path("provenance/trust.json").read_bytes())
    monkeypatch.setenv("DATABOM_TRUST", str(other))
    answer, strength, evidence = lines(explained(house, run.id))["trust root"]
    assert "DATABOM_TRUST" in answer
    assert (strength, evidence) == ("declared", "trust.override")


def test_an_expired_trust_root_lets_nobody_speak_now(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    vouched(house, monkeypatch)
    run = trained()
    root = json.loads(Path("provenance/trust.json").read_text())
    late = datetime.fromisoformat(root["expires"]) + timedelta(days=1)
    found = {one.about: one for one in explain(run.id, now=late.astimezone(UTC)).lines}
    assert found["trust root"].evidence == "trust.expired"
    assert {found[about].strength for about in ("ended", "supplied by", "license")} == {"declared"}


# --- what is here now ---------------------------------------------------------------------------------------


def test_a_record_in_the_working_tree_is_no_proof(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """That no file changed since it was hashed says a file of this clone, which nobody signed."""
    vouched(house, monkeypatch)
    committed(house)
    found = lines(explained(house, trained().id), "rerun")
    assert found["assets"][1] == "declared"


def test_an_environment_is_no_surer_than_the_receipt_that_names_it(house: House) -> None:
    house.synced()
    found = lines(explained(house, trained().id), "rerun")
    assert found["environment"][:2] == (found["environment"][0], "declared")


# --- what is asked ------------------------------------------------------------------------------------------

SECRET = "AKIDSECRET"


@pytest.mark.parametrize(
    "target",
    [
        f"https://bucket.example/m?X-Amz-Signature={SECRET}",
        f"https://user:{SECRET}@host.example/models:/x/1",
        f"s3://user:{SECRET}@host/x",
        "models:/x/latest",
        "models:/x/1/../2",
        "runs:/../x",
        "/etc/passwd",
        "a\u202eb",
        "",
        "x" * 65,
        "mlflow:",
        "databom:databom:x",
    ],
)
def test_what_names_no_run(house: House, target: str) -> None:
    house.synced()
    answer = house.cli("explain", target)
    assert (answer.code, answer.out) == (2, "")
    assert SECRET not in answer.err
    assert "\u202e" not in answer.err
    assert "Traceback" not in answer.err


def test_an_option_is_no_run(house: House) -> None:
    house.synced()
    assert house.cli("explain", "-x").code == 2
    assert house.cli("explain", "--", "-x").code == 3


def test_names_of_a_receipt_are_shown_as_text(house: House) -> None:
    house.synced()
    with databom.training("pets") as run:
        name = "m\u202eodel\x1b[31m<b>.bin"
        Path(name).write_bytes(b"w")
        run.produced(name)
    page = house.base / "page.html"
    answer = house.ok("explain", run.id, "--html", page)
    for text in (answer.out, page.read_text()):
        assert "\u202e" not in text
        assert "\x1b[31m" not in text
    assert "<b>.bin" not in page.read_text()
