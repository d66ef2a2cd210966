"""`databom gate`: may this model be used? Asked of what the project keeps; the tracking server only says which data.

Tags, artifacts and pages in MLflow can be edited by whoever may write to it. So they say what to look at, and what
they say of themselves (no run, no verdict, a failed one) is believed only where it speaks against the model. That the
data may be used is judged anew: the manifests are read from the project, opened, and held against the policy now, with
the proofs that are kept.

Each question is a function in `_QUESTIONS`: it is given what is asked about and yields findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from databom.checks.attribution import check_page, credit
from databom.errors import ConfigError
from databom.hosts.tracking import ModelPage, model_page, run_tags
from databom.model import times
from databom.model.finding import Finding, Report, Severity, Subject
from databom.model.lock import PIN_NAME
from databom.model.text import printable
from databom.tasks import equivocation
from databom.tasks.believing import Believed, load_trust
from databom.tasks.gatekeeping import Gatekeeper
from databom.tasks.judging import Judged, judge, judge_pin
from databom.tasks.project import Project


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about: a model, and the releases that its run names."""

    place: Project
    believed: Believed
    now: datetime
    page: ModelPage
    tags: Mapping[str, str]
    """Those of its run; none where it names no run."""

    def pins(self) -> list[str]:
        """The pins that the run names, sorted."""
        return sorted({name for name in self.tags.get("databom.pins", "").split(",") if name})

    def used(self) -> list[str]:
        """Those of them that the run is known to have used."""
        return [name for name in self.pins() if PIN_NAME.match(name) and self._use(name) != "present"]

    def _use(self, name: str) -> str:
        return self.tags.get(f"databom.{name}.use", "present")


def gate_model(model_uri: str, *, project: Path | str | None = None, now: datetime | None = None) -> Report:
    """Ask whether a model may be used: is it known what it was trained on, may that be used so, does its page say so?

    Args:
        model_uri: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, or `runs:/RUN_ID` (which has no page).
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.

    Raises:
        ConfigError: no project, no pins, no trust root, another form of URI.
        PluginError: MLflow is not installed, or the model or its run cannot be had.
    """
    place = Project.load(project)
    if not place.lock.pins:
        raise ConfigError(
            f"{place.root} has no pins", hint="run this in the project that the model was trained in"
        )
    believed = load_trust(place)
    page = model_page(model_uri)
    tags = run_tags(page.run_id) if page.run_id else {}
    asked = Asked(place, believed, times.or_now(now), page, tags)
    findings = [*believed.findings]
    for question in _QUESTIONS:
        findings += question(asked)
    return Report(
        Subject(),
        tuple(dict.fromkeys(findings)),
        trust=believed.digest,
        policy=place.config.policy_digest,
        about=page.shown,
    )


def _is_recorded(asked: Asked) -> Iterator[Finding]:
    """`capture.off`, `.verdict` (block), `.unanswered`, `.present` (warn): what its run says of itself."""
    shown, tags = asked.page.shown, asked.tags
    if "databom.pins" not in tags:
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
    verdict = tags.get("databom.verdict", "none")
    if verdict != "pass":
        yield Finding(
            "capture.verdict",
            Severity.BLOCK,
            shown,
            "the data of its run was not known to be what was verified",
            expected="databom.verdict pass",
            found=printable(verdict),
            do="the run's artifact databom/report.json says why; train again on verified data",
        )
    if not all(PIN_NAME.match(name) and f"databom.{name}.manifest" in tags for name in asked.pins()):
        yield Finding(
            "capture.unanswered",
            Severity.BLOCK,
            shown,
            "the run's tags do not say which releases it used: above 90 pins they have no room",
            do="its artifact databom/bom.cdx.json says it",
        )
    elif not asked.used():
        yield Finding(
            "capture.present",
            Severity.WARN,
            shown,
            "its run is not known to have used any pin: the pins were present, and no more",
            expected="a pin that was read, declared, logged as an input, or a stage's dependency",
            found=printable(", ".join(asked.pins()), 400),
            do='say what a training uses: databom.use("NAME"), databom.open(), or deps of its DVC stage',
        )


def _may_be_used(asked: Asked) -> Iterator[Finding]:
    """Everything the gate says of the releases, now; `attribution.missing` where the page lacks a credit."""
    for name in asked.used():
        wanted = asked.tags.get(f"databom.{name}.manifest")
        judged = None if wanted is None else _judged(asked, name, wanted)
        if judged is None:
            if wanted is not None:
                yield _not_kept(name, wanted)
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
