"""The gate and personal data, through the command line: real pictures, real statements, real processes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from support.house import House, databom
from support.people import EARLIER, LATER, LETTER, ask, install, picture, pinned, role, scanner, state

CLEAN = {"notes/readme.txt": b"Nothing about anybody.\n"}


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_clean_release_passes_and_the_report_names_who_looked(house: House) -> None:
    pinned(house, {**CLEAN, "images/chelsea.png": picture("chelsea.png")})
    answer = house.json("sync", "pets")
    assert answer.report["verdict"] == "pass"
    named = {one["name"]: one for one in answer.report["scanners"]}
    assert named["databom.patterns"]["assets"] == 1
    assert named["databom.pictures"]["assets"] == 1
    assert named["databom.pictures"]["model"].startswith("sha256:8f2383e4")


@pytest.mark.parametrize(
    ("path", "data", "kinds"),
    [
        ("a.txt", LETTER, ["email 1", "phone 1"]),
        ("astronaut.png", picture("astronaut.png"), ["face 1"]),
        ("a.csv", b"name,mobile\nada,2079460958\n", ["phone 1"]),
        ("a.json", b'{"contact": {"e-mail": "ada\\u0040example.org"}}', ["email 1"]),
    ],
)
def test_what_is_found_blocks_and_no_value_is_told(
    house: House, path: str, data: bytes, kinds: list[str]
) -> None:
    pinned(house, {path: data})
    answer = house.json("sync", "pets")
    assert answer.code == 1
    (found,) = [one for one in answer.findings if one["code"] == "pii.found"]
    assert found["subject"] == path
    assert all(kind in found["found"] for kind in kinds)
    assert sha256(data) in found["found"]
    everything = answer.out + answer.err
    assert "lovelace" not in everything
    assert "7946" not in everything
    assert databom("exec", "pets", "--", "true", cwd=house.project).returncode == 1
    assert house.json("check").code == 1
    assert not (house.project / "provenance" / "reports" / "pets.json").exists()


def test_off_asks_nothing_and_warn_leaves_the_verdict(house: House) -> None:
    pinned(house, {"a.txt": LETTER, "song.ogg": b"OggS\0\0\0\0"}, "off")
    answer = house.json("sync", "pets")
    assert answer.report["scanners"] == []
    assert answer.report["verdict"] == "pass"
    text = (house.project / "databom.toml").read_text()
    (house.project / "databom.toml").write_text(
        text.replace('personal_data = "off"', 'personal_data = "warn"')
    )
    answer = house.json("check")
    assert answer.report["verdict"] == "pass"
    weights = {one["code"]: one["severity"] for one in answer.findings if one["code"].startswith("pii.")}
    assert weights == {"pii.found": "warn", "pii.unscanned": "warn"}
    assert house.json("check", "--strict").code == 1


def test_verify_asks_who_signed_and_scans_nothing(house: House) -> None:
    pinned(house, {"a.txt": LETTER})
    house.json("sync", "pets")
    assert house.json("verify", "pets").report["scanners"] == []


# --- what nobody can see -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("song.ogg", b"OggS\0\2\0\0\0\0"),
        ("model.bin", bytes(range(256)) * 8),
        ("scan.pdf", b"%PDF-1.7\n"),
        ("broken.jpg", b"\xff\xd8\xff\xe0 not a picture"),
        ("text.txt", b"This is no text\0\1\2\3" * 100),
    ],
)
def test_what_no_scanner_can_see_is_unanswered(house: House, path: str, data: bytes) -> None:
    pinned(house, {path: data, **CLEAN})
    answer = house.json("sync", "pets")
    assert answer.code == 3
    assert {"pii.unanswered"} == answer.blocking


def test_a_renamed_picture_is_a_picture_whatever_the_manifest_says(house: House) -> None:
    # The marketplace says text; the bytes begin like a PNG.
    data = picture("astronaut.png")
    folder = house.market / "v1"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(data)
    house.init()
    ask(house)
    house.ok(
        *("publish", folder, "--dataset-id", "hn-pets", "--version", "1", "--license", "CC-BY-4.0"),
        *("--creator", "creator:alice", "--key", house.key),
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["assets"][0]["media_type"] = "text/plain"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "manifest.json.dsse").unlink()
    house.ok("sign", folder / "manifest.json", "--key", house.key)
    house.ok("add", folder / "manifest.json", "--name", "pets")
    answer = house.json("sync", "pets")
    assert answer.code == 1
    assert "face 1" in next(one["found"] for one in answer.findings if one["code"] == "pii.found")


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_archives_are_looked_into(house: House) -> None:
    inner = zipped({"deep/letter.txt": LETTER})
    pinned(house, {"a.zip": zipped({"inner.zip": inner, "face.png": picture("astronaut.png")})})
    answer = house.json("sync", "pets")
    (found,) = [one for one in answer.findings if one["code"] == "pii.found"]
    assert "email 1, face 1" in found["found"]


@pytest.mark.parametrize("what", ["bomb", "nested", "encrypted", "pixels"])
def test_what_grows_beyond_the_limits_is_unanswered_and_not_unpacked(house: House, what: str) -> None:
    if what == "bomb":
        data = zipped({"zeros.txt": bytes(60 * 1024 * 1024)})
    elif what == "nested":
        data = LETTER
        for _ in range(6):
            data = zipped({"a.zip": data})
    elif what == "encrypted":
        data = bytearray(zipped({"a.txt": LETTER}))
        data[6] |= 1
        data[data.find(b"PK\1\2") + 8] |= 1
        data = bytes(data)
    else:
        import struct
        import zlib

        head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    pinned(house, {"a.dat": data})
    answer = house.json("sync", "pets")
    assert answer.code == 3
    assert answer.blocking == {"pii.unanswered"}


# --- scanners that misbehave ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise RuntimeError('ada@example.org')", "raised RuntimeError"),
        ("raise SystemExit(0)", "raised SystemExit"),
        ("os._exit(0)", "ended its process with code 0"),
        ("os.kill(os.getpid(), 11)", "ended its process by signal 11"),
        ("return None", "answered with NoneType"),
        ("return [('email', 2.0)]", "answered with tuple"),
        ("return [Hit('No Kind', 1.0)]", "a hit without a kind"),
        ("return [Hit('email', float('nan'))]", "a hit without a score"),
        ("return [Hit('email', 3)]", "out of bounds"),
        ("yield Hit('email', 1.0, (0, 1)); raise MemoryError", "raised MemoryError"),
        ("raise Unreadable('cannot')", "cannot"),
    ],
)
def test_a_scanner_that_breaks_its_word_is_no_pass(
    house: House, monkeypatch: pytest.MonkeyPatch, body: str, says: str
) -> None:
    install(house.base, monkeypatch, "hostile", scanner("hostile", body))
    pinned(house, CLEAN)
    answer = house.json("sync", "pets")
    assert answer.code == 3
    (told,) = [one for one in answer.findings if one["code"] == "pii.unanswered"]
    assert says in told["what"]
    assert "ada@example.org" not in answer.out
    # Nothing of this is remembered: once the scanner is well again, it passes.
    monkeypatch.delenv("DATABOM_SCANNERS")
    assert house.json("sync", "pets").code == 0


def test_a_scanner_that_hangs_costs_its_asset_and_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from databom.checks import scanpool

    monkeypatch.setattr(scanpool, "PATIENCE_SECONDS", 3.0)
    body = "time.sleep(600) if b'hang' in bytes(data) else None; return []"
    install(house.base, monkeypatch, "sleepy", scanner("sleepy", body))
    pinned(house, {"a.txt": b"one\n", "b.txt": b"hang here\n", "c.txt": LETTER})
    answer = house.json("sync", "pets")
    told = {one["subject"]: one["code"] for one in answer.findings if one["code"].startswith("pii.")}
    assert told == {"b.txt": "pii.unanswered", "c.txt": "pii.found"}


def test_a_project_demands_a_scanner_and_never_starts_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = house.base / "ran"
    body = f"open({str(proof)!r}, 'w').close(); return []"
    install(house.base, monkeypatch, "acme", scanner("acme", body))
    monkeypatch.delenv("DATABOM_SCANNERS")
    pinned(house, CLEAN)
    ask(house, scanners='["acme"]')
    answer = house.json("sync", "pets")
    assert answer.code == 3
    assert [one["subject"] for one in answer.findings if one["code"] == "pii.unanswered"] == ["acme"]
    assert not proof.exists()
    own = house.base / "config" / "databom" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[scanners]\nuse = ["acme"]\n')
    assert house.json("sync", "pets").code == 0
    assert proof.exists()
    own.chmod(0o666)
    assert house.cli("check").code == 2
    monkeypatch.setenv("DATABOM_SCANNERS", "acme")
    assert house.json("check").code == 0


def test_a_scanner_that_is_named_and_not_installed_is_unanswered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABOM_SCANNERS", "nobody")
    pinned(house, CLEAN)
    answer = house.json("sync", "pets")
    assert answer.code == 3
    assert "no installed package has the scanner nobody" in answer.out


def test_a_module_in_the_working_directory_is_not_the_scanners(house: House) -> None:
    pinned(house, CLEAN)
    (house.project / "numpy.py").write_text("raise SystemExit('this must not run')")
    (house.project / "databom.py").write_text("raise SystemExit('this must not run')")
    assert house.json("sync", "pets").code == 0


# --- what settles it -----------------------------------------------------------------------------------


def test_a_waiver_settles_what_it_names_until_it_expires(house: House) -> None:
    face = picture("astronaut.png")
    pinned(house, {"images/astronaut.png": face, "a.txt": LETTER})
    legal = role(house, "legal")
    waiver = {
        "waives": "illustration",
        "assets": [sha256(face), sha256(LETTER)],
        "reason": "drawn",
        "expires_at": LATER,
    }
    state(house, "waiver", waiver, legal)
    answer = house.json("sync", "pets")
    # A letter is no illustration: that waiver is about faces.
    assert [one["subject"] for one in answer.findings if one["code"] == "pii.found"] == ["a.txt"]
    state(house, "waiver", {**waiver, "waives": "not-personal", "assets": [sha256(LETTER)]}, legal, file="b")
    answer = house.json("sync", "pets")
    assert answer.report["verdict"] == "pass"
    assert {one["waives"] for one in answer.report["approvals"]} == {"illustration", "not-personal"}
    assert [one["subject"] for one in answer.findings if one["code"] == "pii.settled"] == [
        "a.txt",
        "images/astronaut.png",
    ]
    state(house, "waiver", {**waiver, "expires_at": EARLIER}, legal)
    answer = house.json("sync", "pets")
    assert [one["subject"] for one in answer.findings if one["code"] == "pii.found"] == [
        "images/astronaut.png"
    ]


def test_a_person_waives_by_the_command_line(house: House) -> None:
    pinned(house, {"images/astronaut.png": picture("astronaut.png"), "song.ogg": b"OggS\0\2"})
    key = role(house, "steward")
    assert house.json("sync", "pets").code == 1
    how = ("--key", key, "--expires", "30", "--reason", "drawn by us")
    house.cli("approve", "pets", "--waive", "illustration", "--asset", "images/astronaut.png", *how)
    assert house.json("sync", "pets").code == 3
    house.cli("approve", "pets", "--waive", "unscanned:audio/ogg", *how)
    answer = house.json("sync", "pets")
    assert answer.report["verdict"] == "pass", answer.out
    assert {one["waives"] for one in answer.report["approvals"]} == {"illustration", "unscanned:audio/ogg"}
    assert "databom:approval" in house.ok("bom", "pets").out


@pytest.mark.parametrize("forged", ["nobody", "role", "manifest", "predicate", "not accepted"])
def test_a_waiver_that_nobody_may_give_settles_nothing(house: House, forged: str) -> None:
    pinned(house, {"a.txt": LETTER})
    key = role(house, "legal")
    waiver = {"waives": "not-personal", "assets": [sha256(LETTER)], "reason": "a sample", "expires_at": LATER}
    other = None
    if forged == "nobody":
        key = house.base / "nobody.key"
        house.ok("key", "new", key)
    elif forged == "role":
        key = role(house, "billing")
    elif forged == "manifest":
        other = sha256(b"another manifest")
    elif forged == "predicate":
        waiver["assets"] = []
    else:
        config = house.project / "databom.toml"
        config.write_text(config.read_text().replace('["legal", "steward"]', '["steward"]'))
    state(house, "waiver", waiver, key, manifest=other)
    answer = house.json("sync", "pets")
    assert answer.code == 1
    # One about another manifest says nothing here; one that pretends is told before anything is fetched.
    assert answer.blocking == {"pii.found" if forged == "manifest" else "approval.invalid"}


def test_a_media_type_is_waived_and_a_crash_is_not(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned(house, {"song.ogg": b"OggS\0\2\0\0\0\0"})
    waiver = {"waives": "unscanned:audio/ogg", "assets": [], "reason": "bird song", "expires_at": LATER}
    state(house, "waiver", waiver, role(house, "steward"))
    answer = house.json("sync", "pets")
    assert answer.report["verdict"] == "pass"
    assert answer.report["approvals"][0]["waives"] == "unscanned:audio/ogg"
    install(house.base, monkeypatch, "hostile", scanner("hostile", "os._exit(1)"))
    assert house.json("sync", "pets").code == 3


def test_a_signed_consent_covers_for_its_purpose_until_it_expires(house: House) -> None:
    pinned(house, {"a.txt": LETTER})
    key = role(house, "consent")
    consent = {"assets": [sha256(LETTER)], "scope": ["train"], "expires_at": LATER}
    state(house, "consent", consent, key)
    assert house.json("sync", "pets").report["verdict"] == "pass"
    state(house, "consent", {**consent, "expires_at": EARLIER}, key)
    answer = house.json("sync", "pets")
    assert {"pii.found", "consent.expired"} <= answer.blocking
    for other in ({"scope": ["evaluate"]}, {"assets": [sha256(b"other")]}, {"scope": []}):
        state(house, "consent", {**consent, **other}, key)
        assert "pii.found" in house.json("sync", "pets").blocking


@pytest.mark.parametrize("typo", ["asset", "expires", "scopes"])
def test_a_consent_with_a_typo_covers_nothing(house: House, typo: str) -> None:
    """Without `assets` a consent is about the whole release: a misspelled one must not be."""
    pinned(house, {"a.txt": LETTER})
    consent = {"scope": ["train"], "expires_at": LATER, typo: ["sha256:" + "0" * 64]}
    state(house, "consent", consent, role(house, "consent"))
    answer = house.json("sync", "pets")
    assert {"pii.found", "consent.invalid"} <= answer.blocking
    [told] = [f["what"] for f in answer.findings if f["code"] == "consent.invalid"]
    assert typo in told


def test_a_consent_that_the_manifest_claims_needs_its_document(house: House) -> None:
    document = b"I, Ada, agree."
    digest = hashlib.sha256(document).hexdigest()
    entry = {"subject": "person:ada", "sha256": digest, "scope": ["train"], "expires_at": LATER}
    house.init()
    ask(house)
    folder = house.market / "v1"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(LETTER)
    listed = {"path": "a.txt", "sha256": sha256(LETTER)[7:], "size": len(LETTER), "consent": "person:ada"}
    manifest = {
        "dataset_id": "hn-pets",
        "version": "1",
        "creator_id": "creator:alice",
        "license": {"spdx": "CC-BY-4.0"},
        "consents": [entry],
        "assets": [listed],
        "signature": "",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    house.ok("sign", folder / "manifest.json", "--key", house.key)
    house.ok("add", folder / "manifest.json", "--name", "pets")
    assert {"pii.found", "consent.missing"} <= house.json("sync", "pets").blocking
    kept = house.project / "provenance" / "evidence" / "pets" / "consents"
    kept.mkdir(parents=True)
    (kept / "ada.txt").write_bytes(b"I, Ada, agree to something else.")
    assert "consent.missing" in house.json("sync", "pets").blocking
    (kept / "ada.txt").write_bytes(document)
    assert house.json("sync", "pets").report["verdict"] == "pass"


def test_a_manifest_whose_consents_have_expired_or_are_lost_is_refused_before_fetching(house: House) -> None:
    entry = {"subject": "person:ada", "sha256": "0" * 64, "scope": ["train"], "expires_at": EARLIER}
    pinned(house, CLEAN, consents=[entry])
    answer = house.json("sync", "pets")
    assert answer.blocking == {"consent.expired"}
    assert not (house.data / "notes").exists()


# --- memory --------------------------------------------------------------------------------------------


def test_what_was_seen_is_not_looked_at_again_and_a_forged_memory_is_none(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from databom.checks import scanpool

    monkeypatch.setenv("DATABOM_CACHE", str(tmp_path / "cache"))
    pinned(house, {"a.txt": LETTER, **CLEAN})
    first = house.json("sync", "pets")
    started: list[int] = []
    start = scanpool.Pool._start
    monkeypatch.setattr(scanpool.Pool, "_start", lambda self: (started.append(1), start(self))[1])
    again = house.json("sync", "pets")
    assert again.report["findings"] == first.report["findings"]
    assert again.report["scanners"] == first.report["scanners"]
    assert not started
    (rows,) = (tmp_path / "cache" / "scans").glob("*.rows")
    assert rows.stat().st_mode & 0o777 == 0o600
    assert rows.parent.stat().st_mode & 0o777 == 0o700
    raw = bytearray(rows.read_bytes())
    raw[-1] ^= 1
    rows.write_bytes(raw)
    assert house.json("sync", "pets").report["findings"] == first.report["findings"]
    assert started


def test_another_end_of_the_name_is_another_question(house: House) -> None:
    # As CSV a bare number in a column without a name that says so is no phone number; as text with a word it is.
    data = b"tel,n\n1,2\n"
    pinned(house, {"a.csv": data, "b.txt": data})
    assert house.json("sync", "pets").report["scanners"][0]["assets"] == 2
