"""`databom affected`: which releases, runs and models stand on a creator, a dataset, a file or a pin.

1. What the project knows of (`databom.tasks.known_runs`): its receipts decide, tags of a tracking server only add.
2. Releases that are what was asked about, by the manifests that are kept. Bytes are known by their digest, whatever
   they are called and whoever sells them: a release that holds the same bytes, or bytes that were made from them by
   redaction, stands on them, too.
3. Runs that used one of them. What such a run made may be the data of the next: releases that hold it, and the runs of
   those, until nothing new is found.
4. The model registry, where a tracking server is configured: versions of those runs. A hint, as always.

A pin that was only present is a possible use: the run is told apart, and nothing is followed from there. What cannot be
looked at is said, and then the answer is not whole: exit 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from databom.errors import ConfigError, InputError, StorageError
from databom.model import times
from databom.model.affected import (
    MADE,
    PRESENT,
    Affected,
    AffectedRelease,
    AffectedRun,
    Target,
    Untold,
    parse_target,
)
from databom.model.digest import hex_of, is_digest
from databom.model.explanation import DECLARED, Strength
from databom.model.manifest import Manifest
from databom.model.text import printable
from databom.tasks.affected_tracked import ask_tracking, told_version
from databom.tasks.believing import Believed
from databom.tasks.explained_data import signed_strength
from databom.tasks.explaining import trusted
from databom.tasks.finding_receipts import Search, notes_of
from databom.tasks.judging import judge
from databom.tasks.kept_manifests import Kept, Manifests, read_kept
from databom.tasks.known_runs import History, Known, Release, read_history
from databom.tasks.progress import Progress, Silent
from databom.tasks.project import Project
from databom.tasks.use import KINDS

if TYPE_CHECKING:
    from databom.hosts.tracked import TrackedVersion
    from databom.model.claims import Asset
    from databom.trust.root import TrustRoot

_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The SHA-256 of nothing: files that have no bytes share none."""
_STRONGEST = (MADE, *KINDS)
MAX_HELD_BYTES = 16 * 1024 * 1024
"""Manifests up to this size are read once; longer ones each time they are looked at."""
_FIRST = 3
"""Paths that are named of the assets that a release shares."""


def affected(
    target: str,
    *,
    project: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Affected:
    """Everything that is known here to stand on a target.

    Args:
        target: `creator:ID`, `dataset:ID`, `dataset:ID@VERSION`, `sha256:HEX` (of an asset, a manifest, a tree, or
            something that a run made) or a pin's name, for every release that was ever pinned by it.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: told how far it is.

    Raises:
        ConfigError: no project, no trust root, another form of target, or no pin was ever called so.
        StorageError: the log is there, and cannot be read or believed; a kept file cannot be read.
    """
    asked = parse_target(target)
    place = Project.load(project)
    believed, root = trusted(place)
    return find(place, asked, believed, root, times.or_now(now), progress or Silent()).answer


class Found(NamedTuple):
    """The answer, and the registered versions as whoever acts on them needs them."""

    answer: Affected
    versions: tuple[TrackedVersion, ...]
    manifests: tuple[Manifest, ...]
    """Of the affected releases, where they are kept; without the assets that shards list."""


def find(
    place: Project, asked: Target, believed: Believed, root: TrustRoot, now: datetime, told: Progress
) -> Found:
    """As `affected`.

    Raises:
        ConfigError, StorageError: as `affected`.
    """
    search = Search(place, root, (), now)
    history = read_history(search, expired=root.expires <= now, progress=told)
    if asked.kind == "pin" and not any(asked.value in one.names for one in history.releases.values()):
        place.pin(asked.value)  # says which ones there are
    return follow(place, asked, history, Manifests(place, held=MAX_HELD_BYTES), believed, root, now, told)


def follow(
    place: Project,
    asked: Target,
    history: History,
    manifests: Manifests,
    believed: Believed,
    root: TrustRoot,
    now: datetime,
    told: Progress,
) -> Found:
    """As `find`, from a history that was read, and from manifests that were perhaps.

    Raises:
        StorageError: a kept file cannot be read.
    """
    following = Following(asked, history, manifests)
    following.follow(told)
    found = list(following.found())
    releases = tuple(_release(*one, believed, place, now) for one in found)
    every = tuple(one for _, _, kept, _ in found if (one := read_kept(kept)) is not None)
    tracked = ask_tracking(releases, following.runs(), {one.run for one in history.runs})
    answer = Affected(
        asked.shown,
        releases,
        tracked.runs,
        tuple(map(told_version, tracked.versions)),
        tracked.shown,
        (*history.absent, *history.untold, *following.untold, *tracked.untold),
        known=len(history.releases),
        trainings=len({one.run for one in history.runs}),
        trust=root.digest,
    )
    return Found(answer, tracked.versions, every)


class Following:
    """Goes from what was asked about to everything that stands on it."""

    def __init__(self, asked: Target, history: History, manifests: Manifests) -> None:
        self._asked, self._history, self._manifests = asked, history, manifests
        self._reached: set[bytes] = set()
        """SHA-256 of assets and outputs that stand on it."""
        self._own: set[bytes] = set()
        """Of those: of assets that were asked about, or redacted from such."""
        self._because: dict[str, tuple[str, ...]] = {}
        """By the manifest's digest."""
        self._direct: set[str] = set()
        """Of those: what was asked about, or redacted from it."""
        self._runs: dict[int, tuple[str, tuple[str, ...], bool]] = {}
        """By the place in the history: the strongest use, why, and whether that is direct."""
        self._lost: dict[str, Untold] = {}
        if asked.kind == "digest":
            self._own.add(bytes.fromhex(hex_of(asked.value)))
            self._reached |= self._own

    def follow(self, progress: Progress) -> None:
        """Look at every release and run, and again while that reaches anything new.

        Raises:
            StorageError: a kept file is there and cannot be read.
        """
        before = None
        while before != (
            now := [*map(len, (self._reached, self._own, self._because, self._direct, self._runs))]
        ):
            before = now
            progress.start("manifests", assets=len(self._history.releases), size=None)
            try:
                for done, release in enumerate(self._history.releases.values(), 1):
                    self._look_at(release)
                    progress.update(done, 0)
            finally:
                progress.stop()
            names = {self._history.releases[one].release for one in self._because}
            for number, run in enumerate(self._history.runs):
                self._look_at_run(number, run, names)

    # --- releases -----------------------------------------------------------------------------

    def _look_at(self, release: Release) -> None:
        asked = self._asked
        manifest = self._manifest(release)
        is_named = (
            asked.is_release(release.release)
            or (manifest is not None and asked.is_release(manifest.release))
            or (asked.kind == "pin" and asked.value in release.names)
            or (asked.kind == "digest" and asked.value == release.manifest)
        )
        is_tree = manifest is not None and asked.kind == "digest" and asked.value == manifest.tree
        because = ["it was asked about"] if is_named or is_tree else []
        if manifest is not None and because:
            digests = (bytes.fromhex(asset.sha256) for asset in manifest.assets)
            self._own.update(digests)
        elif manifest is not None:
            because += self._claims(manifest)
        if because:
            self._direct.add(release.manifest)
        if manifest is not None and not (is_named or is_tree):
            because += self._shares(manifest, is_own=bool(because))
        self._reached |= self._own
        if because:
            self._because[release.manifest] = tuple(because)

    def _manifest(self, release: Release) -> Manifest | None:
        digest = release.manifest
        found = self._manifests.find(digest, sorted(release.names))
        do = "fetch the commits that pinned it (git fetch --unshallow), or ask in the clone that did"
        if found is None:
            told = f"its manifest is not kept here: what it holds is not known ({digest})"
            self._lost[digest] = Untold(printable(release.release), told, do)
            return None
        try:
            manifest = found.received.complete(found.received.read())
        except (InputError, StorageError, ConfigError) as error:
            told = f"{found.where} cannot be read as a manifest: {printable(str(error), 300)}"
            self._lost[digest] = Untold(printable(release.release), told, do)
            return None
        if not manifest.is_complete:
            told = f"the list of its assets is not kept here: what it holds is not known ({digest})"
            self._lost[digest] = Untold(printable(release.release), told, do)
        return manifest

    def _claims(self, manifest: Manifest) -> Iterator[str]:
        """Why a release is of the creator that was asked about; the assets that are, are noted."""
        if self._asked.kind != "creator":
            return
        whose, payment, by = self._asked.is_creator, manifest.payment, _Paths()
        if whose(manifest.creator_id):
            yield f"creator {printable(manifest.creator_id or '')}"
        if payment is not None and any(whose(one.creator_id) for one in payment.allocation):
            yield "has a share of its payment"
        if any(whose(one.subject) for one in manifest.consents):
            yield "is the subject of a consent"
        for asset in manifest.assets:
            if whose(asset.creator_id or manifest.creator_id):
                by.add(asset.path if asset.creator_id is not None else None)
                self._own.add(bytes.fromhex(asset.sha256))
        if by.first:
            yield by.told("is the creator of", len(manifest.assets))

    def _shares(self, manifest: Manifest, *, is_own: bool) -> Iterator[str]:
        """What a release holds of what was reached; where some of it is its own claim, the same bytes are no news."""
        it, same, made = _Paths(), _Paths(), _Paths()
        wanted = hex_of(self._asked.value) if self._asked.kind == "digest" else None
        for asset in manifest.assets:
            digest, before = bytes.fromhex(asset.sha256), _before(asset)
            if before is not None and before in self._reached:
                made.add(asset.path)
                if before in self._own:
                    self._own.add(digest)
                    self._direct.add(manifest.digest)
                else:
                    self._reached.add(digest)
            elif asset.sha256 == wanted:
                it.add(asset.path)
                self._direct.add(manifest.digest)
            elif not is_own and asset.sha256 != _EMPTY and digest in self._reached:
                same.add(asset.path)
        for paths, what in (
            (it, "holds it in"),
            (same, "holds the same bytes in"),
            (made, "holds what redaction made of them in"),
        ):
            if paths.count:
                yield paths.told(what, len(manifest.assets))

    # --- runs ---------------------------------------------------------------------------------

    def _look_at_run(self, number: int, run: Known, names: set[str]) -> None:
        uses: dict[str, str] = {}
        for one in run.releases:
            is_called = one.release in names or self._asked.is_release(one.release)
            if one.manifest in self._because or (one.manifest is None and is_called):
                uses[f"{one.use} {one.release} as {one.name}"] = one.use
        made = [*self._made(run)]
        uses.update({f"made {printable(str(one['name']))}": MADE for one in made})
        if not uses:
            return
        use = min(uses.values(), key=_rank)
        direct = {one.release for one in run.releases if one.manifest in self._direct and one.use != PRESENT}
        self._runs[number] = (use, tuple(uses), bool(direct or made or self._is_asked(run)))
        is_used = any(one not in (PRESENT, MADE) for one in uses.values())
        reached = run.outputs if is_used else _inside(run.outputs, made)
        digests = (_digest(one, "sha256") for one in reached)
        self._reached.update(bytes.fromhex(one) for one in digests if one is not None and one != _EMPTY)

    def _is_asked(self, run: Known) -> bool:
        """Whether a run used a release that was asked about, and does not say which manifest that had."""
        return any(
            one.manifest is None and one.use != PRESENT and self._asked.is_release(one.release)
            for one in run.releases
        )

    def _made(self, run: Known) -> Iterator[Mapping[str, Any]]:
        """The outputs of a run that were asked about themselves."""
        if self._asked.kind == "digest":
            wanted = hex_of(self._asked.value)
            for one in run.outputs:
                weights = notes_of(one).get("weights")
                if (
                    wanted in (_digest(one, "sha256"), _digest(one, "dirHash1"))
                    or weights == self._asked.value
                ):
                    yield one

    # --- what was found -----------------------------------------------------------------------

    @property
    def untold(self) -> tuple[Untold, ...]:
        """What could not be looked at."""
        return tuple(self._lost.values())

    def found(self) -> Iterator[tuple[Release, tuple[str, ...], Kept | None, bool]]:
        """The affected releases by name: why, its manifest where that is kept, and whether it is direct."""
        every = sorted(self._because, key=lambda one: (self._history.releases[one].release, one))
        for one in every:
            release = self._history.releases[one]
            kept = self._manifests.find(one, sorted(release.names))
            yield release, self._because[one], kept, one in self._direct

    def runs(self) -> dict[str, AffectedRun]:
        """The affected runs: what their endings say together, and the last of those that say it."""
        found: dict[str, AffectedRun] = {}
        for number, (use, because, direct) in self._runs.items():
            known = self._history.runs[number]
            earlier = found.get(known.run)
            made = [*self._made(known)] if use == MADE else _tops(known.outputs)
            models = {one["name"]: one for one in (*(earlier.models if earlier else ()), *map(_model, made))}
            found[known.run] = AffectedRun(
                known.run,
                use if earlier is None else min(use, earlier.use, key=_rank),
                tuple(dict.fromkeys((*(earlier.because if earlier else ()), *because))),
                known.status,
                known.ended,
                known.receipt,
                known.index,
                known.strength,
                known.where,
                direct or (earlier is not None and earlier.direct),
                tuple(models.values()),
            )
        return found


class _Paths:
    """How many assets, and the first of their paths."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, path: str | None) -> None:
        self.count += 1
        if path is not None and len(self.first) < _FIRST:
            self.first.append(printable(path, 100))

    def told(self, what: str, total: int) -> str:
        more = ", …" if self.count > len(self.first) else ""
        return f"{what} {self.count:,} of {total:,} asset{'' if total == 1 else 's'}: {', '.join(self.first)}{more}"


def _before(asset: Asset) -> bytes | None:
    """What an asset was redacted from."""
    source = asset.redacted_from
    return None if source is None or source.sha256 == _EMPTY else bytes.fromhex(source.sha256)


def _rank(use: str) -> int:
    return _STRONGEST.index(use) if use in _STRONGEST else _STRONGEST.index(PRESENT)


def _digest(one: Mapping[str, Any], name: str) -> str | None:
    digests = one.get("digest")
    found = digests.get(name) if isinstance(digests, dict) else None
    return found if isinstance(found, str) and is_digest(f"sha256:{found}") else None


def _tops(outputs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What a run made, without the files of the models that are named as a whole."""
    every = list(outputs)
    whole = tuple(f"{one.get('name')}/" for one in every if _digest(one, "dirHash1"))
    return [one for one in every if not str(one.get("name")).startswith(whole)]


def _inside(
    outputs: Iterable[Mapping[str, Any]], made: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Some of what a run made, with the files of those that are whole folders."""
    folders = tuple(f"{one.get('name')}/" for one in made)
    return [one for one in outputs if f"{one.get('name')}/".startswith(folders)]


def _model(one: Mapping[str, Any]) -> dict[str, Any]:
    weights = notes_of(one).get("weights")
    members = {
        "name": printable(str(one.get("name"))),
        "sha256": _digest(one, "sha256"),
        "dirHash1": _digest(one, "dirHash1"),
        "weights": printable(weights, 100) if isinstance(weights, str) else None,
    }
    return {key: value for key, value in members.items() if value is not None}


def _release(
    known: Release,
    because: tuple[str, ...],
    kept: Kept | None,
    direct: bool,  # as `Following.found` gives it
    believed: Believed,
    place: Project,
    now: datetime,
) -> AffectedRelease:
    strength: Strength = DECLARED
    if kept is not None and read_kept(kept) is not None:
        strength = signed_strength(judge(kept.received, believed, config=place.config, now=now))
    where = kept.where if kept is not None else "its manifest is not kept here"
    return AffectedRelease(
        printable(known.release),
        printable(known.manifest),
        tuple(sorted(map(printable, known.names))),
        known.pinned,
        because,
        strength,
        where,
        direct,
    )
