"""The manifest with a digest, wherever this project still has it: pinned, left behind by a pin, or in git's history."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from databom.errors import ConfigError, InputError
from databom.hosts.git import commits_with
from databom.model.digest import sha256
from databom.model.lock import PIN_NAME
from databom.model.strictjson import MAX_DOCUMENT_BYTES
from databom.tasks import equivocation
from databom.tasks.project import MAX_TRUST_BYTES, Project
from databom.tasks.receiving import ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX, Received, kept

if TYPE_CHECKING:
    from databom.hosts.git import Commit
    from databom.model.manifest import Manifest


class Kept(NamedTuple):
    """A manifest's bytes, which have the digest that was asked for, and where they are."""

    received: Received
    where: str
    """From the project, as it is shown."""
    is_pinned: bool = False


class Manifests:
    """Finds the manifests that one project has, or once had. Nobody is believed for being here: the digest decides.

    Args:
        place: the project.
        held: manifests up to so many bytes are read once; longer ones each time they are asked for.
    """

    def __init__(self, place: Project, *, held: int = 0) -> None:
        self._place = place
        self._limit = held
        self._held: dict[str, Kept] = {}
        self._history: dict[str, Mapping[str, Commit]] = {}

    def find(self, digest: str, names: Iterable[str]) -> Kept | None:
        """The manifest with this digest (`sha256:<hex>`), which is or was pinned under one of these names.

        Raises:
            StorageError: a kept file is there and cannot be read.
        """
        found = self._held.get(digest) or self._find(digest, names)
        if found is not None and len(found.received.manifest) <= self._limit:
            self._held[digest] = found
        return found

    def _find(self, digest: str, names: Iterable[str]) -> Kept | None:
        place = self._place
        known = [name for name in names if PIN_NAME.match(name)]
        for name in known or [""]:
            if (found := kept_here(place, name, digest)) is not None:
                return found
        for name in known:
            if (commit := self._commits(name).get(digest)) is not None:
                return committed(place, name, digest, commit)
        return None

    def _commits(self, name: str) -> Mapping[str, Commit]:
        """The newest commit that has each manifest of a pin, by the manifest's digest."""
        if name not in self._history:
            found = self._history[name] = {}
            path = self._place.manifest_path(name)
            for commit in commits_with(self._place.root, path):
                with contextlib.suppress(ConfigError):  # one that this clone has no blob of says nothing
                    if (raw := commit.read(path, MAX_DOCUMENT_BYTES)) is not None:
                        found.setdefault(sha256(raw), commit)
        return self._history[name]


def read_kept(kept: Kept | None) -> Manifest | None:
    """The manifest that was kept; None where none was, or where its bytes are no manifest."""
    try:
        return kept.received.read() if kept is not None else None
    except InputError:
        return None


def kept_here(place: Project, name: str, digest: str) -> Kept | None:
    """The manifest with this digest, where it is pinned by a name, or this clone keeps it from before.

    Raises:
        StorageError: a kept file is there and cannot be read.
    """
    pin = place.lock.pins.get(name)
    received = kept(place, name) if pin is not None and pin.manifest == digest else None
    if received is not None and sha256(received.manifest) == digest:
        return Kept(received, _shown(place, name), is_pinned=True)
    if (received := equivocation.earlier(place, digest)) is not None:
        return Kept(received, f".databom/seen/{digest.removeprefix('sha256:')}.json")
    return None


def committed(place: Project, name: str, digest: str, commit: Commit) -> Kept | None:
    """What a commit has of a pin's manifest, where it is the one with this digest; None for any other."""
    path = place.manifest_path(name)
    try:
        raw = commit.read(path, MAX_DOCUMENT_BYTES)
        if raw is None or sha256(raw) != digest:
            return None
        envelope, timestamps = (
            commit.read(path.with_name(path.name + suffix), MAX_TRUST_BYTES)
            for suffix in (ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX)
        )
    except ConfigError:
        return None
    where = f"{_shown(place, name)} in git at {commit.id[:12]}"
    return Kept(Received(raw, envelope, timestamps if envelope is not None else None), where)


def _shown(place: Project, name: str) -> str:
    return place.manifest_path(name).relative_to(place.root).as_posix()
