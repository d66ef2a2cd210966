"""Bytes that did not match: kept as evidence, in `.databom/quarantine/<name>/<case>/`.

A case is a folder with `record.json` (what was expected and found, where it came from, what the store said, when, by
which versions, who can be told) and the bytes below `asset/`, under the asset's own path. While a case is open, `sync`
answers "no" for that asset instead of fetching it again: a mismatch is evidence, and a silent second download would
destroy it. `sync NAME --refetch` settles the cases of a pin; the record says so, and the bytes stay.

A case is an incident to the people who carry it to its end (`databom.tasks.incidents`). Closing it is their word about
it: only one whose asset is whole again is settled by that.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import platform
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import fields, replace

from databom import __version__
from databom.errors import DatabomError, InputError, Problem
from databom.model import strictjson, times
from databom.model.lock import Pin
from databom.storage import files
from databom.storage.headers import NONE
from databom.tasks.project import Project

MAX_RECORD_BYTES = 1024 * 1024
RECORD, ASSET = "record.json", "asset"
UNREADABLE = "unreadable"
WHOLE = "whole"
"""The resolution of an incident whose asset is as signed again."""
_OWN_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-([0-9a-f]{8})")
_READERS = ("obstore", "s3fs", "urllib3")


class Case(Struct, frozen=True):
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
    release: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """What the store said of the answer; empty for a local file."""
    versions: Mapping[str, str] = field(default_factory=dict)
    tell: Mapping[str, str | list[str] | None] = field(default_factory=dict)
    """Who answers for the bytes: `marketplace`, `keyids`, `creator`."""
    closed_at: str | None = None
    closed_by: str | None = None
    reason: str | None = None
    resolution: str | None = None

    @property
    def asset(self) -> Path:
        """The folder that holds the bytes, under the asset's own path."""
        return self.folder / ASSET

    @property
    def place(self) -> str:
        """The folder, from the project's root."""
        return self.folder.relative_to(self.folder.parents[3]).as_posix()

    @property
    def id(self) -> str:
        """Eight hex digits, the end of the folder's name; the whole name of a folder that is not of our making."""
        own = _OWN_NAME.fullmatch(self.folder.name)
        return own[1] if own else self.folder.name

    @property
    def state(self) -> str:
        """`open`, `refetched` (a person asked for the asset again) or `closed`."""
        if self.closed_at is not None:
            return "closed"
        return "open" if self.refetched_at is None else "refetched"

    @property
    def is_settled(self) -> bool:
        """Whether the asset may be fetched again."""
        return self.refetched_at is not None or self.resolution == WHOLE

    def record(self) -> dict[str, Any]:
        """What is stored of it, in the order of its members."""
        members = (member.name for member in fields(self) if member.name != "folder")
        values = {name: getattr(self, name) for name in members}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def new_case(
    place: Project,
    name: str,
    problem: Problem,
    *,
    path: str,
    size: int | None,
    source: str,
    now: datetime,
    headers: Mapping[str, str] = NONE,
) -> Case:
    """Write the record of a new case of a pin's present release and return it.

    The record is written before the bytes are moved: a crash between the two leaves a case without bytes,
    which still stops `sync`, and never bytes without a case.

    Raises:
        StorageError: it cannot be written.
    """
    pin = place.pin(name)
    happened_at = times.format(now)
    stamp = happened_at.replace(":", "").replace("-", "")
    case = Case(
        folder=place.state("quarantine", name, f"{stamp}-{secrets.token_hex(4)}"),
        name=name,
        manifest=pin.manifest,
        path=path,
        code=problem.code,
        expected=problem.expected,
        found=problem.found,
        size=size,
        source=source,
        happened_at=happened_at,
        release=pin.release,
        headers=headers,
        versions=_versions(),
        tell=_who(pin),
    )
    _write(case, case.record())
    return case


def open_cases(base: Path, name: str, manifest: str) -> Iterator[Case]:
    """The unsettled cases of a pin under this very manifest, oldest first.

    Raises:
        StorageError: one may not look: then there may be a case.
    """
    for case in cases(base, name):
        if case.manifest in (manifest, UNREADABLE) and not case.is_settled:
            yield case


def cases(base: Path, name: str) -> Iterator[Case]:
    """Every case of a pin, oldest first.

    Raises:
        StorageError: one may not look.
    """
    folder = base / name
    with files.translated(folder, "look for evidence in"):
        found = (
            [entry for entry in sorted(folder.iterdir()) if (entry / RECORD).is_file()]
            if folder.is_dir()
            else []
        )
    for entry in found:
        try:
            yield msgspec.convert({**_read(entry), "folder": entry}, Case)
        except (InputError, msgspec.ValidationError, TypeError):
            # An unreadable record is still an open case, under whatever manifest.
            yield Case(entry, name, UNREADABLE, entry.name, "integrity.mismatch", None, None, None, "", "")


def names(base: Path) -> list[str]:
    """The pins that have cases, those that are no longer pinned too.

    Raises:
        StorageError: one may not look.
    """
    with files.translated(base, "look for evidence in"):
        return sorted(entry.name for entry in base.iterdir() if entry.is_dir()) if base.is_dir() else []


def settle(case: Case, now: datetime) -> None:
    """Record that a person asked for the asset to be fetched again."""
    change(case, refetched_at=times.format(now))


def change(case: Case, **members: str | None) -> Case:
    """Write members of a record anew. What a later release wrote into it stays; so does what cannot be read, beside it.

    Raises:
        StorageError: it cannot be written.
    """
    changed = replace(case, **members)
    if case.manifest != UNREADABLE:
        _write(case, {**_read(case.folder), **members})
        return changed
    with contextlib.suppress(DatabomError):
        raw = files.read_bounded(case.folder / RECORD, MAX_RECORD_BYTES)
        files.write_new(case.folder / f"{RECORD}.{UNREADABLE}", raw, mode=0o600)
    _write(case, changed.record())
    return changed


def set_aside(problem: Problem, case: Case) -> Problem:
    """A problem whose bytes are in a new case, with what to do about it."""
    return problem._replace(
        what=f"{problem.what}; the bytes were set aside in {case.place}", do=_advice(case)
    )


def still_open(case: Case) -> Problem:
    """What is said of an asset that nobody has decided about since its bytes were set aside."""
    decided = "nobody has decided since"
    if case.closed_at is not None:
        decided = "the incident was closed without its being fetched again"
    return Problem(
        case.code,
        case.path,
        f"did not match on {case.happened_at}, and {decided}; the bytes are in {case.place}",
        case.expected,
        case.found,
        _advice(case),
    )


def _advice(case: Case) -> str:
    return (
        f"find out how this happened (`databom incident show {case.id}`); "
        f"then `databom sync {case.name} --refetch` fetches the asset again"
    )


def _read(folder: Path) -> dict[str, Any]:
    """The members of a record.

    Raises:
        InputError: it cannot be read as one.
    """
    try:
        raw = files.read_bounded(folder / RECORD, MAX_RECORD_BYTES)
        value = strictjson.loads(raw, prefix="quarantine")
    except InputError:
        raise
    except DatabomError as error:
        raise InputError(Problem("quarantine.syntax", str(folder), str(error))) from error
    if not isinstance(value, dict):
        raise InputError(Problem("quarantine.syntax", str(folder), "the record is no object"))
    return value


def _write(case: Case, record: Mapping[str, Any]) -> None:
    files.write_atomic(
        case.folder / RECORD, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
    )


@functools.cache
def _versions() -> dict[str, str]:
    """What may have read the bytes."""
    found = {"databom": __version__, "python": platform.python_version()}
    for name in _READERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _who(pin: Pin) -> dict[str, Any]:
    return {"marketplace": pin.marketplace, "keyids": list(pin.keyids), "creator": pin.creator_id}
