"""The main job against a bucket behind the R2 façade, and what the command line answers when the store lies."""

from __future__ import annotations

import json

import pytest

from support import faultproxy as faults
from support.fixtures_r2 import FaultyBucket, Web
from support.house import FILES, House

pytestmark = pytest.mark.usefixtures("eager")
BIG = {**FILES, "big.bin": bytes(range(256)) * 4000}


@pytest.fixture
def pinned(client: str, house: House, faulty_bucket: FaultyBucket) -> FaultyBucket:
    """A release in the bucket, pinned as `pets`, nothing fetched yet; read by obstore and by s3fs."""
    house.init()
    manifest = house.release(BIG)
    for path in manifest.parent.rglob("*"):
        if path.is_file():
            faulty_bucket.put(path.relative_to(manifest.parent).as_posix(), path.read_bytes())
    answer = house.json("add", f"{faulty_bucket.location}/manifest.json", "--name", "pets")
    assert answer.code == 0, answer.out
    return faulty_bucket


def test_the_main_job_from_a_bucket(house: House, pinned: FaultyBucket) -> None:
    pin = json.loads((house.project / "databom.lock").read_text())["pins"]["pets"]
    assert pin["source"] == f"{pinned.location}/manifest.json"
    answer = house.json("sync", "pets")
    assert answer.code == 0
    assert answer.report["summary"]["checked"] == len(BIG)
    assert {n: (house.data / n).read_bytes() for n in BIG} == BIG
    assert house.json("verify", "pets", "--root", str(pinned.location)).code == 0
    assert house.json("verify", f"{pinned.location}/manifest.json").code == 0


def test_full_lists_the_bucket(house: House, pinned: FaultyBucket) -> None:
    pinned.put("stray.txt", b"x")
    plain = house.json("verify", "pets", "--root", str(pinned.location))
    assert (plain.code, "integrity.unlisted" in plain.codes) == (0, False)
    full = house.json("verify", "pets", "--root", str(pinned.location), "--full")
    assert full.code == 0  # a warning
    assert [f["subject"] for f in full.findings if f["code"] == "integrity.unlisted"] == ["stray.txt"]
    assert house.json("verify", "pets", "--root", str(pinned.location), "--full", "--strict").code == 1


SIZE = len(BIG["big.bin"])


@pytest.mark.parametrize(
    ("fault", "code", "finding"),
    [
        (faults.flip(SIZE // 2), 1, "integrity.mismatch"),
        (faults.oversize(), 1, "integrity.size"),
        (faults.endless(), 1, "integrity.size"),
        (faults.short_length(10), 1, "integrity.size"),
        (faults.replace(b""), 1, "integrity.size"),
        (faults.truncate(1000), 3, "storage.truncated"),
        (faults.reset(1000), 3, "storage."),
        (faults.gzipped(), 3, "storage.unreachable"),
        (faults.redirect("http://127.0.0.1:9/evil"), 3, "storage.unreachable"),
        (faults.redirect("file:///etc/passwd", 302), 3, "storage.unreachable"),
        (faults.s3_error(503, "SlowDown"), 3, "storage.unreachable"),
        (faults.s3_error(404, "NoSuchKey"), 1, "integrity.missing"),
        (faults.s3_error(403, "AccessDenied"), 3, "storage.denied"),
        (faults.s3_error(400, "ExpiredRequest"), 3, "storage.denied"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_one_asset_goes_wrong(
    house: House, pinned: FaultyBucket, fault: faults.Fault, code: int, finding: str
) -> None:
    pinned.proxy.rule("/big.bin", fault)
    remote = house.json("verify", "pets", "--root", str(pinned.location))
    assert remote.code == code
    assert any(found.startswith(finding) for found in remote.codes)
    answer = house.json("sync", "pets")
    assert answer.code == code
    [blocking] = [f["code"] for f in answer.findings if f["severity"] == "block"]
    assert blocking.startswith(finding)
    assert not (house.data / "big.bin").exists()
    assert not (house.data / ".databom-partial").exists()
    assert not (house.project / "provenance/reports/pets.json").exists()
    kept = list((house.project / ".databom").glob("quarantine/pets/*/asset/big.bin"))
    assert len(kept) == (finding in ("integrity.mismatch", "integrity.size"))
    assert all(path.stat().st_size <= SIZE for path in kept)
    assert {n: (house.data / n).read_bytes() for n in FILES} == FILES  # the others are there
    pinned.proxy.clear()
    again = house.json("sync", "pets")
    if kept:
        assert again.code == 1  # never silently fetched again
        again = house.json("sync", "pets", "--refetch")
    assert again.code == 0


def test_a_store_that_is_gone_is_could_not_answer(house: House, pinned: FaultyBucket) -> None:
    pinned.proxy.stop()
    answer = house.json("sync", "pets")
    assert (answer.code, answer.report["verdict"]) == (3, "unanswered")
    assert "storage.unreachable" in answer.codes
    assert house.json("add", f"{pinned.location}/manifest.json", "--name", "pets").code == 3


def test_denied_names_what_to_set_and_no_secret(
    house: House, pinned: FaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "wJalrXUtnCANARY0000000000000000000000000"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canary)
    monkeypatch.setenv("AWS_SESSION_TOKEN", canary + "token")
    for command in (["sync", "pets"], ["add", f"{pinned.location}/manifest.json", "--name", "pets"]):
        answer = house.json(*command)
        assert answer.code == 3
        assert "storage.denied" in answer.codes
        assert any("AWS_ACCESS_KEY_ID" in (f["do"] or "") for f in answer.findings)
    everything = [p.read_bytes() for p in house.project.rglob("*") if p.is_file()]
    assert all(canary.encode() not in data for data in everything)
    assert canary not in answer.out + answer.err


def test_a_presigned_url_leaves_no_query_behind(house: House, web: Web) -> None:
    """K01: the query of a manifest's URL is a password."""
    house.init()
    manifest = house.release()
    for path in manifest.parent.rglob("*"):
        if path.is_file():
            web.put("/hn/" + path.relative_to(manifest.parent).as_posix(), path.read_bytes())
    url = f"{web.proxy.url}/hn/manifest.json?X-Amz-Signature=CANARY0123456789"
    answer = house.json("add", url, "--name", "pets")
    assert answer.code == 0, answer.out
    answer = house.json("sync", "pets")
    assert answer.code == 0, answer.out
    house.ok("bom", "-o", "bom.cdx.json")
    for path in house.project.rglob("*"):
        assert not path.is_file() or b"CANARY" not in path.read_bytes(), path


@pytest.mark.parametrize(
    "fault", [faults.status(200, b"<html>Please sign in</html>"), faults.status(401), faults.status(500)]
)
def test_a_marketplace_over_https_that_does_not_serve_manifests(
    house: House, web: Web, fault: faults.Fault
) -> None:
    house.init()
    web.put("/m.json", b"{}")
    web.proxy.rule("/m.json", fault)
    answer = house.json("add", f"{web.proxy.url}/m.json")
    assert answer.code in (1, 3)
    assert answer.codes & {"manifest.syntax", "storage.denied", "storage.unreachable"}


def test_a_token_goes_to_its_marketplace(house: House, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    house.init()
    manifest = house.release()
    monkeypatch.setenv("DATABOM_TOKEN_PETS", "tok_CANARY")
    seen: list[str | None] = []

    def needs_token(request: faults.Request, given: faults.Answer, wire: faults.Wire) -> None:
        seen.append(request.header("Authorization"))
        good = request.header("Authorization") == "Bearer tok_CANARY"
        wire.send(given if good else faults.answer(401))

    for path in manifest.parent.rglob("*"):
        if path.is_file():
            web.put("/hn/" + path.relative_to(manifest.parent).as_posix(), path.read_bytes())
    web.proxy.rule("/hn/", needs_token)
    assert house.json("add", f"{web.proxy.url}/hn/manifest.json", "--name", "pets").code == 0
    assert house.json("sync", "pets").code == 0
    monkeypatch.delenv("DATABOM_TOKEN_PETS")
    (house.data / "images/cat1.jpg").unlink()
    answer = house.json("sync", "pets")
    assert answer.code == 3
    assert any("DATABOM_TOKEN_" in (f["do"] or "") for f in answer.findings)
    assert all(b"CANARY" not in p.read_bytes() for p in house.project.rglob("*") if p.is_file())
