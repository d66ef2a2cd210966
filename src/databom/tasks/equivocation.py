"""Two contents signed under one name: both are kept, because each alone proves nothing.

`provenance/evidence/<name>/equivocation/<manifest digest, hex>.json`, with its `.json.dsse` and `.json.dsse.tsr`, bytes
as received. A signature holds over each, so whoever shows both shows that the marketplace (or its key) said two things.
"""

from __future__ import annotations

from databom.model.digest import hex_of, sha256
from databom.model.lock import pin_name
from databom.model.manifest import Manifest
from databom.storage import files
from databom.tasks.project import Project
from databom.tasks.receiving import ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX, Received, kept


def keep_both(project: Project, name: str | None, received: Received, manifest: Manifest) -> str:
    """Keep what was just received beside what is pinned under the same release; answers the folder, from the project.

    Raises:
        StorageError: it could not be written.
    """
    pins = [one for one, pin in sorted(project.lock.pins.items()) if pin.release == manifest.release]
    name = name or (pins[0] if pins else pin_name(manifest.dataset_id))
    folder = project.root / "provenance" / "evidence" / name / "equivocation"
    for one in (received, *(kept(project, pin) for pin in pins)):
        if one is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{hex_of(sha256(one.manifest))}.json"
        files.write_atomic(path, one.manifest)
        beside = {ENVELOPE_SUFFIX: one.envelope, TIMESTAMPS_SUFFIX: one.timestamps}
        for suffix, raw in beside.items():
            if raw is not None:
                files.write_atomic(path.with_name(path.name + suffix), raw)
    return folder.relative_to(project.root).as_posix()
