"""`databom bom`: the dataset bill of materials, and the attribution that its licenses ask for."""

from __future__ import annotations

from pathlib import Path

from databom.bom.attribution import attribution
from databom.bom.cyclonedx import BomEntry, build_bom, dumps
from databom.checks.attribution import credit
from databom.errors import ConfigError, InputError
from databom.model.lock import Pin
from databom.model.manifest import Manifest, read_manifest
from databom.model.strictjson import MAX_DOCUMENT_BYTES
from databom.storage import files
from databom.tasks import sharding
from databom.tasks.evidence import public_pin
from databom.tasks.paid import receipts_held
from databom.tasks.passed import recorded_approvals
from databom.tasks.project import Project


def bom(
    *names: str, run_id: str | None = None, spec: str = "cyclonedx", project: Path | str | None = None
) -> bytes:
    """The BOM of the named pins (all by default) as CycloneDX 1.6 JSON.

    Byte-identical for identical pins, approvals and receipts. The approvals are those of the recorded verification,
    where that still speaks for the pin.

    With `spec="attribution"` it is `ATTRIBUTION.md` instead, of the releases whose license asks for credit.

    With `run_id` it is the BOM of one MLflow run: the pins that run names, each with its use. What the tracking
    server answers is only a question to the project: a pin whose manifest the project no longer holds is refused.

    Raises:
        ConfigError: no project, no pins, an unknown name, or a run that used other manifests than are pinned.
        PluginError: MLflow is not installed, or the run cannot be read.
    """
    place = Project.load(project)
    if run_id is None:
        return _written(
            place, [_entry(place, name, place.pin(name), None) for name in place.names(names)], spec, None
        )
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
        entries.append(_entry(place, name, public_pin(pin), tags.get(f"databom.{name}.use")))
    if not entries:
        raise ConfigError(
            f"the run {run_id} carries no pins", hint="it was not started inside a project with pins"
        )
    return _written(place, entries, spec, run_id)


def _entry(place: Project, name: str, pin: Pin, use: str | None) -> BomEntry:
    manifest = kept_manifest(place, name)
    return BomEntry(pin, manifest, use, recorded_approvals(place, name), receipts_held(place, name, manifest))


def _written(place: Project, entries: list[BomEntry], spec: str, run_id: str | None) -> bytes:
    if spec != "attribution":
        return dumps(build_bom(entries, run_id=run_id))
    # A pin that was only present in a run is no data of its.
    used = (one for one in entries if run_id is None or one.use not in (None, "present"))
    page = attribution(credit(one.manifest, place.config) for one in used)
    return b"Nobody has to be credited.\n" if page is None else page


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
