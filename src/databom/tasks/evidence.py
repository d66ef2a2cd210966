"""What a training run carries away about its data: verdicts, tags, BOM, report, manifests, dataset inputs.

`for_run(root)` reads a project once and gives a `RunEvidence`, which says for each pin how it is used and whether it
is known to be what was verified:

    pass         the recorded verification is of this very manifest, trust root and policy, and the stat record
                 shows no change since (`databom.tasks.recorded`)
    unverified   the comparison is not finished, or cannot be made on this machine; with the reason
    fail         anything else

Nothing here says `pass` before the comparison has passed, and nothing here writes. Only `format_tags` is needed while
a run is being created, so importing this module is cheap and the rest is imported inside.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from databom._forks import ForkLock

if TYPE_CHECKING:
    from databom.hosts.tracking import Dataset
    from databom.model.credits import Credit
    from databom.model.finding import Finding
    from databom.model.lock import Pin
    from databom.model.manifest import Manifest
    from databom.tasks.project import Project
    from databom.tasks.use import Seen

FOLDER = "databom"
"""Where the artifacts of a run are."""
SOURCE_TYPE = "databom_release"
MAX_PINS_IN_TAGS = 90
MAX_TAG_CHARS = 1000
MAX_ATTACHED_BYTES = 64 * 1024 * 1024
"""Manifests of one run that are attached; beyond this the report says where the others are kept."""
MAX_KEPT_ASSETS = 200_000
PENDING = "its files were not compared yet"
WORST = ("fail", "unverified", "pass")


def format_tags(
    pins: Mapping[str, Mapping[str, object]],
    *,
    verdict: str,
    uses: Mapping[str, str] | None = None,
    bom: str | None = None,
) -> dict[str, str]:
    """The tags of a run: `databom.verdict`, `.pins`, `.bom` and, for up to 90 pins, six for each.

    Args:
        pins: the lock's pins by name, as JSON has them.
        verdict: the run's.
        uses: how each pin is used; `present` where not said.
        bom: digest of the BOM artifact, when there is one.
    """
    tags = {"databom.verdict": verdict}
    if pins:
        tags["databom.pins"] = bounded(",".join(sorted(pins)))
    if bom:
        tags["databom.bom"] = bom
    if len(pins) > MAX_PINS_IN_TAGS:
        return tags
    for name in sorted(pins):
        for key in ("release", "manifest", "tree", "license", "payment"):
            value = pins[name].get(key)
            tags[f"databom.{name}.{key}"] = bounded(value) if isinstance(value, str) and value else "none"
        tags[f"databom.{name}.use"] = (uses or {}).get(name, "present")
    return tags


def bounded(value: str, limit: int = MAX_TAG_CHARS) -> str:
    """`value`, or where it is too long for a tag its digest and where to find it: never a silent cut."""
    if len(value) <= limit:
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"sha256:{digest} ({len(value):,} characters; see artifact {FOLDER}/report.json)"


class PinEvidence(Struct, frozen=True):
    """One pin of a run."""

    name: str
    pin: Pin
    verdict: str
    reason: str | None
    """Why the verdict is not `pass`."""
    use: str = "present"
    receipts: tuple[str, ...] = ()
    """Digests of the verified payment receipts that are held for it."""
    checked: Mapping[str, int] = field(default_factory=dict)
    """Counts of the recorded verification: assets, bytes, checked, failed."""
    approvals: tuple[Mapping[str, Any], ...] = ()
    """What people accepted, by the recorded verification."""


class RunEvidence(Struct, frozen=True):
    """The evidence of one project at one time. Changing it gives a new one."""

    project: Project
    pins: tuple[PinEvidence, ...]
    stage: frozenset[str] = frozenset()
    """Pins the running DVC stage depends on."""
    floor: str | None = None
    """`fail` where an earlier part of a resumed run said so: a later part cannot make that good."""
    unpinned: tuple[Finding, ...] = ()
    """`coverage.unpinned`: datasets that the run logged and no pin covers."""

    @property
    def verdict(self) -> str:
        """The worst of the pins' verdicts: each of them was at least present. Data without a pin fails if it blocks."""
        verdicts = {one.verdict for one in self.pins} | ({self.floor} if self.floor else set())
        verdicts |= {"fail" for one in self.unpinned if one.severity == "block"}
        return next((verdict for verdict in WORST if verdict in verdicts), "fail")

    @property
    def uses(self) -> dict[str, str]:
        """How each pin is used."""
        return {one.name: one.use for one in self.pins}

    def compared(
        self, *, deadline: float | None = None, stop: Callable[[], bool] | None = None
    ) -> RunEvidence:
        """With every tree compared with its stat record, as far as `deadline` (monotonic) and `stop` allow."""
        from databom.tasks import recorded

        pins = []
        for one in self.pins:
            if one.verdict == "unverified":
                answer = recorded.compare(self.project, one.name, deadline=deadline, stop=stop)
                one = replace(one, verdict=answer.verdict, reason=answer.reason)  # noqa: PLW2901
            pins.append(one)
        return replace(self, pins=tuple(pins))

    def used(self, seen: Seen, inputs: tuple[str, ...] = ()) -> RunEvidence:
        """With every pin's use as it is known now."""
        from databom.tasks.use import uses

        found = uses(self.project, seen, stage=self.stage, inputs=inputs)
        pins = tuple(replace(one, use=found[one.name]) for one in self.pins)
        if not inputs:
            return replace(self, pins=pins)
        from databom.tasks.covering import cover_logged

        return replace(self, pins=pins, unpinned=cover_logged(self.project, inputs))

    def as_tagged(self, tags: Mapping[str, str]) -> RunEvidence:
        """Only the pins that a run's tags name with the manifests they have now, each used as the tags say."""
        pins = [
            replace(one, use=tags.get(f"databom.{one.name}.use", "present"))
            for one in self.pins
            if tags.get(f"databom.{one.name}.manifest") == one.pin.manifest
        ]
        return replace(self, pins=tuple(pins))

    def tags(self, bom: str | None = None) -> dict[str, str]:
        """The run's tags; `bom` is the digest of its BOM artifact."""
        from msgspec import to_builtins

        pins = {one.name: to_builtins(one.pin) for one in self.pins}
        return format_tags(pins, verdict=self.verdict, uses=self.uses, bom=bom)

    def bom(self, run_id: str | None) -> bytes:
        """The BOM artifact: CycloneDX JSON of the pins whose kept manifest is the pinned one.

        A pin without its manifest is missing from it, has the verdict `fail`, and is in the report.
        """
        from databom.bom.cyclonedx import BomEntry, build_bom, dumps

        entries = []
        for one in self.pins:
            manifest = _parsed(self.project, one)
            if manifest is not None:
                entries.append(BomEntry(public_pin(one.pin), manifest, one.use, one.approvals, one.receipts))
        return dumps(build_bom(entries, run_id=run_id))

    def credits(self) -> tuple[Credit, ...]:
        """The credits that the licenses of the used pins ask for; of a pin that was only present, none."""
        from databom.checks.attribution import credit

        used = (_parsed(self.project, one) for one in self.pins if one.use != "present")
        return tuple(credit(manifest, self.project.config) for manifest in used if manifest is not None)

    def report(self, run_id: str | None, earlier: Mapping[str, str] | None = None) -> bytes:
        """The report artifact: JSON, byte-identical for identical evidence.

        `earlier`: tags that an earlier part of a resumed run left and this part replaces.
        """
        pins = []
        for one in self.pins:
            pin = one.pin
            pins.append(
                {
                    "name": one.name,
                    "release": pin.release,
                    "manifest": pin.manifest,
                    "tree": pin.tree,
                    "license": pin.license,
                    "payment": pin.payment,
                    "receipts": list(one.receipts),
                    "creator": pin.creator_id,
                    "signed_by": list(pin.keyids),
                    "use": one.use,
                    "verdict": one.verdict,
                    "reason": one.reason,
                    "verified": dict(one.checked) or None,
                    "approvals": [dict(approval) for approval in one.approvals],
                }
            )
        value: dict[str, Any] = {"verdict": self.verdict, "run": run_id, "pins": pins}
        if self.unpinned:
            value["findings"] = [finding.to_dict() for finding in self.unpinned]
        if omitted := sorted(set(self._kept()) - set(self._attached())):
            value["not_attached"] = [f"provenance/manifests/{name}.json" for name in omitted]
        if earlier:
            value["earlier"] = dict(sorted(earlier.items()))
        return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()

    def manifests(self) -> dict[str, bytes]:
        """The manifests artifact: `<name>.json` and `<name>.json.dsse` as received, of pins that still have them."""
        from databom.model.digest import sha256
        from databom.storage.files import read_bounded

        digests = {one.name: one.pin.manifest for one in self.pins}
        found = {}
        for name, paths in self._attached().items():
            data = {path.name: read_bounded(path, MAX_ATTACHED_BYTES) for path in paths}
            if sha256(data.get(f"{name}.json", b"")) == digests[name]:
                found.update(data)
        return found

    def _kept(self) -> dict[str, list[Path]]:
        place = self.project
        paths = {
            one.name: [place.manifest_path(one.name), place.envelope_path(one.name)] for one in self.pins
        }
        return {name: [path for path in pair if path.is_file()] for name, pair in paths.items()}

    def _attached(self) -> dict[str, list[Path]]:
        left, chosen = MAX_ATTACHED_BYTES, {}
        for name, paths in self._kept().items():
            size = sum(path.stat().st_size for path in paths)
            if size <= left:
                chosen[name] = paths
                left -= size
        return chosen

    def inputs(self) -> tuple[Dataset, ...]:
        """Each pin as a dataset input: short digest for MLflow, full digests in its source and tags."""
        from databom.hosts.tracking import CONTEXT_TAG, MAX_INPUT_TAG_CHARS, Dataset

        found = []
        for one in self.pins:
            pin = one.pin
            source = {"name": one.name, "release": pin.release, "manifest": pin.manifest, "tree": pin.tree}
            facts = {key: getattr(pin, key) for key in ("release", "manifest", "tree", "license", "payment")}
            tags = {
                f"databom.{key}": bounded(text or "none", MAX_INPUT_TAG_CHARS) for key, text in facts.items()
            }
            counts = {key: one.checked[key] for key in ("assets", "bytes") if key in one.checked}
            found.append(
                Dataset(
                    name=one.name,
                    digest=pin.manifest.removeprefix("sha256:")[:36],
                    source_type=SOURCE_TYPE,
                    source=json.dumps(
                        {**source, "source": _public(pin.source), "root": _public(pin.root)},
                        ensure_ascii=False,
                    ),
                    profile=json.dumps(counts) if counts else None,
                    tags={CONTEXT_TAG: "training", **tags},
                )
            )
        return tuple(found)


def _public(location: str) -> str | None:
    """A location for others to see: a URL or a path in the project, but no path of this machine."""
    return None if location.startswith("/") else location


def public_pin(pin: Pin) -> Pin:
    """The pin as a run's BOM shows it to others: without the paths of this machine."""
    from msgspec.structs import replace as changed

    return changed(pin, source=_public(pin.source) or "", root=_public(pin.root) or "")


def for_run(root: Path | str, environ: Mapping[str, str] = os.environ) -> RunEvidence:
    """Read the project at `root`: its pins, what was recorded about each, the running stage. No tree is looked at.

    Raises:
        ConfigError: the project cannot be used.
        StorageError: one of its files is there and cannot be read.
    """
    from databom.tasks.passed import recorded, trust_in_force
    from databom.tasks.project import Project
    from databom.tasks.use import stage_pins

    project = Project.load(root)
    trust = trust_in_force(project, environ)
    pins = []
    for name, pin in sorted(project.lock.pins.items()):
        doubt, checked, approvals = recorded(project, name, pin, trust)
        verdict = "fail" if doubt else "unverified"
        one = PinEvidence(name, pin, verdict, doubt or PENDING, checked=checked, approvals=approvals)
        pins.append(replace(one, receipts=_receipts(project, one)))
    return RunEvidence(project, tuple(pins), stage_pins(project, environ))


def _receipts(project: Project, one: PinEvidence) -> tuple[str, ...]:
    from databom.tasks.paid import has_evidence, receipts_held

    if not has_evidence(project, one.name):  # then the manifest is not parsed for it
        return ()
    manifest = _parsed(project, one)
    return () if manifest is None else receipts_held(project, one.name, manifest)


# A grid search begins a hundred runs on the same pins: their manifests are parsed once.
_manifests: dict[str, Manifest] = {}
_manifests_lock = ForkLock()


def _parsed(project: Project, one: PinEvidence) -> Manifest | None:
    """The kept manifest, when it is the pinned one now."""
    from databom.errors import DatabomError
    from databom.model.digest import sha256
    from databom.model.manifest import MAX_ASSETS, MAX_MANIFEST_BYTES, read_manifest
    from databom.storage.files import read_bounded
    from databom.tasks.sharding import kept_in

    try:
        raw = read_bounded(project.manifest_path(one.name), MAX_MANIFEST_BYTES)
        if sha256(raw) != one.pin.manifest:
            return None
        with _manifests_lock:
            manifest = _manifests.get(one.pin.manifest)
        if manifest is not None:
            return manifest
        manifest = read_manifest(raw)
        if manifest.asset_count <= MAX_ASSETS:  # a run does not wait for the shards of more
            manifest = kept_in(project.index_path(one.name)).complete(manifest)
    except DatabomError:
        return None
    with _manifests_lock:
        if sum(len(known.assets) for known in (*_manifests.values(), manifest)) > MAX_KEPT_ASSETS:
            _manifests.clear()
        if len(manifest.assets) <= MAX_KEPT_ASSETS:
            _manifests[one.pin.manifest] = manifest
    return manifest
