"""`databom check --base REF`: what a branch changes about whom is believed, what is demanded and what is pinned.

Compared are the work tree, which is what will be merged, and the commit at which it left `REF`. The files of the
base decide nothing here: they are only what somebody has reviewed before.
"""

from __future__ import annotations

import os
from datetime import datetime

from msgspec import Struct, field

from databom.checks.changes import RootAt, check_policy, check_root
from databom.checks.memory import check_memory, check_moved, check_removed
from databom.errors import ConfigError, InputError, StorageError
from databom.hosts import git
from databom.model import times
from databom.model.config import FILE as CONFIG_FILE
from databom.model.config import MAX_CONFIG_BYTES, Config, parse_config
from databom.model.digest import hex_of
from databom.model.finding import Finding, Severity
from databom.model.lock import MAX_LOCK_BYTES, Lock, parse_lock
from databom.model.manifest import read_manifest
from databom.model.text import printable
from databom.tasks.judging import content_digests
from databom.tasks.project import LOCK_FILE, MAX_TRUST_BYTES, Project
from databom.tasks.receiving import kept
from databom.tasks.rootfile import read_root


class Compared(Struct, frozen=True):
    """What a comparison with a base found."""

    project: tuple[Finding, ...]
    """About the trust root, the policy, pins that are gone, and the memory in `databom.lock`."""
    pins: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    """About where each pin has moved, by its name."""


def compare(
    project: Project,
    ref: str,
    *,
    trust_digest: str | None = None,
    policy_digest: str | None = None,
    now: datetime | None = None,
) -> Compared:
    """Hold the project as it is on disk against the commit at which it left `ref`.

    Args:
        project: the project; its folder may be any folder of the git work tree.
        ref: a branch, a tag or a commit id.
        trust_digest: `sha256:<hex>` of a trust root that somebody outside the branch approves.
        policy_digest: `sha256:<hex>` of a policy that somebody outside the branch approves.
        now: the time at which a rotation of the trust root is judged.

    Raises:
        ConfigError: git cannot say what was at the base, a digest is none, or the project has no pins.
    """
    for option, digest in (("--trust-digest", trust_digest), ("--policy-digest", policy_digest)):
        _require_digest(option, digest)
    base = git.merge_base(project.root, ref)
    old = _lock_at(base, project)
    if not project.lock.pins and old is not None and old.pins:
        raise ConfigError(
            f"{project.root} has no pins; where it left {printable(ref)} it had {', '.join(sorted(old.pins))}",
            hint="restore databom.lock from git, or `databom add MANIFEST`",
        )
    policy = _config_at(base, project)
    findings = [
        *check_root(
            _root_at(base, project, policy), _root_now(project), approved=trust_digest, now=times.or_now(now)
        ),
        *check_policy(policy, project.config, approved=policy_digest),
    ]
    if old is None:
        findings.append(_unreadable_memory())
        return Compared(tuple(findings))
    findings += [*check_removed(old, project.lock), *check_memory(old, project.lock)]
    return Compared(tuple(findings), {name: _moved(project, name, old) for name in sorted(project.lock.pins)})


def _require_digest(option: str, digest: str | None) -> None:
    try:
        hex_of(digest if digest is not None else "sha256:" + "0" * 64)
    except ValueError as error:
        raise ConfigError(
            f"{option} {printable(str(digest))} is no digest: {error}",
            hint="the finding that it is to approve names the whole digest",
        ) from None


def _config_at(base: git.Commit, project: Project) -> Config | None:
    """The policy of the base; None where it is absent or cannot be read."""
    raw = base.read(project.root / CONFIG_FILE, MAX_CONFIG_BYTES)
    if raw is None:
        return None
    try:
        return parse_config(raw)
    except ConfigError:
        return None


def _root_at(base: git.Commit, project: Project, policy: Config | None) -> RootAt | None:
    if policy is None:
        return None
    return RootAt(policy.trust_root, base.read(project.root / policy.trust_root, MAX_TRUST_BYTES))


def _root_now(project: Project) -> RootAt:
    name, path = project.config.trust_root, project.trust_path
    return RootAt(name, read_root(path) if os.path.lexists(path) else None)


def _lock_at(base: git.Commit, project: Project) -> Lock | None:
    """The lock of the base, empty where there is none; None where it cannot be read."""
    raw = base.read(project.root / LOCK_FILE, MAX_LOCK_BYTES)
    if raw is None:
        return Lock()
    try:
        return parse_lock(raw)
    except InputError:
        return None


def _unreadable_memory() -> Finding:
    return Finding(
        "release.rollback",
        Severity.BLOCK,
        LOCK_FILE,
        "databom.lock cannot be read at the base, so nothing says what had been seen before",
        expected="a lock",
        found="something else: an edit, a merge conflict, or a later version",
        do="repair it on the base's branch first",
    )


def _moved(project: Project, name: str, base: Lock) -> tuple[Finding, ...]:
    """A pin's manifest against the memory of the base; one that is not the pin's is refused by `judge_pin`."""
    try:
        received = kept(project, name)
        if received is None:
            return ()
        manifest = read_manifest(received.manifest)
    except (InputError, StorageError):
        return ()
    content, core = content_digests(manifest)
    return tuple(check_moved(name, manifest, content, core, base, project.lock))
