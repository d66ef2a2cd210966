"""Writing into the log: the only way an event becomes one.

    remember(place, Pinned(name="pets", release="hn-pets@1", …))

On return the event is durable, the published checkpoint covers it, and that checkpoint is kept twice: in this clone
(`.databom/checkpoints/`) and for git (`provenance/checkpoint`). The next writer refuses a log that does not begin with
what was kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from databom.errors import ConfigError
from databom.log.appending import Log
from databom.log.checkpoint import Checkpoint, parse_checkpoint
from databom.log.events import Event, format_event
from databom.log.note import parse_note
from databom.log.reading import read_checkpoint
from databom.model import times
from databom.storage import files
from databom.storage.patience import PATIENCE, Patience
from databom.storage.shelf import open_writable_shelf
from databom.tasks.accepted import keep_accepted
from databom.tasks.keyring import key_id
from databom.tasks.logs import ANCHOR, VARIABLE, ProjectLog, key_file, log_key, read_kept
from databom.tasks.project import Project


class Remembered(Struct, frozen=True):
    """Where entries stand in the log, and the checkpoint that covers them."""

    indexes: range
    checkpoint: bytes


def can_remember(place: Project, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this clone is one that writes: it has a key that the trust root in force lets speak for the log.

    A fresh clone has none, and may still verify. A key that is named in `DATABOM_LOG_KEY` is meant to write: where it
    may not, `remember` says so.

    Raises:
        ConfigError: the key's file, or the trust root, cannot be used.
    """
    if environ.get(VARIABLE):
        return True
    path = key_file(place, environ)
    return path is not None and key_id(path) in ProjectLog.of(place).speakers.log


def remember(
    place: Project,
    *events: Event | Mapping[str, Any],
    now: datetime | None = None,
    patience: Patience = PATIENCE,
) -> Remembered:
    """Append events, in this order, in one commit. A mapping is one that has its own `event` and `time`.

    Raises:
        ConfigError: the log has no name, no key here, or is not here; an event is too long.
        InputError: `log.corrupt`, `.rolled-back`, `.forked` or a `signature.` code: the log is not one to be continued.
        StorageError: it could not be written. The events may be in the log or not.
    """
    when = times.or_now(now)
    return remember_entries(
        place, [one.entry(when) if isinstance(one, Event) else format_event(one) for one in events], patience
    )


def remember_entries(place: Project, entries: Sequence[bytes], patience: Patience = PATIENCE) -> Remembered:
    """Append entries as they are: a receipt's envelope is one.

    Raises:
        DatabomError: as `remember`.
    """
    log = ProjectLog.of(place)
    anchors = log.anchors(times.now())
    shelf = open_writable_shelf(log.location, patience)
    if ANCHOR in anchors and len(anchors) == 1 and read_checkpoint(shelf) is None:
        raise ConfigError(
            f"git knows a log called {log.origin}, and at {log.location.shown} there is none",
            hint="share one log (set [log] location to s3:// or r2://), or give this clone's an origin of its own",
        )
    if log.location.is_local:
        place.state()  # private, before a log in it is made
    writer = Log(shelf, log.origin, [log_key(place)], log.speakers, list(anchors.values()))
    indexes = writer.append(entries)
    assert writer.checkpoint is not None
    keep(log, writer.checkpoint)
    keep_accepted(place)
    return Remembered(indexes, writer.checkpoint)


def keep(log: ProjectLog, raw: bytes) -> None:
    """Keep a checkpoint that was believed, in this clone and for git, where it is larger than what is kept.

    Raises:
        StorageError: it cannot be written.
    """
    place = log.place
    folder = place.state("checkpoints")
    # A power cut that takes the log in this folder may take its memory; the log's own checkpoint is flushed. Of a log
    # elsewhere the memory has to last. Git has what was committed, and the next event writes the other one again.
    lasting = not (log.location.is_local and log.location.local_path.is_relative_to(place.state_dir))
    stated = parse_checkpoint(parse_note(raw).text)
    with files.exclusive(folder / "lock"):
        for path, mode, durable in ((log.memory, 0o600, lasting), (log.anchor, 0o644, False)):
            found = read_kept(path)
            if found is None or _is_older(found, stated):
                files.write_atomic(path, raw, mode=mode, durable=durable)


def _is_older(found: bytes, stated: Checkpoint) -> bool:
    kept = parse_checkpoint(parse_note(found).text)
    return kept.origin != stated.origin or kept.size < stated.size
