"""Coverage: which data the project's DVC pipeline reads that no pin covers. Reads only."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from databom.checks.approvals import Settled, settle
from databom.checks.coverage import Ground, check_coverage, unpinned
from databom.errors import ConfigError, InputError, StorageError
from databom.hosts import dvc_state, git
from databom.hosts.dvc_deps import Reads, read_dvc_file, read_pipeline
from databom.model.finding import Finding, Report, Subject
from databom.model.text import printable
from databom.storage import files
from databom.storage.redact import redact
from databom.tasks.attached import load_proofs
from databom.tasks.believing import Believed
from databom.tasks.project import Project
from databom.tasks.use import local_path

EVIDENCE = "@project"
"""Folder of approvals about the project itself, beside those of the pins; no pin can have this name."""
MAX_FILE_BYTES = 16 * 1024 * 1024
_LEFT_OUT = frozenset({"node_modules", "__pycache__"})
_ABOUT = "data that DVC reads"


def cover(place: Project, believed: Believed, now: datetime) -> Report | None:
    """The report on all data that the pipeline reads; None where there is no pipeline, or the policy does not ask.

    Raises:
        StorageError: the folder of the project's approvals is there and cannot be read.
    """
    found = unsettled(place)
    if found is None:
        return None
    settled = settle_project(place, found, believed, now)
    return Report(
        Subject(),
        settled.findings,
        trust=believed.digest,
        policy=place.config.policy_digest,
        about=_ABOUT,
        approvals=settled.approvals,
    )


def unsettled(place: Project) -> tuple[Finding, ...] | None:
    """What `cover` finds, before any approval."""
    policy = place.config.policy
    if policy.coverage == "off" or not dvc_state.in_dvc_project(place.root):
        return None
    pipeline = _Pipeline(
        place.root, {_inside(place.root, place.data_path(pin)) for pin in place.lock.pins.values()}
    )
    pipeline.read()
    if not pipeline.asks:
        return None
    tracked = git.tracked(place.root) or frozenset()
    links = {path: _target(place.root, path) for path in tracked if (place.root / path).is_symlink()}
    ground = Ground(
        policy,
        accounted=pipeline.pins | pipeline.makes,
        tracked=tracked - links.keys(),
        added=pipeline.added | {path for path, _ in pipeline.imported},
        entries=lambda path: _entries(place.root / path),
    )
    # Git tracks where a link leads, and not what is there.
    needs = [(links.get(path, path), reader) for path, reader in pipeline.needs]
    findings = [*check_coverage(needs, pipeline.imported, ground)]
    findings += [unpinned(subject, what, policy) for subject, what in pipeline.unknown]
    return tuple(findings)


def cover_logged(place: Project, sources: Iterable[str]) -> tuple[Finding, ...]:
    """`coverage.unpinned` for each dataset that a run logged and nothing accounts for.

    Args:
        place: the project.
        sources: where the datasets came from: paths or URLs. What is not asked here: git. A file that was logged as a
            dataset is data, tracked or not.
    """
    policy = place.config.policy
    if policy.coverage == "off":
        return ()
    root = place.root.resolve()
    pins = {_inside(root, place.data_path(pin).resolve()) for pin in place.lock.pins.values()}
    try:
        text = files.read_bounded(root / "dvc.yaml", MAX_FILE_BYTES).decode("utf-8")
        makes = read_pipeline(text, None).makes
    except (ConfigError, InputError, StorageError, UnicodeDecodeError):
        makes = frozenset()
    ground = Ground(policy, accounted=pins | makes, tracked=frozenset(), added=(), entries=lambda _: ())
    found = {}
    for source in sources:
        local = local_path(source)
        path = source if local is None else _inside(root, Path(os.path.realpath(local)))
        if any(True for _ in ground.unaccounted(path)):
            # A run is shown to others: no path of this machine, and no secret of a URL.
            name = f"…/{posixpath.basename(path)}" if path.startswith("/") else redact(path)
            found[name] = unpinned(
                printable(name), "the run logged a dataset from here, and no pin covers it", policy
            )
    return tuple(found[name] for name in sorted(found))


def settle_project(
    place: Project, findings: tuple[Finding, ...], believed: Believed, now: datetime
) -> Settled:
    """Findings about the project after the approvals that are kept for it.

    There is no manifest that they could be about: their subject is the policy, by its digest.
    """
    config = place.config
    proofs = load_proofs(place, EVIDENCE, config.policy_digest, believed, now)
    settled = settle(findings, proofs, config, now)
    return settled._replace(findings=(*settled.findings, *proofs.findings))


@dataclass(slots=True)
class _Pipeline:
    """All files of DVC in a project, top down: what a stage makes and what a pin holds is not looked into."""

    root: Path
    pins: set[str]
    needs: list[tuple[str, str]] = field(default_factory=list)
    imported: list[tuple[str, str]] = field(default_factory=list)
    makes: set[str] = field(default_factory=set)
    added: set[str] = field(default_factory=set)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    """What cannot be told, as a subject and words."""
    asks: bool = False

    def read(self) -> None:
        """Look at the whole project."""
        for here, folders, names in os.walk(self.root):
            folder = Path(here).relative_to(self.root).as_posix()
            for name in sorted(names):
                if name == "dvc.yaml" or (name.endswith(".dvc") and name != ".dvc"):
                    self._take(posixpath.normpath(posixpath.join(folder, name)))
            closed = self.pins | self.makes | self.added | {path for path, _ in self.imported}
            folders[:] = [
                name
                for name in sorted(folders)
                if not name.startswith(".")
                and name not in _LEFT_OUT
                and posixpath.normpath(posixpath.join(folder, name)) not in closed
            ]

    def _take(self, path: str) -> None:
        try:
            reads = self._parsed(path)
        except (ConfigError, InputError, StorageError, UnicodeDecodeError) as error:
            self.asks = True
            self.unknown.append(
                (
                    printable(path),
                    f"it cannot be read, so nobody knows what DVC reads: {printable(str(error))}",
                )
            )
            return
        # A pin's own stage reads nothing else.
        theirs = any(not one.startswith("provenance/") for one, _ in reads.needs)
        self.asks = self.asks or bool(theirs or reads.imported or reads.unresolved)
        self.needs += [(one, by if path == "dvc.yaml" else f"{by} of {path}") for one, by in reads.needs]
        self.imported += reads.imported
        self.makes |= reads.makes
        self.added |= reads.added
        for stage in reads.unresolved:
            what = f"the stage {stage} depends on ${{…}}, which only DVC can resolve; dvc.lock does not say what it was"
            self.unknown.append((printable(path), printable(what, 500)))

    def _parsed(self, path: str) -> Reads:
        file = self.root / path
        folder = posixpath.dirname(path)
        text = files.read_bounded(file, MAX_FILE_BYTES).decode("utf-8")
        if not path.endswith("dvc.yaml"):
            return read_dvc_file(text, folder=folder)
        lock = file.with_name("dvc.lock")
        locked = files.read_bounded(lock, MAX_FILE_BYTES).decode("utf-8") if lock.is_file() else None
        return read_pipeline(text, locked, folder=folder)


def _inside(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _entries(folder: Path) -> list[str] | None:
    try:
        return [entry.name for entry in folder.iterdir()]
    except NotADirectoryError:
        return None
    except OSError:
        return []


def _target(root: Path, path: str) -> str:
    return _inside(root.resolve(), Path(os.path.realpath(root / path)))
