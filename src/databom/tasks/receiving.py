"""What a marketplace sends: a manifest and what stands beside it. One way to fetch them, one way to find them kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from databom.errors import InputError, MissingError, Problem
from databom.model.manifest import Manifest, read_manifest
from databom.model.strictjson import MAX_DOCUMENT_BYTES
from databom.storage import files
from databom.storage.location import Location
from databom.storage.reader import read_document, read_optional_document
from databom.tasks import sharding
from databom.tasks.project import MAX_TRUST_BYTES, Project, read_optional
from databom.tasks.sharding import Shards

if TYPE_CHECKING:
    from databom.model.assets import Meanwhile

ENVELOPE_SUFFIX = ".dsse"
TIMESTAMPS_SUFFIX = ".dsse.tsr"


class Received(Struct):
    """Bytes exactly as received; nothing in them is believed yet."""

    manifest: bytes
    envelope: bytes | None = None
    """`manifest.json.dsse`: the detached signature, None where there is none."""
    timestamps: bytes | None = None
    """`manifest.json.dsse.tsr`: RFC 3161 tokens over its signatures; never without an envelope."""
    shards: Shards | None = None
    """Where the shards of a large release can be read; not read yet."""
    _read: Manifest | tuple[Problem, ...] | None = None

    def read(self, meanwhile: Meanwhile | None = None) -> Manifest:
        """What the manifest says; read once, `meanwhile` as for `read_manifest`.

        Raises:
            InputError: as `read_manifest`.
        """
        if self._read is None:
            try:
                self._read = read_manifest(self.manifest, meanwhile=meanwhile)
            except InputError as error:
                self._read = (
                    error.problems
                )  # not the error: its traceback holds the frames of whoever asked first
        if isinstance(self._read, tuple):
            raise InputError(*self._read)
        return self._read

    def complete(self, manifest: Manifest) -> Manifest:
        """The manifest, read from these bytes, with its assets.

        Raises:
            InputError, StorageError, ConfigError: as `databom.checks.assembling.assemble`.
        """
        return manifest if self.shards is None else self.shards.complete(manifest)


def receive(location: Location, *, name: str | None = None) -> Received:
    """Fetch a manifest, its detached signature, and the time stamps over that.

    Args:
        location: the manifest's.
        name: the pin whose credentials (DATABOM_TOKEN_<NAME>) apply.

    Raises:
        StorageError: one could not be had; absent signatures and time stamps are an answer, unreachable ones not.
    """
    try:
        manifest = read_document(location, limit=MAX_DOCUMENT_BYTES, name=name)
    except MissingError as error:
        error.hint = error.hint or "check the address: a manifest is a JSON file, as …/manifest.json"
        raise
    envelope = read_optional_document(location.sibling(ENVELOPE_SUFFIX), limit=MAX_TRUST_BYTES, name=name)
    shards = sharding.beside(location, name=name)
    if envelope is None:
        return Received(manifest, shards=shards)
    beside = location.sibling(TIMESTAMPS_SUFFIX)
    timestamps = read_optional_document(beside, limit=MAX_TRUST_BYTES, name=name)
    return Received(manifest, envelope, timestamps, shards)


def kept(project: Project, name: str) -> Received | None:
    """What was kept for a pin; None where the manifest is gone.

    Raises:
        StorageError: a kept file is there and cannot be read.
    """
    try:
        manifest = files.read_bounded(project.manifest_path(name), MAX_DOCUMENT_BYTES)
    except MissingError:
        return None
    envelope = read_optional(project.envelope_path(name), MAX_TRUST_BYTES)
    shards = sharding.kept_in(project.index_path(name))
    if envelope is None:
        return Received(manifest, shards=shards)
    timestamps = read_optional(project.timestamps_path(name), MAX_TRUST_BYTES)
    return Received(manifest, envelope, timestamps, shards)


def keep(project: Project, name: str, received: Received, manifest: Manifest) -> None:
    """Keep what was received, byte for byte, where `kept` finds it; `manifest` is what its bytes say.

    Raises:
        StorageError: it could not be written, or a shard cannot be had any more.
        InputError: a shard is not what it was.
    """
    if manifest.index and received.shards is not None:
        received.shards.keep(manifest.index, project.index_path(name))
    else:
        sharding.forget_others(project.index_path(name), ())
    files.write_atomic(project.manifest_path(name), received.manifest)
    beside = {
        project.envelope_path(name): received.envelope,
        project.timestamps_path(name): received.timestamps,
    }
    for path, raw in beside.items():
        if raw is not None:
            files.write_atomic(path, raw)
        else:
            files.remove(path)
