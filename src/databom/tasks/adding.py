"""`databom add`: pin one release of one dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from msgspec.structs import replace

from databom.checks.release import pin_of
from databom.errors import ConfigError, InputError, StorageError
from databom.hosts import dvc_state, dvc_yaml
from databom.log.events import Pinned
from databom.model import times
from databom.model.finding import Finding, Report, Severity, Subject, findings_of
from databom.model.lock import Pin, Seen, SeenRelease, check_pin_name, pin_name
from databom.model.manifest import Manifest
from databom.model.strictjson import MAX_DOCUMENT_BYTES
from databom.storage import files
from databom.storage.location import Location
from databom.tasks import confine, equivocation
from databom.tasks.believing import load_trust
from databom.tasks.gatekeeping import Gatekeeper
from databom.tasks.judging import Judged, content_digests, judge
from databom.tasks.noting import Noted, noting
from databom.tasks.project import EVIDENCE_ABOUT, Project, exclusive_project, find_root, read_optional
from databom.tasks.receiving import Received, keep, receive
from databom.tasks.taken_back import lost_notices


def add(
    manifest: str,
    *,
    name: str | None = None,
    root: str | None = None,
    path: str | None = None,
    allow_rollback: bool = False,
    dvc: bool = True,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> Report:
    """Fetch a manifest, prove who signed it, pin it, keep its bytes, and register its DVC stage.

    Nothing is written unless the manifest's form, signature and release hold. A refusal by policy still pins, so
    that `check`, `sync` and the stage refuse it by name.

    Args:
        manifest: a path, or an https://, s3:// or r2:// URL.
        name: the pin's name; by default made from the dataset id.
        root: where the assets are; by default the manifest's own directory.
        path: where they go locally; by default `data/<name>`.
        allow_rollback: as of `update`: what this project has seen of a dataset outlives its pins.
        dvc: write the stage into `dvc.yaml` where the project uses DVC.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.

    Returns:
        A report; `storage.*` findings where the manifest could not be had.

    Raises:
        ConfigError: no project, an unusable name, a name that pins another dataset, a stage that is not ours.
    """
    if name is not None:
        check_pin_name(name)
    now = times.or_now(now)
    folder = Path(project).absolute() if project is not None else find_root()
    with noting(folder, now) as happened, exclusive_project(folder):
        place = Project.load(folder)
        location = place.locate(manifest)
        try:
            received = receive(location, name=name)
        except (InputError, StorageError) as error:
            return Report(Subject(name), findings_of(error), policy=place.config.policy_digest)
        return pin_release(
            place,
            location,
            received,
            name,
            happened,
            root=root,
            path=path,
            dvc=dvc,
            allow_rollback=allow_rollback,
            now=now,
        )


def pin_release(
    place: Project,
    location: Location,
    received: Received,
    name: str | None,
    happened: list[Noted],
    *,
    root: str | None = None,
    path: str | None = None,
    dvc: bool = True,
    allow_rollback: bool = False,
    now: datetime,
) -> Report:
    """Judge what was received and pin it; the caller holds the project's writing lock.

    Two contents under one name are kept as evidence, both. With `allow_rollback`, a release that is refused for
    nothing but its place in the order is pinned; that is written into `seen`, and the order starts there anew.
    A release that was not pinned under this name before is put on the list of what happened.
    """
    believed = load_trust(place)
    # The memory is per dataset, so the dataset's name is needed before the judgement that uses it.
    first = judge(received, believed, config=place.config, now=now)
    seen: Seen | None = None
    doubts: tuple[Finding, ...] = ()
    told = None
    if first.manifest is not None:
        seen = place.lock.seen.get(first.manifest.dataset_id)
        if not first.is_doubted:
            from databom.tasks.recollecting import recollect

            told = recollect(place, believed, now)
            seen, differences = told.of(first.manifest.dataset_id, seen)
            doubts = (*told.findings, *differences)
    held = place.lock.pins.get(name) if name is not None else None
    if first.manifest is not None and held is not None and held.manifest == first.manifest.digest:
        seen_now = None  # this very manifest is what the name pins: whoever pinned it decided then
    else:
        seen_now = seen
    judged = judge(received, believed, config=place.config, seen=seen_now, now=now) if seen_now else first
    judged = replace(judged, doubts=(*judged.doubts, *doubts))
    if allow_rollback:
        judged = _allow(judged)
    read = judged.manifest
    codes = _doubted_for(judged)
    if read is not None and "release.equivocation" in codes and all(c.startswith("release.") for c in codes):
        judged = _with_evidence(judged, *equivocation.keep_both(place, name, received, read))
    if read is None or not judged.is_believed:
        return judged.report(name)
    name = name or pin_name(read.dataset_id)
    _check_free(place, name, read)
    pin = _pin(place, name, location, read, judged, root, path)
    beside = (received.envelope is not None, received.timestamps is not None, bool(read.index))
    stage = _Stage.prepare(place, name, pin, *beside) if dvc else None
    _check_folder(place, name, pin)

    # Order: what is kept first, the pin that refers to it second, the stage that refers to the pin last, so
    # that a crash between any two leaves a project that still works.
    old = place.lock.pins.get(name)
    if old is not None and old.manifest != read.digest:
        equivocation.keep_earlier(place, name)
    keep(place, name, received, read)
    judged_newest = seen is None or seen_now is not None
    went_back = seen_now is not None and any(f.code == "release.rollback" for f in judged.doubts)
    memory = _reset(seen, read, now) if seen and went_back else seen
    lock = place.lock.with_pin(name, pin).with_seen(read.dataset_id, _seen(memory, read, now, judged_newest))
    place = place.save_lock(lock)
    if old is None or old.manifest != pin.manifest:
        happened.append(_pinned(name, pin, read, believed.digest, rollback=went_back))
    if path is not None:  # what only the lock says is nobody's choice on this machine
        confine.accept(place, name, pin)
    if stage is not None:
        stage.write()
    report = Gatekeeper.of(place, name, judged, believed, now).documents(judged).report(name)
    return report if told is None else report.plus(lost_notices(place, told, name))


def _pinned(name: str, pin: Pin, manifest: Manifest, trust: str | None, *, rollback: bool) -> Pinned:
    assert trust is not None  # nothing is pinned that no root believes
    content, core = content_digests(manifest)
    return Pinned(
        name=name,
        release=pin.release,
        manifest=pin.manifest,
        tree=pin.tree,
        source=pin.source,
        keyids=tuple(pin.keyids),
        trust=trust,
        sequence=pin.sequence,
        issued_at=pin.issued_at,
        content=content,
        core=core,
        rollback=rollback,
    )


def _doubted_for(judged: Judged) -> set[str]:
    """The codes of all that blocks short of policy."""
    return {finding.code for finding in judged.doubts if finding.severity is Severity.BLOCK}


def _allow(judged: Judged) -> Judged:
    """The judgement with a refusal for order alone turned into a warning; with any other refusal, as it is."""
    if _doubted_for(judged) != {"release.rollback"}:
        return judged
    do = "allowed by --allow-rollback; this is recorded in databom.lock"
    return _retold(judged, "release.rollback", severity=Severity.WARN, do=do)


def _with_evidence(judged: Judged, where: str, both: bool) -> Judged:
    """The judgement, its equivocation saying where the contents were kept."""
    do = f"both are kept in {where}: ask the marketplace which one it stands by"
    if not both:
        do = f"this one is kept in {where}; find the first in git (git log -- provenance/manifests) and keep it too"
    return _retold(judged, "release.equivocation", do=do)


def _retold(judged: Judged, code: str, **changes: Any) -> Judged:
    """The judgement with its doubts of one code changed in these members."""
    told = (replace(doubt, **changes) if doubt.code == code else doubt for doubt in judged.doubts)
    return replace(judged, doubts=tuple(told))


def _reset(seen: Seen, manifest: Manifest, now: datetime) -> Seen:
    """The memory after a rollback somebody asked for: the order starts at this release, and a note says from where.

    Without this, a marketplace that once published a far too high sequence could never be updated from again
    (TUF's fast-forward recovery).
    """
    left = "an undecided order"
    if seen.sequence is not None:
        left = f"sequence {seen.sequence}"
    elif seen.issued_at is not None:
        left = f"issue date {seen.issued_at}"
    note = f"{times.format(now)} {manifest.release}: rollback allowed, from {left}"
    return msgspec.structs.replace(seen, sequence=None, issued_at=None, notes=(*seen.notes, note))


def _check_free(place: Project, name: str, manifest: Manifest) -> None:
    """A name stands for one dataset, and one release at a time."""
    old = place.lock.pins.get(name)
    if old is None or old.manifest == manifest.digest:
        return
    if old.dataset_id != manifest.dataset_id:
        raise ConfigError(
            f"{name!r} already pins {old.release}; {manifest.release} needs a name of its own",
            hint="choose one with --name",
        )


def _check_folder(place: Project, name: str, pin: Pin) -> None:
    """Each pin's folder is its own: `sync` would take the other's good files for evidence and move them away."""
    mine = place.data_path(pin)
    for other, held in sorted(place.lock.pins.items()):
        theirs = place.data_path(held)
        if other != name and (mine.is_relative_to(theirs) or theirs.is_relative_to(mine)):
            raise ConfigError(
                f"{pin.path} overlaps {held.path}, the folder of the pin {other!r}",
                hint="choose another folder with --path",
            )


def _pin(
    place: Project,
    name: str,
    location: Location,
    manifest: Manifest,
    judged: Judged,
    root: str | None,
    path: str | None,
) -> Pin:
    assets = place.locate(root) if root is not None else location.parent
    old = place.lock.pins.get(name)
    return pin_of(
        manifest,
        source=location.stored,
        root=assets.stored,
        path=_local_path(place, path, old.path if old else f"data/{name}"),
        keyids=judged.keyids,
        marketplace=judged.marketplace,
    )


def _local_path(place: Project, path: str | None, default: str) -> str:
    if path is None:
        return default
    full = Path(os.path.normpath(Path.cwd() / path))
    inside = full.relative_to(place.root).as_posix() if full.is_relative_to(place.root) else full.as_posix()
    confine.check(inside)
    return inside


def _seen(seen: Seen | None, manifest: Manifest, now: datetime, newest: bool) -> Seen:
    """Remember this release; the newest sequence and issue date never go back.

    `newest` says that it has been judged to be the newest, and not only pinned again.
    """
    seen = seen or Seen()
    content, core = content_digests(manifest)
    stamp = times.format(now)
    known = seen.releases.get(manifest.version)
    release = SeenRelease(
        manifest=manifest.digest,
        content=content,
        core=core,
        first_seen=known.first_seen if known and known.manifest == manifest.digest else stamp,
        fetched_at=stamp,
    )
    issued = times.format(manifest.issued_at) if manifest.issued_at else None
    sequences = [number for number in (seen.sequence, manifest.sequence) if number is not None]
    dates = [date for date in (seen.issued_at, issued) if date is not None]
    return msgspec.structs.replace(
        seen,
        sequence=max(sequences, default=None),
        issued_at=max(dates, default=None),
        newest=manifest.version if newest else seen.newest,
        releases={**seen.releases, manifest.version: release},
    )


_ABOUT = """\
# Evidence for the pin {name}

`databom attach {name} FILE` and `databom approve {name}` keep signed statements here. Whatever changes in this folder,
DVC has the pin judged again. Commit it.
"""


class _Stage:
    """The texts that registering a stage will write, made before anything is written."""

    def __init__(self, texts: Mapping[Path, str]) -> None:
        self._texts = texts

    @classmethod
    def prepare(
        cls, place: Project, name: str, pin: Pin, has_envelope: bool, has_timestamps: bool, has_index: bool
    ) -> _Stage | None:
        """Plan the edit of `dvc.yaml` and what goes with it; None where the project does not use DVC.

        Raises:
            ConfigError: `dvc.yaml` cannot be edited safely.
        """
        if not dvc_state.in_dvc_project(place.root):
            return None
        spec = dvc_yaml.stage_for(
            name,
            pin,
            trust_root=place.config.trust_root,
            has_envelope=has_envelope,
            has_timestamps=has_timestamps,
            has_index=has_index,
        )
        path = place.root / "dvc.yaml"
        texts = {path: dvc_yaml.upsert_stage(_text(path), spec)}
        if not PurePosixPath(pin.path).is_absolute():
            folder, line = dvc_yaml.ignore_line(pin.path)
            ignore = place.root / folder / ".gitignore"
            texts[ignore] = dvc_yaml.ensure_line(_text(ignore), line)
        # DVC cannot depend on a folder that is not there, and git keeps none that is empty.
        about = place.evidence_dir(name) / EVIDENCE_ABOUT
        texts[about] = _text(about) or _ABOUT.format(name=name)
        return cls(texts)

    @classmethod
    def of_pin(cls, place: Project, name: str) -> _Stage | None:
        """The same for a pin that is kept."""
        pin = place.pin(name)
        kept = (place.envelope_path(name), place.timestamps_path(name), place.index_path(name))
        return cls.prepare(place, name, pin, *(path.exists() for path in kept))

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to write."""
        return all(_text(path) == text for path, text in self._texts.items())

    def write(self) -> None:
        for path, text in self._texts.items():
            if _text(path) != text:
                files.write_atomic(path, text.encode("utf-8"))


def _text(path: Path) -> str | None:
    raw = read_optional(path, MAX_DOCUMENT_BYTES)
    if raw is None:
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None


def register_stage(name: str, *, project: Path | str | None = None) -> None:
    """Write, or bring up to date, the DVC stage of a pin.

    Raises:
        ConfigError: no such pin, no DVC project, or a `dvc.yaml` that cannot be edited safely.
    """
    place = Project.load(project)
    stage = _Stage.of_pin(place, name)
    if stage is None:
        raise ConfigError(f"{place.root} is not a DVC project", hint="run `dvc init` first")
    stage.write()


def refresh_stage(place: Project, name: str) -> None:
    """The same where the project uses DVC; nothing where it does not.

    Raises:
        ConfigError: a `dvc.yaml` that cannot be edited safely.
    """
    stage = _Stage.of_pin(place, name)
    if stage is not None:
        stage.write()


def has_current_stage(place: Project, name: str) -> bool:
    """Whether the stage of a pin is as `register_stage` would write it, in a project that uses DVC.

    Raises:
        ConfigError: a `dvc.yaml` that cannot be edited safely.
    """
    stage = _Stage.of_pin(place, name)
    return stage is None or stage.is_current
