"""What commands tell the log beside their own work: `add`, `update`, `sync`, `attach`, `approve`, incidents.

The command's answer comes first. A log that cannot be written is a warning on stderr and nothing more: what the command
decided, and the files it wrote, are what they would be without a log. Where this clone has no key that speaks for the
log nothing is written and nothing is said: a fresh clone only reads.

`sync` asks the same question again and again. A `verified` or `scanned` event that says what the last one of its kind
said of the pin is left out for a day, by this clone's memory (`.databom/last/<name>.events.json`); after that the log
says that it still holds.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from databom.errors import DatabomError
from databom.log.events import Approved, Event, Scanned, Verified
from databom.model import times
from databom.model.digest import sha256
from databom.model.finding import Report
from databom.model.proofs import Proof
from databom.storage import files
from databom.storage.patience import Patience
from databom.tasks.project import Project

REPEATED = (Verified, Scanned)
"""What is left out while it says nothing new."""
PAUSE = timedelta(days=1)
PATIENCE = Patience(connect=3.0, idle=5.0, attempts=3, budget=10.0)
"""With a log in a bucket: it has less time than what a command is about."""
_MAX_MEMORY = 64 * 1024
_AT_ONCE = 10_000
"""Events of one commit: a log takes no more than 16,384."""

_logger = logging.getLogger(__name__)

Noted = Event | Mapping[str, Any]


@contextlib.contextmanager
def noting(root: Path, now: datetime | None = None) -> Iterator[list[Noted]]:
    """A block that puts what happened on a list; afterwards the log is told, in one commit.

    An error of the block does not keep what happened before it from being told; whoever presses Ctrl-C does. Put it
    around `exclusive_project`: a log in a bucket may take seconds, and nobody should wait for that.
    """
    happened: list[Noted] = []
    try:
        yield happened
    except Exception:
        note(root, *happened, now=now)
        raise
    note(root, *happened, now=now)


def note(root: Path, *events: Noted, now: datetime | None = None) -> None:
    """Append events to the log of the project at `root`, where this clone writes one. Never raises."""
    if not events:
        return
    try:
        from databom.tasks.remembering import can_remember, remember

        place = Project.load(root)
        if not place.config.log_origin or not can_remember(place):
            return
        when = times.or_now(now)
        new = [one for one in events if not _is_repeated(place, one, when)]
        for start in range(0, len(new), _AT_ONCE):
            part = new[start : start + _AT_ONCE]
            remember(place, *part, now=when, patience=PATIENCE)
            _keep(place, part, when)
    except DatabomError as error:
        hint = f" ({error.hint})" if error.hint else ""
        _warn(f"{error}{hint}", len(events))
    except Exception as error:  # noqa: BLE001  # what a log raises must not become what a command answers
        _warn(type(error).__name__, len(events))


def verified(name: str, report: Report, digest: str, *, refetched: bool) -> Iterator[Verified]:
    """The event of a pass of `sync`, where there is a release and a trust root that it is about.

    Args:
        name: the pin.
        report: what the pass came to.
        digest: of the report as the stage writes it.
        refetched: whether somebody asked for what did not match once more.
    """
    subject, summary = report.subject, report.summary
    if not (subject.release and subject.manifest and subject.tree and report.trust and report.policy):
        return
    yield Verified(
        name=name,
        release=subject.release,
        manifest=subject.manifest,
        tree=subject.tree,
        verdict=report.verdict.value,
        trust=report.trust,
        policy=report.policy,
        assets=summary.assets,
        bytes=summary.bytes,
        failed=summary.failed,
        report=digest,
        refetched=refetched,
    )


def approved(name: str, release: str, proof: Proof) -> Approved:
    """The event of an approval or a waiver that enough keys have signed."""
    settles = proof.predicate.get("settles")
    codes = {one["code"] for one in settles} if settles else {f"waiver:{proof.predicate.get('waives')}"}
    return Approved(
        name=name,
        release=release,
        manifest=proof.manifest,
        evidence=proof.digest,
        codes=tuple(sorted(codes)),
        roles=proof.roles,
        keyids=proof.keyids,
    )


def _warn(why: str, count: int) -> None:
    what = "one event is" if count == 1 else f"{count:,} events are"
    _logger.warning("the log could not be written, so %s not in it: %s", what, why)


def _is_repeated(place: Project, event: Noted, now: datetime) -> bool:
    if not isinstance(event, REPEATED):
        return False
    try:
        known = _memory(place, event.name)[event.kind]
        last = times.parse(known["time"])
        same = known["says"] == _says(place, event)
    except (TypeError, KeyError, ValueError):
        return False
    return same and timedelta(0) <= now - last < PAUSE


def _keep(place: Project, events: Sequence[Noted], now: datetime) -> None:
    for event in events:
        if isinstance(event, REPEATED):
            known = _memory(place, event.name)
            known[event.kind] = {"time": times.format(now), "says": _says(place, event)}
            place.state("last")
            files.write_atomic(
                _path(place, event.name), json.dumps(known).encode(), mode=0o600, durable=False
            )


def _memory(place: Project, name: str) -> dict[str, Any]:
    try:
        value = json.loads(files.read_bounded(_path(place, name), _MAX_MEMORY))
    except (DatabomError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _path(place: Project, name: str) -> Path:
    return place.last_dir / f"{name}.events.json"


def _says(place: Project, event: Event) -> str:
    """The digest of what an event says, to which log, whenever that was."""
    told = event.entry(datetime.fromtimestamp(0, UTC))
    return sha256(f"{place.config.log_origin}\n{place.config.log_location}\n".encode() + told)
