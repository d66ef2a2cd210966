"""What a tracking server shows of a run, held against the run's receipt in the log: `databom log verify --run`.

The server is not asked what happened: the log says that, and the receipts in it, signed by the keys of the role
`receipt`. What is asked is whether the server still shows it:

1. the checkpoints that the run carries (the tag `databom.checkpoint`, the proof among its artifacts) are held against
   the log like any that was kept elsewhere: a log whose end was cut off is shorter than one of them;
2. its tags say what its newest receipt says;
3. every artifact that its receipts name is there, and has the digest that they name (`databom.tasks.tracked_files`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from databom.checks.receipt import check_receipt
from databom.errors import InputError, PluginError
from databom.hosts.tracked import Tracked, TrackedRun
from databom.log.reading import LogReader
from databom.log.tiles import WIDTH
from databom.log.tlogproof import HEADER, MAX_PROOF_BYTES, parse_proof
from databom.model.finding import Finding, Severity
from databom.model.text import printable
from databom.model.trainings import (
    ABORTED,
    CHECKPOINT_TAG,
    DEPENDENCIES_FILE,
    PROOF_FILE,
    VERDICT_TAG,
    verdict_to_show,
)
from databom.tasks import tracked_files
from databom.tasks.evidence import FOLDER, MAX_PINS_IN_TAGS, bounded
from databom.tasks.finding_receipts import stated_run
from databom.tasks.tracked_files import Logged, edited, gone
from databom.trust.root import TrustRoot


@dataclass(slots=True)
class Looked:
    """What a tracking server shows of the runs that were asked about."""

    runs: dict[str, TrackedRun | None] = field(default_factory=dict)
    """By id; None where the server knows none of it."""
    anchors: dict[str, bytes] = field(default_factory=dict)
    """Checkpoints by where they were found."""
    findings: list[Finding] = field(default_factory=list)
    server: Tracked | None = None


def anchor_of(data: bytes) -> bytes:
    """The checkpoint in a file: it is one, or the proof of an entry, which ends with one.

    Raises:
        InputError: `log.corrupt`: it begins as a proof and is none.
    """
    return parse_proof(data).checkpoint if data.startswith(HEADER.encode()) else data


def look(run_ids: Sequence[str], *, search: str | None = None) -> Looked:
    """Get runs from the tracking server that is configured, and the checkpoints that they carry.

    Args:
        run_ids: the runs that are asked about.
        search: the origin of a log; of all runs that carry a checkpoint of it, the checkpoints are wanted too.

    Raises:
        PluginError: MLflow is not installed, or no server is configured.
    """
    server = Tracked()
    found = Looked(server=server)
    for run_id in dict.fromkeys(run_ids):
        try:
            run = found.runs[run_id] = server.run(run_id)
            if run is not None:
                _anchors(found, server, run)
        except PluginError as error:
            found.runs.pop(run_id, None)
            found.findings.append(_unanswered(_named(run_id), str(error)))
    if search is not None:
        try:
            for run in server.runs_with(CHECKPOINT_TAG):
                text = run.tags.get(CHECKPOINT_TAG, "")
                if text.startswith(f"{search}\n"):
                    found.anchors.setdefault(f"{_named(run.run_id)}: tag {CHECKPOINT_TAG}", text.encode())
        except PluginError as error:
            found.findings.append(_unanswered(server.shown, str(error)))
    return found


def _anchors(found: Looked, server: Tracked, run: TrackedRun) -> None:
    if (text := run.tags.get(CHECKPOINT_TAG)) is not None:
        found.anchors[f"{_named(run.run_id)}: tag {CHECKPOINT_TAG}"] = text.encode()
    raw = server.of_run(run).read(f"{FOLDER}/{PROOF_FILE}", MAX_PROOF_BYTES)
    if raw is None:
        return
    where = f"{_named(run.run_id)}: {FOLDER}/{PROOF_FILE}"
    try:
        found.anchors[where] = parse_proof(raw).checkpoint
    except InputError as error:
        found.findings.append(edited(where, "a proof", printable(str(error))))


# --- the runs against their receipts --------------------------------------------------------------------


def hold(found: Looked, reader: LogReader, root: TrustRoot | None, *, attached: bool = True) -> list[Finding]:
    """What the server shows of each run that was asked about, and is not what its receipts in the log say.

    Args:
        found: of `look`.
        reader: the log, verified.
        root: who is believed.
        attached: whether runs carry documents of ours, or tags alone.

    Raises:
        InputError: `log.corrupt`: the log changed meanwhile.
        StorageError: the log cannot be read.
    """
    receipts = _receipts(reader, root, found.runs)
    findings: list[Finding] = []
    for run_id, run in found.runs.items():
        logged = receipts.get(run_id, [])
        if not logged:
            told = f"the log has no receipt of this run that is believed ({reader.size} entries)"
            findings.append(_unanswered(_named(run_id), told))
            continue
        assert found.server is not None
        try:
            findings += _held(found.server, run_id, run, logged, attached=attached)
        except PluginError as error:
            findings.append(_unanswered(_named(run_id), str(error)))
    return findings


def _receipts(reader: LogReader, root: TrustRoot | None, run_ids: Iterable[str]) -> dict[str, list[Logged]]:
    """The receipts of some runs that are believed, by run, the newest first, each proved to be in the log."""
    wanted = {f"mlflow:{run_id}": run_id for run_id in run_ids}
    found: dict[str, list[Logged]] = {}
    for number in reversed(range(-(-reader.size // WIDTH))) if wanted else ():
        entries = reader.bundle(number)
        for at in reversed(range(len(entries))):
            index, raw = number * WIDTH + at, entries[at]
            run_id = wanted.get(stated_run(index, raw) or "") if b'"payloadType"' in raw else None
            if run_id is None:
                continue
            receipt = check_receipt(raw, root)
            if receipt.is_believed and reader.entry(index) == raw:
                found.setdefault(run_id, []).append(Logged(index, raw, receipt))
    return found


def _held(
    server: Tracked, run_id: str, run: TrackedRun | None, logged: Sequence[Logged], *, attached: bool
) -> Iterator[Finding]:
    newest, where = logged[0], _named(run_id)
    if run is None or run.is_deleted:
        shown = "no such run" if run is None else "a deleted run"
        yield gone(where, "a run", f"the run of entry {newest.index}", shown)
    if run is None:
        return
    artifacts = server.of_run(run)
    lists = tracked_files.lists_of(artifacts, newest)
    yield from _tags(run, newest, lists)
    if attached:
        yield from tracked_files.documents(where, artifacts, newest, run.tags.get("databom.bom"))
    yield from tracked_files.outputs(where, server, artifacts, logged, lists)


def _tags(run: TrackedRun, newest: Logged, lists: Mapping[str, bytes]) -> Iterator[Finding]:
    internal = newest.internal
    verdict = verdict_to_show(internal, run.tags.get(VERDICT_TAG))
    wanted = {"databom.receipt": newest.receipt.digest, VERDICT_TAG: verdict}
    known = tracked_files.expanded(newest.dependencies, DEPENDENCIES_FILE, lists)
    pins = [one for one in known if str(one.get("uri")).startswith("dataset:")]
    if pins:
        wanted["databom.pins"] = bounded(",".join(sorted(str(one.get("name")) for one in pins)))
    for one in pins if len(pins) <= MAX_PINS_IN_TAGS else ():
        for key, value in _said(one).items():
            if (key, value, internal["status"]) == ("use", "present", ABORTED):
                continue  # whoever closes a run that was killed does not know what it used
            wanted[f"databom.{one.get('name')}.{key}"] = value
    for tag, value in wanted.items():
        if (shown := run.tags.get(tag)) != value:
            yield edited(f"{_named(run.run_id)}: tag {printable(tag)}", value, shown)


def _said(pin: Mapping[str, Any]) -> dict[str, str]:
    """A pin's tags, as its descriptor in the receipt has them."""
    notes, digest = pin.get("annotations"), pin.get("digest")
    notes = notes if isinstance(notes, dict) else {}
    digest = digest if isinstance(digest, dict) else {}
    said = {
        "release": str(pin.get("uri")).removeprefix("dataset:"),
        "manifest": _prefixed(digest.get("sha256")),
        "tree": _prefixed(digest.get("dirHash1")),
        "license": notes.get("license"),
        "payment": notes.get("payment"),
        "use": notes.get("use"),
    }
    return {
        key: bounded(value) if isinstance(value, str) and value else "none" for key, value in said.items()
    }


def _prefixed(value: object) -> str | None:
    return f"sha256:{value}" if isinstance(value, str) else None


def _named(run_id: str) -> str:
    return f"run {printable(run_id, 64)}"


def _unanswered(where: str, why: str) -> Finding:
    return Finding(
        "capture.unanswered",
        Severity.BLOCK,
        where,
        f"what the tracking server shows cannot be held against the log: {why}",
        do="check the run's id and MLFLOW_TRACKING_URI",
    )
