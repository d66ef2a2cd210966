"""Where the shards of a large release are read from, and where they are kept.

Kept beside the manifest of a pin, as `provenance/manifests/<name>.index/<sha256, hex>`: everything can be proven again
offline. Each reading holds the bytes against the manifest, so nothing here has to be believed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from databom.checks.assembling import assemble
from databom.errors import InputError, MissingError, Problem, StorageError
from databom.model.manifest import Manifest, Shard
from databom.model.shards import check_bytes, is_relative
from databom.model.text import printable
from databom.storage import files
from databom.storage.location import Location, parse_location
from databom.storage.reader import read_document
from databom.storage.tree import LocalTree

INDEX_SUFFIX = ".index"


class Shards:
    """The shards of manifests from one place. Remembers what it has assembled."""

    def __init__(self, read: Callable[[Shard], bytes]) -> None:
        self._read = read
        self._complete: dict[str, Manifest] = {}

    def __call__(self, shard: Shard) -> bytes:
        """A shard's bytes, not held against anything.

        Raises:
            InputError: `integrity.missing`: the store says there is no such shard.
            StorageError: it cannot be had.
        """
        try:
            return self._read(shard)
        except MissingError as error:
            what = f"a shard that lists assets is not there: {error}"
            do = error.hint or "fetch the release again, or ask the publisher where the shard is"
            raise InputError(
                Problem(
                    "integrity.missing", printable(shard.uri, 400), what, f"sha256:{shard.sha256}", None, do
                )
            ) from None

    def complete(self, manifest: Manifest) -> Manifest:
        """The manifest with its assets.

        Raises:
            InputError, StorageError, ConfigError: as `databom.checks.assembling.assemble`.
        """
        if manifest.is_complete:
            return manifest
        if manifest.digest not in self._complete:
            self._complete = {manifest.digest: assemble(manifest, self)}
        return self._complete[manifest.digest]

    def keep(self, index: Sequence[Shard], folder: Path) -> None:
        """Keep these shards, byte for byte, in a folder, which then holds nothing else.

        Raises:
            InputError: a shard is not what it was.
            StorageError: one cannot be had or written.
        """
        for shard in index:
            path = folder / shard.sha256
            if not _is_kept(shard, folder):
                raw = self(shard)
                check_bytes(raw, shard)
                files.write_atomic(path, raw)
        forget_others(folder, index)


def beside(location: Location, *, name: str | None = None) -> Shards:
    """The shards of the manifest at `location`: below its own directory, or where an absolute uri says.

    What came over a network is cached for as long as this object lives, because a large release is walked over twice.
    """
    cache: list[Path] = []

    def local(shard: Shard) -> bytes:
        return _bounded(location.parent.local_path, shard.uri, shard)

    def fetched(shard: Shard) -> bytes:
        if cache and (cache[0] / shard.sha256).exists():
            return _bounded(cache[0], shard.sha256, shard)
        where = (
            location.parent.join(shard.uri)
            if is_relative(shard)
            else parse_location(shard.uri, from_document=True)
        )
        # A pin's token is for the marketplace's own host.
        is_home = (where.scheme, where.host) == (location.scheme, location.host)
        raw = read_document(where, limit=shard.size + 1, name=name if is_home else None)
        check_bytes(raw, shard)
        if not cache:
            cache.append(_temporary(found))
        files.write_atomic(cache[0] / shard.sha256, raw)
        return raw

    found = Shards(lambda shard: local(shard) if location.is_local and is_relative(shard) else fetched(shard))
    return found


def kept_in(folder: Path) -> Shards:
    """The shards that `Shards.keep` kept in a folder."""
    return Shards(lambda shard: _bounded(folder, shard.sha256, shard))


def share(index: Sequence[Shard], source: Path, folder: Path) -> None:
    """Keep in `folder` what is kept in `source`: by hard links, where the file system has them.

    Raises:
        StorageError, InputError: as `Shards.keep`.
    """
    with contextlib.suppress(OSError):  # a copy does as well
        folder.mkdir(mode=0o700, exist_ok=True)
    for shard in index:
        with contextlib.suppress(OSError):
            os.link(source / shard.sha256, folder / shard.sha256)
    kept_in(source).keep(index, folder)


def forget_others(folder: Path, index: Sequence[Shard]) -> None:
    """Remove from a folder what is none of these shards, and the folder when it is empty."""
    known = {shard.sha256 for shard in index}
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name not in known:
                path.unlink()
        if not known:
            folder.rmdir()


def _is_kept(shard: Shard, folder: Path) -> bool:
    try:
        check_bytes(_bounded(folder, shard.sha256, shard), shard)
    except (InputError, StorageError):
        return False
    return True


def _bounded(folder: Path, path: str, shard: Shard) -> bytes:
    """A file's bytes, and one more than the index says at most. No link is followed."""
    data = bytearray()
    with LocalTree(folder).open(path) as stream:
        while len(data) <= shard.size and (chunk := stream.read(shard.size + 1 - len(data))):
            data += chunk
    return bytes(data)


def _temporary(owner: Shards) -> Path:
    import shutil
    import tempfile
    import weakref

    try:
        folder = Path(tempfile.mkdtemp(prefix="databom-shards-"))
    except OSError as error:
        raise StorageError(f"no temporary folder can be made: {error.strerror}") from error
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder
