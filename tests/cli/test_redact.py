"""`databom redact`: a release that the gate refuses, made into one that it lets pass."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from support.house import House, databom
from support.people import LATER, LETTER, ask, install, picture, pinned, scanner

TABLE = b'name,mobile\n"Lovelace, Ada",2079460958\nBabbage,ada@example.org\n'
RECORD = b'{"who": "Ada", "mobile": 2079460958, "mail": "ada\\u0040example.org", "n": 12345678901}'
DRAWING = b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M4 12 415-555-2671"/><text>ada@example.org</text></svg>'


def team(house: House) -> Path:
    key = house.base / "team.key"
    house.ok("key", "new", key)
    house.ok("trust", "add", f"{key}.pub", "--marketplace", "internal", "--datasets", "*-redacted")
    return key


def with_place(picture_: bytes) -> bytes:
    """The picture as a JPEG that says where it was taken, and by whom."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture_)).convert("RGB")
    exif = image.getexif()
    exif[0x013B] = "Ada Lovelace"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_a_redacted_release_passes_where_the_original_is_refused(house: House) -> None:
    files = {
        "images/astronaut.png": picture("astronaut.png"),
        "images/cat.jpg": with_place(picture("chelsea.png")),
        "images/brick.png": picture("brick.png"),
        "letter.txt": LETTER,
        "wide.txt": LETTER.decode().encode("utf-16"),
        "people.csv": TABLE,
        "people.json": RECORD,
        "drawing.svg": DRAWING,
    }
    pinned(house, files)
    refused = house.json("sync", "pets")
    assert refused.code == 1
    assert {one["subject"] for one in refused.findings if one["code"] == "pii.found"} == set(files) - {
        "images/brick.png"
    }
    out = house.base / "clean"
    answer = house.cli("redact", "pets", "-o", out, "--key", team(house), "--format", "json")
    assert answer.code == 0, answer.out + answer.err
    assert "7 assets redacted" in answer.err

    house.ok("add", out / "manifest.json", "--name", "clean")
    passed = house.json("sync", "clean")
    assert passed.report["verdict"] == "pass"
    assert databom("exec", "clean", "--", "true", cwd=house.project).returncode == 0

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["marketplace_id"] == "internal"
    assert manifest["license"] == {"spdx": "CC-BY-4.0"}
    assert manifest["creator_id"] == "creator:alice"
    original = json.loads((house.market / "v1" / "manifest.json").read_text())
    digests = {one["path"]: one["sha256"] for one in original["assets"]}
    for one in manifest["assets"]:
        if one["path"] == "images/brick.png":
            assert one["sha256"] == digests[one["path"]]
            assert "redacted_from" not in one
        else:
            assert one["redacted_from"] == {"sha256": digests[one["path"]]}
    assert manifest["provenance"]["derived_from"]["dataset_id"] == "hn-pets"
    (record,) = manifest["data-risk-reducing"]
    assert {one["name"] for one in record["scanners"]} == {"databom.patterns", "databom.pictures"}
    assert record["changed"] == 7

    assert (out / "letter.txt").read_text() == "Dear Ada,\nwrite to [email] or call [phone].\n"
    assert (out / "wide.txt").read_bytes().decode("utf-16") == (out / "letter.txt").read_text()
    assert (out / "people.csv").read_text().splitlines()[1:] == ['"Lovelace, Ada",[phone]', "Babbage,[email]"]
    assert json.loads((out / "people.json").read_text()) == {
        "who": "Ada",
        "mobile": None,
        "mail": "[email]",
        "n": 12345678901,
    }
    assert b"M4 12 415-555-2671" in (out / "drawing.svg").read_bytes()
    assert b"<text>[email]</text>" in (out / "drawing.svg").read_bytes()
    from PIL import Image

    cat = Image.open(out / "images" / "cat.jpg")
    assert not cat.getexif()
    assert cat.size == (451, 300)


def test_whatever_restricts_the_original_restricts_what_is_made_from_it(house: House) -> None:
    license_ = {
        "spdx": "CC-BY-4.0",
        "prohibits": ["search"],
        "x-terms": "ask first",
        "valid_until": LATER,
    }
    told = {"expires_at": LATER, "classification": ["confidential"], "x-embargo": True}
    paid = {"model": "one-time", "transaction_id": "txn_1"}
    pinned(house, {"letter.txt": LETTER}, license=license_, payment=paid, **told)
    ask(house, commercial="false")
    synced = house.cli("sync", "pets")
    out = house.base / "clean"
    answer = house.cli("redact", "pets", "-o", out, "--key", team(house))
    assert (out / "manifest.json").exists(), synced.out + synced.err + answer.out + answer.err
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["license"] == license_
    assert {key: manifest[key] for key in told} == told
    assert "payment" not in manifest


def test_what_still_fires_is_not_signed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    # A scanner of the team's own knows names; the built-in masks do not take them out.
    body = "return [Hit('name')] if b'Ada' in bytes(data) else []"
    install(house.base, monkeypatch, "names", scanner("names", body))
    pinned(house, {"letter.txt": LETTER})
    house.json("sync", "pets")
    out = house.base / "clean"
    answer = house.json("redact", "pets", "-o", out, "--key", team(house))
    assert answer.code == 1
    assert "still finds personal data in what was written: name" in answer.out
    assert not any(out.iterdir())  # so that the next attempt finds the folder as this one did


def test_what_still_fires_is_left_out_where_one_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "return [Hit('name')] if b'Ada' in bytes(data) else []"
    install(house.base, monkeypatch, "names", scanner("names", body))
    pinned(house, {"letter.txt": LETTER, "other.txt": LETTER.replace(b"Ada", b"you")})
    house.json("sync", "pets")
    key, out = team(house), house.base / "clean"
    assert house.json("redact", "pets", "-o", out, "--key", key, "--leave-out").code == 0
    assert {path.name for path in out.iterdir()} == {"other.txt", "manifest.json", "manifest.json.dsse"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert [one["path"] for one in manifest["assets"]] == ["other.txt"]
    assert [one["path"] for one in manifest["data-risk-reducing"][0]["left_out"]] == ["letter.txt"]
    house.ok("add", out / "manifest.json", "--name", "clean")
    assert house.json("sync", "clean").report["verdict"] == "pass"


def test_what_cannot_be_cleaned_is_refused_or_left_out(house: House) -> None:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("letter.txt", LETTER)
    pinned(house, {"a.zip": file.getvalue(), "song.ogg": b"OggS\0\0", "letter.txt": LETTER})
    house.json("sync", "pets")
    key, out = team(house), house.base / "clean"
    answer = house.json("redact", "pets", "-o", out, "--key", key)
    assert answer.code == 1
    assert {one["subject"] for one in answer.findings if one["severity"] == "block"} == {"a.zip", "song.ogg"}
    assert house.cli("redact", "pets", "-o", out, "--key", key, "--leave-out").code == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert [one["path"] for one in manifest["assets"]] == ["letter.txt"]
    assert [one["path"] for one in manifest["data-risk-reducing"][0]["left_out"]] == ["a.zip", "song.ogg"]


def test_a_release_that_only_says_that_it_was_redacted_is_refused(house: House) -> None:
    # The face is still there: the publisher's word does not go before what is seen.
    face = picture("astronaut.png")
    house.init()
    folder = house.market / "v1"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(face)
    import hashlib

    listed = {
        "path": "a.png",
        "sha256": hashlib.sha256(face).hexdigest(),
        "redacted_from": {"sha256": "0" * 64},
    }
    manifest = {
        "dataset_id": "hn-pets",
        "version": "1",
        "creator_id": "creator:alice",
        "assets": [listed],
        "license": {"spdx": "CC-BY-4.0"},
        "data-risk-reducing": ["faces blurred"],
        "signature": "",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    house.ok("sign", folder / "manifest.json", "--key", house.key)
    config = house.project / "databom.toml"
    config.write_text(config.read_text().replace('personal_data = "off"', 'personal_data = "require"'))
    house.ok("add", folder / "manifest.json", "--name", "pets")
    answer = house.json("sync", "pets")
    assert answer.blocking == {"pii.found"}


def test_a_folder_that_is_not_empty_is_not_written_into(house: House) -> None:
    pinned(house, {"letter.txt": LETTER})
    house.json("sync", "pets")
    answer = house.cli("redact", "pets", "-o", house.market, "--key", team(house))
    assert answer.code == 2
    assert "not empty" in answer.err
