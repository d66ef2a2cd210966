"""`databom sync`: fetch what is missing, verify every byte, judge, write the report. What the DVC stage runs.

For each pin, in this order:

1. The old report is removed: whatever happens next, nothing stale says "pass".
2. The kept manifest is judged. A refusal stops here; no asset of a refused release is fetched.
3. What only an earlier release of the pin had is retired. Assets on disk are hashed, and one that does not match is
   moved to quarantine.
4. Missing assets are fetched to temporary names, hashed while streaming, and published only when they match.
   They come from the team's mirror where the lock knows one, and from the marketplace what that cannot give.
   An asset with an open quarantine case is not fetched: that takes `--refetch`, which is recorded.
5. On a pass: DVC's state is seeded, the stat record and, last of all, the report are written.

A release of more than `MAX_ASSETS` goes through 3 and 4 in rounds, so that memory does not grow with it; its outcomes
are not kept, so DVC's state is not seeded and no stat record is written.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from databom.checks.integrity import (
    Outcome,
    check_outcomes,
    check_unlisted,
    compare,
    measure_all,
    remembering,
)
from databom.checks.streaming import Total, check_unlisted_in_order, rounds
from databom.errors import ConfigError, InputError, Problem, StorageError
from databom.hosts import dvc_state
from databom.model import times
from databom.model.digest import sha256
from databom.model.finding import Finding, Report, Reports, Subject, Summary, Verdict, findings_of
from databom.model.manifest import MAX_ASSETS, Asset, Manifest
from databom.storage import files
from databom.storage.hashcache import HashCache
from databom.storage.hashing import Measured
from databom.storage.headers import NONE
from databom.storage.staging import Staging
from databom.storage.tree import LocalTree
from databom.tasks import confine, incidents, mirrors, quarantine, recorded, retiring
from databom.tasks.believing import Believed, load_trust
from databom.tasks.gatekeeping import Gatekeeper
from databom.tasks.ingesting import Fetched, ingest
from databom.tasks.judging import Judged, judge_pin
from databom.tasks.mirrors import Source
from databom.tasks.noting import Noted, noting, verified
from databom.tasks.own_files import own_in_folder
from databom.tasks.progress import Meter, Progress, Silent
from databom.tasks.project import Project, exclusive_project, find_root
from databom.tasks.quarantine import Case
from databom.tasks.recognising import Recogniser

_logger = logging.getLogger(__name__)

EVIDENCE = frozenset({"integrity.mismatch", "integrity.size", "integrity.unsafe-file"})
"""What is wrong with a file that is moved aside; a file that cannot be read stays where it is."""


def sync(
    *names: str,
    refetch: bool = False,
    full: bool = False,
    strict: bool = False,
    project: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Report | Reports:
    """Fetch what is missing of the named pins (all by default), verify every byte, judge, write the reports.

    Published assets are never overwritten. A local asset that does not match is moved to quarantine and every
    later `sync` refuses until `refetch`, which is recorded; only unpublished temporary files repair themselves.
    With `full`, local assets are hashed even if they have been unchanged since this machine hashed them.
    With `strict` a warning blocks: what is written says the same as what is answered.

    Returns:
        One name gives a `Report`, otherwise `Reports`. `storage.*` findings say what could not be had.

    Raises:
        ConfigError: no project, no pins, an unknown name, no trust root.
        StorageError: the project's own files cannot be written.
    """
    now = times.or_now(now)
    folder = Path(project).absolute() if project is not None else find_root()
    # Told when the project is free again: a hook may well ask it.
    with (
        incidents.announcing(folder) as opened,
        noting(folder, now) as happened,
        exclusive_project(folder),
    ):
        reports = _reports(folder, names, refetch, full, strict, now, progress, opened, happened)
    return reports[0] if names and len(reports) == 1 else Reports(reports)


def sync_unheard(
    names: tuple[str, ...], project: Path, *, now: datetime, progress: Progress | None = None
) -> tuple[Report, ...]:
    """`sync` in a folder that stands for nobody, such as a work tree: neither the log nor the team hears of it.

    Raises:
        ConfigError: as for `sync`.
        StorageError: as for `sync`.
    """
    with exclusive_project(project):
        return _reports(project, names, False, False, False, now, progress, [], [])


def _reports(
    folder: Path,
    names: tuple[str, ...],
    refetch: bool,
    full: bool,
    strict: bool,
    now: datetime,
    progress: Progress | None,
    opened: list[Case],
    happened: list[Noted],
) -> tuple[Report, ...]:
    place, reports = Project.load(folder), []
    believed = load_trust(place)
    for name in place.names(names):
        confine.require(place, name, place.pin(name))
        run = _Sync(place, name, believed, refetch, full, strict, now, progress or Silent(), opened, happened)
        reports.append(run.run())
        place = run.place
    return tuple(reports)


@dataclass(slots=True)
class _Sync:
    """One pin's pass."""

    place: Project
    name: str
    believed: Believed
    refetch: bool
    full: bool
    strict: bool
    now: datetime
    progress: Progress
    opened: list[Case]
    happened: list[Noted]
    findings: list[Finding] = field(default_factory=list)
    known: Recogniser = field(init=False)
    keeper: Gatekeeper | None = None

    def __post_init__(self) -> None:
        self.known = Recogniser(self.place, self.name)

    def run(self) -> Report:
        """Steps 1-5."""
        pin = self.place.pin(self.name)
        files.remove(self.place.report_path(self.name))
        recorded.forget(self.place, self.name)
        try:
            judged = judge_pin(self.place, self.name, self.believed, now=self.now)
            self.keeper = Gatekeeper.of(self.place, self.name, judged, self.believed, self.now)
            judged = self.keeper.documents(judged)
        except StorageError as error:
            subject = Subject(self.name, pin.release, pin.manifest, pin.tree)
            doubts = (*self.believed.findings, *findings_of(error))
            return self._last(Report(subject, doubts, trust=self.believed.digest))
        manifest = judged.manifest
        refusal = self._weighed(judged.report(self.name))
        if manifest is None or refusal.verdict is not Verdict.PASS:
            return self._last(refusal)
        if len(manifest.assets) > MAX_ASSETS:
            return self._in_rounds(judged, manifest)
        outcomes = {asset.path: Outcome(asset.path, error=_not_tried(asset)) for asset in manifest.assets}
        folder = self.place.data_path(pin)
        tree = LocalTree(folder, cache_root=dvc_state.cache_root(self.place.root))
        tried = False
        try:
            inside = None if Path(pin.path).is_absolute() else self.place.root
            with Staging(folder, beneath=inside) as staging:
                staging.sweep()
                retiring.retire(self.place, self.name, manifest, tree, staging)
                retiring.remember(self.place, self.name, pin)
                for outcome in self._assets(manifest, tree, staging):
                    outcomes[outcome.path] = outcome
                    tried = True
            self.findings += check_unlisted(outcomes, tree, allow=own_in_folder(self.place, pin, manifest))
        except (StorageError, InputError) as error:
            self.findings += findings_of(error)
            if not tried:  # one trouble with the folder, not one for each asset
                count = len(manifest.assets)
                return self._last(
                    judged.report(self.name, tuple(self.findings), Summary(assets=count, failed=count))
                )
        result = check_outcomes(manifest, outcomes.values(), tree.shown)
        report = judged.report(self.name, (*self.findings, *result.findings), result.summary)
        report = self._weighed(self.keeper.scanned(judged, report, self.progress, self.happened))
        if report.verdict is Verdict.PASS:
            self._passed(report, result.outcomes)
        return self._last(report)

    def _in_rounds(self, judged: Judged, manifest: Manifest) -> Report:
        """Steps 3-5 for more assets than should be held at once."""
        pin = self.place.pin(self.name)
        folder = self.place.data_path(pin)
        tree = LocalTree(folder, cache_root=dvc_state.cache_root(self.place.root))
        total, count = Total(), len(manifest.assets)
        self.full = True  # what is remembered of a tree is remembered of all of it
        try:
            inside = None if Path(pin.path).is_absolute() else self.place.root
            with Staging(folder, beneath=inside) as staging:
                staging.sweep()
                retiring.retire(self.place, self.name, manifest, tree, staging)
                retiring.remember(self.place, self.name, pin)
                for assets in rounds(manifest.assets):
                    part = replace(manifest, assets=assets)
                    outcomes = [*self._assets(part, tree, staging)]
                    total.add(check_outcomes(part, outcomes, tree.shown))
            own = own_in_folder(self.place, pin, manifest)
            self.findings += check_unlisted_in_order(manifest, tree, allow=own)
        except (StorageError, InputError) as error:
            self.findings += findings_of(error)
        findings = (*self.findings, *total.findings(count))
        report = judged.report(self.name, findings, total.summary_of(count))
        if self.keeper is not None:
            report = self.keeper.scanned(judged, report, self.progress, self.happened)
        report = self._weighed(report)
        if report.verdict is Verdict.PASS:
            self._passed(report, ())
        return self._last(report)

    # --- steps 3 and 4 ------------------------------------------------------------------------

    def _assets(self, manifest: Manifest, tree: LocalTree, staging: Staging) -> Iterator[Outcome]:
        cases = {case.path: case for case in self._open_cases(manifest)}
        md5 = dvc_state.in_dvc_project(self.place.root)
        meter = Meter(self.progress)
        self.progress.start(self.name, assets=len(manifest.assets), size=manifest.total_bytes)
        try:
            missing = []
            by_path = {asset.path: asset for asset in manifest.assets}
            for outcome in self._on_disk(manifest, tree, md5=md5, meter=meter):
                asset = by_path[outcome.path]
                problem = self._compare(asset, outcome)
                if problem is not None and problem.code in EVIDENCE:
                    case = self._set_aside(problem, asset, outcome.size, self.place.pin(self.name).path)
                    self._move(staging, asset.path, case)
                    if self.refetch:
                        quarantine.settle(case, self.now)
                        missing.append(asset)
                    else:
                        yield Outcome(asset.path, error=quarantine.set_aside(problem, case))
                elif problem is not None and problem.code == "integrity.missing":
                    if asset.path in cases:
                        case = cases[asset.path]
                        yield Outcome(asset.path, error=quarantine.still_open(case))
                    else:
                        missing.append(asset)
                else:
                    yield outcome
            if missing:
                yield from self._fetch(missing, manifest, staging, tree, md5=md5, meter=meter)
        finally:
            self.progress.stop()

    def _on_disk(self, manifest: Manifest, tree: LocalTree, *, md5: bool, meter: Meter) -> Iterator[Outcome]:
        if not tree.root.exists():
            absent = Problem("integrity.missing", None, "there is no such file")
            yield from (Outcome(asset.path, error=absent) for asset in manifest.assets)
            return
        cache = None if self.full else HashCache(tree.root)
        with remembering(manifest.assets, tree, cache, md5=md5) as memory:
            yield from measure_all(manifest.assets, tree, md5=md5, memory=memory, progress=meter.measured)

    def _fetch(
        self,
        missing: list[Asset],
        manifest: Manifest,
        staging: Staging,
        tree: LocalTree,
        *,
        md5: bool,
        meter: Meter,
    ) -> Iterator[Outcome]:
        staging.require(sum(asset.size or 0 for asset in missing))
        # Whoever fetches again what did not match wants it from where it was made.
        sources = mirrors.sources(self.place, self.name, manifest)[-1 if self.refetch else 0 :]
        left = missing
        for source in sources[:-1]:
            outcomes = self._fetch_from(source, left, staging, tree, md5=md5, meter=meter)
            left = yield from _what_it_has(source, left, outcomes)
        if left:
            yield from self._fetch_from(sources[-1], left, staging, tree, md5=md5, meter=meter)
        self._record_refetch(missing)

    def _fetch_from(
        self,
        source: Source,
        assets: list[Asset],
        staging: Staging,
        tree: LocalTree,
        *,
        md5: bool,
        meter: Meter,
    ) -> Iterator[Outcome]:
        def set_aside(fetched: Fetched) -> Outcome:
            problem = self._compare(fetched.asset, fetched.measured, source.shown)
            assert problem is not None
            where = source.place_of(fetched.asset)
            case = self._set_aside(problem, fetched.asset, fetched.measured.size, where, fetched.headers)
            staging.set_aside(fetched.temp, case.asset / fetched.asset.path)
            problem = problem._replace(what=source.told(problem.what, fetched.asset))
            return Outcome(fetched.asset.path, error=quarantine.set_aside(problem, case))

        reader = source.reader
        return ingest(assets, reader, staging, tree, md5=md5, set_aside=set_aside, advance=meter.fetched)

    # --- evidence -----------------------------------------------------------------------------

    def _open_cases(self, manifest: Manifest) -> list[Case]:
        cases = list(quarantine.open_cases(self.place.quarantine_dir, self.name, manifest.digest))
        if self.refetch:
            for case in cases:
                quarantine.settle(case, self.now)
            return []
        return cases

    def _set_aside(
        self, problem: Problem, asset: Asset, size: int | None, source: str, headers: Mapping[str, str] = NONE
    ) -> Case:
        case = quarantine.new_case(
            self.place,
            self.name,
            problem,
            path=asset.path,
            size=size,
            source=source,
            headers=headers,
            now=self.now,
        )
        self.opened.append(case)
        return case

    def _compare(self, asset: Asset, got: Outcome | Measured, where: str = "") -> Problem | None:
        problem = compare(asset, got, where)
        return None if problem is None else self.known.explain(problem)

    def _move(self, staging: Staging, path: str, case: Case) -> None:
        with contextlib.suppress(FileNotFoundError):
            staging.move_out(path, case.asset)

    def _record_refetch(self, assets: Iterable[Asset]) -> None:
        """`--refetch` is an exception a person asked for: `seen` remembers it, in git."""
        if not self.refetch:
            return
        pin = self.place.pin(self.name)
        seen = self.place.lock.seen.get(pin.dataset_id)
        if seen is None:
            return
        count = sum(1 for _ in assets)
        note = f"{times.format(self.now)} {pin.release}: refetched {count} asset{'' if count == 1 else 's'}"
        changed = msgspec.structs.replace(seen, notes=(*seen.notes, note))
        self.place = self.place.save_lock(self.place.lock.with_seen(pin.dataset_id, changed))

    # --- step 5 -------------------------------------------------------------------------------

    def _weighed(self, report: Report) -> Report:
        report = report if self.keeper is None else self.keeper.assets(report)
        return report.strict() if self.strict else report

    def _passed(self, report: Report, outcomes: Iterable[Outcome]) -> None:
        rows = list(outcomes)
        folder = self.place.data_path(self.place.pin(self.name))
        if dvc_state.in_dvc_project(self.place.root):
            dvc_state.seed(self.place.root, ((folder / row.path, row.md5) for row in rows if row.md5))
        recorded.record(self.place, self.name, rows)
        retiring.remember(self.place, self.name, self.place.pin(self.name), passed=True)
        files.write_atomic(self.place.report_path(self.name), stage_report(report))

    def _last(self, report: Report) -> Report:
        """Keep the last report, pass or not, for whoever asks later."""
        report = self._weighed(report)
        # First what the log is told: it keeps room for that, also on a disk that is full.
        self.happened += verified(self.name, report, sha256(stage_report(report)), refetched=self.refetch)
        self.place.state("last")
        files.write_atomic(self.place.last_dir / f"{self.name}.json", report.to_json().encode())
        return report


def _what_it_has(
    source: Source, wanted: list[Asset], outcomes: Iterator[Outcome]
) -> Generator[Outcome, None, list[Asset]]:
    """Hand on what a source gave, right or wrong; answers what it could not give."""
    left, first = {asset.path: asset for asset in wanted}, ""
    try:
        for outcome in outcomes:
            if outcome.error is None or outcome.error.code in EVIDENCE:
                del left[outcome.path]
                yield outcome
            else:
                first = first or outcome.error.what
    except (
        ConfigError
    ) as error:  # this machine is not set up for the mirror; the marketplace may still answer
        first = str(error)
    if left:
        told = "%s of %s assets were not to be had from the mirror %s (%s); the marketplace is asked for them"
        _logger.warning(told, f"{len(left):,}", f"{len(wanted):,}", source.location.shown, first)
    return list(left.values())


def stage_report(report: Report) -> bytes:
    """The deterministic report that DVC shows as metrics: digests and counts at the top, the whole below."""
    whole = report.to_dict()
    del whole["reading"]  # what was remembered depends on this machine's past, and this report must not
    top: Mapping[str, object] = {
        "verdict": whole["verdict"],
        "manifest": report.subject.manifest,
        "tree": report.subject.tree,
        "trust": report.trust,
        "policy": report.policy,
        **whole["summary"],
        "report": whole,
    }
    return (json.dumps(top, indent=2, ensure_ascii=False) + "\n").encode()


def _not_tried(asset: Asset) -> Problem:
    return Problem(
        "storage.unreachable", asset.path, "not tried: the pass ended before its turn", do="run it again"
    )
