"""`databom verify`: who signed, is it current, are the bytes right. Reads only.

What is needed only to judge is imported where judging begins: copies of this process are reading by then.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from databom.errors import ConfigError, InputError, StorageError
from databom.hosts import dvc_state
from databom.model import times
from databom.model.finding import Report, Reports, Subject, findings_of
from databom.storage import files
from databom.storage.location import Location, parse_location
from databom.storage.tree import LocalTree
from databom.tasks.headstart import HeadStart
from databom.tasks.own_files import beside, own_documents, own_in_folder
from databom.tasks.progress import Progress, Silent
from databom.tasks.project import Project, typed
from databom.tasks.receiving import Received, kept, receive
from databom.tasks.rootfile import is_named, read_root, require_digest, root_in_force
from databom.tasks.verifying_assets import (
    Options,
    absent,
    head_start,
    none_checked,
    verify_assets,
    verify_own_mirror,
    verify_tree,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from databom.tasks.believing import Believed
    from databom.tasks.judging import Judged

    Belief = Callable[[], Believed]
    """Whom to believe, found out when it is first asked."""


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
    named = Path(trust) if trust else None
    # Whoever has none, or names no digest, is told so before anything is fetched.
    read_root(root_in_force(place, named).path)
    if trust_digest is not None:
        require_digest(trust_digest)
    believed = functools.cache(lambda: _believed(place, named, trust_digest))
    if executor is not None:
        from databom.tasks.executors import adapted

        executor = adapted(executor)
    options = Options(
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


def _believed(place: Project | None, trust: Path | None, digest: str | None) -> Believed:
    from databom.tasks.believing import load_trust

    return load_trust(place, trust, digest)


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


def _verify_pin(place: Project, name: str, believed: Belief, options: Options) -> Report:
    pin = place.pin(name)
    tree = LocalTree(place.data_path(pin), cache_root=dvc_state.cache_root(place.root))
    is_there = options.root is None and not options.mirror
    with head_start(tree if is_there else None, options) as start:
        return _verify_pin_in(place, name, tree, believed, options, start)


def _verify_pin_in(
    place: Project, name: str, tree: LocalTree, believed: Belief, options: Options, start: HeadStart | None
) -> Report:
    pin = place.pin(name)
    keeper = None
    try:
        received = _begun(kept(place, name), start)
        from databom.tasks.judging import judge_pin

        judged = judge_pin(place, name, believed(), now=options.now, received=received)
        if options.gated:
            from databom.tasks.gatekeeping import Gatekeeper

            keeper = Gatekeeper.of(place, name, judged, believed(), options.now)
            judged = keeper.documents(judged)
    except (InputError, StorageError) as error:
        return Report(
            Subject(name, pin.release, pin.manifest, pin.tree),
            (*believed().findings, *findings_of(error)),
            trust=believed().digest,
        )
    if not judged.is_believed or judged.manifest is None:
        return judged.report(name)
    report = _verify_bytes(place, judged, name, tree, options, start)
    if keeper is None:
        return report
    return keeper.assets(keeper.scanned(judged, report, options.progress))


def _begun(received: Received | None, start: HeadStart | None) -> Received | None:
    """Begin to read what a manifest lists. Where it is none, whoever judges it says so."""
    if received is not None and start is not None:
        with suppress(InputError):
            received.read(meanwhile=start)
    return received


def _verify_bytes(
    place: Project, judged: Judged, name: str, tree: LocalTree, options: Options, start: HeadStart | None
) -> Report:
    from databom.tasks.recognising import Recogniser

    pin = place.pin(name)
    assert judged.manifest is not None
    known = Recogniser(place, name)
    if options.mirror:
        return known.explain_report(verify_own_mirror(place, judged, name, options))
    if options.root is not None:
        location = parse_location(typed(options.root))
        try:
            own = own_documents(place.source(pin.source), location, judged.manifest)
        except InputError as error:
            return judged.report(name, findings_of(error), none_checked(judged.manifest))
        return known.explain_report(verify_assets(judged, name, location, options, allow=own))
    try:
        own = own_in_folder(place, pin, judged.manifest)
        is_there = files.has_folder(tree.root)
    except (InputError, StorageError) as error:
        return judged.report(name, findings_of(error), none_checked(judged.manifest))
    if not is_there:
        return judged.report(name, (absent(judged.manifest, name, pin.path),), none_checked(judged.manifest))
    return known.explain_report(verify_tree(judged, name, tree, options, allow=own, start=start))


def _verify_manifest(place: Project | None, target: str, believed: Belief, options: Options) -> Report:
    location = parse_location(typed(target))
    assets = parse_location(typed(options.root)) if options.root else location.parent
    tree = LocalTree(assets.local_path) if assets.is_local else None
    with head_start(tree, options) as start:
        return _verify_manifest_of(place, location, assets, believed, options, start)


def _verify_manifest_of(
    place: Project | None,
    location: Location,
    assets: Location,
    believed: Belief,
    options: Options,
    start: HeadStart | None,
) -> Report:
    config = place.config if place else None
    try:
        if options.oms:
            from databom.tasks.bundles import judge_bundle

            judged = judge_bundle(location, believed(), config=config, now=options.now)
        else:
            received = receive(location)
            _begun(received, start)
            from databom.tasks.judging import judge, remember

            judged = judge(received, believed(), config=config, now=options.now)
            judged = remember(judged, place.lock) if place else judged
    except (InputError, StorageError) as error:
        return Report(Subject(), (*believed().findings, *findings_of(error)), trust=believed().digest)
    if not judged.is_believed:
        return judged.report(None)
    own = beside(location, assets) if options.oms else own_documents(location, assets, judged.manifest)
    return verify_assets(judged, None, assets, options, allow=own, start=start)
