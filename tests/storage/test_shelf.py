"""Shelves: written once, replaced whole, read no further than asked, in a directory, a bucket and over https."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from databom.errors import DeniedError, StorageError, UnsafeFileError
from databom.storage.location import parse_location
from databom.storage.shelf import WritableShelf, open_shelf, open_writable_shelf
from databom.storage.shelf_s3 import BucketShelf
from support.faultproxy import s3_error
from support.fixtures_r2 import CALM, FaultyBucket, Web

LIMIT = 1000


@pytest.fixture(params=["directory", pytest.param("bucket", marks=pytest.mark.s3)])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> WritableShelf:
    if request.param == "directory":
        return open_writable_shelf(parse_location(str(tmp_path / "shelf")))
    return BucketShelf(request.getfixturevalue("r2_bucket"), CALM)


def test_the_contract(shelf: WritableShelf) -> None:
    assert shelf.read("a/b", LIMIT) is None
    with shelf.exclusive():
        assert shelf.claim("a/b", b"one")
        assert shelf.claim("a/b", b"one")
        assert not shelf.claim("a/b", b"two")
        files = [("a/c", b""), ("a/b", b"other"), ("x001/000", b"deep"), ("a/b", b"one")]
        assert shelf.keep(files) == ["a/b"]
        assert shelf.keep([(f"many/{number}", b"%d" % number) for number in range(12)]) == []
        shelf.update("head", lambda found: b"first" if found is None else None)
        shelf.update("head", lambda found: (found or b"") + b", second")
        shelf.update("head", lambda _: None)
        shelf.discard(["none", "none/at/all"])
    found = {name: shelf.read(name, LIMIT) for name in ("a/b", "a/c", "x001/000", "many/7", "head")}
    assert found == {"a/b": b"one", "a/c": b"", "x001/000": b"deep", "many/7": b"7", "head": b"first, second"}
    assert shelf.read("a/b", 2) == b"one"
    assert shelf.read("a/b", 1) == b"on"


def test_a_directory_is_tidied_and_a_bucket_keeps_all(tmp_path: Path) -> None:
    shelf = open_writable_shelf(parse_location(str(tmp_path)))
    with shelf.exclusive():
        shelf.keep([("f.p/1", b"1"), ("f.p/2", b"2"), ("g", b"3")])
        shelf.discard(["f.p", "g", "g"])
        assert shelf.read("f.p/1", LIMIT) is shelf.read("g", LIMIT) is None
    (tmp_path / ".state" / "coming" / "left behind").write_bytes(b"by a kill")
    with shelf.exclusive():
        assert list((tmp_path / ".state" / "coming").iterdir()) == []


def test_nothing_but_a_file_is_read(tmp_path: Path) -> None:
    shelf = open_shelf(parse_location(str(tmp_path)))
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("secret")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(UnsafeFileError):
            shelf.read(name, LIMIT)
    assert shelf.read("secret/below", LIMIT) is None


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    shelf = open_writable_shelf(parse_location(str(tmp_path / "file")))
    with pytest.raises(StorageError), shelf.exclusive():
        pass


@pytest.mark.s3
def test_g07_a_bucket_that_may_not_be_written(faulty_bucket: FaultyBucket) -> None:
    shelf = BucketShelf(faulty_bucket.location, CALM)
    faulty_bucket.proxy.rule("", s3_error(403, "AccessDenied"), method="PUT", asked=False)
    with pytest.raises(DeniedError):
        shelf.claim("a", b"1")
    with pytest.raises(DeniedError):
        shelf.keep([("a", b"1"), ("b", b"2")])
    with pytest.raises(DeniedError):
        shelf.update("a", lambda _: b"1")
    assert shelf.read("a", LIMIT) is None


@pytest.mark.s3
def test_a_bucket_that_is_always_busy_is_given_up(faulty_bucket: FaultyBucket) -> None:
    from msgspec.structs import replace

    shelf = BucketShelf(faulty_bucket.location, replace(CALM, budget=0.2))
    faulty_bucket.proxy.rule("", s3_error(429, "TooManyRequests"), method="PUT", asked=False)
    with pytest.raises(StorageError, match="busy"):
        shelf.claim("a", b"1")
    with pytest.raises(StorageError, match="could not be replaced"):
        shelf.update("a", lambda _: b"1")


def test_over_https_it_is_read_no_further_than_asked(web: Web) -> None:
    web.put("/log/a", b"x" * 5000)
    shelf = open_shelf(web.location("/log"))
    assert shelf.read("a", LIMIT) == b"x" * (LIMIT + 1)
    assert shelf.read("b", LIMIT) is None
