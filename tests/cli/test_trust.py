"""The trust root at the command line: which one judges, who may write it, and how its keys are changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from databom.model.digest import sha256
from databom.tasks import init, new_key, trust_add
from support.house import Answer, House

ROOT = "provenance/trust.json"


@pytest.fixture
def stranger(house: House) -> Path:
    """A trust root outside the project that believes somebody else."""
    folder = house.base / "stranger"
    init(folder)
    new_key(house.base / "stranger.key")
    trust_add(house.base / "stranger.key.pub", marketplace="human-native", datasets=["*"], project=folder)
    path = folder / ROOT
    path.chmod(0o644)
    path.parent.chmod(0o755)
    return path


def codes(answer: Answer, severity: str) -> set[str]:
    return {one["code"] for one in answer.findings if one["severity"] == severity}


# --- which root ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["verify", "pets"], ["sync", "pets"], ["check"], ["verify"]])
def test_the_variable_is_in_every_report(
    house: House, stranger: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    house.synced()
    monkeypatch.setenv("DATABOM_TRUST", str(stranger))
    answer = house.json(*command)
    assert answer.code == 1
    assert answer.blocking == {"signature.untrusted"}
    assert "trust.override" in codes(answer, "warn")
    [report] = answer.report.get("reports", [answer.report])
    assert report["trust"] == sha256(stranger.read_bytes())
    monkeypatch.delenv("DATABOM_TRUST")
    assert house.json(*command).code == 0


def test_the_option_goes_before_the_variable(
    house: House, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.synced()
    copy = house.base / "copy.json"
    copy.write_bytes((house.project / ROOT).read_bytes())
    copy.chmod(0o644)
    monkeypatch.setenv("DATABOM_TRUST", str(stranger))
    answer = house.json("verify", "pets", "--trust", copy)
    assert answer.code == 0
    [finding] = [one for one in answer.findings if one["code"] == "trust.override"]
    assert "--trust names it" in finding["what"]
    assert house.json("verify", "pets", "--trust", copy, "--strict").code == 1


def test_a_manifest_without_a_project_by_the_variable(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    house.init()
    manifest = house.release()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    assert house.cli("verify", manifest, cwd=elsewhere).code == 2
    monkeypatch.setenv("DATABOM_TRUST", str(house.project / ROOT))
    answer = house.json("verify", manifest, cwd=elsewhere)
    assert answer.code == 0
    assert "trust.override" in codes(answer, "warn")


def test_the_users_own_root_only_narrows(house: House, stranger: Path) -> None:
    manifest = house.synced()
    own = house.base / "config" / "databom" / "trust.json"
    own.parent.mkdir(parents=True, mode=0o755)
    own.write_bytes(stranger.read_bytes())
    own.chmod(0o644)
    for command in (["verify", "pets"], ["sync", "pets"], ["verify", str(manifest)]):
        answer = house.json(*command)
        assert answer.code == 1
        assert answer.blocking == {"signature.untrusted"}
        assert "trust.override" in codes(answer, "warn")
    # It widens nothing: what only the user's root believes is refused as before.
    own.write_bytes((house.project / ROOT).read_bytes())
    assert house.json("verify", "pets").code == 0
    answer = house.json("verify", "pets", "--trust", stranger)
    assert answer.blocking == {"signature.untrusted"}


def test_a_digest_that_is_none_is_usage(house: House) -> None:
    house.synced()
    digest = sha256((house.project / ROOT).read_bytes())
    assert house.json("verify", "pets", "--trust-digest", digest).code == 0
    assert house.json("verify", "pets", "--trust-digest", "sha256:" + "0" * 64).blocking == {"trust.changed"}
    for bad in (digest[7:], digest[:20], "md5:" + "0" * 32):
        answer = house.cli("verify", "pets", "--trust-digest", bad)
        assert answer.code == 2
        assert "is no digest" in answer.err


# --- B16 ------------------------------------------------------------------------------------------------


def test_b16_others_may_write_the_repositorys_root(house: House) -> None:
    """In a git work tree every change is seen by a reviewer; without git nobody sees it."""
    house.synced()
    (house.project / ROOT).chmod(0o664)
    answer = house.json("verify", "pets")
    assert (answer.code, answer.blocking) == (1, {"trust.writable"})
    (house.project / ".git").mkdir()
    answer = house.json("verify", "pets")
    assert answer.code == 0
    assert "trust.writable" in codes(answer, "warn")
    (house.project / ROOT).chmod(0o644)
    assert "trust.writable" not in house.json("verify", "pets").codes


def test_b16_the_repositorys_root_behind_a_linked_folder_is_not_followed(house: House) -> None:
    """What the link leads to changes without a commit."""
    house.synced()
    elsewhere = house.base / "elsewhere"
    (house.project / "provenance").rename(elsewhere)
    (house.project / "provenance").symlink_to(elsewhere)
    for command in ("verify", "sync", "exec"):
        answer = house.cli(command, "pets", *(["--", "true"] if command == "exec" else []))
        assert answer.code == 2
        assert "behind a symbolic link" in answer.err


def test_b16_a_writable_root_elsewhere_trusts_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.synced()
    (house.project / ".git").mkdir()
    copy = house.base / "copy.json"
    copy.write_bytes((house.project / ROOT).read_bytes())
    copy.chmod(0o666)
    answer = house.json("verify", "pets", "--trust", copy)
    assert (answer.code, answer.blocking) == (1, {"trust.writable"})
    assert answer.report["summary"]["checked"] == 0
    monkeypatch.setenv("DATABOM_TRUST", str(copy))
    assert house.json("sync", "pets").blocking == {"trust.writable"}
    answer = house.cli("exec", "pets", "--", "touch", "ran")
    assert answer.code == 1
    assert not (house.project / "ran").exists()


@pytest.mark.parametrize("fault", ["gone", "empty", "half", "folder", "link"])
def test_b16_no_usable_root_is_exit_2(house: House, fault: str) -> None:
    house.synced()
    path = house.project / ROOT
    raw = path.read_bytes()
    path.unlink()
    if fault == "folder":
        path.mkdir()
    elif fault == "link":
        path.with_name("real.json").write_bytes(raw)
        path.symlink_to("real.json")
    elif fault != "gone":
        path.write_bytes(b"" if fault == "empty" else raw[: len(raw) // 2])
    for command in (
        ["verify", "pets"],
        ["sync", "pets"],
        ["check"],
        ["trust", "show"],
        ["exec", "--", "true"],
    ):
        answer = house.cli(*command)
        assert answer.code == 2, command
        assert "trust root" in answer.err


def test_doctor_tells_which_root_applies(
    house: House, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.init()
    digest = sha256((house.project / ROOT).read_bytes())
    text = house.ok("doctor").out
    assert digest in text
    assert "version 1 (provenance/trust.json) expires" in text
    monkeypatch.setenv("DATABOM_TRUST", str(stranger))
    text = house.ok("doctor").out
    assert sha256(stranger.read_bytes()) in text
    assert "named by DATABOM_TRUST" in text
    assert "trust.override" in text


# --- Friday evening ---------------------------------------------------------------------------------------


class Friday:
    """A team with two marketplaces, a release of each, and a root that two of three people change."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.pinned()
        house.ok("key", "new", house.base / "flower.key")
        flower = ("--marketplace", "flower-market", "--datasets", "fl-*")
        house.ok("trust", "add", house.base / "flower.key.pub", *flower)
        self.flowers = self.publish("fl-roses", "flower.key", "flowers")
        house.ok("add", self.flowers, "--name", "flowers")
        for name in ("ann", "ben", "cho"):
            house.ok("key", "new", house.base / f"{name}.key")
            house.ok("trust", "add", house.base / f"{name}.key.pub", "--role", "root")
        house.ok("trust", "add", house.base / "cho.key.pub", "--role", "root", "--threshold", "2")
        house.ok("sync")
        self.draft = house.base / "next.json"
        self.new_key = house.base / "new.key"

    def publish(self, dataset: str, key: str, folder: str, version: str = "1") -> Path:
        place = self.house.base / folder
        place.mkdir(exist_ok=True)
        (place / "data.csv").write_text(f"{dataset},{version}\n")
        self.house.ok(
            *("publish", place, "--dataset-id", dataset, "--version", version, "--license", "CC-BY-4.0"),
            *("--creator", "creator:x", "--key", self.house.base / key),
        )
        return place / "manifest.json"

    @property
    def root(self) -> bytes:
        return (self.house.project / ROOT).read_bytes()

    @property
    def lock(self) -> bytes:
        return (self.house.project / "databom.lock").read_bytes()

    def written(self) -> None:
        """The draft that takes the compromised key's word away and believes the new key instead."""
        house = self.house
        stolen = house.ok("key", "id", house.key).out.strip()
        house.ok("key", "new", self.new_key)
        house.ok("trust", "draft", self.draft)
        house.ok("trust", "remove", stolen[:12], "--draft", self.draft)
        market = ("--marketplace", "human-native", "--datasets", "hn-*")
        house.ok("trust", "add", f"{self.new_key}.pub", *market, "--draft", self.draft)

    def sign(self, *people: str) -> None:
        for name in people:
            self.house.ok("trust", "sign", self.draft, "--key", self.house.base / f"{name}.key")

    def refused(self) -> Answer:
        """An update that must be refused, with nothing written; the dry run says the same."""
        before = self.root, self.lock
        dry = self.house.json("trust", "diff", self.draft)
        answer = self.house.json("trust", "update", self.draft)
        assert answer.code == dry.code == 1
        assert answer.codes == dry.codes
        assert (self.root, self.lock) == before
        return answer

    def rotated(self) -> None:
        self.written()
        self.sign("ann", "cho")
        self.house.ok("trust", "update", self.draft)


@pytest.fixture
def friday(house: House) -> Friday:
    return Friday(house)


def test_a_compromised_key_is_rotated_on_a_friday_evening(friday: Friday) -> None:
    house = friday.house
    assert house.json("check").code == 0
    friday.written()
    assert b'"version": 1' in friday.root, "a draft changes nothing"
    assert friday.refused().blocking == {"trust.schema"}, "nobody has signed"

    friday.sign("ann")
    assert "signature.threshold" in friday.refused().blocking
    friday.sign("ann")  # again: one person stays one person
    assert "signature.threshold" in friday.refused().blocking

    friday.sign("cho")
    dry = house.json("trust", "diff", friday.draft)
    assert dry.code == 0
    assert any("human-native" in one["what"] and one["widens"] for one in dry.report["changes"])
    signed = friday.draft.read_bytes()
    answer = house.json("trust", "update", friday.draft)
    assert answer.code == 0
    assert friday.root == signed
    assert json.loads(friday.lock)["trust"] == {"version": 2, "digest": sha256(signed)}

    # What the stolen key signed is refused, pinned or new; the other marketplace goes on as before.
    reports = {one["subject"]["name"]: one for one in house.json("check").report["reports"]}
    assert reports["flowers"]["verdict"] == "pass"
    assert reports["pets"]["verdict"] == "fail"
    assert {one["trust"] for one in reports.values()} == {sha256(signed)}
    forged = house.release({"a": b"evil"}, version="9", folder="v9")
    assert "signature.untrusted" in house.json("add", forged, "--name", "forged").blocking
    # The marketplace signs again with its new key.
    house.key = friday.new_key
    renewed = house.release({"a": b"good"}, version="10", folder="v10")
    assert house.json("verify", renewed).code == 0
    show = house.ok("trust", "show").out
    assert "version 2, expires" in show
    assert "signed by 2 root keys of this version" in show


def test_b17_an_old_root_put_back_is_a_rollback(friday: Friday) -> None:
    old = friday.root
    friday.rotated()
    (friday.house.project / ROOT).write_bytes(old)
    for command in (["check"], ["verify", "flowers"], ["sync", "flowers"], ["verify", str(friday.flowers)]):
        answer = friday.house.json(*command)
        assert answer.code == 1
        assert "trust.rollback" in answer.blocking
    # The repair is to accept the same version again, and nothing else.
    assert friday.house.json("trust", "update", friday.draft).code == 0
    assert friday.house.json("verify", "flowers").code == 0


def edited(draft: Path, **members: Any) -> None:
    draft.write_text(json.dumps({**json.loads(draft.read_text()), **members}))


def test_b17_versions_move_by_one(friday: Friday) -> None:
    friday.written()
    edited(friday.draft, version=3)
    friday.sign("ann", "cho")
    answer = friday.refused()
    assert answer.blocking
    assert "2" in (answer.findings[0]["expected"] or "")


def test_b17_an_expired_root_is_not_moved_to(friday: Friday) -> None:
    friday.written()
    edited(friday.draft, expires="2026-01-01T00:00:00Z")
    friday.sign("ann", "cho")
    assert "trust.expired" in friday.refused().blocking


def test_b17_another_second_version_is_no_second_version(friday: Friday) -> None:
    """Two drafts, both well signed: the first that was accepted is the one, whoever puts the old root back."""
    old = friday.root
    friday.rotated()
    friday.draft.unlink()
    (friday.house.project / ROOT).write_bytes(old)
    friday.house.ok("trust", "draft", friday.draft)
    friday.sign("ann", "ben")
    assert "trust.rollback" in friday.refused().blocking


def test_a_newer_root_that_nobody_accepted_blocks(friday: Friday) -> None:
    friday.rotated()
    friday.draft.unlink()
    friday.house.ok("trust", "draft", friday.draft)
    friday.sign("ann", "ben")
    (friday.house.project / ROOT).write_bytes(friday.draft.read_bytes())
    assert "trust.changed" in friday.house.json("check").blocking


def test_an_update_twice_changes_nothing(friday: Friday) -> None:
    friday.rotated()
    before = friday.root, friday.lock
    assert friday.house.json("trust", "update", friday.draft).code == 0
    assert (friday.root, friday.lock) == before


def test_a_signed_root_is_changed_by_a_draft_only(friday: Friday) -> None:
    friday.rotated()
    house = friday.house
    before = friday.root
    answer = house.cli("trust", "add", house.base / "flower.key.pub", "--role", "steward")
    assert answer.code == 2
    assert "trust draft" in answer.err
    assert (
        house.cli("trust", "remove", house.ok("key", "id", house.base / "flower.key").out.strip()).code == 2
    )
    assert house.cli("trust", "draft", friday.draft).code == 2, "a draft is not overwritten"
    assert friday.root == before


def test_a_root_without_root_keys_is_edited_in_place(house: House) -> None:
    house.init()
    answer = house.cli("trust", "draft", house.base / "next.json")
    assert answer.code == 2
    assert "--role root" in answer.err


@pytest.mark.parametrize("text", ["", "{}", '{"payload"', "[]"])
def test_what_is_no_root_is_no_update(friday: Friday, text: str) -> None:
    friday.draft.write_text(text)
    for command in ("update", "diff"):
        assert friday.house.cli("trust", command, friday.draft).code in (1, 2)
    assert friday.house.cli("trust", "sign", friday.draft, "--key", friday.house.base / "ann.key").code == 2
    assert friday.draft.read_text() == text


def test_removing_a_key_that_is_not_there(house: House) -> None:
    house.init()
    before = (house.project / ROOT).read_bytes()
    for keyid in ("0" * 64, "", "abc", "zz" * 8):
        assert house.cli("trust", "remove", keyid).code == 2
    assert (house.project / ROOT).read_bytes() == before
    keyid = house.ok("key", "id", house.key).out.strip()
    house.ok("trust", "remove", keyid)
    assert keyid not in (house.project / ROOT).read_text()
