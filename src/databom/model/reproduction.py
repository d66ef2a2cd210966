"""A second run of a training: what was to be run, what it made, and whether that is the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from databom.model.finding import Report, Verdict
from databom.model.text import printable


class Plan(Struct, frozen=True):
    """What is run again, as the receipt and the commit say it. Texts are as they were said, not fit to be shown."""

    commit: str
    folder: str
    """The project, below the top of the repository."""
    argv: tuple[str, ...]
    """After the Python interpreter: a script of the project with its arguments, `-m MODULE …`, or DVC."""
    cwd: str
    """Where it is run, below the project."""
    stage: str | None = None
    """The DVC stage, where it is one."""
    steps: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The stages that are run for it, with their commands."""
    pins: tuple[tuple[str, str, str], ...] = ()
    """Name, release and manifest digest of each."""

    @property
    def shown(self) -> str:
        """The command as a shell would take it."""
        program = ("dvc", *self.argv[2:]) if self.stage is not None else ("python", *self.argv)
        return printable(shlex.join(program), 4_000)

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "commit": self.commit,
            "folder": printable(self.folder, 1_000),
            "command": self.shown,
            "cwd": printable(self.cwd, 1_000),
            "stage": None if self.stage is None else printable(self.stage),
            "steps": [
                {"stage": printable(name), "commands": [printable(one, 4_000) for one in commands]}
                for name, commands in self.steps
            ],
            "pins": [
                {"name": name, "release": release, "manifest": manifest}
                for name, release, manifest in self.pins
            ],
        }


class Made(Struct, frozen=True):
    """One thing that a run made, by its digests."""

    name: str
    file: str
    """`sha256:<hex>` of a file; of a folder, its tree digest."""
    weights: str | None
    """What the same weights have in common however they were packed; None where nobody could tell."""
    is_whole: bool = False
    """A folder that is one model."""

    def to_dict(self) -> dict[str, Any]:
        """The digests as plain JSON values."""
        return {"name": printable(self.name, 1_000), "file": self.file, "weights": self.weights}


class Compared(Struct, frozen=True):
    """What the run made, and what the second one made in its place."""

    expected: Made
    found: Made | None
    is_model: bool = True

    @property
    def same_file(self) -> bool:
        """Whether every byte is the same."""
        return self.found is not None and self.found.file == self.expected.file

    @property
    def same_weights(self) -> bool | None:
        """Whether the weights are the same; None where nobody can tell."""
        if self.found is None or self.same_file:
            return self.same_file
        if self.expected.weights is None or self.found.weights is None:
            return None
        return self.found.weights == self.expected.weights

    def to_dict(self) -> dict[str, Any]:
        """Both, as plain JSON values."""
        return {
            "name": printable(self.expected.name, 1_000),
            "model": self.is_model,
            "expected": self.expected.to_dict(),
            "found": None if self.found is None else self.found.to_dict(),
            "same": {"file": self.same_file, "weights": self.same_weights},
        }


class Reproduction(Struct, frozen=True):
    """The answer of `reproduce`. `pass`: every model of the run was made again with the same weights."""

    run: str
    """Its invocation, `mlflow:<run id>` or `databom:<id>`."""
    receipt: str
    """Digest of its receipt."""
    where: str
    """Where that was found."""
    report: Report
    """The findings, and the verdict."""
    plan: Plan | None = None
    ran: bool = False
    """Whether anything of the commit was run."""
    outputs: tuple[Compared, ...] = ()
    again: str | None = None
    """The invocation of the second run."""
    kept: str | None = None
    """The work tree, where it was kept."""
    keyids: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """`pass` reproduced, `fail` not, `unanswered` where nothing was run or nothing could be compared."""
        return self.report.verdict

    def strict(self) -> Reproduction:
        """The same with every warning blocking."""
        return replace(self, report=self.report.strict())

    def require(self) -> Reproduction:
        """Return self when the verdict is `pass`.

        Raises:
            CheckFailed: the verdict is anything else; the error carries the report.
        """
        self.report.require()
        return self

    def sentence(self) -> str:
        """One summary sentence, ending in the verdict."""
        models = [one for one in self.outputs if one.is_model]
        if not self.ran:
            told = "nothing was run"
        elif not models:
            told = "nothing could be compared"
        else:
            weights = sum(one.same_weights is True for one in models)
            count = sum(one.same_file for one in models)
            plural = "" if len(models) == 1 else "s"
            told = (
                f"{weights} of {len(models)} model{plural} with the same weights, {count} with the same bytes"
            )
        return f"{self.run}: {told}: {self.verdict.value}"

    def to_dict(self) -> Mapping[str, Any]:
        """As `--format json` writes it."""
        return {
            "verdict": self.verdict.value,
            "run": self.run,
            "receipt": {"digest": self.receipt, "where": self.where, "keyids": list(self.keyids)},
            "plan": None if self.plan is None else self.plan.to_dict(),
            "ran": self.ran,
            "again": self.again,
            "kept": self.kept,
            "outputs": [one.to_dict() for one in self.outputs],
            "trust": self.report.trust,
            "findings": [one.to_dict() for one in self.report.findings],
        }

    def to_json(self) -> str:
        """`to_dict()` as indented JSON text with a final newline."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
