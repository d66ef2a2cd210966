"""The project's log, as far as receipts need it: one entry in, its proof out."""

from __future__ import annotations

from pathlib import Path

from databom.errors import DatabomError, MissingError, StorageError
from databom.log.reading import LogReader
from databom.model import times
from databom.storage.shelf import open_shelf
from databom.tasks.logs import ProjectLog
from databom.tasks.project import Project
from databom.tasks.receipts import Ledger
from databom.tasks.remembering import remember_entries


def ledger_of(root: Path) -> Ledger:
    """The log of the project at `root`; nothing is opened before there is an entry."""

    def add(entry: bytes, may_be_there: bool) -> bytes:
        try:
            return _add(Project.load(root), entry, may_be_there=may_be_there)
        except DatabomError:
            raise
        except Exception as error:
            # A log's own error in a log's own file is for the log to say; a receipt only waits.
            raise StorageError(f"the log could not take the receipt ({type(error).__name__})") from error

    return add


def _add(place: Project, entry: bytes, *, may_be_there: bool) -> bytes:
    index = None
    log = ProjectLog.of(place)
    if may_be_there and (reader := _reader(log)) is not None:
        index = reader.find(entry)
    if index is None:
        index = remember_entries(place, [entry]).indexes[0]
    reader = _reader(log)
    if reader is None:
        raise StorageError(f"there is no log at {log.location.shown} any more", where=log.location.shown)
    return bytes(reader.prove(index)[1])


def _reader(log: ProjectLog) -> LogReader | None:
    try:
        return LogReader.open(open_shelf(log.location), log.speakers, log.origin, now=times.now())
    except MissingError:
        return None
