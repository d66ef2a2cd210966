"""What the project's log remembers of each dataset, for when `databom.lock` has forgotten it.

`databom.lock` keeps what was seen in git, where a restored backup, a lost merge or an edit can take it back. The log's
`pinned` events say the same and cannot be taken back unseen. So whoever moves a pin asks both: what the lock lacks is
rebuilt from the log (`release.forgotten`), what the two say differently of one release is refused
(`release.equivocation`), and a log that is gone, was cut or rewritten is refused too (`log.`).

What was read is remembered on this machine with the root of the tree it was read from (`logs/` in the user's cache,
under a MAC as the hashes are): the next time only what came after is read, once the log is found to begin with that
tree. Whoever can write that memory can write what this machine believes of every file; deleting it costs a whole
reading. `databom log verify` reads everything each time.

A lock may know more than the log: another clone wrote it, or the log was away. A log that cannot be asked, because
there is none here, a bucket is away, or nobody may speak for it, says nothing, and the lock is believed alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from databom.checks.memory import check_memory, rollback_notes
from databom.errors import ConfigError, InputError, MissingError, StorageError
from databom.log.appending import require_continued
from databom.log.checkpoint import Checkpoint, Speakers
from databom.log.events import Entry, read_entry
from databom.log.reading import LogReader
from databom.model import times
from databom.model.digest import is_digest
from databom.model.finding import Finding, Severity, findings_of
from databom.model.lock import Lock, Seen, SeenRelease
from databom.model.text import printable
from databom.storage.answercache import AnswerCache
from databom.storage.shelf import open_shelf
from databom.tasks.believing import Believed
from databom.tasks.logs import ProjectLog, gone
from databom.tasks.project import Project

_NEEDLES = (b'"pinned"', b'"paid"', b'"revoked"')
_RULES = "2"
"""By which `_Read` was made of entries. Another number reads everything anew."""
_logger = logging.getLogger(__name__)


class Spending(NamedTuple):
    """What the log shows a payment was used for."""

    name: str
    release: str
    manifest: str
    transaction_id: str
    evidence: str


class TakenBack(NamedTuple):
    """A release that the log shows was revoked."""

    manifest: str
    evidence: str
    """The digest of the notice."""
    issued_at: str


class Recollection(Struct, frozen=True):
    """What the log says; empty where it says nothing."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    """By dataset. Each `--allow-rollback` has left a note, as in the lock."""
    spent: tuple[Spending, ...] = ()
    revoked: tuple[TakenBack, ...] = ()
    """Notices that are claims alone are not among them."""
    findings: tuple[Finding, ...] = ()
    """Why the log is not one to be believed."""

    def of(self, dataset: str, known: Seen | None) -> tuple[Seen | None, tuple[Finding, ...]]:
        """What the lock knows of a dataset, with what it has forgotten; and findings about the difference."""
        told = self.seen.get(dataset)
        if told is None:
            return known, ()
        if known is not None and len(rollback_notes(None, known)) > len(told.notes):
            return known, ()  # a decision that the log was not told: what it knows is older
        base, head = Lock(seen={dataset: _without_notes(told)}), Lock(seen={dataset: known} if known else {})
        findings = tuple(_told(one, dataset) for one in check_memory(base, head))
        if not any(one.code == "release.forgotten" for one in findings):
            return known, findings
        return _both(told, known), _once(findings)

    def differences(self, lock: Lock) -> Iterator[Finding]:
        """Of every dataset that the log knows."""
        yield from self.findings
        for dataset in sorted(self.seen):
            yield from self.of(dataset, lock.seen.get(dataset))[1]


def _without_notes(seen: Seen) -> Seen:
    """Without its notes, which are worded by whoever writes them."""
    return msgspec.structs.replace(seen, notes=())


def _told(finding: Finding, dataset: str) -> Finding:
    """A finding about two locks, as one about the lock and the log."""
    if finding.code != "release.rollback":
        return replace(
            finding,
            what="databom.lock holds another content under the name of a release than the log says was pinned",
        )
    return replace(
        finding,
        code="release.forgotten",
        severity=Severity.WARN,
        what=f"databom.lock has forgotten what the log shows that this project pinned of {printable(dataset)}",
        do="find out why: a branch that was not merged, a restored backup, an edit; "
        "`databom add` and `update` remember it again",
    )


def _once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding says that something was forgotten; the others stay."""
    kept: list[Finding] = []
    for one in findings:
        if one.code != "release.forgotten" or all(other.code != one.code for other in kept):
            kept.append(one)
    return tuple(kept)


def _both(told: Seen, known: Seen | None) -> Seen:
    if known is None:
        return told
    sequences = [one for one in (told.sequence, known.sequence) if one is not None]
    dates = [one for one in (told.issued_at, known.issued_at) if one is not None]
    return msgspec.structs.replace(
        known,
        sequence=max(sequences, default=None),
        issued_at=max(dates, key=times.parse, default=None),
        newest=told.newest,
        releases={**told.releases, **known.releases},
    )


def recollect(place: Project, believed: Believed, now: datetime) -> Recollection:
    """Read the log of a project for what was pinned and paid, each entry proved."""
    if not place.config.log_origin or believed.root is None:
        return Recollection()
    log = ProjectLog.of(place, Speakers.of(believed.root))
    if not log.speakers.log:
        return Recollection()
    try:
        known, shelf = log.anchors(now), open_shelf(log.location)
        try:
            reader = LogReader.open(shelf, log.speakers, log.origin, now=now, known=tuple(known.values()))
        except MissingError:
            return Recollection(findings=gone(log.location, known))
        for one in known.values():
            require_continued(reader, one)
        about = f"{log.origin}\n{log.location.shown}".encode("utf-8", "surrogateescape")
        return _read(reader, AnswerCache(about, kind="logs"))
    except InputError as error:
        findings = findings_of(error)
        if all(one.code.startswith("log.") for one in findings):
            return Recollection(findings=findings)
        why: object = error
    except (StorageError, ConfigError) as error:
        why = error
    _logger.warning("the log could not be asked what this project has seen: %s", why)
    return Recollection()


class _Read(msgspec.Struct, forbid_unknown_fields=True):
    """What the entries of one tree say, those of `size` entries under `root`."""

    size: int = 0
    root: bytes = b""
    seen: dict[str, Seen] = {}
    spent: list[Spending] = []
    revoked: list[TakenBack] = []


def _remembered(reader: LogReader, memory: AnswerCache) -> _Read:
    """What was read before, where the log begins with it; nothing otherwise."""
    try:
        told = msgspec.msgpack.decode(memory.rows()[_RULES], type=_Read)
    except (KeyError, msgspec.MsgspecError):
        return _Read()
    older = Checkpoint(reader.checkpoint.origin, told.size, told.root)
    return told if reader.begins_with(older) else _Read()


def _read(reader: LogReader, memory: AnswerCache) -> Recollection:
    told = _remembered(reader, memory)
    seen, spent, revoked = told.seen, told.spent, told.revoked
    for index, raw in reader.entries(told.size, reader.size):
        if not any(needle in raw for needle in _NEEDLES):
            continue
        entry = read_entry(index, raw)
        if entry.kind == "pinned":
            _pinned(seen, entry.document)
        elif entry.kind == "paid" and _has(entry.document, Spending._fields):
            spent.append(Spending(*(entry.document[member] for member in Spending._fields)))
        elif (one := taken_back(entry)) is not None:
            revoked.append(one)
    if told.size < reader.size:
        now = _Read(reader.size, reader.checkpoint.root, seen, spent, revoked)
        memory.keep([(_RULES, msgspec.msgpack.encode(now))])
    return Recollection(seen, tuple(spent), tuple(revoked))


def taken_back(entry: Entry) -> TakenBack | None:
    """The release that an entry says was revoked; None for any other entry, and for a claim."""
    said = entry.document
    if entry.kind != "revoked" or said.get("claimed") is True or not _has(said, TakenBack._fields):
        return None
    return TakenBack(*(said[member] for member in TakenBack._fields))


def _has(said: Mapping[str, Any], members: Iterable[str]) -> bool:
    return all(isinstance(said.get(member), str) for member in members)


def _pinned(seen: dict[str, Seen], said: Mapping[str, Any]) -> None:
    """Remember one event as `add` and `update` do. One that another release wrote may lack what this one needs."""
    dataset, _, version = str(said.get("release")).rpartition("@")
    content, core, manifest, time = (str(said.get(one)) for one in ("content", "core", "manifest", "time"))
    if not dataset or not _is_time(time) or not all(map(is_digest, (content, core, manifest))):
        return
    release = SeenRelease(manifest=manifest, content=content, core=core, first_seen=time, fetched_at=time)
    old = seen.get(dataset, Seen())
    if said.get("rollback") is True:
        note = f"{time} {dataset}@{version}: rollback allowed, says the log"
        old = msgspec.structs.replace(old, sequence=None, issued_at=None, notes=(*old.notes, note))
    sequence, issued = said.get("sequence"), said.get("issued_at")
    new = Seen(
        sequence=sequence if type(sequence) is int else None,
        issued_at=issued if isinstance(issued, str) and _is_time(issued) else None,
        releases={version: release},
        notes=old.notes,
    )
    merged = _both(new, old)
    seen[dataset] = msgspec.structs.replace(
        merged, newest=version, releases={**old.releases, version: release}
    )


def _is_time(text: str) -> bool:
    try:
        times.parse(text)
    except ValueError:
        return False
    return True
