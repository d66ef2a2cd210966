"""`databom gate`: may this model be used? Asked of what the project keeps; the tracking server only says which run.

Tags, artifacts and pages in MLflow can be edited by whoever may write to it. So which data the run used, how, and with
which verdict, its signed receipt says (`databom.tasks.gated_run`); without one there is no pass. What the server says
is believed only where it speaks against the model. That the data may be used is judged anew: the manifests are read
from the project, opened, and held against the policy now, with the proofs that are kept.

Each question is a function in `_QUESTIONS`: it is given what is asked about and yields findings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from databom.checks.attribution import check_page, credit
from databom.errors import ConfigError
from databom.hosts.tracking import ModelPage, model_page, run_tags
from databom.model import times
from databom.model.finding import Finding, Report, Severity, Subject
from databom.model.text import printable
from databom.tasks import equivocation
from databom.tasks.believing import Believed, load_trust
from databom.tasks.gated_run import PRESENT, Said, is_answerable
from databom.tasks.gatekeeping import Gatekeeper
from databom.tasks.judging import Judged, judge, judge_pin
from databom.tasks.project import Project

_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class Asked(Struct, frozen=True):
    """What is asked about: a model, and the releases that its run names."""

    place: Project
    believed: Believed
    now: datetime
    page: ModelPage
    said: Said | None
    """What its run says; None where it names no run."""


def gate_model(model_uri: str, *, project: Path | str | None = None, now: datetime | None = None) -> Report:
    """Ask whether a model may be used: is it known what it was trained on, may that be used so, does its page say so?

    Args:
        model_uri: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, or `runs:/RUN_ID` (which has no page).
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.

    Raises:
        ConfigError: no project, no pins, no trust root, the log has no name, another form of URI.
        PluginError: MLflow is not installed, or the model or its run cannot be had, in the time that there is.
        StorageError: the log is there, and cannot be read or believed.
    """
    place = Project.load(project)
    if not place.lock.pins:
        raise ConfigError(
            f"{place.root} has no pins", hint="run this in the project that the model was trained in"
        )
    believed = load_trust(place)
    if believed.root is None:
        return _report(place, believed, believed.findings, None)
    page = model_page(model_uri)
    now = times.or_now(now)
    said = None
    if page.run_id and _RUN.match(page.run_id):
        said = Said.of(place, believed.root, page.run_id, run_tags(page.run_id), page.shown, now)
    asked = Asked(place, believed, now, page, said)
    findings = [*believed.findings]
    for question in _QUESTIONS:
        findings += question(asked)
    return _report(place, believed, tuple(dict.fromkeys(findings)), page.shown)


def _report(place: Project, believed: Believed, findings: tuple[Finding, ...], about: str | None) -> Report:
    policy = place.config.policy_digest
    return Report(Subject(), findings, trust=believed.digest, policy=policy, about=about)


def _is_recorded(asked: Asked) -> Iterator[Finding]:
    """`receipt.*`, `capture.off`, `.verdict`, `.differs`, `.unanswered`, `.present`: what its run says of itself."""
    shown, said = asked.page.shown, asked.said
    if said is None or (said.found is None and "databom.pins" not in said.tags):
        yield Finding(
            "capture.off",
            Severity.BLOCK,
            shown,
            "nothing says which data this model was trained on",
            expected="a run that was started in a project with pins",
            found=f"run {printable(asked.page.run_id)}, without pins" if asked.page.run_id else "no run",
            do="train it where databom is installed beside MLflow, in the project",
        )
        return
    yield from said.findings()
    if said.verdict != "pass":
        yield Finding(
            "capture.verdict",
            Severity.BLOCK,
            shown,
            "the data of its run was not known to be what was verified",
            expected="verdict pass",
            found=printable(said.verdict),
            do="the run's artifact databom/report.json says why; train again on verified data",
        )
    releases = said.releases()
    if not all(is_answerable(one) for one in releases):
        yield Finding(
            "capture.unanswered",
            Severity.BLOCK,
            shown,
            "neither the run's receipt nor its tags say which releases it used",
            do="its artifact databom/bom.cdx.json says it",
        )
    elif all(one.use == PRESENT for one in releases):
        yield Finding(
            "capture.present",
            Severity.WARN,
            shown,
            "its run is not known to have used any pin: the pins were present, and no more",
            expected="a pin that was read, declared, logged as an input, or a stage's dependency",
            found=printable(", ".join(one.name for one in releases), 400),
            do='say what a training uses: databom.use("NAME"), databom.open(), or deps of its DVC stage',
        )


def _may_be_used(asked: Asked) -> Iterator[Finding]:
    """Everything the gate says of the releases, now; `attribution.missing` where the page lacks a credit."""
    releases = asked.said.releases() if asked.said is not None else []
    for one in releases:
        if one.use == PRESENT or not is_answerable(one):
            continue
        assert one.manifest is not None
        name = one.name
        judged = _judged(asked, name, one.manifest)
        if judged is None:
            yield _not_kept(name, one.manifest)
            continue
        keeper = Gatekeeper.of(asked.place, name, judged, asked.believed, asked.now)
        judged = keeper.documents(judged)
        yield from (*judged.doubts, *judged.policy)
        if judged.manifest is not None and asked.page.description is not None:
            config = asked.place.config
            yield from check_page(credit(judged.manifest, config), asked.page.description, config.policy)


_QUESTIONS: tuple[Callable[[Asked], Iterator[Finding]], ...] = (_is_recorded, _may_be_used)


def _judged(asked: Asked, name: str, digest: str) -> Judged | None:
    """The judgement of the release that the run used; None where the project does not hold its manifest."""
    place = asked.place
    pin = place.lock.pins.get(name)
    if pin is not None and pin.manifest == digest:
        return judge_pin(place, name, asked.believed, now=asked.now)
    received = equivocation.earlier(place, digest)
    if received is None:
        return None
    return judge(received, asked.believed, config=place.config, now=asked.now)


def _not_kept(name: str, digest: str) -> Finding:
    return Finding(
        "capture.unanswered",
        Severity.BLOCK,
        printable(name),
        "the run used another release of this pin than is pinned now, and its manifest is not kept here",
        expected=printable(digest),
        found="no manifest",
        do="check out the commit that pinned it, and ask there",
    )
