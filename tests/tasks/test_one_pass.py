"""Each byte of an asset is fetched once: hashed, written and shown to whoever else must see it, from one buffer."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from databom.errors import StorageError
from databom.storage.staging import Staging
from databom.storage.tree import LocalTree
from databom.tasks.ingesting import Fetched, ingest
from support.trees import MemoryReader, MemoryStream, manifest_of

FILES = {"a": b"alpha" * 50_000, "b/c": b"beta" * 70_000, "empty": b""}


class Watcher:
    """Keeps what it saw."""

    def __init__(self) -> None:
        self.seen = bytearray()

    def write(self, data: memoryview) -> None:
        self.seen += data


class Counting(MemoryReader):
    """Counts the bytes it serves of each object."""

    def __init__(self, files: dict[str, bytes], faults: dict[str, str] | None = None) -> None:
        super().__init__(files, faults or {})
        self.streams: list[tuple[str, MemoryStream]] = []

    def open(self, path: str, /) -> MemoryStream:
        stream = super().open(path)
        self.streams.append((path, stream))
        return stream

    @property
    def served(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for path, stream in self.streams:
            counts[path] += stream.served
        return counts


@pytest.mark.parametrize("md5", [True, False])
def test_one_pass_for_everybody(tmp_path: Path, md5: bool) -> None:
    reader = Counting(FILES)
    watchers: dict[str, list[Watcher]] = {path: [] for path in FILES}

    def watch(asset: object) -> list[Watcher]:
        watchers[asset.path].append(Watcher())
        return watchers[asset.path]

    with Staging(tmp_path / "data") as staging:
        outcomes = list(
            ingest(
                manifest_of(FILES).assets,
                reader,
                staging,
                LocalTree(tmp_path / "data"),
                md5=md5,
                set_aside=lambda fetched: pytest.fail(f"{fetched} was refused"),
                advance=lambda _: None,
                watch=watch,
            )
        )
    assert reader.served == Counter({path: len(data) for path, data in FILES.items()})
    for path, data in FILES.items():
        [watcher] = watchers[path]
        assert bytes(watcher.seen) == data == (tmp_path / "data" / path).read_bytes()
    for outcome in outcomes:
        data = FILES[outcome.path]
        assert outcome.sha256 == hashlib.sha256(data).hexdigest()
        assert outcome.md5 == (hashlib.md5(data).hexdigest() if md5 else None)


def test_a_watcher_that_cannot_go_on_ends_that_asset_and_no_other(tmp_path: Path) -> None:
    class Broken(Watcher):
        def write(self, data: memoryview) -> None:
            raise StorageError("no room for what it saw", where="watcher")

    def refused(fetched: Fetched) -> object:
        raise AssertionError(fetched)

    with Staging(tmp_path / "data") as staging:
        outcomes = {
            outcome.path: outcome
            for outcome in ingest(
                manifest_of(FILES).assets,
                MemoryReader(FILES),
                staging,
                LocalTree(tmp_path / "data"),
                md5=False,
                set_aside=refused,
                advance=lambda _: None,
                watch=lambda asset: [Broken()] if asset.path == "a" else [],
            )
        }
    assert outcomes["a"].error is not None
    assert "no room" in outcomes["a"].error.what
    assert not (tmp_path / "data/a").exists()
    assert (tmp_path / "data/b/c").read_bytes() == FILES["b/c"]
