"""The file that holds the trust root: which one is in force, and whether the file itself can be relied on.

In this order: the one `--trust` names, the one `DATABOM_TRUST` names, the repository's. A user may have one of
their own (`$XDG_CONFIG_HOME/databom/trust.json`, by default under `~/.config`), which only narrows: what is
accepted by the root in force must be accepted by the user's too.

Nothing here reads what is in the file, so this module is cheap enough for the start of every training run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from databom.errors import ConfigError, DatabomError, MissingError
from databom.model.digest import hex_of, sha256
from databom.model.finding import Finding, Severity
from databom.model.text import printable
from databom.storage import files
from databom.tasks.project import MAX_TRUST_BYTES, Project

VARIABLE = "DATABOM_TRUST"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NOT_REVIEWED = frozenset({".git", ".databom"})
"""Folders of a work tree whose files no commit shows."""


class RootFile(NamedTuple):
    """A trust root's file, and what named it: None for the repository's own."""

    path: Path
    named_by: str | None = None


def root_in_force(
    project: Project | None, trust: Path | None = None, *, environ: Mapping[str, str] = os.environ
) -> RootFile:
    """The file to judge by. Naming the repository's own root names no other one.

    Raises:
        ConfigError: neither `trust`, nor `DATABOM_TRUST`, nor a project names one; or the repository's own lies behind
            a link.
    """
    own = project.trust_path if project else None
    named = RootFile(trust, "--trust") if trust is not None else None
    if named is None and environ.get(VARIABLE):
        named = RootFile(Path(environ[VARIABLE]), VARIABLE)
    if named is None and own is None:
        raise ConfigError(
            "no trust root: nobody is believed", hint=f"name one with --trust FILE or {VARIABLE}"
        )
    if named is None or (own is not None and _is_same(named.path, own)):
        assert own is not None
        assert project is not None
        _require_real_folders(project.root, own)
        return RootFile(own)
    return named


def require_digest(text: str) -> str:
    """Return what `--trust-digest` was given when it is a digest.

    Raises:
        ConfigError: it is none; an abbreviated digest pins nothing.
    """
    try:
        hex_of(text)
    except ValueError as error:
        raise ConfigError(
            f"--trust-digest {printable(text)} is no digest: {error}",
            hint="`databom trust show` prints the digest of the root in force",
        ) from None
    return text


def _require_real_folders(root: Path, path: Path) -> None:
    """The repository's own root lies in the repository: a linked folder on the way is changed without any commit."""
    for folder in path.parents:
        if folder == root or not folder.is_relative_to(root):
            return
        if folder.is_symlink():
            shown = printable(os.fspath(folder))
            raise ConfigError(
                f"the trust root lies behind a symbolic link, {shown}, and is not followed",
                hint="put the folder itself there, or name the root that you mean with --trust",
            )


def is_named(trust: Path | str | None, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a trust root without any project."""
    return trust is not None or bool(environ.get(VARIABLE))


def config_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder of the user's configuration files; None for a user without a home."""
    base = Path(environ.get("XDG_CONFIG_HOME") or "")
    if base.is_absolute():
        return base
    try:
        return Path.home() / ".config"
    except RuntimeError:
        return None


def users_root(*, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The user's own root, where there is one. A relative `XDG_CONFIG_HOME` counts as unset, as its standard says.

    Raises:
        ConfigError: it belongs to somebody else, or it cannot be told whether there is one.
    """
    base = config_home(environ)
    if base is None:
        return None
    path = base / "databom" / "trust.json"
    try:
        owner = path.lstat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"it cannot be told whether there is a trust root of yours at {path}: {error.strerror}",
            hint="set XDG_CONFIG_HOME to a folder that you can enter",
        ) from error
    if hasattr(os, "getuid") and owner not in (os.getuid(), 0):
        raise ConfigError(
            f"your trust root {path} belongs to another user (uid {owner}) and is not followed",
            hint="take ownership of it, or remove it",
        )
    return path


def read_root(path: Path) -> bytes:
    """The bytes of a trust root's file. A link is not followed: what it leads to changes without a trace.

    Raises:
        ConfigError: there is none, or it is a link, no file, too long or unreadable.
    """
    shown = printable(os.fspath(path))
    try:
        is_link = path.is_symlink()
    except (OSError, ValueError) as error:
        raise ConfigError(f"the trust root {shown} cannot be looked at: {_reason(error)}") from None
    if is_link:
        raise ConfigError(
            f"the trust root {shown} is a symbolic link and is not followed",
            hint="put the file itself there, or name the file that the link leads to",
        )
    try:
        return files.read_bounded(path, MAX_TRUST_BYTES, prefix="trust")
    except MissingError:
        raise ConfigError(
            f"there is no trust root at {shown}: nobody is believed",
            hint="`databom init` makes one; `databom trust add KEY.pub --marketplace ID --datasets GLOB` fills it",
        ) from None
    except DatabomError as error:
        raise ConfigError(f"the trust root {shown} cannot be read: {error}", hint=error.hint) from None


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)


def check_writable(path: Path, project: Project | None) -> Iterator[Finding]:
    """Whether others than the owner can change the file, by its own mode or that of its folder.

    Inside the project's git work tree that is a warning, since git shows every change to a reviewer; anywhere
    else it blocks: whoever can write there decides who is believed. In a sticky folder nobody can replace a
    file of somebody else.
    """
    shown = printable(os.fspath(path))
    try:
        file, folder = path.lstat(), path.parent.stat()
    except OSError as error:
        raise ConfigError(f"the trust root {shown} cannot be looked at: {error.strerror}") from None
    loose = []
    if file.st_mode & _OTHERS_WRITE:
        loose.append((file.st_mode, "the file", path))
    safe_by_sticky = folder.st_mode & stat.S_ISVTX and folder.st_uid in (0, file.st_uid)
    if folder.st_mode & _OTHERS_WRITE and not safe_by_sticky:
        loose.append((folder.st_mode, "its folder", path.parent))
    if not loose:
        return
    reviewed = project is not None and _in_work_tree(path, project.root)
    who = "everybody" if any(mode & stat.S_IWOTH for mode, _, _ in loose) else "a group"
    yield Finding(
        "trust.writable",
        Severity.WARN if reviewed else Severity.BLOCK,
        shown,
        f"{who} can change this trust root; that git shows every change is all that protects it"
        if reviewed
        else f"{who} can change this trust root, and no commit would show it: it is not believed",
        expected="a file and a folder that only their owner can write",
        found=", ".join(f"{name} has mode {stat.S_IMODE(mode):04o}" for mode, name, _ in loose),
        do="; ".join(f"chmod go-w {printable(os.fspath(place))}" for _, _, place in loose),
    )


def digests_in_force(project: Project, *, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The digests of the root in force and, where there is one, of the user's.

    What was recorded by other roots says nothing here and now.

    Raises:
        ConfigError: one of them cannot be read, or the repository's is not the one that the project accepted last.
    """
    file = root_in_force(project, environ=environ)
    digest = sha256(read_root(file.path))
    known = project.lock.trust
    if file.named_by is None and known is not None and digest != known.digest:
        raise ConfigError("the trust root is not the one that this project accepted last")
    own = users_root(environ=environ)
    return (digest, *((sha256(read_root(own)),) if own else ()))


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths name one file; a link is a file of its own."""
    try:
        return one.parent.resolve() / one.name == other.parent.resolve() / other.name
    except (OSError, RuntimeError):
        return False


def _in_work_tree(path: Path, root: Path) -> bool:
    """Whether a file lies in the git work tree around the project, where commits show it."""
    try:
        place, folder = path.parent.resolve() / path.name, root.resolve()
    except (OSError, RuntimeError):
        return False
    for top in (folder, *folder.parents):
        if (top / ".git").exists():
            return place.is_relative_to(top) and not _NOT_REVIEWED.intersection(place.relative_to(top).parts)
    return False
