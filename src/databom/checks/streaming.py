"""The questions of `integrity`, asked of more assets than a machine should hold at once.

Assets are checked in rounds of `ROUND`, each as `check_integrity` checks a whole release; counts are added up, and of
each kind of finding the first `MOST_LISTED` are kept and the rest counted. What is not listed is found by walking
the tree in the order of the listed paths: in memory are the names of the directories the walk is in.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from msgspec.structs import fields, replace

from databom.checks.bounding import MOST_LISTED, shown_bounded
from databom.checks.integrity import (
    check_integrity,
    check_unlisted,
    foreign_links,
    implied,
    remembering,
    root_trouble,
    unanswered_together,
    unlisted_findings,
)
from databom.errors import MissingError
from databom.model.assets import MAX_ASSETS
from databom.model.finding import Finding, Severity, Summary
from databom.model.listings import Listing, parts_of, paths_in_order
from databom.storage.tree import Kind
from databom.storage.walking import DIRECTORIES, walk_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor

    from databom.checks.engine import Begun, Progress
    from databom.checks.integrity import Integrity
    from databom.checks.outcome import Outcome
    from databom.checks.recalling import Memory
    from databom.model.manifest import Asset, Manifest
    from databom.storage.hashcache import HashCache
    from databom.storage.reader import Reader
    from databom.storage.tree import LocalTree

AT_ONCE = MAX_ASSETS
"""Of the findings of larger releases only the first of each kind are told, and nothing is remembered of them."""
MANY = 262_144
"""Larger releases are checked in rounds, so that what a check holds stays small."""
ROUND = 65_536
"""Assets that are checked together; what a check holds in memory follows from it."""


def check_all(
    manifest: Manifest,
    reader: Reader,
    *,
    executor: Executor | None = None,
    leases: bool = False,
    cache: HashCache | None = None,
    progress: Progress | None = None,
    begun: Begun | None = None,
) -> tuple[tuple[Finding, ...], Summary]:
    """As `check_integrity`, of any number of assets: from `MANY` on in rounds, unless reading them has begun.

    Files that `cache` remembers are not read (`databom.checks.recalling`), where that pays and nothing else was asked
    for. From `AT_ONCE` on nothing is remembered: that would be held of the whole tree. What has `begun` is a reading of
    all assets.

    Raises:
        PluginError: the executor broke.
        InputError, StorageError: a shard that lists assets is not what it was, or cannot be had any more.
    """
    count = len(manifest.assets)
    if count > AT_ONCE or executor is not None or leases or root_trouble(reader) is not None:
        cache = None
    started = None if begun is None else begun.started_ns
    with remembering(manifest.assets, reader, cache, started_ns=started) as memory:
        check = partial(check_integrity, reader=reader, executor=executor, leases=leases, memory=memory)
        if begun is not None or count <= min(MANY, AT_ONCE):
            answer = check(manifest, progress=progress, begun=begun)
            return answer.findings, answer.summary
        total = Total(shown_bounded if count > AT_ONCE else None, reader.shown)
        for assets in _sampled_first(manifest.assets, memory):
            so_far = total.summary
            told = None if progress is None else _Shifted(progress, so_far.assets, so_far.bytes)
            total.add(check(replace(manifest, assets=assets), progress=told, part=True))
            if total.is_stopped:
                break
        return total.findings(count), total.summary_of(count)


def _sampled_first(assets: Sequence[Asset], memory: Memory | None) -> Iterator[Sequence[Asset]]:
    """All assets in rounds. What the sample says of the memory must be known before any of it is believed."""
    sampled = () if memory is None else tuple(memory.sampled(assets))
    if sampled:
        yield sampled
    names = {asset.path for asset in sampled}
    for part in rounds(assets):
        if others := tuple(asset for asset in part if asset.path not in names):
            yield others


def rounds(assets: Sequence[Asset]) -> Iterator[tuple[Asset, ...]]:
    """The assets in the order they are listed, about `ROUND` at a time."""
    waiting: list[Asset] = []
    for part in parts_of(assets):
        waiting += part
        while len(waiting) >= ROUND:
            yield tuple(waiting[:ROUND])
            del waiting[:ROUND]
    if waiting:
        yield tuple(waiting)


class Total:
    """What the rounds gave together.

    `told` keeps the findings that are told, and they are few; without it all are. `where` is the root of the assets.
    """

    def __init__(
        self, told: Callable[[Iterable[Finding]], list[Finding]] | None = shown_bounded, where: str = ""
    ) -> None:
        self.summary = Summary()
        self.is_stopped = False
        """Whether the store stopped answering, so that asking for more would only cost time."""
        self._told = told
        self._where = where
        self._kept: list[Finding] = []
        self._linked: list[Outcome] = []

    def add(self, answer: Integrity) -> None:
        """Take the answer of one round."""
        self.summary = Summary(
            **{
                one.name: getattr(self.summary, one.name) + getattr(answer.summary, one.name)
                for one in fields(Summary)
            }
        )
        # Whether a hard link leads out of the release can be said only once all of it was seen.
        self._linked += answer.linked
        fresh = [one for one in answer.findings if not _is_of_a_link(one)]
        if len(fresh) == 1 and fresh[0] in self._kept:  # trouble with the folder as a whole is told once
            fresh = []
        self._kept += fresh
        if self._told is not None:
            self._kept = self._told(self._kept)
        self.is_stopped = answer.gave_up

    def findings(self, count: int) -> tuple[Finding, ...]:
        """The findings about all rounds, of a release of `count` assets."""
        linked = foreign_links(self._linked)
        if self._told is not None:
            found = [*self._kept, *self._told(linked)]
        else:
            found = unanswered_together([*self._kept, *linked], count, self._where)
        if (rest := count - self.summary.assets) > 0:
            what = f"{rest:,} more assets were not tried: the pass ended before their turn"
            found.append(Finding("storage.unreachable", Severity.BLOCK, None, what, do="run it again"))
        return tuple(found)

    def summary_of(self, count: int) -> Summary:
        """The counts, of a release of `count` assets."""
        return replace(self.summary, assets=count)


def _is_of_a_link(finding: Finding) -> bool:
    return finding.code == "integrity.unsafe-file" and finding.severity is Severity.WARN


class _Shifted:
    """Progress of one round as progress of the whole."""

    def __init__(self, tell: Progress, assets: int, size: int) -> None:
        self._tell, self._assets, self._size = tell, assets, size

    def __call__(self, assets: int, size: int) -> None:
        self._tell(self._assets + assets, self._size + size)


def check_all_listed(
    manifest: Manifest, tree: LocalTree, *, allow: frozenset[str] = frozenset()
) -> list[Finding]:
    """As `check_unlisted`, of any number of assets.

    Raises:
        StorageError, InputError: as `check_unlisted_in_order`.
    """
    if isinstance(manifest.assets, Listing):
        return check_unlisted_in_order(manifest, tree, allow=allow)
    return check_unlisted((asset.path for asset in manifest.assets), tree, allow=allow)


def check_unlisted_in_order(
    manifest: Manifest, tree: LocalTree, *, allow: frozenset[str] = frozenset()
) -> list[Finding]:
    """As `check_unlisted`, in memory that does not grow with the release.

    Raises:
        StorageError: the root is a link, or the tree cannot be read to its end; or a shard cannot be had any more.
        InputError: a shard that lists assets is not what it was.
    """
    extra = _extra(paths_in_order(manifest.assets), tree, allow)
    try:
        first = list(islice(extra, MOST_LISTED))
        total = len(first) + sum(1 for _ in extra)
    except MissingError:
        return []
    return unlisted_findings(first, total)


def _extra(paths: Iterator[str], tree: LocalTree, allow: Iterable[str]) -> Iterator[tuple[str, Kind]]:
    """Two lists in one order, side by side: what only the second has."""
    allowed = frozenset(allow)
    parents = implied(allowed)
    listed: deque[str] = deque()
    absent: list[str] = []
    # Listed names that were not met and that what is met next begins with: one may be a directory's, which comes later.
    for run, kind in walk_in_order(tree):
        listed.extend(islice(paths, max(0, len(run) - len(listed))))
        if kind is Kind.FILE and list(islice(listed, len(run))) == run:  # as it is wherever nothing is wrong
            for _ in run:
                listed.popleft()
            continue
        for path in run:
            # What stands for a directory comes where its contents would.
            place = f"{path}/" if kind in DIRECTORIES else path
            absent = [name for name in absent if place.startswith(name)]
            listed.extend(islice(paths, not listed))
            while listed and listed[0] < place:
                name = listed.popleft()
                absent += [name] if place.startswith(name) else ()
                listed.extend(islice(paths, not listed))
            if listed and listed[0] == place:
                listed.popleft()
                continue
            if path in allowed or path in absent:
                continue
            if kind is Kind.EMPTY and (path in parents or (listed and listed[0].startswith(place))):
                continue
            yield path, kind
