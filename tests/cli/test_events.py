"""What commands leave in the log: each event once, in order, and never at the cost of the command's own answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from databom.model.digest import sha256
from databom.tasks import sync
from support.fixtures_r2 import HASTE
from support.house import FILES, House
from support.payments import PAID, Team, team

__all__ = ["team"]


@pytest.fixture(autouse=True)
def no_key_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABOM_LOG_KEY", raising=False)


def events(house: House) -> list[dict[str, Any]]:
    """The log's entries, each as its schema wants it."""
    if not (house.project / ".databom" / "log" / "checkpoint").exists():
        return []
    house.ok("log", "verify", "-q")
    found = [one["entry"] for one in house.json("log", "show").report]
    for one in found:
        schema = json.loads((files("databom.log") / "schemas" / f"{one['event']}.json").read_text())
        Draft202012Validator(schema).validate(one)
    return found


def kinds(house: House) -> list[str]:
    return [one["event"] for one in events(house)]


@pytest.fixture
def logging_team(team: Team, monkeypatch: pytest.MonkeyPatch) -> Team:
    """A team whose log is signed by a key of the simulator."""
    (team.house.project / "provenance/trust.json").write_bytes(team.sim.trust_role("log", "log"))
    monkeypatch.setenv("DATABOM_LOG_KEY", team.sim.key("log").pem().decode())
    return team


def test_add_and_sync(house: House) -> None:
    house.synced()
    pinned, verified = events(house)
    pin = json.loads(Path("databom.lock").read_text())["pins"]["pets"]
    for one in (pinned, verified):
        assert (one["name"], one["release"], one["manifest"]) == ("pets", "hn-pets@1", pin["manifest"])
        assert (one["tree"], one["trust"]) == (
            pin["tree"],
            sha256(Path("provenance/trust.json").read_bytes()),
        )
    assert (pinned["event"], pinned["rollback"], pinned["keyids"]) == ("pinned", False, pin["keyids"])
    assert (verified["event"], verified["verdict"], verified["failed"]) == ("verified", "pass", 0)
    assert verified["report"] == sha256(Path("provenance/reports/pets.json").read_bytes())


def test_what_says_nothing_new_is_not_said_again(house: House) -> None:
    manifest = house.synced()
    house.ok("add", manifest, "--name", "pets")
    house.ok("sync")
    house.ok("sync", "pets")
    assert kinds(house) == ["pinned", "verified"]
    now = datetime.now(UTC)
    sync("pets", now=now + timedelta(hours=23))
    assert kinds(house) == ["pinned", "verified"]
    sync("pets", now=now + timedelta(hours=25))
    assert kinds(house) == ["pinned", "verified", "verified"]


def test_a_mismatch_and_its_end(house: House) -> None:
    house.synced()
    (house.data / "images/cat1.jpg").write_bytes(b"a dog\n")
    assert house.cli("sync", "pets").code == 1
    ident = house.json("incident", "list").report["incidents"][0]["incident"]
    house.ok("sync", "pets", "--refetch")
    house.ok("incident", "close", ident, "--reason", "a bad disk", "--by", "ann")
    found = events(house)
    assert [(one["event"], one.get("verdict")) for one in found] == [
        ("pinned", None),
        ("verified", "pass"),
        ("verified", "fail"),
        ("incident-opened", None),
        ("verified", "pass"),
        ("incident-closed", None),
    ]
    assert (found[3]["incident"], found[3]["asset"]) == (ident, "images/cat1.jpg")
    assert (found[4]["refetched"], found[5]["reason"]) == (True, "a bad disk")


def test_update_and_rollback(house: House) -> None:
    house.init()
    first = house.release(FILES, "--sequence", "1")
    house.ok("add", first, "--name", "pets")
    second = house.release({"b.txt": b"b"}, "--sequence", "2", version="2", folder="v2")
    house.ok("update", "pets", second)
    house.ok("update", "pets", second)
    house.cli("update", "pets", first)
    house.ok("update", "pets", first, "--allow-rollback")
    assert [(one["release"], one["rollback"]) for one in events(house)] == [
        ("hn-pets@1", False),
        ("hn-pets@2", False),
        ("hn-pets@1", True),
    ]


def test_a_refused_release_leaves_nothing(house: House) -> None:
    house.init()
    manifest = house.release()
    manifest.write_bytes(manifest.read_bytes().replace(b"creator:alice", b"creator:mallo"))
    assert house.cli("add", manifest).code == 1
    assert events(house) == []


def test_a_payment(logging_team: Team) -> None:
    team = logging_team
    release = team.pin(payment=PAID)
    receipt = team.sim.receipt(release)
    assert team.attach(receipt).code == 0
    assert team.attach(receipt).code == 0
    (pinned, paid) = events(team.house)
    assert (pinned["event"], paid["event"], paid["evidence"]) == ("pinned", "paid", sha256(receipt))
    assert (paid["transaction_id"], paid["model"]) == (PAID["transaction_id"], "one-time")


def test_what_nobody_signed_is_not_called_paid(logging_team: Team) -> None:
    team = logging_team
    team.pin(payment=PAID)
    assert team.attach(json.dumps({"transaction_id": PAID["transaction_id"]}).encode()).code == 0
    assert kinds(team.house) == ["pinned"]


def test_a_clone_without_the_key_says_nothing(house: House) -> None:
    manifest = house.pinned()
    (house.project / ".databom/keys/log.pem").unlink()
    answer = house.ok("sync")
    assert "log" not in answer.err
    house.ok("add", manifest, "--name", "other")
    assert kinds(house) == ["pinned"]


@pytest.mark.parametrize("broken", ["key", "log", "git", "folder"])
def test_a_log_that_cannot_be_written_changes_no_answer(
    house: House, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.pinned()
    if broken == "key":
        monkeypatch.setenv("DATABOM_LOG_KEY", str(house.base / "nowhere.pem"))
    elif broken == "log":
        (house.project / ".databom/log/checkpoint").write_bytes(b"no checkpoint\n")
    elif broken == "git":
        (house.project / "provenance/checkpoint").write_bytes(b"<<<<<<< HEAD\n")
    else:
        (house.project / ".databom/log").rename(house.base / "log")
        (house.project / ".databom/log").write_text("a file")
    house.ok("sync", "pets")
    assert "the log could not be written, so one event is not in it" in caplog.text
    assert "Traceback" not in caplog.text
    caplog.clear()
    assert json.loads(Path("provenance/reports/pets.json").read_text())["verdict"] == "pass"
    house.ok("sync", "pets")
    assert "the log could not be written" in caplog.text


@pytest.mark.s3
def test_a_log_that_hangs_changes_no_answer(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that takes the connection and never speaks is waited for a little, once a command."""
    house.pinned()
    toml = house.project / "databom.toml"
    toml.write_text(toml.read_text().replace('".databom/log"', '"s3://bucket/log"'))
    (house.project / "provenance/checkpoint").unlink()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("databom.tasks.noting.PATIENCE", HASTE)
        house.ok("sync", "pets")
    assert "the log could not be written, so one event is not in it" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_log_that_may_only_be_read_changes_no_answer(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.pinned()
    places = [path for path in (house.project / ".databom/log").rglob("*") if path.is_dir()]
    for path in (house.project / ".databom/log", *places):
        path.chmod(0o555)
    house.ok("sync", "pets")
    for path in (house.project / ".databom/log", *places):
        path.chmod(0o755)
    assert "the log could not be written" in caplog.text


def test_commands_at_once_leave_each_event_once(house: House) -> None:
    house.synced()
    release = house.release()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "databom", "add", release, "--name", f"pets{number}", "--no-dvc"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for number in range(4)
    ]
    told = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * 4, told
    names = sorted(one["name"] for one in events(house) if one["event"] == "pinned")
    assert names == ["pets", *(f"pets{number}" for number in range(4))]
