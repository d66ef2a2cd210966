"""`databom update`: forwards, and backwards only when somebody says so."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

import databom.tasks as tasks
from databom.errors import ConfigError
from support.house import FILES, House

NEWER = {"images/cat1.jpg": b"another cat\n", "images/owl1.jpg": b"an owl\n", "empty.bin": b""}


def releases(house: House, *numbers: int, files: dict[int, dict[str, bytes]] | None = None) -> list[Path]:
    """Signed releases whose version and sequence are these numbers."""
    chosen = files or {}
    return [
        house.release(chosen.get(n, FILES), "--sequence", str(n), version=str(n), folder=f"v{n}")
        for n in numbers
    ]


def lock(house: House) -> dict:
    return json.loads((house.project / "databom.lock").read_text())


def test_forwards_and_the_old_files_are_retired(house: House) -> None:
    house.init()
    one, two = releases(house, 1, 2, files={2: NEWER})
    house.ok("add", one, "--name", "pets")
    house.ok("sync", "pets")
    assert house.json("update", "pets", two).codes <= {"license.not-judged", "manifest.incomplete"}
    assert lock(house)["pins"]["pets"]["release"] == "hn-pets@2"
    assert house.json("verify", "pets").code == 1  # not fetched yet, and it says so
    house.ok("sync", "pets")
    house.ok("check")
    assert {p.relative_to(house.data).as_posix() for p in house.data.rglob("*") if p.is_file()} == set(NEWER)
    retired = [p for p in (house.project / ".databom" / "retired" / "pets").rglob("*") if p.is_file()]
    assert {p.name: p.read_bytes() for p in retired} == {
        "cat1.jpg": FILES["images/cat1.jpg"],
        "dog1.jpg": FILES["images/dog1.jpg"],
    }
    assert not (house.project / ".databom" / "quarantine" / "pets").exists()


def test_a_file_that_is_of_neither_release_is_evidence(house: House) -> None:
    house.init()
    one, two = releases(house, 1, 2, files={2: NEWER})
    house.ok("add", one, "--name", "pets")
    house.ok("sync", "pets")
    (house.data / "images/cat1.jpg").write_bytes(b"somebody's cat\n")
    (house.data / "images/dog1.jpg").write_bytes(b"somebody's dog\n")
    house.ok("update", "pets", two)
    answer = house.json("sync", "pets")
    assert answer.code == 1
    assert {"integrity.unlisted"} < answer.blocking
    assert answer.blocking & {"integrity.mismatch", "integrity.size"}
    assert (house.data / "images/dog1.jpg").read_bytes() == b"somebody's dog\n"


def test_a_release_that_somebody_elses_commit_moved(house: House) -> None:
    """After a `git pull` this clone holds the old release, and nobody here ran `update`."""
    house.init()
    one, two = releases(house, 1, 2, files={2: NEWER})
    house.ok("add", one, "--name", "pets")
    house.ok("sync", "pets")
    kept = house.project / ".databom"
    kept.rename(house.base / "mine")
    house.ok("update", "pets", two)
    shutil.rmtree(kept)
    (house.base / "mine").rename(kept)
    house.ok("sync", "pets")


def test_without_an_address_the_source_is_asked_again(house: House) -> None:
    house.init()
    (one,) = releases(house, 1)
    house.ok("add", one, "--name", "pets")
    before = (house.project / "databom.lock").read_bytes()
    assert house.json("update", "pets").code == 0
    assert (house.project / "databom.lock").read_bytes() == before
    two = house.release(NEWER, "--sequence", "2", version="2", folder="v2")
    for name in ("manifest.json", "manifest.json.dsse"):
        one.with_name(name).write_bytes(two.with_name(name).read_bytes())
    assert house.json("update", "pets").code == 0
    assert lock(house)["pins"]["pets"]["release"] == "hn-pets@2"


def test_c01_backwards_takes_a_flag_that_is_recorded(house: House) -> None:
    house.init()
    one, two, three = releases(house, 1, 2, 3)
    house.ok("add", three, "--name", "pets")
    before = (house.project / "databom.lock").read_bytes()
    refused = house.json("update", "pets", two)
    assert (refused.code, refused.blocking) == (1, {"release.rollback"})
    assert (house.project / "databom.lock").read_bytes() == before
    allowed = house.json("update", "pets", two, "--allow-rollback")
    assert allowed.code == 0
    assert "release.rollback" in allowed.codes
    (note,) = lock(house)["seen"]["hn-pets"]["notes"]
    assert "hn-pets@2: rollback allowed, from sequence 3" in note
    house.ok("sync", "pets")
    house.ok("check")
    assert house.json("update", "pets", one).blocking == {"release.rollback"}  # once is not for ever
    assert house.json("update", "pets", three).code == 0  # forwards again, without a flag


def test_c01_a_pin_that_is_gone_is_pinned_again_as_the_advice_says(house: House) -> None:
    """There is no pin that `update` could move: the memory of the dataset outlives its pin."""
    house.init()
    one, two, three = releases(house, 1, 2, 3)
    house.ok("add", three, "--name", "pets")
    document = lock(house)
    del document["pins"]["pets"]
    (house.project / "databom.lock").write_text(json.dumps(document))
    refused = house.json("add", two, "--name", "pets")
    assert (refused.code, refused.blocking) == (1, {"release.rollback"})
    [told] = [one for one in refused.findings if one["code"] == "release.rollback"]
    assert "databom add MANIFEST --allow-rollback" in told["do"]
    assert lock(house)["pins"] == {}
    allowed = house.json("add", two, "--name", "pets", "--allow-rollback")
    assert allowed.code == 0
    assert "release.rollback" in allowed.codes
    [note] = lock(house)["seen"]["hn-pets"]["notes"]
    assert "hn-pets@2: rollback allowed, from sequence 3" in note
    shown = json.loads(house.ok("log", "show", "--format", "json").out)
    assert [one["entry"]["rollback"] for one in shown if one["kind"] == "pinned"] == [False, True]
    house.ok("update", "pets", three)
    assert house.json("add", one, "--name", "more", "--no-dvc").blocking == {"release.rollback"}


def test_c02_adding_allows_nothing_but_the_order(house: House) -> None:
    house.init()
    _, two = releases(house, 1, 2)
    house.ok("add", two, "--name", "pets")
    fork = house.release(NEWER, "--sequence", "2", version="2", folder="fork")
    for name in ("pets", "more"):
        answer = house.json("add", fork, "--name", name, "--allow-rollback", "--no-dvc")
        assert "release.equivocation" in answer.blocking


def test_c05_a_sequence_that_was_far_too_high_is_recovered_from(house: House) -> None:
    house.init()
    high = 2**53 - 1
    (far,) = releases(house, high)
    house.ok("add", far, "--name", "pets")
    four, five = releases(house, 4, 5)
    assert house.json("update", "pets", four).blocking == {"release.rollback"}
    assert house.json("update", "pets", four, "--allow-rollback").code == 0
    assert house.json("update", "pets", five).code == 0


def test_c02_two_contents_under_one_version_are_both_kept(house: House) -> None:
    house.init()
    (two,) = releases(house, 2)
    house.ok("add", two, "--name", "pets")
    evil = house.release({"a": b"other"}, "--sequence", "2", version="2", folder="evil")
    for verb in (
        ("add", evil, "--name", "pets"),
        ("update", "pets", evil),
        ("update", "pets", evil, "--allow-rollback"),
    ):
        assert house.json(*verb).blocking == {"release.equivocation"}
    folder = house.project / "provenance" / "evidence" / "pets" / "equivocation"
    kept = {path.read_bytes() for path in folder.iterdir()}
    assert kept == {
        path.read_bytes()
        for manifest in (two, evil)
        for path in (manifest, manifest.with_name("manifest.json.dsse"))
    }
    assert house.json("sync", "pets").code == 0  # what was pinned stays


def test_c01_c02_verify_remembers_what_the_project_has_seen(house: House) -> None:
    house.init()
    one, two, three = releases(house, 1, 2, 3)
    fork = house.release(NEWER, "--sequence", "2", version="2", folder="fork")
    house.ok("add", two, "--name", "pets")
    assert house.json("verify", two).blocking == set()
    assert house.json("verify", three).blocking == set()
    before = (house.project / "databom.lock").read_bytes()
    for manifest, code in ((one, "release.rollback"), (fork, "release.equivocation")):
        answer = house.json("verify", manifest)
        assert (answer.code, answer.blocking) == (1, {code})
        report = tasks.verify(manifest, project=house.project)
        assert {finding.code for finding in report.blocking} == {code}
    assert house.json("verify", three, fork).code == 1
    assert (house.project / "databom.lock").read_bytes() == before
    assert not (house.project / "provenance" / "evidence").exists()


def test_a_release_whose_order_cannot_be_told_is_refused_as_an_update_and_verifies(house: House) -> None:
    """One of the same second, without a sequence: nobody is going back, and a pin does not move by guessing."""
    house.pinned()
    release = json.loads((house.market / "v1/manifest.json").read_text())
    other = house.release(NEWER, version="2", folder="v2")
    again = json.loads(other.read_text())
    other.write_text(json.dumps({**again, "issued_at": release["issued_at"]}))
    other.with_name("manifest.json.dsse").unlink()
    house.ok("sign", other, "--key", house.key)
    assert house.json("verify", other).blocking == set()
    assert house.json("update", "pets", other).blocking == {"release.rollback"}


def test_an_older_release_that_a_pin_holds_verifies(house: House) -> None:
    house.init()
    one, two = releases(house, 1, 2)
    house.ok("add", one, "--name", "old")
    house.ok("add", two, "--name", "new")
    assert house.json("verify", one).blocking == set()


def test_an_unsigned_second_content_is_no_evidence(house: House) -> None:
    house.init()
    (two,) = releases(house, 2)
    house.ok("add", two, "--name", "pets")
    evil = house.release({"a": b"other"}, "--sequence", "2", version="2", folder="evil")
    evil.with_name("manifest.json.dsse").unlink()
    assert "signature.missing" in house.json("update", "pets", evil).blocking
    assert not (house.project / "provenance" / "evidence").exists()


def test_c06_another_dataset_is_not_what_was_asked_for(house: House) -> None:
    house.pinned()
    place = house.market / "other"
    place.mkdir()
    (place / "a").write_bytes(b"a")
    house.ok(
        *("publish", place, "--dataset-id", "hn-birds", "--version", "9", "--license", "CC-BY-4.0"),
        *("--creator", "creator:alice", "--key", house.key),
    )
    answer = house.json("update", "pets", place / "manifest.json", "--allow-rollback")
    assert (answer.code, answer.blocking) == (1, {"release.mismatch"})
    (finding,) = [f for f in answer.findings if f["code"] == "release.mismatch"]
    assert (finding["expected"], finding["found"]) == ("hn-pets", "hn-birds")


def test_a_bad_signature_is_no_matter_of_order(house: House) -> None:
    house.init()
    one, two = releases(house, 1, 2)
    house.ok("add", two, "--name", "pets")
    envelope = one.with_name("manifest.json.dsse")
    envelope.write_text(envelope.read_text().replace('"sig": "', '"sig": "AAAA', 1))
    answer = house.json("update", "pets", one, "--allow-rollback")
    assert answer.code == 1
    assert "release.rollback" in answer.blocking
    assert lock(house)["pins"]["pets"]["release"] == "hn-pets@2"


def test_what_cannot_be_had_changes_nothing(house: House) -> None:
    house.pinned()
    before = (house.project / "databom.lock").read_bytes()
    answer = house.json("update", "pets", house.base / "nothing.json")
    assert (answer.code, answer.codes) == (3, {"storage.missing"})
    assert house.cli("update", "birds").code == 2
    assert (house.project / "databom.lock").read_bytes() == before


def test_python_says_the_same(house: House) -> None:
    house.init()
    one, two = releases(house, 1, 2)
    house.ok("add", two, "--name", "pets")
    report = tasks.update("pets", str(one), project=house.project)
    assert report.verdict.exit_code == 1
    assert [f.code for f in report.findings if f.severity == "block"] == ["release.rollback"]
    allowed = tasks.update("pets", str(one), allow_rollback=True, project=house.project)
    assert allowed.verdict.exit_code == 0


# --- what a second look found ------------------------------------------------------------------------------


def numbered(
    house: House, number: int, files: dict[str, bytes], version: str | None = None, folder: str = ""
) -> Path:
    return house.release(
        files, "--sequence", str(number), version=version or str(number), folder=folder or f"n{number}"
    )


@pytest.mark.parametrize("now", [datetime(2026, 1, 10), datetime.max.replace(tzinfo=UTC)])  # noqa: DTZ001
def test_a_time_that_is_none_is_a_usage_error_by_every_door(house: House, now: datetime) -> None:
    house.init()
    one, two = releases(house, 1, 2)
    house.ok("add", one, "--name", "pets")
    for call in (
        lambda: tasks.verify("pets", project=house.project, now=now),
        lambda: tasks.verify(two, project=house.project, now=now),
        lambda: tasks.check(project=house.project, now=now),
        lambda: tasks.add(str(two), project=house.project, now=now),
        lambda: tasks.update("pets", str(two), project=house.project, now=now),
        lambda: tasks.sync("pets", project=house.project, now=now),
    ):
        with pytest.raises(ConfigError, match="now="):
            call()


def test_where_nothing_decides_the_order_back_is_back(house: House) -> None:
    house.init()
    one, two = (undecided(house, version) for version in "12")
    house.ok("add", one, "--name", "pets")
    assert house.json("update", "pets", two).blocking == {"release.rollback"}
    house.ok("update", "pets", two, "--allow-rollback")
    assert house.json("update", "pets", one).blocking == {"release.rollback"}
    assert house.json("add", two, "--name", "again").code == 0  # the newest


def undecided(house: House, version: str) -> Path:
    """A release without a sequence, issued in the same second as every other one."""
    place = house.market / f"same{version}"
    place.mkdir(parents=True)
    (place / "a").write_text(version)
    fields = {
        "dataset_id": "hn-pets",
        "version": version,
        "issued_at": "2026-01-10T00:00:00Z",
        "creator_id": "creator:alice",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0"},
    }
    tasks.publish(place, key=house.key, fields=fields, output=place / "manifest.json")
    return place / "manifest.json"


def test_a_folder_that_only_the_old_release_had_goes(house: House) -> None:
    house.init()
    house.ok("add", numbered(house, 1, {"old/deep/x": b"1", "k": b"k"}), "--name", "pets")
    house.ok("sync", "pets")
    house.ok("update", "pets", numbered(house, 2, {"k": b"k"}))
    house.ok("sync", "pets")
    assert [path.name for path in house.data.iterdir()] == ["k"]


def test_what_an_interrupted_sync_brought_is_retired_too(house: House) -> None:
    house.init()
    one = numbered(house, 1, {"a": b"1", "b": b"2"})
    house.ok("add", one, "--name", "pets")
    (one.parent / "b").unlink()
    assert house.cli("sync", "pets").code == 1
    assert (house.data / "a").exists()
    house.ok("update", "pets", numbered(house, 2, {"a": b"9"}))
    house.ok("sync", "pets")


def test_a_cloned_lock_cannot_choose_where_we_write_by_an_update(house: House) -> None:
    house.init()
    outside = house.base / "outside"
    house.ok("add", numbered(house, 1, {"a": b"1"}), "--name", "pets", "--path", outside)
    shutil.rmtree(house.project / ".databom")  # which no clone brings along
    assert house.cli("sync", "pets").code == 2
    house.ok("update", "pets", numbered(house, 2, {"a": b"2"}))
    assert house.cli("sync", "pets").code == 2
    house.ok("add", house.market / "n2" / "manifest.json", "--name", "pets")
    assert house.cli("sync", "pets").code == 2
    assert not outside.exists()


def test_c02_an_equivocation_that_is_also_older_is_kept_and_says_where(house: House) -> None:
    house.init()
    house.ok("add", numbered(house, 1, {"a": b"1"}), "--name", "pets")
    house.ok("update", "pets", numbered(house, 2, {"a": b"2"}))
    other = numbered(house, 1, {"a": b"3"}, version="2", folder="other")
    answer = house.json("update", "pets", other, "--allow-rollback")
    assert (answer.code, "release.equivocation" in answer.blocking) == (1, True)
    (finding,) = [f for f in answer.findings if f["code"] == "release.equivocation"]
    assert "provenance/evidence/pets/equivocation" in finding["do"]
    assert len(list(house.project.glob("provenance/evidence/pets/equivocation/*.json"))) == 2


def test_c02_both_are_kept_after_the_pin_has_moved_on(house: House) -> None:
    house.init()
    one, two = releases(house, 1, 2)
    fork = house.release(NEWER, "--sequence", "3", version="1", folder="fork")
    house.ok("add", one, "--name", "pets")
    house.ok("update", "pets", two)
    answer = house.json("update", "pets", fork)
    (finding,) = [f for f in answer.findings if f["code"] == "release.equivocation"]
    assert finding["do"].startswith("both are kept in provenance/evidence/pets/equivocation")
    folder = house.project / "provenance" / "evidence" / "pets" / "equivocation"
    documents = [m.with_name(n) for m in (one, fork) for n in ("manifest.json", "manifest.json.dsse")]
    assert {path.read_bytes() for path in folder.iterdir()} == {path.read_bytes() for path in documents}


def test_c02_a_clone_that_has_not_the_first_says_so(house: House) -> None:
    house.init()
    one, two = releases(house, 1, 2)
    fork = house.release(NEWER, "--sequence", "3", version="1", folder="fork")
    house.ok("add", one, "--name", "pets")
    house.ok("update", "pets", two)
    (kept,) = (house.project / ".databom" / "seen").glob("*.json")
    for change in (lambda: kept.write_bytes(b"{}"), kept.unlink):
        change()
        (finding,) = [
            f for f in house.json("update", "pets", fork).findings if f["code"] == "release.equivocation"
        ]
        assert finding["do"].startswith("this one is kept in provenance/evidence/pets/equivocation")
    assert len(list(house.project.glob("provenance/evidence/pets/equivocation/*.json"))) == 1


def test_an_older_release_that_another_pin_holds_can_be_added_again(house: House) -> None:
    house.init()
    one = numbered(house, 1, {"a": b"1"})
    house.ok("add", one, "--name", "pets")
    house.ok("add", one, "--name", "old")
    house.ok("update", "pets", numbered(house, 2, {"a": b"2"}))
    house.ok("add", one, "--name", "old")
    assert house.json("update", "pets", one).blocking == {"release.rollback"}


def test_the_release_that_is_pinned_is_said_to_be(house: House) -> None:
    house.pinned()
    before = (house.project / "databom.lock").read_bytes()
    assert "already" in house.ok("update", "pets").err
    assert (house.project / "databom.lock").read_bytes() == before


def test_a_name_twice_is_one_report(house: House) -> None:
    house.synced()
    assert house.json("verify", "pets", "pets").report["subject"]["name"] == "pets"


def test_what_is_not_there_says_what_to_do(house: House) -> None:
    house.init()
    assert all(finding["do"] for finding in house.json("verify", "./nope.json").findings)


def test_a_lock_with_a_conflict_and_an_empty_one(house: House) -> None:
    house.pinned()
    path = house.project / "databom.lock"
    path.write_text("<<<<<<< HEAD\n" + path.read_text())
    answer = house.cli("verify")
    assert (answer.code, "merge conflict" in answer.err, "HTML" in answer.err) == (2, True, False)
    path.write_text("")
    answer = house.cli("verify")
    assert (answer.code, "empty" in answer.err, "HTML" in answer.err) == (2, True, False)


def test_a_lock_with_a_date_that_is_none(house: House) -> None:
    house.pinned()
    path = house.project / "databom.lock"
    value = lock(house)
    value["seen"]["hn-pets"]["issued_at"] = "yesterday"
    path.write_text(json.dumps(value))
    answer = house.cli("update", "pets")
    assert (answer.code, "not a date" in answer.err) == (2, True)


def test_a_data_folder_that_is_a_link_is_one_trouble(house: House) -> None:
    house.synced()
    house.data.rename(house.base / "away")
    house.data.symlink_to(house.base / "away")
    answer = house.json("sync", "pets")
    assert answer.code == 1
    assert len([finding for finding in answer.findings if finding["severity"] == "block"]) == 1
