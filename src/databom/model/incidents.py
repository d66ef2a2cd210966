"""An incident as a document: what the team is told, and what a log remembers of it.

An incident is one asset whose bytes did not match. The record that `databom incident show` prints is the whole of it;
a notice is what a hook gets, and an event is what stays when the machine with the bytes is gone. Both are made of
records alone, so that they say nothing that `show` does not say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

OPENED: Final = "incident-opened"
CLOSED: Final = "incident-closed"

MAX_NAMED: Final = 100
"""Incidents named in one notice; it says how many there are."""

_EVENT: Final = ("name", "release", "manifest", "code", "expected", "found", "source")


def event(kind: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The event of one incident: no machine, no path on it, no headers. Members that are null are left out.

    Args:
        kind: `OPENED` or `CLOSED`.
        record: the incident's record.
    """
    members: dict[str, Any] = {name: record.get(name) for name in _EVENT}
    members |= {"event": kind, "incident": record["incident"], "asset": record["path"]}
    if kind == OPENED:
        members["time"] = record["happened_at"]
    else:
        closed = {"time": "closed_at", "by": "closed_by", "reason": "reason", "resolution": "resolution"}
        members |= {name: record.get(member) for name, member in closed.items()}
    return {name: value for name, value in sorted(members.items()) if value is not None}


def notice(kind: str, records: Sequence[Mapping[str, Any]], *, project: str, machine: str) -> dict[str, Any]:
    """What the team's hook is told about incidents of one pin that were opened or closed together.

    Args:
        kind: `OPENED` or `CLOSED`.
        records: at least one, all of one pin.
        project: the name of the project's folder.
        machine: where the bytes are kept.
    """
    first, count = records[0], len(records)
    many = f"{count:,} assets of {first['name']}"
    what = many if count > 1 else f"{first['path']} of {first['name']}"
    release = f" ({first['release']})" if first.get("release") else ""
    if kind == OPENED:
        verb = "does" if count == 1 else "do"
        text = f"databom: {what}{release} {verb} not match; the bytes are in quarantine on {machine}"
    else:
        text = f"databom: the incident {first['incident']} about {what}{release} is closed: {first['reason']}"
    return {
        "event": kind,
        "text": text,
        "project": project,
        "machine": machine,
        "count": count,
        "incidents": [dict(record) for record in records[:MAX_NAMED]],
    }
