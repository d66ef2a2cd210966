"""What `databom.lock` has forgotten, deleted, restored or edited: the log remembers it, and says where it differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.house import FILES, House
from support.payments import PAID, Team, team

__all__ = ["team"]


@pytest.fixture(autouse=True)
def no_key_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABOM_LOG_KEY", raising=False)


def release(house: House, number: int, **more: Any) -> Path:
    files = {**FILES, "n": b"%d" % number}
    return house.release(files, "--sequence", str(number), version=str(number), folder=f"v{number}", **more)


@pytest.fixture
def third(house: House) -> list[Path]:
    """A project that pinned three releases one after another; their manifests."""
    house.init()
    manifests = [release(house, number) for number in (1, 2, 3)]
    house.ok("add", manifests[0], "--name", "pets")
    shutil.copy(house.project / "databom.lock", house.base / "backup")
    for manifest in manifests[1:]:
        house.ok("update", "pets", manifest)
    house.ok("sync")
    return manifests


def lock(house: House) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((house.project / "databom.lock").read_text())
    return found


def write_lock(house: House, value: dict[str, Any]) -> None:
    (house.project / "databom.lock").write_text(json.dumps(value))


def forget(house: House, how: str) -> None:
    """Take back what the lock has seen."""
    if how == "deleted":
        (house.project / "databom.lock").unlink()
    elif how == "restored":
        shutil.copy(house.base / "backup", house.project / "databom.lock")
    else:
        value = lock(house)
        if how == "emptied":
            value["seen"] = {}
        else:
            value["seen"]["hn-pets"]["sequence"] = 1
        write_lock(house, value)


@pytest.mark.parametrize("how", ["deleted", "restored", "emptied", "lowered"])
def test_c08_what_was_seen_is_rebuilt_from_the_log(house: House, third: list[Path], how: str) -> None:
    before = lock(house)["seen"]["hn-pets"]
    forget(house, how)
    refused = house.json("add", third[1], "--name", "pets")
    assert (refused.code, refused.blocking) == (1, {"release.rollback"})
    fork = house.release({"a": b"other"}, "--sequence", "3", version="3", folder="fork")
    refused = house.json("add", fork, "--name", "pets")
    assert "release.equivocation" in refused.blocking
    answer = house.json("add", third[2], "--name", "pets")
    assert (answer.code, "release.forgotten" in answer.codes) == (0, True)
    after = lock(house)["seen"]["hn-pets"]
    assert (after["sequence"], after["newest"]) == (3, "3")
    assert {version: one["core"] for version, one in after["releases"].items()} == {
        version: one["core"] for version, one in before["releases"].items()
    }
    assert "release.forgotten" not in house.json("add", third[2], "--name", "pets").codes


@pytest.mark.parametrize("how", ["restored", "emptied", "lowered"])
def test_c08_check_says_what_the_lock_has_forgotten(house: House, third: list[Path], how: str) -> None:
    assert house.json("check").codes & {"release.forgotten", "log.rolled-back"} == set()
    forget(house, how)
    answer = house.json("check")
    [found] = [one for one in answer.findings if one["code"] == "release.forgotten"]
    assert (found["severity"], found["subject"]) == ("warn", "hn-pets")
    assert "release.forgotten" in house.json("check", "--strict").blocking


def test_c08_a_lock_that_contradicts_the_log_is_refused(house: House, third: list[Path]) -> None:
    value = lock(house)
    value["seen"]["hn-pets"]["releases"]["2"] |= dict.fromkeys(("content", "core"), "sha256:" + "ab" * 32)
    write_lock(house, value)
    answer = house.json("check")
    assert (answer.code, "release.equivocation" in answer.blocking) == (1, True)
    before = (house.project / "databom.lock").read_bytes()
    refused = house.json("update", "pets", release(house, 4))
    assert (refused.code, refused.blocking) == (1, {"release.equivocation"})
    assert (house.project / "databom.lock").read_bytes() == before


@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_c08_a_log_that_went_back_does_not_help_it_forget(house: House, third: list[Path], how: str) -> None:
    folder = house.project / ".databom" / "log"
    if how == "gone":
        shutil.rmtree(folder)
    elif how == "cut":
        kept = house.project / ".databom" / "checkpoints"
        shutil.move(kept, house.base / "kept")
        shutil.move(house.project / "provenance" / "checkpoint", house.base / "anchor")
        shutil.rmtree(folder)
        forget(house, "restored")
        house.ok("add", third[0], "--name", "again")
        shutil.rmtree(kept)
        shutil.move(house.base / "kept", kept)
        shutil.move(house.base / "anchor", house.project / "provenance" / "checkpoint")
    else:
        bundle = max(folder.glob("tile/entries/000.p/*"), key=lambda path: int(path.name))
        bundle.write_bytes(bundle.read_bytes().replace(b"hn-pets@3", b"hn-cats@3"))
    forget(house, "restored")
    code = {"gone": "log.rolled-back", "cut": "log.rolled-back", "changed": "log.corrupt"}[how]
    for command in (("check",), ("update", "pets", third[1])):
        answer = house.json(*command)
        assert (answer.code, code in answer.blocking) == (1, True), answer.out
    assert lock(house)["pins"]["pets"]["release"] == "hn-pets@1"


def test_c08_a_log_that_cannot_be_asked_says_nothing(
    house: House, third: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Another clone's, a bucket that is away: the lock is what there is, and a warning says so."""
    toml = house.project / "databom.toml"
    toml.write_text(toml.read_text().replace('".databom/log"', '"https://127.0.0.1:9/log"'))
    house.ok("update", "pets", release(house, 4))
    assert "the log could not be asked" in caplog.text
    toml.write_text(toml.read_text().replace('"https://127.0.0.1:9/log"', '".databom/log"'))
    shutil.rmtree(house.project / ".databom")
    house.ok("update", "pets", release(house, 5))


def test_c08_a_rollback_that_was_meant_is_no_forgetting(house: House, third: list[Path]) -> None:
    house.ok("update", "pets", third[1], "--allow-rollback")
    assert "release.forgotten" not in house.json("check").codes
    house.ok("update", "pets", third[2])
    # Nor is one that the log was not told.
    key = house.project / ".databom" / "keys" / "log.pem"
    key.rename(house.base / "log.pem")
    house.ok("update", "pets", third[0], "--allow-rollback")
    assert "release.forgotten" not in house.json("check").codes
    house.ok("update", "pets", third[1])


def test_c08_whatever_is_in_the_log_leaves_a_lock_that_can_be_read(house: House, third: list[Path]) -> None:
    """Events of a later release, or of whoever holds the key: what is no date and no digest is passed over."""
    from databom.tasks.project import Project
    from databom.tasks.remembering import remember

    good = {"event": "pinned", "release": "hn-pets@9", "time": "2026-11-26T12:00:00Z"}
    good |= dict.fromkeys(("content", "core", "manifest"), "sha256:" + "ab" * 32)
    place = Project.load(house.project)
    for bad in (
        {"time": "yesterday"}, {"core": "md5:1"}, {"content": 3}, {"release": "no version"}, {"release": ["x"]},
        {"sequence": True, "issued_at": "now", "release": "other@1"}, {"sequence": "7", "release": "other@2"},
    ):  # fmt: skip
        remember(place, {**good, **bad})
    assert "release.forgotten" in house.json("check").codes  # of `other` alone
    house.ok("update", "pets", release(house, 4))
    assert set(lock(house)["seen"]["hn-pets"]["releases"]) == {"1", "2", "3", "4"}
    (house.project / "databom.lock").unlink()
    house.ok("add", release(house, 5), "--name", "pets")
    shutil.rmtree(house.data)
    house.ok("sync", "pets")
    house.ok("check", "--trust", house.project / "provenance" / "trust.json")


# --- C07 -----------------------------------------------------------------------------------------------------


def test_c07_a_payment_that_the_log_knows_pays_for_nothing_else(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that say what it paid for are gone; the log still says it."""
    (team.house.project / "provenance/trust.json").write_bytes(team.sim.trust_role("log", "log"))
    monkeypatch.setenv("DATABOM_LOG_KEY", team.sim.key("log").pem().decode())
    first = team.pin(payment=PAID)
    assert team.attach(team.sim.receipt(first)).code == 0
    for path in (team.house.project / "provenance" / "evidence" / "pets").iterdir():
        path.unlink()
    second = team.pin(payment={**PAID, "transaction_id": "txn_2"})
    for receipt, codes in (
        (team.sim.receipt(first), {"payment.mismatch"}),
        (team.sim.receipt(second, transaction_id=PAID["transaction_id"]), {"payment.mismatch"}),
    ):
        answer = team.attach(receipt)
        assert (answer.code, answer.blocking) == (1, codes), answer.out
    reused = team.pin("other", payment=PAID)
    answer = team.attach(team.sim.receipt(reused, transaction_id=PAID["transaction_id"]), "other")
    assert (answer.code, answer.blocking) == (1, {"payment.mismatch"})
    assert any("used for another release" in one["what"] for one in answer.findings)
    assert team.attach(team.sim.receipt(second, transaction_id="txn_2")).code == 0
