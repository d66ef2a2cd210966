"""Ways around the gate for personal data that were open once, through the command line."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from databom.checks import scanning, scanpool
from support.house import House
from support.people import EARLIER, LATER, LETTER, ask, install, pinned, role, scanner, state


def test_a_waiver_for_one_media_type_hides_no_other_in_the_same_archive(house: House) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(30):
            archive.writestr(f"{number}.pdf", b"%PDF-1.7")
        archive.writestr("film", b"\0\0\0\x18ftypisom")
    pinned(house, {"a.zip": file.getvalue()})
    waiver = {"waives": "unscanned:application/pdf", "assets": [], "reason": "forms", "expires_at": LATER}
    state(house, "waiver", waiver, role(house, "steward"))
    answer = house.json("sync", "pets")
    assert answer.code == 3
    assert "video/mp4" in next(one["what"] for one in answer.findings if one["code"] == "pii.unanswered")


def test_a_scanner_that_forks_answers_once_for_each_asset(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two that answer would answer for the next asset, too: with what is true of this one.
    body = "os.fork(); return [Hit('badge')] if b'ACME' in bytes(data) else []"
    install(house.base, monkeypatch, "forker", scanner("forker", body))
    files = {f"{number}.txt": b"%d%s\n" % (number, b" ACME" * (number % 2)) for number in range(8)}
    pinned(house, files)
    answer = house.json("sync", "pets")
    found = {one["subject"] for one in answer.findings if one["code"] == "pii.found"}
    assert found == {"1.txt", "3.txt", "5.txt", "7.txt"}
    assert answer.blocking == {"pii.found"}


def test_what_a_scanner_started_ends_with_it(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "pid"
    body = f"import subprocess; open({str(told)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid)); return []"
    install(house.base, monkeypatch, "parent", scanner("parent", body))
    pinned(house, {"a.txt": b"nothing\n"})
    assert house.json("sync", "pets").code == 0
    stat = Path(f"/proc/{told.read_text()}/stat")
    # Gone, or waiting for somebody to notice that it is.
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_long_asset_has_longer_to_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanpool, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(scanpool, "SLOWEST", 1)
    body = "time.sleep(2); return []"
    install(house.base, monkeypatch, "slow", scanner("slow", body))
    pinned(house, {"a.txt": b"a text of some length\n"})
    assert house.json("sync", "pets").code == 0


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_consents_of_one_person_any_that_holds_covers(house: House, order: int) -> None:
    document = b"I, Ada, agree."
    digest = hashlib.sha256(document).hexdigest()
    given = {"subject": "person:ada", "sha256": digest, "scope": ["train"], "expires_at": LATER}
    other = {**given, "sha256": "0" * 64, "scope": ["evaluate"]}
    house.init()
    ask(house)
    folder = house.market / "v1"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(LETTER)
    listed = {
        "path": "a.txt",
        "sha256": hashlib.sha256(LETTER).hexdigest(),
        "size": len(LETTER),
        "consent": "person:ada",
    }
    manifest = {
        "dataset_id": "hn-pets",
        "version": "1",
        "creator_id": "creator:alice",
        "license": {"spdx": "CC-BY-4.0"},
        "consents": [given, other][::order],
        "assets": [listed],
        "signature": "",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    house.ok("sign", folder / "manifest.json", "--key", house.key)
    house.ok("add", folder / "manifest.json", "--name", "pets")
    assert {"pii.found", "consent.missing"} <= house.json("sync", "pets").blocking
    kept = house.project / "provenance" / "evidence" / "pets" / "consents"
    kept.mkdir(parents=True)
    (kept / "ada.txt").write_bytes(document)
    answer = house.json("sync", "pets")
    assert answer.report["verdict"] == "pass", answer.out


def test_versions_of_a_dataset_remember_side_by_side(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABOM_CACHE", str(tmp_path / "cache"))
    pinned(house, {"a.txt": b"one\n"}, sequence=1)
    filled = house.base / "second.json"
    filled.write_text('{"sequence": 2}')
    second = house.release({"b.txt": b"two\n"}, "--from", str(filled), version="2", folder="v2")
    house.ok("add", second, "--name", "later")
    house.ok("sync")
    asked: list[str] = []
    real = scanning.Pool.answers

    def answers(self: scanpool.Pool, jobs):  # type: ignore[no-untyped-def]
        jobs = list(jobs)
        asked.extend(job.path for job in jobs)
        return real(self, jobs)

    monkeypatch.setattr(scanning.Pool, "answers", answers)
    house.json("check")
    assert asked == []
    house.json("sync", "pets", "later")
    assert asked == []


def test_an_answer_without_what_reads_tables_is_not_remembered_as_one_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from databom.scanners import versions

    before = versions.patterns()
    monkeypatch.setattr(versions, "_installed", lambda *names: "none")
    assert versions.patterns() != before


def test_a_consent_that_ran_out_covers_nothing_beside_one_that_is_for_something_else(house: House) -> None:
    pinned(house, {"a.txt": LETTER})
    key = role(house, "consent")
    state(house, "consent", {"scope": ["train"], "expires_at": EARLIER}, key, file="a")
    state(house, "consent", {"scope": ["evaluate"], "expires_at": LATER}, key, file="b")
    assert {"pii.found", "consent.expired"} <= house.json("sync", "pets").blocking
