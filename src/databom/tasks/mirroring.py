"""`databom mirror`: copy a release into a bucket the team owns, once and for good.

1. The kept manifest is judged, like in `sync`; of a refused release nothing is copied.
2. Each asset is copied into a private file and hashed: from the pin's folder where the file is there and right, else
   from the marketplace. Only bytes that match the manifest are sent.
3. They are stored under their digest, on the condition that nothing is there. What is there already is read back and
   compared; other bytes are a finding, are kept as evidence, and stay what they are.
4. When all assets are there, the release's documents are stored as they were received, the manifest last.
5. `databom.lock` remembers the mirror, and `sync` asks it first.

On the way without incident only PUT is used: credentials that may do nothing else are enough.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from databom.checks.integrity import Outcome, check_outcomes, compare, problem_of
from databom.checks.measuring import shown_path
from databom.errors import (
    ConfigError,
    FullError,
    InputError,
    MissingError,
    Problem,
    StorageError,
    UnsafeFileError,
)
from databom.hosts import dvc_state
from databom.model import times
from databom.model.digest import sha256 as digest_of
from databom.model.finding import Finding, Report, Severity, Subject, Verdict, findings_of
from databom.model.lock import Mirror
from databom.model.manifest import Asset, Manifest
from databom.storage import files
from databom.storage.hashing import Measured, copy_verified
from databom.storage.headers import NONE, headers_of
from databom.storage.location import Location, parse_location
from databom.storage.reader import Reader, with_retries
from databom.storage.s3upload import MAX_SINGLE_PUT, PART_BYTES, S3Writer, Stored
from databom.storage.staging import Staging, TempFile
from databom.storage.tree import LocalTree
from databom.tasks import incidents, mirrors, quarantine
from databom.tasks.believing import load_trust
from databom.tasks.judging import Judged, judge_pin
from databom.tasks.mirror_journal import Journal
from databom.tasks.mirror_lock import lock_finding
from databom.tasks.mirror_objects import CONFLICT, Done, Objects, Wanted, wanted_of
from databom.tasks.progress import Progress, Silent
from databom.tasks.project import Project, exclusive_project, find_root
from databom.tasks.quarantine import Case
from databom.tasks.receiving import kept

_logger = logging.getLogger(__name__)

WORKERS = 8
LARGE_BYTES = 256 * 1024 * 1024
"""Assets above this are copied one at a time: a copy of each is on the disk until it is stored."""
GIVE_UP_AFTER = 16
"""Objects in a row without a usable answer after which the rest is not tried."""


def mirror(
    name: str,
    url: str,
    *,
    project: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
    single_put: int = MAX_SINGLE_PUT,
    part: int = PART_BYTES,
) -> Report:
    """Copy a pin's release to `s3://bucket/prefix` or `r2://bucket/prefix`; nothing there is ever overwritten.

    What an interrupted call has stored is not sent again. Several calls at once, here or elsewhere, do not disturb
    each other. After a pass `databom.lock` names the mirror, and `sync` asks it before the marketplace.

    Args:
        name: the pin.
        url: the bucket and the prefix.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: told how far it is.
        single_put: bytes up to which an object goes up in one PUT; larger ones go up in parts and are read back whole.
        part: bytes of a part, at least 5 MiB.

    Returns:
        A report. On a pass it holds `mirror.stored` (what was stored, and where the manifest is) and `mirror.lock`
        (whether the objects are locked, and the command that locks them).

    Raises:
        ConfigError: no project, no such pin, no trust root, not a bucket, or s3fs is not installed.
        StorageError: the project's own files cannot be written.
    """
    now = times.or_now(now)
    place = Project.load(Path(project).absolute() if project is not None else find_root())
    pin = place.pin(name)
    location = parse_location(url)
    if not location.is_bucket:
        raise ConfigError(
            f"{location.shown} is not a bucket",
            hint="name the mirror as s3://BUCKET/PREFIX or r2://BUCKET/PREFIX",
        )
    while location.path.endswith("/"):
        location = location.parent
    believed = load_trust(place)
    try:
        judged = judge_pin(place, name, believed, now=now)
    except StorageError as error:
        subject = Subject(name, pin.release, pin.manifest, pin.tree)
        return Report(subject, (*believed.findings, *findings_of(error)), trust=believed.digest)
    manifest = judged.manifest
    if manifest is None or judged.report(name).verdict is not Verdict.PASS:
        return judged.report(name)
    writer = S3Writer(location, single=single_put, part=part)
    folder = place.state("mirror")
    with (
        incidents.announcing(place.root) as opened,
        files.exclusive(place.state_dir / "mirror.lock", waiting=_waiting),
        Staging(folder) as staging,
        Journal(place, f"{writer.endpoint} {location.stored}") as journal,
    ):
        staging.sweep()
        told = progress or Silent()
        try:
            run = _Mirroring(
                place, name, location, judged, manifest, writer, staging, journal, now, told, opened
            )
        except InputError as error:  # the lock names a root that databom would never have written
            return judged.report(name, findings_of(error))
        report = run.run()
        if report.verdict is Verdict.PASS:
            _remember(place.root, name, Mirror(location=location.stored, manifest=manifest.digest))
            journal.forget()
    return report


def _waiting(who: str) -> None:
    _logger.warning("waiting for another databom mirror in this project: %s", who)


def _remember(root: Path, name: str, known: Mirror) -> None:
    with exclusive_project(root):
        place = Project.load(root)
        if place.lock.mirrors.get(name) != known:
            place.save_lock(place.lock.with_mirror(name, known))


@dataclass(slots=True)
class _Mirroring:
    """One release on its way into one mirror."""

    place: Project
    name: str
    location: Location
    judged: Judged
    manifest: Manifest
    writer: S3Writer
    staging: Staging
    journal: Journal
    now: datetime
    progress: Progress
    opened: list[Case]
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    large: threading.Lock = field(default_factory=threading.Lock)
    tree: LocalTree = field(init=False)
    market: mirrors.Source = field(init=False)
    cases: dict[str, Case] = field(init=False)
    objects: Objects = field(init=False)

    def __post_init__(self) -> None:
        pin = self.place.pin(self.name)
        root = self.place.root
        self.tree = LocalTree(self.place.data_path(pin), cache_root=dvc_state.cache_root(root))
        source = self.place.source(pin.root)
        self.market = mirrors.from_root(source, self.manifest, name=self.name, marketplace=pin.marketplace)
        open_cases = quarantine.open_cases(self.place.quarantine_dir, self.name, self.manifest.digest)
        self.cases = {case.path: case for case in open_cases}
        # Where this project has mirrored before, much may be there: asking is cheaper than sending.
        known = (mirror.location for mirror in self.place.lock.mirrors.values())
        ask_first = self.journal.stale or self.location.stored in known
        self.objects = Objects(self.writer, self.location, self.staging, ask_first)

    def run(self) -> Report:
        """Steps 2-4, and the report."""
        assets = self.manifest.assets
        outcomes: dict[str, Outcome] = {}
        self.progress.start(self.name, assets=len(assets), size=self.manifest.total_bytes)
        try:
            for outcome in self._assets():
                outcomes[outcome.path] = outcome
            if all(outcome.error is None for outcome in outcomes.values()):
                self._documents()
        except StorageError as error:
            self.findings += findings_of(error)
            for asset in assets:
                outcomes.setdefault(asset.path, Outcome(asset.path, error=_not_tried(asset.path)))
        finally:
            self.progress.stop()
        result = check_outcomes(self.manifest, outcomes.values())
        report = self.judged.report(self.name, (*self.findings, *result.findings), result.summary)
        if report.verdict is not Verdict.PASS:
            return report
        return report.plus((self._stored(), lock_finding(self.writer, self.location)))

    def _stored(self) -> Finding:
        new, there, earlier = self.counts["new"], self.counts["there"], self.counts["earlier"]
        parts = [f"{new:,} object{'' if new == 1 else 's'} stored ({self.counts['bytes']:,} bytes)"]
        if there:
            parts.append(f"{there:,} there already, read back and the same")
        if earlier:
            parts.append(f"{earlier:,} stored by an earlier run that was interrupted")
        key = f"{mirrors.release_key(self.manifest.digest)}/{mirrors.MANIFEST}"
        return Finding(
            "mirror.stored", Severity.INFO, f"{self.location.shown.rstrip('/')}/{key}", "; ".join(parts)
        )

    # --- the assets ---------------------------------------------------------------------------

    def _assets(self) -> Iterator[Outcome]:
        by_digest: dict[str, list[Asset]] = {}
        for asset in self.manifest.assets:
            by_digest.setdefault(asset.sha256, []).append(asset)
        done = size = 0
        for result in self._copies(by_digest):
            twins = by_digest[result.object.sha256]
            yield from self._outcomes(result, twins)
            done += len(twins)
            size += result.size * len(twins)
            self.progress.update(done, size)

    def _copies(self, by_digest: dict[str, list[Asset]]) -> Iterator[Done]:
        """Copy one asset of each digest, a bounded number at once; stop when the store has stopped answering."""
        silent = 0
        waiting = iter(twins[0] for twins in by_digest.values())
        left = dict.fromkeys(by_digest)
        running: set[Future[Done]] = set()
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="databom-mirror")
        try:
            while True:
                while silent < GIVE_UP_AFTER and len(running) < WORKERS * 2:
                    if (asset := next(waiting, None)) is None:
                        break
                    running.add(pool.submit(self._copy, asset))
                if not running:
                    break
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    result = future.result()
                    lost = result.problem is not None and result.problem.code.startswith("storage.")
                    silent = silent + 1 if lost else 0
                    left.pop(result.object.sha256)
                    yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        for digest in left:
            asset = by_digest[digest][0]
            yield Done(wanted_of(asset), problem=_not_tried(asset.path))

    def _outcomes(self, result: Done, twins: list[Asset]) -> Iterator[Outcome]:
        problem = self._settle(result)
        if result.doubt is not None:
            self.findings.append(Finding.of(result.doubt, Severity.WARN))
        for asset in twins:
            if problem is not None:
                yield Outcome(asset.path, error=problem._replace(subject=shown_path(asset.path)))
            else:
                yield Outcome(asset.path, result.size, asset.sha256)

    def _settle(self, result: Done) -> Problem | None:
        """Count it, write it down, set its evidence aside; answers what is wrong."""
        wanted, problem = result.object, result.problem
        if problem is None:
            kind = {None: "there", Stored.NEW: "new", Stored.UNPROVEN: "new", Stored.TAKEN: "earlier"}[
                result.stored
            ]
            self.counts[kind] += 1
            self.counts["bytes"] += result.size if kind == "new" else 0
            if kind != "earlier":
                self.journal.add(wanted.key, wanted.sha256)
            return None
        if result.evidence is None or result.measured is None:
            return problem
        open_case = self.cases.get(wanted.subject)
        if open_case is not None and open_case.code == problem.code:
            result.evidence.discard()
            told = quarantine.still_open(open_case)
            return told._replace(do=problem.do) if problem.code == CONFLICT else told
        case = self._open_case(result, problem, result.measured.size)
        self.staging.set_aside(result.evidence, case.asset / wanted.subject)
        told = quarantine.set_aside(problem, case)
        return told._replace(do=problem.do) if problem.code == CONFLICT else told

    def _open_case(self, result: Done, problem: Problem, size: int) -> Case:
        case = quarantine.new_case(
            self.place,
            self.name,
            problem,
            path=result.object.subject,
            size=size,
            source=result.source,
            headers=result.headers,
            now=self.now,
        )
        self.opened.append(case)
        return case

    # --- one asset: runs in a worker ------------------------------------------------------------

    def _copy(self, asset: Asset) -> Done:
        wanted = wanted_of(asset)
        if self.journal.has(wanted.key, wanted.sha256):
            return Done(wanted, Stored.TAKEN, asset.size or 0)
        size = asset.size
        if size is None:
            with self.tree.batch() as batch:
                size = batch.size_hint(asset.path)
        with self.large if size > LARGE_BYTES else contextlib.nullcontext():
            # Parts meet the condition only at their end: hundreds of them are not sent to find that out.
            if self.objects.ask_first or self.writer.is_large(asset.size or 0):
                there = self.objects.look(wanted)
                if there is not None:
                    return there
            got = self._obtain(asset)
            if isinstance(got, Done):
                return got
            temp, doubt = got
            try:
                done = self.objects.store(wanted, Path(temp.shown), temp.size)
            finally:
                temp.discard()
            return done._replace(doubt=doubt)

    def _obtain(self, asset: Asset) -> tuple[TempFile, Problem | None] | Done:
        """A private copy of the asset's bytes that matches, and what is wrong with the pin's own file, if it is."""
        doubt = None
        try:
            temp, measured, matches, _ = self._private(self.tree, asset)
        except MissingError:
            pass  # not synced here
        except FullError:
            raise
        except UnsafeFileError as error:
            doubt = problem_of(error, asset.path)
        except StorageError:
            pass  # unreadable here, which is for `verify` to say; the marketplace's copy is as good
        else:
            if matches:
                return temp, None
            temp.discard()
            doubt = compare(asset, measured)
        if doubt is not None:
            doubt = doubt._replace(
                what=f"{doubt.what}; the marketplace's bytes were copied instead of this local file",
                do=f"find out who changed it: databom sync {self.name} sets it aside",
            )
        case = self.cases.get(asset.path)
        if case is not None and case.code != CONFLICT:
            return Done(wanted_of(asset), problem=quarantine.still_open(case))
        try:
            temp, measured, matches, headers = with_retries(lambda: self._private(self.market.reader, asset))
        except FullError:
            raise
        except StorageError as error:
            return Done(wanted_of(asset), problem=problem_of(error, asset.path))
        if matches:
            return temp, doubt
        problem = compare(asset, measured, self.market.shown)
        assert problem is not None
        told = problem._replace(what=self.market.told(problem.what, asset))
        where = self.market.place_of(asset)
        return Done(
            wanted_of(asset), problem=told, evidence=temp, measured=measured, source=where, headers=headers
        )

    def _private(self, reader: Reader, asset: Asset) -> tuple[TempFile, Measured, bool, Mapping[str, str]]:
        with reader.open(asset.path) as stream:
            temp = self.staging.create()
            measured, matches = copy_verified(stream, temp, asset.sha256, asset.size)
            return temp, measured, matches, NONE if matches else headers_of(stream)

    # --- the documents ------------------------------------------------------------------------

    def _documents(self) -> None:
        received = kept(self.place, self.name)
        if received is None or digest_of(received.manifest) != self.manifest.digest:
            raise StorageError(
                "the kept manifest was changed while its assets were copied",
                hint="run the same command again",
            )
        for key, raw in mirrors.documents(received, self.manifest):
            wanted = Wanted(key, digest_of(raw).removeprefix("sha256:"), len(raw), key)
            if self.journal.has(key, wanted.sha256):
                done = Done(wanted, Stored.TAKEN, len(raw))
            else:
                there = self.objects.look(wanted) if self.objects.ask_first else None
                done = there or self.objects.store(wanted, raw, len(raw))
            problem = self._settle(done)
            if problem is not None:
                self.findings.append(Finding.of(problem))
                return


def _not_tried(path: str) -> Problem:
    return Problem(
        "storage.unreachable", shown_path(path), "not tried: the run ended before its turn", do="run it again"
    )
