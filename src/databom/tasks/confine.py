"""Where a pin's data may go: what `databom.lock` says is a cloned repository's word, and `sync` writes there.

Inside the project every folder that is not somebody else's is fine. Outside it, the user of this machine must have
said so here, by `databom add … --path DIR`; that is kept in `.databom/`, which no clone brings along.
"""

from __future__ import annotations

from pathlib import Path

from databom.errors import ConfigError
from databom.model.lock import Pin
from databom.storage import files
from databom.tasks.project import Project, read_optional

FORBIDDEN = frozenset({".git", ".dvc", ".databom", "provenance", ".github"})
MAX_PATH_BYTES = 16 * 1024


def check(path: str) -> None:
    """Refuse a data folder that is the project's own or belongs to another tool.

    Raises:
        ConfigError: it is one.
    """
    parts = path.split("/")
    if path in ("", ".") or "." in parts or ".." in parts:
        raise ConfigError(
            f"{path!r} cannot be a data folder: everything in it would be unlisted data",
            hint="name a folder of its own with --path",
        )
    if parts[0].casefold() in FORBIDDEN:
        raise ConfigError(f"{path!r} lies in a folder that is not for data", hint="name another with --path")


def accept(place: Project, name: str, pin: Pin) -> None:
    """Remember that the user of this machine chose a folder outside the project."""
    if Path(pin.path).is_absolute():
        files.write_atomic(place.state("outside") / name, pin.path.encode())


def require(place: Project, name: str, pin: Pin) -> None:
    """Refuse to write where nobody on this machine said data may go.

    Raises:
        ConfigError: the lock names a forbidden folder, or one outside the project that was not accepted here.
    """
    check(pin.path)
    if not Path(pin.path).is_absolute():
        return
    if read_optional(place.state_dir / "outside" / name, MAX_PATH_BYTES) != pin.path.encode():
        raise ConfigError(
            f"databom.lock puts {name!r} outside the project, in {pin.path}; nobody on this machine has agreed to that",
            hint=f"if it is right: databom add MANIFEST --name {name} --path {pin.path}",
        )
