"""Every run and every release that a project knows of: from its log, its receipts, its lock, and what still waits.

A run counts by each of its receipts that is believed: one that was resumed has several, and what any of them says was
used was used. What has no signature yet (a run that goes on, an ending that waits for its key or its log) is known as
well, and no more than declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from databom.errors import InputError
from databom.log.events import Entry, read_entry
from databom.model.affected import PRESENT, Untold
from databom.model.digest import is_digest, sha256
from databom.model.explanation import DECLARED, VERIFIED, Strength
from databom.model.text import printable
from databom.model.trainings import DEPENDENCIES_FILE, RECEIPT_FILE, SUBJECTS_FILE
from databom.tasks import receipts
from databom.tasks.finding_receipts import Found, Search, invocation, notes_of, stated_run, whole
from databom.tasks.intents import folder
from databom.tasks.progress import Progress
from databom.tasks.project import read_optional
from databom.tasks.surroundings import raw_pins
from databom.trust.dsse import MAX_ENVELOPE_BYTES

_DATASET = "dataset:"
_NEEDLES = (b'"pinned"', b'"paid"')
BEGUN = "begun"
"""The status of a run that is not closed."""


class Used(Struct, frozen=True):
    """A release, as a run names it."""

    name: str
    release: str
    manifest: str | None
    """Its digest, None where the run does not say it."""
    use: str


class Known(Struct, frozen=True):
    """One ending of a run, or its beginning."""

    run: str
    releases: tuple[Used, ...]
    outputs: tuple[Mapping[str, Any], ...]
    """Descriptors of what it made, its own record left out."""
    status: str
    ended: str | None
    receipt: str | None
    index: int | None
    strength: Strength
    where: str


class Release(Struct, frozen=True):
    """A release that a pin, a run or the log names."""

    release: str
    manifest: str
    names: frozenset[str]
    pinned: bool


@dataclass(slots=True)
class History:
    """All of it, as it was read."""

    runs: list[Known] = field(default_factory=list)
    releases: dict[str, Release] = field(default_factory=dict)
    """By the digest of the manifest."""
    paid: dict[tuple[str, str], Entry] = field(default_factory=dict)
    """Receipts that the log says were attached: by the manifest and the digest of the evidence."""
    untold: list[Untold] = field(default_factory=list)
    """Runs that cannot be looked at."""
    absent: tuple[Untold, ...] = ()
    """The log, where it is not here."""

    def note(self, name: str, release: str, manifest: str, *, pinned: bool = False) -> None:
        """Know of a release; the first who names it says what it is called. What is no digest names none."""
        if not is_digest(manifest):
            return
        known = self.releases.get(manifest, Release(release, manifest, frozenset(), pinned=False))
        self.releases[manifest] = Release(
            known.release, manifest, known.names | {name}, known.pinned or pinned
        )

    def add(self, known: Known) -> None:
        """Know of a run, and of the releases that it names."""
        self.runs.append(known)
        for one in known.releases:
            if one.manifest is not None:
                self.note(one.name, one.release, one.manifest)


def read_history(search: Search, *, expired: bool, progress: Progress) -> History:
    """Read all that a project knows.

    Args:
        search: over the project's log, for no run in particular.
        expired: whether the trust root has: then nothing that is signed is more than declared.
        progress: told how many entries of the log were read.

    Raises:
        StorageError: the log is there, and cannot be read or believed.
    """
    history = History()
    place = search.place
    for name, pin in sorted(place.lock.pins.items()):
        history.note(name, pin.release, pin.manifest, pinned=True)
    for found in _receipts(search, history, progress):
        history.add(_known(found, expired, history))
    for statement, files in receipts.waiting(place.root, owned=True):
        history.add(_waiting(statement, files, history))
    for value in receipts.begun(place.root):
        used = tuple(_used(raw_pins(value["pins"])))
        where = f"begun here at {printable(value['started'])}, and not closed"
        history.add(Known(printable(value["run"]), used, (), BEGUN, None, None, None, DECLARED, where))
    for path in receipts.unreadable(place.root):
        where = printable(path.relative_to(place.root).as_posix(), 300)
        told = "the record of a run that has no receipt yet cannot be read: what it used is not known"
        history.untold.append(Untold(where, told, "look at the file, and remove it if nobody needs that run"))
    history.untold += _refused(search)
    history.absent = _absent(search)
    return history


def _receipts(search: Search, history: History, progress: Progress) -> Iterator[Found]:
    """The receipts that are believed: of the log in its order, then what this clone keeps and the log has not."""
    seen = set()
    size = search.reader.size if search.reader is not None else 0
    progress.start("log", assets=size, size=None)
    try:
        for index, raw in search.entries():
            if b'"payloadType"' in raw:
                seen.add(sha256(raw))
                if (found := search.believed(index, raw)) is not None:
                    yield found
            elif any(needle in raw for needle in _NEEDLES):
                _note(history, index, raw)
            progress.update(index + 1, 0)
    finally:
        progress.stop()
    for path in sorted((folder(search.place.root) / "runs").glob(f"*/*/{RECEIPT_FILE}")):
        where = path.relative_to(search.place.root).as_posix()
        try:
            raw = read_optional(path, MAX_ENVELOPE_BYTES) or b""
        except InputError:  # too long to be one
            raw = b""
        if sha256(raw) in seen:
            continue
        if (run := stated_run(0, raw)) is None:
            search.refused.append(f"{where}: it is no receipt of a run")
        elif (found := search.hinted(where, run, receipts.documents_beside(path))) is not None:
            yield found


def _note(history: History, index: int, raw: bytes) -> None:
    """Know of what an event says: a release that was pinned, a receipt that was attached."""
    entry = read_entry(index, raw)
    said = entry.document if isinstance(entry.document, dict) else {}
    name, release, manifest = (str(said.get(key)) for key in ("name", "release", "manifest"))
    if entry.kind in ("pinned", "paid"):
        history.note(name, release, manifest)
    if entry.kind == "paid":
        history.paid[manifest, str(said.get("evidence"))] = entry


def _known(found: Found, expired: bool, history: History) -> Known:
    statement = found.receipt.statement
    is_good = found.is_vouched and not found.receipt.findings and not expired
    strength: Strength = VERIFIED if is_good else DECLARED
    where = f"receipt {found.receipt.digest[:19]}…, {found.where}"
    return _stated(
        statement, found.beside, found.receipt.digest, found.index, strength, where, history.untold
    )


def _waiting(statement: Mapping[str, Any], files: Mapping[str, bytes], history: History) -> Known:
    where = "waits in this clone for its signature or its log: databom log flush"
    return _stated(statement, files, None, None, DECLARED, where, history.untold)


def _stated(
    statement: Mapping[str, Any],
    beside: Mapping[str, bytes],
    receipt: str | None,
    index: int | None,
    strength: Strength,
    where: str,
    untold: list[Untold],
) -> Known:
    """What a statement that has the shape of a receipt says of its run."""
    definition, details = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    run = printable(invocation(statement) or "")
    subjects = whole(statement["subject"], SUBJECTS_FILE, beside)
    dependencies = whole(definition["resolvedDependencies"], DEPENDENCIES_FILE, beside)
    for what, items, name in (
        ("what it made", subjects, SUBJECTS_FILE),
        ("its releases", dependencies, DEPENDENCIES_FILE),
    ):
        if any("moved" in notes_of(one) for one in items):
            told = f"the list of {what} was moved out of its receipt, and is not here"
            untold.append(Untold(run, told, f"put the run's artifact databom/{name} back beside its receipt"))
    return Known(
        run,
        tuple(_used(dependencies)),
        tuple(one for one in subjects if not str(one.get("name")).startswith("run/")),
        printable(str(definition["internalParameters"]["status"])),
        printable(str(details["metadata"].get("finishedOn"))),
        receipt,
        index,
        strength,
        where,
    )


def _used(dependencies: Iterable[Mapping[str, Any]]) -> Iterator[Used]:
    for one in dependencies:
        uri, name, use = str(one.get("uri")), one.get("name"), notes_of(one).get("use")
        if not uri.startswith(_DATASET) or not isinstance(name, str):
            continue
        digests = one.get("digest")
        found = digests.get("sha256") if isinstance(digests, dict) else None
        yield Used(
            printable(name),
            printable(uri.removeprefix(_DATASET)),
            f"sha256:{found}" if isinstance(found, str) and is_digest(f"sha256:{found}") else None,
            use if isinstance(use, str) else PRESENT,
        )


def _absent(search: Search) -> tuple[Untold, ...]:
    """The log, where it is known not to be here."""
    log = search.log
    if search.reader is not None or not log.kept():
        return ()
    told = "the log is not here, though checkpoints of it were kept: what only it says is not known"
    do = 'share one log: [log] location = "r2://…"; or ask in its clone'
    return (Untold(log.location.shown, told, do),)


def _refused(search: Search) -> Iterator[Untold]:
    for one in search.refused:
        told = "a receipt that is not believed: what its run used is not known"
        yield Untold(printable(one, 300), told, "databom log verify, or ask whoever keeps the trust root")
