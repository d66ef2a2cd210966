"""The receipts of a project on their way: begun, closed once, signed, logged, handed over.

All of it is in `.databom/receipts/`:

    open/<id>.json         a run has begun (the intent): written before anything else, removed when it is closed
    pending/<id>.json      it has ended, and how: made once and never again, whoever tries. Then it gets its signature
                           and its place in the log, each written down before the next step
    runs/<run>/<id>/       the receipt of one ending of a run and its proof; once they are where they belong also what
                           was closed, which leaves `pending` with that
    owners/<token>.lock    held by a living process: what one has begun is closed as aborted once it lives no more

A run that is resumed ends again: the later receipt names the earlier one (`supersedes`) and is the one that counts.

Every step can be tried again: the receipt is written down before the log sees it, and the log is asked for an entry
before it gets it a second time. Nothing is believed because it lies here: other machines' files are left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from databom.bom.cyclonedx import with_receipt
from databom.bom.receipt import Training, build_statement, completed, run_record
from databom.errors import ConfigError, DatabomError, InputError, StorageError
from databom.log.tlogproof import parse_proof
from databom.model import times
from databom.model.digest import is_digest, sha256
from databom.model.trainings import (
    ABORTED,
    BOM_FILE,
    CHECKPOINT_TAG,
    DEPENDENCIES_FILE,
    ENVIRONMENT_FILE,
    PROOF_FILE,
    RECEIPT_FILE,
    RECORD_FILE,
    SUBJECTS_FILE,
    VERDICT_TAG,
    was_killed,
)
from databom.storage import files, living
from databom.storage.machine import machine
from databom.tasks.evidence import MAX_TAG_CHARS
from databom.tasks.intents import VERSION, Intent, folder, own_folder
from databom.tasks.project import read_optional
from databom.tasks.receipt_files import ENDING_ID, MAX_RECORD_BYTES, NOBODY, PLAIN, read_record
from databom.tasks.signers import receipt_signer
from databom.tasks.surroundings import raw_pins
from databom.trust import dsse
from databom.trust.statement import PAYLOAD_TYPE

MAX_PENDING = 10_000
"""Endings that wait. A project that nobody can sign for, or whose log is down, keeps no more."""
PATIENCE_SECONDS = 600.0
ENDING_FILE = "ending.json"
"""What was closed, once its receipt is where it belongs."""

Ledger = Callable[[bytes, bool], bytes]
"""Puts an entry into the log and gives its proof; the flag says that it may be there already, and then stays once.

Raises a DatabomError where it cannot.
"""


class Ready(Struct, frozen=True):
    """A receipt that is signed, and in the log if `is_logged`: to be handed to whoever tracks the run."""

    id: str
    run: str
    tracking: str | None
    digest: str
    """Of the receipt's bytes."""
    path: Path
    """Where it is kept."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The receipt, its proof, the BOM that points to both, and what else belongs to them, by name."""
    tags: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    attach: bool = True
    """Whether the tracking server gets the files, or the tags alone."""
    is_logged: bool = False
    was_killed: bool = False
    """Whether nobody saw its end: then the verdict among the tags takes back a yes of its own, and no no."""


class Settled(Struct, frozen=True):
    """What one attempt came to."""

    ready: tuple[Ready, ...] = ()
    waiting: tuple[str, ...] = ()
    """Why others wait, each reason once."""
    aborted: int = 0
    """Runs whose process had ended without closing them."""


def key_of(run: str) -> str:
    """What a run's folder is called. A run's id is the server's word: one that is no plain name is hashed."""
    scheme, _, name = run.partition(":")
    plain = name if PLAIN.match(name) else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
    return f"{scheme}-{plain}"


# --- close --------------------------------------------------------------------------------------


def close(
    root: Path,
    intent: Intent,
    training: Training,
    attached: Mapping[str, bytes],
    *,
    bom: bytes | None = None,
    models: Sequence[str] = (),
    earlier: str | None = None,
    attach: bool = True,
    owned: bool = True,
) -> bool:
    """Close a run, durably; False when it was closed before, which then stands.

    Args:
        root: the project.
        intent: the run.
        training: all there is to say about it.
        attached: documents that the receipt names by digest, by name.
        bom: the run's BOM, which will point to the receipt.
        models: ids of logged models that get a copy.
        earlier: digest of the receipt that an earlier ending left at the tracking server; a pointer and no more.
        attach: whether the tracking server gets documents, or tags alone.
        owned: whether this process sees to it; else whoever comes next does.

    Raises:
        StorageError: it cannot be written.
    """
    owner = NOBODY
    with contextlib.suppress(OSError):
        owner = living.token(own_folder(root, "owners")) if owned else NOBODY
    statement, moved = build_statement(training)
    value = {
        "version": VERSION,
        "machine": machine(),
        "owner": owner,
        "id": intent.id,
        "run": intent.run,
        "tracking": intent.tracking,
        "closed": time.time_ns(),
        "models": list(models),
        "earlier": earlier if earlier and is_digest(earlier) else None,
        "attach": attach,
        "bom": bom.decode() if bom is not None else None,
        "statement": statement,
        "files": {
            name: data.decode("utf-8", "surrogateescape") for name, data in {**attached, **moved}.items()
        },
    }
    place = own_folder(root, "pending")
    path = place / f"{intent.id}.json"
    if sum(1 for _ in place.iterdir()) >= MAX_PENDING:
        raise StorageError(f"{place} is full: its {MAX_PENDING:,} receipts wait", hint="databom log flush")
    first = True
    try:
        files.write_new(path, json.dumps(value).encode(), mode=0o600)
    except StorageError:
        if not path.exists():
            raise
        first = False
    files.remove(own_folder(root, "open") / f"{intent.id}.json")
    return first


def free(root: Path, ident: str) -> None:
    """Leave what was closed to whoever comes next: this process tries no more. Never raises."""
    path = folder(root) / "pending" / f"{ident}.json"
    with contextlib.suppress(DatabomError, OSError):
        value = read_record(path)
        if value is not None:
            _write(path, {**value, "owner": NOBODY})


def handed_over(root: Path, ident: str) -> None:
    """The receipt is where it belongs, or in a spool that sees to it; what was closed goes beside it. Never raises."""
    path = folder(root) / "pending" / f"{ident}.json"
    with contextlib.suppress(DatabomError, OSError):
        value = read_record(path)
        if value is not None:
            path.replace(_kept_folder(root, value) / ENDING_FILE)


# --- sign and log -----------------------------------------------------------------------------------------


def settle(
    root: Path,
    ledger: Ledger,
    *,
    only: str | None = None,
    environ: Mapping[str, str] = os.environ,
    patience: float = PATIENCE_SECONDS,
) -> Settled:
    """Sign and log what has been closed, after closing what a dead process left open.

    What was not tracked anywhere is done with; what was stays until `handed_over`.

    Args:
        root: the project.
        ledger: the log.
        only: the id of one ending, this process's own; by default all that no living process sees to.
        environ: where keys are named.
        patience: seconds to wait for another process that does this.

    Raises:
        StorageError: another process is at it for too long, or what there is cannot be read or written.
    """
    if not folder(root).is_dir():
        return Settled()
    ready: list[Ready] = []
    waiting: dict[str, None] = {}
    aborted = 0
    with files.exclusive(own_folder(root) / "lock", patience=patience):
        if only is None:
            aborted = _sweep(root)
        for path, value in _pending(root, only):
            try:
                ready.append(_advance(root, path, value, ledger, environ))
            except DatabomError as error:
                hint = f" ({error.hint})" if error.hint else ""
                waiting[f"{error}{hint}"] = None
                with contextlib.suppress(DatabomError):  # where it is not signed yet
                    ready.append(_ready(root, value))
    return Settled(tuple(ready), tuple(waiting), aborted)


def _pending(root: Path, only: str | None, *, owned: bool = False) -> list[tuple[Path, dict[str, Any]]]:
    """What may be worked on, in the order in which it was closed."""
    place = folder(root) / "pending"
    paths = [place / f"{only}.json"] if only is not None else sorted(place.glob("*.json"))
    owners = folder(root) / "owners"
    found = []
    for path in paths:
        value = read_record(path)
        if value is None:
            continue
        owner = value["owner"]
        if only is not None or owned or owner is NOBODY or not living.lives(owners, owner):
            found.append((path, value))
    return sorted(found, key=lambda one: one[1]["closed"])


def _advance(
    root: Path, path: Path, value: dict[str, Any], ledger: Ledger, environ: Mapping[str, str]
) -> Ready:
    """One ending through its next steps, each of which leaves a file."""
    files.remove(folder(root) / "open" / path.name)  # where a crash left it
    place = _kept_folder(root, value)
    receipt = read_optional(place / RECEIPT_FILE, dsse.MAX_ENVELOPE_BYTES)
    is_new = receipt is None
    if receipt is None:
        receipt = _signed(root, value, environ)
        files.write_new(place / RECEIPT_FILE, receipt, mode=0o600)
    if not (place / PROOF_FILE).exists():
        files.write_atomic(place / PROOF_FILE, ledger(receipt, not is_new), mode=0o600)
    if value["tracking"] is None:
        for name, data in _files(value).items():
            files.write_atomic(place / name, data, mode=0o600)
        path.replace(place / ENDING_FILE)
    return _ready(root, value)


def _signed(root: Path, value: Mapping[str, Any], environ: Mapping[str, str]) -> bytes:
    chosen = receipt_signer(root, environ)
    if chosen is None:
        raise ConfigError(
            "no key signs the receipts of this project",
            hint="set DATABOM_RECEIPT_KEY to a key of the role receipt, then `databom log flush`",
        )
    supersedes = value["earlier"]
    for path in kept(root, value["run"]):
        if path.parent.name < value["id"]:
            supersedes = sha256(files.read_bounded(path, dsse.MAX_ENVELOPE_BYTES))
    payload = completed(value["statement"], development=chosen.is_development, supersedes=supersedes)
    return dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, payload, [chosen.signer]))


def _ready(root: Path, value: Mapping[str, Any]) -> Ready:
    place = _kept_folder(root, value)
    receipt = files.read_bounded(place / RECEIPT_FILE, dsse.MAX_ENVELOPE_BYTES)
    proof = read_optional(place / PROOF_FILE, MAX_RECORD_BYTES)
    digest = sha256(receipt)
    internal = value["statement"]["predicate"]["buildDefinition"]["internalParameters"]
    found = {**_files(value), RECEIPT_FILE: receipt}
    tags = {"databom.receipt": digest, VERDICT_TAG: str(internal["verdict"])}
    if proof is not None:
        found[PROOF_FILE] = proof
        tags |= _anchor(proof)
    if value["bom"] is not None:
        found[BOM_FILE] = with_receipt(value["bom"].encode(), digest)
        tags["databom.bom"] = sha256(found[BOM_FILE])
    return Ready(
        id=value["id"],
        run=value["run"],
        tracking=value["tracking"],
        digest=digest,
        path=place / RECEIPT_FILE,
        files=found,
        tags=tags,
        models=tuple(value["models"]),
        attach=value["attach"],
        is_logged=proof is not None,
        was_killed=was_killed(internal),
    )


def _anchor(proof: bytes) -> dict[str, str]:
    """The tag with the checkpoint of a proof, where it fits into one, for whoever holds the log against it."""
    try:
        checkpoint = parse_proof(proof).checkpoint.decode()
    except (InputError, UnicodeDecodeError):  # whoever verifies the proof says so
        return {}
    return {CHECKPOINT_TAG: checkpoint} if len(checkpoint) <= MAX_TAG_CHARS else {}


def _kept_folder(root: Path, value: Mapping[str, Any]) -> Path:
    return own_folder(root, "runs", key_of(value["run"]), value["id"])


def kept(root: Path, run: str) -> tuple[Path, ...]:
    """The receipts that this project keeps of a run, one for each ending, the last one last."""
    place = folder(root) / "runs" / key_of(run)
    try:
        names = sorted(one.name for one in place.iterdir() if ENDING_ID.match(one.name))
    except OSError:
        return ()
    return tuple(path for name in names if (path := place / name / RECEIPT_FILE).is_file())


def begun(root: Path) -> list[dict[str, Any]]:
    """The runs that this clone has begun and not closed, as they were written down (`databom.tasks.intents`)."""
    found = (read_record(path, closed=False) for path in sorted((folder(root) / "open").glob("*.json")))
    return [value for value in found if value is not None]


def unreadable(root: Path) -> list[Path]:
    """Records of runs that go on, or wait, and that cannot be read: what those runs used is not known."""
    found = []
    for name in ("open", "pending"):
        paths = sorted((folder(root) / name).glob("*.json"))
        found += [path for path in paths if read_record(path, closed=name == "pending") is None]
    return [path for path in found if path.exists()]  # a run that ended meanwhile took its record away


def waiting(root: Path, *, owned: bool = False) -> list[tuple[dict[str, Any], dict[str, bytes]]]:
    """Statements of what was closed and is not logged, with its files; `owned`: of living processes, too."""
    return [(value["statement"], _files(value)) for _, value in _pending(root, None, owned=owned)]


def documents_beside(receipt: Path) -> dict[str, bytes]:
    """What is kept with a receipt, itself too, by name. Never raises; nobody vouches for what it gives."""
    found: dict[str, bytes] = {}
    with contextlib.suppress(DatabomError, ValueError, AttributeError, KeyError, RecursionError):
        found |= _files(json.loads(files.read_bounded(receipt.with_name(ENDING_FILE), MAX_RECORD_BYTES)))
    for name in (RECEIPT_FILE, PROOF_FILE, ENVIRONMENT_FILE, SUBJECTS_FILE, DEPENDENCIES_FILE):
        with contextlib.suppress(DatabomError):
            found[name] = files.read_bounded(receipt.with_name(name), MAX_RECORD_BYTES)
    return found


# --- what the dead left -----------------------------------------------------------------------------------


def _sweep(root: Path) -> int:
    """Close as aborted what processes of this machine left open; how many runs that were."""
    place, owners = folder(root) / "open", folder(root) / "owners"
    count = 0
    for path in sorted(place.glob("*.json")):
        value = read_record(path, closed=False)
        if value is None or living.lives(owners, value["owner"]):
            continue
        intent = Intent(value["id"], value["run"], value["started"], value["tracking"])
        record = run_record(intent.run, ABORTED, {}, {})
        training = Training(
            invocation=intent.run,
            status=ABORTED,
            verdict="unverified",
            started=intent.started,
            finished=times.format(times.now()),
            version=_version(),
            record=record,
            pins=tuple(raw_pins(value["pins"])),
            unknown=("code", "config", "environment", "outputs"),
        )
        count += close(root, intent, training, {RECORD_FILE: record}, owned=False)
    if owners.is_dir():
        living.clear(owners)
    return count


def _version() -> str:
    from databom import __version__

    return __version__


# --- files ------------------------------------------------------------------------------------------------


def _write(path: Path, value: Mapping[str, Any]) -> None:
    files.write_atomic(path, json.dumps(value).encode(), mode=0o600)


def _files(value: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: text.encode("utf-8", "surrogateescape") for name, text in value["files"].items()}
