"""Thin wraps around MLflow's classes: where a run is created, resumed, fed, ended, a model registered; what it tells.

Class methods, not module functions: every way to begin a run passes through them, also an early-bound
`from mlflow import start_run`, Lightning's bare client and the children of a grid search. Not MLflow's own
`safe_patch`: it is skipped under `disable_autologging()`, one failing patch silences the later ones, and it swallows
every exception, so it could never refuse a run.

| wrap | why |
|---|---|
| `MlflowClient.create_run` | every new run; the only place where a run can be refused before it exists |
| `fluent.ActiveRun.__init__` | the only class-level point a *resumed* run passes |
| `MlflowClient.get_run` | what a run's status was before MLflow resumed it, to put it back when it is refused |
| `MlflowClient.log_inputs` | which datasets the run's own code logs |
| `MlflowClient.set_terminated`, `.update_run` | the end |
| `MlflowClient._create_model_version` | every registration of a model; an MLflow without it goes without |
| `MlflowClient.log_param`, `.log_metric`, `.log_batch` | what the receipt digests; every fluent call passes here |
| `MlflowClient.log_artifact`, `.log_artifacts` | files, hashed where they are before they are gone |
| `MlflowClient.log_outputs`, `.log_model_artifacts` | logged models (MLflow 3): whose they are, and their files |

The wraps decide nothing: they call `runs` and MLflow, in an order in which neither can keep the other from running.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from databom._forks import ForkLock
from databom.errors import DatabomError
from databom.mlflow import runs, warn

_MARK = "__databom_wrap__"
_REGISTER = "_create_model_version"
_TERMINAL = ("FINISHED", "FAILED", "KILLED")
_lock = ForkLock()


def install() -> bool:
    """Put the wraps in place, once; False when MLflow is not (wholly) imported."""
    client_class = getattr(sys.modules.get("mlflow.tracking.client"), "MlflowClient", None)
    active_run_class = getattr(sys.modules.get("mlflow.tracking.fluent"), "ActiveRun", None)
    if client_class is None or active_run_class is None:
        return False
    with _lock:
        if hasattr(client_class.create_run, _MARK):
            return True
        runs.prepare()
        wanted: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
            (active_run_class, "__init__", _active_run),
            (client_class, "get_run", _get_run),
            (client_class, "log_inputs", _log_inputs),
            (client_class, "update_run", _update_run),
            (client_class, "set_terminated", _set_terminated),
            (client_class, _REGISTER, _create_model_version),
            (client_class, "create_run", _create_run),  # last: it is the mark of a whole installation
        )
        # All or nothing: an MLflow that lacks one of them fails here, before any is replaced.
        wanted = tuple(one for one in wanted if one[1] != _REGISTER or hasattr(client_class, _REGISTER))
        found = [(o, n, getattr(o, n), w) for o, n, w in wanted]
        heard = [(client_class, n, getattr(client_class, n, None), w) for n, w in _HEARD.items()]
        for owner, name, original, wrap in [*(one for one in heard if one[2] is not None), *found]:
            wrapped = functools.wraps(original)(wrap(original))
            setattr(wrapped, _MARK, original)
            setattr(owner, name, wrapped)
    return True


@contextlib.contextmanager
def _harmless(*, may_refuse: bool = False) -> Iterator[None]:
    """Let nothing of ours through but a Ctrl-C and, where it may be, what refuses a run.

    `runs` sees to that itself; this is the net below it.
    """
    try:
        yield
    except Exception as error:  # the hook must not hurt the run
        if may_refuse and isinstance(error, DatabomError):
            raise
        with contextlib.suppress(Exception):  # no memory for saying so either
            warn.once("a hook of databom failed; the run is not affected, its evidence may be incomplete")


def _create_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_run(self: Any, *args: Any, **kwargs: Any) -> Any:
        ticket = None
        with _harmless(may_refuse=True):
            ticket, args, kwargs = runs.creating(args, kwargs)  # a DatabomError refuses the run (enforce)
        try:
            run = original(self, *args, **kwargs)
        except BaseException:
            with _harmless():
                runs.abandoned(ticket)
            raise
        with _harmless():
            runs.created(ticket, self, run)
        return run

    return create_run


def _active_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def __init__(self: Any, run: Any) -> None:  # noqa: N807  # it stands in for MLflow's
        with _harmless(may_refuse=True):
            runs.activating(run)  # a DatabomError refuses a resumed run (enforce)
        original(self, run)

    return __init__


def _get_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def get_run(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = original(self, *args, **kwargs)
        with _harmless():
            runs.seen(run)
        return run

    return get_run


def _log_inputs(original: Callable[..., Any]) -> Callable[..., Any]:
    def log_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        with _harmless():
            runs.fed(self, args, kwargs)
        return answer

    return log_inputs


def _create_model_version(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_model_version(self: Any, *args: Any, **kwargs: Any) -> Any:
        version = original(self, *args, **kwargs)
        with _harmless():
            runs.registered(self, version)
        return version

    return create_model_version


def _set_terminated(original: Callable[..., Any]) -> Callable[..., Any]:
    def set_terminated(self: Any, run_id: str, status: str | None = None, *args: Any, **kwargs: Any) -> Any:
        # A run that MLflow calls finished has its evidence. A Ctrl-C while we wait still ends the run.
        try:
            with _harmless():
                runs.ending(self, run_id, status)
        finally:
            answer = original(self, run_id, status, *args, **kwargs)
        return answer

    return set_terminated


def _update_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def update_run(self: Any, run_id: str, status: str | None = None, *args: Any, **kwargs: Any) -> Any:
        try:
            if status in _TERMINAL:
                with _harmless():
                    runs.ending(self, run_id, status)
        finally:
            answer = original(self, run_id, status, *args, **kwargs)
        return answer

    return update_run


# --- what a run tells ---------------------------------------------------------------------------------


def _hearing(note: Callable[..., None]) -> Callable[..., Any]:
    """A wrap that calls MLflow first, and then notes what was said."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            answer = original(self, *args, **kwargs)
            with _harmless():
                note(self, *args, **kwargs)
            return answer

        return wrapped

    return wrap


def _param(client: Any, run_id: str, key: Any, value: Any, *_: Any, **__: Any) -> None:
    if (telling := runs.told(client, run_id)) is not None:
        telling.params([(key, value)])


def _metric(
    client: Any,
    run_id: str,
    key: Any,
    value: Any,
    timestamp: Any = None,
    step: Any = None,
    *_: Any,
    **__: Any,
) -> None:
    if (telling := runs.told(client, run_id)) is not None:
        telling.metrics([(key, value, step, timestamp or time.time_ns() // 1_000_000)])


def _batch(client: Any, run_id: str, metrics: Any = (), params: Any = (), *_: Any, **__: Any) -> None:
    if (telling := runs.told(client, run_id)) is not None:
        telling.params([(one.key, one.value) for one in params])
        telling.metrics([(one.key, one.value, one.step, one.timestamp) for one in metrics])


def _outputs(client: Any, run_id: str, models: Any = (), *_: Any, **__: Any) -> None:
    runs.model_of(client, run_id, models)


def _uploading(begin: Callable[..., Any]) -> Callable[..., Any]:
    """A wrap that has files hashed while MLflow uploads them."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            hashing = None
            with _harmless():
                hashing = begin(self, *args, **kwargs)
            uploaded = False
            try:
                answer = original(self, *args, **kwargs)
                uploaded = True
            finally:
                if hashing is not None:
                    with _harmless():
                        hashing.finish(uploaded=uploaded)
            return answer

        return wrapped

    return wrap


def _files(
    client: Any, run_id: str, place: Any = None, artifact_path: str | None = None, **named: Any
) -> Any:
    telling = runs.told(client, run_id)
    return None if telling is None else runs.hashing(telling, "artifacts", artifact_path, place, **named)


def _model_files(
    client: Any, model_id: str, place: Any = None, artifact_path: str | None = None, **named: Any
) -> Any:
    telling = runs.told_by_model(client, model_id)
    if telling is None:
        return None
    return runs.hashing(telling, f"models/{model_id}", artifact_path, place, **named)


_HEARD: dict[str, Callable[..., Any]] = {
    "log_param": _hearing(_param),
    "log_metric": _hearing(_metric),
    "log_batch": _hearing(_batch),
    "log_outputs": _hearing(_outputs),
    "log_artifact": _uploading(_files),
    "log_artifacts": _uploading(_files),
    "log_model_artifacts": _uploading(_model_files),
}
"""Of `MlflowClient`; which of them there are depends on its version. Without them a receipt says less."""


# --- while `import mlflow` is still going on ------------------------------------------------------


def install_when_imported() -> None:
    """Install as soon as the classes exist: a provider is made somewhere in the middle of `import mlflow`.

    In which order MLflow imports its modules differs from version to version, but in all of them more imports follow
    once both classes are there. (MLflow's own import hooks need a loader protocol that newer Pythons have dropped.)
    """
    if not install() and not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


class _Watch(importlib.abc.MetaPathFinder):
    """Finds no module. Asked about one, it looks whether MLflow's classes are there by now.

    Afterwards it stays and does nothing: the list of finders is being walked through while it is asked, and one that
    took itself out would make the walk skip its neighbor.
    """

    def __init__(self) -> None:
        self._is_done = False

    def find_spec(
        self,
        fullname: str,  # noqa: ARG002  # the protocol's
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> None:
        """None: whoever is next finds it."""
        if not self._is_done:
            self._is_done = True  # also where it fails, and while it is at it
            with _harmless():
                self._is_done = install()
