"""`databom explain`: what is known of a run or a model, line by line, with the evidence for each.

In this order:

1. which run: by its id, or by what the tracking server says of a model, which is no more than a hint;
2. its receipt (`databom.tasks.finding_receipts`), verified under the trust root in force;
3. each pin of the receipt: the manifest that is kept, opened again; the proofs that are kept, verified again;
4. what a second run would need.

Nothing read back from MLflow is believed. What the receipt says counts as `verified` where keys that are no development
keys signed it and the log that it is proved to be in; else it is `declared`: whoever can read one machine could have
made it. So does what anybody says once the trust root has expired. By a trust root with a blocking finding nothing is
explained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from databom.errors import ConfigError, MissingError, StorageError
from databom.hosts.tracking import model_page
from databom.model import times
from databom.model.explanation import DECLARED, MISSING, VERIFIED, Explanation, Line, Strength
from databom.model.finding import Severity
from databom.model.text import printable
from databom.model.trainings import DEPENDENCIES_FILE, SUBJECTS_FILE
from databom.storage.redact import redact
from databom.tasks.believing import Believed, load_trust
from databom.tasks.finding_receipts import Found, Search, elsewhere, notes_of, whole
from databom.tasks.project import Project
from databom.trust.root import TrustRoot

_RUN = re.compile(r"(?:(mlflow|databom):)?([A-Za-z0-9_-]{1,64})\Z")
MAX_MODELS = 100
"""Models and files that are listed; the receipt has them all."""


class Case(Struct, frozen=True):
    """What is explained, and by whose word."""

    place: Project
    believed: Believed
    now: datetime
    found: Found
    search: Search
    subjects: tuple[Mapping[str, Any], ...]
    dependencies: tuple[Mapping[str, Any], ...]

    @property
    def definition(self) -> Mapping[str, Any]:
        """The receipt's build definition."""
        found: Mapping[str, Any] = self.found.receipt.statement["predicate"]["buildDefinition"]
        return found

    @property
    def said(self) -> Strength:
        """How strong it is that the receipt says something."""
        is_good = self.found.is_vouched and not self.found.receipt.findings and not self.expired
        return VERIFIED if is_good else DECLARED

    @property
    def logged(self) -> Strength:
        """How strong it is that the log here says something."""
        reader = self.search.reader
        is_good = reader is not None and not reader.opened.is_development and not self.expired
        return VERIFIED if is_good else DECLARED

    @property
    def has_moved(self) -> bool:
        """Whether the list of releases was moved out of the receipt, and is not here."""
        return any("moved" in notes_of(one) for one in self.dependencies)

    @property
    def expired(self) -> bool:
        """Whether the trust root has expired."""
        return self.believed.root is not None and self.believed.root.expires <= self.now

    @property
    def receipt(self) -> str:
        """The receipt as evidence."""
        return f"receipt {self.found.receipt.digest[:19]}…, {self.found.where}"

    def dependency(self, name: str) -> Mapping[str, Any] | None:
        """What the receipt says the run stood on, by name."""
        return next((one for one in self.dependencies if one.get("name") == name), None)


def explain(target: str, *, project: Path | str | None = None, now: datetime | None = None) -> Explanation:
    """What is known of a training run: its data, who was paid, under which license, what came out, can it be repeated.

    Args:
        target: a run's id (of MLflow, or of `databom.training`), or a model: `models:/NAME/VERSION`,
            `models:/NAME@ALIAS`, `models:/m-ID` (a logged model of MLflow 3), `runs:/RUN_ID`.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.

    Raises:
        ConfigError: no project, no trust root, the log has no name, another form of target.
        StorageError: no receipt that is believed was found, or the log cannot be read or believed.
        PluginError: a model's run cannot be had from the tracking server.
    """
    place = Project.load(project)
    now = times.or_now(now)
    believed, root = trusted(place)
    runs, asked = _runs(target)
    case = case_of(place, believed, Search(place, root, runs, now), now)
    found = case.found
    return Explanation(
        run=found.run,
        asked=asked or found.run,
        receipt=found.receipt.digest,
        index=found.index,
        trust=root.digest,
        lines=tuple(_lines(case, asked)),
    )


def trusted(place: Project) -> tuple[Believed, TrustRoot]:
    """Who is believed.

    Raises:
        ConfigError: nobody: there is no trust root, or it is not to be believed itself.
    """
    believed = load_trust(place)
    refused = next((one for one in believed.findings if one.severity is Severity.BLOCK), None)
    if believed.root is None or refused is not None:
        what, do = (refused.what, refused.do) if refused is not None else ("it is no root", None)
        raise ConfigError(f"the trust root is not believed: {what}", hint=do)
    return believed, believed.root


def case_of(
    place: Project, believed: Believed, search: Search, now: datetime, found: Found | None = None
) -> Case:
    """A run's receipt and all that stands beside it: the one that was `found`, else the one that a search finds.

    Raises:
        StorageError: no receipt that is believed was found, or the log cannot be read or believed.
    """
    found = found or search.here() or _elsewhere(search, search.runs)
    definition = found.receipt.statement["predicate"]["buildDefinition"]
    return Case(
        place,
        believed,
        now,
        found,
        search,
        whole(found.receipt.statement["subject"], SUBJECTS_FILE, found.beside),
        whole(definition["resolvedDependencies"], DEPENDENCIES_FILE, found.beside),
    )


def runs_called(ident: str) -> tuple[str, ...] | None:
    """What a run may be called in a receipt that somebody names by its id; None where it is no id."""
    match = _RUN.match(ident)
    if match is None:
        return None
    schemes = (match[1],) if match[1] else ("mlflow", "databom")
    return tuple(f"{scheme}:{match[2]}" for scheme in schemes)


def _runs(target: str) -> tuple[tuple[str, ...], str | None]:
    """What the run may be called in a receipt, and the model that was asked about, as it is shown.

    Raises:
        ConfigError: it names neither a run nor a model.
    """
    if ":/" in target:
        page = model_page(target)
        if page.run_id is None or _RUN.match(page.run_id) is None:
            raise MissingError(
                f"{page.shown} names no run that it came from",
                hint="ask by the run's id; databom log show lists the receipts",
            )
        return (f"mlflow:{page.run_id}",), page.shown
    runs = runs_called(target)
    if runs is None:
        raise ConfigError(
            f"{printable(redact(target)) or 'an empty text'} is no run's id and no model",
            hint="use RUN_ID, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID or runs:/RUN_ID",
        )
    return runs, None


def _elsewhere(search: Search, runs: Sequence[str]) -> Found:
    """The receipt that the tracking server hands out, where it holds.

    Raises:
        StorageError: there is none.
    """
    found, why = elsewhere(search, runs)
    if found is not None:
        return found
    raise StorageError(
        f"no receipt of {printable(runs[0].partition(':')[2])} was found: {why}",
        hint="`databom log flush` signs and logs what waits; in another clone, share one log",
    )


def digest_of(one: Mapping[str, Any], name: str) -> str | None:
    """A digest of a descriptor, None where it has none that is a text."""
    digests = one.get("digest")
    found = digests.get(name) if isinstance(digests, dict) else None
    return printable(found, 100) if isinstance(found, str) else None


# --- the run and what it made ---------------------------------------------------------------------------


def _lines(case: Case, asked: str | None) -> Iterator[Line]:
    from databom.tasks.explained_data import data_lines
    from databom.tasks.explained_rerun import rerun_lines

    yield from run_lines(case, asked)
    kept = yield from data_lines(case)
    yield from model_lines(case)
    yield from rerun_lines(case, kept)


def run_lines(case: Case, asked: str | None) -> Iterator[Line]:
    """The run itself: its receipt, whether it was logged, how it ended."""
    found, statement = case.found, case.found.receipt.statement
    details = statement["predicate"]["runDetails"]["metadata"]
    internal = case.definition["internalParameters"]
    if asked is not None:
        yield Line(
            "run", "model", f"{asked} is of {found.run}", DECLARED, "the tracking server or the one who asks"
        )
    yield from _trust_lines(case)
    signers = ", ".join(keyid[:16] for keyid in found.receipt.keyids)
    codes = ", ".join(one.code for one in found.receipt.findings)
    told = f"signed by {signers}" + (f" ({codes})" if codes else "")
    yield Line("run", "receipt", told, VERIFIED, f"{found.receipt.digest}, {found.where}")
    if found.proved is not None and found.is_vouched:
        yield Line("run", "in the log", "proved", VERIFIED, found.proved)
    elif found.proved is not None:
        told = "proved by a development key: whoever has that machine's files can make such a log"
        yield Line("run", "in the log", told, DECLARED, found.proved)
    else:
        yield Line(
            "run", "in the log", "nothing shows that it was logged", MISSING, case.search.log.location.shown
        )
    if case.search.reader is None:
        known = case.search.log.memory.is_file()
        told = "it is gone: this clone has seen it before" if known else "there is none here"
        yield Line("run", "log", told, MISSING, case.search.log.location.shown)
    for one in found.refused[:5]:
        yield Line("run", "not believed", printable(one, 400), MISSING, "another receipt of this run")
    ended = f"{printable(str(internal['status']))}, data {printable(str(internal['verdict']))}"
    yield Line("run", "ended", ended, case.said, case.receipt)
    told = f"{printable(str(details.get('startedOn')))} to {printable(str(details.get('finishedOn')))}"
    yield Line("run", "when", told, DECLARED, f"the machine's clock, in the {case.receipt}")
    unknown = internal.get("unknown")
    if isinstance(unknown, list) and unknown:
        told = printable(", ".join(map(str, unknown)), 400)
        yield Line("run", "not told", told, MISSING, case.receipt)


def _trust_lines(case: Case) -> Iterator[Line]:
    """What there is to say of the trust root in force, where there is something."""
    for one in case.believed.findings:
        if one.severity is Severity.WARN:
            yield Line("run", "trust root", printable(one.what, 400), DECLARED, one.code)
    if case.expired:
        assert case.believed.root is not None
        problem = case.believed.root.expired_problem(case.now)
        yield Line("run", "trust root", printable(problem.what, 400), DECLARED, problem.code)


def model_lines(case: Case) -> Iterator[Line]:
    """What the run made."""
    models = [one for one in case.subjects if not str(one.get("name")).startswith("run/")]
    whole = [one for one in models if digest_of(one, "dirHash1")] or models
    for one in whole[:MAX_MODELS]:
        name = printable(str(one.get("name")))
        if "moved" in notes_of(one):
            told = f"a list of {printable(str(notes_of(one).get('count')))}, which is not here"
            yield Line(
                "models", name, told, MISSING, f"sha256:{digest_of(one, 'sha256')} in the {case.receipt}"
            )
            continue
        digests = {key: digest_of(one, key) for key in ("sha256", "dirHash1")}
        told = ", ".join(f"{key} {value}" for key, value in digests.items() if value)
        if isinstance(weights := notes_of(one).get("weights"), str):
            told += f", weights {printable(weights)}"
        yield Line("models", name, told or "no digest", case.said if told else MISSING, case.receipt)
    if len(whole) > MAX_MODELS:
        told = f"{len(whole) - MAX_MODELS:,} more are in the receipt"
        yield Line("models", "…", told, case.said, case.receipt)
    if not models:
        yield Line("models", "models", "the run made none that it knew of", case.said, case.receipt)
