"""Which pins a run used: evidence too, so each pin says how it is known.

    read       opened through databom in this process
    stage      a dependency of the DVC stage that is running (`DVC_STAGE`)
    input      a dataset the run logged lies under its path
    declared   the code said so: databom.use("name")
    present    none of these: only *possible* use, on which nothing bills, attributes or freezes

The first that holds is recorded. A false claim is worse than a missing one: what cannot be resolved here (a templated
dependency, a dataset without a path) claims nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from databom._forks import ForkLock

if TYPE_CHECKING:
    from databom.tasks.project import Project

KINDS = ("read", "stage", "input", "declared", "present")
"""Strongest first."""
MAX_STAGE_FILE_BYTES = 4 * 1024 * 1024
ANY_PROJECT = ""

_lock = ForkLock()
_read: set[tuple[str, str]] = set()
_declared: set[tuple[str, str]] = set()


class Seen(NamedTuple):
    """What this process has done with pins so far."""

    read: frozenset[str] = frozenset()
    declared: frozenset[str] = frozenset()


def use(*names: str, project: Path | str | None = None) -> None:
    """Declare that this process uses these pins: its MLflow runs say `declared` (or something stronger).

    Args:
        names: pins of the project.
        project: the project's folder; by default the one around the working directory.

    Raises:
        ConfigError: no project, or no pin of that name: a misspelled declaration would be lost evidence.
    """
    from databom.tasks.project import Project

    place = Project.load(project)
    for name in names:
        place.pin(name)
    with _lock:
        _declared.update((os.path.realpath(place.root), name) for name in names)


def opened(name: str, *, project: Path | str | None = None) -> None:
    """Note that an asset of this pin was handed out to this process."""
    root = ANY_PROJECT if project is None else os.path.realpath(project)
    with _lock:
        _read.add((root, name))


def snapshot(root: Path | str) -> Seen:
    """What has been read and declared so far in the project at `root`. Cheap."""
    roots = (ANY_PROJECT, os.path.realpath(root))
    with _lock:
        return Seen(
            frozenset(name for place, name in _read if place in roots),
            frozenset(name for place, name in _declared if place in roots),
        )


def uses(
    project: Project,
    seen: Seen,
    *,
    stage: Iterable[str] = (),
    inputs: Iterable[str] = (),
) -> dict[str, str]:
    """How each pin of the project is known to be used.

    Args:
        project: the project.
        seen: of `snapshot`.
        stage: pins the running stage depends on, of `stage_pins`.
        inputs: where datasets came from that the run logged: paths or URLs; only local ones can lie under a pin.
    """
    logged = _beneath(project, (path for source in inputs if (path := local_path(source)) is not None))
    found = dict.fromkeys(project.lock.pins, "present")
    for kind, names in (
        ("declared", seen.declared),
        ("input", logged),
        ("stage", stage),
        ("read", seen.read),
    ):
        found.update((name, kind) for name in names if name in found)
    return found


def local_path(source: str) -> str | None:
    """The absolute path a dataset's source names, or None where it is not a local file."""
    try:
        parts = urlsplit(source)
    except ValueError:
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        source = unquote(parts.path)
    elif parts.scheme and "://" in source:
        return None
    return os.path.abspath(source) if source and "\0" not in source else None  # noqa: PTH100  # lexical; resolved where it is compared


def stage_pins(project: Project, environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The pins the running DVC stage depends on: a dependency lies under a pin's path, or holds it.

    Empty outside a stage, and where the stage cannot be found: then nothing is claimed.
    """
    for file, dependencies in _running_stage(project.root, environ):
        paths = [os.path.join(file.parent, path) for path in dependencies]  # noqa: PTH118  # absolute ones stay
        return frozenset(_beneath(project, paths, or_above=True))
    return frozenset()


def stage_file(root: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The `dvc.yaml` that has the running DVC stage; None outside a stage, and where it cannot be found."""
    return next((file for file, _ in _running_stage(root, environ)), None)


def _running_stage(root: Path, environ: Mapping[str, str]) -> Iterator[tuple[Path, list[str]]]:
    """Files that have the running stage, with what it depends on there; the nearest first."""
    address = environ.get("DVC_STAGE", "")
    if not address:
        return
    from databom.errors import DatabomError
    from databom.hosts.dvc_yaml import stage_dependencies
    from databom.storage.files import read_bounded

    # DVC says `name`, or `dir/dvc.yaml:name` relative to wherever `dvc` was started.
    where, _, name = address.rpartition(":")
    for file in _stage_files(root, where, environ):
        try:
            yield file, stage_dependencies(read_bounded(file, MAX_STAGE_FILE_BYTES).decode(), name)
        except (DatabomError, UnicodeDecodeError):
            continue


def _stage_files(root: Path, where: str, environ: Mapping[str, str]) -> list[Path]:
    """Where the stage's file may be: nearest first, never above the DVC repository or the project."""
    top = Path(environ["DVC_ROOT"]) if environ.get("DVC_ROOT") else root
    here = Path.cwd()
    if where:
        return [place / where for place in (here, root, top)]
    folders = [folder for folder in (here, *here.parents) if folder.is_relative_to(top)]
    return [folder / "dvc.yaml" for folder in dict.fromkeys((*folders, root, top))]


def _beneath(project: Project, paths: Iterable[str], *, or_above: bool = False) -> set[str]:
    """The pins under whose data a path lies (or, `or_above`, whose data lies under it)."""
    homes = {name: os.path.realpath(project.data_path(pin)) for name, pin in project.lock.pins.items()}
    found = set()
    for path in paths:
        real = os.path.realpath(path)
        for name, home in homes.items():
            if _holds(home, real) or (or_above and _holds(real, home)):
                found.add(name)
    return found


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
