"""What a local tree refuses to open, in words."""

from __future__ import annotations

import re
from pathlib import Path

from databom.errors import StorageError, UnsafeFileError
from databom.storage.localfile import Kind, kind_of
from databom.storage.posix import storage_error

_NOT_PLAIN = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|\0")
"""An empty, `.` or `..` segment, or NUL."""


def require_plain(path: str) -> None:
    """Refuse what is no plain relative path. Manifests were checked long before; this door is locked too.

    Raises:
        UnsafeFileError: an empty, `.` or `..` segment, a leading or trailing slash, or NUL.
    """
    if _NOT_PLAIN.search(path):
        raise not_plain(path)


def not_plain(path: str) -> UnsafeFileError:
    """The refusal of a path that no plain name can be."""
    return UnsafeFileError(f"{path!a} is not a plain relative path", where=ascii(path))


def unsafe(shown: str, name: str, kind: Kind | None) -> UnsafeFileError:
    """The refusal of `name`, on the way to `shown` or there, which is a `kind` (None: a directory)."""
    what = "directory" if kind is None else kind.value
    return UnsafeFileError(
        f"cannot open {shown}: {name} is a {what}, which databom never follows or reads",
        where=shown,
        hint="put the file itself there, or remove what is in its place and sync again",
    )


def root_refused(path: Path, shown: str, error: OSError) -> StorageError:
    """The refusal of a tree's root: what stands in its place."""
    try:
        kind = kind_of(path.lstat().st_mode)
    except OSError:
        kind = None
    if kind is None:
        return storage_error(error, shown, "open the directory")
    real = "pass the real directory with --path"
    return UnsafeFileError(
        f"{shown} is a {kind}, not a directory",
        where=shown,
        hint=real if kind is Kind.SYMLINK else "remove it, or name another directory",
    )
