"""Whose bytes are these? What a mismatch says when they are those of a release this project has kept.

A mirror that serves the files of an old release beside the manifest of a new one is the usual case (a copy that
stopped half-way, or somebody who wants the new licence with the old data). `sync` keeps the manifest of the last
release that passed until the next has (`databom.tasks.retiring`), so it can say which release the bytes belong to.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from databom.errors import InputError, Problem, StorageError
from databom.model.digest import hex_of
from databom.model.finding import Report
from databom.model.manifest import MAX_ASSETS, Manifest
from databom.model.text import printable
from databom.tasks.project import Project
from databom.tasks.retiring import kept_release


class Recogniser:
    """Finds digests in the releases kept for a pin, but the pinned one. Reads them when it is first asked."""

    def __init__(self, project: Project, name: str) -> None:
        self._folder = project.state_dir / "synced" / name
        self._pinned = project.pin(name).manifest
        self._releases: dict[str, str] | None = None

    def release_of(self, digest: str | None) -> str | None:
        """The release that has an asset with this digest (`sha256:<hex>`), printable; None when none is known."""
        if digest is None:
            return None
        if self._releases is None:
            self._releases = {
                f"sha256:{asset.sha256}": printable(manifest.release)
                for manifest in self._kept()
                for asset in manifest.assets
            }
        return self._releases.get(digest)

    def _kept(self) -> Iterable[Manifest]:
        for path in sorted(self._folder.glob("*.json")):
            if path.stem == hex_of(self._pinned):
                continue
            try:
                manifest = kept_release(path)
                if len(manifest.assets) <= MAX_ASSETS:
                    yield manifest
            except (InputError, StorageError):
                continue  # not what we wrote, or gone: it names nothing

    def explain(self, problem: Problem) -> Problem:
        """The same problem, naming the release when a mismatch's bytes are known."""
        if problem.code != "integrity.mismatch" or (known := self.release_of(problem.found)) is None:
            return problem
        return problem._replace(what=_named(problem.what, known))

    def explain_report(self, report: Report) -> Report:
        """The same report, naming the release where a mismatch's bytes are known."""
        named = tuple(
            replace(one, what=_named(one.what, known))
            if one.code == "integrity.mismatch" and (known := self.release_of(one.found))
            else one
            for one in report.findings
        )
        return replace(report, findings=named)


def _named(what: str, release: str) -> str:
    return f"{what}; they are those of {release}"
