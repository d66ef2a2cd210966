"""Where a run starts: the project around it and its pins, read with nothing but the standard library.

This is asked at every run start and at every `import mlflow`, in every environment databom is installed in. So it
imports nothing of ours, costs a few stat calls where there is no project, and reads the two files again only when
they have changed. `databom.tasks.project` reads the same files strictly; what is said here decides nothing but
whether there is something to record.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from databom._forks import ForkLock
from databom.mlflow import warn

MAX_LOCK_BYTES = 16 * 1024 * 1024
MAX_CONFIG_BYTES = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}\Z")
_AUTO = ("full", "tags", "off")


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A project with pins, as its two files stood at a run's start."""

    root: str
    pins: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """The lock's pins as JSON, by name, sorted. Empty when `problem` is set."""
    auto: str = "full"
    mode: str = "observe"
    problem: str | None = None
    """Why the pins cannot be read, in words without secrets."""


_Stamp = tuple[tuple[int, int, int, int], ...]
_known: dict[str, tuple[_Stamp, Place | None]] = {}
_lock = ForkLock()


def find(environ: Mapping[str, str] = os.environ) -> Place | None:
    """The project a run that starts now belongs to, or None where there is none or it has no pins.

    `DATABOM_PROJECT`, else the nearest parent of the working directory with a `databom.toml`; on POSIX both files
    must belong to the user or to root, since a project somebody else left in a shared parent decides nothing.
    """
    named = environ.get("DATABOM_PROJECT")
    if named:
        root = os.path.abspath(named)  # noqa: PTH100  # text in, text out: pathlib would cost the budget of this call
        config = _status(f"{root}/databom.toml")
        if config is None:
            warn.once(f"DATABOM_PROJECT={named}: there is no databom.toml in it, so runs carry no evidence")
            return None
    else:
        found = _nearest()
        if found is None:
            return None
        root, config = found
    lock = _status(f"{root}/databom.lock")
    if lock is None:
        return None
    for name, status in (("databom.toml", config), ("databom.lock", lock)):
        if hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0):
            warn.once(f"{root}/{name} belongs to another user and is not followed: runs carry no evidence")
            return None
    stamp = tuple((s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in (config, lock))
    with _lock:
        known = _known.get(root)
    if known is None or known[0] != stamp:
        known = (stamp, _read(root))
        with _lock:
            _known[root] = known
    return known[1]


def _nearest() -> tuple[str, os.stat_result] | None:
    try:
        folder = os.getcwd()  # noqa: PTH109
    except OSError:  # the working directory is gone
        return None
    while True:
        status = _status(f"{folder}/databom.toml")
        if status is not None:
            return folder, status
        parent = os.path.dirname(folder)  # noqa: PTH120
        if parent == folder:
            return None
        folder = parent


def _status(path: str) -> os.stat_result | None:
    """The status of a regular file; a FIFO in its place must not make `import mlflow` wait."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _read(root: str) -> Place | None:
    import json  # here and below: outside a project neither is needed

    auto, mode = _settings(root)
    try:
        value = json.loads(_bytes(f"{root}/databom.lock", MAX_LOCK_BYTES))
        pins = {name: dict(value["pins"][name]) for name in sorted(value["pins"]) if _NAME.match(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        problem = f"{root}/databom.lock cannot be read"
        warn.once(f"{problem}: runs carry no evidence, and their verdict is fail")
        return Place(root, auto=auto, mode=mode, problem=problem)
    return Place(root, pins, auto, mode) if pins else None


def _settings(root: str) -> tuple[str, str]:
    """`[mlflow] auto` and `mode`. A mode that is neither word enforces: the gate then says what is wrong with it.

    So does a file that cannot be read as a whole and has a line that enforces: a typo elsewhere opens no gate.
    """
    import re
    import tomllib

    raw = b""
    try:
        raw = _bytes(f"{root}/databom.toml", MAX_CONFIG_BYTES)
        table = tomllib.loads(raw.decode()).get("mlflow", {})
        auto, mode = table.get("auto", "full"), table.get("mode", "observe")
    except (OSError, ValueError, AttributeError, RecursionError):
        return "full", "enforce" if re.search(
            rb"^[ \t]*mode[ \t]*=[ \t]*[\"']enforce", raw, re.MULTILINE
        ) else "observe"
    return auto if auto in _AUTO else "full", "observe" if mode == "observe" else "enforce"


def _bytes(path: str, limit: int) -> bytes:
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError("too long")
    return data
