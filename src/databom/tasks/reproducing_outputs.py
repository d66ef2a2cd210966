"""Are these the same models? What a run made by its receipt, against what a second run says that it made.

A model is a folder that is one (`dirHash1`), or a file given to `run.produced`. Its *file* digest says that every byte
is the same; its *weights* digest leaves out what only says when and where it was packed (`databom.checks.weights`).
Other artifacts of an MLflow run are compared byte for byte, and what differs in them is only a warning: a plot has a
date in it.

MLflow names a model by a random id. Such models are paired by their weights, and what is left in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from databom.bom.receipt import record_name
from databom.model.finding import Finding, Severity
from databom.model.reproduction import Compared, Made
from databom.model.text import printable
from databom.tasks.explaining import digest_of
from databom.tasks.finding_receipts import notes_of

_BY_ID = re.compile(r"models/[^/]+\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def made_by(run: str, subjects: Sequence[Mapping[str, Any]]) -> tuple[list[Made], list[Made]] | None:
    """The models and the other files that a run made; None where the list of them is not here."""
    if any("moved" in notes_of(one) for one in subjects):
        return None
    named = [(str(one.get("name")), one) for one in subjects]
    folders = [name for name, one in named if digest_of(one, "dirHash1")]
    models: list[Made] = []
    others: list[Made] = []
    for name, one in named:
        file = digest_of(one, "sha256")
        inside = any(name.startswith(f"{folder}/") for folder in folders)
        if file is None or inside or name == record_name(run):
            continue
        whole, stated = name in folders, notes_of(one).get("weights")
        weights = stated if isinstance(stated, str) and _DIGEST.match(stated) else None
        if weights is None and not whole:
            weights = f"sha256:{file}"  # a receipt does not say it twice
        made = Made(name, f"sha256:{file}", weights, whole)
        is_model = whole or "weights" in notes_of(one) or run.startswith("databom:")
        (models if is_model else others).append(made)
    return (models, others) if models else (others, [])


def compare(
    expected: tuple[list[Made], list[Made]], found: tuple[list[Made], list[Made]]
) -> tuple[Compared, ...]:
    """Each thing that the run made, with what the second one made in its place."""
    (models, others), left = expected, {one.name: one for one in (*found[0], *found[1])}
    paired: dict[str, Made | None] = {}
    for one in (*models, *others):
        if one.name in left:
            paired[one.name] = left.pop(one.name)
    unnamed = [one for one in models if one.name not in paired and _BY_ID.match(one.name)]
    spare = [one for one in left.values() if _BY_ID.match(one.name)]
    for same in (True, False):
        for one in unnamed:
            fits = (other for other in spare if not same or Compared(one, other).same_weights)
            if one.name not in paired and (other := next(fits, None)) is not None:
                paired[one.name] = other
                spare.remove(other)
    return (
        *(Compared(one, paired.get(one.name)) for one in models),
        *(Compared(one, paired.get(one.name), is_model=False) for one in others),
    )


def closest(
    expected: tuple[list[Made], list[Made]],
    params: str | None,
    endings: Sequence[Mapping[str, Any]],
    subjects: Sequence[Sequence[Mapping[str, Any]]],
) -> tuple[Mapping[str, Any], tuple[Compared, ...]] | None:
    """Of all runs that a program made, the one that stands for this one: by its models, then by its params."""
    best: tuple[tuple[int, int, bool], Mapping[str, Any], tuple[Compared, ...]] | None = None
    for ending, its in zip(endings, subjects, strict=True):
        found = made_by(run_of(ending), its)
        if found is None:
            continue
        compared = compare(expected, found)
        models = [one for one in compared if one.is_model]
        rank = (
            sum(one.same_weights is True for one in models),
            sum(one.found is not None for one in models),
            params_of(ending) == params,
        )
        if best is None or rank > best[0]:
            best = (rank, ending, compared)
    return best[1:] if best is not None else None


def run_of(statement: Mapping[str, Any]) -> str:
    """The invocation that a statement is about."""
    return str(statement["predicate"]["runDetails"]["metadata"]["invocationId"])


def params_of(statement: Mapping[str, Any]) -> str | None:
    """The digest of the params and config files that a statement is about."""
    listed = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    config = next((one for one in listed if one.get("name") == "config"), None)
    return digest_of(config, "sha256") if config is not None else None


def doubts(outputs: Sequence[Compared]) -> Iterator[Finding]:
    """What is to be said of outputs that are not the same, byte for byte."""
    for one in outputs:
        name, expected = printable(one.expected.name, 400), one.expected
        if one.same_file:
            continue
        if one.found is None:
            severity = Severity.BLOCK if one.is_model else Severity.WARN
            what = "the second run did not make this"
            yield Finding("rerun.missing", severity, name, what, expected.file, "nothing of this name")
        elif not one.is_model:
            what = "the second run made this file with other bytes"
            yield Finding("rerun.artifact", Severity.WARN, name, what, expected.file, one.found.file)
        elif one.same_weights is None:
            what = "the files differ, and nobody can tell whether the weights do"
            yield Finding("rerun.unanswered", Severity.BLOCK, name, what, expected.file, one.found.file)
        elif one.same_weights:
            what = "the weights are the same, the bytes around them are not"
            yield Finding("rerun.bytes", Severity.INFO, name, what, expected.file, one.found.file)
        else:
            yield Finding(
                "rerun.differs",
                Severity.BLOCK,
                name,
                "the weights differ: the second run made another model",
                f"weights {expected.weights}",
                f"weights {one.found.weights}",
                "look for what is not fixed: seeds, threads, the order of files, the packages and the hardware",
            )
