"""The door to MLflow: every run started inside a project with pins carries its data's evidence.

After `pip install databom` beside MLflow there is nothing to write:

    import mlflow                              # in a folder with databom.toml and databom.lock

    with mlflow.start_run():                   # tags, databom/ artifacts and dataset inputs come by themselves
        ...

    import databom.mlflow
    databom.mlflow.autolog(mode="enforce")     # a run on data that fails the gate is never created

How, in three files a reader can follow: `provider` is the run-context provider that MLflow loads by its entry
point; it imports only the standard library, and inside a project with pins it has `wraps` put six thin class-level
wraps around MLflow's client, which tell `runs` what begins and ends. `place` finds the project, `gathering` looks at
it in the background, `delivery` talks to the tracking server from one bounded thread, `spool` keeps what could not
be delivered, `source` is what `mlflow.data.get_source` gives back for our dataset inputs.

What holds: outside a project with pins nothing is installed and nothing is paid. In `observe` a run ends exactly as
it would without databom, whatever breaks here; at most 1.5 seconds are ever waited for a run. The word `pass` is
written only after the check has passed. MLflow is a view of the evidence, never the evidence: nothing read back from
it is trusted.

What does not: MLflow's autologging swallows every exception of a run it starts by itself, so in `enforce` such a
training goes on *without* a run; `databom exec -- CMD` refuses before the program starts. A process killed with
SIGKILL keeps the tags its runs were created with and nothing later. A pin that is read in a worker process (a data
loader's, say) is not seen by the process that holds the run: say `databom.use("name")` there.
"""

from __future__ import annotations

import importlib
from typing import Any

from databom._lazy import lazy_exports
from databom.mlflow.provider import RunContext

_lazy, __dir__, _names = lazy_exports(
    __name__,
    {
        "DatabomSource": "databom.mlflow.source",
        "autolog": "databom.mlflow.switch",
    },
)


def __getattr__(name: str) -> Any:
    if name == "DatabomSource":
        # MLflow loads our entry point, this very name, while mlflow.data is imported: that has to come first, or it
        # would meet our module half-made.
        importlib.import_module("mlflow.data")
    return _lazy(name)


__all__ = [*_names, "RunContext"]  # noqa: PLE0604  # strings, from a list
