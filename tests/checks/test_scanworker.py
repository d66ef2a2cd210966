"""What the scanners' process does with a file, asked directly."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from databom.checks import scanworker
from databom.checks.scanworker import Job, look
from databom.errors import StorageError
from databom.scanners.looking import Looker
from databom.scanners.protocol import Hit
from databom.scanners.registry import load
from databom.storage.tree import LocalTree
from support.people import LETTER


def job(path: str, data: bytes) -> Job:
    return Job(path, len(data), hashlib.sha256(data).hexdigest(), None)


@pytest.fixture
def looker() -> Looker:
    return Looker(load(()).scanners)


@pytest.mark.parametrize("whole", [1 << 20, 8])
def test_other_bytes_than_the_digests_are_not_scanned(
    tmp_path: Path, looker: Looker, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(scanworker, "WHOLE_BYTES", whole)
    (tmp_path / "a.txt").write_bytes(LETTER)
    tree = LocalTree(tmp_path)
    answer = look(tree, job("a.txt", LETTER), looker)
    assert answer.seen is not None
    assert set(answer.seen.hits) == {"email", "phone"}
    (tmp_path / "a.txt").write_bytes(LETTER.replace(b"ada", b"bob"))
    answer = look(tree, job("a.txt", LETTER), looker)
    assert answer.seen is None
    assert answer.refused == "it is not what it was when it was verified"


def test_a_long_file_that_changes_meanwhile_is_not_answered_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanworker, "WHOLE_BYTES", 8)
    path = tmp_path / "a.txt"
    path.write_bytes(LETTER)

    class Writer:
        name, version, model, settings = "writer", "1", None, ""

        def takes(self, media_type: str) -> bool:
            return True

        def scan(self, data: object, media_type: str, context: object) -> list[Hit]:
            os.utime(path, ns=(1, 1))
            return []

    answer = look(LocalTree(tmp_path), job("a.txt", LETTER), Looker([Writer()]))
    assert answer.refused == "it was changed while it was looked at"


def test_a_link_is_not_followed(tmp_path: Path, looker: Looker) -> None:
    (tmp_path / "out").write_bytes(LETTER)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.txt").symlink_to(tmp_path / "out")
    with pytest.raises(StorageError):
        look(LocalTree(tmp_path / "tree"), job("a.txt", LETTER), looker)


def test_a_mapped_archive_is_read_like_another(
    tmp_path: Path, looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip
    import tarfile
    import zipfile

    monkeypatch.setattr(scanworker, "WHOLE_BYTES", 8)
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.txt", LETTER)
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = len(LETTER)
        archive.addfile(info, io.BytesIO(LETTER))
    for name, data in (
        ("a.zip", zipped.getvalue()),
        ("a.tar", tarred.getvalue()),
        ("a.tgz", gzip.compress(tarred.getvalue())),
        ("a.csv", b"n,phone\n1,4155552671\n"),
        ("a.html", b"<p>ada@example.org</p>"),
    ):
        (tmp_path / name).write_bytes(data)
        answer = look(LocalTree(tmp_path), job(name, data), looker)
        assert answer.seen is not None
        assert answer.seen.hits, name
        assert not answer.seen.doubts
