"""`databom bom`: the dataset bill of materials."""

from __future__ import annotations

from pathlib import Path

from databom.bom.cyclonedx import BomEntry, build_bom, dumps
from databom.errors import ConfigError, InputError
from databom.model.manifest import Manifest, read_manifest
from databom.model.strictjson import MAX_DOCUMENT_BYTES
from databom.storage import files
from databom.tasks import sharding
from databom.tasks.evidence import public_pin
from databom.tasks.passed import recorded_approvals
from databom.tasks.project import Project


def bom(*names: str, run_id: str | None = None, project: Path | str | None = None) -> bytes:
    """The BOM of the named pins (all by default) as CycloneDX 1.6 JSON.

    Byte-identical for identical pins and approvals. Those are the approvals of the recorded verification, where that
    still speaks for the pin.

    With `run_id` it is the BOM of one MLflow run: the pins that run names, each with its use. What the tracking
    server answers is only a question to the project: a pin whose manifest the project no longer holds is refused.

    Raises:
        ConfigError: no project, no pins, an unknown name, or a run that used other manifests than are pinned.
        PluginError: MLflow is not installed, or the run cannot be read.
    """
    place = Project.load(project)
    if run_id is None:
        entries = [
            BomEntry(place.pin(name), kept_manifest(place, name), None, recorded_approvals(place, name))
            for name in place.names(names)
        ]
        return dumps(build_bom(entries))
    from databom.hosts.tracking import run_tags

    tags = run_tags(run_id)
    entries = []
    for name in names or tuple(part for part in tags.get("databom.pins", "").split(",") if part):
        recorded = tags.get(f"databom.{name}.manifest")
        if recorded is None and "databom.pins" in tags:
            raise ConfigError(
                f"the tags of the run {run_id} do not say which release of {name!r} it used",
                hint="its artifact databom/bom.cdx.json is its BOM; above 90 pins the tags have no room",
            )
        pin = place.pin(name)
        if recorded != pin.manifest:
            raise ConfigError(
                f"the run used another release of {name!r} than is pinned now",
                hint=f"check out the commit that pinned {recorded}; the run's own artifact databom/bom.cdx.json has it",
            )
        use, approvals = tags.get(f"databom.{name}.use"), recorded_approvals(place, name)
        entries.append(BomEntry(public_pin(pin), kept_manifest(place, name), use, approvals))
    if not entries:
        raise ConfigError(
            f"the run {run_id} carries no pins", hint="it was not started inside a project with pins"
        )
    return dumps(build_bom(entries, run_id=run_id))


def kept_manifest(place: Project, name: str) -> Manifest:
    """The manifest kept for a pin, with its assets, when it is still the one that was pinned.

    Raises:
        ConfigError: it is not.
        StorageError: it cannot be read.
    """
    pin = place.pin(name)
    try:
        manifest = read_manifest(files.read_bounded(place.manifest_path(name), MAX_DOCUMENT_BYTES))
    except InputError as error:
        raise ConfigError(
            f"the manifest kept for {name!r} is damaged: {error}", hint="restore it from git"
        ) from None
    if manifest.digest != pin.manifest:
        raise ConfigError(
            f"the manifest kept for {name!r} is not the one that was pinned: "
            f"expected {pin.manifest}, found {manifest.digest}",
            hint="restore it from git",
        )
    try:
        return sharding.kept_in(place.index_path(name)).complete(manifest)
    except InputError as error:
        raise ConfigError(
            f"a shard kept for {name!r} is damaged: {error}", hint="restore it from git"
        ) from None
