"""A mismatch is an incident: what is known of it, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support import faultproxy as faults
from support.fixtures_r2 import FaultyBucket, Web
from support.house import FILES, House

CAT = "images/cat1.jpg"


def spoil(house: House, path: str = CAT) -> str:
    """Change a local file and let `sync` find it; the incident's id."""
    before = {one["incident"] for one in listed(house, "--all")}
    (house.data / path).write_bytes(b"a bat\n")
    assert house.json("sync", "pets").code == 1
    (new,) = {one["incident"] for one in listed(house, "--all")} - before
    return str(new)


def listed(house: House, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.ok("incident", "list", *args, "--format", "json").report["incidents"]
    return found


def shown(house: House, wanted: str) -> dict[str, Any]:
    return house.ok("incident", "show", wanted, "--format", "json").report


def close(house: House, wanted: str, *args: str) -> Any:
    return house.cli("incident", "close", wanted, "--reason", "an editor was open on it", *args)


def test_a_mismatch_is_an_incident(house: House) -> None:
    house.synced()
    assert listed(house) == []
    known = spoil(house)
    record = shown(house, known)
    pin = json.loads((house.project / "databom.lock").read_text())["pins"]["pets"]
    assert (record["state"], record["code"], record["path"]) == ("open", "integrity.mismatch", CAT)
    assert (record["release"], record["manifest"]) == ("hn-pets@1", pin["manifest"])
    assert record["expected"] != record["found"]
    assert record["source"] == "data/pets"
    assert record["headers"] == {}
    assert set(record["versions"]) >= {"databom", "python", "urllib3"}
    assert record["tell"] == {
        "marketplace": "human-native",
        "keyids": pin["keyids"],
        "creator": "creator:alice",
    }
    assert (house.project / record["folder"] / "asset" / CAT).read_bytes() == b"a bat\n"
    text = house.ok("incident", "show", known).out
    for said in (known, record["expected"], record["found"], "human-native", "creator:alice", "data/pets"):
        assert said in text
    assert known in house.ok("incident", "list", "pets").out
    assert known in house.json("sync", "pets").findings[0]["do"]


def test_from_open_to_closed(house: House) -> None:
    house.synced()
    known = spoil(house)
    refused = close(house, known)
    assert refused.code == 2
    assert "not as signed yet" in refused.err
    assert "--refetch" in refused.err

    house.ok("sync", "pets", "--refetch")
    assert shown(house, known)["state"] == "refetched"
    assert close(house, known, "--by", "Alice").code == 0
    record = shown(house, known)
    assert (record["state"], record["resolution"], record["closed_by"]) == ("closed", "whole", "Alice")
    assert record["reason"] == "an editor was open on it"
    assert (house.project / record["folder"] / "asset" / CAT).read_bytes() == b"a bat\n"
    assert listed(house) == []
    assert [one["incident"] for one in listed(house, "--all")] == [known]

    again = close(house, known)
    assert again.code == 2
    assert "was closed on" in again.err


def test_closing_fetches_nothing(house: House) -> None:
    """A loss that was accepted is still a file that is not there."""
    house.synced()
    known = spoil(house)
    assert close(house, known, "--accept-loss").code == 0
    assert shown(house, known)["resolution"] == "accepted-loss"
    answer = house.json("sync", "pets")
    assert answer.blocking == {"integrity.mismatch"}
    assert "closed without its being fetched again" in answer.findings[0]["what"]
    assert not (house.data / CAT).exists()
    assert house.json("sync", "pets", "--refetch").code == 0


def test_an_asset_that_was_put_right_by_hand(house: House) -> None:
    house.synced()
    known = spoil(house)
    (house.data / CAT).write_bytes(FILES[CAT])
    assert close(house, known).code == 0
    assert shown(house, known)["resolution"] == "whole"
    (house.data / CAT).unlink()
    assert house.json("sync", "pets").code == 0  # somebody has decided


def test_a_link_to_the_right_bytes_is_not_the_asset(house: House) -> None:
    house.synced()
    known = spoil(house)
    (house.base / "cat").write_bytes(FILES[CAT])
    (house.data / CAT).symlink_to(house.base / "cat")
    assert close(house, known).code == 2


def test_a_project_that_moved_on(house: House) -> None:
    house.synced()
    known = spoil(house)
    newer = house.release({**FILES, "new.txt": b"new\n"}, version="2", folder="v2")
    house.ok("update", "pets", newer, "--allow-rollback")
    assert close(house, known).code == 0
    assert shown(house, known)["resolution"] == "moved-on"


def test_ids(house: House) -> None:
    house.synced()
    known = spoil(house)
    folder = next((house.project / ".databom/quarantine/pets").iterdir())
    assert folder.name.endswith(f"-{known}")
    assert shown(house, known[:4])["incident"] == known
    for unknown in (known[:3], "", "0" * 9, "../pets", "\x1b[31m"):
        answer = house.cli("incident", "show", unknown)
        assert answer.code == 2
        assert "\x1b[31m" not in answer.err
    twin = folder.with_name(folder.name[:-4] + ("0000" if known[4:] != "0000" else "1111"))
    shutil.copytree(folder, twin)
    several = house.cli("incident", "show", known[:4])
    assert several.code == 2
    assert "several" in several.err
    assert shown(house, known)["incident"] == known
    assert house.cli("incident", "list", "nobody").code == 2
    assert house.cli("incident", "show", known, "--project", house.base).code == 2


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"name": 7}', b'{"name": "a", "name": "b"}', b"\xff", b"[" * 9000]
)
def test_a_record_that_cannot_be_read_is_still_open(house: House, raw: bytes) -> None:
    house.synced()
    known = spoil(house)
    record = next((house.project / ".databom/quarantine/pets").rglob("record.json"))
    record.write_bytes(raw)
    assert shown(house, known)["state"] == "open"
    assert close(house, known, "--accept-loss").code == 2
    assert record.read_bytes() == raw
    house.ok("sync", "pets", "--refetch")
    assert house.json("sync", "pets").code == 0
    assert record.with_name("record.json.unreadable").read_bytes() == raw
    assert shown(house, known)["state"] == "refetched"
    assert close(house, known).code == 2  # nobody knows which asset it was
    assert close(house, known, "--accept-loss").code == 0


def test_a_record_of_before_and_one_of_later(house: House) -> None:
    """What an earlier release did not write is absent; what a later one wrote stays."""
    house.synced()
    known = spoil(house)
    path = next((house.project / ".databom/quarantine/pets").rglob("record.json"))
    old = json.loads(path.read_text())
    for name in ("release", "headers", "versions", "tell", "closed_at", "closed_by", "reason", "resolution"):
        del old[name]
    path.write_text(json.dumps({**old, "later": {"x": 1}}))
    assert shown(house, known)["state"] == "open"
    house.ok("sync", "pets", "--refetch")
    assert close(house, known).code == 0
    assert json.loads(path.read_text())["later"] == {"x": 1}


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "a\x1b[31mb", "x" * 1001, "\u202e"])
def test_a_reason_is_a_line(house: House, reason: str) -> None:
    house.synced()
    known = spoil(house)
    house.ok("sync", "--refetch")
    assert house.cli("incident", "close", known, "--reason", reason).code == 2
    assert house.cli("incident", "close", known, "--reason", "x", "--by", reason).code == 2
    assert house.cli("incident", "close", known).code == 2
    assert shown(house, known)["state"] == "refetched"


def test_what_the_server_said_is_evidence_and_holds_no_secret(house: House, web: Web) -> None:
    canary = "CANARYsecret0123456789"
    house.init()
    manifest = house.release()
    for path in manifest.parent.rglob("*"):
        if path.is_file():
            web.put(f"/rel/{path.relative_to(manifest.parent).as_posix()}", path.read_bytes())
    house.ok("add", f"{web.location('/rel/manifest.json')}", "--name", "pets")
    lie = faults.status(
        200,
        b"a bat\n",
        [
            *(("ETag", '"abc"'), ("Last-Modified", "Fri, 01 Aug 2025 10:00:00 GMT"), ("Server", "nginx")),
            *(("CF-Ray", "8f\u00e9"), ("x-amz-version-id", "v7"), ("x-amz-checksum-sha256", "q83v")),
            *(
                ("Set-Cookie", f"session={canary}"),
                ("Authorization", f"Bearer {canary}"),
                ("X-Token", canary),
            ),
            *(("Via", f"https://user:{canary}@proxy/?X-Amz-Signature={canary}"), ("Age", "1" * 5000)),
        ],
    )
    web.proxy.rule(CAT, lie)
    assert house.json("sync", "pets").code == 1
    (record,) = listed(house)
    assert record["source"] == f"{web.location('/rel')}/{CAT}"
    headers = record["headers"]
    assert headers["etag"] == '"abc"'
    assert headers["last-modified"] == "Fri, 01 Aug 2025 10:00:00 GMT"
    assert (headers["content-length"], headers["x-amz-version-id"]) == ("6", "v7")
    assert set(headers) <= {
        *(
            "age",
            "cf-ray",
            "content-length",
            "content-type",
            "date",
            "etag",
            "last-modified",
            "server",
            "via",
        ),
        *("x-amz-checksum-sha256", "x-amz-version-id"),
    }
    assert all(len(value) <= 200 for value in headers.values())
    for path in (house.project / ".databom").rglob("*"):
        assert not path.is_file() or canary.encode() not in path.read_bytes()
    assert "etag: " in house.ok("incident", "show", record["incident"]).out


@pytest.mark.s3
def test_what_a_bucket_said(client: str, house: House, faulty_bucket: FaultyBucket) -> None:
    house.init()
    manifest = house.release()
    for path in manifest.parent.rglob("*"):
        if path.is_file():
            faulty_bucket.put(path.relative_to(manifest.parent).as_posix(), path.read_bytes())
    house.ok("add", f"{faulty_bucket.location}/manifest.json", "--name", "pets")
    faulty_bucket.proxy.rule(CAT, faults.flip(0))
    assert house.json("sync", "pets").code == 1
    (record,) = listed(house)
    assert record["headers"]["content-length"] == str(len(FILES[CAT]))
    assert record["headers"]["etag"].strip('"')
    assert record["headers"]["last-modified"].endswith("GMT")


def test_nobody_else_may_look(house: House) -> None:
    house.synced()
    spoil(house)
    for folder in (house.project / ".databom/quarantine", *(house.project / ".databom/quarantine").iterdir()):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_project_without_incidents(house: House) -> None:
    house.init()
    assert house.ok("incident", "list").out == ""
    assert listed(house) == []
    assert house.cli("incident", "show", "abcd").code == 2


def test_a_command_needs_a_project(house: House, tmp_path: Path) -> None:
    for command in (["list"], ["show", "abcd"], ["close", "abcd", "--reason", "x"]):
        assert house.cli("incident", *command).code == 2
    assert not (house.project / ".databom").exists()
