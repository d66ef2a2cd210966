"""The main job through the public door: publish, pin, sync, verify, and every way it says no."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from databom import tasks
from databom.tasks import recorded
from support.house import FILES, House


def digest_of(path: Path) -> str:
    import hashlib

    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def test_publish_pin_sync_verify(house: House) -> None:
    manifest = house.pinned()
    lock = json.loads((house.project / "databom.lock").read_text())
    pin = lock["pins"]["pets"]
    assert pin["manifest"] == digest_of(manifest)
    assert (house.project / "provenance/manifests/pets.json").read_bytes() == manifest.read_bytes()
    assert not house.data.exists()

    answer = house.json("sync", "pets")
    assert (answer.code, answer.report["verdict"]) == (0, "pass")
    assert answer.report["summary"] == {"assets": 3, "bytes": 20, "checked": 3, "failed": 0}
    assert {p.relative_to(house.data).as_posix() for p in house.data.rglob("*") if p.is_file()} == set(FILES)
    report = json.loads((house.project / "provenance/reports/pets.json").read_text())
    assert report["manifest"] == pin["manifest"]
    assert report["verdict"] == report["report"]["verdict"] == "pass"
    assert report["trust"] == digest_of(house.project / "provenance/trust.json")

    answer = house.json("verify", "pets")
    assert set(answer.report) >= {"verdict", "subject", "summary", "findings"}
    assert answer.report["subject"] == {
        "name": "pets",
        "release": "hn-pets@1",
        "manifest": pin["manifest"],
        "tree": pin["tree"],
    }
    assert house.json("check").report["reports"][0]["subject"]["name"] == "pets"


def test_the_report_is_byte_identical(house: House) -> None:
    house.synced()
    path = house.project / "provenance/reports/pets.json"
    first = path.read_bytes()
    shutil.rmtree(house.data)
    house.ok("sync", "pets")
    assert path.read_bytes() == first


def test_nothing_is_trusted_before_somebody_says_so(house: House) -> None:
    house.ok("init")
    house.ok("key", "new", house.key)
    manifest = house.release()
    answer = house.json("add", manifest)
    assert answer.blocking == {"signature.untrusted"}
    assert not (house.project / "databom.lock").exists()
    assert not (house.project / "provenance/manifests").exists()


def test_another_marketplaces_dataset_is_out_of_scope(house: House) -> None:
    house.ok("init")
    house.ok("key", "new", house.key)
    house.ok("trust", "add", f"{house.key}.pub", "--marketplace", "human-native", "--datasets", "other-*")
    assert house.json("add", house.release()).blocking == {"signature.untrusted"}


@pytest.mark.parametrize("embed", [False, True])
def test_both_signature_forms(house: House, embed: bool) -> None:
    house.init()
    manifest = house.release(FILES, *(["--embed"] if embed else []))
    assert (manifest.parent / "manifest.json.dsse").exists() is not embed
    house.ok("add", manifest, "--name", "pets")
    house.ok("sync")
    assert (house.project / "provenance/manifests/pets.json.dsse").exists() is not embed


def test_a_changed_local_file_is_evidence(house: House) -> None:
    house.synced()
    cat = house.data / "images/cat1.jpg"
    cat.write_bytes(b"a bat\n")
    assert house.json("verify", "pets").blocking == {"integrity.mismatch"}
    assert cat.read_bytes() == b"a bat\n"  # verify reads only

    answer = house.json("sync", "pets")
    assert answer.blocking == {"integrity.mismatch"}
    assert not cat.exists()
    [kept] = (house.project / ".databom/quarantine/pets").rglob("cat1.jpg")
    assert kept.read_bytes() == b"a bat\n"
    assert ".databom/quarantine/pets/" in answer.findings[0]["what"]
    assert not (house.project / "provenance/reports/pets.json").exists()

    for _ in range(2):  # never silently fetched again
        assert house.json("sync", "pets").blocking == {"integrity.mismatch"}
        assert not cat.exists()
    answer = house.json("sync", "pets", "--refetch")
    assert answer.code == 0
    assert cat.read_bytes() == FILES["images/cat1.jpg"]
    assert kept.exists()
    notes = json.loads((house.project / "databom.lock").read_text())["seen"]["hn-pets"]["notes"]
    assert len(notes) == 1
    assert "refetched 1 asset" in notes[0]
    assert house.json("sync", "pets").code == 0


def test_a_bad_byte_at_the_source_is_evidence(house: House) -> None:
    manifest = house.synced()
    source = manifest.parent / "images/dog1.jpg"
    good = source.read_bytes()
    source.write_bytes(good[:-1] + b"!")
    (house.data / "images/dog1.jpg").unlink()
    assert house.json("sync", "pets").blocking == {"integrity.mismatch"}
    [kept] = (house.project / ".databom/quarantine/pets").rglob("dog1.jpg")
    assert kept.read_bytes() == source.read_bytes()
    source.write_bytes(good)
    assert house.json("sync", "pets").blocking == {"integrity.mismatch"}  # still a question for a person
    assert house.json("sync", "pets", "--refetch").code == 0
    assert house.json("verify", "pets").code == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"a cat", "integrity.size"), (b"a cat\nmore", "integrity.size"), (b"", "integrity.size")],
)
def test_wrong_lengths(house: House, data: bytes, code: str) -> None:
    house.synced()
    (house.data / "images/cat1.jpg").write_bytes(data)
    assert house.json("verify", "pets").blocking == {code}


def test_a_missing_asset_and_an_unlisted_one(house: House) -> None:
    house.synced()
    (house.data / "images/cat1.jpg").unlink()
    (house.data / ".hidden").write_text("x")
    (house.data / "hole").mkdir()
    answer = house.json("verify", "pets")
    assert answer.blocking == {"integrity.missing", "integrity.unlisted"}
    unlisted = {f["subject"] for f in answer.findings if f["code"] == "integrity.unlisted"}
    assert unlisted == {".hidden", "hole"}
    assert house.json("sync", "pets").blocking == {"integrity.unlisted"}


@pytest.mark.parametrize("what", ["symlink", "fifo", "directory"])
def test_unsafe_files_are_never_followed(house: House, what: str) -> None:
    house.synced()
    cat = house.data / "images/cat1.jpg"
    cat.unlink()
    secret = house.base / "secret"
    secret.write_bytes(FILES["images/cat1.jpg"])
    match what:
        case "symlink":
            cat.symlink_to(secret)
        case "fifo":
            os.mkfifo(cat)
        case "directory":
            cat.mkdir()
    assert "integrity.unsafe-file" in house.json("verify", "pets").blocking
    assert secret.read_bytes() == FILES["images/cat1.jpg"]


def test_all_problems_are_told_at_once(house: House) -> None:
    house.synced()
    for name in FILES:
        (house.data / name).write_bytes(b"no\n")
    assert len([f for f in house.json("verify", "pets").findings if f["severity"] == "block"]) == 3


def test_a_changed_manifest_is_refused_by_every_verb(house: House) -> None:
    house.synced()
    kept = house.project / "provenance/manifests/pets.json"
    kept.write_bytes(kept.read_bytes().replace(b"creator:alice", b"creator:mallo"))
    for command in (["sync", "pets"], ["verify", "pets"], ["check"]):
        assert {"signature.invalid", "release.mismatch"} <= house.json(*command).blocking
    ran = house.project / "ran"
    assert house.cli("exec", "pets", "--", "touch", ran).code == 1
    assert not ran.exists()


def test_a_respelled_manifest_is_not_the_pinned_one(house: House) -> None:
    """The signature over the content still holds, but the bytes are others than those that were pinned."""
    house.init()
    house.ok("add", house.release(FILES, "--embed"), "--name", "pets")
    kept = house.project / "provenance/manifests/pets.json"
    kept.write_bytes(kept.read_bytes() + b"\n")
    assert house.json("verify", "pets").blocking == {"release.mismatch"}


def test_a_kept_manifest_that_is_gone(house: House) -> None:
    house.synced()
    (house.project / "provenance/manifests/pets.json").unlink()
    answer = house.json("verify", "pets")
    assert answer.blocking == {"release.mismatch"}
    assert "git restore" in answer.findings[0]["do"]


def test_verify_a_manifest_without_a_project(house: House, tmp_path: Path) -> None:
    manifest = house.pinned()
    trust = tmp_path / "trust.json"
    shutil.copy(house.project / "provenance/trust.json", trust)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    answer = house.json("verify", manifest, "--trust", trust, cwd=elsewhere)
    assert answer.code == 0
    assert answer.report["summary"]["checked"] == 3
    (manifest.parent / "extra").write_text("x")
    assert house.json("verify", manifest, "--trust", trust, cwd=elsewhere).blocking == {"integrity.unlisted"}
    assert house.cli("verify", manifest, cwd=elsewhere).code == 2  # nobody is trusted


def test_the_named_trust_digest_must_be_the_roots(house: House) -> None:
    house.synced()
    good = digest_of(house.project / "provenance/trust.json")
    assert house.json("verify", "pets", "--trust-digest", good).code == 0
    assert house.json("verify", "pets", "--trust-digest", "sha256:" + "0" * 64).blocking == {"trust.changed"}


def test_strict_turns_warnings_into_a_no(house: House) -> None:
    house.init()
    place = house.market / "bare"
    place.mkdir(parents=True)
    (place / "a").write_bytes(b"a")
    house.ok(
        "publish",
        place,
        "--dataset-id",
        "hn-a",
        "--version",
        "1",
        "--license",
        "CC-BY-4.0",
        "--key",
        house.key,
    )
    answer = house.json("add", place / "manifest.json")
    assert answer.code == 0
    assert {"manifest.incomplete", "attribution.missing"} <= answer.codes
    house.ok("sync")
    assert house.json("verify", "hn-a").code == 0
    assert house.json("verify", "hn-a", "--strict").blocking == {"manifest.incomplete", "attribution.missing"}


def test_verify_judges_no_license_and_says_so(house: House) -> None:
    house.synced()
    [note] = [f for f in house.json("verify", "pets").findings if f["code"].startswith("license.")]
    assert (note["code"], note["severity"]) == ("license.not-judged", "info")


def test_rollback_and_equivocation(house: House) -> None:
    house.init()
    house.ok("add", house.release(FILES, "--sequence", "2", version="2", folder="v2"), "--name", "pets")
    old = house.release(FILES, "--sequence", "1", version="1", folder="v1")
    assert house.json("add", old, "--name", "pets").blocking == {"release.rollback"}
    other = house.release({"a": b"other"}, "--sequence", "2", version="2", folder="evil")
    assert house.json("add", other, "--name", "pets").blocking == {"release.equivocation"}
    newer = house.release(FILES, "--sequence", "3", version="3", folder="v3")
    assert house.json("add", newer, "--name", "pets").code == 0
    assert house.json("add", newer, "--name", "pets").code == 0  # the newest, again
    seen_before = house.market / "v2" / "manifest.json"
    assert house.json("add", seen_before, "--name", "pets").blocking == {"release.rollback"}


def test_exec_runs_the_command_with_its_own_exit_code(house: House) -> None:
    from support.house import databom

    house.synced()
    done = databom(
        "exec", "pets", "--", "sh", "-c", "echo trained in $DATABOM_PROJECT; exit 7", cwd=house.project
    )
    assert done.returncode == 7
    assert f"trained in {house.project}" in done.stdout
    (house.data / "images/cat1.jpg").write_bytes(b"a bat\n")
    refused = databom("exec", "pets", "--", "sh", "-c", "echo trained", cwd=house.project)
    assert refused.returncode == 1
    assert "trained" not in refused.stdout
    assert "integrity.mismatch" in refused.stdout
    assert refused.stdout.rstrip().endswith("verdict: fail")


def test_the_project_root_is_found_upwards(house: House) -> None:
    house.synced()
    deep = house.project / "notebooks" / "deep"
    deep.mkdir(parents=True)
    assert house.json("verify", "pets", cwd=deep).code == 0
    assert house.json("verify", "pets", "--project", house.project, cwd=house.base).code == 0


def test_dvc_is_not_needed(house: House) -> None:
    house.pinned()
    assert not (house.project / "dvc.yaml").exists()


def test_locations_inside_the_project_are_stored_relative(house: House) -> None:
    house.init()
    house.market = house.project / "market"
    house.ok("add", house.release(), "--name", "pets")
    pin = json.loads((house.project / "databom.lock").read_text())["pins"]["pets"]
    assert (pin["source"], pin["root"], pin["path"]) == ("market/v1/manifest.json", "market/v1", "data/pets")


def test_the_manifest_beside_the_assets_is_not_unlisted_however_they_are_named(house: House) -> None:
    manifest = house.synced()
    there = manifest.parent
    assert house.json("verify", manifest, "--root", there).code == 0
    assert house.json("verify", "pets", "--root", there).code == 0
    assert house.json("verify", manifest, "--root", there.parent).blocking >= {"integrity.missing"}
    (there / "more.txt").write_bytes(b"more")
    for target in (manifest, "pets"):
        answer = house.json("verify", target, "--root", there)
        assert answer.blocking == {"integrity.unlisted"}
        assert [f["subject"] for f in answer.findings if f["severity"] == "block"] == ["more.txt"]
    (house.data / "manifest.json").write_bytes(manifest.read_bytes())
    assert house.json("verify", "pets").blocking == {"integrity.unlisted"}


def test_a_root_that_is_not_there_is_told_by_its_option(house: House) -> None:
    manifest = house.synced()
    for target, folder in (
        (manifest, house.market),
        (Path("manifest.json"), manifest.parent),
        ("pets", None),
    ):
        answer = house.json(
            "verify", target, "--root", house.base / "none", "--project", house.project, cwd=folder
        )
        assert [f["do"] for f in answer.findings if f["code"] == "integrity.missing"] == [
            "name the folder with --root"
        ]


def test_a_strict_sync_that_refuses_leaves_no_report_of_a_pass(house: House) -> None:
    house.init()
    manifest = house.release()
    value = json.loads(manifest.read_bytes())
    template = house.base / "filled.json"
    template.write_text(json.dumps({key: value[key] for key in ("dataset_id", "version", "license")}))
    house.ok("publish", manifest.parent, "--from", template, "--key", house.key)
    house.ok("add", manifest, "--name", "pets")
    report = house.project / "provenance" / "reports" / "pets.json"
    last = house.project / ".databom" / "last" / "pets.json"

    house.ok("sync", "pets")
    assert report.exists()
    answer = house.json("sync", "pets", "--strict")
    assert answer.code == 1
    assert "attribution.missing" in answer.blocking
    assert not report.exists()
    assert json.loads(last.read_bytes()) == answer.report
    house.ok("sync", "pets")
    assert json.loads(report.read_bytes())["verdict"] == "pass"


@pytest.mark.parametrize("form", [(), ("--embed",)])
def test_a_release_is_pinned_where_it_lies(house: House, form: tuple[str, ...]) -> None:
    """Its manifest and envelope are no unlisted files; anything else beside them is."""
    house.init()
    manifest = house.release(FILES, *form)
    here = house.project / "release"
    shutil.move(manifest.parent, here)
    house.ok("add", here / "manifest.json", "--name", "pets", "--path", "release")
    house.ok("sync", "pets")
    assert house.json("verify", "pets").code == 0
    project = tasks.Project.load(house.project)
    assert recorded.compare(project, "pets") == ("pass", None)
    (here / "more.txt").write_text("unlisted")
    for command in ("verify", "sync"):
        assert house.json(command, "pets").blocking == {"integrity.unlisted"}
    assert recorded.compare(project, "pets").verdict != "pass"
