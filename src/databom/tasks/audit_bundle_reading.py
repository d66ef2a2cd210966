"""An audit bundle as somebody was given it: its files as its index says, laid out as the project that they came from.

Nothing here believes anything. What an archive holds is put into a folder of its own, with no name that it chose by
itself, so that the code that judges a project judges a bundle; the folder is removed again.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.release import pin_of
from databom.errors import ConfigError, InputError, MissingError, Problem, StorageError
from databom.hosts.git import Commit
from databom.log.checkpoint import Opened, Speakers
from databom.log.reading import LogReader
from databom.model.audit_bundle import (
    CHECKPOINT,
    INDEX,
    LOCK,
    MAX_BYTES,
    MAX_FILES,
    MAX_PATH,
    POLICY,
    RECEIPT,
    Index,
    read_index,
    what_is,
)
from databom.model.config import Config, default_config, parse_config
from databom.model.digest import sha256
from databom.model.finding import Finding, Severity, findings_of
from databom.model.lock import Lock, Pin, parse_lock
from databom.model.manifest import read_manifest
from databom.model.text import printable
from databom.storage import files
from databom.storage.location import parse_location
from databom.storage.storedzip import unpack
from databom.tasks.finding_receipts import Search
from databom.tasks.logs import ProjectLog
from databom.tasks.project import Project
from databom.trust.jcs import canonical
from databom.trust.root import TrustRoot

_AGAIN = "ask for the bundle again, from whoever made it"


class Bundle(Struct, frozen=True):
    """The files of a bundle, each as its index says."""

    digest: str
    """Of the archive."""
    index: Index
    files: Mapping[str, bytes]

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """The entries of the log that are in it, the newest first; nobody vouches for them yet."""
        found = [int(str(one.about)) for one in self.index.files if one.what == "entry"]
        for index in sorted(found, reverse=True):
            yield index, self.files[f"log/{index}.json"]

    def below(self, folder: str) -> dict[str, bytes]:
        """The files of a folder, by their names in it."""
        return {path.removeprefix(folder): raw for path, raw in self.files.items() if path.startswith(folder)}


def open_bundle(path: Path) -> tuple[Bundle | None, list[Finding]]:
    """The bundle in a file; or none, and why it is none.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        raw = files.read_bounded(path, MAX_BYTES, prefix="bundle")
        members = unpack(raw, max_files=MAX_FILES, max_name=MAX_PATH)
        index = _index(members.pop(INDEX, None))
    except InputError as error:
        return None, list(findings_of(error))
    findings = list(_compared(index, members))
    return (None, findings) if findings else (Bundle(sha256(raw), index, members), [])


def _index(stated: bytes | None) -> Index:
    """The index in its one form.

    Raises:
        InputError: it is none.
    """
    what = "the archive has no index: it is no audit bundle"
    if stated is not None:
        index = read_index(stated)
        if canonical(index.to_dict()) == stated:
            return index
        what = "the index is not in its one form (RFC 8785)"
    raise InputError(Problem("bundle.schema", INDEX, what, do=_AGAIN))


def _compared(index: Index, members: Mapping[str, bytes]) -> Iterator[Finding]:
    """Whether the archive holds what its index says, and nothing else."""
    stated = {one.path: one for one in index.files}
    for path in sorted({*members, *stated}):
        shown = printable(path)
        if path not in stated:
            yield changed(shown, "this file is in the archive and not in its index", "no such file", "a file")
        elif path not in members:
            yield changed(
                shown, "the index names this file, and the archive has none", stated[path].sha256, "none"
            )
        elif (found := sha256(members[path])) != stated[path].sha256:
            yield changed(shown, "this file is not the one that the index names", stated[path].sha256, found)
        elif len(members[path]) != stated[path].size:
            size = f"{stated[path].size:,} bytes"
            yield changed(
                shown, "this file is of another size than the index says", size, f"{len(members[path]):,}"
            )
    if RECEIPT not in stated:
        yield changed(RECEIPT, "a bundle is about a receipt, and this one has none", "a receipt", "none")


def changed(subject: str | None, what: str, expected: str, found: str) -> Finding:
    """`bundle.changed`: a bundle is not what its index says."""
    return Finding("bundle.changed", Severity.BLOCK, subject, what, expected, printable(found), _AGAIN)


def mismatch(subject: str | None, what: str, expected: str, found: str) -> Finding:
    """`bundle.mismatch`: a document is not the one that a signed one names."""
    told = (printable(expected, 400), printable(found, 400))
    return Finding("bundle.mismatch", Severity.BLOCK, subject, what, *told, _AGAIN)


def unanswered(subject: str, what: str, expected: str) -> Finding:
    """`bundle.unanswered`: what a question needs is not in the bundle."""
    return Finding("bundle.unanswered", Severity.BLOCK, subject, what, expected, "nothing", _AGAIN)


# --- as a project --------------------------------------------------------------------------------------


@contextlib.contextmanager
def laid_out(bundle: Bundle) -> Iterator[Path]:
    """A private folder with what a project has in `provenance/`, for the length of a block.

    Raises:
        StorageError: it cannot be made, or does not tell two names apart.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="databom-bundle-")
    except OSError as error:
        raise StorageError(f"no temporary folder can be made: {error.strerror}") from error
    with folder as name:
        root = Path(name).resolve()
        files.make_private_dir(root / "provenance")  # whoever may write there would decide who is believed
        for path, raw in bundle.files.items():
            assert what_is(path) is not None  # no other name leads anywhere
            if path.startswith("provenance/"):
                if files.is_taken(root / path):
                    raise StorageError(
                        f"{path} and another file of the bundle have one name on this disk",
                        hint="check it where upper and lower case differ: set TMPDIR to such a disk",
                    )
                files.write_atomic(root / path, raw, mode=0o600, durable=False)
        yield root


def as_project(bundle: Bundle, root: Path) -> tuple[Project, list[Finding]]:
    """The bundle as the project at `root`; and what its policy or its lock is not.

    Each manifest is the pinned one, wherever the project's own pin has moved since.
    """
    findings: list[Finding] = []
    config: Config = default_config()
    lock = Lock()
    try:
        if POLICY in bundle.files:
            config = parse_config(bundle.files[POLICY], where=POLICY)
    except ConfigError as error:
        findings.append(
            mismatch(POLICY, printable(f"this is no policy: {error}", 400), "a policy", "another document")
        )
    try:
        if LOCK in bundle.files:
            lock = parse_lock(bundle.files[LOCK])
    except InputError as error:
        findings += findings_of(error)
    pins = {str(one.about): one.path for one in bundle.index.files if one.what == "manifest"}
    made = {
        name: pin for name, path in pins.items() if (pin := _pin(name, bundle.files[path], lock)) is not None
    }
    # What was seen later than the run ended says nothing about then.
    return Project(root, config, Lock(made)), findings


def _pin(name: str, raw: bytes, lock: Lock) -> Pin | None:
    known = lock.pins.get(name)
    if known is not None and known.manifest == sha256(raw):
        # Where assets were fetched from is nobody's word, and has to decide nothing.
        return replace(known, root=known.source)
    try:
        manifest = read_manifest(raw)
    except InputError:
        return None
    return pin_of(manifest, source="", root="", path="")


# --- its log -------------------------------------------------------------------------------------------


class _Nowhere:
    """A shelf with nothing on it: a bundle has no log, only entries with their proofs."""

    shown = CHECKPOINT

    def read(self, _name: str, /, limit: int) -> bytes | None:  # noqa: ARG002  # as `Shelf`
        return None


class Enclosed(Search):
    """Looks for what the log says among the entries of a bundle, each of which has been proved before."""

    def __init__(  # it opens no log
        self,
        place: Project,
        root: TrustRoot,
        bundle: Bundle,
        opened: Opened | None,
        proved: Mapping[int, bytes],
        now: datetime,
    ) -> None:
        self.place, self._root, self._now = place, root, now
        self.runs, self.refused, self._proved_entries = (bundle.index.run,), [], proved
        location = parse_location("log", base=place.root)
        self.log = ProjectLog(place, location, place.config.log_origin or "", Speakers.of(root))
        self.reader = LogReader(_Nowhere(), opened) if opened is not None else None

    def commit(self, ident: str) -> Commit | None:  # noqa: ARG002  # as `Search`
        """None: a bundle has no history, and a repository around it is nobody's word."""
        return None

    def backwards(self, needles: tuple[bytes, ...], stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """As `Search.backwards`."""
        for index, raw in sorted(self._proved_entries.items(), reverse=True):
            if (stop is None or index < stop) and any(needle in raw for needle in needles):
                yield index, raw

    def _require(self, index: int, raw: bytes) -> None:
        if self._proved_entries.get(index) != raw:
            raise MissingError(f"entry {index} was not proved")
