"""The training receipt: an in-toto Statement v1 with a SLSA Provenance v1 predicate about one training run.

    subject                  what the run made, by SHA-256; a run that made nothing has one subject, its own record
    buildDefinition          buildType urn:databom:training:v1
      externalParameters     how it was started: the DVC stage, the command where it can be told without a secret
      internalParameters     status, verdict, what could not be told (`unknown`), the receipt it `supersedes`
      resolvedDependencies   pins with their use, code, config, environment, policy, trust root
    runDetails               builder urn:databom:builder:v1, invocationId, times, report and record as byproducts

A log entry has at most 65,535 bytes, so a receipt that would get longer than 60,000 moves lists out: the list becomes
a document of its own (RFC 8785 bytes of the array), and one descriptor with its digest and the annotation `moved`
stands in its place.

    moved subjects        receipt.subjects.json
    moved dependencies    receipt.dependencies.json

The record of a run, `run/<id>.json`, is the RFC 8785 form of `{"metrics", "params", "run", "status"}`; a metric that
JSON has no number for is a string. Params and metrics themselves are not in the receipt: only digests are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from databom.model.digest import hex_of, sha256
from databom.model.trainings import (
    BUILD_TYPE,
    BUILDER,
    DEPENDENCIES_FILE,
    PREDICATE_TYPE,
    SUBJECTS_FILE,
)
from databom.trust.jcs import canonical
from databom.trust.statement import STATEMENT_TYPE

MAX_RECEIPT_BYTES = 60_000
"""Of the envelope: beyond this, lists move out."""
MAX_STATEMENT_BYTES = (MAX_RECEIPT_BYTES - 2_000) * 3 // 4
"""Base64 and the envelope's own members make the rest; so do the label and the link that signing adds."""
_MAX_SAFE = 2**53 - 1

Descriptor = dict[str, Any]
"""An in-toto ResourceDescriptor."""


class Training(Struct, frozen=True):
    """All that a receipt says. Texts are shown as they are: whoever fills this in leaves secrets and paths out."""

    invocation: str
    """`mlflow:<run id>`, or `databom:<id>` of a run without MLflow."""
    status: str
    verdict: str
    started: str
    finished: str
    version: str
    """Of databom."""
    record: bytes
    """Of `run_record`."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Descriptor, ...] = ()
    """Whole models first."""
    pins: tuple[Descriptor, ...] = ()
    others: tuple[Descriptor, ...] = ()
    byproducts: tuple[Descriptor, ...] = ()
    unknown: tuple[str, ...] = ()
    """What could not be told: `code`, `environment`, …"""


def descriptor(
    name: str,
    digest: Mapping[str, str] | str | None = None,
    *,
    uri: str | None = None,
    annotations: Mapping[str, Any] | None = None,
) -> Descriptor:
    """A ResourceDescriptor. A digest as text is a `sha256:<hex>`; what is None is left out."""
    given = {"sha256": hex_of(digest)} if isinstance(digest, str) else dict(digest or {})
    notes = {key: value for key, value in (annotations or {}).items() if value is not None}
    members = {"name": name, "uri": uri, "digest": given, "annotations": notes}
    return {key: value for key, value in members.items() if value}


def record_name(invocation: str) -> str:
    """What the record of a run is called as a subject."""
    return f"run/{invocation.partition(':')[2]}.json"


def run_record(
    invocation: str, status: str, params: Mapping[str, Any], metrics: Mapping[str, float]
) -> bytes:
    """The canonical record of a run, whatever its params and metrics hold."""
    return canonical(
        {
            "run": _plain(invocation),
            "status": status,
            "params": {_plain(key): _plain(value) for key, value in params.items()},
            "metrics": {_plain(key): _number(value) for key, value in metrics.items()},
        }
    )


def config_of(params: Mapping[str, Any], files: Mapping[str, str]) -> Descriptor:
    """The model config: the digest of the RFC 8785 form of `{"files": {path: sha256}, "params": {…}}`."""
    value = {
        "params": {_plain(key): _plain(value) for key, value in params.items()},
        "files": {_plain(path): digest for path, digest in files.items()},
    }
    notes = {"files": sorted(value["files"]) or None, "params": len(params)}
    return descriptor("config", sha256(canonical(value)), annotations=notes)


def build_statement(training: Training) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The statement as plain JSON values, and the lists that were moved out of it, by name."""
    subjects: list[Descriptor] = list(training.outputs)
    if not subjects:
        subjects = [descriptor(record_name(training.invocation), sha256(training.record))]
    pins, moved = list(training.pins), {}
    statement = _statement(training, subjects, pins)
    models = [one for one in training.outputs if "dirHash1" in one["digest"]]
    files = [one for one in training.outputs if "dirHash1" not in one["digest"]]
    # Whole models stay as long as they can: their files are what is many.
    for stay, go in ((models, files), ([], [*models, *files])):
        if _size(statement) > MAX_STATEMENT_BYTES and len(go) > 1:
            place, moved[SUBJECTS_FILE] = _moved(go, SUBJECTS_FILE, "subject")
            subjects = [*stay, *place]
            statement = _statement(training, subjects, pins)
    if _size(statement) > MAX_STATEMENT_BYTES:
        pins, moved[DEPENDENCIES_FILE] = _moved(pins, DEPENDENCIES_FILE, "resolvedDependencies")
        statement = _statement(training, subjects, pins)
    return statement, moved


def _statement(training: Training, subjects: list[Descriptor], pins: list[Descriptor]) -> dict[str, Any]:
    internal = {
        "status": training.status,
        "verdict": training.verdict,
        "unknown": sorted(training.unknown) or None,
    }
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {k: v for k, v in training.parameters.items() if v is not None},
                "internalParameters": {k: v for k, v in internal.items() if v is not None},
                "resolvedDependencies": [*pins, *training.others],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"databom": training.version}},
                "metadata": {
                    "invocationId": training.invocation,
                    "startedOn": training.started,
                    "finishedOn": training.finished,
                },
                "byproducts": [
                    descriptor(record_name(training.invocation), sha256(training.record)),
                    *training.byproducts,
                ],
            },
        },
    }


def _moved(items: list[Descriptor], name: str, member: str) -> tuple[list[Descriptor], bytes]:
    raw = canonical(items)
    note = {"moved": member, "count": len(items)}
    return [descriptor(name, sha256(raw), annotations=note)], raw


def completed(statement: dict[str, Any], *, development: bool, supersedes: str | None) -> bytes:
    """The bytes to be signed: with what only the moment of signing knows.

    Args:
        statement: of `build_statement`.
        development: whether the key that signs is a development key.
        supersedes: the digest of the receipt of an earlier ending of the same run.
    """
    definition = statement["predicate"]["buildDefinition"]
    internal = dict(definition["internalParameters"])
    if development:
        internal["developmentKey"] = True
    if supersedes:
        internal["supersedes"] = supersedes
    whole = {
        **statement,
        "predicate": {
            **statement["predicate"],
            "buildDefinition": {**definition, "internalParameters": internal},
        },
    }
    return encode(whole)


def encode(value: Any) -> bytes:
    """Compact JSON with sorted members: the same value, the same bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _size(statement: dict[str, Any]) -> int:
    return len(encode(statement))


def _plain(value: object) -> str:
    """Text that has a UTF-8 form."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _number(value: float) -> float | str:
    """A number that RFC 8785 can write; any other as text."""
    if isinstance(value, int):
        return int(value) if abs(value) <= _MAX_SAFE else str(int(value))
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    return int(number) if number.is_integer() and abs(number) <= _MAX_SAFE else number


def sorted_outputs(items: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Whole models before single files, each by name."""
    return tuple(sorted(items, key=lambda one: ("dirHash1" not in one["digest"], one["name"])))
