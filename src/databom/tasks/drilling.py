"""`databom drill`: would a revocation be carried out here, today? Asked before one comes; nothing is written.

Of the project: may anybody take a license back (the role `revocation`, with enough keys that are valid now), would the
log hear of it, does the tracking server answer. Of every pin: what stands on it, and can all of it be looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from databom.errors import ConfigError
from databom.model import times
from databom.model.affected import Affected, Target
from databom.model.finding import Finding, Report, Severity, Subject
from databom.model.text import counted
from databom.tasks import affecting
from databom.tasks.explaining import trusted
from databom.tasks.finding_receipts import Search
from databom.tasks.kept_manifests import Manifests
from databom.tasks.known_runs import read_history
from databom.tasks.progress import Progress, Silent
from databom.tasks.project import Project
from databom.tasks.taken_back import is_irrevocable, unlogged
from databom.trust.root import TrustRoot

NOBODY, UNLOGGED, UNASKED = "drill.nobody", "drill.unlogged", "drill.unasked"
STANDS, UNANSWERED, CLAIM = "drill.stands", "drill.unanswered", "drill.claim"
ROLE = "revocation"


class Drill(Struct, frozen=True):
    """What a drill comes to: a report, what stands on each pin, and how long it took to find out, in seconds."""

    report: Report
    affected: dict[str, Affected]
    seconds: float


def drill(
    *, project: Path | str | None = None, now: datetime | None = None, progress: Progress | None = None
) -> Drill:
    """Go through the revocation of every pin without carrying it out.

    Args:
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: told how far it is.

    Raises:
        ConfigError: no project, no pins, or no trust root that is believed.
        StorageError: the log is there, and cannot be read or believed; a kept file cannot be read.
    """
    began = time.monotonic()
    place = Project.load(project)
    now, told = times.or_now(now), progress or Silent()
    if not place.lock.pins:
        raise ConfigError(f"{place.root} has no pins", hint="databom add MANIFEST pins a release")
    believed, root = trusted(place)
    findings = [*_readiness(place, root, now)]
    history = read_history(Search(place, root, (), now), expired=root.expires <= now, progress=told)
    manifests = Manifests(place, held=affecting.MAX_HELD_BYTES)
    found: dict[str, Affected] = {}
    for name, pin in sorted(place.lock.pins.items()):
        asked = Target("digest", pin.manifest)
        answer = affecting.follow(place, asked, history, manifests, believed, root, now, told)
        found[name] = answer.answer
        findings += _of_pin(name, answer)
    report = Report(
        Subject(),
        tuple(dict.fromkeys(findings)),
        trust=believed.digest,
        policy=place.config.policy_digest,
        about="drill",
    )
    return Drill(report, found, round(time.monotonic() - began, 3))


def _readiness(place: Project, root: TrustRoot, now: datetime) -> Iterator[Finding]:
    role = root.roles.get(ROLE)
    valid = [one for one in role.keyids if root.keys[one].is_valid_at(now)] if role is not None else []
    if role is None or len(valid) < role.threshold or root.expires <= now:
        why = "no such role"
        if role is not None:
            why = f"{len(valid)} of {len(role.keyids)} keys valid now, {role.threshold} asked for"
        if root.expires <= now:
            why = f"a trust root that expired on {times.format(root.expires)}"
        yield Finding(
            NOBODY,
            Severity.BLOCK,
            place.config.trust_root,
            "nobody may take a license back here: a notice would be refused",
            expected=f"enough keys of the role {ROLE}, valid now",
            found=why,
            do=f"databom trust add FILE.pub --role {ROLE}",
        )
    yield from unlogged(place, UNLOGGED)


def _of_pin(name: str, found: affecting.Found) -> Iterator[Finding]:
    answer = found.answer
    used = sum(not one.is_possible for one in answer.runs)
    aliases = sum(len(one.aliases) for one in found.versions)
    if answer.registry is None:
        yield Finding(
            UNASKED,
            Severity.INFO,
            None,
            "no tracking server is configured: registered models were not looked for",
            do="set MLFLOW_TRACKING_URI where there is one",
        )
    if any(is_irrevocable(manifest) for manifest in found.manifests):
        yield Finding(
            CLAIM,
            Severity.INFO,
            name,
            "its license was given as irrevocable: a notice would be kept as a claim, and legal would decide",
        )
    yield Finding(
        STANDS,
        Severity.INFO,
        name,
        f"on it stand {counted(used, 'run')} and {counted(len(answer.versions), 'registered version')}; it was only "
        f"present in {counted(len(answer.runs) - used, 'more run')}; aliases that would go: {aliases:,}",
        do=f"databom affected {name}",
    )
    for one in answer.untold:
        yield Finding(UNANSWERED, Severity.BLOCK, one.about, one.what, do=one.do)
