"""A project's log: where it is, who signs it, who is believed, and which older checkpoints were kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from databom.errors import ConfigError, InputError
from databom.log.checkpoint import Checkpoint, Speakers, open_checkpoint
from databom.log.note import MAX_NOTE_BYTES
from databom.model.finding import Finding, Severity
from databom.storage.location import Location, parse_location
from databom.tasks.accepted import accepted_root
from databom.tasks.believing import NOT_ACCEPTED, load_trust
from databom.tasks.inside import require_inside
from databom.tasks.project import Project, read_optional

if TYPE_CHECKING:
    from databom.trust.keys import PrivateKey

VARIABLE = "DATABOM_LOG_KEY"
ANCHOR = "provenance/checkpoint"
"""The newest checkpoint, in git."""
_ORIGIN = "set [log] origin in databom.toml: a name of this log alone, as `databom init` makes one"


class ProjectLog(Struct, frozen=True):
    """The log of one project."""

    place: Project
    location: Location
    origin: str
    speakers: Speakers

    @classmethod
    def of(cls, place: Project, speakers: Speakers | None = None) -> ProjectLog:
        """As `databom.toml` says, and the trust root, or whoever else says who speaks for the log.

        Raises:
            ConfigError: the log has no name, or there is no trust root that can be used.
        """
        origin = place.config.log_origin
        if not origin:
            raise ConfigError("the log has no origin", hint=_ORIGIN)
        location = parse_location(place.config.log_location, base=place.root)
        return cls(place, location, origin, speakers if speakers is not None else _speakers(place))

    @property
    def memory(self) -> Path:
        """The file that holds the newest checkpoint this clone has seen."""
        name = sha256(self.origin.encode()).hexdigest()[:16]
        return self.place.state_dir / "checkpoints" / name

    @property
    def anchor(self) -> Path:
        """The file that holds the newest checkpoint, in git; a ConfigError where a link leads out of the project."""
        return require_inside(self.place.root, self.place.root / ANCHOR)

    def kept(self) -> dict[str, bytes]:
        """The checkpoints that were kept, by where.

        Raises:
            ConfigError: a link leads out of the project.
            StorageError: one is there and cannot be read.
        """
        found = {}
        for path in (self.memory, self.anchor):
            raw = read_kept(path)
            if raw is not None:
                found[path.relative_to(self.place.root).as_posix()] = raw
        return found

    def anchors(self, now: datetime) -> dict[str, Checkpoint]:
        """The checkpoints that were kept, each signed by the log.

        Raises:
            ConfigError: one of them cannot be used, so that nobody knows what must be continued.
        """
        held = {}
        for where, raw in self.kept().items():
            try:
                opened = open_checkpoint(raw, self.speakers, self.origin, now=now, ever=True)
            except InputError as error:
                conflict = b"<<<<<<< " in raw
                hint = (
                    "git left a merge conflict: keep the side with the larger number"
                    if conflict
                    else error.hint
                )
                raise ConfigError(f"{where} cannot be used: {error.problems[0].what}", hint=hint) from None
            held[where] = opened.checkpoint
        return held


def read_kept(path: Path) -> bytes | None:
    """A checkpoint as it was kept; None where there is none, or a power cut has left nothing of it.

    Raises:
        StorageError: one is there and cannot be read.
    """
    raw = read_optional(path, MAX_NOTE_BYTES)
    return raw if raw is not None and raw.strip(b"\0") else None


def gone(location: Location, anchors: Mapping[str, Checkpoint]) -> tuple[Finding, ...]:
    """What the absence of a log says: in the clone that wrote it that it was removed, elsewhere nothing.

    Args:
        location: where it should be.
        anchors: the checkpoints that were kept, by where.
    """
    where = next((one for one in anchors if location.is_bucket or one.startswith(".databom/")), None)
    if where is None:
        return ()
    return (
        Finding(
            "log.rolled-back",
            Severity.BLOCK,
            where,
            "the log is gone",
            expected=f"a continuation of {anchors[where]}",
            found=f"nothing at {location.shown}",
            do="restore the log from a copy that covers this checkpoint; a new one needs an origin of its own",
        ),
    )


def _speakers(place: Project) -> Speakers:
    """Whom the trust root in force lets speak for the log; where another was accepted, whom that one does."""
    believed = load_trust(place)
    replaced = next((one for one in believed.findings if one.code in NOT_ACCEPTED), None)
    root = believed.root if replaced is None else accepted_root(place)
    if root is None:
        problem = replaced or next(one for one in believed.findings if one.code.startswith("trust."))
        raise ConfigError(f"the trust root is not believed: {problem.what}", hint=problem.do)
    return Speakers.of(root)


def key_file(place: Project, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file of the key that signs the log here: `DATABOM_LOG_KEY`, else the project's development key, else None."""
    named = environ.get(VARIABLE)
    if named:
        return Path(named)
    own = place.state_dir / "keys" / "log.pem"
    return own if own.is_file() else None


def log_key(place: Project, environ: Mapping[str, str] = os.environ) -> PrivateKey:
    """The key that signs the log here. `DATABOM_LOG_KEY` is the path of its file, or its PEM text.

    Raises:
        ConfigError: this clone has none, or it cannot be used.
    """
    from databom.tasks.keyring import read_private_key
    from databom.trust.keys import PrivateKey

    if "PRIVATE KEY-----" in environ.get(VARIABLE, ""):
        return PrivateKey.from_pem(environ[VARIABLE].encode("ascii", "replace"))
    path = key_file(place, environ)
    if path is None:
        raise ConfigError(
            "this clone has no key to sign the log with",
            hint=f"name one in {VARIABLE} (the path of its file, or its text); `databom key new FILE` makes one, and "
            "`databom trust add FILE.pub --role log` lets it speak",
        )
    return read_private_key(path)
