"""Audit bundles in tests: one is made once, and taken apart and put together again by whoever wants to cheat."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from databom.log.appending import Log
from databom.log.checkpoint import Speakers, parse_checkpoint
from databom.log.note import parse_note
from databom.log.reading import LogReader
from databom.model import times
from databom.model.audit_bundle import (
    CHECKPOINT,
    INDEX,
    MAX_FILES,
    MAX_PATH,
    PROOF,
    RECEIPT,
    Absent,
    index_of,
    read_index,
)
from databom.model.digest import sha256
from databom.storage.location import parse_location
from databom.storage.shelf import open_writable_shelf
from databom.storage.storedzip import pack, unpack
from databom.trust.dsse import format_envelope, parse_envelope, sign
from databom.trust.jcs import canonical
from databom.trust.keys import PrivateKey
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


def by_insiders(files: Mapping[str, bytes], made: Made, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A bundle of these files by whoever has the team's keys of receipt and log: its receipt says something else.

    The entries are logged again, before the receipt, in a log that begins with them.
    """
    receipt_key, log_key = (
        PrivateKey.from_pem((made.root.parent / f"{role}.pem").read_bytes()) for role in ("receipt", "log")
    )
    old = parse_envelope(files[RECEIPT])
    statement = json.loads(old.payload)
    change(statement)
    receipt = format_envelope(sign(old.payload_type, json.dumps(statement).encode(), [receipt_key]))
    entries = [path for path in files if path.startswith("log/") and path.endswith(".json")]
    entries.sort(key=lambda path: int(path[4:-5]))
    with tempfile.TemporaryDirectory() as folder:
        shelf = open_writable_shelf(parse_location(folder))
        origin = parse_checkpoint(parse_note(files[CHECKPOINT]).text).origin
        speakers = Speakers.by_keys([log_key.public])
        Log(shelf, origin, [log_key], speakers).append([*(files[path] for path in entries), receipt])
        reader = LogReader.open(shelf, speakers, origin, now=times.now())
        proofs = [bytes(reader.prove(index)[1]) for index in range(len(entries) + 1)]
    found = {path: raw for path, raw in files.items() if not path.startswith("log/")}
    found |= {RECEIPT: receipt, PROOF: proofs[-1], CHECKPOINT: reader.opened.raw}
    for index, path in enumerate(entries):
        found |= {f"log/{index}.json": files[path], f"log/{index}.tlog-proof": proofs[index]}
    run = statement["predicate"]["runDetails"]["metadata"]["invocationId"]
    return put_together(found, made.raw, receipt=sha256(receipt), run=run)
