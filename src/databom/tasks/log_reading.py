"""`databom log verify`, `show` and `proof`: looking at a log, this project's or any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from databom.checks.log import audit, open_anchors
from databom.errors import ConfigError, InputError, MissingError, StorageError
from databom.log.checkpoint import Checkpoint, Opened, Speakers
from databom.log.events import Entry, read_entry
from databom.log.note import ED25519, format_vkey
from databom.log.reading import LogReader, read_checkpoint
from databom.log.tiles import WIDTH
from databom.log.tlogproof import MAX_PROOF_BYTES, TlogProof
from databom.model import times
from databom.model.digest import hex_of, sha256
from databom.model.finding import Finding, Report, Severity, Subject, findings_of
from databom.model.text import printable
from databom.storage import files
from databom.storage.location import Location, parse_location
from databom.storage.shelf import Shelf, open_shelf
from databom.tasks.believing import Believed, load_trust
from databom.tasks.logs import ProjectLog, gone
from databom.tasks.project import Project, find_root, typed
from databom.tasks.remembering import keep
from databom.tasks.rootfile import is_named
from databom.tasks.tracked_runs import Looked, anchor_of, hold, look
from databom.trust.root import TrustRoot

_MANY = 10_000


class LogAnswer(Struct, frozen=True):
    """What there is to say about a log, and the report that says it."""

    report: Report
    location: Location
    opened: Opened | None
    vkeys: tuple[str, ...] = ()
    """The log's keys, as C2SP tools take them."""
    anchors: tuple[str, ...] = ()
    """The older checkpoints it was held against."""

    def to_dict(self) -> dict[str, Any]:
        """The report, and `log`: `location, origin, size, root, vkeys, witnesses, anchors`."""
        stated = self.opened.checkpoint if self.opened else None
        seen = self.opened.witnesses if self.opened else {}
        return {
            **self.report.to_dict(),
            "log": {
                "location": self.location.stored,
                "origin": stated.origin if stated else None,
                "size": stated.size if stated else None,
                "root": f"sha256:{stated.root.hex()}" if stated else None,
                "vkeys": list(self.vkeys),
                "witnesses": [{"keyid": keyid, "time": times.format(seen[keyid])} for keyid in sorted(seen)],
                "anchors": list(self.anchors),
            },
        }


class Asked(Struct, frozen=True):
    """Which log is looked at, and by whose word."""

    location: Location
    origin: str | None
    speakers: Speakers
    findings: tuple[Finding, ...] = ()
    trust: str | None = None
    root: TrustRoot | None = None
    log: ProjectLog | None = None
    """Where it is the project's own, or a copy of it elsewhere."""
    kept: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, location: str | None, trust: Path | None, project: Path | str | None, now: datetime) -> Asked:
        """The project's log, or the one at `location`; believed by the trust root in force, or by `trust`.

        Raises:
            ConfigError: there is neither a project nor a location and a trust root.
        """
        alone = location is not None and is_named(trust) and project is None and not _in_project()
        place = None if alone else Project.load(project)
        believed = load_trust(place, trust)
        findings = [*believed.findings, *_expired(believed, now)]
        speakers = Speakers.of(believed.root) if believed.root else Speakers({})
        if place is None:
            assert location is not None
            where = parse_location(typed(location))
            return cls(where, None, speakers, tuple(findings), believed.digest, believed.root)
        log = ProjectLog.of(place, speakers)
        where = log.location if location is None else place.locate(location)
        return cls(
            where, log.origin, speakers, tuple(findings), believed.digest, believed.root, log, log.kept()
        )

    @property
    def known(self) -> tuple[Checkpoint, ...]:
        """The older checkpoints that hold."""
        held, _ = open_anchors(self.kept, self.speakers, self.origin or "", now=times.now())
        return tuple(held.values())

    def reader(self, now: datetime) -> LogReader:
        """The log.

        Raises:
            DatabomError: as `LogReader.open`.
        """
        return LogReader.open(
            open_shelf(self.location), self.speakers, self.origin, now=now, known=self.known
        )


def _in_project() -> bool:
    try:
        find_root()
    except ConfigError:
        return False
    return True


def _expired(believed: Believed, now: datetime) -> list[Finding]:
    root = believed.root
    return [Finding.of(root.expired_problem(now))] if root is not None and root.expires <= now else []


def log_verify(
    *checkpoints: Path | str,
    runs: Sequence[str] = (),
    all_runs: bool = False,
    location: str | None = None,
    trust: Path | str | None = None,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> LogAnswer:
    """Recompute the whole log, and hold it against every checkpoint that was kept, and those that are given.

    A log that holds is remembered: its next reader and writer here refuse one that does not continue it.

    Args:
        checkpoints: files with a checkpoint, or with the proof of an entry, which ends with one.
        runs: MLflow runs whose checkpoints count too, and that are held against their receipts in the log.
        all_runs: whether the checkpoints count that any run of the tracking server carries.
        location: another log than the project's own.
        trust: another trust root.
        project: the project.
        now: when it is.

    Raises:
        ConfigError: no project and no trust root; a checkpoint's file cannot be read.
        PluginError: runs are asked about, and MLflow is not installed or no tracking server is configured.
        StorageError: there is no log and none was kept, so that there is nothing to say.
    """
    when = times.or_now(now)
    asked = Asked.of(location, Path(trust) if trust is not None else None, project, when)
    shelf = open_shelf(asked.location)
    origin = asked.origin
    if origin is None:
        origin = _origin(shelf)
    given, findings = _given(checkpoints)
    looked = look(runs, search=origin if all_runs else None) if runs or all_runs else Looked()
    anchors, doubts = open_anchors(
        {**asked.kept, **given, **looked.anchors}, asked.speakers, origin, now=when
    )
    findings += [*doubts, *asked.findings, *looked.findings]
    opened = None
    try:
        # Not those of a tracking server: a key that was valid once could have put there what it signed since.
        known = tuple(one for where, one in anchors.items() if where not in looked.anchors)
        reader = LogReader.open(shelf, asked.speakers, origin, now=when, known=known)
    except InputError as error:
        findings += findings_of(error)
    except MissingError:
        findings += _no_log(shelf, asked, anchors)
    else:
        found = audit(reader, anchors, asked.speakers)
        opened, findings = found.opened, [*findings, *found.findings]
        if not any(one.severity is Severity.BLOCK for one in found.findings):
            findings += _runs(looked, reader, asked)
    report = Report(Subject(name=printable(origin)), tuple(findings), trust=asked.trust)
    if opened is not None and asked.log is not None and not report.blocking:
        keep(asked.log, opened.raw)
    vkeys = tuple(
        format_vkey(origin, ED25519, one.key)
        for one in asked.speakers.log.values()
        if one.key.keytype == "ed25519"
    )
    return LogAnswer(report, asked.location, opened, vkeys, tuple(sorted(anchors)))


def _runs(looked: Looked, reader: LogReader, asked: Asked) -> list[Finding]:
    """The runs that were asked about, against their receipts in a log that holds."""
    attached = asked.log is None or asked.log.place.config.mlflow_auto != "tags"
    try:
        return hold(looked, reader, asked.root, attached=attached)
    except InputError as error:
        return list(findings_of(error))


def _given(paths: Sequence[Path | str]) -> tuple[dict[str, bytes], list[Finding]]:
    """The checkpoints in some files, by file; what is none is a finding about it.

    Raises:
        ConfigError: a file cannot be read.
    """
    found: dict[str, bytes] = {}
    findings: list[Finding] = []
    for path in paths:
        where = printable(str(path))
        try:
            raw = files.read_bounded(Path(path), MAX_PROOF_BYTES)
        except (InputError, StorageError) as error:
            raise ConfigError(f"the checkpoint {where} cannot be read: {error}") from None
        try:
            found[str(path)] = anchor_of(raw)
        except InputError as error:
            findings += [replace(one, subject=where) for one in findings_of(error)]
    return found, findings


def _origin(shelf: Shelf) -> str:
    """What a log calls itself, for who knows it by its keys alone.

    Raises:
        InputError: `log.corrupt`: its checkpoint is none.
        MissingError: there is no log.
    """
    from databom.log.checkpoint import parse_checkpoint
    from databom.log.note import parse_note

    raw = read_checkpoint(shelf)
    if raw is None:
        raise MissingError(f"there is no log at {shelf.shown}", where=shelf.shown, hint="check the location")
    return parse_checkpoint(parse_note(raw).text).origin


def _no_log(shelf: Shelf, asked: Asked, anchors: Mapping[str, Checkpoint]) -> list[Finding]:
    """What the absence of a log says: in the clone that wrote it that it was removed, elsewhere nothing."""
    if removed := gone(asked.location, anchors):
        return [*removed]
    others = " It is known from git: it was written in another clone." if anchors else ""
    raise MissingError(
        f"there is no log at {shelf.shown}.{others}",
        where=shelf.shown,
        hint='name where it is with --log LOCATION, or share one: [log] location = "r2://…"',
    )


def log_show(
    index: int | None = None,
    *,
    limit: int = 20,
    location: str | None = None,
    trust: Path | str | None = None,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> Sequence[Entry]:
    """The newest entries, oldest of them first, or the one at `index`; each proved to be in the log.

    Raises:
        ConfigError: there is no such entry.
        InputError: `log.corrupt` or a `signature.` code.
        StorageError: there is no log, or it cannot be read.
    """
    when = times.or_now(now)
    reader = Asked.of(location, Path(trust) if trust is not None else None, project, when).reader(when)
    if index is not None:
        _require_index(index, reader)
        return [read_entry(index, reader.entry(index))]
    start = max(0, reader.size - min(limit, _MANY))
    return [read_entry(at, raw) for at, raw in reader.entries(start, reader.size)]


def log_proof(
    which: str,
    *,
    location: str | None = None,
    trust: Path | str | None = None,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> TlogProof:
    """The proof that an entry is in the log; `which` is its index or its digest (`sha256:<hex>`).

    Raises:
        ConfigError: there is no such entry.
        InputError: `log.corrupt` or a `signature.` code.
        StorageError: there is no log, or it cannot be read.
    """
    when = times.or_now(now)
    reader = Asked.of(location, Path(trust) if trust is not None else None, project, when).reader(when)
    if which.isascii() and which.isdecimal():
        index = int(which)
        _require_index(index, reader)
    else:
        index = _index_of(which, reader)
    entry, proof = reader.prove(index)
    assert proof.holds_for(entry)
    return proof


def _require_index(index: int, reader: LogReader) -> None:
    if index >= reader.size:
        raise ConfigError(
            f"there is no entry {index}: the log has {reader.size}", hint="the first one has the index 0"
        )


def _index_of(which: str, reader: LogReader) -> int:
    """The newest entry with a digest. Reads bundles from the newest on, and believes none: the proof decides."""
    try:
        hex_of(which)
    except ValueError:
        raise ConfigError(
            f"{printable(which)} is neither an index nor a digest", hint="write 17, or sha256: and 64 digits"
        ) from None
    for number in reversed(range(-(-reader.size // WIDTH))):
        entries = reader.bundle(number)
        for at in reversed(range(len(entries))):
            if sha256(entries[at]) == which:
                return number * WIDTH + at
    raise ConfigError(f"no entry of the log has the digest {which}", hint="`databom log show` lists them")
