"""The run-context provider: the one thing MLflow itself calls when a run starts, with no line of user code.

Rules of this file (each was a way to break somebody's `import mlflow` or `start_run`):

* it imports only the standard library; everything else is imported inside a `try`;
* `__init__` runs *inside* `import mlflow`, and an exception there would break it: nothing leaves but Ctrl-C;
* `tags()` is called for every run, but also for every logged model and autologged dataset: cheap, cached, pure;
* no value is longer than 1,000 characters: some databases refuse the whole run for a long one.
"""

from __future__ import annotations

import sys

from databom.mlflow import place, warn


class RunContext:
    """Gives a run the tags of the project it starts in; see `databom.mlflow` for what else then happens.

    MLflow only asks for these two methods. Not inheriting from its base class keeps its modules out of ours.
    """

    def __init__(self) -> None:
        try:
            if place.find() is not None:
                # A bare client or a resumed run never asks a provider: those are caught only if the wraps are
                # in place before. MLflow is half imported now, so they wait until it is whole.
                from databom.mlflow import wraps

                wraps.install_when_imported()
        except Exception:  # noqa: BLE001  # an exception here would break `import mlflow`
            warn.once("could not prepare for MLflow; runs carry no evidence until one starts by itself")

    def in_context(self) -> bool:
        """Whether the working directory is inside a project with pins."""
        try:
            return place.find() is not None
        except Exception:  # noqa: BLE001  # the hook must not hurt the run
            return False

    def tags(self) -> dict[str, str]:
        """The tags a run that starts now is created with. The verdict is whatever has been *checked* by now."""
        try:
            here = place.find()
            if here is None:
                return {}
            from databom.mlflow import switch, wraps

            if switch.effective(here).auto == "off":
                return {}
            wraps.install()
            runs = sys.modules.get("databom.mlflow.runs")
            if runs is not None:
                return dict(runs.current_tags(here))
            from databom.tasks.evidence import format_tags

            return format_tags(here.pins, verdict="fail" if here.problem else "unverified")
        except Exception:  # noqa: BLE001  # the hook must not hurt the run
            warn.once("could not make the tags of a run; it carries no evidence")
            return {}
