"""What a run made, by digest: files and folders, hashed where they are, before they go anywhere.

A file is a subject with its SHA-256. A model (a folder with an `MLmodel`, or one that was given as a whole) is a
subject too, with the `dirHash1` over its files, how many they are, and the digest of its weights, which is the same for
the same weights however they were packed (`databom.checks.weights`).

Names that are the same in two listings are one subject: the later bytes are what the run left behind.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from databom.errors import DatabomError
from databom.model.digest import hex_of, tree_digest

if TYPE_CHECKING:
    from databom.bom.receipt import Descriptor
    from databom.checks.weights import Weights

MODEL_FILE = "MLmodel"
UNSTABLE = "registered_model_meta"
"""MLflow writes this file into the stored folder when a model is loaded, so it is in no digest."""
OURS = "databom"
"""Our own folder in a run's or a model's artifacts: no output of the training."""


class Made(NamedTuple):
    """One file: its name below what was logged, its SHA-256 in hex."""

    path: str
    sha256: str


def hash_files(place: Path) -> list[Made]:
    """A file by its own name, or every regular file under a folder; links to folders are not entered.

    Raises:
        OSError: one of them cannot be read.
    """
    if not place.is_dir():
        return [Made(place.name, _hashed(place))]
    found = []
    for folder, folders, names in os.walk(place):
        below = Path(folder).relative_to(place)
        if folder == os.fspath(place) and OURS in folders:
            folders.remove(OURS)
        for name in names:
            path = Path(folder, name)
            if name != UNSTABLE and path.is_file():
                found.append(Made((below / name).as_posix(), _hashed(path)))
    return sorted(found)


def _hashed(path: Path) -> str:
    """As a FIFO that took the place of a file would make its reader wait, nothing is opened that could."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path.name} is no file")
        return hashlib.file_digest(file, "sha256").hexdigest()


def subjects(prefix: str, place: Path, *, is_model: bool | None = None) -> list[Descriptor]:
    """What lies at `place` as subjects whose names begin with `prefix`; the folder itself too where it is a model.

    Args:
        prefix: what the names begin with, "" for nothing.
        place: a file or a folder.
        is_model: whether it is one thing, with weights; by default a folder that holds an `MLmodel` is.

    Raises:
        OSError: something cannot be read.
    """
    from databom.bom.receipt import descriptor

    made = hash_files(place)
    start = f"{prefix}/" if prefix else ""
    found = [descriptor(_name(f"{start}{one.path}"), {"sha256": one.sha256}) for one in made]
    if place.is_dir() and (is_model or (is_model is None and any(one.path == MODEL_FILE for one in made))):
        tree = hex_of(tree_digest((_name(one.path), one.sha256) for one in made))
        told = _weights(place)
        notes = {"files": len(made), "weights": told.digest if told is not None else None}
        found.append(
            descriptor(_name(prefix or place.name), {"sha256": tree, "dirHash1": tree}, annotations=notes)
        )
    elif is_model and (told := _weights(place)) is not None and told.hex != made[0].sha256:
        found[0]["annotations"] = {"weights": told.digest}
    return found


def _weights(place: Path) -> Weights | None:
    """The weights digest of a file or folder; None where nobody could tell it."""
    from databom.checks.weights import weights_of

    try:
        return weights_of(place)
    except DatabomError:
        return None


def _name(path: str) -> str:
    """A name that has a UTF-8 form and stays on its line."""
    return path.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")
