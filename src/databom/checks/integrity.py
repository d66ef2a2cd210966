"""Are the bytes those the manifest signs, and is there nothing else?

`check_integrity` measures every asset (`databom.checks.measuring`) and compares; `check_unlisted` looks for
what the manifest does not list. Outcomes are compared in path order, so neither executor nor order can show
in a report.

What a size says is said first: a file of another length cannot match, and its length is the more useful
answer. Digests are compared as text: both sides are public, there is nothing for a clock to give away.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from heapq import nsmallest
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.bounding import MOST_LISTED
from databom.checks.engine import NOT_TRIED, Progress, measure_all, survey
from databom.checks.measuring import measure, problem_of, shown_path
from databom.checks.outcome import Outcome
from databom.checks.recalling import Memory, is_worth_it
from databom.errors import MissingError, PluginError, Problem, StorageError
from databom.model.finding import Finding, Severity, Summary
from databom.model.text import printable
from databom.storage.hashing import EMPTY_SHA256, Measured
from databom.storage.staging import PARTIAL
from databom.storage.tree import Kind, LocalTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from databom.checks.engine import Begun
    from databom.model.manifest import Asset, Manifest
    from databom.storage.hashcache import HashCache
    from databom.storage.reader import Reader

__all__ = [
    "Integrity",
    "Outcome",
    "check_integrity",
    "check_outcomes",
    "check_unlisted",
    "compare",
    "measure",
    "measure_all",
    "problem_of",
    "remembering",
]

_AGAIN = (
    "fetch it again (databom sync NAME --refetch); "
    "if it still differs, ask the publisher for a new signed release"
)


class Integrity(Struct, frozen=True):
    """The answer: findings in path order and the counts for the report; outcomes in path order where asked for."""

    findings: tuple[Finding, ...]
    summary: Summary
    outcomes: tuple[Outcome, ...] = ()
    linked: tuple[Outcome, ...] = ()
    """Files that have names which DVC's cache did not give them, in path order."""
    gave_up: bool = False
    """Whether the rest was not tried because the store had stopped answering."""


def check_integrity(
    manifest: Manifest,
    reader: Reader,
    *,
    executor: Executor | None = None,
    md5: bool = False,
    leases: bool = False,
    memory: Memory | None = None,
    outcomes: bool = False,
    progress: Progress | None = None,
    begun: Begun | None = None,
    part: bool = False,
) -> Integrity:
    """Read every asset of the manifest and compare; every problem is told, not only the first.

    Arguments as `measure_all` has them. A local root that is missing or no directory is one finding, not one an asset.
    `outcomes` asks for those too, which costs half a kilobyte an asset; it needs a reading of its own, so what has
    `begun` is for when they are not asked for. `part`: this is one of several, and somebody will fold the findings.

    Raises:
        PluginError: the executor broke.
    """
    trouble = root_trouble(reader)
    if trouble is not None:
        failed = 0 if trouble.code.startswith("storage.") else len(manifest.assets)
        return Integrity((Finding.of(trouble),), Summary(assets=len(manifest.assets), failed=failed))
    if outcomes:
        every = measure_all(
            manifest.assets,
            reader,
            executor=executor,
            md5=md5,
            leases=leases,
            memory=memory,
            progress=progress,
        )
        return check_outcomes(manifest, every, reader.shown)
    tally = _Tally(len(manifest.assets), reader.shown)
    for batch, found in survey(
        manifest.assets,
        reader,
        executor=executor,
        leases=leases,
        memory=memory,
        progress=progress,
        begun=begun,
    ):
        tally.hashed += found.right
        tally.bytes += found.size
        # Of a long list a doubt decodes its own part, and no more: a table of all assets would hold all of them.
        listed = {asset.path: asset for asset in batch} if found.outcomes else {}
        for outcome in found.outcomes:
            tally.add(outcome, listed)
    if memory is not None:
        tally.unchanged, size = memory.counts(manifest.assets)
        tally.bytes += size
    return tally.answer(part=part)


@contextmanager
def remembering(
    assets: Sequence[Asset],
    reader: Reader,
    cache: HashCache | None,
    *,
    md5: bool = False,
    started_ns: int | None = None,
) -> Iterator[Memory | None]:
    """What is remembered of these assets, for one run; None where nothing can be, or where reading takes no time.

    What the run learned is recorded when it ends. `started_ns`: when reading them began, if it has.
    """
    if cache is None or not isinstance(reader, LocalTree) or not is_worth_it(assets, reader):
        yield None
        return
    memory = Memory(assets, reader, cache, md5=md5, started_ns=started_ns)
    try:
        yield memory
    finally:
        memory.close()


def check_outcomes(manifest: Manifest, outcomes: Iterable[Outcome], where: str = "") -> Integrity:
    """Compare outcomes with the manifest. An asset without an outcome is `integrity.missing`: never a pass.

    `where` is the location the outcomes come from, for the messages. The answer holds an outcome for every asset.
    """
    known = {outcome.path: outcome for outcome in outcomes}
    ordered = [
        known.get(asset.path) or Outcome(asset.path, error=_missing(asset.path))
        for asset in sorted(manifest.assets, key=attrgetter("path"))
    ]
    tally = _Tally(len(manifest.assets), where)
    listed = {asset.path: asset for asset in manifest.assets}
    for outcome in ordered:
        tally.add(outcome, listed)
    return replace(tally.answer(), outcomes=tuple(ordered))


class _Tally:
    """Counts, and the problems of what is not right, compared as they come."""

    def __init__(self, total: int, where: str) -> None:
        self._total = total
        self._where = where
        self._problems: list[tuple[str, Problem]] = []
        self._linked: list[Outcome] = []
        self._unchecked = self._failed = self._checked_unread = 0
        self._gave_up = False
        self.bytes = self.hashed = self.unchanged = 0

    def add(self, outcome: Outcome, listed: Mapping[str, Asset]) -> None:
        """One outcome of an asset; `listed` has that one, unless the outcome is an error."""
        problem = outcome.error or compare(listed[outcome.path], outcome, self._where)
        if problem is not None:
            self._problems.append((outcome.path, problem))
            self._failed += not problem.code.startswith("storage.")
        if outcome.sha256 is not None:
            self.bytes += outcome.size or 0
            self.unchanged += outcome.remembered
            self.hashed += not outcome.remembered
        elif outcome.error is None:  # its size said it all
            self._checked_unread += 1
        else:
            self._unchecked += 1
            self._gave_up = self._gave_up or outcome.error.what == NOT_TRIED
        if outcome.foreign_links and outcome.stat is not None:
            self._linked.append(outcome)

    def answer(self, *, part: bool = False) -> Integrity:
        """What it comes to; of a part of a release, every finding."""
        total, checked = self._total, self.hashed + self.unchanged + self._checked_unread
        if checked + self._unchecked != total:  # never a pass: somebody's executor lost or invented answers
            raise PluginError(
                f"there are {checked + self._unchecked:,} answers for {total:,} assets",
                hint="run without --executor, and tell the executor's developers",
            )
        self._problems.sort(key=itemgetter(0))  # the order of reading shows nowhere
        findings = [Finding.of(problem) for _, problem in self._problems]
        linked = sorted(self._linked)
        findings += foreign_links(linked)
        if not total:
            findings.append(Finding.of(Problem("integrity.missing", None, "the manifest lists no assets")))
        summary = Summary(
            assets=total,
            bytes=self.bytes,
            checked=checked,
            failed=self._failed,
            hashed=self.hashed,
            unchanged=self.unchanged,
        )
        if not part:
            findings = unanswered_together(findings, total, self._where)
        return Integrity(tuple(findings), summary, linked=tuple(linked), gave_up=self._gave_up)


def compare(asset: Asset, got: Outcome | Measured, where: str = "") -> Problem | None:
    """Whether what was read is the asset; None when it is. `where` is its root, for the message."""
    if isinstance(got, Outcome) and got.error is not None:
        return got.error
    right_size = asset.size is None or got.size == asset.size
    if (
        got.sha256 == asset.sha256 and got.complete and right_size
    ):  # said first: it is the answer for almost all
        return None
    subject = shown_path(asset.path)
    at = f" at {printable(where, 400).rstrip('/')}/{subject}" if where else ""
    size = got.size or 0
    if asset.size is not None and not (right_size and got.complete):
        longer = size > asset.size
        what = f"the file{at} is {'longer' if longer else 'shorter'} than the manifest says"
        if not size:
            what = f"the file{at} is empty where bytes are due"
        found = _bytes(size) if got.complete else f"more than {_bytes(asset.size)}"
        return Problem("integrity.size", subject, what, _bytes(asset.size), found, _AGAIN)
    if not got.complete or got.sha256 is None:
        what = f"the file{at} has no end that was found; the manifest gives no size"
        return Problem(
            "integrity.size", subject, what, f"less than {_bytes(size)}", f"at least {_bytes(size)}", _AGAIN
        )
    if not size and asset.sha256 != EMPTY_SHA256:
        what = f"the file{at} is empty where bytes are due"
        return Problem("integrity.size", subject, what, f"sha256:{asset.sha256}", _bytes(0), _AGAIN)
    declared = "as the manifest says" if asset.size is not None else "the manifest gives no size"
    what = f"the bytes{at} are not those the manifest signs ({_bytes(size)}, {declared})"
    return Problem(
        "integrity.mismatch", subject, what, f"sha256:{asset.sha256}", f"sha256:{got.sha256}", _AGAIN
    )


def _bytes(count: int) -> str:
    return f"{count:,} byte{'' if count == 1 else 's'}"


def _missing(path: str) -> Problem:
    return Problem(
        "integrity.missing", shown_path(path), "nothing was read for this asset", do="databom sync fetches it"
    )


def root_trouble(reader: Reader) -> Problem | None:
    """Why the root of a local tree cannot be looked into, if so."""
    if not isinstance(reader, LocalTree):
        return None
    try:
        reader.check_root()
    except StorageError as error:
        return problem_of(error, reader.shown)
    return None


def foreign_links(linked: Sequence[Outcome]) -> Iterator[Finding]:
    """A warning for each file that has names nobody accounts for: whoever holds one can change the file."""
    inside = Counter((outcome.stat.dev, outcome.stat.ino) for outcome in linked if outcome.stat is not None)
    for outcome in linked:
        assert outcome.stat is not None
        outside = outcome.foreign_links - inside[outcome.stat.dev, outcome.stat.ino]
        if outside > 0:
            yield Finding(
                "integrity.unsafe-file",
                Severity.WARN,
                shown_path(outcome.path),
                "the file has another hard link outside this release: whoever holds it can change this file",
                expected="1 name",
                found=f"{outcome.foreign_links} names",
                do="replace it by a copy of its own (cp, then mv), or sync into a fresh folder",
            )


def unanswered_together(findings: list[Finding], total: int, where: str) -> list[Finding]:
    """Keep what could not be answered from burying what could: one finding if nothing was, else some."""
    unanswered = [finding for finding in findings if finding.code.startswith("storage.")]
    if len(unanswered) <= MOST_LISTED:
        return findings
    codes = {finding.code for finding in unanswered}
    if len(unanswered) == total and len(codes) == 1:
        first = next(finding for finding in unanswered if finding.what != NOT_TRIED)
        what = f"none of {total:,} assets could be read; the first: {first.what}"
        return [Finding(first.code, Severity.BLOCK, printable(where, 400) or None, what, do=first.do)]
    kept = [finding for finding in findings if not finding.code.startswith("storage.")]
    for code in sorted(codes):
        these = [finding for finding in unanswered if finding.code == code]
        kept += these[:MOST_LISTED]
        if len(these) > MOST_LISTED:
            rest = len(these) - MOST_LISTED
            kept.append(Finding(code, Severity.BLOCK, None, f"{rest:,} more assets could not be read"))
    return kept


# --- what the manifest does not list -----------------------------------------------------------------


def check_unlisted(
    manifest_paths: Iterable[str], tree: LocalTree, *, allow: frozenset[str] = frozenset()
) -> list[Finding]:
    """`integrity.unlisted` (block) for every entry of the tree that is not listed, in path order.

    Dot-files, links, special files and empty directories count: whatever reads "all files below" would meet
    them. (A directory that is empty because its assets are missing does not: `integrity.missing` says that.)
    Nothing is ignored but the exact paths in `allow`, which only a user may choose. Above `MOST_LISTED` the
    first are written out and one finding counts the rest. A directory that cannot be listed is
    `storage.denied`. A root that is not there holds nothing.

    Raises:
        StorageError: the root is a link, or the tree cannot be read to its end.
    """
    listed = {*manifest_paths, *allow}
    parents: set[str] = set()
    total = 0

    def extra() -> Iterator[tuple[str, Kind]]:
        nonlocal total
        for path, kind in tree.walk():
            if path in listed:
                continue
            if kind is Kind.EMPTY:
                if not parents:
                    parents.update(implied(listed))
                if path in parents:
                    continue
            total += 1
            yield path, kind

    try:
        first = nsmallest(MOST_LISTED, extra())
    except MissingError:
        return []
    return unlisted_findings(first, total)


def unlisted_findings(first: Sequence[tuple[str, Kind]], total: int) -> list[Finding]:
    """The findings for `total` entries that are not listed, of which `first` are written out."""
    findings = [_unlisted(path, kind) for path, kind in first]
    if total > len(first):
        what = f"{total - len(first):,} more entries are not in the manifest"
        findings.append(
            Finding("integrity.unlisted", Severity.BLOCK, None, what, do="list the folder to see them all")
        )
    return findings


def check_objects(
    manifest_paths: Iterable[str], objects: Iterable[str], allow: frozenset[str]
) -> list[Finding]:
    """`integrity.unlisted` (warn) for what a bucket holds beside the release.

    Nothing reads "all files below" a bucket by accident, and others may keep things there.

    Raises:
        StorageError: the bucket cannot be listed.
    """
    listed = {*manifest_paths, *allow}
    extra = sorted(path for path in objects if path not in listed)
    findings = [
        Finding(
            "integrity.unlisted",
            Severity.WARN,
            shown_path(path),
            "the bucket holds an object beside the release that the manifest does not list",
            found="an object",
            do="nothing, if it is meant to be there",
        )
        for path in extra[:MOST_LISTED]
    ]
    if len(extra) > MOST_LISTED:
        what = f"{len(extra) - MOST_LISTED:,} more objects are not in the manifest"
        findings.append(
            Finding("integrity.unlisted", Severity.WARN, None, what, do="list the bucket to see them all")
        )
    return findings


def implied(paths: Iterable[str]) -> set[str]:
    """Every directory the paths imply."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def _unlisted(path: str, kind: Kind) -> Finding:
    subject = shown_path(path)
    if kind is Kind.UNREADABLE:
        return Finding(
            "storage.denied",
            Severity.BLOCK,
            subject,
            "the directory cannot be listed",
            do="check its permissions",
        )
    leftover = path == PARTIAL or path.startswith(PARTIAL + "/")
    return Finding(
        "integrity.unlisted",
        Severity.BLOCK,
        subject,
        f"the manifest does not list this {kind.value}",
        expected="nothing",
        found=kind.value,
        do="databom sync removes what an interrupted run left"
        if leftover
        else "move it out of the release's folder",
    )
