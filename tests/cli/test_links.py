"""What is the project's lies in the project: no command reads or writes through a link that leads out of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from databom.model import times
from databom.tasks.project import Project
from databom.trust.keys import PrivateKey
from databom.trust.proof import sign_proof
from support.house import House

OUT = "a link that leads out of the project"


@pytest.fixture
def pinned(house: House) -> House:
    """A synced release, with a key for approvals and one for notices."""
    house.synced()
    for role in ("legal", "revocation"):
        key = house.base / f"{role}.pem"
        house.ok("key", "new", key)
        house.ok("trust", "add", f"{key}.pub", "--role", role)
    return house


def moved(house: House, path: str, where: str = "outside") -> Path:
    """Move something of the project elsewhere and leave a link; where it is now."""
    here, there = house.project / path, house.base / where
    if not here.exists():
        here.mkdir(parents=True)
    there.parent.mkdir(exist_ok=True, parents=True)
    shutil.move(here, there)
    here.symlink_to(there)
    return there


def notice(house: House) -> Path:
    """A signed notice that the release is revoked."""
    signer = PrivateKey.from_pem((house.base / "revocation.pem").read_bytes())
    says = {"reason": "withdrawn", "issued_at": times.format(datetime.now(UTC))}
    manifest = Project.load(house.project).pin("pets").manifest
    path = house.base / "notice.json"
    path.write_bytes(sign_proof("urn:databom:revocation:v1", "hn-pets@1", manifest, says, [signer]))
    return path


def risk(house: House) -> None:
    path = house.project / "databom.toml"
    path.write_text(path.read_text().replace('risk = "normal"', 'risk = "high"'))


APPROVE = ("--role", "legal", "--reason", "read", "--expires", "30")


@pytest.mark.parametrize("path", ["provenance", "provenance/evidence", "provenance/evidence/pets"])
@pytest.mark.parametrize(
    "command",
    [
        lambda house: ("attach", "pets", notice(house)),
        lambda house: ("approve", "pets", "--key", house.base / "legal.pem", *APPROVE),
        lambda _: ("check",),
        lambda _: ("sync", "pets"),
        lambda _: ("exec", "pets", "--", "touch", "ran"),
    ],
    ids=["attach", "approve", "check", "sync", "exec"],
)
def test_a_folder_that_leads_out_is_refused(
    pinned: House, path: str, command: Callable[[House], tuple[str | Path, ...]]
) -> None:
    risk(pinned)
    words = command(pinned)
    there = moved(pinned, path)
    before = sorted(one.as_posix() for one in there.rglob("*"))
    answer = pinned.cli(*words)
    assert answer.code == 2, answer.out + answer.err
    assert "link" in answer.err
    assert "not followed" in answer.err
    assert sorted(one.as_posix() for one in there.rglob("*")) == before
    assert not (pinned.project / "ran").exists()


def test_a_file_of_evidence_that_leads_out_proves_nothing(pinned: House) -> None:
    risk(pinned)
    pinned.ok("approve", "pets", "--key", pinned.base / "legal.pem", *APPROVE)
    assert pinned.json("check").code == 0
    [file] = (pinned.project / "provenance/evidence/pets").glob("*.dsse.json")
    moved(pinned, file.relative_to(pinned.project).as_posix(), "approval.json")
    answer = pinned.json("check")
    assert (answer.code, answer.blocking) == (1, {"evidence.invalid", "license.review"})
    [told] = [one for one in answer.findings if one["code"] == "evidence.invalid"]
    assert OUT in told["what"]


def test_a_link_to_another_place_in_the_project_is_fine(pinned: House) -> None:
    risk(pinned)
    moved(pinned, "provenance/evidence", "project/signed")
    pinned.ok("approve", "pets", "--key", pinned.base / "legal.pem", *APPROVE)
    assert list((pinned.project / "signed/pets").glob("*.dsse.json"))
    assert pinned.json("check").code == 0


def test_a_link_to_itself_is_no_answer(pinned: House) -> None:
    folder = pinned.project / "provenance/evidence"
    shutil.rmtree(folder, ignore_errors=True)
    folder.symlink_to(folder)
    answer = pinned.cli("check")
    assert answer.code == 2
    assert OUT in answer.err


def test_a_project_that_is_named_by_a_way_up_or_a_link(pinned: House) -> None:
    """Only what is inside of the project counts, not the way to it."""
    assert pinned.cli("check", "--project", "../project").code == 0
    (pinned.base / "other").symlink_to(pinned.project)
    assert pinned.cli("check", "--project", pinned.base / "other").code == 0


@pytest.mark.parametrize("folder", ["manifests", "reports"])
def test_what_is_kept_is_not_written_elsewhere(house: House, folder: str) -> None:
    house.init()
    manifest = house.release()
    there = moved(house, f"provenance/{folder}")
    answers = [house.cli("add", manifest, "--name", "pets"), house.cli("sync", "pets")]
    assert any(one.code == 2 and OUT in one.err for one in answers), answers
    assert not any(there.iterdir())


def test_the_lock_is_a_file(pinned: House) -> None:
    moved(pinned, "databom.lock", "lock")
    for command in (("check",), ("verify",), ("log", "show")):
        answer = pinned.cli(*command)
        assert (answer.code, "databom.lock is a symbolic link" in answer.err) == (2, True), answer.err


def test_the_checkpoint_is_a_file(pinned: House) -> None:
    assert (pinned.project / "provenance/checkpoint").is_file()
    moved(pinned, "provenance/checkpoint", "checkpoint")
    for command in (("log", "verify"), ("log", "show")):
        answer = pinned.cli(*command)
        assert (answer.code, OUT in answer.err) == (2, True), answer.err


def test_documents_of_consents_lie_in_the_project(pinned: House) -> None:
    path = pinned.project / "databom.toml"
    path.write_text(path.read_text().replace('personal_data = "off"', 'personal_data = "require"'))
    assert pinned.cli("check").code != 2
    moved(pinned, "provenance/evidence/pets/consents")
    assert pinned.cli("check").code == 2
