"""A project: the folder that holds `databom.toml`, and the files databom keeps in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from databom.errors import ConfigError, InputError, MissingError, StorageError
from databom.model.config import FILE as CONFIG_FILE
from databom.model.config import MAX_CONFIG_BYTES, Config, parse_config
from databom.model.lock import MAX_LOCK_BYTES, Lock, Pin, format_lock, parse_lock
from databom.model.text import printable
from databom.storage import files
from databom.storage.location import Location, parse_location
from databom.tasks.inside import require_inside

LOCK_FILE = "databom.lock"
EVIDENCE_ABOUT = "README.md"
"""In a pin's evidence folder: what the folder is for. No evidence."""
MAX_TRUST_BYTES = 4 * 1024 * 1024
NO_PROJECT = "run `databom init` in the folder that holds (or will hold) dvc.yaml"


def find_root(start: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Path:
    """The project's root: `DATABOM_PROJECT`, else the nearest parent of `start` with a `databom.toml`.

    On POSIX the file must belong to the user or to root: a policy that somebody else left in a shared parent
    folder decides nothing (in-toto's CVE-2023-32076 is this hole).

    Raises:
        ConfigError: there is none, or it belongs to somebody else.
    """
    named = environ.get("DATABOM_PROJECT")
    if start is None and named:
        root = Path(named).absolute()
        if not _holds_config(root):
            raise ConfigError(f"DATABOM_PROJECT={named}: there is no {CONFIG_FILE} in it", hint=NO_PROJECT)
        return _owned(root)
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if _holds_config(folder):
            return _owned(folder)
    raise ConfigError(f"no {CONFIG_FILE} in {here} or any folder above it", hint=NO_PROJECT)


def _holds_config(folder: Path) -> bool:
    """Whether the policy is there; a name that no folder can have, or one that may not be entered, holds none."""
    try:
        return (folder / CONFIG_FILE).is_file()
    except (OSError, ValueError):
        return False


def _is_project(folder: Path) -> Path:
    if not _holds_config(folder):
        raise ConfigError(f"there is no {CONFIG_FILE} in {printable(os.fspath(folder))}", hint=NO_PROJECT)
    return _owned(folder)


def _owned(root: Path) -> Path:
    if hasattr(os, "getuid"):
        owner = (root / CONFIG_FILE).stat().st_uid
        if owner not in (os.getuid(), 0):
            raise ConfigError(
                f"{root / CONFIG_FILE} belongs to another user (uid {owner}) and is not followed",
                hint="take ownership of the project, or work in your own copy of it",
            )
    return root


class Project(Struct, frozen=True):
    """One project, its policy and its pins, as they were when it was loaded."""

    root: Path
    config: Config
    lock: Lock

    @classmethod
    def load(cls, root: Path | str | None = None) -> Project:
        """Load the project at `root`, or the one found from the working directory.

        Raises:
            ConfigError: there is none, or its `databom.toml` or `databom.lock` cannot be used.
        """
        folder = find_root() if root is None else _is_project(Path(root).absolute())
        config = parse_config(files.read_bounded(folder / CONFIG_FILE, MAX_CONFIG_BYTES))
        return cls(folder, config, _read_lock(folder / LOCK_FILE))

    # --- where things are ---------------------------------------------------------------------

    def _own(self, *parts: str) -> Path:
        """A folder below `provenance/`; a ConfigError where a link leads out of the project."""
        return require_inside(self.root, self.root.joinpath("provenance", *parts))

    @property
    def lock_path(self) -> Path:
        """`databom.lock`."""
        return self.root / LOCK_FILE

    @property
    def trust_path(self) -> Path:
        """The trust root the policy names."""
        return self.root / self.config.trust_root

    @property
    def state_dir(self) -> Path:
        """`.databom/`, private to this clone."""
        return self.root / ".databom"

    @property
    def last_dir(self) -> Path:
        """The last report of each pin, pass or not."""
        return self.state_dir / "last"

    @property
    def quarantine_dir(self) -> Path:
        """Bytes that did not match, kept as evidence."""
        return self.state_dir / "quarantine"

    def manifest_path(self, name: str) -> Path:
        """The manifest as received."""
        return self._own("manifests") / f"{name}.json"

    def envelope_path(self, name: str) -> Path:
        """The detached signature as received."""
        return self._own("manifests") / f"{name}.json.dsse"

    def timestamps_path(self, name: str) -> Path:
        """The time stamps over the detached signature as received."""
        return self._own("manifests") / f"{name}.json.dsse.tsr"

    def evidence_dir(self, name: str) -> Path:
        """Signed statements about the pin's manifests: receipts, consents, redaction records, approvals."""
        return self._own("evidence", name)

    def index_path(self, name: str) -> Path:
        """The folder of the shards that list a large release's assets, as received."""
        return self._own("manifests", f"{name}.index")

    def report_path(self, name: str) -> Path:
        """The stage's report; exists only after a pass."""
        return self._own("reports") / f"{name}.json"

    def data_path(self, pin: Pin) -> Path:
        """Where a pin's assets live locally."""
        return self.root / pin.path

    # --- what they hold -----------------------------------------------------------------------

    def pin(self, name: str) -> Pin:
        """The pin called `name`.

        Raises:
            ConfigError: there is none; names those there are.
        """
        if (pin := self.lock.pins.get(name)) is None:
            known = ", ".join(sorted(self.lock.pins)) or "none yet"
            raise ConfigError(
                f"no pin is called {name!r}; pins are: {known}",
                hint="`databom add MANIFEST` pins a release; a path or URL holds '/' or ends in .json",
            )
        return pin

    def locate(self, text: str) -> Location:
        """The location a person typed, relative to where they stand; kept relative to the project if inside it.

        Raises:
            ConfigError: not a location databom accepts.
        """
        return parse_location(typed(text), base=self.root)

    def source(self, stored: str) -> Location:
        """The location a pin states.

        Raises:
            InputError: the lock holds something that databom would never have written.
        """
        return parse_location(stored, base=self.root, from_document=True)

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The pins asked for, or all of them.

        Raises:
            ConfigError: an unknown name, or no pins at all.
        """
        if not self.lock.pins:
            raise ConfigError(f"{self.root} has no pins", hint="`databom add MANIFEST` pins a release")
        for name in names:
            self.pin(name)
        return tuple(dict.fromkeys(names)) or tuple(sorted(self.lock.pins))

    def save_lock(self, lock: Lock) -> Project:
        """Write the lock atomically and return the project that holds it."""
        files.write_atomic(self.lock_path, format_lock(lock))
        return Project(self.root, self.config, lock)

    def state(self, *parts: str) -> Path:
        """A folder under `.databom/`, made private (0700) if absent."""
        folder = self.state_dir
        files.make_private_dir(folder)
        for part in parts:
            folder = folder / part
            files.make_private_dir(folder)
        return folder


def _read_lock(path: Path) -> Lock:
    if path.is_symlink():  # nor is it written through
        raise ConfigError(
            f"{path} is a symbolic link and is not followed",
            hint="put the file itself there: what lies elsewhere changes without any commit",
        )
    try:
        raw = files.read_bounded(path, MAX_LOCK_BYTES)
    except MissingError:
        return Lock()
    try:
        return parse_lock(raw)
    except InputError as error:
        conflict = raw.lstrip().startswith(b"<<<<<<<") or b"\n<<<<<<< " in raw
        if conflict:
            raise ConfigError(
                f"{path} cannot be used: git has left a merge conflict in it",
                hint="keep the pins of both sides and, of each dataset, all that was seen; then `databom check`",
            ) from None
        said = str(error) if raw.strip() else "it is empty"
        raise ConfigError(
            f"{path} cannot be used: {said}", hint=error.hint if raw.strip() else "restore it from git"
        ) from None


@contextlib.contextmanager
def exclusive_project(root: Path) -> Iterator[None]:
    """Hold the project's writing lock; whoever has to wait is told for whom, through logging.

    Raises:
        ConfigError: there is no project; nothing is made in such a folder, nor the folder itself.
        StorageError: another databom still works here after ten minutes.
    """
    _is_project(root)
    files.make_private_dir(root / ".databom")
    with files.exclusive(root / ".databom" / "project.lock", waiting=_waiting):
        yield


def _waiting(who: str) -> None:
    import logging

    logging.getLogger(__name__).warning("waiting for another databom in this project: %s", who)


def typed(text: str) -> str:
    """A location as typed in the working directory, made independent of it."""
    return text if "://" in text else os.path.abspath(text)  # noqa: PTH100  # lexical: nothing is looked up


def read_optional(path: Path, limit: int) -> bytes | None:
    """The bytes of a file databom keeps, or None where it is absent.

    Raises:
        StorageError: it is there and cannot be read.
        InputError: it is longer than `limit`.
    """
    try:
        return files.read_bounded(path, limit)
    except MissingError:
        return None


def read_possible(path: Path, limit: int) -> bytes | None:
    """The bytes of a file, None where they are not to be had for whatever reason: then it shows nothing."""
    try:
        return read_optional(path, limit)
    except (InputError, StorageError):
        return None
