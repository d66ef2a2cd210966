"""What could not be delivered: `.databom/spool/<run>.json`, delivered when the server answers again.

An entry names the manifests, which the project keeps anyway, by digest, and holds everything else: the run's id,
where it is tracked (without user, password or query), its tags, dataset inputs, BOM and report. Delivering is
idempotent (tags and artifacts are replaced, inputs that are there are kept), so an entry is removed after it was
delivered and not before.

Entries are written by this machine or not used: a spool that came with somebody's repository must not be able to write
to this user's tracking server. What an entry may set is limited to what databom sets.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from databom.model.trainings import VERDICT_TAG

if TYPE_CHECKING:
    from databom.hosts.tracking import Dataset, Tracking

VERSION = 1
MAX_ENTRY_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 1000
"""Runs whose evidence is kept; a project that has not reached its server for longer says so and keeps no more."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class Parcel(Struct, frozen=True):
    """What one run still has to be given."""

    run_id: str
    tracking: str
    """The server, as `hosts.tracking.shown_uri` shows it."""
    tags: Mapping[str, str]
    files: Mapping[str, bytes]
    """Artifacts by path below the run's."""
    manifests: Mapping[str, str] = field(default_factory=dict)
    """Artifacts that are files of `provenance/manifests/`: the digest each must have, by file name."""
    inputs: tuple[Dataset, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    """Registered versions whose pages are to say `credit`."""
    credit: str = ""
    models: tuple[str, ...] = ()
    """Logged models of the run, which get a copy of its receipt."""
    was_killed: bool = False
    """Whether nobody saw the run's end: then its verdict replaces any but a no that the run said itself."""


def folder(root: str) -> Path:
    """Where a project's spool is."""
    return Path(root) / ".databom" / "spool"


def path_of(root: str, run_id: str) -> Path:
    """Where a run's entry is. A run's id is the server's word: one that is no plain name is hashed."""
    plain = run_id if _PLAIN.match(run_id) else hashlib.sha256(run_id.encode("utf-8", "replace")).hexdigest()
    return folder(root) / f"{plain}.json"


def put(root: str, parcel: Parcel) -> bool:
    """Keep a parcel, replacing an earlier one of the same run; False when the spool is full.

    Raises:
        StorageError: it cannot be written.
    """
    from databom.storage import files
    from databom.storage.machine import machine

    place = folder(root)
    files.make_private_dir(place.parent)
    files.make_private_dir(place)
    target = path_of(root, parcel.run_id)
    if not target.exists() and sum(1 for _ in place.iterdir()) >= MAX_ENTRIES:
        return False
    value = {
        "version": VERSION,
        "machine": machine(),
        "run_id": parcel.run_id,
        "tracking": parcel.tracking,
        "tags": dict(parcel.tags),
        "files": {path: data.decode("utf-8", "surrogateescape") for path, data in parcel.files.items()},
        "manifests": dict(parcel.manifests),
        "inputs": [{**asdict(one), "tags": dict(one.tags)} for one in parcel.inputs],
        "versions": [list(one) for one in parcel.versions],
        "credit": parcel.credit,
        "models": list(parcel.models),
        "was_killed": parcel.was_killed,
    }
    files.write_atomic(target, json.dumps(value, indent=1).encode(), mode=0o600)
    return True


def add(root: str, parcel: Parcel) -> bool:
    """Keep a parcel beside what is kept for the same run already; where both say something, the new one holds.

    Raises:
        StorageError: it cannot be written.
    """
    before = read(path_of(root, parcel.run_id))
    if before is not None and before.tracking == parcel.tracking:
        keeps_no = parcel.was_killed and before.tags.get(VERDICT_TAG) == "fail"
        parcel = replace(
            parcel,
            tags={**before.tags, **parcel.tags, **({VERDICT_TAG: "fail"} if keeps_no else {})},
            files={**before.files, **parcel.files},
            manifests={**before.manifests, **parcel.manifests},
            inputs=parcel.inputs or before.inputs,
            versions=tuple(dict.fromkeys((*before.versions, *parcel.versions))),
            credit=parcel.credit or before.credit,
            models=tuple(dict.fromkeys((*before.models, *parcel.models))),
        )
    return put(root, parcel)


def forget(root: str, run_id: str) -> None:
    """The run has everything: its entry, if there is one, is done with."""
    with suppress(OSError):
        path_of(root, run_id).unlink(missing_ok=True)


def entries(root: str) -> list[Path]:
    """The entries, oldest first."""
    try:
        found = [(path.stat().st_mtime_ns, path) for path in folder(root).glob("*.json")]
    except OSError:
        return []
    return [path for _, path in sorted(found)]


def read(path: Path) -> Parcel | None:
    """An entry's parcel; None when it is not one this machine wrote."""
    from databom.errors import DatabomError
    from databom.hosts.tracking import Dataset
    from databom.storage.files import read_bounded
    from databom.storage.machine import machine
    from databom.tasks.evidence import FOLDER, SOURCE_TYPE

    try:
        value: Any = json.loads(read_bounded(path, MAX_ENTRY_BYTES))
        if value["version"] != VERSION or value["machine"] != machine():
            return None
        parcel = Parcel(
            run_id=_text(value["run_id"]),
            tracking=_text(value["tracking"]),
            tags={_text(key): _text(tag) for key, tag in value["tags"].items()},
            files={
                _text(key): text.encode("utf-8", "surrogateescape") for key, text in value["files"].items()
            },
            inputs=tuple(Dataset(**one) for one in value["inputs"]),
            manifests={_text(key): _text(digest) for key, digest in value["manifests"].items()},
            versions=tuple((_text(name), _text(number)) for name, number in value.get("versions", ())),
            credit=_text(value.get("credit", "")),
            models=tuple(_text(one) for one in value.get("models", [])),
            was_killed=value.get("was_killed") is True,
        )
    except (DatabomError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    ours = (
        all(key.startswith("databom.") for key in parcel.tags)
        and all(re.fullmatch(rf"{FOLDER}/[A-Za-z0-9_.-]+", key) for key in parcel.files)
        and all(re.fullmatch(r"[A-Za-z0-9_-]+\.json(\.dsse)?", key) for key in parcel.manifests)
        and all(one.source_type == SOURCE_TYPE for one in parcel.inputs)
        and all(_PLAIN.match(one) for one in parcel.models)
    )
    return parcel if ours else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def drain(root: str, tracking: Tracking, shown: str, *, go_on: Callable[[], bool]) -> int:
    """Deliver what is kept for one server, oldest first, one at least and then while `go_on()`; how many runs were.

    The first failure ends it. That entry goes to the end of the line, so that one the server will not have does not
    stand in the way of the others for ever. Never raises for the server.
    """
    from databom.hosts.tracking import is_gone

    done = 0
    for path in entries(root):
        if done and not go_on():
            break
        before = _identity(path)
        parcel = read(path)
        if parcel is None or parcel.tracking != shown or path != path_of(root, parcel.run_id):
            continue
        try:
            send(tracking, _with_manifests(root, parcel), None)
        except Exception as error:  # noqa: BLE001  # MLflow raises what its stores raise
            if not is_gone(error):
                with suppress(OSError):
                    os.utime(path)
                break
            # The run was deleted: what was to be said about it stays as evidence, and is not tried again.
            with suppress(OSError):
                path.replace(path.with_suffix(".undeliverable"))
            continue
        if _identity(path) == before:  # else the run has said more since
            with suppress(OSError):
                path.unlink()
        done += 1
    return done


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _with_manifests(root: str, parcel: Parcel) -> Parcel:
    """With the manifests that are still kept as they were."""
    from databom.errors import DatabomError
    from databom.model.digest import sha256
    from databom.storage.files import read_bounded
    from databom.tasks.evidence import FOLDER, MAX_ATTACHED_BYTES

    files = dict(parcel.files)
    for name, digest in parcel.manifests.items():
        with suppress(DatabomError):
            data = read_bounded(Path(root) / "provenance" / "manifests" / name, MAX_ATTACHED_BYTES)
            if sha256(data) == digest:
                files[f"{FOLDER}/manifests/{name}"] = data
    return replace(parcel, files=files)


def send(tracking: Tracking, parcel: Parcel, artifact_uri: str | None) -> None:
    """Give a run its parcel: tags last, since they speak of the artifacts."""
    from databom.mlflow import record  # which imports this module

    if parcel.inputs:
        tracking.log_inputs(parcel.run_id, parcel.inputs)
    if parcel.files:
        tracking.put(parcel.run_id, artifact_uri, parcel.files)
    for version in parcel.versions:
        record.credit(tracking, version, parcel.credit)
    tags = dict(parcel.tags)
    if parcel.was_killed and tracking.tag(parcel.run_id, VERDICT_TAG) == "fail":
        tags.pop(VERDICT_TAG, None)
    if tags:
        tracking.set_tags(parcel.run_id, tags)
    send_to_models(tracking, parcel)


def send_to_models(tracking: Tracking, parcel: Parcel) -> None:
    """Give the run's models a copy of its receipt; one that was deleted meanwhile is passed over."""
    from databom.hosts.tracking import is_gone
    from databom.model.trainings import PROOF_FILE, RECEIPT_FILE
    from databom.tasks.evidence import FOLDER

    wanted = {name: parcel.files.get(f"{FOLDER}/{name}") for name in (RECEIPT_FILE, PROOF_FILE)}
    files = {name: data for name, data in wanted.items() if data is not None}
    digest = parcel.tags.get("databom.receipt")
    if not parcel.models or digest is None:
        return
    for model_id in parcel.models if files else ():
        try:
            tracking.put_to_model(model_id, FOLDER, files)
        except Exception as error:
            if not is_gone(error):
                raise
    tracking.tag_versions(parcel.run_id, "databom.receipt", digest)
