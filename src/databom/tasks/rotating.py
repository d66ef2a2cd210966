"""The next version of the trust root: draft it, sign it, see what it changes, move to it.

1. *draft*: the version in force with its number one higher, as plain JSON to edit;
2. *sign*: each owner of a root key signs the same bytes, in turn or at once;
3. *diff*: what changes, and whether it would be accepted;
4. *update*: accept it, signed by enough root keys of the version in force and of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from databom.errors import ConfigError, InputError
from databom.model import times
from databom.model.finding import Report, Subject, Verdict
from databom.model.lock import SeenRoot
from databom.storage import files
from databom.tasks.accepted import keep_accepted
from databom.tasks.believing import check_remembered, parse_file
from databom.tasks.keyring import read_private_key
from databom.tasks.project import Project, exclusive_project, find_root
from databom.tasks.rootfile import read_root
from databom.trust.agreement import signers
from databom.trust.root import TrustRoot, parse_draft
from databom.trust.root_changes import Change, differences
from databom.trust.root_editing import draft
from databom.trust.rotation import check_update, sign_root

SUBJECT = "trust root"


class RootUpdate(Struct, frozen=True):
    """A new version of the trust root held against the one in force."""

    report: Report
    """Whether it is accepted; its subject is named `trust root`, its digest is the new one's."""
    version: int | None
    """The new one's, where it can be read."""
    changes: tuple[Change, ...] = ()
    """What it changes; nothing when it is the one in force."""


class SignedRoot(Struct, frozen=True):
    """A version of the root with signatures, not yet accepted by anybody."""

    version: int
    digest: str
    """Of the whole document, signatures included: what `databom.lock` will remember."""
    signed_by: tuple[str, ...]
    """Ids of the root keys, its own and of the version in force, whose signatures hold; sorted."""


def trust_draft(
    path: Path | str, *, project: Path | str | None = None, now: datetime | None = None
) -> TrustRoot:
    """Write the next version of the project's root to `path`, unsigned, to be edited and signed. Never overwrites.

    Raises:
        ConfigError: `path` exists, or the version in force cannot be used or has no `root` role.
    """
    file = Path(path)
    current = _current(Project.load(project))
    if "root" not in current.roles:
        raise ConfigError(
            f"version {current.version} of the trust root names no root keys: nobody could sign the next one",
            hint="databom trust add KEY.pub --role root",
        )
    raw = draft(current, now=times.or_now(now))
    if files.is_taken(file):
        raise ConfigError(f"{file} exists and is not overwritten", hint="choose another name, or remove it")
    files.write_new(file, raw)
    return parse_draft(raw)


def trust_sign(
    path: Path | str, *, keys: Sequence[Path | str], project: Path | str | None = None
) -> SignedRoot:
    """Sign the draft or envelope at `path` with these private keys, in place; the signatures of others stay.

    In a project, keys of the version in force may sign too; without one, only those that the draft itself names.

    Raises:
        ConfigError: no such file, no trust root, no key, or a key that neither version names as a root key.
        StorageError: the file cannot be written.
    """
    file = Path(path)
    raw = read_root(file)
    try:
        current = _current(Project.load(project))
    except ConfigError:
        if project is not None:
            raise
        current = None
    try:
        signed = sign_root(raw, [read_private_key(key) for key in keys], current=current)
        root = parse_draft(signed)
    except InputError as error:
        raise ConfigError(f"{file} is not a trust root: {error}", hint=error.hint) from None
    files.write_atomic(file, signed)
    return SignedRoot(root.version, root.digest, signed_by(root, current))


def trust_update(
    new: Path | str, *, project: Path | str | None = None, now: datetime | None = None
) -> RootUpdate:
    """Accept the next version of the project's root: put it in force and remember it in `databom.lock`.

    Nothing is written unless the report passes. The root that is in force already passes too, and changes nothing.

    Raises:
        ConfigError: no project, no such file, or the root in force cannot be used.
        StorageError: the project cannot be written.
    """
    folder = Path(project).absolute() if project is not None else find_root()
    raw = read_root(Path(new))
    with exclusive_project(folder):
        place = Project.load(folder)
        update, root = _judge(place, raw, times.or_now(now))
        if root is not None and update.report.verdict is Verdict.PASS and update.changes:
            # The memory first: after a crash between the two, the old root is a rollback and this same update
            # repairs it. The other way round nothing could tell the new root from one that nobody accepted.
            place = place.save_lock(place.lock.with_trust(SeenRoot(version=root.version, digest=root.digest)))
            files.write_atomic(place.trust_path, raw)
            keep_accepted(place)
    return update


def trust_diff(
    new: Path | str, *, project: Path | str | None = None, now: datetime | None = None
) -> RootUpdate:
    """What `trust_update` would change and answer; a draft that nobody has signed yet can be looked at too.

    Raises:
        ConfigError: as `trust_update`.
    """
    update, _ = _judge(Project.load(project), read_root(Path(new)), times.or_now(now))
    return update


def signed_by(root: TrustRoot, current: TrustRoot | None = None) -> tuple[str, ...]:
    """The root keys, its own and of the version in force, whose signatures on it hold; sorted."""
    if root.envelope is None:
        return ()
    heard = [signers(root.envelope, by) for by in (root, current) if by is not None]
    return tuple(sorted(frozenset().union(*heard)))


def _current(place: Project) -> TrustRoot:
    try:
        return parse_file(place.trust_path, read_root(place.trust_path))
    except InputError as error:
        raise ConfigError(f"the trust root in force cannot be used: {error}", hint=error.hint) from None


def _judge(place: Project, raw: bytes, now: datetime) -> tuple[RootUpdate, TrustRoot | None]:
    current = _current(place)
    accepted, findings = check_update(current, raw, now=now)
    try:
        new = accepted or parse_draft(raw)
    except InputError:
        new = None
    known = place.lock.trust
    doubts = list(findings)
    if known is not None:
        # A root in force that is older than the accepted one may be mended, by that very one.
        if current.version >= known.version:
            doubts += check_remembered(current, known)
        if new is not None and new.version <= known.version:
            doubts += check_remembered(new, known)
    report = Report(Subject(SUBJECT), tuple(dict.fromkeys(doubts)), trust=current.digest)
    changes = differences(current, new) if new is not None and new.raw != current.raw else ()
    return RootUpdate(report, new.version if new else None, changes), accepted
