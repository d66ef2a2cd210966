"""Two contents signed under one name: both are kept, because each alone proves nothing.

`provenance/evidence/<name>/equivocation/<manifest digest, hex>.json`, with its `.json.dsse` and `.json.dsse.tsr`, bytes
as received. A signature holds over each, so whoever shows both shows that the marketplace (or its key) said two things.

The first of the two may have been followed by newer releases long ago. So what a pin leaves behind stays in
`.databom/seen/`, under the same names, in this clone; elsewhere git has it.
"""

from __future__ import annotations

from pathlib import Path

from databom.model.digest import hex_of, sha256
from databom.model.lock import pin_name
from databom.model.manifest import Manifest
from databom.model.strictjson import MAX_DOCUMENT_BYTES
from databom.storage import files
from databom.tasks.inside import require_inside
from databom.tasks.project import MAX_TRUST_BYTES, Project, read_optional
from databom.tasks.receiving import ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX, Received, kept


def keep_earlier(project: Project, name: str) -> None:
    """Keep what is pinned as `name`, before another release takes its place.

    Raises:
        StorageError: it could not be read or written.
    """
    if (earlier := kept(project, name)) is not None:
        _write(project.state("seen"), earlier)


def keep_both(project: Project, name: str | None, received: Received, manifest: Manifest) -> tuple[str, bool]:
    """Keep what was just received beside what was seen first under the same release.

    Returns:
        The folder, from the project, and whether the first is in it: a clone may not have it any more.

    Raises:
        StorageError: it could not be written.
    """
    pins = [one for one, pin in sorted(project.lock.pins.items()) if pin.release == manifest.release]
    name = name or (pins[0] if pins else pin_name(manifest.dataset_id))
    folder = require_inside(project.root, project.evidence_dir(name) / "equivocation")
    seen = project.lock.seen.get(manifest.dataset_id)
    first = seen.releases.get(manifest.version) if seen else None
    found = [*(kept(project, pin) for pin in pins), earlier(project, first.manifest) if first else None]
    digests = {_write(folder, one) for one in (received, *found) if one is not None}
    return folder.relative_to(project.root).as_posix(), first is None or first.manifest in digests


def _write(folder: Path, received: Received) -> str:
    """Write the documents as received; answers the manifest's digest."""
    digest = sha256(received.manifest)
    path = folder / f"{hex_of(digest)}.json"
    files.write_atomic(path, received.manifest)
    beside = {ENVELOPE_SUFFIX: received.envelope, TIMESTAMPS_SUFFIX: received.timestamps}
    for suffix, raw in beside.items():
        if raw is not None:
            files.write_atomic(path.with_name(path.name + suffix), raw)
    return digest


def earlier(project: Project, digest: str) -> Received | None:
    """What `keep_earlier` kept of the manifest with this digest, if it still is that."""
    try:
        path = project.state_dir / "seen" / f"{hex_of(digest)}.json"
    except ValueError:  # the lock was edited: it names nothing that we kept
        return None
    manifest = read_optional(path, MAX_DOCUMENT_BYTES)
    if manifest is None or sha256(manifest) != digest:
        return None
    envelope, timestamps = (
        read_optional(path.with_name(path.name + suffix), MAX_TRUST_BYTES)
        for suffix in (ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX)
    )
    return Received(manifest, envelope, timestamps)
