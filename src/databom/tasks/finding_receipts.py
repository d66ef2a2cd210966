"""The receipt of a run: from the project's log, newest first, and only where that has none from elsewhere.

What the log has was put there by whoever holds its key, and its order cannot be changed. A copy in this clone, or the
artifact that a tracking server hands out, is only a hint: it counts as a receipt where the keys of the role `receipt`
signed it, and as one that was logged where the proof beside it holds under a checkpoint of the log's own keys, which
the log here continues.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from databom.checks.receipt import Receipt, check_receipt, moved_lists
from databom.errors import InputError, MissingError, PluginError, StorageError
from databom.hosts.git import Commit, commit_at
from databom.log.checkpoint import Speakers, open_checkpoint
from databom.log.events import Entry, read_entry
from databom.log.reading import LogReader
from databom.log.tiles import WIDTH
from databom.log.tlogproof import MAX_PROOF_BYTES, parse_proof
from databom.model import times
from databom.model.digest import hex_of, sha256
from databom.model.text import printable
from databom.model.trainings import DEPENDENCIES_FILE, PROOF_FILE, RECEIPT_FILE, SUBJECTS_FILE
from databom.storage.shelf import open_shelf
from databom.tasks import receipts
from databom.tasks.logs import ProjectLog
from databom.tasks.project import Project
from databom.tasks.recollecting import TakenBack, taken_back
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.root import TrustRoot

MAX_LIST_BYTES = 64 * 1024 * 1024
"""Of a list that was moved out of a receipt."""


class Found(Struct, frozen=True):
    """A receipt whose signature holds, and where it was found."""

    receipt: Receipt
    run: str
    where: str
    index: int | None = None
    """In the log here."""
    proved: str | None = None
    """What shows that it is or was in the log; None where nothing does."""
    is_vouched: bool = False
    """Whether a key that is no development key says so."""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    """Documents that were kept with it, by name. The lists among them are the ones that it names; nobody vouches for
    the others."""
    refused: tuple[str, ...] = ()
    """Newer ones, or ones elsewhere, that are not believed, and why."""


class Search:
    """Looks for one run's receipt.

    Args:
        place: the project.
        root: who is believed.
        runs: what the run may be called.
        now: the time to judge by.

    Raises:
        ConfigError: the log has no name.
        StorageError: the log is there and cannot be read, or is not one to be believed.
    """

    def __init__(self, place: Project, root: TrustRoot, runs: Collection[str], now: datetime) -> None:
        self.place, self._root, self._now = place, root, now
        self.runs = tuple(runs)
        self.log = ProjectLog.of(place, Speakers.of(root))
        self.refused: list[str] = []
        try:
            known = self.log.anchors(now).values()
            shelf = open_shelf(self.log.location)
            self.reader: LogReader | None = LogReader.open(
                shelf, self.log.speakers, self.log.origin, now=now, known=tuple(known)
            )
            if any(not self.reader.begins_with(one) for one in known):
                raise _not_believed("it does not continue a checkpoint that was kept")
        except MissingError:
            self.reader = None
        except InputError as error:
            raise _not_believed(str(error)) from None

    # --- receipts -----------------------------------------------------------------------------

    def here(self) -> Found | None:
        """The newest one in the log that is believed; else the newest of this clone."""
        return self._logged() or self._kept()

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Every entry of the log here, oldest first, each proved; none where there is no log.

        Raises:
            StorageError: the log cannot be read, or is not one to be believed.
        """
        if self.reader is None:
            return
        try:
            yield from self.reader.entries(0, self.reader.size)
        except InputError as error:
            raise _not_believed(str(error)) from None

    def believed(self, index: int, raw: bytes) -> Found | None:
        """The receipt in a proved entry; None where it is none, or is not believed, which `refused` then says."""
        receipt = check_receipt(raw, self._root)
        run = invocation(receipt.statement)
        if run is None or not receipt.is_believed:
            if stated_run(index, raw) is not None:
                self._refuse(f"log entry {index}", receipt)
            return None
        beside = self._beside(run, raw) if moved_lists(receipt.statement) else {}
        return self._in_log(receipt, run, beside, index)

    def _in_log(self, receipt: Receipt, run: str, beside: Mapping[str, bytes], index: int) -> Found:
        assert self.reader is not None
        where, vouched = f"log entry {index}", not self.reader.opened.is_development
        return self._found(receipt, run, where, beside, index, (where, vouched))

    def _logged(self) -> Found | None:
        for index, raw in self.backwards((b'"payloadType"',)):
            if (run := self._run_of(index, raw)) is None:
                continue
            receipt, where = check_receipt(raw, self._root), f"log entry {index}"
            if receipt.is_believed:
                self._require(index, raw)
                return self._in_log(receipt, run, self._beside(run, raw), index)
            self._refuse(where, receipt)
        return None

    def _run_of(self, index: int, raw: bytes) -> str | None:
        """Which of the runs asked about a receipt says that it is of, before anybody believes it."""
        run = stated_run(index, raw)
        return run if run in self.runs else None

    def _kept(self) -> Found | None:
        for run in self.runs:
            for path in reversed(receipts.kept(self.place.root, run)):
                where = path.relative_to(self.place.root).as_posix()
                beside = receipts.documents_beside(path)
                if (found := self.hinted(where, run, beside)) is not None:
                    return found
        return None

    def hinted(self, where: str, run: str, documents: Mapping[str, bytes]) -> Found | None:
        """A receipt that somebody handed out, with its proof, where it holds and is of this run."""
        raw = documents.get(RECEIPT_FILE)
        if raw is None:
            return None
        receipt = check_receipt(raw, self._root)
        if not receipt.is_believed:
            self._refuse(where, receipt)
            return None
        if stated_run(0, raw) != run:
            self.refused.append(f"{where}: it is the receipt of another run")
            return None
        return self._found(receipt, run, where, documents, None, self._proved(where, raw, documents))

    def _found(
        self,
        receipt: Receipt,
        run: str,
        where: str,
        beside: Mapping[str, bytes],
        index: int | None,
        proved: tuple[str, bool] | None,
    ) -> Found:
        named = moved_lists(receipt.statement)
        others = [name for name in named if name in beside and named[name] != hex_of(sha256(beside[name]))]
        self.refused += [f"{name} beside {where} is not the one that it names" for name in others]
        kept = {name: data for name, data in beside.items() if name not in others}
        shown, vouched = proved or (None, False)
        return Found(receipt, run, where, index, shown, vouched, kept, tuple(self.refused))

    def _beside(self, run: str, raw: bytes) -> Mapping[str, bytes]:
        for path in receipts.kept(self.place.root, run):
            documents = receipts.documents_beside(path)
            if documents.get(RECEIPT_FILE) == raw:
                return documents
        return {}

    def _proved(self, where: str, raw: bytes, documents: Mapping[str, bytes]) -> tuple[str, bool] | None:
        """What the proof beside a receipt shows, and whether by a key that is no development key."""
        data = documents.get(PROOF_FILE)
        if data is None:
            return None
        try:
            proof = parse_proof(data)
            opened = open_checkpoint(
                proof.checkpoint, self.log.speakers, self.log.origin, now=self._now, ever=True
            )
            if proof.holds_for(raw):
                size = opened.checkpoint.size
                shown = f"{PROOF_FILE} beside it: entry {proof.index} of a log of {size:,}"
                if self.reader is None or self.reader.begins_with(opened.checkpoint):
                    return shown, not opened.is_development
                if size > self.reader.size:
                    return f"{shown}; the one here has {self.reader.size:,}", not opened.is_development
                self.refused.append(
                    f"the proof beside {where}: it is of another history than the log here has"
                )
        except InputError as error:
            self.refused.append(f"the proof beside {where}: {printable(str(error))}")
        return None

    def _refuse(self, where: str, receipt: Receipt) -> None:
        codes = ", ".join(sorted({one.code for one in receipt.findings}))
        self.refused.append(f"{where}: {codes}")

    # --- events -------------------------------------------------------------------------------

    def events(self, found: Found, pins: Iterable[tuple[str, str]]) -> dict[tuple[str, str, str], Entry]:
        """The newest `pinned` and `verified` before a run ended, however they went, by kind, pin and manifest.

        Before it ended: before its receipt in the log, and by the events' own clock too, since a receipt may wait long
        for its log. One that is not in the log has no place in its order, and nothing is before it.
        """
        if found.index is None:
            return {}
        ended = times.parse(str(found.receipt.statement["predicate"]["runDetails"]["metadata"]["finishedOn"]))
        wanted = {(kind, *pin) for pin in pins for kind in ("pinned", "verified")}
        known: dict[tuple[str, str, str], Entry] = {}
        needles = tuple({manifest.encode() for _, _, manifest in wanted})
        for index, raw in self.backwards(needles, found.index):
            entry = read_entry(index, raw)
            said = entry.document if isinstance(entry.document, dict) else {}
            key = (str(entry.kind), str(said.get("name")), str(said.get("manifest")))
            if key in wanted and key not in known and _is_by(entry.time, ended):
                self._require(index, raw)
                known[key] = entry
                if known.keys() == wanted:
                    break
        return known

    def commit(self, ident: str) -> Commit | None:
        """The commit of this clone with an id; None where it has none."""
        return commit_at(self.place.root, ident)

    def revoked(self, manifest: str) -> Iterator[TakenBack]:
        """The notices that the log says have taken back the release with this manifest."""
        for index, raw in self.backwards((manifest.encode(),)):
            found = taken_back(read_entry(index, raw))
            if found is not None and found.manifest == manifest:
                self._require(index, raw)
                yield found

    def backwards(self, needles: tuple[bytes, ...], stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Entries that hold one of some bytes, the newest first. Nobody vouches for them before `_require`."""
        if self.reader is None or not needles:
            return
        end = self.reader.size if stop is None else stop
        try:
            for number in reversed(range(-(-end // WIDTH))):
                entries = self.reader.bundle(number)
                for at in reversed(range(len(entries))):
                    index = number * WIDTH + at
                    if index < end and any(needle in entries[at] for needle in needles):
                        yield index, entries[at]
        except InputError as error:
            raise _not_believed(str(error)) from None

    def _require(self, index: int, raw: bytes) -> None:
        assert self.reader is not None
        try:
            if self.reader.entry(index) == raw:
                return
        except InputError as error:
            raise _not_believed(str(error)) from None
        raise _not_believed(f"entry {index} changed while it was read")


def stated_run(index: int, raw: bytes) -> str | None:
    """Which run an entry says that it is the receipt of; nobody's word yet."""
    return invocation(read_entry(index, raw).document)


def invocation(document: Any) -> str | None:
    """Which run a document says that it is about; None where it says none."""
    try:
        run = document["predicate"]["runDetails"]["metadata"]["invocationId"]
    except (KeyError, TypeError, IndexError):
        return None
    return run if isinstance(run, str) else None


def _not_believed(why: str) -> StorageError:
    return StorageError(
        f"the project's log is not one to be believed: {why}", hint="databom log verify shows what is wrong"
    )


def _is_by(time: str | None, ended: datetime) -> bool:
    try:
        return time is not None and times.parse(time) <= ended
    except ValueError:
        return False


def elsewhere(search: Search, runs: Iterable[str]) -> tuple[Found | None, str]:
    """The receipt that the tracking server hands out, where it holds; else why no receipt was found anywhere."""
    why = ""
    for run in runs:
        scheme, _, ident = run.partition(":")
        if scheme == "mlflow":
            try:
                documents = from_server(ident)
            except PluginError as error:
                why = f"; {error}"
                continue
            if (found := search.hinted("the artifact of the MLflow run", run, documents)) is not None:
                return found, ""
    refused = f"; not believed: {'; '.join(search.refused[:5])}" if search.refused else ""
    where = search.log.location.shown
    log = f"the log at {where} has none" if search.reader is not None else f"there is no log at {where}"
    return None, f"{log}{refused}{why}"


def whole(
    items: Iterable[Mapping[str, Any]], name: str, beside: Mapping[str, bytes]
) -> tuple[Mapping[str, Any], ...]:
    """A list of the receipt, with what was moved out of it where that was kept; its check has compared the digest."""
    every: list[Mapping[str, Any]] = []
    for one in items:
        raw = beside.get(name) if one.get("name") == name and "moved" in notes_of(one) else None
        listed = None
        if raw is not None:
            try:
                listed = msgspec.json.decode(raw)
            except msgspec.DecodeError:
                listed = None
        good = isinstance(listed, list) and all(isinstance(each, dict) for each in listed)
        every += listed if good and isinstance(listed, list) else [one]
    return tuple(every)


def notes_of(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """A descriptor's annotations."""
    found = one.get("annotations")
    return found if isinstance(found, dict) else {}


def from_server(run_id: str) -> dict[str, bytes]:
    """What the tracking server keeps of a run's receipt, as far as it has it. A hint.

    Raises:
        PluginError: MLflow is not installed, or the server does not give the receipt.
    """
    from databom.hosts.tracking import run_artifacts
    from databom.tasks.evidence import FOLDER

    limits = {
        RECEIPT_FILE: MAX_ENVELOPE_BYTES,
        PROOF_FILE: MAX_PROOF_BYTES,
        SUBJECTS_FILE: MAX_LIST_BYTES,
        DEPENDENCIES_FILE: MAX_LIST_BYTES,
    }
    return run_artifacts(run_id, FOLDER, limits)
