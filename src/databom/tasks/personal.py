"""Scanning a pin's assets for personal data, and judging what was seen. Asked by the gatekeeper.

Only what was verified is scanned: a report in which an asset is missing or another one than the manifest's is already a
"no", and of such bytes there is nothing to say.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from databom.checks.personal import check_personal
from databom.checks.scanning import Scan, scan
from databom.checks.streaming import rounds
from databom.errors import StorageError
from databom.hosts import dvc_state
from databom.log.events import Scanned
from databom.model.assets import MAX_ASSETS
from databom.model.digest import sha256
from databom.model.finding import Report, findings_of
from databom.model.manifest import Manifest
from databom.model.proofs import Proofs
from databom.scanners.registry import VARIABLE, named
from databom.storage import files
from databom.storage.tree import LocalTree
from databom.tasks.inside import require_inside
from databom.tasks.progress import Progress
from databom.tasks.project import Project
from databom.tasks.user_config import user_config

if TYPE_CHECKING:
    from databom.tasks.noting import Noted

DOCUMENTS = "consents"
"""The folder beside a pin's evidence where documents of consents are kept."""
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024


def chosen() -> tuple[str, ...]:
    """The scanners beside the built-in ones, as the user named them: never as a project does.

    Raises:
        ConfigError: the user's configuration cannot be used.
    """
    return named() if VARIABLE in os.environ else user_config().scanners


def scanned(
    place: Project,
    name: str,
    manifest: Manifest,
    report: Report,
    proofs: Proofs,
    *,
    now: datetime,
    progress: Progress,
    happened: list[Noted] | None = None,
) -> Report:
    """The report with what scanners saw, where the policy asks for it and every asset holds."""
    level = place.config.policy.personal_data
    summary = report.summary
    if level == "off" or summary.failed or summary.checked < len(manifest.assets):
        return report
    tree = LocalTree(place.data_path(place.pin(name)), cache_root=dvc_state.cache_root(place.root))
    try:
        documents = _documents(require_inside(place.root, place.evidence_dir(name) / DOCUMENTS))
        seen = look(manifest, tree, chosen(), progress, name)
    except StorageError as error:
        return report.plus(findings_of(error))
    if happened is not None:
        happened.append(_event(name, manifest, seen))
    judged = check_personal(seen, manifest, place.config, proofs, documents, now)
    return replace(
        report,
        findings=(*report.findings, *judged.findings),
        approvals=(*report.approvals, *judged.approvals),
        scanners=seen.described(),
    )


def _event(name: str, manifest: Manifest, seen: Scan) -> Scanned:
    return Scanned(
        name=name,
        release=manifest.release,
        manifest=manifest.digest,
        scanners=tuple(
            {key: one[key] for key in ("name", "version", "assets") if one[key] is not None}
            for one in seen.described()
        ),
        found=seen.positive,
    )


def look(manifest: Manifest, tree: LocalTree, names: tuple[str, ...], progress: Progress, shown: str) -> Scan:
    """What scanners see in the assets of a release, in bounded memory."""
    progress.start(f"{shown}: scanning", assets=len(manifest.assets), size=manifest.total_bytes)
    try:
        about = manifest.dataset_id
        if len(manifest.assets) <= MAX_ASSETS:
            return scan(manifest.assets, tree, about=about, names=names, tell=progress.update)
        whole: Scan | None = None
        for number, assets in enumerate(rounds(manifest.assets)):
            part = scan(assets, tree, about=f"{about} {number}", names=names, tell=progress.update)
            whole = part if whole is None else whole.plus(part)
        assert whole is not None
        return whole
    finally:
        progress.stop()


def _documents(folder: Path) -> frozenset[str]:
    """The digests of the documents in a folder.

    Raises:
        StorageError: it is there and cannot be read.
    """
    if not files.has_folder(folder):
        return frozenset()
    with files.translated(folder, "list"):
        names = sorted(entry for entry in folder.iterdir() if entry.is_file())
    return frozenset(sha256(files.read_bounded(path, MAX_DOCUMENT_BYTES)) for path in names)
