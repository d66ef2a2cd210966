"""What only the old release had, when a pin has moved: moved out of the way, never deleted.

Before it fetches, `sync` keeps the manifest in `.databom/synced/<name>/<digest, hex>.json`. When the pin names another
release by the next time (`databom update`, or a `git pull`), this clone knows what it may hold of the old one. A file
that still is, byte for byte, what the old manifest says, and that the new release does not have at that path with that
digest, goes to `.databom/retired/<name>/<16 digits of the old digest>/<path>`. A file that matches neither is left for
`sync` to judge: it is evidence.

The old manifest is forgotten only after the new release has passed, so an interrupted retirement goes on.
"""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath

from databom.checks.integrity import compare, measure_all
from databom.errors import InputError, MissingError
from databom.model.digest import hex_of
from databom.model.lock import Pin
from databom.model.manifest import Manifest, read_manifest
from databom.model.strictjson import MAX_DOCUMENT_BYTES
from databom.storage import files
from databom.storage.staging import Staging
from databom.storage.tree import LocalTree
from databom.tasks import sharding
from databom.tasks.project import Project


def retire(project: Project, name: str, manifest: Manifest, tree: LocalTree, staging: Staging) -> int:
    """Move aside what only earlier releases had; answers how many files were moved.

    Raises:
        StorageError: a file could not be moved; those before it have been.
    """
    folder = project.state_dir / "synced" / name
    if not files.has_folder(folder) or not files.has_folder(tree.root):
        return 0
    new = {asset.path: asset.sha256 for asset in manifest.assets}
    moved = 0
    for kept in sorted(folder.glob("*.json")):
        if kept.stem == hex_of(manifest.digest):
            continue
        try:
            old = kept_release(kept)
        except InputError:
            continue  # not what we wrote: it decides nothing
        assets = {asset.path: asset for asset in old.assets if new.get(asset.path) != asset.sha256}
        for outcome in measure_all(tuple(assets.values()), tree):
            if compare(assets[outcome.path], outcome) is None:
                target = project.state("retired", name, kept.stem[:16])
                with contextlib.suppress(MissingError):
                    staging.move_out(outcome.path, target)
                    moved += 1
        above = {parent.as_posix() for path in assets for parent in PurePosixPath(path).parents} - {"."}
        staging.remove_empty(sorted(above))
    return moved


def remember(project: Project, name: str, pin: Pin, *, passed: bool = False) -> None:
    """Keep the manifest of the release that is about to be fetched; once it has `passed`, forget the earlier ones.

    Raises:
        StorageError: it could not be written.
    """
    folder = project.state_dir / "synced" / name
    current = folder / f"{hex_of(pin.manifest)}.json"
    with files.translated(current, "look for"):
        is_kept = current.exists()
    if not is_kept:
        project.state("synced", name)
        raw = files.read_bounded(project.manifest_path(name), MAX_DOCUMENT_BYTES)
        if index := read_manifest(raw).index:
            sharding.share(index, project.index_path(name), _index_of(current))
        files.write_atomic(current, raw)
    for kept in folder.glob("*.json") if passed else ():
        if kept != current:
            files.remove(kept)
            sharding.forget_others(_index_of(kept), ())


def kept_release(path: Path) -> Manifest:
    """A release that `remember` kept, with its assets.

    Raises:
        InputError: it is not what was kept.
        StorageError: it cannot be read.
    """
    manifest = read_manifest(files.read_bounded(path, MAX_DOCUMENT_BYTES))
    return sharding.kept_in(_index_of(path)).complete(manifest)


def _index_of(path: Path) -> Path:
    return path.with_suffix(sharding.INDEX_SUFFIX)
