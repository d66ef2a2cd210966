"""What DVC's files say a pipeline reads and makes: `dvc.yaml` with `dvc.lock`, and `*.dvc`. Text in, paths out.

Paths come out POSIX and relative to the project's folder, `../…` where they lead out of it, or absolute; an external
dependency stays the URL that it is. A path that holds `${…}` is looked up in `dvc.lock`, where DVC wrote down what it
was the last time; only a stage that never ran stays unresolved.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from databom.hosts.yaml_text import YamlText

_OUTS = ("outs", "metrics", "plots")
_TEMPLATE = "${"


class Reads(Struct, frozen=True):
    """What one file says. `needs` pairs a path or URL with who reads it."""

    needs: tuple[tuple[str, str], ...] = ()
    makes: frozenset[str] = frozenset()
    """What stages make: derived, and nobody else's."""
    added: frozenset[str] = frozenset()
    """What `dvc add` took in from this folder."""
    imported: tuple[tuple[str, str], ...] = ()
    """What DVC fetched from elsewhere, with where that is."""
    unresolved: tuple[str, ...] = ()
    """Stages that depend on something only DVC can name."""


def read_pipeline(text: str, lock: str | None, *, folder: str = "") -> Reads:
    """What a `dvc.yaml` reads and makes.

    Args:
        text: the file.
        lock: `dvc.lock` beside it; None where there is none.
        folder: the file's folder, relative to the project.

    Raises:
        ConfigError: one of the two is broken.
    """
    stages = YamlText(text, file="dvc.yaml").section("stages")
    locked = YamlText(lock, file="dvc.lock").section("stages") if lock and _TEMPLATE in text else {}
    needs: list[tuple[str, str]] = []
    makes: set[str] = set()
    unresolved: list[str] = []
    for name, stage in stages.items():
        body = stage.get("do", stage) if isinstance(stage, dict) else None
        if not isinstance(body, dict):
            continue
        ran = [found for key, found in locked.items() if str(key).partition("@")[0] == str(name)]
        bodies = [body, *(one for one in ran if isinstance(one, dict))]
        base = posixpath.join(folder, _wdir(body))
        deps = [_placed(base, path) for one in bodies for path in _entries(one, "deps")]
        outs = [_placed(base, path) for one in bodies for kind in _OUTS for path in _entries(one, kind)]
        if _TEMPLATE in base or (not ran and any(_TEMPLATE in path for path in deps)):
            unresolved.append(str(name))
        needs += [(path, f"the stage {name}") for path in deps if _TEMPLATE not in path]
        makes.update(path for path in outs if _TEMPLATE not in path)
    return Reads(tuple(needs), frozenset(makes), unresolved=tuple(unresolved))


def read_dvc_file(text: str, *, folder: str = "") -> Reads:
    """What a `.dvc` file tracks: data that `dvc add` took in, or that `dvc import` and `import-url` fetched.

    Raises:
        ConfigError: it is broken.
    """
    data = YamlText(text, file="a .dvc file").data
    base = posixpath.join(folder, _wdir(data))
    outs = frozenset(_placed(base, path) for path in _entries(data, "outs"))
    sources = list(_sources(data))
    if not sources:
        return Reads(added=outs)
    return Reads(imported=tuple((out, source) for out in sorted(outs) for source in sources))


def _sources(data: dict[Any, Any]) -> Iterator[str]:
    """Where an import came from: `path` is inside the repository that `repo` names, else it is an address."""
    deps = data.get("deps")
    for entry in deps if isinstance(deps, list) else ():
        if isinstance(entry, dict):
            repo = entry.get("repo")
            place = repo.get("url") if isinstance(repo, dict) else entry.get("path")
            yield place if isinstance(place, str) else "an address that is not said"


def _wdir(body: dict[Any, Any]) -> str:
    wdir = body.get("wdir", ".")
    return wdir if isinstance(wdir, str) else "."


def _entries(body: dict[Any, Any], kind: str) -> Iterator[str]:
    """The paths of one list: `- path`, `- path: {…}`, or, in dvc.lock and `.dvc` files, `- path: …` as a member."""
    entries = body.get(kind)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict) and isinstance(entry.get("path"), str):
            yield entry["path"]
        elif isinstance(entry, dict):
            yield from (key for key in entry if isinstance(key, str))


def _placed(base: str, path: str) -> str:
    if "://" in path:
        return path
    return posixpath.normpath(posixpath.join(base, path))
