"""`databom incident`: from the moment bytes did not match to the moment somebody says that it is over.

    open --(sync --refetch)--> refetched --(incident close)--> closed
    open --(incident close)--> closed

Closing is people's word about an incident, and needs a reason. It is allowed when nobody depends on the bad bytes any
more: the asset is as signed again (`whole`), or the project no longer pins that release (`moved-on`). Anything else is
accepting a loss (`accepted-loss`), which has to be said. It deletes nothing, and it fetches nothing: an asset that is
not there stays refused by `sync` until `--refetch`.
"""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from databom.checks.integrity import compare, measure_all
from databom.errors import ConfigError, DatabomError, StorageError
from databom.hosts import dvc_state
from databom.model import incidents, times
from databom.model.digest import sha256
from databom.model.manifest import read_manifest
from databom.model.text import printable, unsafe_character
from databom.storage.tree import LocalTree
from databom.tasks import quarantine, telling
from databom.tasks.noting import note
from databom.tasks.project import Project, exclusive_project, find_root
from databom.tasks.quarantine import UNREADABLE, WHOLE, Case
from databom.tasks.receiving import kept

MOVED_ON, ACCEPTED_LOSS = "moved-on", "accepted-loss"
MAX_REASON = 1000
_SHORTEST_ID = 4


def incident_list(name: str | None = None, *, project: Path | str | None = None) -> tuple[Case, ...]:
    """All incidents of a pin, or of the project: those of pins that are gone too. The oldest first.

    Raises:
        ConfigError: no project, or a pin that neither is nor was one.
        StorageError: one may not look.
    """
    place = Project.load(project)
    base = place.quarantine_dir
    known = quarantine.names(base)
    if name is not None and name not in known:
        place.pin(name)
    wanted = known if name is None else [name]
    found = [case for one in wanted for case in quarantine.cases(base, one)]
    return tuple(sorted(found, key=lambda case: (case.happened_at, case.name, case.folder.name)))


def incident_show(wanted: str, *, project: Path | str | None = None) -> Case:
    """The incident with this id, or whose id alone begins with it.

    Raises:
        ConfigError: no project, no such incident, or several.
        StorageError: one may not look.
    """
    found = [case for case in incident_list(project=project) if case.id == wanted]
    if not found and len(wanted) >= _SHORTEST_ID:
        found = [case for case in incident_list(project=project) if case.id.startswith(wanted)]
    if not found:
        short = len(wanted) < _SHORTEST_ID
        raise ConfigError(
            f"no incident is called {printable(wanted)!r}",
            hint=f"an id may be cut to {_SHORTEST_ID} digits, not further"
            if short
            else "`databom incident list --all` shows all there are",
        )
    if len(found) > 1:
        ids = ", ".join(f"{case.id} ({case.name})" for case in found)
        raise ConfigError(f"{printable(wanted)!r} is the beginning of several ids: {ids}")
    return found[0]


def incident_close(
    wanted: str,
    *,
    reason: str,
    by: str | None = None,
    accept_loss: bool = False,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> Case:
    """Close an incident. Its bytes and its record stay, and the team is told.

    Args:
        wanted: the incident's id, or the beginning of it.
        reason: how it came about, or why nothing more is done.
        by: who says so; by default the name of the account.
        accept_loss: close it although the pinned asset is not as signed.
        project: the project's folder; by default the one around the working directory.
        now: the time of closing.

    Raises:
        ConfigError: no such incident, one that is closed already, no reason, or the asset is not as signed and
            nobody accepts that.
        StorageError: the record cannot be written, or nobody can tell whether the asset is as signed.
    """
    now = times.or_now(now)
    reason, by = _said("--reason", reason), _said("--by", by) if by is not None else _account()
    folder = Path(project).absolute() if project is not None else find_root()
    with announcing(folder, incidents.CLOSED) as closed, exclusive_project(folder):
        case = incident_show(wanted, project=folder)
        if case.closed_at is not None:
            raise ConfigError(
                f"the incident {case.id} was closed on {case.closed_at}",
                hint=f"`databom incident show {case.id}` says by whom, and why",
            )
        if case.manifest == UNREADABLE and case.refetched_at is None:
            raise ConfigError(
                f"the record of the incident {case.id} cannot be read, so nobody knows what it is about",
                hint=f"look at {case.folder}; `databom sync {case.name} --refetch` writes it anew",
            )
        place = Project.load(folder)
        resolution = _resolution(place, case) or (ACCEPTED_LOSS if accept_loss else None)
        if resolution is None:
            raise ConfigError(
                f"{case.path} of {case.name} is not as signed yet, so the incident {case.id} is not over",
                hint=f"`databom sync {case.name} --refetch` fetches it again; --accept-loss closes it as it is",
            )
        case = quarantine.change(
            case, closed_at=times.format(now), closed_by=by, reason=reason, resolution=resolution
        )
        closed.append(case)
    return case


def record_of(case: Case) -> dict[str, Any]:
    """An incident as a document: its record, its id, its state, and where its bytes are."""
    return {"incident": case.id, "state": case.state, **case.record(), "folder": case.place}


@contextlib.contextmanager
def announcing(root: Path, kind: str = incidents.OPENED) -> Iterator[list[Case]]:
    """A block that puts the incidents it opens (or closes) on a list; afterwards the team is told, once a pin.

    An error of the block does not keep it from being told; whoever presses Ctrl-C does. This is the one place that all
    events of incidents pass, and the log hears of them first.
    """
    happened: list[Case] = []
    try:
        yield happened
    except Exception:
        _announce(root, kind, happened)
        raise
    _announce(root, kind, happened)


def _announce(root: Path, kind: str, happened: list[Case]) -> None:
    note(root, *(incidents.event(kind, record_of(case)) for case in happened if case.manifest != UNREADABLE))
    for _, group in groupby(happened, key=lambda case: case.name):
        records = [record_of(case) for case in group]
        telling.tell(incidents.notice(kind, records, project=root.name, machine=socket.gethostname()))


def _resolution(place: Project, case: Case) -> str | None:
    """Why nobody depends on the bad bytes any more; None where somebody does.

    Raises:
        StorageError: the kept manifest, or the asset, cannot be read.
    """
    if case.manifest == UNREADABLE:
        return None
    pin = place.lock.pins.get(case.name)
    if pin is None or pin.manifest != case.manifest:
        return MOVED_ON
    received = kept(place, case.name)
    if received is None or sha256(received.manifest) != pin.manifest:
        raise StorageError(
            f"the kept manifest of {case.name} is not the pinned one, so nobody can tell what its assets are",
            hint="restore it from git",
        )
    manifest = received.complete(read_manifest(received.manifest))
    assets = tuple(asset for asset in manifest.assets if asset.path == case.path)
    if not assets:
        return MOVED_ON  # a mirror's document: its bytes never came here
    tree = LocalTree(place.data_path(pin), cache_root=dvc_state.cache_root(place.root))
    try:
        tree.check_root()
    except DatabomError:
        return None
    (outcome,) = measure_all(assets, tree)
    return WHOLE if compare(assets[0], outcome) is None else None


def _said(option: str, text: str) -> str:
    text = text.strip()
    bad = unsafe_character(text)
    if not text or len(text) > MAX_REASON or bad is not None:
        raise ConfigError(f"{option} must be one line of 1 to {MAX_REASON:,} printable characters")
    return text


def _account() -> str | None:
    """The account's name; None where the machine knows none."""
    try:
        return printable(getpass.getuser())
    except (OSError, KeyError):
        return None
