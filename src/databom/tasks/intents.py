"""The beginning of a run, written down before anything else is: what was begun and not closed is found again.

A file of its own because it is asked for while a training starts: it needs no key, no document and no package that
takes long to import.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from databom.errors import StorageError
from databom.model import times
from databom.storage import files, living
from databom.storage.machine import machine

VERSION = 1
PIN_MEMBERS = ("release", "manifest", "tree", "license", "payment")
"""What is written down of a pin."""


class Intent(NamedTuple):
    """A run that has begun."""

    id: str
    run: str
    """Its invocation: `mlflow:<run id>` or `databom:<id>`."""
    started: str
    tracking: str | None = None
    """Where it is tracked, without user, password and query."""


def folder(root: Path) -> Path:
    """Where a project's receipts are."""
    return root / ".databom" / "receipts"


def own_folder(root: Path, *parts: str) -> Path:
    """A folder of ours, made private if absent."""
    files.make_private_dir(root / ".databom")
    place = folder(root)
    files.make_private_dir(place)
    for part in parts:
        place = place / part
        files.make_private_dir(place)
    return place


RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "HOROVOD_RANK", "SLURM_PROCID", "LOCAL_RANK")
"""Variables by which launchers tell a process its place among its equals; the first that is set counts."""


def is_first_rank(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the one of its kind that writes receipts: rank 0, or the only one."""
    for name in RANKS:
        text = environ.get(name, "")
        if text.isdecimal():
            return int(text) == 0
    return True


def begin(
    root: Path,
    run: str,
    *,
    pins: Mapping[str, Mapping[str, Any]],
    tracking: str | None = None,
) -> Intent:
    """Write down that a run has begun, durably.

    Args:
        root: the project.
        run: its invocation.
        pins: what is known of its data by now, as the lock's JSON has it.
        tracking: where it is tracked, as it may be shown.

    Raises:
        StorageError: it cannot be written.
    """
    place = own_folder(root, "open")
    try:
        owner = living.token(own_folder(root, "owners"))
    except OSError as error:
        raise StorageError(f"no lock can be had in {place.parent}: {error.strerror}") from error
    intent = Intent(f"{time.time_ns():016x}-{secrets.token_hex(4)}", run, times.format(times.now()), tracking)
    value = {
        "version": VERSION,
        "machine": machine(),
        "owner": owner,
        "id": intent.id,
        "run": run,
        "tracking": tracking,
        "started": intent.started,
        "pins": {
            name: {key: pin[key] for key in PIN_MEMBERS if key in pin} for name, pin in sorted(pins.items())
        },
    }
    files.write_atomic(place / f"{intent.id}.json", json.dumps(value).encode(), mode=0o600)
    return intent
