"""Bytes that did not match: kept as evidence, in `.databom/quarantine/<name>/<case>/`.

A case is a folder with `record.json` (what was expected and found, where it came from, when) and the bytes
below `asset/`, under the asset's own path. While a case is open, `sync` answers "no" for that asset instead
of fetching it again: a mismatch is evidence, and a silent second download would destroy it.
`sync NAME --refetch` settles the cases of a pin; the record says so, and the bytes stay.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from databom.errors import InputError, Problem
from databom.model import strictjson, times
from databom.storage import files

MAX_RECORD_BYTES = 1024 * 1024
RECORD, ASSET = "record.json", "asset"
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Case:
    """One mismatch. Digests are `sha256:<hex>`, sizes bytes, times RFC 3339."""

    folder: Path
    name: str
    manifest: str
    path: str
    code: str
    expected: str | None
    found: str | None
    size: int | None
    source: str
    happened_at: str
    refetched_at: str | None = None

    @property
    def asset(self) -> Path:
        """The folder that holds the bytes, under the asset's own path."""
        return self.folder / ASSET


def open_case(base: Path, case: Case) -> Case:
    """Write the record of a new case and return it with its folder.

    The record is written before the bytes are moved: a crash between the two leaves a case without bytes,
    which still stops `sync`, and never bytes without a case.
    """
    stamp = case.happened_at.replace(":", "").replace("-", "")
    folder = base / case.name / f"{stamp}-{secrets.token_hex(4)}"
    for part in (base, base / case.name, folder):
        files.make_private_dir(part)
    case = replace(case, folder=folder)
    _write(case)
    return case


def open_cases(base: Path, name: str, manifest: str) -> Iterator[Case]:
    """The unsettled cases of a pin under this very manifest, oldest first.

    Raises:
        StorageError: one may not look: then there may be a case.
    """
    for case in _cases(base, name):
        if case.manifest in (manifest, UNREADABLE) and case.refetched_at is None:
            yield case


def settle(case: Case, now: datetime) -> None:
    """Record that a person asked for the asset to be fetched again."""
    _write(replace(case, refetched_at=times.format(now)))


def set_aside(problem: Problem, case: Case, root: Path) -> Problem:
    """A problem whose bytes are in a new case, with what to do about it; `root` is the project's."""
    where = case.folder.relative_to(root).as_posix()
    return problem._replace(
        what=f"{problem.what}; the bytes were set aside in {where}",
        do=f"find out how this happened; then `databom sync {case.name} --refetch` fetches the asset again",
    )


def still_open(case: Case, root: Path) -> Problem:
    """What is said of an asset that nobody has decided about since its bytes were set aside."""
    where = case.folder.relative_to(root).as_posix()
    return Problem(
        case.code,
        case.path,
        f"did not match on {case.happened_at}, and nobody has decided since; the bytes are in {where}",
        case.expected,
        case.found,
        f"find out how this happened; then `databom sync {case.name} --refetch` fetches the asset again",
    )


def _cases(base: Path, name: str) -> Iterator[Case]:
    folder = base / name
    with files.translated(folder, "look for evidence in"):
        found = (
            [entry for entry in sorted(folder.iterdir()) if (entry / RECORD).is_file()]
            if folder.is_dir()
            else []
        )
    for entry in found:
        path = entry / RECORD
        try:
            value = strictjson.loads(files.read_bounded(path, MAX_RECORD_BYTES), prefix="quarantine")
            yield Case(**{**value, "folder": entry})
        except (InputError, TypeError):
            # An unreadable record is still an open case, under whatever manifest.
            yield Case(entry, name, UNREADABLE, entry.name, "integrity.mismatch", None, None, None, "", "")


def _write(case: Case) -> None:
    value = {key: item for key, item in asdict(case).items() if key != "folder"}
    files.write_atomic(
        case.folder / RECORD, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    )
