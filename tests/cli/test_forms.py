"""Foreign forms through the command line: a signed Croissant document from end to end, and `verify --oms`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import databom.tasks
from databom.trust.keys import PrivateKey
from support.forms import croissant, oms_bundle, oms_statement
from support.house import FILES, House


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def published(house: House, **changes: Any) -> Path:
    """A Croissant release at the marketplace, signed with the key the project trusts."""
    house.init()
    path = put(house.market / "v1", FILES) / "croissant.json"
    path.write_text(json.dumps(croissant(FILES, **changes)))
    house.ok("sign", path, "--key", house.key)
    return path


def bundled(house: House, *, sign: bool = True, name: str = "model.sig", **changes: Any) -> Path:
    """A release with an OMS bundle beside its files."""
    house.init()
    key = PrivateKey.from_pem(house.key.read_bytes()) if sign else PrivateKey.generate()
    path = put(house.market / "v1", FILES) / name
    path.write_text(json.dumps(oms_bundle(oms_statement(FILES, **changes), [key])))
    return path


def codes(answer: Any) -> dict[str, str]:
    return {finding["code"]: finding["severity"] for finding in answer.findings}


# --- Croissant ---------------------------------------------------------------------------------------


def test_a_croissant_release_from_end_to_end(house: House) -> None:
    path = published(house)
    answer = house.json("verify", path)
    assert answer.code == 0, answer.out
    assert answer.report["subject"]["release"] == "hn-pets@1.0.0"
    assert answer.report["summary"] == {"assets": 3, "bytes": 20, "checked": 3, "failed": 0}
    assert codes(answer) == {"license.not-judged": "info"}
    assert databom.tasks.verify(path, project=house.project).to_json() == answer.out

    assert house.json("add", path, "--name", "pets").code == 0
    assert (house.project / "provenance/manifests/pets.json").read_bytes() == path.read_bytes()
    assert house.json("sync", "pets").code == 0
    assert {p.relative_to(house.data).as_posix() for p in house.data.rglob("*.*")} == set(FILES)
    assert house.json("check").code == 0
    [component] = json.loads(house.ok("bom", "pets").out)["components"]
    assert (component["name"], component["version"]) == ("hn-pets", "1.0.0")
    assert component["licenses"][0]["license"]["id"] == "CC-BY-4.0"

    (house.data / "images/cat1.jpg").write_bytes(b"a bat\n")
    assert "integrity.mismatch" in house.json("check").blocking


def test_a_croissant_release_without_a_project(house: House) -> None:
    path = published(house)
    trust = house.project / "provenance/trust.json"
    assert house.json("verify", path, "--trust", trust, cwd=house.base).code == 0


def test_one_more_space_and_the_signature_is_about_other_bytes(house: House) -> None:
    path = published(house)
    path.write_bytes(path.read_bytes() + b" ")
    assert house.json("verify", path).blocking == {"signature.invalid"}
    assert house.json("add", path).blocking == {"signature.invalid"}
    assert not (house.project / "provenance/manifests").exists()


def test_an_unlisted_file_beside_a_croissant_document(house: House) -> None:
    path = published(house)
    (path.parent / "extra.bin").write_bytes(b"x")
    assert house.json("verify", path).blocking == {"integrity.unlisted"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"distribution": [{"@type": "cr:FileSet", "@id": "all", "includes": "*"}]}, "manifest.schema"),
        ({"distribution": croissant({"a": b"x"})["distribution"] * 2}, "manifest.schema"),
        ({"distribution": croissant({"../a": b"x"})["distribution"]}, "manifest.path"),
        ({"isLiveDataset": True}, "manifest.schema"),
        ({"dataset_id": "hn-other"}, "manifest.schema"),
    ],
)
def test_croissant_that_cannot_be_pinned(house: House, changes: dict[str, Any], code: str) -> None:
    house.init()
    path = put(house.market / "v1", FILES) / "croissant.json"
    path.write_text(json.dumps(croissant(FILES, **changes)))
    assert house.json("verify", path).blocking == {code}
    assert house.json("add", path).blocking == {code}
    refused = house.cli("sign", path, "--key", house.key)
    assert refused.code == 2
    assert "what is refused is not signed" in refused.err
    assert not path.with_name("croissant.json.dsse").exists()


def test_another_version_under_the_same_name_is_equivocation(house: House) -> None:
    path = published(house)
    house.ok("add", path, "--name", "pets")
    path.write_text(json.dumps(croissant({**FILES, "empty.bin": b"other"})))
    path.with_name("croissant.json.dsse").unlink()
    house.ok("sign", path, "--key", house.key)
    assert "release.equivocation" in house.json("add", path, "--name", "pets").blocking


# --- databom sign ------------------------------------------------------------------------------------


def test_countersignatures_add_up_to_a_threshold(house: House) -> None:
    path = published(house)
    second = house.base / "second.key"
    house.ok("key", "new", second)
    root = house.project / "provenance/trust.json"
    house.ok("trust", "add", f"{second}.pub", "--marketplace", "human-native", "--datasets", "hn-*")
    document = json.loads(root.read_text())
    document["roles"]["marketplace"]["human-native"]["threshold"] = 2
    root.write_text(json.dumps(document))
    assert house.json("verify", path).blocking == {"signature.threshold"}

    before = json.loads(path.with_name("croissant.json.dsse").read_text())
    done = house.cli("sign", path, "--key", second, "--key", house.key, "--format", "json")
    assert done.code == 0
    assert (len(json.loads(done.out)["added"]), json.loads(done.out)["signatures"]) == (1, 2)
    after = json.loads(path.with_name("croissant.json.dsse").read_text())
    assert after["payload"] == before["payload"]
    assert after["signatures"][0] == before["signatures"][0]
    assert house.json("verify", path).code == 0

    text = path.with_name("croissant.json.dsse").read_bytes()
    again = house.cli("sign", path, "--key", second)
    assert (again.code, "nothing to add" in again.err) == (0, True)
    assert path.with_name("croissant.json.dsse").read_bytes() == text


def test_a_manifest_is_countersigned_too(house: House) -> None:
    house.init()
    manifest = house.release()
    raw = manifest.read_bytes()
    second = house.base / "second.key"
    house.ok("key", "new", second)
    house.ok("sign", manifest, "--key", second)
    assert manifest.read_bytes() == raw
    assert house.json("verify", manifest).code == 0


@pytest.mark.parametrize("there", ["about other bytes", "{}", "garbage"])
def test_another_envelope_is_never_overwritten(house: House, there: str) -> None:
    path = published(house)
    envelope = path.with_name("croissant.json.dsse")
    if there == "about other bytes":
        path.write_bytes(path.read_bytes() + b"\n")
    else:
        envelope.write_text(there)
    before = envelope.read_bytes()
    assert house.cli("sign", path, "--key", house.key).code == 2
    assert envelope.read_bytes() == before


def test_signing_says_what_it_needs(house: House) -> None:
    path = published(house)
    assert house.cli("sign", path).code == 2
    assert house.cli("sign", house.base / "absent.json", "--key", house.key).code == 2
    assert house.cli("sign", path, "--key", house.base / "absent.key").code == 2
    assert house.cli("sign", path, "--key", f"{house.key}.pub").code == 2


# --- OpenSSF Model Signing -----------------------------------------------------------------------------


def test_a_bundle_beside_its_files(house: House) -> None:
    path = bundled(house)
    answer = house.json("verify", path, "--oms")
    assert answer.code == 0, answer.out
    assert answer.report["summary"] == {"assets": 3, "bytes": 20, "checked": 3, "failed": 0}
    assert codes(answer) == {"license.missing": "warn"}
    manifest = answer.report["subject"]["manifest"]
    assert manifest == databom.tasks.verify(path, oms=True, project=house.project).subject.manifest
    assert answer.report["subject"]["release"] == f"hn-pets@{answer.report['subject']['tree']}"
    assert house.json("verify", path, "--oms", "--strict").code == 1


def test_a_bundle_by_its_bare_name_and_without_a_project(house: House) -> None:
    path = bundled(house)
    trust = house.project / "provenance/trust.json"
    assert house.json("verify", "model.sig", "--oms", "--trust", trust, cwd=path.parent).code == 0


def test_a_bundle_and_files_in_two_places(house: House) -> None:
    path = bundled(house)
    elsewhere = put(house.base / "elsewhere", FILES)
    assert house.json("verify", path, "--oms", "--root", elsewhere).code == 0
    assert house.json("verify", path, "--oms", "--root", path.parent).code == 0
    (elsewhere / "model.sig").write_text("another file of this name")
    assert house.json("verify", path, "--oms", "--root", elsewhere).blocking == {"integrity.unlisted"}


def test_bytes_that_are_not_what_was_signed(house: House) -> None:
    path = bundled(house)
    (path.parent / "images/cat1.jpg").write_bytes(b"a bat\n")
    assert house.json("verify", path, "--oms").blocking == {"integrity.mismatch"}


def test_what_the_signer_ignored_is_unlisted(house: House) -> None:
    """The signer's `ignore_paths` and `allow_symlinks` hide nothing."""
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": True,
        "ignore_paths": ["ignored", "model.sig"],
    }
    path = bundled(house, serialization=serialization)
    assert house.json("verify", path, "--oms").code == 0
    put(path.parent, {"ignored/payload.pkl": b"x"})
    assert house.json("verify", path, "--oms").blocking == {"integrity.unlisted"}
    (path.parent / "ignored/payload.pkl").unlink()
    (path.parent / "ignored").rmdir()
    (path.parent / "images/link.jpg").symlink_to("cat1.jpg")
    assert house.json("verify", path, "--oms").code == 1


def test_relabeled_files_do_not_verify(house: House) -> None:
    """The same bytes, so the same OMS digest; another label."""
    path = bundled(house)
    (path.parent / "images/dog1.jpg").rename(path.parent / "images/cat2.jpg")
    assert house.json("verify", path, "--oms").blocking == {"integrity.missing", "integrity.unlisted"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sign": False}, "signature.untrusted"),
        ({"predicate_type": "urn:databom:dataset-manifest:v1"}, "signature.invalid"),
        ({"resources": [{"name": "../a", "digest": "0" * 64, "algorithm": "sha256"}]}, "signature.invalid"),
        ({"resources": []}, "manifest.schema"),
    ],
)
def test_bundles_that_are_not_believed(house: House, changes: dict[str, Any], code: str) -> None:
    answer = house.json("verify", bundled(house, **changes), "--oms")
    assert (answer.code, answer.blocking) == (1, {code})


def test_a_bundle_is_no_manifest_and_a_manifest_no_bundle(house: House) -> None:
    path = bundled(house, name="bundle.json")
    assert house.json("verify", path).blocking == {"manifest.schema"}
    assert house.json("add", path).blocking == {"manifest.schema"}
    manifest = house.release(folder="v2")
    assert house.json("verify", manifest, "--oms").blocking == {"signature.invalid"}


def test_questions_about_bundles_that_make_no_sense(house: House) -> None:
    house.init()
    assert house.cli("verify", "--oms").code == 2
    assert house.json("verify", house.base / "absent.sig", "--oms").code == 3
