"""The files of a run at its tracking server, held against what the run's receipts name: there, and with that digest?

databom/…          our own: the receipt itself, its proof, the BOM, report, record, environment, lists that moved out
artifacts/…        what the run logged
models/<id>/…      its logged models; a file that a model has and the receipt has not is told too
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from databom.bom.cyclonedx import before_receipt
from databom.checks.receipt import Receipt
from databom.errors import InputError
from databom.hosts.tracked import Artifacts, Tracked
from databom.log.tlogproof import MAX_PROOF_BYTES, parse_proof
from databom.model.digest import hex_of, sha256, tree_digest
from databom.model.finding import Finding, Severity
from databom.model.text import printable
from databom.model.trainings import (
    BOM_FILE,
    DEPENDENCIES_FILE,
    ENVIRONMENT_FILE,
    PROOF_FILE,
    RECEIPT_FILE,
    RECORD_FILE,
    SUBJECTS_FILE,
)
from databom.tasks.evidence import FOLDER
from databom.tasks.finding_receipts import MAX_LIST_BYTES
from databom.tasks.outputs import OURS, UNSTABLE
from databom.tasks.receipting import REPORT_FILE

EDITED, GONE = "capture.differs", "capture.gone"
_ARTIFACTS, _MODELS = "artifacts/", "models/"
_MAX_BOM_BYTES = 64 * 1024 * 1024
_BEFORE = "before it pointed to the receipt"


class Logged(Struct, frozen=True):
    """One receipt of the log that is believed."""

    index: int
    raw: bytes
    receipt: Receipt

    @property
    def subjects(self) -> list[Mapping[str, Any]]:
        """What the run made."""
        return descriptors(self.receipt.statement["subject"])

    @property
    def internal(self) -> Mapping[str, Any]:
        """How it ended."""
        found: Mapping[str, Any] = self.receipt.statement["predicate"]["buildDefinition"][
            "internalParameters"
        ]
        return found

    @property
    def dependencies(self) -> list[Mapping[str, Any]]:
        """What it stood on."""
        return descriptors(self.receipt.statement["predicate"]["buildDefinition"]["resolvedDependencies"])

    @property
    def byproducts(self) -> list[Mapping[str, Any]]:
        """What was written about it."""
        return descriptors(self.receipt.statement["predicate"]["runDetails"].get("byproducts"))

    @property
    def moved(self) -> list[Mapping[str, Any]]:
        """The lists that are documents of their own."""
        names = (SUBJECTS_FILE, DEPENDENCIES_FILE)
        return [
            one
            for one in (*self.subjects, *self.dependencies)
            if one.get("name") in names and _digest(one) is not None
        ]


def documents(where: str, artifacts: Artifacts, newest: Logged, bom_tag: str | None) -> Iterator[Finding]:
    """Our own files in the run: each is the one that the receipt names, or the receipt itself."""
    wanted = {RECEIPT_FILE: hex_of(newest.receipt.digest)}
    named = {
        **{str(one.get("name")): _digest(one) for one in newest.byproducts},
        ENVIRONMENT_FILE: next(
            (_digest(one) for one in newest.dependencies if one.get("name") == "environment"), None
        ),
        **{str(one["name"]): _digest(one) for one in newest.moved},
    }
    for name, digest in named.items():
        file = RECORD_FILE if name.startswith("run/") else name
        known = (RECORD_FILE, REPORT_FILE, ENVIRONMENT_FILE, SUBJECTS_FILE, DEPENDENCIES_FILE)
        if digest is not None and file in known:
            wanted[file] = digest
    for file, digest in wanted.items():
        yield from _compared(f"{where}: {FOLDER}/{file}", artifacts, f"{FOLDER}/{file}", digest)
    if (digest := named.get(BOM_FILE)) is not None:
        yield from _bom(where, artifacts, newest, digest, bom_tag)
    yield from _proof(f"{where}: {FOLDER}/{PROOF_FILE}", artifacts, newest)


def _proof(where: str, artifacts: Artifacts, newest: Logged) -> Iterator[Finding]:
    raw = artifacts.read(f"{FOLDER}/{PROOF_FILE}", MAX_PROOF_BYTES)
    wanted = f"a proof of entry {newest.index}"
    if raw is None:
        yield gone(where, "an artifact", wanted, "nothing")
        return
    try:
        proof = parse_proof(raw)
        holds = proof.index == newest.index and proof.holds_for(newest.raw)
    except InputError:
        holds = False
    if not holds:
        yield edited(where, wanted, "another, or none")


def _bom(where: str, artifacts: Artifacts, newest: Logged, digest: str, tag: str | None) -> Iterator[Finding]:
    """The BOM points to the receipt, so the receipt names it as it was before."""
    place = f"{where}: {FOLDER}/{BOM_FILE}"
    raw = artifacts.read(f"{FOLDER}/{BOM_FILE}", _MAX_BOM_BYTES)
    if raw is None:
        yield gone(place, "an artifact", f"sha256:{digest} {_BEFORE}", "nothing")
        return
    try:
        holds = (
            hex_of(sha256(before_receipt(raw))) == digest and hex_of(newest.receipt.digest).encode() in raw
        )
    except ValueError:
        holds = False
    if not holds:
        yield edited(place, f"sha256:{digest} {_BEFORE}", sha256(raw))
    elif tag != sha256(raw):
        yield edited(f"{where}: tag databom.bom", sha256(raw), tag)


def outputs(
    where: str, server: Tracked, artifacts: Artifacts, logged: Sequence[Logged], lists: Mapping[str, bytes]
) -> Iterator[Finding]:
    """What the run made; of a run that was resumed, what its last part made of each name."""
    wanted: dict[str, Mapping[str, Any]] = {}
    for one in logged:
        for subject in expanded(one.subjects, SUBJECTS_FILE, lists):
            if _digest(subject) is not None:
                wanted.setdefault(str(subject.get("name")), subject)
    models: dict[str, Artifacts | None] = {}
    for name, subject in wanted.items():
        shown = f"{where}: {printable(name)}"
        if name.startswith(_ARTIFACTS):
            place: Artifacts | None = artifacts
            path = name.removeprefix(_ARTIFACTS)
        elif name.startswith(_MODELS):
            model_id, _, path = name.removeprefix(_MODELS).partition("/")
            if model_id not in models:
                models[model_id] = server.of_model(model_id)
            place = models[model_id]
        else:
            continue
        if place is None:
            yield gone(shown, "a model", f"sha256:{_digest(subject)}", "nothing")
        elif "dirHash1" not in subject["digest"]:
            yield from _compared(shown, place, path, str(_digest(subject)))
        elif any(other.startswith(f"{name}/") for other in wanted):
            yield from _added(
                shown, place, path, {other for other in wanted if other.startswith(f"{name}/")}, name
            )
        else:
            yield from _whole(shown, place, path, str(_digest(subject)))


def _added(shown: str, place: Artifacts, folder: str, known: set[str], name: str) -> Iterator[Finding]:
    """Files in a model that were not there when it was logged; the others are compared one by one."""
    for path in _files(place, folder):
        if f"{name}/{path}" not in known:
            yield edited(f"{shown}/{printable(path)}", None, "a file that was added")


def _whole(shown: str, place: Artifacts, folder: str, digest: str) -> Iterator[Finding]:
    """A model of which there is the digest of the whole alone."""
    prefix = f"{folder}/" if folder else ""
    pairs = [(path, place.digest(f"{prefix}{path}") or "") for path in _files(place, folder)]
    if not pairs:
        yield gone(shown, "a model", f"dirHash1 {digest}", "nothing")
    elif (found := hex_of(tree_digest(pairs))) != digest:
        yield edited(shown, f"dirHash1 {digest}", f"dirHash1 {found}")


def _files(place: Artifacts, folder: str) -> list[str]:
    """The files of a model by their names in it, without ours and without what MLflow puts there when it is loaded."""
    names = (path.removeprefix(f"{folder}/") if folder else path for path in place.below(folder))
    return sorted(
        name for name in names if not name.startswith(f"{OURS}/") and name.rpartition("/")[2] != UNSTABLE
    )


def _compared(shown: str, place: Artifacts, path: str, digest: str) -> Iterator[Finding]:
    found = place.digest(path)
    if found is None:
        yield gone(shown, "an artifact", f"sha256:{digest}", "nothing")
    elif found != digest:
        yield edited(shown, f"sha256:{digest}", f"sha256:{found}")


# --- lists that were moved out ---------------------------------------------------------------------------


def lists_of(artifacts: Artifacts, newest: Logged) -> dict[str, bytes]:
    """The lists that the newest receipt names, where the run still has them as they were."""
    found = {}
    for one in newest.moved:
        raw = artifacts.read(f"{FOLDER}/{one['name']}", MAX_LIST_BYTES)
        if raw is not None and hex_of(sha256(raw)) == _digest(one):
            found[str(one["name"])] = raw
    return found


def expanded(
    items: Sequence[Mapping[str, Any]], name: str, lists: Mapping[str, bytes]
) -> list[Mapping[str, Any]]:
    """A list of a receipt, with what was moved out of it where `lists` has that."""
    found: list[Mapping[str, Any]] = []
    for one in items:
        raw = lists.get(name) if one.get("name") == name else None
        same = raw is not None and hex_of(sha256(raw)) == _digest(one)
        found += descriptors(json.loads(raw)) if raw is not None and same else [one]
    return found


def descriptors(items: object) -> list[Mapping[str, Any]]:
    """Those of a list that are descriptors."""
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def _digest(one: Mapping[str, Any]) -> str | None:
    digests = one.get("digest")
    found = digests.get("sha256") if isinstance(digests, dict) else None
    return found if isinstance(found, str) else None


# --- words -----------------------------------------------------------------------------------------------


def edited(where: str, expected: str | None, found: str | None) -> Finding:
    """`capture.differs`."""
    return Finding(
        EDITED,
        Severity.BLOCK,
        where,
        "the tracking server does not show what the run's receipt in the log says: it was changed afterwards",
        expected=printable(expected, 300) if expected is not None else "nothing",
        found=printable(found, 300) if found is not None else "nothing",
        do="believe the log (databom explain RUN_ID), and ask who may write to the tracking server",
    )


def gone(where: str, what: str, expected: str, found: str) -> Finding:
    """`capture.gone`."""
    return Finding(
        GONE,
        Severity.BLOCK,
        where,
        f"{what} that the log knows is not at the tracking server: it was deleted, or never delivered",
        expected=printable(expected, 300),
        found=found,
        do="`databom log flush`, where the run was, delivers what waits; the log still says it: databom explain RUN_ID",
    )
