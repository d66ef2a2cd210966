"""`databom bundle` and licenses that were taken back: before the run ended, since, and where the notice is lost."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import databom
from cli.test_revoke import LICENSE, notice, revoke
from databom.model import times
from databom.model.audit_bundle import Absent
from support.affecting import alone, pin, team, train
from support.bundled import absent_in, files_of, put_together
from support.house import Answer
from support.payments import Team

__all__ = ["alone", "team"]

BEFORE = {"issued_at": "2020-01-01T00:00:00Z", "reason": "the creator withdraws it"}


def bundled(team: Team, run: str) -> Path:
    file = team.house.base / f"{len(list(team.house.base.iterdir()))}.zip"
    team.house.cli("bundle", run, "-o", file)
    return file


def verified(team: Team, file: Path, *more: str) -> Answer:
    return team.house.json("bundle", "verify", file, *more)


def lose(team: Team) -> None:
    for name in team.kept():
        (team.house.project / "provenance/evidence/pets" / name).unlink()


def events_in(file: Path) -> list[str]:
    files = files_of(file.read_bytes())
    return [
        json.loads(raw)["event"]
        for path, raw in files.items()
        if path.startswith("log/") and path.endswith(".json")
    ]


def line(answer: Answer, about: str) -> str:
    [found] = [
        one["answer"] for one in answer.report["bundle"]["explanation"]["lines"] if one["about"] == about
    ]
    return str(found)


def test_a_release_that_was_revoked_before_the_run_ended(team: Team) -> None:
    release = pin(team, "pets", license=LICENSE)
    run = train("pets")
    assert revoke(team, notice(team, release, BEFORE)).code == 0
    file = bundled(team, run)
    assert events_in(file) == ["pinned", "verified", "revoked"]
    answer = verified(team, file)
    assert (answer.code, answer.blocking) == (1, {"revocation.revoked"})
    # Where only the log remembers it, it is not forgotten; by whoever makes the bundle nor in it.
    lose(team)
    file = bundled(team, run)
    answer = verified(team, file)
    assert (answer.code, answer.blocking) == (1, {"revocation.revoked"})
    assert line(answer, "judged as of its end") == "not allowed: revocation.revoked"
    files = files_of(file.read_bytes())
    file.write_bytes(
        put_together(files, file.read_bytes(), absent=(Absent("evidence", "pets", "it was lost"),))
    )
    assert verified(team, file).blocking == {"revocation.revoked"}


def test_a_release_that_was_revoked_since(team: Team) -> None:
    release = pin(team, "pets", license=LICENSE)
    run = train("pets")
    later = times.format(times.now() + timedelta(seconds=1))
    while times.now() <= times.parse(later):
        pass
    assert revoke(team, notice(team, release, {**BEFORE, "issued_at": later})).code == 0
    for _ in range(2):  # with the notice, and where it is lost
        answer = verified(team, bundled(team, run))
        assert (answer.code, answer.blocking) == (0, set()), answer.out
        [since] = [one for one in answer.findings if one["code"] == "bundle.since"]
        assert "revocation.revoked" in since["found"]
        assert line(answer, "judged as of its end") == "allowed"
        lose(team)


def test_a_notice_that_the_receipt_names(team: Team) -> None:
    """It came while the run went on: whoever takes it and the log's entry out is told what is missing."""
    release = pin(team, "pets", license=LICENSE)
    databom.use("pets")
    with databom.training("train") as run:
        team.house.ok("revoke", notice(team, release))
    file = bundled(team, run.id)
    raw = file.read_bytes()
    assert verified(team, file).blocking == {"revocation.revoked"}
    files = files_of(raw)
    [path] = [one for one in files if "/revocation-" in one]
    gone = {one: data for one, data in files.items() if b'"event":"revoked"' not in data and one != path}
    gone = {
        one: data
        for one, data in gone.items()
        if one.replace(".tlog-proof", ".json") in gone or "log/" not in one
    }
    hidden = {path.replace(".dsse.json", ".txt"): files[path]}
    for absent in ((), (Absent("evidence", "pets", "it was lost"),)):
        file.write_bytes(put_together(gone, raw, absent=absent))
        answer = verified(team, file)
        assert (answer.code, "revocation.revoked" in answer.blocking) == (1, True), answer.out
    lose(team)
    file = bundled(team, run.id)
    assert ("evidence", "pets") in {(one.what, one.about) for one in absent_in(file.read_bytes())}
    try:
        file.write_bytes(put_together({**gone, **hidden}, raw))
    except ValueError:
        return  # no place in a bundle
    raise AssertionError("a file of evidence that nothing reads has no place")


def test_a_claim_refuses_nothing_with_its_notice_or_without(team: Team) -> None:
    release = pin(team, "pets", license={**LICENSE, "revocable": False})
    databom.use("pets")
    with databom.training("train") as run:
        team.house.ok("revoke", notice(team, release))
    for _ in range(2):
        answer = verified(team, bundled(team, run.id))
        assert (answer.code, answer.blocking) == (0, set()), answer.out
        lose(team)


def test_a_notice_that_does_not_hold_is_not_missed(team: Team) -> None:
    release = pin(team, "pets", license=LICENSE)
    run = train("pets")
    assert revoke(team, notice(team, release, signer="payment")).code == 1
    file = bundled(team, run)
    assert events_in(file)[-1] == "notice-refused"
    answer: Any = verified(team, file)
    assert (answer.code, [one for one in answer.findings if one["severity"] != "info"]) == (0, [])
