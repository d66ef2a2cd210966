"""What a run tells its tracking server, heard in passing: params, metrics, artifacts, models.

In this process and from the calls themselves, not from the server afterwards: a receipt must be made when the server is
down, and must not repeat what a server says. What another process logs to the same run is in that process's receipt or
in none.

Files are hashed by a thread of their own while MLflow uploads them. All the uploads of a run are held up for one second
together, of the run's budget; what is not hashed by then goes on, and what is not by the run's
end the receipt says is unknown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from databom.mlflow.budget import Budget
from databom.model.trainings import Told

MAX_KEYS = 10_000
MAX_OUTPUTS = 200_000
HASH_PATIENCE_SECONDS = 1.0
"""How much longer than their uploads the hashes of a run may take; hashing is faster than any network."""


class Telling:
    """One run's `Told` in the making. Every method may be called from any thread, and is quick."""

    def __init__(self, budget: Budget) -> None:
        self._told = Told()
        self._steps: dict[str, tuple[int, int]] = {}
        self._models: dict[str, None] = {}
        self._hashing = 0
        self._lock = threading.Lock()
        self._budget = budget
        self._patience = HASH_PATIENCE_SECONDS

    def params(self, items: Iterable[tuple[Any, Any]]) -> None:
        """Params that were logged."""
        with self._lock:
            for key, value in items:
                if len(self._told.params) < MAX_KEYS or key in self._told.params:
                    self._told.params[str(key)] = str(value)
                else:
                    self._told.missed.add("params")

    def metrics(self, items: Iterable[tuple[Any, Any, Any, Any]]) -> None:
        """Metrics that were logged: key, value, step, timestamp. The latest step counts, as it does at the server."""
        with self._lock:
            for key, value, step, timestamp in items:
                place = (int(step or 0), int(timestamp or 0))
                if key not in self._steps and len(self._steps) >= MAX_KEYS:
                    self._told.missed.add("metrics")
                elif place >= self._steps.get(key, place):
                    self._steps[str(key)] = place
                    self._told.metrics[str(key)] = float(value)

    def model(self, model_id: str) -> None:
        """A logged model of the run."""
        with self._lock:
            self._models[model_id] = None

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of the run's logged models."""
        with self._lock:
            return tuple(self._models)

    def missed(self, what: str) -> None:
        """Something could not be looked at."""
        with self._lock:
            self._told.missed.add(what)

    def wait(self, thread: threading.Thread) -> None:
        """Wait for a thread that hashes what may still be waited for hashes."""
        began = time.monotonic()
        with self._budget.spending(self._patience) as deadline:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._patience = max(0.0, self._patience - (time.monotonic() - began))

    def hashing(self, change: int) -> None:
        """So many more uploads are being hashed, or fewer."""
        with self._lock:
            self._hashing += change

    def made(self, found: Iterable[Mapping[str, Any]]) -> None:
        """Outputs that were hashed."""
        with self._lock:
            for one in found:
                if len(self._told.outputs) < MAX_OUTPUTS:
                    self._told.outputs[one["name"]] = dict(one)
                else:
                    self._told.missed.add("outputs")

    def told(self) -> Told:
        """A copy of all that was heard by now."""
        with self._lock:
            one = self._told
            missed = one.missed | ({"outputs"} if self._hashing > 0 else set())
            return Told(dict(one.params), dict(one.metrics), dict(one.config), dict(one.outputs), missed)


class Hashing:
    """Files that are being uploaded, and hashed meanwhile. Whichever ends last notes them."""

    def __init__(self, telling: Telling, prefix: str, place: str) -> None:
        self._telling = telling
        self._prefix = prefix
        self._place = place
        self._found: list[dict[str, Any]] | None = None
        self._is_hashed = False
        self._uploaded: bool | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="databom-hashing", daemon=True)

    def start(self) -> Hashing:
        """Begin.

        Raises:
            RuntimeError: no thread can be started.
        """
        self._thread.start()
        self._telling.hashing(1)
        return self

    def _run(self) -> None:
        found = None
        try:
            from databom.tasks.outputs import subjects

            found = subjects(self._prefix, Path(self._place))
        except BaseException:  # noqa: BLE001  # a thread of ours: the receipt says that they are unknown
            found = None
        with self._lock:
            self._found, self._is_hashed = found, True
            self._note()

    def finish(self, *, uploaded: bool) -> None:
        """The upload has ended: wait for the hash for as long as the run may still be made to wait."""
        self._telling.wait(self._thread)
        with self._lock:
            self._uploaded = uploaded
            self._note()

    def _note(self) -> None:
        if not self._is_hashed or self._uploaded is None:
            return
        self._telling.hashing(-1)
        if self._found is None:
            self._telling.missed("outputs")
        elif self._uploaded:
            self._telling.made(self._found)
