"""Keys and the trust root: `databom key`, `databom trust`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from databom.errors import ConfigError, InputError, MissingError, StorageError
from databom.hosts import git
from databom.model import times
from databom.model.text import printable
from databom.storage import files
from databom.tasks.project import Project, exclusive_project, find_root
from databom.tasks.rootfile import is_named, read_root, root_in_force
from databom.trust.keys import PrivateKey, PublicKey
from databom.trust.root import TrustRoot, parse_draft
from databom.trust.root_editing import Removed, add_key, remove_key

MAX_KEY_BYTES = 64 * 1024
_OTHERS = 0o077
MIN_KEYID = 8
"""Digits of a keyid that are enough to name one key among those of a root."""


def new_key(path: Path | str, *, keytype: str = "ed25519") -> str:
    """Make a key pair: the private half at `path` (0600, PKCS #8 PEM), the public half in `path.pub`.

    Neither file is ever overwritten. Returns the keyid (lower-case hex SHA-256 of the DER SubjectPublicKeyInfo).

    Raises:
        ConfigError: one of the two files exists.
        StorageError: they cannot be written.
    """
    private, public = Path(path), Path(f"{path}.pub")
    for file in (private, public):
        if files.is_taken(file):
            raise ConfigError(f"{file} exists and is not overwritten", hint="choose another name")
    key = PrivateKey.generate(keytype)
    files.write_new(private, key.pem(), mode=0o600)
    files.write_new(public, key.public.pem().encode(), mode=0o644)
    return key.public.keyid


def key_id(path: Path | str) -> str:
    """The keyid of a public or private key file.

    Raises:
        ConfigError: there is no such file, or it holds no key that databom uses.
    """
    raw = _read_key(path)
    if b"PRIVATE KEY" in raw:
        return PrivateKey.from_pem(raw).public.keyid
    return _public(raw, path).keyid


# Many things are signed with one file, and asking git takes longer than signing.
_private: dict[tuple[str, int, int, int], PrivateKey] = {}


def read_private_key(path: Path | str) -> PrivateKey:
    """Read a signing key that is a secret: only its owner can read the file, and it is in no commit.

    Raises:
        ConfigError: no such file, not a private key, encrypted, or of a kind databom does not sign with; others can
            read it, or git has it.
    """
    place = Path(path)
    try:
        status = place.stat()
    except (OSError, ValueError) as error:
        _read_key(path)  # says what is the matter with it
        raise ConfigError(f"the key file {printable(str(path))} came and went") from error
    stamp = (os.fspath(place.absolute()), status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    if stamp not in _private:
        key = PrivateKey.from_pem(_read_key(path))
        _require_secret(place, status.st_mode)
        _private[stamp] = key
    return _private[stamp]


def _require_secret(path: Path, mode: int) -> None:
    shown = printable(os.fspath(path))
    if mode & _OTHERS and os.name == "posix":
        raise ConfigError(
            f"the key file {shown} is not only its owner's (mode {mode & 0o777:04o}): it is not used",
            hint=f"chmod 600 {shown}; if others may have read it, make a new key",
        )
    if git.tracks(path):
        raise ConfigError(
            f"the key file {shown} is in git, and so in every clone: it is not used",
            hint="make a new key outside of the repository: databom key new FILE",
        )


def read_public_key(path: Path | str) -> PublicKey:
    """Read a public key, or the public half of a private one.

    Raises:
        ConfigError: no such file, or no key that databom believes (weak keys are refused here).
    """
    raw = _read_key(path)
    if b"PRIVATE KEY" in raw:
        raise ConfigError(f"{path} holds a private key", hint=f"give its public half, {path}.pub")
    return _public(raw, path)


def _public(raw: bytes, path: Path | str) -> PublicKey:
    try:
        return PublicKey.from_pem(raw)
    except InputError as error:
        raise ConfigError(f"{path}: {error}", hint=error.hint) from None


def _read_key(path: Path | str) -> bytes:
    if "PRIVATE KEY" in str(path):  # it must not be repeated
        raise ConfigError(
            "the text of a private key was given where the path of its file is asked for",
            hint="others may have seen it in a command line: make a new key, and give the path of its file",
        )
    shown = printable(str(path))
    try:
        return files.read_bounded(Path(path), MAX_KEY_BYTES)
    except MissingError:
        raise ConfigError(f"there is no key file {shown}", hint="`databom key new FILE` makes one") from None
    except StorageError as error:
        raise ConfigError(f"the key file {shown} cannot be read: {error}", hint=error.hint) from None


def trust_add(
    key_file: Path | str,
    *,
    marketplace: str | None = None,
    datasets: Sequence[str] = (),
    role: str | None = None,
    threshold: int | None = None,
    draft: Path | str | None = None,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> str:
    """Add a public key to the project's version-1 trust root, in place, or to a draft of a later version.

    Either `marketplace` with at least one `datasets` glob (`fnmatchcase`), or `role`. `threshold` says how many of
    the role's keys must sign from now on. Returns the keyid.

    Raises:
        ConfigError: neither or both, a weak key, a key that holds another role already, a threshold that cannot be
            met, a root that is signed.
    """
    if (marketplace is None) == (role is None):
        raise ConfigError("name either --marketplace ID (with --datasets GLOB) or --role ROLE")
    if marketplace is not None and not datasets:
        raise ConfigError(
            "a marketplace key needs --datasets: the dataset ids it may speak for",
            hint="for example --datasets 'hn-*'",
        )
    if role is not None and datasets:
        raise ConfigError("--datasets scopes a marketplace, not a role")
    key = read_public_key(key_file)

    def edit(raw: bytes | None) -> bytes:
        return add_key(
            raw,
            key,
            role=role or "marketplace",
            marketplace=marketplace,
            datasets=list(datasets),
            threshold=threshold,
            now=times.or_now(now),
        )

    _edit(edit, draft, project)
    return key.keyid


def trust_remove(
    keyid: str, *, draft: Path | str | None = None, project: Path | str | None = None
) -> tuple[str, Removed]:
    """Remove a key from the project's version-1 trust root, in place, or from a draft: from every role it holds.

    `keyid` may be cut to its first 8 digits or more where that is one key. Returns the whole keyid, and the roles.

    Raises:
        ConfigError: there is no such key, or more than one; a role would be left with fewer keys than must sign; a
            root that is signed.
    """
    found: list[tuple[str, Removed]] = []

    def edit(raw: bytes | None) -> bytes:
        known = parse_draft(raw).keys if raw is not None else {}
        matches = [
            one for one in known if one == keyid or (len(keyid) >= MIN_KEYID and one.startswith(keyid))
        ]
        if len(matches) != 1 or raw is None:
            raise ConfigError(
                f"{'no key' if not matches else 'more than one key'} of this trust root is {printable(keyid)}",
                hint=f"`databom trust show` lists the ids; their first {MIN_KEYID} digits or more will do",
            )
        found.append((matches[0], remove_key(raw, matches[0])))
        return found[0][1].raw

    _edit(edit, draft, project)
    return found[0]


def _edit(
    edit: Callable[[bytes | None], bytes], draft: Path | str | None, project: Path | str | None
) -> None:
    """Rewrite the project's root, or a draft, which needs no project."""
    if draft is not None:
        _rewrite(Path(draft), read_root(Path(draft)), edit)
        return
    folder = Path(project).absolute() if project is not None else find_root()
    Project.load(folder)
    with exclusive_project(folder):
        path = Project.load(folder).trust_path
        _rewrite(path, read_root(path) if os.path.lexists(path) else None, edit)


def _rewrite(path: Path, raw: bytes | None, edit: Callable[[bytes | None], bytes]) -> None:
    try:
        written = edit(raw)
    except InputError as error:
        raise ConfigError(f"{path}: {error}", hint=error.hint) from None
    files.write_atomic(path, written)


def trust_show(*, project: Path | str | None = None, trust: Path | None = None) -> TrustRoot:
    """The trust root in force, or the one at `trust`, which may be a draft, for a person to review.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    named = is_named(trust) and project is None
    try:
        place = Project.load(project)
    except ConfigError:
        if not named:
            raise
        place = None
    path = root_in_force(place, trust).path
    try:
        return parse_draft(read_root(path))
    except InputError as error:
        raise ConfigError(f"{path} is not a trust root: {error}", hint=error.hint) from None


def token_names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The names of the DATABOM_TOKEN_* variables that are set; never their values."""
    return sorted(name for name in environ if name.startswith("DATABOM_TOKEN_"))
