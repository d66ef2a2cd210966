"""`databom revoke`: carry out a notice that takes the license of a release back.

1. The notice is opened: signed in the role `revocation`, about one manifest, in a known form. What is none changes
   nothing.
2. Where the license was given as irrevocable, the notice is a claim: it is kept and logged, and nothing else is done
   before a person decides (`databom approve`).
3. Else it is kept beside every pin that this release is or was pinned by, and logged. From then on `check`, `sync`,
   `exec`, the stage and `gate` refuse the release; the log remembers it where the notice gets lost.
4. Everything that stands on the release is found (`databom.tasks.affecting`). Registered versions of the runs that used
   it are frozen (`databom.hosts.freezing`), each after the log was told what its aliases were. Runs where it was only
   present are told, and nothing is done to them; so are those that used another release with some of the same bytes, or
   what a model made, unless that was asked for (`related`): a license text is the same bytes, too.

Each step can be taken again: a second call does what is left. The answer is `unanswered` (exit 3) until all is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from databom.checks.revocation import CLAIMED, INVALID, check_notice
from databom.errors import InputError, PluginError, Problem
from databom.hosts.freezing import REVOKED_TAG, Freezer
from databom.log.events import Frozen, Refused, Revoked
from databom.model import times
from databom.model.affected import Affected, Target
from databom.model.digest import sha256
from databom.model.finding import Finding, Report, Severity, Subject, findings_of
from databom.model.lock import PIN_NAME, pin_name
from databom.model.proofs import Proof
from databom.model.text import printable
from databom.tasks import affecting
from databom.tasks.affected_tracked import run_of, shown_version
from databom.tasks.attached import read_evidence, statement_name
from databom.tasks.attaching import keep_evidence
from databom.tasks.explaining import trusted
from databom.tasks.finding_receipts import Search
from databom.tasks.kept_manifests import Manifests, read_kept
from databom.tasks.known_runs import History, Release, read_history
from databom.tasks.noting import note, noting
from databom.tasks.progress import Progress, Silent
from databom.tasks.project import Project, exclusive_project, find_root
from databom.tasks.recollecting import recollect
from databom.tasks.taken_back import revoked, unlogged
from databom.trust.proof import open_proof, read_proof

if TYPE_CHECKING:
    from databom.hosts.tracked import TrackedVersion
    from databom.tasks.affecting import Found
    from databom.trust.root import TrustRoot

TYPE = "urn:databom:revocation:v1"
RECORDED, FROZEN, UNANSWERED = "revocation.recorded", "revocation.frozen", "revocation.unanswered"
UNKNOWN, POSSIBLE = "revocation.unknown", "revocation.possible"
RELATED, UNLOGGED = "revocation.related", "revocation.unlogged"
_AGAIN = "call databom revoke with the same notice again: it does what is left"


class Revocation(Struct, frozen=True):
    """What `revoke` answers: a report, and what stands on the release; None where nothing was carried out."""

    report: Report
    affected: Affected | None = None


def revoke(
    notice: Path | str,
    *,
    related: bool = False,
    project: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Revocation:
    """Carry out a notice of revocation.

    Args:
        notice: the file: a signed statement (DSSE) of type `urn:databom:revocation:v1`.
        related: also freeze versions whose run used another release that holds the same bytes, or what a run made.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: told how far it is.

    Raises:
        ConfigError: no project, or no trust root that is believed.
        StorageError: the notice cannot be read or not be kept, or the log cannot be read or believed.
    """
    now, told = times.or_now(now), progress or Silent()
    path = Path(notice)
    folder = Path(project).absolute() if project is not None else find_root()
    with noting(folder, now) as happened, exclusive_project(folder):
        place = Project.load(folder)
        believed, root = trusted(place)
        report = Report(
            Subject(),
            trust=believed.digest,
            policy=place.config.policy_digest,
            about=f"notice of revocation {printable(path.name)}",
        )
        history = read_history(Search(place, root, (), now), expired=root.expires <= now, progress=told)
        try:
            raw = read_evidence(path)
        except InputError as error:
            return Revocation(report.plus(findings_of(error)))
        if root.expires <= now:
            return Revocation(report.plus([Finding.of(root.expired_problem(now))]))
        try:
            proof = _opened(raw, root, path.name, now)
        except InputError as error:
            happened.extend(_refused(raw, history, error))
            return Revocation(report.plus(findings_of(error)))
        release = history.releases.get(proof.manifest)
        stated = printable(read_proof(raw, file=path.name).release, 200)
        names = _names(release, stated)
        manifest = read_kept(Manifests(place).find(proof.manifest, names))
        called = release.release if release is not None else stated or "unknown"
        events = [revoked(name, called, proof, manifest) for name in names]
        is_known = release is None or manifest is not None
        logged = {(one.manifest, one.evidence) for one in recollect(place, believed, now).revoked}
        for name, event in zip(names, events, strict=True):
            is_new = keep_evidence(place.evidence_dir(name) / statement_name(proof.kind, raw), raw)
            is_told = not is_new if event.claimed else (event.manifest, event.evidence) in logged
            if is_known and not is_told:
                happened.append(event)
        report = report.plus((*_recorded(release, events), *unlogged(place, UNLOGGED)))
    if events[0].claimed:
        return Revocation(report)
    found = affecting.find(place, Target("digest", proof.manifest), believed, root, now, told)
    report = report.plus(_unfollowed(found.answer))
    if not is_known:  # it may be irrevocable: `_unfollowed` says that its manifest is not here
        return Revocation(report, found.answer)
    return Revocation(report.plus(_frozen(place, found, events[0], now, related=related)), found.answer)


def _opened(raw: bytes, root: TrustRoot, file: str, now: datetime) -> Proof:
    """The notice in some bytes, where it holds.

    Raises:
        InputError: `evidence.invalid` or `revocation.invalid`: it does not.
    """
    proof = open_proof(raw, root, file=file, now=now)
    if proof.kind != "revocation":
        kind = f"a {proof.kind}"
        do = "databom attach NAME FILE keeps other evidence"
        raise InputError(
            Problem(INVALID, printable(file), "this is no notice of revocation", f"type {TYPE}", kind, do)
        )
    if (doubt := check_notice(proof)) is not None:
        raise InputError(
            Problem(doubt.code, doubt.subject, doubt.what, doubt.expected, doubt.found, doubt.do)
        )
    return proof


def _refused(raw: bytes, history: History, error: InputError) -> Iterator[Refused]:
    """The event of a notice that does not hold, where it is about a release that is known here."""
    try:
        about = read_proof(raw, file="").manifest
    except InputError:
        return
    release = history.releases.get(about)
    if release is not None:
        for name in _names(release, release.release)[:1]:
            code = error.problems[0].code
            yield Refused(name=name, release=release.release, manifest=about, evidence=sha256(raw), code=code)


def _names(release: Release | None, stated: str) -> list[str]:
    """The pins of a release; of one that was never pinned, the name that a pin of it gets by itself."""
    if release is not None and (names := sorted(filter(PIN_NAME.match, release.names))):
        return names
    return [pin_name(stated.rpartition("@")[0] or stated or "unknown")]


def _recorded(release: Release | None, events: Iterable[Revoked]) -> Iterator[Finding]:
    """What was kept, and what follows from it."""
    for event in events:
        if event.claimed:
            yield Finding(
                CLAIMED,
                Severity.WARN,
                event.name,
                f"the license of {printable(event.release)} was given as irrevocable: the notice is kept as a claim",
                expected="license.revocable: false, as it was signed",
                found="a notice of revocation",
                do="nothing is refused for it; legal decides: databom approve NAME --settles revocation.claimed …",
            )
            continue
        yield Finding(
            RECORDED,
            Severity.INFO,
            event.name,
            f"the license of {printable(event.release)} was taken back; it is refused from now on",
            found=f"{event.evidence}, kept in provenance/evidence/{event.name}",
            do=f"commit it; move on to a release that holds: databom update {event.name}",
        )
        if release is None:
            yield Finding(
                UNKNOWN,
                Severity.INFO,
                event.name,
                "this project knows of no pin and no run of this release: there is nothing more to do",
                found=event.manifest,
            )


def _unfollowed(found: Affected) -> Iterator[Finding]:
    """What cannot be acted upon: runs where the release was only present, and what could not be looked at."""
    for run in found.runs:
        if run.is_possible:
            yield Finding(
                POSSIBLE,
                Severity.INFO,
                run.run,
                "the release was present, and nothing shows that this run used it: nothing was done",
                do='find out, and say what a training uses: databom.use("NAME")',
            )
    for one in found.untold:
        yield Finding(UNANSWERED, Severity.BLOCK, one.about, one.what, do=one.do)


def _frozen(
    place: Project, found: Found, event: Revoked, now: datetime, *, related: bool
) -> Iterator[Finding]:
    """Freeze the registered versions; the log hears of all of them before anything is done to the first."""
    used = {one.run for one in found.answer.runs if one.direct or related}
    meant = [one for one in found.versions if run_of(one) in used]
    for one in found.versions:
        if one not in meant:
            yield Finding(
                RELATED,
                Severity.WARN,
                shown_version(one),
                "its run used another release that holds the same bytes, or what a run made of them: nothing was done",
                found=run_of(one),
                do="databom affected says which; to freeze it as well: databom revoke NOTICE --related",
            )
    if not meant:
        return
    try:
        freezer = Freezer()
        left = [one for one in meant if not freezer.is_frozen(one, event.manifest)]
    except PluginError as error:
        yield _not_frozen(printable(found.answer.registry or "the registry"), error)
        return
    note(place.root, *(_event(one, event) for one in left), now=now)
    for one in meant:
        uri = shown_version(one)
        if one not in left:
            yield Finding(FROZEN, Severity.INFO, uri, "it was marked before, and no alias leads to it")
            continue
        try:
            taken = freezer.freeze(one, event.manifest)
        except PluginError as error:
            yield _not_frozen(uri, error)
            continue
        aliases = ", ".join(f"@{printable(alias)}" for alias in taken)
        yield Finding(
            FROZEN,
            Severity.INFO,
            uri,
            f"its run used the release: it is marked ({REVOKED_TAG}), and no alias leads to it",
            found=f"{aliases} taken away" if aliases else "no alias",
            do="train another on data that holds; databom gate refuses this one",
        )


def _event(version: TrackedVersion, event: Revoked) -> Frozen:
    return Frozen(
        name=event.name,
        release=event.release,
        manifest=event.manifest,
        evidence=event.evidence,
        model=shown_version(version),
        run=run_of(version),
        aliases=tuple(map(printable, version.aliases)),
    )


def _not_frozen(subject: str, error: PluginError) -> Finding:
    return Finding(
        UNANSWERED, Severity.BLOCK, subject, f"not frozen: {printable(str(error), 400)}", do=_AGAIN
    )
