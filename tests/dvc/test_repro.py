"""Real `dvc repro`s over a pinned release: what runs, what is skipped, and everything that must stop the training."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.dvcteam import Team

pytestmark = pytest.mark.dvc
RUNNING = "Running stage 'databom-pets'"
VICTIM = "data/pets/images/cat1.jpg"


@pytest.fixture
def pinned(team: Team) -> Team:
    """The release pinned, fetched, verified and trained on."""
    team.manifest = team.house.pinned()
    out = team.dvc("repro")
    assert RUNNING in out
    assert team.trained == 1
    return team


def flip(path: Path, *, hide: bool = False) -> None:
    """Flip one bit; `hide` puts size and times back, as DVC then sees nothing."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))
    if hide:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def report(team: Team) -> Path:
    return team.project / "provenance/reports/pets.json"


def test_twice_runs_nothing(pinned: Team) -> None:
    out = pinned.dvc("repro")
    assert "Stage 'databom-pets' didn't change, skipping" in out
    assert "Stage 'train' didn't change, skipping" in out
    assert pinned.trained == 1
    assert "model.txt" in (pinned.project / "dvc.lock").read_text()
    assert "pass" in pinned.dvc("metrics", "show", "--json")


def test_a_changed_byte_in_the_workspace(pinned: Team) -> None:
    flip(pinned.project / VICTIM)
    out = pinned.refused()
    assert "integrity.mismatch" in out
    assert "databom sync pets, exited with 1" in out
    assert not report(pinned).exists()
    assert "integrity.mismatch" in pinned.refused()  # and again: no silent repair
    pinned.run("databom", "sync", "pets", "--refetch")
    pinned.dvc("repro")
    assert report(pinned).exists()
    assert (pinned.project / VICTIM).read_bytes() == b"a cat\n"


def test_a_changed_byte_at_the_marketplace(pinned: Team) -> None:
    flip(pinned.manifest.parent / "images/cat1.jpg")
    (pinned.project / VICTIM).unlink()
    out = pinned.refused()
    assert "integrity.mismatch" in out
    assert not (pinned.project / VICTIM).exists()


def test_a_marketplace_that_is_gone_answers_three(pinned: Team) -> None:
    (pinned.manifest.parent / "images").rename(pinned.manifest.parent / "moved")
    shutil.rmtree(pinned.project / "data/pets")
    out = pinned.refused()
    assert "databom sync pets, exited with" in out
    assert not report(pinned).exists()


def test_a_changed_manifest(pinned: Team) -> None:
    kept = pinned.project / "provenance/manifests/pets.json"
    kept.write_bytes(kept.read_bytes().replace(b"alice", b"mallo"))
    assert "exited with" in pinned.refused()
    assert not report(pinned).exists()


@pytest.mark.parametrize("gone", ["report", "file", "folder"])
def test_what_is_missing_is_made_again(pinned: Team, gone: str) -> None:
    if gone == "report":
        report(pinned).unlink()
    elif gone == "file":
        (pinned.project / VICTIM).unlink()
    else:
        shutil.rmtree(pinned.project / "data/pets")
    assert RUNNING in pinned.dvc("repro")
    assert report(pinned).exists()
    assert (pinned.project / VICTIM).read_bytes() == b"a cat\n"
    assert pinned.trained == 1  # the same bytes: DVC sees no reason to train again


def test_a_stage_that_dvc_skips_is_no_pass(pinned: Team) -> None:
    # attacks.md I09: with size and times put back DVC skips everything, and we count that for nothing.
    flip(pinned.project / VICTIM, hide=True)
    assert "Stage 'databom-pets' didn't change, skipping" in pinned.dvc("repro")
    assert "integrity.mismatch" in pinned.run("databom", "verify", "pets", expect=1)
    out = pinned.refused("-s", "-f", "train")
    assert "integrity.mismatch" in out
    assert "databom exec pets -- python train.py, exited with 1" in out


def test_training_alone_is_gated(pinned: Team) -> None:
    # `-s` leaves the databom stage out; the gate in the train stage's own command does not depend on DVC.
    flip(pinned.project / VICTIM)
    assert "integrity.mismatch" in pinned.refused("-s", "train")


def test_an_earlier_answer_is_never_brought_back(pinned: Team) -> None:
    # attacks.md I10: with a cached out DVC restores the old report ("is cached - skipping run") without running us.
    config = pinned.project / "databom.toml"
    original = config.read_text()
    config.write_text(original.replace('attribution = "warn"', 'attribution = "off"'))
    assert RUNNING in pinned.dvc("repro")
    config.write_text(original)
    out = pinned.dvc("repro")
    assert RUNNING in out
    assert "Stage 'databom-pets' is cached" not in out


@pytest.mark.parametrize(("option", "code"), [("--keep-going", 255), ("--ignore-errors", 0)])
def test_ignoring_exit_codes_does_not_train(pinned: Team, option: str, code: int) -> None:
    # attacks.md I11: the report is gone before the stage runs, and training depends on it.
    flip(pinned.project / VICTIM)
    assert "integrity.mismatch" in pinned.refused(option, expect=code)
    assert not report(pinned).exists()


@pytest.mark.parametrize("links", ["copy", "hardlink", "symlink", "reflink,copy"])
def test_every_cache_type(team: Team, links: str) -> None:
    team.dvc("config", "cache.type", links)
    team.house.pinned()
    team.dvc("repro")
    assert "Stage 'databom-pets' didn't change, skipping" in team.dvc("repro")
    flip(team.project / VICTIM)
    assert "integrity.mismatch" in team.refused()


def test_data_is_never_pushed_to_a_remote(pinned: Team, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    pinned.dvc("remote", "add", "-d", "store", str(remote))
    pinned.dvc("push")
    pushed = [path.read_bytes() for path in remote.rglob("*") if path.is_file()]
    assert (pinned.project / "model.txt").read_bytes() in pushed
    assert b"a cat\n" not in pushed


def test_the_pin_shows_in_dvcs_own_diff(pinned: Team) -> None:
    pinned.run("git", "add", "-A")
    pinned.run("git", "-c", "user.name=t", "-c", "user.email=t@x", "commit", "-qm", "one")
    lock = pinned.project / "databom.lock"
    lock.write_text(lock.read_text().replace('"version": "1"', '"version": "9"'))
    assert "pins.pets.version" in pinned.dvc("params", "diff")
