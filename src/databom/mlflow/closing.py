"""One run's receipt: the intent at its start, its closing at the end, signature and log in a thread nobody waits for.

    begin     the intent, durable before `start_run` returns
    close     all there is to say, durable; from here on it is the same, whoever goes on
    settle    signature and log, in the background; the run's end waits for what is left of its budget

Whatever was not done in time is done later: by the next run, or by `databom log flush`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from databom.mlflow import warn
from databom.mlflow.background import Background
from databom.mlflow.budget import Budget
from databom.mlflow.place import Place
from databom.mlflow.telling import Telling
from databom.model.trainings import ABORTED, BOM_FILE, COMPLETED, FAILED

if TYPE_CHECKING:
    from databom.mlflow.gathering import Gathering
    from databom.tasks.evidence import RunEvidence
    from databom.tasks.intents import Intent
    from databom.tasks.receipts import Ready

STATUSES = {"FINISHED": COMPLETED, "FAILED": FAILED, "KILLED": ABORTED}
PATIENCE_SECONDS = 5.0
"""How long the thread waits for another process that signs and logs in this project."""
STUCK_SECONDS = 1.0
"""After how long a signature or an entry of the log is one that does not come."""
AROUND_SECONDS = 1.0
"""How long a run's end waits for code and environment to be known, at most."""


class Closing:
    """The receipt of one run, from its intent to its files."""

    def __init__(self, here: Place, run_id: str, tracking: str, ledgers: Background, budget: Budget) -> None:
        self.telling = Telling(budget)
        self.documents: Mapping[str, bytes] = {}
        """What the receipt names by digest, once the run is closed."""
        self._here = here
        self._run = f"mlflow:{run_id}"
        self._tracking = tracking
        self._ledgers = ledgers
        self._intent: Intent | None = None
        self._earlier: str | None = None
        self._ready: Ready | None = None
        self._late: Callable[[Ready], None] | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()

    def begin(self, earlier: str | None) -> None:
        """Write the intent down.

        Args:
            earlier: the digest of the receipt that a resumed run carries.

        Raises:
            DatabomError: it cannot be written; then there will be no receipt.
        """
        from databom.tasks import intents

        if not intents.is_first_rank():
            return
        self._earlier = earlier
        self._intent = intents.begin(
            Path(self._here.root), self._run, pins=self._here.pins, tracking=self._tracking
        )

    @property
    def is_begun(self) -> bool:
        """Whether there will be a receipt."""
        return self._intent is not None

    def close(
        self,
        status: str | None,
        verdict: str,
        evidence: RunEvidence | None,
        gathering: Gathering,
        files: Mapping[str, bytes],
        deadline: float,
        *,
        attach: bool,
    ) -> bool:
        """Close the run, and have it signed and logged in the background; whether there is something to wait for.

        Raises:
            DatabomError: it could not be written down.
        """
        from databom import __version__
        from databom.tasks import receipts
        from databom.tasks.evidence import FOLDER
        from databom.tasks.receipting import compose
        from databom.tasks.surroundings import started_by

        intent, self._intent = self._intent, None
        if intent is None:
            return False
        root = Path(self._here.root)
        gathering.wait_around(min(AROUND_SECONDS, deadline - time.monotonic()))
        training, attached = compose(
            self._run,
            STATUSES.get(status or "FINISHED", COMPLETED),
            self.telling.told(),
            started=intent.started,
            verdict=verdict,
            version=__version__,
            evidence=evidence,
            around=gathering.around,
            pins=self._here.pins,
            report=files.get(f"{FOLDER}/report.json"),
            bom=files.get(f"{FOLDER}/{BOM_FILE}"),
            parameters=started_by(root),
        )
        is_first = receipts.close(
            root,
            intent,
            training,
            attached,
            bom=files.get(f"{FOLDER}/{BOM_FILE}"),
            models=self.telling.models,
            earlier=self._earlier,
            attach=attach,
        )
        if not is_first:
            return False
        self.documents = attached
        try:
            self._ledgers.submit(lambda: self._settle(root, intent.id))
        except RuntimeError:  # the interpreter shuts down
            receipts.free(root, intent.id)
            return False
        return True

    def wait(self, seconds: float, late: Callable[[Ready], None]) -> Ready | None:
        """The receipt, if it is signed within `seconds`; else None, and `late` is called with it once it is.

        A log that an earlier run has waited for in vain, and which still does not answer, is not waited for again.
        """
        self._done.wait(0.0 if self._ledgers.is_stuck(STUCK_SECONDS) else max(0.0, seconds))
        with self._lock:
            if self._done.is_set():
                return self._ready
            self._late = late
            return None

    def _settle(self, root: Path, ident: str) -> None:
        """A job of the ledgers' thread."""
        ready = None
        try:
            ready = settle_one(root, ident)
        finally:
            with self._lock:
                self._ready = ready
                self._done.set()
                late = self._late
            if late is not None and ready is not None:
                late(ready)


def settle_one(root: Path, ident: str) -> Ready | None:
    """Sign and log one ending; what cannot be is left to others, and said once. Never raises."""
    from databom.errors import DatabomError
    from databom.tasks import receipts
    from databom.tasks.receipt_ledger import ledger_of

    try:
        settled = receipts.settle(root, ledger_of(root), only=ident, patience=PATIENCE_SECONDS)
    except DatabomError as error:
        receipts.free(root, ident)
        _say(str(error))
        return None
    except BaseException as error:  # noqa: BLE001  # a thread of ours: the run goes on
        receipts.free(root, ident)
        _say(type(error).__name__)
        return None
    ready = settled.ready[0] if settled.ready else None
    if ready is None or not ready.is_logged:
        receipts.free(root, ident)
        _say(*settled.waiting)
    return ready


def _say(*why: str) -> None:
    for one in why:
        warn.once(
            f"the receipt of a run is not in the log yet: {one}. It is kept; `databom log flush` tries again. "
            "The run itself is not affected"
        )


def crashed(status: str | None, *, at_exit: bool) -> str | None:
    """The status of a run that MLflow ends by itself at the interpreter's end: FAILED where an exception caused that.

    MLflow calls such a run FINISHED (mlflow issue 3932).
    """
    if at_exit and status in (None, "FINISHED") and getattr(sys, "last_value", None) is not None:
        return "FAILED"
    return status


def digest_tag(tags: Mapping[str, Any]) -> str | None:
    """The receipt that a run's tags name: a pointer, and never more."""
    value = tags.get("databom.receipt")
    return value if isinstance(value, str) else None
