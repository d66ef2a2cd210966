"""What is the project's lies in the project: a link that leads out of it is not followed.

Git shows a reviewer that there is a link, and nothing of what is behind it. So a folder `provenance/evidence/<name>`
that is a link to somewhere else could be emptied or filled without any commit, and what databom writes would go there.
A link to another place in the project is fine. The trust root is stricter: see `databom.tasks.rootfile`.
"""

from __future__ import annotations

import os
from pathlib import Path

from databom.errors import ConfigError
from databom.model.text import printable


def leads_out(root: Path, path: Path) -> Path | None:
    """What leads out of `root` on the way to `path`: a link, or the path itself; None where nothing does."""
    if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
        return path
    steps = [path, *path.parents]
    for step in reversed(steps[: steps.index(root)]):
        try:
            if step.is_symlink() and not step.resolve().is_relative_to(root.resolve()):
                return step
        except (OSError, ValueError):  # where one may not look, whoever opens it says so
            return None
        except RuntimeError:  # a link to itself
            return step
    return None


def require_inside(root: Path, path: Path) -> Path:
    """`path`, where no link on the way to it, itself included, leads out of the project.

    Raises:
        ConfigError: one does.
    """
    link = leads_out(root, path)
    if link is None:
        return path
    raise ConfigError(
        f"{printable(os.path.relpath(link, root))} is a link that leads out of the project, and is not followed",
        hint="put the folder or the file itself there: what lies elsewhere changes without any commit",
    )
