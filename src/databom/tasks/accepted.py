"""The trust root that this project accepted last, as this clone keeps it: `.databom/trust.json`.

It speaks for one thing only: who may write into the log while another root has been put into its place
(`trust.rollback`, `trust.changed`). What an old root believes may have been withdrawn since, and a log that a withdrawn
key went on with is believed by nobody afterwards; but that somebody put it there should be in the log.

`databom.lock` names the accepted root by its digest, so what is kept here needs no trust of its own.
"""

from __future__ import annotations

from pathlib import Path

from databom.errors import InputError
from databom.model.digest import sha256
from databom.storage import files
from databom.tasks.project import MAX_TRUST_BYTES, Project, read_optional
from databom.tasks.rootfile import read_root
from databom.trust.root import TrustRoot, parse_root


def accepted_root(place: Project) -> TrustRoot | None:
    """The root that `databom.lock` names; None where it names none, or this clone never had it.

    Raises:
        StorageError: it is here and cannot be read.
    """
    raw = _kept(place)
    try:
        return parse_root(raw) if raw is not None else None
    except InputError:  # accepted by another release of databom
        return None


def keep_accepted(place: Project) -> None:
    """Keep the repository's root, where it is the one that `databom.lock` names and is not kept yet.

    Raises:
        ConfigError: it cannot be read.
        StorageError: it cannot be written.
    """
    known = place.lock.trust
    if known is None or _kept(place) is not None:
        return
    raw = read_root(place.trust_path)
    if sha256(raw) == known.digest:
        place.state()
        files.write_atomic(_path(place), raw, mode=0o600, durable=False)


def _kept(place: Project) -> bytes | None:
    known = place.lock.trust
    raw = read_optional(_path(place), MAX_TRUST_BYTES) if known is not None else None
    return raw if raw is not None and known is not None and sha256(raw) == known.digest else None


def _path(place: Project) -> Path:
    return place.state_dir / "trust.json"
