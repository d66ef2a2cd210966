from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import ConfigError, InputError
from databom.storage.location import Location, parse_location

CANARY = "c4n4ry"
PRESIGNED = f"https://data.example/rel/manifest.json?X-Amz-Signature={CANARY}&X-Amz-Credential={CANARY}"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b.json", "s3://bucket/a/b.json"),
        ("S3://bucket/a b/ü#.json".replace("#", ""), "s3://bucket/a b/ü.json"),
        ("r2://data-sets.v1/rel", "r2://data-sets.v1/rel"),
        ("https://data.example", "https://data.example/"),
        ("HTTPS://Data.Example:443/rel/m.json", "https://data.example/rel/m.json"),
        ("https://data.example:8443/a%20b/ü", "https://data.example:8443/a%20b/%C3%BC"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        (PRESIGNED, "https://data.example/rel/manifest.json"),
        ("rel/m.json", "rel/m.json"),
        ("./rel/../m.json", "m.json"),
        ("/project/rel", "rel"),
        ("/project", "."),
        ("/projects/rel", "/projects/rel"),
        ("../rel", "/rel"),
        ("./a:b.json", "./a:b.json"),
    ],
)
def test_a_location_is_stored_without_its_query_and_relative_to_its_project(text: str, stored: str) -> None:
    location = parse_location(text, base=Path("/project"))
    assert location.stored == stored
    assert location.shown == str(location)
    # What is stored means the same when it is read back.
    assert parse_location(stored, base=Path("/project"), from_document=True).stored == stored


REFUSED = [
    "",
    " s3://bucket",
    "http://data.example/x",
    "file:///etc/hostname",
    "FILE:///etc/hostname",
    "ftp://data.example/x",
    "data:text/plain,x",
    "memory://x",
    "github://o:r@main/x",
    "simplecache::s3://bucket/x",
    "simplecache::file:///etc/hostname",
    "filecache::https://data.example/x",
    "zip://x::s3://bucket/x",
    "s3://bucket/x::file:///etc/hostname",
    "a::b",
    "reference://x",
    "s3:bucket/x",
    "https:/data.example",
    "https://",
    "https:///x",
    "https://data.example:99999/x",
    "https://data.example:x/",
    "https://da\\ta.example/x",
    "https://dätä.example/x",
    "https://data.example/a/../b",
    "https://data.example/a/%2e%2e/b",
    "https://data.example/x#part",
    "https://data.example/a b",
    "s3://",
    "s3:///key",
    "s3://b",
    "s3://bucket/../other",
    "s3://bucket//key",
    "s3://buc ket/x",
    "a\nb",
    "a\x1b[31m",
    "a\x00b",
    "a\udc80b",
    "x" * 9000,
]


@pytest.mark.parametrize("text", REFUSED)
def test_f09_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as typed:
        parse_location(text)
    assert typed.value.exit_code == 2
    assert typed.value.hint is not None
    assert "s3://bucket/prefix" in typed.value.hint
    with pytest.raises(InputError) as stated:
        parse_location(text, from_document=True)
    assert stated.value.problems[0].code == "manifest.path"


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{CANARY}@data.example/x",
        f"https://{CANARY}@data.example/x",
        f"https://user:{CANARY}/x@data.example/x",
        f"s3://key:{CANARY}@bucket/x",
        f"r2://{CANARY}@bucket/x",
        f"s3://bucket/x?X-Amz-Signature={CANARY}",
        f"https://data.example/x?sig={CANARY}#part",
        f"http://user:{CANARY}@data.example/x?{CANARY}",
        f"ftp://user:{CANARY}@data.example/",
        f"https://data.example:{CANARY}/x",
    ],
)
def test_k01_a_refusal_never_repeats_a_secret(text: str) -> None:
    for from_document in (False, True):
        with pytest.raises((ConfigError, InputError)) as caught:
            parse_location(text, from_document=from_document)
        assert CANARY not in repr(caught.value) + str(caught.value) + str(caught.value.hint)
        assert caught.value.__cause__ is None


def test_k01_a_query_is_kept_in_memory_and_never_shown() -> None:
    location = parse_location(PRESIGNED)
    assert location.secret_query is not None
    assert CANARY in location.secret_query
    texts = (str(location), repr(location), f"{location}", location.shown, location.stored, location.name)
    for text in texts:
        assert CANARY not in text


def test_a_presigned_query_belongs_to_its_object_only() -> None:
    location = parse_location(PRESIGNED)
    others = (location.parent, location.join("a"), location.sibling(".dsse"), location.parent.join("cat.jpg"))
    assert [other.secret_query for other in others] == [None] * 4


@pytest.mark.parametrize(
    ("text", "parent", "asset", "joined", "sidecar"),
    [
        ("https://h.example/rel/m.json", "https://h.example/rel", "a b/ü?#%2e.jpg",
         "https://h.example/rel/a%20b/%C3%BC%3F%23%252e.jpg", "https://h.example/rel/m.json.dsse"),
        ("https://h.example/m.json", "https://h.example/", "x", "https://h.example/x", "https://h.example/m.json.dsse"),
        ("s3://bucket/rel/m.json", "s3://bucket/rel", "a b/ü?#%2e.jpg",
         "s3://bucket/rel/a b/ü?#%2e.jpg", "s3://bucket/rel/m.json.dsse"),
        ("r2://bucket/m.json", "r2://bucket", "x", "r2://bucket/x", "r2://bucket/m.json.dsse"),
        ("/rel/m.json", "/rel", "a b/ü?#%2e.jpg", "/rel/a b/ü?#%2e.jpg", "/rel/m.json.dsse"),
        ("/m.json", "/", "x", "/x", "/m.json.dsse"),
    ],
)  # fmt: skip
def test_assets_and_sidecars_are_found_beside_the_manifest(
    text: str, parent: str, asset: str, joined: str, sidecar: str
) -> None:
    location = parse_location(text)
    assert location.parent.stored == parent
    assert location.parent.join(asset).stored == joined
    assert location.sibling(".dsse").stored == sidecar


@pytest.mark.parametrize(
    "root", ["https://h.example/rel/", "https://h.example/rel", "s3://bucket/rel/", "/rel/"]
)
def test_a_root_may_end_in_a_slash(root: str) -> None:
    assert parse_location(root).join("a").stored.endswith("/rel/a")


@pytest.mark.parametrize(
    "asset", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "..", "a\0b"]
)
@pytest.mark.parametrize("root", ["https://h.example/rel", "s3://bucket/rel", "/rel"])
def test_d_an_asset_path_never_leaves_its_root(root: str, asset: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_location(root).join(asset)
    assert caught.value.problems[0].code == "manifest.path"


@pytest.mark.parametrize(
    "asset", ["file:/etc/hostname", "simplecache::file:x", "http:x", "s3:x", "data:x", "%2e%2e/x"]
)
def test_f09_an_asset_path_is_never_a_url(asset: str) -> None:
    assert parse_location("s3://bucket/rel").join(asset).stored == f"s3://bucket/rel/{asset}"
    joined = parse_location("https://h.example/rel").join(asset).stored
    assert joined.startswith("https://h.example/rel/")
    assert parse_location(joined).stored == joined


def test_only_a_local_location_has_a_path(tmp_path: Path) -> None:
    assert parse_location("a.json", base=tmp_path).local_path == tmp_path / "a.json"
    assert parse_location("a.json").local_path == Path.cwd() / "a.json"
    with pytest.raises(ConfigError):
        _ = parse_location("s3://bucket/x").local_path


def test_names_are_decoded() -> None:
    assert parse_location("https://h.example/rel/a%20b.json").name == "a b.json"
    assert parse_location("s3://bucket/rel/a%20b.json").name == "a%20b.json"
    assert parse_location("/rel/").name == "rel"


def test_a_location_survives_pickling_with_its_query() -> None:
    location = parse_location(PRESIGNED)
    copy = pickle.loads(pickle.dumps(location))
    assert copy == location
    assert copy.secret_query == location.secret_query


@given(st.text())
def test_nothing_but_our_errors_escapes(text: str) -> None:
    for from_document in (False, True):
        refusal: type[Exception] = InputError if from_document else ConfigError
        try:
            location = parse_location(text, base=Path("/project"), from_document=from_document)
        except refusal:
            continue
        assert isinstance(location, Location)
        assert location.scheme in {"file", "s3", "r2", "https"}
        again = parse_location(location.stored, base=Path("/project"))
        assert again.stored == location.stored


@given(st.sampled_from(["https://", "s3://", "r2://"]), st.text(max_size=40))
def test_nothing_but_our_errors_escapes_from_urls(prefix: str, text: str) -> None:
    try:
        location = parse_location(prefix + text)
    except ConfigError:
        return
    assert parse_location(location.stored).stored == location.stored
