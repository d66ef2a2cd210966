"""`databom bundle RUN_ID`: all that is kept about one training run, in one archive that somebody checks offline.

It is made of bytes as they are: signed statements, the manifests as received, entries of the log with their proofs.
What it holds and where is in `databom.model.audit_bundle`; what belongs in and is not kept is named there and told, and
the archive is written all the same. One state of a project gives one archive, byte for byte.

What stays out: assets, params and metrics (people log tokens as params; the receipt has their digest) unless they are
asked for, keys, and every document of ours in which something looks like a secret. A signed document is enclosed as it
was signed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from databom.errors import ConfigError, InputError, PluginError, StorageError
from databom.hosts.git import Commit
from databom.hosts.tracking import run_artifacts
from databom.log.tlogproof import parse_proof
from databom.model import times
from databom.model.audit_bundle import (
    CHECKPOINT,
    INDEX,
    LOCK,
    MAX_BYTES,
    MAX_FILES,
    MAX_RELEASES,
    PARAMS,
    POLICY,
    PROOF,
    RECEIPT,
    RUN,
    TRUST,
    TRUST_THEN,
    Absent,
    Index,
    index_of,
    what_is,
)
from databom.model.config import MAX_CONFIG_BYTES, parse_config
from databom.model.digest import sha256
from databom.model.finding import Report, Subject
from databom.model.lock import Lock, Pin, format_lock
from databom.model.text import printable
from databom.model.trainings import (
    DEPENDENCIES_FILE,
    PROOF_FILE,
    RECEIPT_FILE,
    RECORD_FILE,
    SUBJECTS_FILE,
)
from databom.storage import files
from databom.storage.redact import redact
from databom.storage.storedzip import pack
from databom.tasks.attached import (
    MAX_PROOFS,
    UNSIGNED_SUFFIX,
    evidence_files,
    read_evidence,
)
from databom.tasks.audit_bundle_named import (
    POLICY_URI,
    TRUST_URI,
    concerns,
    document_digest,
    is_about,
    named_as,
    named_documents,
    named_evidence,
)
from databom.tasks.evidence import FOLDER, public_pin
from databom.tasks.explained_data import Used, commit_of, kept_for, used_by
from databom.tasks.explaining import Case, case_of, runs_called, trusted
from databom.tasks.finding_receipts import Search
from databom.tasks.inside import leads_out
from databom.tasks.passed import MAX_REPORT_BYTES
from databom.tasks.project import MAX_TRUST_BYTES, Project, read_possible
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.jcs import canonical

MAX_ENTRIES = 5_000
"""Of the log, beside the receipt: the newest ones."""
_MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
_OVERHEAD = 1_000
"""What a file costs beside its bytes: its headers, and its line in the index."""


class Bundled(Struct, frozen=True):
    """An archive that was written, and what there is to say about it."""

    file: Path
    size: int
    digest: str
    index: Index
    report: Report

    def to_dict(self) -> dict[str, Any]:
        """The report, and `bundle`: `file, size, digest`, and what the index says."""
        about = {"file": str(self.file), "size": self.size, "digest": self.digest}
        return {**self.report.to_dict(), "bundle": {**about, **self.index.to_dict()}}


def bundle(
    run_id: str,
    out: Path | str,
    *,
    params: bool = False,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> Bundled:
    """Write all that is kept about a training run into one archive, for `verify_bundle`.

    Args:
        run_id: a run's id (of MLflow, or of `databom.training`).
        out: the archive to write. Nothing may be there.
        params: whether params and metrics go in.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by; it is not in the archive.

    Returns:
        What was written. Its report says what is not in it (`bundle.incomplete`, `bundle.unanswered`).

    Raises:
        ConfigError: `out` exists; no project, no trust root, the log has no name, no run's id.
        StorageError: no receipt that is believed was found, the log cannot be read or believed, or the archive cannot
            be written.
    """
    out = Path(out)
    if files.is_taken(out):
        raise ConfigError(f"{out} exists and is not overwritten", hint="choose another name, or remove it")
    runs = runs_called(run_id)
    if runs is None:
        raise ConfigError(
            f"{printable(redact(run_id))} is no run's id", hint="databom log show lists the receipts"
        )
    place = Project.load(project)
    now = times.or_now(now)
    believed, root = trusted(place)
    case = case_of(place, believed, Search(place, root, runs, now), now)
    contents = _Contents()
    contents.add(TRUST, root.raw)
    _receipt(case, contents, with_params=params)
    _then(case, contents)
    used, commit = used_by(case), commit_of(case)
    for one in used[:MAX_RELEASES]:
        _release(case, one, commit, contents)
    for one in used[MAX_RELEASES:]:
        contents.lack("manifest", one.name, f"a bundle has at most {MAX_RELEASES:,} releases")
    _pins(case, used, contents)
    _log(case, {one.manifest for one in used if one.manifest is not None}, contents)
    index = index_of(case.found.run, case.found.receipt.digest, contents.files, tuple(contents.absent))
    raw = pack({**contents.files, INDEX: canonical(index.to_dict())})
    files.write_new(out, raw)
    findings = (*index.missing(), *case.found.receipt.findings)
    report = Report(Subject(), findings, trust=root.digest, about=f"bundle of {printable(case.found.run)}")
    return Bundled(out, len(raw), sha256(raw), index, report)


class _Contents(Struct):
    """What goes in, and what does not and why."""

    files: dict[str, bytes] = field(default_factory=dict)
    absent: list[Absent] = field(default_factory=list)
    _size: int = 0

    def add(self, path: str, raw: bytes, *, is_ours: bool = False) -> None:
        """Enclose a file; one of ours only if nothing in it looks like a secret."""
        place = what_is(path)
        if place is None:
            self.lack("document", printable(path), "no bundle has a file of that name")
            return
        what, about = place[0], place[1] or path.removeprefix(RUN)
        if len(self.files) + 1 >= MAX_FILES or self._size + len(raw) + _OVERHEAD > MAX_BYTES - _OVERHEAD:
            self.lack(what, about, "the bundle would be too large")
        elif is_ours and redact(text := raw.decode("utf-8", "replace")) != text:
            self.lack(what, about, "something in it looks like a secret: remove that, and make it again")
        else:
            self.files[path] = raw
            self._size += len(raw) + _OVERHEAD

    def lack(self, what: str, about: str | None, why: str) -> None:
        """Say that something is not there."""
        self.absent.append(Absent(what, about, printable(why, 400)))


# --- the run -------------------------------------------------------------------------------------------


def _receipt(case: Case, contents: _Contents, *, with_params: bool) -> None:
    found, reader = case.found, case.search.reader
    if found.index is not None and reader is not None:
        raw, proof = reader.prove(found.index)
        contents.add(RECEIPT, raw)
        contents.add(PROOF, bytes(proof))
        contents.add(CHECKPOINT, reader.opened.raw)
    else:
        contents.add(RECEIPT, found.beside[RECEIPT_FILE])
        if found.proved is not None:
            contents.add(PROOF, found.beside[PROOF_FILE])
            contents.add(CHECKPOINT, parse_proof(found.beside[PROOF_FILE]).checkpoint)
        else:
            contents.lack("receipt-proof", None, "nothing shows that the receipt was logged")
    lists = (SUBJECTS_FILE, DEPENDENCIES_FILE)
    for name, raw in sorted(found.beside.items()):
        if name == RECORD_FILE and not with_params:
            contents.lack(
                PARAMS, None, "params and metrics, which go in only if they are asked for (--params)"
            )
        elif name not in (RECEIPT_FILE, PROOF_FILE):
            contents.add(RUN + name, raw, is_ours=name not in lists)
    _documents(case, contents, skipped=() if with_params else (RECORD_FILE,))
    every = (*case.subjects, *case.dependencies)
    for name in lists:
        if any("moved" in (one.get("annotations") or {}) and one.get("name") == name for one in every):
            contents.lack("list", name, "it was moved out of the receipt, and is not kept here")


def _documents(case: Case, contents: _Contents, skipped: Collection[str]) -> None:
    """The documents that the receipt names and that were delivered to the tracking server: they count by digest."""
    named = named_documents(case)
    known = {*skipped, *(one.about for one in contents.absent)}
    wanted = [name for name in sorted(named) if name not in known and RUN + name not in contents.files]
    scheme, _, ident = case.found.run.partition(":")
    if not wanted:
        return
    why, found = "it is not kept here", {}
    if scheme == "mlflow":
        limits = {RECEIPT_FILE: MAX_ENVELOPE_BYTES, **dict.fromkeys(wanted, _MAX_DOCUMENT_BYTES)}
        try:
            found = run_artifacts(ident, FOLDER, limits)
            why = "the tracking server does not have the one that the receipt names"
        except PluginError:  # its text names places of this machine
            why = "it is not kept here, and no tracking server gave it"
    for name in wanted:
        if name in found and document_digest(name, found[name]) == named[name]:
            contents.add(RUN + name, found[name], is_ours=True)
        else:
            contents.lack("document", name, why)


def _then(case: Case, contents: _Contents) -> None:
    """The policy that held when the run ended; and the trust root of then, where another one is in force now."""
    place, commit = case.place, commit_of(case)
    policy = named_as(case, POLICY_URI)
    raw = _kept_then(
        commit, place.root / POLICY, MAX_CONFIG_BYTES, lambda found: policy in (None, _policy_digest(found))
    )
    if raw is not None:
        contents.add(POLICY, raw, is_ours=True)
    else:
        contents.lack(
            "policy", None, "databom.toml is another one now, and the one of then is not in git here"
        )
    trust = named_as(case, TRUST_URI)
    if trust is None or trust == sha256(contents.files[TRUST]):
        return
    raw = _kept_then(commit, place.trust_path, MAX_TRUST_BYTES, lambda found: sha256(found) == trust)
    if raw is not None:
        contents.add(TRUST_THEN, raw)
    else:
        contents.lack(
            "trust-then", None, "another trust root is in force now, and the one of then is not in git here"
        )


def _kept_then(commit: Commit | None, path: Path, limit: int, is_it: Callable[[bytes], bool]) -> bytes | None:
    """A file of the project as it is, or as it was at the receipt's commit, whichever is the one that is meant."""
    now = read_possible(path, limit)
    if now is not None and is_it(now):
        return now
    try:
        then = commit.read(path, limit) if commit is not None else None
    except ConfigError:
        return None
    return then if then is not None and is_it(then) else None


def _policy_digest(raw: bytes) -> str | None:
    try:
        return parse_config(raw).policy_digest
    except ConfigError:
        return None


# --- its releases --------------------------------------------------------------------------------------


def _release(case: Case, one: Used, commit: Commit | None, contents: _Contents) -> None:
    """A manifest as received, with its signature, its shards, the proofs about it, and the report of its check."""
    place, name = case.place, one.name
    manifest = f"provenance/manifests/{name}.json"
    if one.manifest is None or what_is(manifest) is None or manifest in contents.files:
        contents.lack("manifest", name, "the receipt names it in a way that no pin has")
        return
    kept = kept_for(case, name, one.manifest, commit)
    if kept is None:
        contents.lack("manifest", name, f"the manifest with the digest {one.manifest} is not kept here")
        return
    received = kept.received
    contents.add(manifest, received.manifest)
    for suffix, raw in ((".dsse", received.envelope), (".dsse.tsr", received.timestamps)):
        if raw is not None:
            contents.add(manifest + suffix, raw)
    try:
        shards = received.read().index
    except InputError:
        shards = ()
    for shard in shards or ():
        path = place.index_path(name) / shard.sha256
        raw = read_possible(path, shard.size) if kept.is_pinned else None
        if raw is not None:
            contents.add(f"provenance/manifests/{name}.index/{shard.sha256}", raw)
        else:
            contents.lack("shard", name, "a list of assets of this large release is not kept here")
    _evidence(place, name, one.manifest, contents)
    enclosed = {
        sha256(raw) for path, raw in contents.files.items() if path.startswith(f"provenance/evidence/{name}/")
    }
    for digest in sorted(named_evidence(one.notes) - enclosed):
        contents.lack("evidence", name, f"the receipt names {digest}, which is not kept here")
    report = one.notes.get("decisionReport")
    if isinstance(report, str):
        raw = read_possible(place.report_path(name), MAX_REPORT_BYTES)
        if raw is not None and sha256(raw) == report:
            contents.add(f"provenance/reports/{name}.json", raw, is_ours=True)
        else:
            contents.lack("report", name, "the report that the receipt names is not kept here")


def _evidence(place: Project, name: str, manifest: str, contents: _Contents) -> None:
    every = evidence_files(place, name)
    if len(every) > MAX_PROOFS:
        contents.lack("evidence", name, f"there are more than {MAX_PROOFS:,} files of it")
    for path in every[:MAX_PROOFS]:
        inside = f"provenance/evidence/{name}/{path.name}"
        if leads_out(place.root, path) is not None or what_is(inside) is None:
            contents.lack("evidence", name, f"{path.name} is a link, or no bundle has a file of that name")
            continue
        try:
            raw = read_evidence(path)
        except (InputError, StorageError):
            contents.lack("evidence", name, f"{path.name} is too large to be evidence, or cannot be read")
            continue
        if is_about(path.name, raw, manifest) is not False:
            contents.add(inside, raw, is_ours=path.name.endswith(UNSIGNED_SUFFIX))


def _pins(case: Case, used: Collection[Used], contents: _Contents) -> None:
    """The lock, as far as it is about these releases, and without the paths of this machine."""
    lock = case.place.lock
    pins = {one.name: _public(lock.pins[one.name]) for one in used if one.is_pinned}
    seen = {pin.dataset_id: lock.seen[pin.dataset_id] for pin in pins.values() if pin.dataset_id in lock.seen}
    contents.add(LOCK, format_lock(Lock(pins, seen, lock.trust)), is_ours=True)


def _public(pin: Pin) -> Pin:
    return replace(public_pin(pin), path="" if pin.path.startswith("/") else pin.path)


# --- the log -------------------------------------------------------------------------------------------


def _log(case: Case, manifests: Collection[str], contents: _Contents) -> None:
    """The entries about these releases, each with its proof under the checkpoint that proves the receipt."""
    reader = case.search.reader
    if reader is None or case.found.index is None:
        why = "there is no log here" if reader is None else "the log here does not have the receipt"
        contents.lack("entry", None, f"{why}, so what it says of the releases is not enclosed")
        return
    for count, index in enumerate(_about(case, manifests)):
        if count == MAX_ENTRIES:
            contents.lack(
                "entry", None, f"the log has more than {MAX_ENTRIES:,} entries about these releases"
            )
            return
        raw, proof = reader.prove(index)
        contents.add(f"log/{index}.json", raw)
        contents.add(f"log/{index}.tlog-proof", bytes(proof))


def _about(case: Case, manifests: Collection[str]) -> Iterator[int]:
    """Where the log says something about these manifests, the newest first."""
    for index, raw in case.search.backwards(tuple(one.encode() for one in sorted(manifests))):
        if concerns(index, raw, manifests):
            yield index
