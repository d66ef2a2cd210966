"""What stands on a creator, a dataset, a file or a pin: releases, the runs that used them, the models that came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct, to_builtins

from databom.errors import ConfigError
from databom.model.digest import is_digest
from databom.model.explanation import DECLARED, MISSING, Line, Strength
from databom.model.lock import PIN_NAME
from databom.model.text import counted, printable

PRESENT = "present"
"""The use of a pin that was there, and is not known to have been used: only possible."""
MADE = "made"
"""Of a run that was asked about by what it made."""
_FORMS = "creator:ID, dataset:ID, dataset:ID@VERSION, sha256:HEX, or a pin's name"

Kind = Literal["creator", "dataset", "digest", "pin"]


class Target(Struct, frozen=True):
    """What is asked about."""

    kind: Kind
    value: str
    """The creator's id as it was written, the dataset's id or release, `sha256:<hex>`, or the pin's name."""

    @property
    def shown(self) -> str:
        """As it is told."""
        return printable(f"dataset:{self.value}" if self.kind == "dataset" else self.value, 200)

    def is_creator(self, ident: str | None) -> bool:
        """Whether this names the creator with an id; `creator:alice` names both `creator:alice` and `alice`."""
        return ident is not None and ident in (self.value, self.value.removeprefix("creator:"))

    def is_release(self, release: str) -> bool:
        """Whether this names the release `<dataset id>@<version>`, or its dataset."""
        return self.kind == "dataset" and (release == self.value or release.rpartition("@")[0] == self.value)


def parse_target(text: str) -> Target:
    """What `databom affected` is asked about.

    Raises:
        ConfigError: it is of none of the forms.
    """
    for kind in ("creator", "dataset"):
        if text.startswith(f"{kind}:") and len(text) > len(kind) + 1:
            return Target("creator", text) if kind == "creator" else Target("dataset", text[len(kind) + 1 :])
    if is_digest(text.lower()):
        return Target("digest", text.lower())
    if PIN_NAME.match(text):
        return Target("pin", text)
    raise ConfigError(
        f"{printable(text, 200) or 'an empty text'} is nothing that can be asked about", hint=f"use {_FORMS}"
    )


class AffectedRelease(Struct, frozen=True):
    """A release that is what was asked about, or holds some of it."""

    release: str
    manifest: str
    pins: tuple[str, ...]
    """The names that it is or was pinned by."""
    pinned: bool
    """Whether it is pinned now."""
    because: tuple[str, ...]
    strength: Strength
    """Of what the manifest says: `verified` where whoever signed it may speak for it, now."""
    evidence: str
    direct: bool
    """Whether it is, or was redacted from, what was asked about; else it holds the same bytes, or what a run made."""


class AffectedRun(Struct, frozen=True):
    """A training run that used such a release, or may have."""

    run: str
    use: str
    """The strongest of its uses: `read`, `stage`, `input`, `declared`, `made`; `present` is only possible."""
    because: tuple[str, ...]
    status: str
    ended: str | None
    receipt: str | None
    """Digest; None where there is none that is signed."""
    index: int | None
    """Where the receipt stands in the log here."""
    strength: Strength
    evidence: str
    direct: bool
    """Whether one of the releases that it used is `direct`, or it made what was asked about."""
    models: tuple[Mapping[str, Any], ...] = ()
    """What it made, as its receipt has it: `name`, and the digests `sha256`, `dirHash1`, `weights`."""

    @property
    def is_possible(self) -> bool:
        """Whether nothing shows that the release was used: it was only there."""
        return self.use == PRESENT


class AffectedVersion(Struct, frozen=True):
    """A registered version of a model, by the word of the tracking server."""

    uri: str
    """`models:/NAME/VERSION`."""
    aliases: tuple[str, ...]
    run: str


class Untold(Struct, frozen=True):
    """Something that could not be looked at."""

    about: str
    what: str
    do: str


class Affected(Struct, frozen=True):
    """All that stands on one target, as far as it is known here."""

    target: str
    releases: tuple[AffectedRelease, ...]
    runs: tuple[AffectedRun, ...]
    versions: tuple[AffectedVersion, ...]
    registry: str | None
    """The tracking server that was asked, None where none is configured."""
    untold: tuple[Untold, ...]
    known: int
    """How many releases this project knows of."""
    trainings: int
    """How many runs it knows of."""
    trust: str

    @property
    def is_whole(self) -> bool:
        """Whether everything that is known here could be looked at."""
        return not self.untold

    def sentence(self) -> str:
        """One summary sentence."""
        used = [one for one in self.runs if not one.is_possible]
        files = sum(len(one.models) for one in used)
        told = [
            counted(len(self.releases), "release"),
            counted(len(used), "run"),
            f"{counted(files, 'output')} of them",
            counted(len(self.versions), "registered version"),
        ]
        if possible := len(self.runs) - len(used):
            told.insert(2, f"{possible} more where it was only present")
        end = (
            f"of {counted(self.known, 'release')} and {counted(self.trainings, 'run')} that are known here"
            if self.is_whole
            else f"{counted(len(self.untold), 'thing')} could not be looked at: unanswered"
        )
        return f"{self.target}: {', '.join(told)}; {end}"

    def lines(self) -> Iterator[Line]:
        """The answer line by line."""
        for release in self.releases:
            named = f"pinned as {', '.join(release.pins)}" if release.pinned else "not pinned now"
            told = f"{'; '.join(release.because)}; {named}"
            yield Line(
                "releases", release.release, told, release.strength, f"{release.evidence}, {release.manifest}"
            )
        for run in self.runs:
            question = "possible runs" if run.is_possible else "runs"
            ended = f"{run.status}, {run.ended}" if run.ended else run.status
            yield Line(question, run.run, f"{'; '.join(run.because)}; {ended}", run.strength, run.evidence)
        for run in self.runs:
            for model in run.models if not run.is_possible else ():
                digests = ", ".join(f"{key} {value}" for key, value in model.items() if key != "name")
                yield Line("models", str(model["name"]), digests, run.strength, f"receipt of {run.run}")
        for version in self.versions:
            told = "".join(f"@{alias} " for alias in version.aliases) + f"of {version.run}"
            yield Line("registered", version.uri, told, DECLARED, self.registry or "")
        for one in self.untold:
            yield Line("not told", one.about, one.what, MISSING, one.do)

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain JSON values."""
        return {
            "target": self.target,
            "complete": self.is_whole,
            "releases": [to_builtins(one) for one in self.releases],
            "runs": [{**to_builtins(one), "possible": one.is_possible} for one in self.runs],
            "versions": [to_builtins(one) for one in self.versions],
            "registry": self.registry,
            "untold": [to_builtins(one) for one in self.untold],
            "known": {"releases": self.known, "runs": self.trainings},
            "trust": self.trust,
        }
