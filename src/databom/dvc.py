"""The door for DVC users who write their pipeline from Python.

`databom add` already writes a stage into `dvc.yaml` for each pin. This does the same for a pin that exists, after
somebody took the stage out, moved the data, or ran `dvc init` only later:

    import databom.dvc

    databom.dvc.register_stage("digits")

Nothing of DVC is imported: a stage is text. What it says and why is in `databom.hosts.dvc_yaml`. DVC decides when
the stage runs, which is a trigger and not a check; `databom exec NAME -- CMD` in front of the training is the gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["register_stage"]


def register_stage(name: str, project: Path | str | None = None) -> None:
    """Write the stage of pin `name` into `dvc.yaml`, or bring it up to date; the data's folder is git-ignored.

    Adds and updates only lines of its own stage. Does nothing when all of it is there already. Does not run DVC.

    Args:
        name: a pin of `databom.lock`.
        project: the project's folder; by default the one around the working directory.

    Raises:
        ConfigError: no such pin, no DVC project, or a `dvc.yaml` that cannot be edited safely.
    """
    from databom.tasks import adding  # a door opens without the house behind it

    adding.register_stage(name, project=project)
