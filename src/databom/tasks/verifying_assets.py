"""The assets of a release that is believed, against its manifest, wherever they are: a folder, a bucket, a mirror."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

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
from databom.model.finding import Finding, Report, Severity, Summary, findings_of
from databom.model.manifest import Manifest
from databom.storage import files
from databom.storage.hashcache import HashCache
from databom.storage.location import Location
from databom.storage.reader import Reader, open_reader
from databom.storage.tree import LocalTree
from databom.tasks import mirrors
from databom.tasks.headstart import HeadStart
from databom.tasks.own_files import own_shards
from databom.tasks.progress import Progress
from databom.tasks.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from databom.checks.engine import Begun
    from databom.tasks.judging import Judged


LONG_WALK = 2_000
"""Assets from which on a copy of this process looks for what is not listed, while this one reads what is."""
_READ = frozenset({"integrity.mismatch", "integrity.size"})
"""What is found by reading an asset."""


class Options(NamedTuple):
    """What holds for every target of one call of `databom.tasks.verifying.verify`, whose arguments these are."""

    root: str | None
    full: bool
    leases: bool
    executor: Executor | None
    now: datetime
    progress: Progress
    oms: bool = False
    mirror: bool = False
    fast: bool = False
    gated: bool = False


def verify_assets(
    judged: Judged,
    name: str | None,
    location: Location,
    options: Options,
    *,
    allow: frozenset[str] = frozenset(),
    start: HeadStart | None = None,
) -> Report:
    """Hold the assets at a location against the manifest; unlisted ones in `allow` are no doubt.

    Raises:
        ConfigError: `fast` was asked for, and the location is a mirror.
    """
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
            return judged.report(name, findings_of(error), none_checked(judged.manifest))
        if not is_there:
            missing = absent(judged.manifest, None, location.shown)
            return judged.report(name, (missing,), none_checked(judged.manifest))
        tree = start.tree if start else LocalTree(location.local_path)
        return verify_tree(judged, name, tree, options, allow=allow, start=start)
    try:
        reader = open_reader(location, name=name, marketplace=judged.marketplace)
    except StorageError as error:
        return judged.report(name, findings_of(error), none_checked(judged.manifest))
    if options.fast:
        return _ask(judged, name, reader, options)
    extra: tuple[Finding, ...] = ()
    if options.full and location.is_bucket:
        extra = _beside(judged.manifest, reader, allow)
    return _hash(judged, name, reader, options, lambda: extra)


def verify_own_mirror(place: Project, judged: Judged, name: str, options: Options) -> Report:
    """The assets and the documents, in the mirror that the lock knows."""
    assert judged.manifest is not None
    try:
        report = _verify_mirror(judged, name, mirrors.required(place, name), options)
        return report.plus(mirrors.check_documents(place, name, judged.manifest))
    except (InputError, StorageError) as error:
        return judged.report(name, findings_of(error), none_checked(judged.manifest))


def _verify_mirror(judged: Judged, name: str | None, mirror: Location, options: Options) -> Report:
    """A mirror holds many releases: `--full` has nothing to list in it."""
    assert judged.manifest is not None
    try:
        source = mirrors.from_mirror(mirror, judged.manifest)
    except StorageError as error:
        return judged.report(name, findings_of(error), none_checked(judged.manifest))
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


def _ask(judged: Judged, name: str | None, reader: Reader, options: Options) -> Report:
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


def head_start(tree: LocalTree | None, options: Options) -> AbstractContextManager[HeadStart | None]:
    """Reads this folder while its manifest is judged, where these options would read it so, and nobody is kept out."""
    if tree is None or options.executor is not None or options.oms or options.leases:
        return nullcontext()
    return HeadStart(tree, _cache(tree, options))


def verify_tree(
    judged: Judged,
    name: str | None,
    tree: LocalTree,
    options: Options,
    *,
    allow: frozenset[str] = frozenset(),
    start: HeadStart | None = None,
) -> Report:
    """Hold a folder against the manifest: every asset, and nothing else but what is in `allow`."""
    manifest = judged.manifest
    assert manifest is not None

    def unlisted() -> tuple[Finding, ...]:
        try:
            return tuple(check_all_listed(manifest, tree, allow=allow))
        except (InputError, StorageError) as error:
            return findings_of(error)

    copied = len(manifest.assets) >= LONG_WALK and may_fork() and _is_open(tree)
    with Aside(unlisted, tuple[Finding, ...], copied=copied) as extra:
        return _hash(judged, name, tree, options, extra.answer, begun=start.of(manifest) if start else None)


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
    options: Options,
    extra: Callable[[], tuple[Finding, ...]] = tuple,
    *,
    begun: Begun | None = None,
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
            begun=begun,
        )
    except (InputError, StorageError) as error:  # of a shard: an asset's own is a finding already
        findings, summary = findings_of(error), none_checked(manifest)
    finally:
        options.progress.stop()
    return judged.report(name, (*extra(), *findings), summary)


def _cache(reader: Reader, options: Options) -> HashCache | None:
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


def none_checked(manifest: Manifest) -> Summary:
    """The counts where nothing could be looked at."""
    return Summary(assets=len(manifest.assets), failed=len(manifest.assets))
