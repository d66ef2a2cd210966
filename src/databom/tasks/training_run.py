"""`with databom.training("name") as run:`: a receipt for a training that no tracking server sees.

    with databom.training("cats") as run:
        run.config("params.yaml")
        run.params["depth"] = 3
        ...
        run.metrics["accuracy"] = 0.93
        run.produced("models/cats.pkl")
    print(run.receipt)

The intent is written before the block begins, the receipt when it ends, however it ends: `completed`, `failed` where an
exception left it, `aborted` where somebody stopped it. A process that is killed writes nothing; its run is closed as
aborted by the next one. Of the processes of one training only the first (rank 0) writes, and a forked child never does.

What breaks here is a warning and never an exception: the block ends as it would without databom.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from databom.errors import ConfigError, DatabomError
from databom.model.trainings import ABORTED, COMPLETED, FAILED, Told
from databom.tasks import intents
from databom.tasks.project import Project

if TYPE_CHECKING:
    from databom.tasks.evidence import RunEvidence
    from databom.tasks.surroundings import Surroundings

_logger = logging.getLogger("databom")

PATIENCE_SECONDS = 2.0
"""How long the end waits for what is looked at in the background."""
LEDGER_PATIENCE_SECONDS = 10.0


def training(name: str, *, project: Path | str | None = None, enforce: bool | None = None) -> TrainingRun:
    """A block that leaves a signed receipt in the project's log.

    Args:
        name: what the training is called; it is in the receipt.
        project: the project's folder; by default the one around the working directory.
        enforce: whether the gate is asked first, and the block not entered on data that fails it; by default what
            `mlflow.mode` in `databom.toml` says.

    Raises:
        ConfigError: on entering: no project, no pins, a name that cannot be shown.
        CheckFailed: on entering, where the gate is asked and refuses.
        StorageError: on entering: the beginning cannot be written down.
    """
    return TrainingRun(name, project, enforce)


class TrainingRun:
    """One run of `training`."""

    def __init__(self, name: str, project: Path | str | None, enforce: bool | None) -> None:
        self.name = name
        self.id = secrets.token_hex(16)
        self.params: dict[str, Any] = {}
        """Hyperparameters; only their digest is in the receipt."""
        self.metrics: dict[str, float] = {}
        self.receipt: Path | None = None
        """After the block: the receipt's file. None where this process writes none, or it is not signed yet."""
        self.verdict: str | None = None
        """After the block: of the data, as far as it was checked by then."""
        self._project = project
        self._enforce = enforce
        self._told = Told()
        self._intent: intents.Intent | None = None
        self._look: _Look | None = None
        self._place: Project | None = None
        self._pid = 0

    # --- what the training says ---------------------------------------------------------------------

    def produced(self, *paths: Path | str) -> None:
        """Files or folders that the training made: they are hashed now. A folder is one model, and its files are named.

        Raises:
            ConfigError: there is nothing at one of the paths, or it cannot be read.
        """
        from databom.tasks.outputs import subjects

        for path in map(Path, paths):
            name = self._shown(path)
            parent = name.rpartition("/")[0]
            try:
                is_folder = path.is_dir()
                if not is_folder and not path.is_file():
                    raise FileNotFoundError
                self._told.made(subjects(name if is_folder else parent, path, is_model=True))
            except OSError as error:
                raise ConfigError(
                    f"run.produced: {name} cannot be read ({error.strerror or 'there is no such file'})"
                ) from error

    def config(self, *paths: Path | str) -> None:
        """Files that configured the training: each is named with its digest.

        Raises:
            ConfigError: one of them cannot be read.
        """
        from databom.tasks.outputs import hash_files

        for path in map(Path, paths):
            try:
                if path.is_dir():
                    raise IsADirectoryError
                self._told.config[self._shown(path)] = hash_files(path)[0].sha256
            except OSError as error:
                raise ConfigError(
                    f"run.config: {self._shown(path)} cannot be read ({error.strerror or 'it is no file'})"
                ) from error

    def _shown(self, path: Path) -> str:
        """A path below the project, or for one elsewhere its last part: no receipt tells where on a machine it was."""
        assert self._place is not None, "inside of the with block"
        real, root = Path(os.path.abspath(path)), self._place.root  # noqa: PTH100  # lexical
        return real.relative_to(root).as_posix() if real.is_relative_to(root) else real.name

    # --- the block ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        from msgspec import to_builtins

        if not self.name or not self.name.isprintable() or len(self.name) > 200:
            raise ConfigError("training: a name has 1 to 200 characters that can be printed")
        if self._pid:
            raise ConfigError("training: a run is entered once", hint='write `with databom.training("name")`')
        place = Project.load(self._project)
        place.names(())
        enforce = place.config.mlflow_mode == "enforce" if self._enforce is None else self._enforce
        if enforce:
            from databom.tasks.gating import gate

            gate(project=place.root).require()
        self._place, self._pid = place, os.getpid()
        if intents.is_first_rank():
            pins = {name: to_builtins(pin) for name, pin in place.lock.pins.items()}
            self._intent = intents.begin(place.root, f"databom:{self.id}", pins=pins)
            self._look = _Look(place.root)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        intent, self._intent = self._intent, None
        if intent is None or os.getpid() != self._pid:
            return
        try:
            self._close(intent, _status(error))
        except Exception as problem:  # noqa: BLE001  # the training ends as it would without databom
            said = str(problem) if isinstance(problem, DatabomError) else type(problem).__name__
            _logger.warning("databom: the receipt of %s could not be written: %s", self.name, said)

    def _close(self, intent: intents.Intent, status: str) -> None:
        from databom import __version__
        from databom.tasks import receipts
        from databom.tasks.receipt_ledger import ledger_of
        from databom.tasks.receipting import REPORT_FILE, compose
        from databom.tasks.surroundings import started_by
        from databom.tasks.use import snapshot

        assert self._place is not None
        assert self._look is not None
        root = self._place.root
        evidence, around = self._look.answer(PATIENCE_SECONDS)
        evidence = evidence.used(snapshot(root)) if evidence is not None else None
        report = evidence.report(self.id) if evidence is not None else None
        self.verdict = evidence.verdict if evidence is not None else "unverified"
        self._told.params.update(self.params)
        self._told.metrics.update({name: float(value) for name, value in self.metrics.items()})
        pins: dict[str, Mapping[str, Any]] = {}
        training, attached = compose(
            intent.run,
            status,
            self._told,
            started=intent.started,
            verdict=self.verdict,
            version=__version__,
            evidence=evidence,
            around=around,
            pins=pins,
            report=report,
            parameters={"name": self.name, **started_by(root)},
        )
        if report is not None:
            attached[REPORT_FILE] = report
        receipts.close(root, intent, training, attached)
        settled = receipts.settle(root, ledger_of(root), only=intent.id, patience=LEDGER_PATIENCE_SECONDS)
        if settled.waiting:
            receipts.free(root, intent.id)
            _logger.warning(
                "databom: the receipt of %s is kept, and not in the log yet: %s; `databom log flush` tries again",
                self.name,
                settled.waiting[0],
            )
        if settled.ready:
            self.receipt = settled.ready[0].path

    def __repr__(self) -> str:
        return f"<databom training {self.name!r} {self.id[:12]}>"


def _status(error: BaseException | None) -> str:
    """How a block ended that this exception left."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return COMPLETED
    return FAILED if isinstance(error, Exception | SystemExit) else ABORTED


class _Look:
    """The data and the surroundings, looked at in the background while the training runs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._evidence: RunEvidence | None = None
        self._around: Surroundings | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="databom-training", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        from databom.tasks.evidence import for_run
        from databom.tasks.receipt_ledger import ledger_of
        from databom.tasks.receipts import settle
        from databom.tasks.surroundings import surroundings

        try:
            self._evidence = for_run(self._root)
            self._evidence = self._evidence.compared(stop=self._is_over.is_set)
            self._around = surroundings(self._evidence)
        except Exception:  # the receipt says what could not be told
            _logger.debug("databom: could not look at the project", exc_info=True)
        finally:
            self._is_over.set()
        try:
            settle(self._root, ledger_of(self._root), patience=0.0)  # what earlier runs left
        except Exception:  # the next run tries again
            _logger.debug("databom: could not settle earlier receipts", exc_info=True)

    def answer(self, seconds: float) -> tuple[RunEvidence | None, Surroundings | None]:
        """What is known by now, after `seconds` at most."""
        self._is_over.wait(seconds)
        self._is_over.set()
        return self._evidence, self._around
