"""What a run tells its tracking server, heard in passing: params, metrics, artifacts, models.

In this process and from the calls themselves, not from the server afterwards: a receipt must be made when the server is
down, and must not repeat what a server says. What another process logs to the same run is in that process's receipt or
in none.

Files are hashed by a thread of their own while MLflow uploads them; the call that uploads is held up for what is left,
and at most for two seconds. What was not hashed by then, or changed in between, the receipt names as unknown.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from databom.model.trainings import Told

MAX_KEYS = 10_000
MAX_OUTPUTS = 200_000
HASH_PATIENCE_SECONDS = 2.0
"""How much longer than its upload a file's hash may take; hashing is faster than any network."""


class Telling:
    """One run's `Told` in the making. Every method may be called from any thread, and is quick."""

    def __init__(self) -> None:
        self._told = Told()
        self._steps: dict[str, tuple[int, int]] = {}
        self._models: dict[str, None] = {}
        self._lock = threading.Lock()

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
            return Told(
                dict(one.params), dict(one.metrics), dict(one.config), dict(one.outputs), set(one.missed)
            )


class Hashing:
    """Files that are being uploaded, and hashed meanwhile."""

    def __init__(self, telling: Telling, prefix: str, place: str) -> None:
        self._telling = telling
        self._prefix = prefix
        self._place = place
        self._found: list[dict[str, Any]] | None = None
        self._thread = threading.Thread(target=self._run, name="databom-hashing", daemon=True)

    def start(self) -> Hashing:
        """Begin.

        Raises:
            RuntimeError: no thread can be started.
        """
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            from databom.tasks.outputs import subjects

            self._found = subjects(self._prefix, Path(self._place))
        except Exception:  # noqa: BLE001  # the receipt says that they are unknown
            self._found = None

    def finish(self, *, uploaded: bool) -> None:
        """The upload has ended: note what was hashed, or that it was not."""
        self._thread.join(HASH_PATIENCE_SECONDS)
        found = None if self._thread.is_alive() else self._found
        if found is None:
            self._telling.missed("outputs")
        elif uploaded:
            self._telling.made(found)
