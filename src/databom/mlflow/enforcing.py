"""`enforce`: the gate in front of a run. It verifies again, whatever was recorded, and stops before the first batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from databom.errors import ConfigError, DatabomError, PluginError
from databom.mlflow.place import Place

if TYPE_CHECKING:
    from databom.mlflow.record import Record


def require_gate(here: Place | None, open_runs: Sequence[Record]) -> None:
    """Return only when every pin of the project passes the gate now.

    A run that starts while another gated one of the same project is open (a child of a grid search) is let through
    when no file changed since it was hashed; every other run has the whole gate asked.

    Raises:
        CheckFailed: the data fails the gate; carries the reports.
        ConfigError: no project with pins, or one that cannot be used.
        PluginError: the gate itself broke.
    """
    if here is None:
        raise ConfigError(
            "the run is not created: this process enforces, and the working directory is in no project with pins",
            hint="start in the project, or set DATABOM_PROJECT",
        )
    try:
        if any(record.is_gated for record in open_runs) and _is_unchanged(here):
            return
        from databom.tasks import gate

        gate(project=here.root).require()
    except DatabomError:
        raise
    except Exception as error:
        raise PluginError(
            f"the run is not created: the gate could not answer ({type(error).__name__})",
            hint="`databom verify` shows what is wrong",
        ) from error


def _is_unchanged(here: Place) -> bool:
    from databom.tasks.evidence import for_run

    return for_run(here.root).compared().verdict == "pass"
