"""Whom to believe: the trust root in force, and what there is to say about it before any manifest is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from databom.errors import ConfigError, InputError
from databom.model.finding import Finding, Severity, findings_of
from databom.model.lock import SeenRoot
from databom.model.text import printable
from databom.tasks.project import Project
from databom.tasks.rootfile import (
    RootFile,
    check_writable,
    read_root,
    require_digest,
    root_in_force,
    users_root,
)
from databom.trust.root import TrustRoot, parse_root

NOT_ACCEPTED = frozenset({"trust.rollback", "trust.changed"})
"""The root in force is not the one that `databom trust update` accepted last, or not the one that was asked for."""
_TRUST_FINDINGS = ("trust.weak-key", "trust.shared-key")


class Believed(Struct, frozen=True):
    """The trust root in force, and what there is to say about it before any manifest is read."""

    root: TrustRoot | None
    """None trusts nobody; then a finding blocks and says why."""
    findings: tuple[Finding, ...]
    also: TrustRoot | None = None
    """The user's own root. It only narrows: a manifest must be accepted by both."""

    @property
    def digest(self) -> str | None:
        """The root's digest, which every report names."""
        return self.root.digest if self.root else None


def load_trust(
    project: Project | None,
    trust: Path | None = None,
    expected_digest: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Believed:
    """Read the trust root: the one named by `trust`, else by `DATABOM_TRUST`, else the repository's.

    A root that exists and must not be believed answers with findings; a root that is absent or no trust root at
    all is a configuration error.

    Args:
        project: the project, where there is one; its lock remembers the highest version of its own root.
        trust: a root to judge by instead.
        expected_digest: `sha256:<hex>` that the root's bytes must have.
        environ: the environment.

    Returns:
        The root, the user's own one beside it, and `trust.override`, `.writable`, `.changed`, `.rollback`,
        `.weak-key` and `.shared-key`.

    Raises:
        ConfigError: no root, an unreadable root, one that is not a trust root, or an `expected_digest` that is none.
    """
    if expected_digest is not None:
        require_digest(expected_digest)
    file = root_in_force(project, trust, environ=environ)
    root, findings = _read(file.path, project)
    if file.named_by is not None:
        findings = [*_override(file, project), *findings]
    else:
        assert project is not None
        findings += check_remembered(root, project.lock.trust)
    if expected_digest is not None and root is not None and root.digest != expected_digest:
        findings.append(
            Finding(
                "trust.changed",
                Severity.BLOCK,
                printable(file.path.name),
                "the trust root is not the one that was named by --trust-digest",
                expected=expected_digest,
                found=root.digest,
                do="review the change with `git diff`, then name the new digest",
            )
        )
    also = None
    own = users_root(environ=environ)
    if own is not None:
        also, more = _read(own, project)
        findings += [*_narrowed(own, also), *more]
    writable = any(one.code == "trust.writable" and one.severity is Severity.BLOCK for one in findings)
    return Believed(None if writable else root, tuple(findings), also)


def parse_file(path: Path, raw: bytes) -> TrustRoot:
    """The trust root in a file's bytes.

    Raises:
        InputError: it holds keys that must not be believed.
        ConfigError: it is no trust root.
    """
    try:
        return parse_root(raw)
    except InputError as error:
        if all(problem.code in _TRUST_FINDINGS for problem in error.problems):
            raise
        raise ConfigError(
            f"{printable(os.fspath(path))} is not a trust root: {error}", hint=error.hint
        ) from None


def _read(path: Path, project: Project | None) -> tuple[TrustRoot | None, list[Finding]]:
    raw = read_root(path)
    findings = list(check_writable(path, project))
    try:
        return parse_file(path, raw), findings
    except InputError as error:
        return None, [*findings, *findings_of(error)]


def _override(file: RootFile, project: Project | None) -> Iterator[Finding]:
    """Say which other root judges. A `--trust` outside any project overrides nothing, and hides nowhere."""
    if project is None and file.named_by == "--trust":
        return
    own = "the project's" if project else "one that the command names"
    yield Finding(
        "trust.override",
        Severity.WARN,
        printable(os.fspath(file.path)),
        f"judged by another trust root than {own}: {file.named_by} names it",
        expected=project.config.trust_root if project else "--trust FILE",
        found=printable(os.fspath(file.path)),
        do=(
            "leave out --trust to use the project's own"
            if file.named_by == "--trust"
            else f"unset {file.named_by}, if this is not what you meant"
        ),
    )


def _narrowed(path: Path, also: TrustRoot | None) -> Iterator[Finding]:
    yield Finding(
        "trust.override",
        Severity.WARN,
        "the user's trust root",
        "also judged by the user's own trust root, which can only refuse more",
        expected="the project's root alone",
        found=also.digest if also else None,
        do=f"remove {printable(os.fspath(path))} to judge as everybody in the team does",
    )


def check_remembered(root: TrustRoot | None, known: SeenRoot | None) -> Iterator[Finding]:
    """Hold the repository's root against the version that `databom trust update` accepted last."""
    if root is None or known is None or (root.version, root.digest) == (known.version, known.digest):
        return
    expected = f"version {known.version}, {known.digest}"
    found = f"version {root.version}, {root.digest}"
    if root.version > known.version:
        yield Finding(
            "trust.changed",
            Severity.BLOCK,
            f"version {root.version}",
            "this trust root did not come by `databom trust update`: nobody has checked that the keys of "
            "the version before agree to it",
            expected=expected,
            found=found,
            do="restore the version before from git, then: databom trust update NEW.json",
        )
        return
    yield Finding(
        "trust.rollback",
        Severity.BLOCK,
        f"version {root.version}",
        "this project has accepted a newer trust root: an older one may believe keys that were withdrawn"
        if root.version < known.version
        else "this project has accepted another trust root under this version",
        expected=expected,
        found=found,
        do="restore the newer one from git (git log -- provenance/trust.json databom.lock)",
    )
