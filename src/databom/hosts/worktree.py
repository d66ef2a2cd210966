"""A second work tree of a repository: a commit checked out elsewhere, for as long as somebody needs it.

The repository's own work tree, index, branches and stash stay as they are, and no hook of it runs. All that git writes
is one folder under `.git/worktrees`, which goes with the tree.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from databom.errors import ConfigError, StorageError
from databom.hosts import git
from databom.model.text import printable

_NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}", "-c", "advice.detachedHead=false")
_PATIENCE = 3_600.0
"""Seconds that a checkout may take: a filter such as Git LFS may have to fetch."""


@contextlib.contextmanager
def worktree(commit: git.Commit, keep: Path | None = None) -> Iterator[Path]:
    """The commit, checked out in a folder of its own, which is removed when the block ends, however it ends.

    Args:
        commit: what is checked out, on no branch.
        keep: where, and then it stays; by default a private folder where temporary files go.

    Raises:
        ConfigError: there is something at `keep`, or no git program.
        StorageError: it cannot be checked out.
    """
    if keep is not None:
        place = keep.absolute()
        if os.path.lexists(place) and not (place.is_dir() and not any(place.iterdir())):
            raise ConfigError(
                f"{printable(os.fspath(keep))} is not empty", hint="name a folder that is not there yet"
            )
        _add(commit, place)
        yield place
        return
    try:
        above = Path(tempfile.mkdtemp(prefix="databom-reproduce-")).resolve()
    except OSError as error:
        raise StorageError(
            f"no temporary folder can be made ({error.strerror})", hint="set TMPDIR"
        ) from error
    place = above / "tree"
    try:
        _add(commit, place)
        yield place
    finally:
        with contextlib.suppress(ConfigError):
            # Twice forced: a locked one goes, too.
            git.run(commit.top, *_NO_HOOKS, "worktree", "remove", "--force", "--force", os.fspath(place))
        shutil.rmtree(above, onerror=partial(_open_and_again, above))


def _add(commit: git.Commit, place: Path) -> None:
    answer = git.run(
        commit.top,
        *(*_NO_HOOKS, "worktree", "add", "--detach", "--force", "--", os.fspath(place), commit.id),
        patience=_PATIENCE,
    )
    if answer.code != 0:
        said = printable(answer.err.strip().rpartition("\n")[2], 300)
        raise StorageError(
            f"commit {commit.id[:12]} cannot be checked out ({said})",
            hint="git worktree add FOLDER COMMIT shows the same",
        )


def _open_and_again(above: Path, function: Callable[[str], object], path: str, _: object) -> None:
    """What a program made unwritable goes all the same; what cannot be removed stays, and hurts nobody.

    Only folders from `above` on are opened: what it lies in is everybody's, and a file may have another name elsewhere.
    """
    with contextlib.suppress(OSError):
        for one in (Path(path).parent, Path(path)):
            if one.is_relative_to(above) and one.is_dir() and not one.is_symlink():
                one.chmod(stat.S_IRWXU)
        function(path)
