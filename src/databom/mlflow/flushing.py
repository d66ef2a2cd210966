"""What earlier runs are still owed: their receipts signed, logged, and put where the tracking server gets them from.

Asked by the next run, in the background, and by `databom log flush`. Exactly once: a receipt leaves `pending` for the
spool only when the log has it, and the spool only when the server has it; both steps can be taken again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from databom._forks import ForkLock
from databom.errors import PluginError
from databom.mlflow import spool
from databom.mlflow.background import Background

if TYPE_CHECKING:
    from databom.tasks.receipts import Ready, Settled

INTERVAL_SECONDS = 60.0
"""How often a process looks for what earlier ones left."""
_PREFIX = "mlflow:"
_looked: dict[str, float] = {}
_lock = ForkLock()


class Delivered(NamedTuple):
    """What became of the spool."""

    runs: int
    """That got what they were owed."""
    left: int
    """That still wait, for this server or another."""
    servers: tuple[str, ...]
    """For which they wait."""


def settle_soon(root: str, ledgers: Background) -> None:
    """Have `settle` called in the background, unless that was done a moment ago. Never raises."""
    now = time.monotonic()
    with _lock:
        if now < _looked.get(root, float("-inf")) + INTERVAL_SECONDS:
            return
        _looked[root] = now
    with suppress(RuntimeError):  # the interpreter shuts down
        ledgers.submit(lambda: _settle_quietly(root))


def _settle_quietly(root: str) -> None:
    with suppress(Exception):  # the next run tries again
        settle(root, patience=0.0)


def settle(root: str, *, patience: float) -> Settled:
    """Close what dead processes left open, sign and log what waits, and spool what a server is to be given.

    Raises:
        DatabomError: what there is cannot be read or written, or another process is at it.
    """
    from databom.tasks.receipt_ledger import ledger_of
    from databom.tasks.receipts import handed_over
    from databom.tasks.receipts import settle as settle_all

    settled = settle_all(Path(root), ledger_of(Path(root)), patience=patience)
    for ready in settled.ready:
        if ready.is_logged and ready.tracking is not None and spool.add(root, _parcel(ready)):
            handed_over(Path(root), ready.id)
    return settled


def _parcel(ready: Ready) -> spool.Parcel:
    from databom.tasks.evidence import FOLDER

    return spool.Parcel(
        run_id=ready.run.removeprefix(_PREFIX),
        tracking=ready.tracking or "",
        tags=dict(ready.tags),
        files={f"{FOLDER}/{name}": data for name, data in ready.files.items()} if ready.attach else {},
        models=ready.models if ready.attach else (),
        was_killed=ready.was_killed,
    )


def waiting(root: str, runs: int = 0) -> Delivered:
    """What is spooled and waits."""
    left = [parcel for path in spool.entries(root) if (parcel := spool.read(path)) is not None]
    return Delivered(runs, len(left), tuple(sorted({one.tracking for one in left})))


def deliver_all(root: str) -> Delivered:
    """Deliver what is spooled for the tracking server that is configured now.

    Raises:
        PluginError: something is, and MLflow is not installed here.
    """
    if not spool.entries(root):
        return Delivered(0, 0, ())
    from databom.hosts.tracking import Tracking, default_client, shown_uri

    try:
        tracking = Tracking(default_client())
    except ImportError as error:
        raise PluginError(
            "what waits for a tracking server is delivered by MLflow, which is not installed here",
            hint="pip install 'databom[mlflow]'",
        ) from error
    runs = spool.drain(root, tracking, shown_uri(tracking.uri), go_on=lambda: True)
    return waiting(root, runs)
