"""`databom verify`: who signed, is it current, are the bytes right. Reads only."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from databom.checks.forking import Aside, may_fork
from databom.checks.integrity import (
    check_objects,
    check_outcomes,
    measure_all,
)
from databom.checks.measuring import shown_path
from databom.checks.streaming import check_all, check_all_listed
from databom.errors import ConfigError, InputError, StorageError
from databom.hosts import dvc_state
from databom.model import times
from databom.model.finding import Finding, Report, Reports, Severity, Subject, Summary, findings_of
from databom.model.manifest import Manifest
from databom.storage import files
from databom.storage.hashcache import HashCache
from databom.storage.location import Location, parse_location
from databom.storage.reader import Reader, open_reader
from databom.storage.tree import LocalTree
from databom.tasks import mirrors
from databom.tasks.believing import Believed, load_trust
from databom.tasks.judging import Judged, judge, judge_pin, remember
from databom.tasks.own_files import beside, own_documents, own_in_folder, own_shards
from databom.tasks.progress import Progress, Silent
from databom.tasks.project import Project, typed
from databom.tasks.receiving import receive
from databom.tasks.recognising import Recogniser
from databom.tasks.rootfile import is_named

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

LONG_WALK = 2_000
"""Assets from which on a copy of this process looks for what is not listed, while this one reads what is."""
_READ = frozenset({"integrity.mismatch", "integrity.size"})
"""What is found by reading an asset."""


def is_manifest(target: str) -> bool:
    """Whether an argument is a MANIFEST (a URL, holds `/`, or ends in `.json`); anything else is a NAME."""
    return "/" in target or target.endswith(".json")


def verify(
    *targets: str | Path,
    root: str | None = None,
    trust: Path | str | None = None,
    trust_digest: str | None = None,
    full: bool = False,
    leases: bool = False,
    executor: Executor | None = None,
    oms: bool = False,
    mirror: bool = False,
    fast: bool = False,
    project: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
    gated: bool = False,
) -> Report | Reports:
    """Ask of each target: who signed it, is it current, does every asset match. Writes nothing.

    Inside a project a manifest is also held against what the project has seen of its dataset, as `add` would: an
    older release, or another content under a name that was seen, is not current. One that a pin fixes is.

    Args:
        targets: names of pins, or manifests (paths or URLs); none means every pin.
        root: where the assets are read from, instead of the pin's local folder or the manifest's own directory.
        trust: a trust root to judge by, instead of the one `DATABOM_TRUST` names or the project's. With either
            of the two a manifest needs no project.
        trust_digest: `sha256:<hex>` that the trust root must have.
        full: hash every local file, also those that have been unchanged since this machine hashed them; and list a
            bucket for objects that the manifest does not name (a warning).
        leases: keep writers away from each local file while it is hashed, and refuse one that somebody has open for
            writing; implies that every file is hashed.
        executor: where the hashing runs: any `concurrent.futures.Executor`, also `client.get_executor()` of Dask;
            by default this machine's cores. Implies that every file is hashed.
        oms: the targets are OpenSSF Model Signing bundles (paths or URLs), not manifests.
        mirror: read the assets, and the documents, from the mirror that the lock knows for each pin. A manifest in a
            mirror needs no word: its assets are found by their digests.
        fast: read no byte: compare what the bucket itself recorded (size, SHA-256) with the manifest. That is the
            store's statement and never a pass: the verdict is `unanswered`, or `fail` where it differs.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: told how far it is.
        gated: also judge each pin by the project's policy, as `check` does; a manifest has no policy to be judged by.

    Returns:
        One target gives a `Report`, otherwise `Reports`. A "no" is a verdict, never an exception.

    Raises:
        ConfigError: no project where one is needed, an unknown name, no trust root; `fast` where no bucket is asked.
    """
    names = tuple(dict.fromkeys(map(str, targets)))
    if oms and not names:
        raise ConfigError("--oms needs the bundle to verify", hint="databom verify BUNDLE --oms --trust FILE")
    if mirror and (root is not None or oms or any(map(is_manifest, names))):
        raise ConfigError(
            "--mirror is for pins, and says by itself where the assets are read",
            hint="leave out --root; verify a manifest in a mirror by its own address",
        )
    if fast and mirror:
        raise ConfigError("--mirror reads every byte and --fast none: choose one")
    if fast:
        _require_buckets(names, root, full or leases)
    place = _place(names, project, trust, oms)
    believed = load_trust(place, Path(trust) if trust else None, trust_digest)
    if executor is not None:
        from databom.tasks.executors import adapted

        executor = adapted(executor)
    options = _Options(
        root, full, leases, executor, times.or_now(now), progress or Silent(), oms, mirror, fast, gated
    )
    if place is not None and not names:
        return Reports(tuple(_verify_pin(place, name, believed, options) for name in place.names(())))
    reports = tuple(
        _verify_manifest(place, target, believed, options)
        if oms or is_manifest(target)
        else _verify_pin(_needed(place), target, believed, options)
        for target in names
    )
    return reports[0] if len(reports) == 1 else Reports(reports)


class _Options:
    """What holds for every target of one call."""

    def __init__(
        self,
        root: str | None,
        full: bool,
        leases: bool,
        executor: Executor | None,
        now: datetime,
        progress: Progress,
        oms: bool = False,
        mirror: bool = False,
        fast: bool = False,
        gated: bool = False,
    ) -> None:
        self.root = root
        self.full = full
        self.leases = leases
        self.executor = executor
        self.now = now
        self.progress = progress
        self.oms = oms
        self.mirror = mirror
        self.fast = fast
        self.gated = gated


def _require_buckets(targets: tuple[str, ...], root: str | None, reads: bool) -> None:
    """Refuse `fast` where nobody recorded anything that could be compared."""
    if reads:
        raise ConfigError("--full and --leases read every byte and --fast none: choose one")
    # A pin's name alone means its local folder.
    places = [root] if root is not None else [target if is_manifest(target) else None for target in targets]
    if not places or any(place is None or not parse_location(typed(place)).is_bucket for place in places):
        raise ConfigError(
            "--fast compares what a bucket recorded, and the assets are not read from one here",
            hint="name it: databom verify NAME --root s3://bucket/prefix --fast; or leave out --fast",
        )


def _place(
    targets: tuple[str, ...], project: Path | str | None, trust: Path | str | None, oms: bool
) -> Project | None:
    """The project, which only a manifest with its own trust root can do without."""
    if project is None and is_named(trust) and targets and (oms or all(map(is_manifest, targets))):
        try:
            return Project.load()
        except ConfigError:
            return None
    return Project.load(project)


def _needed(place: Project | None) -> Project:
    if place is None:
        raise ConfigError("a pin's name needs a project", hint="pass --project DIR")
    return place


def _verify_pin(place: Project, name: str, believed: Believed, options: _Options) -> Report:
    pin = place.pin(name)
    keeper = None
    try:
        judged = judge_pin(place, name, believed, now=options.now)
        if options.gated:
            from databom.tasks.gatekeeping import Gatekeeper

            keeper = Gatekeeper.of(place, name, judged, believed, options.now)
            judged = keeper.documents(judged)
    except (InputError, StorageError) as error:
        return Report(
            Subject(name, pin.release, pin.manifest, pin.tree),
            (*believed.findings, *findings_of(error)),
            trust=believed.digest,
        )
    if not judged.is_believed or judged.manifest is None:
        return judged.report(name)
    report = _verify_bytes(place, judged, name, options)
    if keeper is None:
        return report
    return keeper.assets(keeper.scanned(judged, report, options.progress))


def _verify_bytes(place: Project, judged: Judged, name: str, options: _Options) -> Report:
    pin = place.pin(name)
    assert judged.manifest is not None
    known = Recogniser(place, name)
    if options.mirror:
        return known.explain_report(_verify_own_mirror(place, judged, name, options))
    if options.root is not None:
        location = parse_location(typed(options.root))
        try:
            own = own_documents(place.source(pin.source), location, judged.manifest)
        except InputError as error:
            return judged.report(name, findings_of(error), _none_checked(judged.manifest))
        return known.explain_report(_verify_assets(judged, name, location, options, allow=own))
    folder = place.data_path(pin)
    try:
        own = own_in_folder(place, pin, judged.manifest)
        is_there = files.has_folder(folder)
    except (InputError, StorageError) as error:
        return judged.report(name, findings_of(error), _none_checked(judged.manifest))
    if not is_there:
        return judged.report(name, (absent(judged.manifest, name, pin.path),), _none_checked(judged.manifest))
    tree = LocalTree(folder, cache_root=dvc_state.cache_root(place.root))
    return known.explain_report(_verify_tree(judged, name, tree, options, allow=own))


def _verify_manifest(place: Project | None, target: str, believed: Believed, options: _Options) -> Report:
    location = parse_location(typed(target))
    config = place.config if place else None
    try:
        if options.oms:
            from databom.tasks.bundles import judge_bundle

            judged = judge_bundle(location, believed, config=config, now=options.now)
        else:
            judged = judge(receive(location), believed, config=config, now=options.now)
            judged = remember(judged, place.lock) if place else judged
    except (InputError, StorageError) as error:
        return Report(Subject(), (*believed.findings, *findings_of(error)), trust=believed.digest)
    if not judged.is_believed:
        return judged.report(None)
    assets = parse_location(typed(options.root)) if options.root else location.parent
    own = beside(location, assets) if options.oms else own_documents(location, assets, judged.manifest)
    return _verify_assets(judged, None, assets, options, allow=own)


def _verify_assets(
    judged: Judged,
    name: str | None,
    location: Location,
    options: _Options,
    *,
    allow: frozenset[str] = frozenset(),
) -> Report:
    assert judged.manifest is not None
    mirror = mirrors.mirror_of(location, judged.manifest.digest)
    if mirror is not None:
        if options.fast:
            raise ConfigError("--fast cannot ask a mirror, which names its objects by their digests")
        return _verify_mirror(judged, name, mirror, options)
    if location.is_local:
        try:
            is_there = files.has_folder(location.local_path)
        except StorageError as error:
            return judged.report(name, findings_of(error), _none_checked(judged.manifest))
        if not is_there:
            missing = absent(judged.manifest, None, location.shown)
            return judged.report(name, (missing,), _none_checked(judged.manifest))
        return _verify_tree(judged, name, LocalTree(location.local_path), options, allow=allow)
    try:
        reader = open_reader(location, name=name, marketplace=judged.marketplace)
    except StorageError as error:
        return judged.report(name, findings_of(error), _none_checked(judged.manifest))
    if options.fast:
        return _ask(judged, name, reader, options)
    extra: tuple[Finding, ...] = ()
    if options.full and location.is_bucket:
        extra = _beside(judged.manifest, reader, allow)
    return _hash(judged, name, reader, options, lambda: extra)


def _verify_own_mirror(place: Project, judged: Judged, name: str, options: _Options) -> Report:
    """The assets and the documents, in the mirror that the lock knows."""
    assert judged.manifest is not None
    try:
        report = _verify_mirror(judged, name, mirrors.required(place, name), options)
        return report.plus(mirrors.check_documents(place, name, judged.manifest))
    except (InputError, StorageError) as error:
        return judged.report(name, findings_of(error), _none_checked(judged.manifest))


def _verify_mirror(judged: Judged, name: str | None, mirror: Location, options: _Options) -> Report:
    """A mirror holds many releases: `--full` has nothing to list in it."""
    assert judged.manifest is not None
    try:
        source = mirrors.from_mirror(mirror, judged.manifest)
    except StorageError as error:
        return judged.report(name, findings_of(error), _none_checked(judged.manifest))
    manifest = judged.manifest
    options.progress.start(name or manifest.release, assets=len(manifest.assets), size=manifest.total_bytes)
    try:
        outcomes = measure_all(
            manifest.assets, source.reader, executor=options.executor, progress=options.progress.update
        )
        result = check_outcomes(manifest, outcomes, source.shown)
    finally:
        options.progress.stop()
    assets = {shown_path(asset.path): asset for asset in manifest.assets}
    findings = (
        replace(one, what=source.told(one.what, assets[one.subject]))
        if one.code in _READ and one.subject
        else one
        for one in result.findings
    )
    return judged.report(name, tuple(findings), result.summary)


def _ask(judged: Judged, name: str | None, reader: Reader, options: _Options) -> Report:
    """What the bucket says it holds, without reading it."""
    from databom.checks.statement import check_statement
    from databom.storage.s3 import S3Reader

    manifest = judged.manifest
    assert manifest is not None
    assert isinstance(reader, S3Reader)
    options.progress.start(name or manifest.release, assets=len(manifest.assets), size=None)
    try:
        result = check_statement(manifest, reader, progress=options.progress.update)
    finally:
        options.progress.stop()
    return judged.report(name, result.findings, result.summary)


def _beside(manifest: Manifest, reader: Reader, allow: frozenset[str]) -> tuple[Finding, ...]:
    """What a bucket holds below the release's root that the manifest does not list."""
    from databom.storage.s3 import S3Reader

    assert isinstance(reader, S3Reader)
    own = allow or frozenset({"manifest.json", "manifest.json.dsse", "manifest.json.dsse.tsr"})
    own |= own_shards(manifest)
    try:
        objects = (path for path, _ in reader.walk())
        return tuple(check_objects((asset.path for asset in manifest.assets), objects, own))
    except StorageError as error:
        return findings_of(error)


def _verify_tree(
    judged: Judged, name: str | None, tree: LocalTree, options: _Options, allow: frozenset[str] = frozenset()
) -> Report:
    manifest = judged.manifest
    assert manifest is not None

    def unlisted() -> tuple[Finding, ...]:
        try:
            return tuple(check_all_listed(manifest, tree, allow=allow))
        except (InputError, StorageError) as error:
            return findings_of(error)

    copied = len(manifest.assets) >= LONG_WALK and may_fork() and _is_open(tree)
    with Aside(unlisted, tuple[Finding, ...], copied=copied) as extra:
        return _hash(judged, name, tree, options, extra.answer)


def _is_open(tree: LocalTree) -> bool:
    """Whether the root is open now: a copy of this process then walks the very tree that is read."""
    try:
        tree.check_root()
    except StorageError:
        return False
    return True


def _hash(
    judged: Judged,
    name: str | None,
    reader: Reader,
    options: _Options,
    extra: Callable[[], tuple[Finding, ...]] = tuple,
) -> Report:
    manifest = judged.manifest
    assert manifest is not None
    options.progress.start(name or manifest.release, assets=len(manifest.assets), size=manifest.total_bytes)
    try:
        findings, summary = check_all(
            manifest,
            reader,
            executor=options.executor,
            leases=options.leases,
            cache=_cache(reader, options),
            progress=options.progress.update,
        )
    except (InputError, StorageError) as error:  # of a shard: an asset's own is a finding already
        findings, summary = findings_of(error), _none_checked(manifest)
    finally:
        options.progress.stop()
    return judged.report(name, (*extra(), *findings), summary)


def _cache(reader: Reader, options: _Options) -> HashCache | None:
    # Another machine's device and inode numbers mean nothing here.
    if options.full or options.executor is not None or not isinstance(reader, LocalTree):
        return None
    return HashCache(reader.root)


def absent(manifest: Manifest, name: str | None, where: str) -> Finding:
    """One finding for a whole tree that is not there, instead of one for each asset; `name` is the pin's to sync."""
    count = len(manifest.assets)
    return Finding(
        "integrity.missing",
        Severity.BLOCK,
        where,
        "the folder with the assets is not there",
        expected=f"{count} asset{'' if count == 1 else 's'}",
        found="no folder",
        do="name the folder with --root" if name is None else f"databom sync {name}",
    )


def _none_checked(manifest: Manifest) -> Summary:
    return Summary(assets=len(manifest.assets), failed=len(manifest.assets))
