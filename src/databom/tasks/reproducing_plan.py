"""What a receipt says to run again, and what is in the way: all of it is said before anything runs.

Only of a receipt that is believed. Nothing is asked of MLflow. Paths and commands come from the receipt, the rest out
of git's objects at the receipt's commit; the user's work tree is not looked at.

In the way, so that nothing is run: no commit, or one that is not here; a command that is not told whole, or is another
thing than a script or a module of the commit, or a stage of its `dvc.yaml`; a release that the commit does not pin by
the same manifest, or that today's trust root and policy refuse. Said as a warning: what differed from the commit,
another environment, config files of other digests, a receipt that nothing shows was logged.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from databom.errors import ConfigError, InputError, StorageError
from databom.hosts.dvc_yaml import FILE as DVC_FILE
from databom.hosts.dvc_yaml import stage_steps
from databom.hosts.git import Commit, commit_at
from databom.model.config import FILE as CONFIG_FILE
from databom.model.config import MAX_CONFIG_BYTES
from databom.model.digest import hex_of, sha256
from databom.model.finding import Finding, Severity, findings_of
from databom.model.lock import MAX_LOCK_BYTES, Lock, parse_lock
from databom.model.manifest import Manifest
from databom.model.reproduction import Plan
from databom.model.strictjson import MAX_DOCUMENT_BYTES
from databom.model.text import printable
from databom.model.trainings import COMPLETED
from databom.tasks.explained_data import Used, used_by
from databom.tasks.explaining import Case, digest_of
from databom.tasks.finding_receipts import notes_of
from databom.tasks.gatekeeping import Gatekeeper
from databom.tasks.project import LOCK_FILE
from databom.tasks.surroundings import freeze
from databom.tasks.use import MAX_STAGE_FILE_BYTES

UNANSWERED = "rerun.unanswered"
_STAGE = re.compile(r"[A-Za-z0-9_][^\s:\\;]{0,499}\Z")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
OPTION = re.compile(r"-(?:[bBEIOPRsSuvx]+|[WX]\S+)\Z")
"""Of the interpreter, before the script: those that bring no program of their own."""
_ISOLATES = re.compile(r"-(?![WX])[A-Za-z]*[EIP]")
"""Options that keep modules of the commit from being found."""
_MAX_FILE_BYTES = 64 * 1024 * 1024
_OWN_MODULE = (
    "modules of Python and of packages are not run: they may do whatever their arguments say. "
    "Train by a script or a module of the repository"
)


class Planning:
    """Reads one receipt and one commit; `findings` is what there is to say by then."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.findings: list[Finding] = list(case.found.receipt.findings)
        self.commit: Commit | None = None
        self.manifests: dict[str, Manifest] = {}
        """Of the pins."""
        self._folder = PurePosixPath()

    def plan(self) -> Plan | None:
        """What would be run; None where that cannot be told. The findings say whether it may be."""
        case = self._case
        if case.found.proved is None:
            self._warn("rerun.unlogged", case.found.where, "nothing shows that this receipt was in the log")
        status = str(case.definition["internalParameters"]["status"])
        if status != COMPLETED:
            self.stop("run", "the run did not complete, so it has no result", COMPLETED, status)
        if not self._find_commit():
            return None
        pins = tuple(self._pins())
        self._compare_environment()
        self._compare_files("config/", "rerun.config", "a config file of the run is another at the commit")
        plan = self._command()
        if plan is None or self.commit is None:
            return None
        argv, cwd, stage, steps = plan
        return Plan(self.commit.id, self._folder.as_posix(), argv, cwd, stage, steps, pins)

    # --- code ---------------------------------------------------------------------------------------

    def _find_commit(self) -> bool:
        code = self._case.dependency("code") or {}
        ident, notes = digest_of(code, "gitCommit"), notes_of(code)
        remote = printable(str(code.get("uri", "no remote")), 400).removeprefix("git+")
        if ident is None:
            self.stop("code", "the receipt names no commit", "a git commit", "none")
            return False
        self.commit = commit_at(self._case.place.root, ident)
        if self.commit is None:
            do = f"fetch it into this clone: {remote}"
            self.stop("code", "the commit of the run is not in this clone", ident, "no such commit", do)
            return False
        folder = notes.get("folder")
        if folder is not None:
            if not isinstance(folder, str) or not _is_below(folder):
                self.stop("code", "the receipt names a folder that is not below its repository")
                return False
            self._folder = PurePosixPath(folder)
        if self._read(CONFIG_FILE, MAX_CONFIG_BYTES) is None:
            self.stop("code", f"there is no {CONFIG_FILE} at the commit", CONFIG_FILE, "no such file")
            return False
        if notes.get("dirty") is not False:
            diff = notes.get("diff")
            self._warn(
                "rerun.dirty",
                ident,
                "what ran was not this commit: files differed from it, and they are not kept",
                "a clean work tree",
                f"files that differ, {printable(diff)}" if isinstance(diff, str) else "no digest of them",
                "commit before training; this runs the commit as it is",
            )
        return True

    def _read(self, path: str, limit: int) -> bytes | None:
        """A file of the project as it is at the commit; None where it is not, or is none."""
        return self._read_at(self._folder / path, limit)

    def _read_at(self, name: PurePosixPath, limit: int) -> bytes | None:
        """A file by its name below the top of the repository."""
        assert self.commit is not None
        try:
            return self.commit.read_named(name.as_posix(), limit)
        except ConfigError:
            return None

    # --- data ---------------------------------------------------------------------------------------

    def _pins(self) -> Iterator[tuple[str, str, str]]:
        raw = self._read(LOCK_FILE, MAX_LOCK_BYTES)
        try:
            lock = parse_lock(raw) if raw is not None else Lock()
        except InputError as error:
            self.stop("data", f"{LOCK_FILE} at the commit cannot be used: {error}")
            return
        used = used_by(self._case)
        if self._case.has_moved:
            self.stop("data", "the list of releases was moved out of the receipt, and is not here")
        elif not used:
            self.stop("data", "the receipt names no release")
        for one in used:
            if one.manifest is None:
                self.stop(one.name, "the receipt has no digest of this release")
                continue
            if self._is_pinned(one, lock):
                self._judge(one)
                if one.judged is not None and one.judged.manifest is not None:
                    self.manifests[one.name] = one.judged.manifest
            yield one.name, one.release, one.manifest

    def _is_pinned(self, one: Used, lock: Lock) -> bool:
        pin = lock.pins.get(one.name)
        if pin is None or pin.manifest != one.manifest:
            found = "no such pin" if pin is None else f"{pin.release}, {pin.manifest}"
            self._add(
                "release.mismatch",
                Severity.BLOCK,
                one.name,
                "the commit pins another release than the run used",
                f"{one.release}, {one.manifest}",
                printable(found, 400),
                "the lock was changed beside the commit: find the commit that has this pin",
            )
            return False
        if not _is_below(pin.path):
            self.stop(
                one.name, "its data lies outside of the project, where a work tree has no place of its own"
            )
            return False
        path = f"provenance/manifests/{one.name}.json"
        raw = self._read(path, MAX_DOCUMENT_BYTES)
        if raw is None or sha256(raw) != one.manifest:
            found = "no such file" if raw is None else sha256(raw)
            self.stop(one.name, f"the commit does not have the manifest ({path})", one.manifest, found)
            return False
        return True

    def _judge(self, one: Used) -> None:
        """What today's trust root and policy have against a release; then it is not fetched again."""
        case = self._case
        if one.judged is None:
            self.stop(one.name, "the manifest cannot be judged", one.manifest, "it cannot be read here")
            return
        try:
            keeper = Gatekeeper.of(case.place, one.name, one.judged, case.believed, case.now)
        except StorageError as error:
            self.findings += findings_of(error)
            return
        judged = keeper.documents(one.judged)
        doubts = (*judged.doubts, *judged.policy)
        known = {(found.code, found.subject, found.what) for found in self.findings}
        self.findings += [
            found
            for found in doubts
            if found.severity is Severity.BLOCK and (found.code, found.subject, found.what) not in known
        ]

    # --- environment and configuration ------------------------------------------------------------------

    def _compare_environment(self) -> None:
        noted = digest_of(self._case.dependency("environment") or {}, "sha256")
        here = hex_of(sha256(freeze()))
        if noted != here:
            self._warn(
                "rerun.environment",
                "environment",
                "the packages here are not those of the run",
                f"sha256:{noted}" if noted else "not noted",
                f"sha256:{here}",
                "environment.txt beside the receipt lists them",
            )
        self._compare_files(
            "environment/", "rerun.environment", "a lock file of the run is another at the commit"
        )

    def _compare_files(self, prefix: str, code: str, what: str) -> None:
        for one in self._case.dependencies:
            name, noted = str(one.get("name")), digest_of(one, "sha256")
            path = name.removeprefix(prefix)
            if not name.startswith(prefix) or not _is_below(path) or noted is None:
                continue
            raw = self._read(path, _MAX_FILE_BYTES)
            found = sha256(raw) if raw is not None else "no such file"
            if found != f"sha256:{noted}":
                self._warn(code, printable(path, 400), what, f"sha256:{noted}", found)

    # --- the command --------------------------------------------------------------------------------

    _Told = tuple[tuple[str, ...], str, str | None, tuple[tuple[str, tuple[str, ...]], ...]]

    def _command(self) -> _Told | None:
        stated = self._case.definition.get("externalParameters")
        stated = stated if isinstance(stated, dict) else {}
        folder = stated.get("folder", ".")
        if not isinstance(folder, str) or not (folder == "." or _is_below(folder)):
            self.stop("command", "the receipt names a folder that is not below the project")
            return None
        if (odd := self._is_led_astray(folder)) is not None:
            what = "the folder that it ran in is reached through something that is no folder"
            self.stop("command", what, "a folder of the project", odd)
            return None
        if isinstance(stage := stated.get("stage"), str):
            return self._stage(stage, stated, folder)
        command = stated.get("command")
        good = isinstance(command, list) and all(isinstance(one, str) and "\0" not in one for one in command)
        if not good or not isinstance(command, list) or command[:1] != ["python"]:
            self.stop("command", "it was no script of the project and no module, or none could be told")
            return None
        if stated.get("complete") is not True:
            told = printable(" ".join(command), 400)
            self.stop("command", "an argument of the command is not in the receipt", found=told)
            return None
        return self._program(command, folder)

    def _program(self, command: list[str], folder: str) -> _Told | None:
        """A script or a module of the commit, with the interpreter's options before it."""
        options = list(itertools.takewhile(OPTION.match, command[1:]))
        rest = command[1 + len(options) :]
        if rest[:1] == ["-m"]:
            if len(rest) < 2 or not self._has_module(rest[1], options, folder):
                what = "the module is no file of the commit, or would not be taken from it"
                self.stop(
                    "command",
                    what,
                    "a module of the repository",
                    printable(" ".join(command), 400),
                    _OWN_MODULE,
                )
                return None
            return (*options, *rest), folder, None, ()
        script = rest[0] if rest else ""
        if not _is_below(script) or self._read(script, _MAX_FILE_BYTES) is None:
            shown = printable(script, 400) or "none"
            self.stop("command", "the script is no file of the commit", "a script of the project", shown)
            return None
        return (*options, *rest), folder, None, ()

    def _has_module(self, name: str, options: list[str], folder: str) -> bool:
        """Whether `python -m` finds a module in the commit, before any other.

        Those of Python and of packages run what their arguments say (`timeit`, `pdb`): with them, whoever may sign
        receipts would have a shell.
        """
        assert self.commit is not None
        if _MODULE.match(name) is None or name.partition(".")[0] in sys.stdlib_module_names:
            return False
        if any(_ISOLATES.match(one) for one in options):
            return False
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        paths = (below_top(one, self.commit.top) for one in (*sys.path[1:], *given))
        roots = [self._folder / folder, *(one for one in paths if one is not None)]
        files = [
            PurePosixPath(*name.split(".")).with_suffix(".py"),
            PurePosixPath(*name.split("."), "__main__.py"),
        ]
        return any(
            self._read_at(root / file, _MAX_FILE_BYTES) is not None
            for root in dict.fromkeys(roots)
            for file in files
        )

    def _is_led_astray(self, folder: str) -> str | None:
        """What on the way to a folder of the project is a link, a file or a submodule at the commit."""
        assert self.commit is not None
        steps = [PurePosixPath(folder), *PurePosixPath(folder).parents]
        for step in reversed([one for one in steps if one.name]):
            try:
                kind = self.commit.kind((self._folder / step).as_posix())
            except ConfigError:
                kind = "not to be told"
            if kind is None:
                return None
            if kind != "folder":
                return f"{printable(step.as_posix(), 300)}, a {kind}"
        return None

    def _stage(self, stage: str, stated: Mapping[str, Any], folder: str) -> _Told | None:
        where, _, name = stage.rpartition(":")
        noted = stated.get("stageFile")
        # Receipts of before do not say where the file is: near to where the stage ran, or as DVC called it.
        files = (noted,) if isinstance(noted, str) else (where or f"{folder}/{DVC_FILE}", DVC_FILE)
        for file in dict.fromkeys(str(PurePosixPath(one)) for one in files):
            raw = self._read(file, MAX_STAGE_FILE_BYTES) if _is_below(file) else None
            if raw is None or file.startswith("-") or _STAGE.match(name) is None:
                continue
            try:
                steps = stage_steps(raw.decode(), name)
            except (ConfigError, UnicodeDecodeError):
                continue
            # Forced, and nothing out of a cache: what was made before would show nothing.
            argv = ("-m", "dvc", "repro", "--force", "--no-run-cache", f"{file}:{name}")
            return argv, ".", name, tuple(steps)
        self.stop(
            "command", f"no {DVC_FILE} of the commit has the stage", printable(stage, 400), "no such stage"
        )
        return None

    # --- saying so ------------------------------------------------------------------------------------

    def stop(
        self,
        subject: str,
        what: str,
        expected: str | None = None,
        found: str | None = None,
        do: str | None = None,
    ) -> None:
        """Say why nothing can be run."""
        self._add(UNANSWERED, Severity.BLOCK, subject, what, expected, found, do)

    def _warn(
        self,
        code: str,
        subject: str,
        what: str,
        expected: str | None = None,
        found: str | None = None,
        do: str | None = None,
    ) -> None:
        self._add(code, Severity.WARN, subject, what, expected, found, do)

    def _add(
        self,
        code: str,
        severity: Severity,
        subject: str,
        what: str,
        expected: str | None,
        found: str | None,
        do: str | None,
    ) -> None:
        self.findings.append(Finding(code, severity, printable(subject, 400), what, expected, found, do))


def below_top(folder: str, top: Path) -> PurePosixPath | None:
    """Where below the top of a work tree a folder is that modules are imported from; None for one elsewhere."""
    if not os.path.isabs(folder):  # noqa: PTH117
        return None
    real = Path(os.path.realpath(folder))
    return PurePosixPath(real.relative_to(top)) if real.is_relative_to(top) else None


def _is_below(path: str) -> bool:
    """Whether a path is a plain one below wherever it is meant to be; `git` itself is no part of a project."""
    parts = PurePosixPath(path).parts
    plain = bool(parts) and not path.startswith("/") and "\0" not in path and "\\" not in path
    return plain and not {"..", ".git"} & {part.lower() for part in parts}
