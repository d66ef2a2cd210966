"""Large releases through every door: published, pinned, synced, verified; and every way their shards can lie."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import databom
from databom.checks import assembling, streaming
from databom.tasks import syncing
from databom.trust.keys import PrivateKey
from support.fixtures_r2 import FaultyBucket
from support.house import FILES, House
from support.large import Row, entry, lines, manifest_of, row, signed, write
from support.trees import plant

MANY = {f"images/{n:02}.txt": f"file {n}".encode() for n in range(12)} | {"é/ü-1": b"x", "a": b""}
ROWS = [row(path, data) for path, data in sorted(MANY.items())]
PARTS = {"index/0.ndjson": ROWS[:5], "index/1.ndjson": ROWS[5:10], "index/2.ndjson": ROWS[10:]}


@pytest.fixture(params=[True, False], ids=["in memory", "on disk"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test twice: a release that is kept in memory, and one that is walked over shard by shard."""
    if not request.param:
        monkeypatch.setattr(assembling, "FEW_ASSETS", 0)


pytestmark = pytest.mark.usefixtures("few")


def key_of(house: House) -> PrivateKey:
    return PrivateKey.from_pem(house.key.read_bytes())


def release(
    house: House,
    parts: Mapping[str, Sequence[Row]] = PARTS,
    *,
    change: Callable[[list[Row]], None] | None = None,
    rows: Sequence[Row] | None = None,
    raws: Mapping[str, bytes] | None = None,
    **more: Any,
) -> Path:
    """A release made by hand, its assets beside it; the path of its manifest."""
    shards = dict(raws or {uri: lines(part) for uri, part in parts.items()})
    index = [entry(uri, shards[uri], len(part)) for uri, part in parts.items()]
    if change is not None:
        change(index)
    listed = rows if rows is not None else [one for part in parts.values() for one in part]
    folder = plant(house.market / "large", MANY)
    return write(folder, shards, *signed(manifest_of(index, **more), listed, key_of(house)))


@pytest.mark.parametrize("extra", [(), ("--shard-format", "parquet"), ("--embed",)])
def test_the_main_job(house: House, extra: tuple[str, ...]) -> None:
    house.init()
    manifest = house.release(MANY, "--shard", "4", *extra)
    document = json.loads(manifest.read_bytes())
    assert "assets" not in document
    assert [shard["count"] for shard in document["asset_index"]] == [4, 4, 4, 2]
    plain = house.release(MANY, folder="plain")
    tree = house.json("verify", plain).report["subject"]["tree"]

    answer = house.json("verify", manifest)
    assert (answer.code, answer.report["subject"]["tree"]) == (0, tree)
    assert answer.report["summary"]["checked"] == len(MANY)
    house.ok("add", manifest, "--name", "pets")
    kept = house.project / "provenance/manifests/pets.index"
    assert {path.name for path in kept.iterdir()} == {shard["sha256"] for shard in document["asset_index"]}
    assert house.json("sync", "pets").report["summary"]["checked"] == len(MANY)
    shutil.rmtree(house.market)
    assert {path: (house.data / path).read_bytes() for path in MANY} == MANY
    for command in (("verify", "pets"), ("sync", "pets"), ("check",), ("bom", "pets")):
        house.ok(*command)
    bom = json.loads(house.ok("bom", "pets").out)
    assert {"name": "databom:assets", "value": str(len(MANY))} in [
        one for component in bom["components"] for one in component.get("properties", [])
    ]
    with databom.open("pets", "images/07.txt", project=house.project) as file:
        assert file.read() == b"file 7"
    (house.data / "images/03.txt").write_bytes(b"evil 3")
    plant(house.data, {"images/extra": b""})
    assert house.json("verify", "pets").blocking == {"integrity.mismatch", "integrity.unlisted"}


def test_publishing_again_leaves_no_old_shards(house: House) -> None:
    house.init()
    manifest = house.release(MANY, "--shard", "4")
    folder = manifest.parent / "manifest.index"
    before = {path.name for path in folder.iterdir()}
    assert house.release(MANY, "--shard", "7") == manifest
    assert len(list(folder.iterdir())) == 2
    assert not before & {path.name for path in folder.iterdir()}
    house.release(MANY)
    assert not folder.exists()
    assert house.json("verify", manifest).report["summary"]["checked"] == len(MANY)


def test_a_folder_that_is_not_ours_is_not_written_into(house: House) -> None:
    house.init()
    answer = house.cli(
        *("publish", plant(house.market / "v1", {**FILES, "manifest.index/mine.txt": b"x"}), "--shard", "2"),
        *("--dataset-id", "hn-pets", "--version", "1", "--license", "CC-BY-4.0", "--key", house.key),
    )
    assert answer.code == 2
    assert "mine.txt" in answer.err
    assert house.json("verify", house.release({"manifest.index/mine.txt": b"x"})).code == 0


def test_shards_may_come_in_any_order_and_overlap(house: House) -> None:
    house.init()
    parts = {f"index/{n}": ROWS[n::3][::-1] for n in (2, 0, 1)}
    answer = house.json("verify", release(house, parts))
    assert (answer.code, answer.report["summary"]["checked"]) == (0, len(MANY))


@pytest.fixture
def tiny_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five assets are too many to hold at once, three make a round."""
    monkeypatch.setattr(syncing, "MAX_ASSETS", 5)
    monkeypatch.setattr(streaming, "ROUND", 3)
    monkeypatch.setattr(streaming, "AT_ONCE", 5)


@pytest.mark.usefixtures("tiny_rounds")
def test_a_release_that_is_synced_in_rounds(house: House) -> None:
    house.init()
    manifest = house.release(MANY, "--shard", "4")
    house.ok("add", manifest, "--name", "pets")
    report = house.json("sync", "pets").report
    summary = report["summary"]
    assert [summary[name] for name in ("assets", "checked", "failed")] == [14, 14, 0]
    assert summary["bytes"] == sum(map(len, MANY.values()))
    assert house.json("verify", "pets").report["summary"]["checked"] == 14
    assert {path: (house.data / path).read_bytes() for path in MANY} == MANY
    (house.data / "images/03.txt").write_bytes(b"evil 3")
    (house.data / "images/11.txt").unlink()
    plant(house.data, {"stray": b""})
    answer = house.json("sync", "pets")
    assert answer.blocking == {"integrity.mismatch", "integrity.unlisted"}
    assert (house.data / "images/11.txt").exists()
    (house.data / "stray").unlink()
    house.ok("sync", "pets", "--refetch")
    shutil.rmtree(house.data)
    shutil.rmtree(manifest.parent / "images")
    answer = house.json("sync", "pets")
    assert (answer.code, answer.blocking) == (1, {"integrity.missing"})
    assert answer.report["summary"]["failed"] == 12


# --- lies ---------------------------------------------------------------------------------------------

Change = Callable[[dict[str, bytes]], object]
SWAPPED: dict[str, tuple[Change, str]] = {
    "truncated": (lambda s: s.update({"index/1.ndjson": s["index/1.ndjson"][:-10]}), "integrity.size"),
    "a line less": (
        lambda s: s.update({"index/1.ndjson": s["index/1.ndjson"].split(b"\n", 1)[1]}),
        "integrity.size",
    ),
    "a line more": (
        lambda s: s.update({"index/1.ndjson": s["index/1.ndjson"] + lines([row("new")])}),
        "integrity.size",
    ),
    "one byte": (
        lambda s: s.update({"index/1.ndjson": s["index/1.ndjson"].replace(b"images/", b"Images/", 1)}),
        "integrity.mismatch",
    ),
    "swapped": (
        lambda s: s.update({"index/0.ndjson": s["index/1.ndjson"], "index/1.ndjson": s["index/0.ndjson"]}),
        "integrity.size",
    ),
    "html": (lambda s: s.update({"index/1.ndjson": b"<html>log in</html>"}), "integrity.size"),
    "gzip": (lambda s: s.update({"index/1.ndjson": gzip.compress(s["index/1.ndjson"])}), "integrity.size"),
    "empty": (lambda s: s.update({"index/1.ndjson": b""}), "integrity.size"),
    "gone": (lambda s: s.pop("index/1.ndjson"), "integrity.missing"),
}


@pytest.mark.parametrize("case", SWAPPED)
def test_a_shard_with_other_bytes_is_refused(house: House, case: str) -> None:
    house.init()
    manifest = release(house)
    change, code = SWAPPED[case]
    shards = {uri: lines(part) for uri, part in PARTS.items()}
    change(shards)
    shutil.rmtree(manifest.parent / "index")
    plant(manifest.parent, shards)
    for command in (("verify", manifest), ("add", manifest, "--name", "pets")):
        answer = house.json(*command)
        assert (answer.code, answer.blocking) == (1, {code})
        assert all(one["subject"].startswith("index/") for one in answer.findings if one["code"] == code)
    assert not (house.project / "databom.lock").exists()
    assert not (house.project / "provenance/manifests").exists()


INDEXES: dict[str, tuple[Callable[[list[Row]], object], str]] = {
    "count": (lambda index: index[1].update(count=6), "manifest.schema"),
    "parent": (lambda index: index[1].update(uri="../1.ndjson"), "manifest.path"),
    "absolute": (lambda index: index[1].update(uri="/etc/passwd"), "manifest.path"),
    "file": (lambda index: index[1].update(uri="file:///etc/passwd"), "manifest.path"),
    "http": (lambda index: index[1].update(uri="http://127.0.0.1/x"), "manifest.path"),
    "chained": (lambda index: index[1].update(uri="simplecache::s3://b/x"), "manifest.path"),
    "query": (lambda index: index[1].update(uri="https://host/x?signature=secret"), "manifest.path"),
    "type": (lambda index: index[1].update(media_type="application/gzip"), "manifest.schema"),
    "huge": (lambda index: index[1].update(size=2**40), "manifest.schema"),
    "many": (lambda index: index[1].update(count=10**9), "manifest.schema"),
    "none": (lambda index: index.clear(), "manifest.schema"),
    "parquet": (
        lambda index: index[1].update(media_type="application/vnd.apache.parquet"),
        "manifest.syntax",
    ),
}


@pytest.mark.parametrize("case", INDEXES)
def test_an_index_that_lies_is_refused_although_it_is_signed(house: House, case: str) -> None:
    house.init()
    change, code = INDEXES[case]
    answer = house.json("verify", release(house, change=lambda index: (change(index), None)[1]))
    # A wrong count is also another one than the statement says.
    assert answer.code == 1
    assert code in answer.blocking or answer.blocking == {"signature.invalid"}
    assert "secret" not in answer.out + answer.err


LISTS: dict[str, tuple[Mapping[str, Sequence[Row]], str]] = {
    "twice": ({"i/0": ROWS[:5], "i/1": ROWS[4:]}, "manifest.duplicate"),
    "case": ({"i/0": ROWS, "i/1": [row("IMAGES/00.txt")]}, "manifest.path"),
    "folder": ({"i/0": ROWS, "i/1": [row("a/b")]}, "manifest.path"),
    "parent": ({"i/0": ROWS, "i/1": [row("../b")]}, "manifest.path"),
    "digest": ({"i/0": ROWS, "i/1": [{"path": "z", "sha256": "x", "size": 0}]}, "manifest.schema"),
}


@pytest.mark.parametrize("case", LISTS)
def test_shards_that_break_a_rule_are_refused_although_they_are_signed(house: House, case: str) -> None:
    house.init()
    parts, code = LISTS[case]
    assert house.json("verify", release(house, parts)).blocking == {code}


def test_a_repeated_member_is_refused_although_it_is_signed(house: House) -> None:
    house.init()
    raw = lines(ROWS).replace(b'"path": "a"', b'"path": "z", "path": "a"')
    answer = house.json("verify", release(house, {"i/0": ROWS}, raws={"i/0": raw}))
    assert [(one["code"], one["subject"]) for one in answer.findings if one["severity"] == "block"] == [
        ("manifest.syntax", "i/0:1/path")
    ]


def test_the_statement_is_held_against_all_shards(house: House) -> None:
    house.init()
    other = [*ROWS[:-1], row(ROWS[-1]["path"], b"y")]
    answer = house.json("verify", release(house, rows=other))
    assert answer.blocking == {"signature.invalid"}
    assert [one["subject"] for one in answer.findings if one["code"] == "signature.invalid"] == [
        "/subject/0/digest/dirHash1"
    ]


def test_no_shard_is_read_before_somebody_has_signed(house: House) -> None:
    house.init()
    manifest = release(house)
    shutil.rmtree(manifest.parent / "index")
    (manifest.parent / "manifest.json.dsse").unlink()
    assert house.json("verify", manifest).blocking == {"signature.missing"}


def test_a_shard_behind_a_link_is_not_followed(house: House) -> None:
    house.init()
    manifest = release(house)
    index = manifest.parent / "index"
    shutil.move(index, house.base / "elsewhere")
    index.symlink_to(house.base / "elsewhere")
    assert "integrity.unsafe-file" in house.json("verify", manifest).blocking


def test_a_kept_shard_that_is_damaged_refuses_every_verb(house: House) -> None:
    house.init()
    house.ok("add", release(house), "--name", "pets")
    house.ok("sync", "pets")
    kept = sorted((house.project / "provenance/manifests/pets.index").iterdir())
    raw = kept[0].read_bytes()
    kept[0].write_bytes(raw.replace(b"images", b"Images", 1))
    for command in (("verify", "pets"), ("sync", "pets"), ("check",)):
        assert house.json(*command).blocking == {"integrity.mismatch"}
    assert house.cli("exec", "pets", "--", "true").code == 1
    assert house.cli("bom", "pets").code == 2
    kept[0].unlink()
    assert house.json("verify", "pets").blocking == {"integrity.missing"}
    house.ok("add", release(house), "--name", "pets")
    assert kept[0].read_bytes() == raw
    house.ok("verify", "pets")


def test_an_update_retires_what_only_the_old_shards_had(house: House) -> None:
    house.init()
    first = house.release(MANY, "--shard", "4", "--sequence", "1")
    house.ok("add", first, "--name", "pets")
    house.ok("sync", "pets")
    fewer = {path: data for path, data in MANY.items() if path != "images/05.txt"}
    second = house.release(
        {**fewer, "new": b"n"}, "--shard", "5", "--sequence", "2", version="2", folder="v2"
    )
    house.ok("update", "pets", second)
    index = json.loads(second.read_bytes())["asset_index"]
    kept = house.project / "provenance/manifests/pets.index"
    assert {path.name for path in kept.iterdir()} == {shard["sha256"] for shard in index}
    house.ok("sync", "pets")
    assert not (house.data / "images/05.txt").exists()
    assert list((house.project / ".databom/retired").rglob("05.txt"))
    plain = house.release(fewer, "--sequence", "3", version="3", folder="v3")
    house.ok("update", "pets", plain)
    assert not kept.exists()
    house.ok("sync", "pets")


def test_a_countersignature(house: House) -> None:
    house.init()
    manifest = house.release(MANY, "--shard", "4")
    house.ok("key", "new", house.base / "second.key")
    house.ok("sign", manifest, "--key", house.base / "second.key")
    house.ok("verify", manifest)


@pytest.mark.s3
def test_from_a_bucket(house: House, faulty_bucket: FaultyBucket) -> None:
    house.init()
    manifest = house.release(MANY, "--shard", "4")
    for path in manifest.parent.rglob("*"):
        if path.is_file():
            faulty_bucket.put(path.relative_to(manifest.parent).as_posix(), path.read_bytes())
    there = f"{faulty_bucket.location}/manifest.json"
    assert house.json("verify", there, "--full", "--strict").code == 0
    house.ok("add", there, "--name", "pets")
    assert house.json("sync", "pets").report["summary"]["checked"] == len(MANY)


@pytest.mark.s3
def test_shards_somewhere_else_than_the_manifest(house: House, faulty_bucket: FaultyBucket) -> None:
    house.init()
    for uri, part in PARTS.items():
        faulty_bucket.put(uri, lines(part))
    away = [f"{faulty_bucket.location}/{uri}" for uri in PARTS]
    manifest = release(
        house,
        change=lambda index: [one.update(uri=uri) for one, uri in zip(index, away, strict=True)] and None,
    )
    shutil.rmtree(manifest.parent / "index")
    assert house.json("verify", manifest).code == 0
    faulty_bucket.put("index/1.ndjson", b"<html>")
    answer = house.json("verify", manifest)
    assert (answer.code, answer.blocking) == (1, {"integrity.size"})
