"""Receipts as a stranger reads them, and a project to make some in."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any


def statement_of(receipt: bytes) -> dict[str, Any]:
    """What a receipt says, whoever signed it."""
    value: dict[str, Any] = json.loads(base64.b64decode(json.loads(receipt)["payload"]))
    return value


def internal_of(receipt: bytes) -> dict[str, Any]:
    """Its internalParameters."""
    found: dict[str, Any] = statement_of(receipt)["predicate"]["buildDefinition"]["internalParameters"]
    return found


def dependencies_of(receipt: bytes) -> dict[str, dict[str, Any]]:
    """Its resolved dependencies by name."""
    definition = statement_of(receipt)["predicate"]["buildDefinition"]
    return {one["name"]: one for one in definition["resolvedDependencies"]}


def subjects_of(receipt: bytes) -> dict[str, dict[str, Any]]:
    """Its subjects by name."""
    return {one["name"]: one for one in statement_of(receipt)["subject"]}


def logged(project: Path) -> list[bytes]:
    """Every receipt in the project's log, in order, each proved."""
    from databom.log.reading import LogReader
    from databom.model import times
    from databom.storage.shelf import open_shelf
    from databom.tasks.logs import ProjectLog
    from databom.tasks.project import Project

    log = ProjectLog.of(Project.load(project))
    if not (project / ".databom" / "log" / "checkpoint").exists():
        return []
    reader = LogReader.open(open_shelf(log.location), log.speakers, log.origin, now=times.now())
    return [entry for _, entry in reader.entries(0, reader.size) if b'"payloadType"' in entry]


def left_in(project: Path, what: str) -> list[Path]:
    """Files of `.databom/receipts/open` or `pending`."""
    return sorted((project / ".databom" / "receipts" / what).glob("*.json"))


def every_file(project: Path) -> bytes:
    """All that databom left of receipts in a project, for a search for what must not be there; events aside."""
    folder = project / ".databom"
    places = [folder / "receipts", folder / "spool"]
    found = [path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()]
    return b"\0".join([*found, *logged(project)])
