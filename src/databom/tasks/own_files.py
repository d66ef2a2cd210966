"""Which files below a release's root are its documents: they are no assets, and are not unlisted either."""

from __future__ import annotations

from databom.model.lock import Pin
from databom.model.manifest import Manifest
from databom.model.shards import is_relative
from databom.storage.location import Location
from databom.tasks.project import Project
from databom.tasks.receiving import ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX


def beside(location: Location, root: Location) -> frozenset[str]:
    """The path of a signed document below the assets' root, if it lies there: a file that is not unlisted."""
    if location.is_local and root.is_local:
        path, folder = location.local_path, root.local_path
        return frozenset({path.relative_to(folder).as_posix()} if path.is_relative_to(folder) else ())
    return frozenset({location.name}) if location.parent == root else frozenset()


def own_documents(location: Location, root: Location, manifest: Manifest | None) -> frozenset[str]:
    """The manifest, its signatures and its shards, where they lie below the assets' root: they are not unlisted."""
    suffixes = ("", ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX)
    own = {path + suffix for path in beside(location, root) for suffix in suffixes}
    for path in beside(location, root):
        folder = path[: path.rfind("/") + 1]
        own |= {folder + uri for uri in own_shards(manifest)}
    return frozenset(own)


def own_shards(manifest: Manifest | None) -> frozenset[str]:
    """The shards that lie below the manifest's own directory: they belong to the release, and are no assets."""
    index = manifest.index if manifest is not None else ()
    return frozenset(shard.uri for shard in index if is_relative(shard))


def own_in_folder(place: Project, pin: Pin, manifest: Manifest | None = None) -> frozenset[str]:
    """The documents of a release that was pinned where it lies: those in the pin's own folder.

    Raises:
        InputError: the lock names a source that databom would never have written.
    """
    source = place.source(pin.source)
    if not source.is_local:
        return frozenset()
    return own_documents(source, place.locate(str(place.data_path(pin))), manifest)
