"""Shards are read as strictly as manifests, in both forms."""

from __future__ import annotations

import gzip
import io
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from databom.errors import ConfigError, InputError
from databom.model import parquet, shards
from databom.model.claims import Asset, Hash, Shard
from databom.model.shards import read_again, read_shard
from support.large import NDJSON, PARQUET, entry, lines, row
from support.manifests import CAT

ROWS = [
    row(
        "images/b.jpg",
        b"b",
        media_type="image/jpeg",
        license="CC0-1.0",
        creator_id="creator:b",
        consent="p:1",
    ),
    row("images/a.jpg", b"a", flags=["person", "x"], redacted_from={"sha256": CAT}),
    {"path": "é/ü", "sha256": CAT},
]


def shard(raw: bytes, count: int = 3, **changes: Any) -> Shard:
    return msgspec.convert(entry("s/a", raw, count, **changes), Shard)


def refused(raw: bytes, count: int = 3, **changes: Any) -> list[tuple[str, str | None]]:
    with pytest.raises(InputError) as caught:
        read_shard(raw, shard(raw, count, **changes))
    for problem in caught.value.problems:
        assert problem.what
        assert problem.do
        assert problem.what.isprintable()
    return [(problem.code, problem.subject) for problem in caught.value.problems]


def parquet_of(rows: list[dict[str, Any]], schema: pa.Schema | None = None, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize("media_type", [NDJSON, PARQUET])
def test_a_shard_says_what_a_manifest_would(media_type: str) -> None:
    names = list(dict.fromkeys(name for one in ROWS for name in one))
    full = [{name: one.get(name) for name in names} for one in ROWS]
    raw = lines(ROWS) if media_type == NDJSON else parquet_of(full)
    here = shard(raw, media_type=media_type)
    read = read_shard(raw, here)
    assert read.unknown == ()
    assert read.assets == (
        Asset("images/b.jpg", ROWS[0]["sha256"], 1, "image/jpeg", "CC0-1.0", "creator:b", "p:1"),
        Asset("images/a.jpg", ROWS[1]["sha256"], 1, flags=("person", "x"), redacted_from=Hash(CAT)),
        Asset("é/ü", CAT),
    )
    assert read_again(raw, here) == read.assets


def test_an_absent_member_may_be_null() -> None:
    raw = lines([row("a", flags=None, license=None)])
    here = shard(raw, 1)
    assert read_shard(raw, here).assets == read_again(raw, here) == (Asset("a", row("a")["sha256"], 0),)


def test_unknown_members_are_kept_and_told() -> None:
    raw = lines([row("a"), row("b", mood="calm", redacted_from={"sha256": CAT, "by": 1})])
    assert read_shard(raw, shard(raw, 2)).unknown == ("s/a:2/mood", "s/a:2/redacted_from/by")
    raw = parquet_of([row("a", mood="calm")])
    assert read_shard(raw, shard(raw, 1, media_type=PARQUET)).unknown == ("s/a:1/mood",)


def test_other_bytes_are_refused_before_anything_reads_them() -> None:
    raw = lines(ROWS)
    here = shard(raw)
    for other, code in (
        (raw[:-1], "integrity.size"),
        (raw + b"x", "integrity.size"),
        (raw[:-1] + b" ", "integrity.mismatch"),
    ):
        for read in (read_shard, read_again):
            with pytest.raises(InputError) as caught:
                read(other, here)
            (problem,) = caught.value.problems
            assert (problem.code, problem.subject) == (code, "s/a")


ONE = b'{"path":"a","sha256":"%s"}' % CAT.encode()
TWO = b'{"path":"b","sha256":"%s"}' % CAT.encode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (ONE, [("manifest.syntax", "s/a")]),
        (ONE + b"\n\n", [("manifest.syntax", "s/a:2")]),
        (ONE + b"\r\n" + TWO + b"\n", [("manifest.syntax", "s/a:1")]),
        (b" " + ONE + b"\n" + TWO + b"\n", [("manifest.syntax", "s/a:1")]),
        (ONE + b"\n\n" + TWO[:-1] + b"}\n", [("manifest.schema", "s/a")]),
        (b"\n" + ONE + b"\n", [("manifest.syntax", "s/a:1")]),
        (ONE + b"\n" + TWO[:-1] + b"\n", [("manifest.syntax", "s/a:2/sha256")]),
        # Two values on one line, one value on two: the count is right, and no line is.
        (ONE + b"," + TWO + b"\n" + b"\n", [("manifest.syntax", "s/a:1")]),
        (b'{"path":"a",\n"sha256":"%s"}\n' % CAT.encode(), [("manifest.syntax", "s/a:1")]),
        (
            ONE + b"," + TWO + b',{"path":"c",\n"sha256":"%s"}\n' % CAT.encode(),
            [("manifest.syntax", "s/a:1")],
        ),
        (b"[" + ONE + b"\n" + TWO + b"]\n", [("manifest.syntax", "s/a:1/0")]),
        (ONE[:-1] + b',"path":"b"}\n' + TWO + b"\n", [("manifest.syntax", "s/a:1/path")]),
        (ONE + b"\n" + TWO[:-1] + b',"size":1e3}\n', [("manifest.syntax", "s/a:2/size")]),
        (ONE + b"\n" + TWO[:-1] + b',"size":-1}\n', [("manifest.schema", "s/a:2/size")]),
        (ONE + b"\n" + b"[]\n", [("manifest.schema", "s/a:2")]),
        (ONE + b"\n" + b"null\n", [("manifest.schema", "s/a:2")]),
        (ONE + b"\n" + ONE + b"\n", [("manifest.duplicate", "s/a:2/path")]),
        (ONE + b"\n" + ONE.replace(b'"a"', b'"A"') + b"\n", [("manifest.path", "s/a:2/path")]),
        (ONE + b"\n" + ONE.replace(b'"a"', b'"a/b"') + b"\n", [("manifest.path", "s/a:2/path")]),
        (ONE + b"\n" + ONE.replace(b'"a"', b'"../b"') + b"\n", [("manifest.path", "s/a:2/path")]),
        (ONE + b"\n" + TWO.replace(b'"b"', b'"\xff"') + b"\n", [("manifest.syntax", "s/a:2")]),
        (ONE + b"\n" + TWO.replace(b'"b"', b'"\\ud800"') + b"\n", [("manifest.syntax", "s/a:2/path")]),
        (b"\xef\xbb\xbf" + ONE + b"\n" + TWO + b"\n", [("manifest.syntax", "s/a:1")]),
        (b"<html>\n<body></body></html>\n", [("manifest.syntax", "s/a:1")]),
        (
            ONE + b"\n" + TWO.replace(CAT.encode(), CAT.upper().encode()) + b"\n",
            [("manifest.schema", "s/a:2/sha256")],
        ),
        (ONE + b"\n" + TWO[:-1] + b',"x":' + b"[" * 40 + b"]" * 40 + b"}\n", [("manifest.limit", None)]),
    ],
)
def test_a_shard_that_is_wrong_is_refused(raw: bytes, expected: list[tuple[str, str | None]]) -> None:
    found = refused(raw, 2)
    if expected[0][1] is None:
        assert [code for code, _ in found] == [code for code, _ in expected]
    else:
        assert found == expected


def test_a_compressed_shard_is_not_decompressed() -> None:
    assert refused(gzip.compress(lines(ROWS)) + b"\n", 1)[0][0] in {"manifest.syntax", "manifest.schema"}


@pytest.mark.parametrize("media_type", [NDJSON, PARQUET])
def test_the_count_must_be_right(media_type: str) -> None:
    rows = [row("a"), row("b")]
    raw = lines(rows) if media_type == NDJSON else parquet_of(rows)
    for count in (1, 3):
        assert refused(raw, count, media_type=media_type) == [("manifest.schema", "s/a")]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"<html></html>", "manifest.syntax"),
        (lines(ROWS), "manifest.syntax"),
        (b"PAR1" + b"\0" * 64 + b"PAR1", "manifest.syntax"),
        (parquet_of([row("a")])[:-20], "manifest.syntax"),
        (parquet_of([{**row("a"), "size": 1.5}]), "manifest.schema"),
        (parquet_of([{**row("a"), "size": "1"}]), "manifest.schema"),
        (parquet_of([{**row("a"), "path": b"a"}]), "manifest.schema"),
        (parquet_of([{**row("a"), "size": -1}]), "manifest.schema"),
        (
            parquet_of([{**row("a"), "path": None}], pa.schema({"path": pa.string(), "sha256": pa.string()})),
            "manifest.schema",
        ),
        (parquet_of([{"path": "a"}]), "manifest.schema"),
        (parquet_of([{**row("../a")}]), "manifest.path"),
        (parquet_of([{**row("a"), "x": {"y": 1, "z": 2}}]), "manifest.schema"),
    ],
)
def test_a_parquet_file_that_is_wrong_is_refused(raw: bytes, code: str) -> None:
    assert [found for found, _ in refused(raw, 1, media_type=PARQUET)] == [code]


def test_a_file_with_two_columns_of_one_name_is_refused() -> None:
    table = pa.Table.from_arrays(
        [pa.array(["a"]), pa.array(["b"]), pa.array([CAT])], names=["path", "path", "sha256"]
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert refused(sink.getvalue(), 1, media_type=PARQUET) == [("manifest.schema", "s/a")]


def test_what_grows_too_large_is_not_decompressed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(f"{n:05}", creator_id="c" * 200) for n in range(20_000)]
    raw = parquet_of(rows)  # a dictionary of one value: four megabytes of text in a few hundred kilobytes
    monkeypatch.setattr(parquet, "MAX_SHARD_BYTES", 2_000_000)
    assert refused(raw, len(rows), media_type=PARQUET) == [("manifest.limit", "s/a")]


def test_without_pyarrow_it_says_which_extra_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = parquet_of([row("a")])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError) as caught:
        read_shard(raw, shard(raw, 1, media_type=PARQUET))
    assert "databom[parquet]" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "uri",
    [
        "a",
        "shards/a.ndjson",
        "https://host/a",
        "https://host:8443/a/b.ndjson",
        "s3://bucket/a",
        "r2://bucket/a/b",
    ],
)
def test_where_a_shard_may_be(uri: str) -> None:
    assert shards.uri_problem(uri) is None


@pytest.mark.parametrize(
    "uri",
    [
        *[
            "",
            "/a",
            "../a",
            "a/../b",
            "a//b",
            "./a",
            "C:/a",
            "~/a",
            "a\\b",
            "file:///etc/passwd",
            "http://host/a",
        ],
        *[
            "ftp://host/a",
            "simplecache::s3://bucket/a",
            "https://host",
            "https://host/",
            "s3://bucket",
            "//host/a",
        ],
        *[
            "https://user:pw@host/a",
            "https://host/a?sig=x",
            "https://host/a#x",
            "https://host/../a",
            "s3://b/./a",
        ],
        *[
            "https://host/%2e%2e/a",
            "https://host/a b",
            "HTTPS://host/a",
            "data:text/plain,x",
            "https://host\\@x/a",
        ],
    ],
)
def test_where_a_shard_may_not_be(uri: str) -> None:
    assert shards.uri_problem(uri) is not None
