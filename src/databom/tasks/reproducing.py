"""`databom reproduce`: run a training again as its receipt says, and say whether the same models come out.

In this order:

1. the receipt: in the log, kept here, handed out by the tracking server, or a file; verified under the trust root in
   force. Nothing is run for one that is not believed (docs/adr/0024);
2. the plan, and what is in the way (`databom.tasks.reproducing_plan`): all of it is said before anything is run, and
   without `yes` that is the answer;
3. the commit in a work tree of its own, its releases fetched and verified there (`databom.tasks.syncing`), its DVC
   stage or command run (`databom.tasks.reproducing_run`);
4. what that made, compared by file and by weights (`databom.tasks.reproducing_outputs`).

The user's checkout, index, branches and stash are left alone; the work tree is removed, however this ends, unless a
place for it was named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.receipt import Receipt, check_receipt
from databom.errors import ConfigError, StorageError
from databom.hosts.git import Commit
from databom.hosts.worktree import worktree
from databom.model import times
from databom.model.finding import Finding, Report, Severity, Subject
from databom.model.reproduction import Plan, Reproduction
from databom.model.text import printable
from databom.model.trainings import DEPENDENCIES_FILE, RECEIPT_FILE, SUBJECTS_FILE
from databom.storage import files
from databom.tasks import receipts, reproducing_run
from databom.tasks.explaining import Case, case_of, runs_called, trusted
from databom.tasks.finding_receipts import Found, Search, whole
from databom.tasks.progress import Progress
from databom.tasks.project import Project
from databom.tasks.reproducing_outputs import closest, doubts, made_by, params_of, run_of
from databom.tasks.reproducing_plan import Planning
from databom.tasks.syncing import sync_unheard
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.root import TrustRoot

Shown = Callable[[Reproduction], None]


def reproduce(
    target: str | Path,
    *,
    yes: bool = False,
    keep: Path | str | None = None,
    timeout: float | None = None,
    tracking_uri: str | None = None,
    strict: bool = False,
    project: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
    shown: Shown | None = None,
    output: IO[bytes] | int | None = None,
) -> Reproduction:
    """Run a training again as its receipt says, and compare the models.

    Args:
        target: a run's id (of MLflow, or of `databom.training`), or the file of a receipt.
        yes: whether to run it; else the answer is the plan and what is in the way, and `unanswered`.
        keep: a folder for the work tree, which then stays; by default a temporary one.
        timeout: seconds after which the program is ended; by default it has all the time that it takes.
        tracking_uri: where the second run tracks to; by default a store in its work tree.
        strict: whether a warning blocks, also before anything is run.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: hears of the fetching.
        shown: is called with the plan before anything is run.
        output: where the program's output goes; by default to this process's standard error.

    Returns:
        `pass` where every model of the run came out with the same weights.

    Raises:
        ConfigError: no project, no trust root, the log has no name, another form of target, `keep` is taken.
        StorageError: no receipt that is believed was found; the log cannot be read or believed; the commit cannot be
            checked out.
    """
    place = Project.load(project)
    now = times.or_now(now)
    believed, root = trusted(place)
    named = _named(target, root)
    if isinstance(named, _File) and not named.receipt.is_believed:
        report = Report(Subject(), named.receipt.findings, trust=root.digest, about="receipt")
        return Reproduction("receipt", named.receipt.digest, named.shown, report)
    runs = (run_of(named.receipt.statement),) if isinstance(named, _File) else named
    search = Search(place, root, runs, now)
    found = named.found(search) if isinstance(named, _File) else None
    case = case_of(place, believed, search, now, found)
    again = _Again(case, root, strict)
    if again.is_ready(yes=yes) and again.plan is not None and again.planning.commit is not None:
        if shown is not None:
            shown(again.answer())
        again.run(
            again.plan,
            again.planning.commit,
            keep=Path(keep) if keep is not None else None,
            timeout=timeout,
            tracking_uri=tracking_uri,
            progress=progress,
            output=output if output is not None else 2,
        )
    return again.answer()


class _File(Struct, frozen=True):
    """A receipt that somebody names by its file."""

    receipt: Receipt
    shown: str
    documents: dict[str, bytes]

    def found(self, search: Search) -> Found:
        """The receipt as the search would give it, with what shows that it was in the log."""
        run = run_of(self.receipt.statement)
        logged = search.here()
        if logged is not None and logged.receipt.digest == self.receipt.digest:
            return replace(logged, beside={**logged.beside, **self.documents})
        hinted = search.hinted(self.shown, run, self.documents)
        if hinted is None:
            raise StorageError(
                f"{self.shown} is no receipt that a log could have", hint="ask for the one in the log"
            )
        return hinted


def _named(target: str | Path, root: TrustRoot) -> _File | tuple[str, ...]:
    text = str(target)
    if isinstance(target, str) and "/" not in text and not text.endswith(".json"):
        if (runs := runs_called(text)) is None:
            raise ConfigError(
                f"{printable(text)} is no run's id and no receipt",
                hint="use RUN_ID, or the path of a receipt.dsse.json",
            )
        return runs
    path = Path(target)
    documents = {
        **receipts.documents_beside(path),
        RECEIPT_FILE: files.read_bounded(path, MAX_ENVELOPE_BYTES),
    }
    lists = {name: documents[name] for name in (SUBJECTS_FILE, DEPENDENCIES_FILE) if name in documents}
    return _File(check_receipt(documents[RECEIPT_FILE], root, lists), printable(text, 400), documents)


@dataclass(slots=True)
class _Again:
    """One reproduction, as far as it has come."""

    case: Case
    root: TrustRoot
    strict: bool
    planning: Planning = field(init=False)
    plan: Plan | None = field(init=False)
    found: Reproduction = field(init=False)

    def __post_init__(self) -> None:
        self.planning = Planning(self.case)
        self.plan = self.planning.plan()
        one = self.case.found
        self.found = Reproduction(
            run=one.run,
            receipt=one.receipt.digest,
            where=one.where,
            report=Report(Subject(one.run), trust=self.root.digest, about=one.run),
            plan=self.plan,
            keyids=one.receipt.keyids,
        )

    def answer(self) -> Reproduction:
        """What there is to say by now."""
        report = replace(self.found.report, findings=tuple(self.planning.findings))
        return replace(self.found, report=report.strict() if self.strict else report)

    def is_ready(self, *, yes: bool) -> bool:
        """Whether nothing is in the way, and somebody said yes."""
        made = made_by(self.case.found.run, self.case.subjects)
        if made is None or not made[0]:
            what = "the list of what the run made is not here" if made is None else "the run made nothing"
            self.planning.stop("models", f"{what}: there is nothing to compare with")
        if not self.answer().report.blocking and not yes:
            self.planning.stop(
                "--yes", "nothing was run: this is what would be", do="databom reproduce … --yes runs it"
            )
        return not self.answer().report.blocking

    def run(
        self,
        plan: Plan,
        commit: Commit,
        *,
        keep: Path | None,
        timeout: float | None,
        tracking_uri: str | None,
        progress: Progress | None,
        output: IO[bytes] | int,
    ) -> None:
        """Steps 3 and 4."""
        with worktree(commit, keep) as tree:
            if keep is not None:
                self.found = replace(self.found, kept=printable(str(tree), 1_000))
            project = tree / plan.folder
            reproducing_run.forget_state(project)
            reproducing_run.believe_as_today(self.case.place, project)
            if not self._sync(plan, project, progress):
                return
            env = reproducing_run.environment(commit.top, tree, project, tracking_uri)
            if plan.stage is not None:
                reproducing_run.fill_dvc(self.case.place, tree, project, env, timeout)
            argv, cwd = reproducing_run.command_of(plan, project), reproducing_run.folder_of(plan, project)
            self.found = replace(self.found, ran=True)
            code = reproducing_run.run(argv, cwd, env, timeout, output)
            if code != 0:
                told = "its time was over" if code is None else f"exit {code}"
                self.planning.stop(
                    "command", "the command did not end well, so there is no result", "exit 0", told
                )
            else:
                self._compare(project)

    def _sync(self, plan: Plan, project: Path, progress: Progress | None) -> bool:
        """Step 3: the releases, byte for byte those of the run: what is here is copied, what is not is fetched."""
        names = tuple(name for name, _, _ in plan.pins)
        for name in names:
            reproducing_run.bring(self.case.place, project, name, self.planning.manifests[name].assets)
        for report in sync_unheard(names, project, now=self.case.now, progress=progress):
            self.planning.findings += [
                replace(one, subject=f"{report.subject.name}: {one.subject}" if one.subject else None)
                for one in report.blocking
            ]
        return not self.answer().report.blocking

    def _compare(self, project: Path) -> None:
        """Step 4."""
        expected = made_by(self.case.found.run, self.case.subjects)
        assert expected is not None, "asked before anything was run"
        waiting = receipts.waiting(project)
        params = params_of(self.case.found.receipt.statement)
        best = closest(
            expected,
            params,
            [statement for statement, _ in waiting],
            [whole(statement["subject"], SUBJECTS_FILE, beside) for statement, beside in waiting],
        )
        if best is None:
            what = "the second run left no record of what it made: no run of MLflow and no databom.training"
            self.planning.stop("models", what)
            return
        ending, outputs = best
        self.found = replace(self.found, outputs=outputs, again=run_of(ending))
        self.planning.findings += doubts(outputs)
        if (found := params_of(ending)) != params:
            what = "the second run stated other params, or named other config files"
            self.planning.findings.append(
                Finding(
                    "rerun.config",
                    Severity.WARN,
                    "params",
                    what,
                    f"sha256:{params}" if params else "none",
                    f"sha256:{found}" if found else "none",
                )
            )
