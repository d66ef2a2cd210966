"""`databom redact`: a derived release in which nothing is left that a scanner finds, signed by the team itself.

1. The pinned release is judged, and its assets are scanned as the gate scans them.
2. Assets in which nothing was found are copied. In the others faces are painted over, texts masked, metadata dropped.
3. What was written is scanned again, from the disk. While anything is still found, nothing is signed: the answer is no.
4. The manifest says of each asset what it was made from (`redacted_from`), of the release which one it derives from
   (`provenance`), and by what it was made safer (`data-risk-reducing`). Its marketplace is `internal`.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from databom.checks.bounding import shown_bounded
from databom.checks.measuring import shown_path
from databom.checks.personal import advice
from databom.checks.scanning import Scan
from databom.errors import ConfigError
from databom.hosts import dvc_state
from databom.model import times
from databom.model.finding import Finding, Report, Severity, Summary
from databom.model.manifest import Asset, Manifest, read_manifest
from databom.scanners.masking import redacted
from databom.storage import files
from databom.storage.tree import LocalTree
from databom.tasks.believing import load_trust
from databom.tasks.judging import Judged, judge_pin
from databom.tasks.keyring import read_private_key
from databom.tasks.personal import chosen, look
from databom.tasks.progress import Progress, Silent
from databom.tasks.project import Project
from databom.tasks.publishing import MANIFEST
from databom.tasks.receiving import ENVELOPE_SUFFIX
from databom.trust.opening import sign_manifest

MARKETPLACE = "internal"
_OTHERS = frozenset({"asset_index", "payment", "supersedes"})
"""Members about the original alone: how it lists its assets, who paid for it, what came before it."""
MAX_REDACTED_BYTES = 64 * 1024 * 1024
_CANNOT = "it holds personal data, and cannot be cleaned"


class Redacted(Struct, frozen=True):
    """What `redact` answers: a report, and what was written on a pass."""

    report: Report
    manifest_path: Path | None = None
    release: str = ""
    changed: int = 0
    left_out: int = 0


def redact(
    name: str,
    output: Path | str,
    *,
    key: Path | str,
    dataset_id: str | None = None,
    version: str | None = None,
    leave_out: bool = False,
    project: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Redacted:
    """Write a derived release of the pin `name` into `output`, with its personal data taken out.

    Args:
        name: the pin; its assets are there and hold.
        output: a folder that is not there yet, or is empty.
        key: the team's private key. Whoever is to believe the derived release trusts it for `internal`.
        dataset_id: of the derived release; by default the pinned one's with `-redacted`.
        version: of the derived release; by default the pinned one's.
        leave_out: leave out assets that cannot be cleaned, instead of refusing.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: told how far it is.

    Raises:
        ConfigError: no project, an unknown name, a folder that is not empty, or a key that cannot be used.
        StorageError: an asset cannot be read, or the release not be written.
    """
    now = times.or_now(now)
    place = Project.load(project)
    pin = place.pin(name)
    signer = read_private_key(key)
    folder = Path(output)
    _require_empty(folder)
    judged = judge_pin(place, name, load_trust(place), now=now)
    manifest = judged.manifest
    if manifest is None or not judged.is_believed:
        return Redacted(judged.report(name))
    tree = LocalTree(place.data_path(pin), cache_root=dvc_state.cache_root(place.root))
    told = progress or Silent()
    names = chosen()
    seen = look(manifest, tree, names, told, name)
    made = _Made(manifest, seen, tree, folder, leave_out=leave_out)
    made.write()
    if made.findings:
        _empty(folder)
        return Redacted(made.report(judged, name))

    def signed() -> tuple[bytes, bytes]:
        called = dataset_id or f"{manifest.dataset_id}-redacted"
        raw, envelope = sign_manifest(
            _members(manifest, seen, made, called, version, now), signer, embed=False
        )
        assert envelope is not None
        return raw, envelope

    raw, envelope = signed()
    derived = read_manifest(raw)
    again = look(derived, LocalTree(folder), names, told, derived.dataset_id)
    if leave_out and again.told:
        made.drop({asset.path for asset, _ in again.told})
        raw, envelope = signed()
    else:
        made.findings += _still_there(again)
    report = made.report(judged, name, again)
    if made.findings:
        _empty(folder)
        return Redacted(report)
    target = folder / MANIFEST
    files.write_atomic(target, raw)
    files.write_atomic(target.with_name(target.name + ENVELOPE_SUFFIX), envelope)
    return Redacted(report, target, derived.release, made.changed, len(made.left_out))


def _require_empty(folder: Path) -> None:
    if files.is_taken(folder) and (not files.is_folder(folder) or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there and not empty", hint="name a folder that does not exist yet")


def _empty(folder: Path) -> None:
    """Remove what was written and is not to be used; the folder was empty, so it is all ours."""
    with files.translated(folder, "write"):
        if folder.is_dir():
            for entry in list(folder.iterdir()):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


class _Row(NamedTuple):
    asset: Asset
    sha256: str
    size: int
    is_changed: bool


class _Made:
    """The derived release's files, and what stands in the way."""

    def __init__(
        self, manifest: Manifest, seen: Scan, tree: LocalTree, folder: Path, *, leave_out: bool
    ) -> None:
        self._manifest, self._tree, self._folder, self._leave_out = manifest, tree, folder, leave_out
        self._told = {asset.path: answer for asset, answer in seen.told}
        self.rows: list[_Row] = []
        self.left_out: list[Asset] = []
        self.findings: list[Finding] = []

    @property
    def changed(self) -> int:
        """How many assets are not what they were made from."""
        return sum(row.is_changed for row in self.rows)

    def write(self) -> None:
        """Write every asset that is or can be made clean."""
        for asset in self._manifest.assets:
            answer = self._told.get(asset.path)
            if answer is None:
                self._copy(asset)
            elif answer.refused is not None or answer.seen is None:
                what = answer.refused or "it was not looked at"
                self.findings.append(Finding("pii.unanswered", Severity.BLOCK, shown_path(asset.path), what))
            elif answer.seen.doubts:
                doubt = answer.seen.doubts[0]
                self._refuse(asset, "pii.unanswered", doubt.what, f"{advice(doubt)}; or ")
            else:
                self._clean(asset)
        if not self.findings:
            self._require_rows()

    def drop(self, paths: set[str]) -> None:
        """Leave out, too, what was written under these paths."""
        with files.translated(self._folder, "write"):
            for path in paths:
                (self._folder / path).unlink()
        self.left_out += [row.asset for row in self.rows if row.asset.path in paths]
        self.rows = [row for row in self.rows if row.asset.path not in paths]
        self._require_rows()

    def _require_rows(self) -> None:
        if not self.rows:
            raise ConfigError("nothing is left of the release", hint="there is no asset that can be cleaned")

    def _refuse(self, asset: Asset, code: str, what: str, instead: str = "") -> None:
        if self._leave_out:
            self.left_out.append(asset)
            return
        do = f"{instead}databom redact --leave-out leaves such assets out of the derived release"
        self.findings.append(Finding(code, Severity.BLOCK, shown_path(asset.path), what, do=do))

    def _clean(self, asset: Asset) -> None:
        with self._tree.open(asset.path) as stream:
            if stream.opened.size > MAX_REDACTED_BYTES:
                self._refuse(
                    asset, "pii.found", f"{_CANNOT}: it is larger than {MAX_REDACTED_BYTES >> 20} MiB"
                )
                return
            data = b"".join(iter(lambda: stream.read(1 << 20), b""))
        if hashlib.sha256(data).hexdigest() != asset.sha256:
            raise ConfigError(f"{shown_path(asset.path)} was changed meanwhile", hint="databom verify NAME")
        clean = redacted(data, asset.media_type, asset.path)
        if clean is None:
            self._refuse(asset, "pii.found", _CANNOT)
            return
        with files.translated(self._folder, "write"):
            target = self._place(asset)
            target.write_bytes(clean)
        self.rows.append(_Row(asset, hashlib.sha256(clean).hexdigest(), len(clean), is_changed=True))

    def _copy(self, asset: Asset) -> None:
        with self._tree.open(asset.path) as stream, files.translated(self._folder, "write"):
            target = self._place(asset)
            digest, size = hashlib.sha256(), 0
            with target.open("xb") as file:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
                    size += file.write(chunk)
        if digest.hexdigest() != asset.sha256:
            raise ConfigError(f"{shown_path(asset.path)} was changed meanwhile", hint="databom verify NAME")
        self.rows.append(_Row(asset, asset.sha256, size, is_changed=False))

    def _place(self, asset: Asset) -> Path:
        target = self._folder / asset.path  # a manifest's path leads nowhere else, and the folder is new
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def report(self, judged: Judged, name: str, again: Scan | None = None) -> Report:
        """The report about the pin, with what stands in the way."""
        summary = Summary(
            assets=len(self._manifest.assets),
            bytes=sum(row.size for row in self.rows),
            checked=len(self.rows) + len(self.left_out),
            failed=len({finding.subject for finding in self.findings}),
        )
        whole = judged.report(name, tuple(shown_bounded(self.findings)), summary)
        if again is None:
            return whole
        return Report(
            whole.subject,
            whole.findings,
            summary,
            trust=whole.trust,
            policy=whole.policy,
            scanners=again.described(),
        )


def _still_there(again: Scan) -> list[Finding]:
    findings = []
    for asset, answer in again.told:
        subject = shown_path(asset.path)
        if answer.seen is not None and answer.seen.hits:
            kinds = ", ".join(sorted(answer.seen.hits))
            what = f"a scanner still finds personal data in what was written: {kinds}"
            do = "databom redact --leave-out leaves the asset out; nothing was signed"
            findings.append(Finding("pii.found", Severity.BLOCK, subject, what, do=do))
        else:
            what = answer.refused or (answer.seen.doubts[0].what if answer.seen else "")
            findings.append(Finding("pii.unanswered", Severity.BLOCK, subject, what))
    return findings


def _members(
    manifest: Manifest, seen: Scan, made: _Made, dataset_id: str, version: str | None, now: datetime
) -> dict[str, Any]:
    source = {"dataset_id": manifest.dataset_id, "version": manifest.version, "sha256": manifest.digest[7:]}
    record = {
        "method": "faces painted over and padded by 20 %, texts masked, metadata of changed pictures dropped",
        "scanners": [_named(one) for one in seen.described()],
        "checked_at": times.format(now),
        "changed": made.changed,
        "left_out": [{"path": asset.path, "sha256": asset.sha256} for asset in made.left_out],
    }
    said = _said(manifest)
    members: dict[str, Any] = {
        **said,
        "dataset_id": dataset_id,
        "version": version or manifest.version,
        "marketplace_id": MARKETPLACE,
        "issued_at": times.format(now),
        "provenance": {"derived_from": source},
        "data-risk-reducing": [*said.get("data-risk-reducing", ()), record],
    }
    rows = {row["path"]: row for row in members.pop("assets", ())}
    members["assets"] = [_listed(row, rows.get(row.asset.path)) for row in made.rows]
    return members


def _said(manifest: Manifest) -> dict[str, Any]:
    """All that the manifest says and that is still true of what was made from it, in its own words.

    Whatever restricts the original restricts what is derived from it, also where this version does not know the member.
    """
    if manifest.form == "manifest":
        said = _without_absent(manifest.content())
    else:
        said = _without_absent(
            {
                "license": _plain(manifest.license),
                "creator_id": manifest.creator_id,
                "expires_at": manifest.expires_at,
                "consents": [_plain(consent) for consent in manifest.consents],
                "classification": list(manifest.classification),
            }
        )
    return {key: value for key, value in said.items() if key not in _OTHERS}


def _named(scanner: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("name", "version", "model", "settings")
    return {key: scanner[key] for key in kept if scanner[key] is not None}


def _listed(row: _Row, said: Mapping[str, Any] | None) -> dict[str, Any]:
    asset = row.asset
    listed = {**(said or _plain(asset)), "sha256": row.sha256, "size": row.size}
    if row.is_changed:
        listed["redacted_from"] = {"sha256": asset.sha256}
        listed.pop("consent", None)  # it was given for what is gone
    return listed


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = _without_absent(msgspec.to_builtins(value, builtin_types=(datetime,)))
    return found


def _without_absent(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_absent(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in kept.items() if item not in ([], ())}
    if isinstance(value, datetime):
        return times.format(value)
    return [_without_absent(item) for item in value] if isinstance(value, (list, tuple)) else value
