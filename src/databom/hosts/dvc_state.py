"""DVC's own memory, as far as databom helps it along.

DVC keeps an MD5 of every file it tracks in a small database, keyed by path and guarded by inode, size and
mtime. `databom sync` has just read every byte: it leaves the MD5s there, and DVC then reads nothing again.

This is an economy, never evidence. Nothing here is trusted by databom, the database may be writable by other
users (DVC's own default on Linux is a shared folder), and every failure only costs DVC a second reading.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def dvc_root(folder: Path) -> Path | None:
    """The nearest folder at or above `folder` that holds `.dvc/`, or None."""
    folder = folder.absolute()
    for candidate in (folder, *folder.parents):
        if (candidate / ".dvc").is_dir():
            return candidate
    return None


def in_dvc_project(root: Path) -> bool:
    """Whether DVC would find a repository from `root`."""
    return dvc_root(root) is not None


def cache_root(project_root: Path) -> Path | None:
    """Where DVC keeps its cache, so that links into it can be told from links that lead astray.

    None outside a DVC repository.

    Reads `cache.dir` of `.dvc/config` and, above it, `.dvc/config.local`; a relative one starts at `.dvc/`.
    What a repository says here widens what links may point at, never what bytes are accepted.
    """
    root = dvc_root(project_root)
    if root is None:
        return None
    import configparser

    config = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    for name in ("config", "config.local"):
        try:
            config.read(root / ".dvc" / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue  # DVC will say so itself
    value = config.get("cache", "dir", fallback=None) or "cache"
    try:
        folder = Path(value.strip("\"'")).expanduser()
    except RuntimeError:  # ~ of a user who has no home
        folder = Path("cache")
    return Path(os.path.normpath(root / ".dvc" / folder))


def seed(project_root: Path, rows: Iterable[tuple[Path, str]]) -> bool:
    """Tell DVC the MD5s of files it is about to look at, and whether that worked. Never raises.

    Args:
        project_root: a folder inside the DVC repository.
        rows: (path of a file in its final place, lower-case hex MD5 of its bytes). A wrong MD5 would blind
            DVC to a later change, so it must come from the very pass that read or wrote the file.

    Returns:
        False when DVC is absent, too old or too new: it will read the files itself.
    """
    with _quiet():
        try:
            return _seed(project_root, rows)
        except Exception:  # DVC's internals are not ours to know; the loss is time only
            import logging

            logging.getLogger(__name__).debug("DVC's state was not seeded", exc_info=True)
            return False


def _seed(project_root: Path, rows: Iterable[tuple[Path, str]]) -> bool:
    from dvc.repo import Repo  # heavy, and often absent
    from dvc_data.hashfile.hash_info import HashInfo

    # DVC starts from the working directory, which the kernel gives without symlinks: its keys are such paths.
    given, real = project_root.absolute(), project_root.resolve()
    with Repo(str(real)) as repo:
        entries = (
            (os.path.normpath(real / os.path.relpath(path.absolute(), given)), HashInfo("md5", md5))
            for path, md5 in rows
        )
        state = repo.state
        if hasattr(state, "save_many"):  # dvc >= 3.59
            state.save_many(((path, md5, None) for path, md5 in entries), repo.fs)
        else:
            for path, md5 in entries:
                state.save(path, repo.fs, md5)
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep DVC's loggers from talking into the command's output."""
    import logging

    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
