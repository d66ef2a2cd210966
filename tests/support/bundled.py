"""Audit bundles in tests: one is made once, and taken apart and put together again by whoever wants to cheat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from databom.model.audit_bundle import INDEX, MAX_FILES, MAX_PATH, Absent, index_of, read_index
from databom.model.digest import sha256
from databom.storage.storedzip import pack, unpack
from databom.trust.jcs import canonical
from support.explained import own_key, trained
from support.house import House


class _Deaf:
    """Stands in for `capfd`, which lives no longer than one test."""

    def readouterr(self) -> tuple[str, str]:
        return "", ""


class Made(NamedTuple):
    """A bundle, the root it is to be judged by, and where it was made."""

    raw: bytes
    trust: str
    other: bytes
    """The bundle of another run of the same project."""
    project: Path
    root: Path
    """A copy of the trust root, elsewhere."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Two runs of a project whose keys are no development keys."""
    base = tmp_path_factory.mktemp("bundled")
    with pytest.MonkeyPatch.context() as patch:
        house: Any = House(base, patch, _Deaf())  # type: ignore[arg-type]
        house.init()
        own_key(house, patch)
        house.ok("add", house.release(), "--name", "pets")
        house.ok("sync")
        found = []
        for _ in range(2):
            run, out = trained(api_token="s3cr3t-as-a-param"), base / f"{len(found)}.zip"
            house.ok("bundle", run.id, "-o", out)
            found.append(out.read_bytes())
        root = base / "auditors-root.json"
        root.write_bytes((house.project / "provenance/trust.json").read_bytes())
        yield Made(found[0], sha256(root.read_bytes()), found[1], house.project, root)


def files_of(raw: bytes) -> dict[str, bytes]:
    """The files of a bundle, without its index."""
    files = unpack(raw, max_files=MAX_FILES, max_name=MAX_PATH)
    del files[INDEX]
    return files


def absent_in(raw: bytes) -> tuple[Absent, ...]:
    """What a bundle says that it has not."""
    return read_index(unpack(raw, max_files=MAX_FILES, max_name=MAX_PATH)[INDEX]).absent


def put_together(
    files: Mapping[str, bytes], of: bytes, *, absent: tuple[Absent, ...] | None = None, **other: str
) -> bytes:
    """A bundle of these files with an index that is right about them, but for what is `other`."""
    known = read_index(unpack(of, max_files=MAX_FILES, max_name=MAX_PATH)[INDEX])
    run, receipt = other.get("run", known.run), other.get("receipt", known.receipt)
    index = index_of(run, receipt, files, known.absent if absent is None else absent)
    return pack({**files, INDEX: canonical(index.to_dict())})


def with_old_index(files: Mapping[str, bytes], of: bytes) -> bytes:
    """The same files under the index of another bundle."""
    return pack({**files, INDEX: unpack(of, max_files=MAX_FILES, max_name=MAX_PATH)[INDEX]})
