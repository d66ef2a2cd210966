"""The gate: verify now, then let something happen. `databom exec`, and the MLflow door's enforce mode.

DVC skips a stage whose inputs look unchanged, `dvc repro -s` runs a stage without its dependencies, a restored
mtime hides an edit, and a key may have expired since. The gate verifies again, whatever DVC thought.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from databom.errors import ConfigError
from databom.model.finding import Report, Reports
from databom.tasks.progress import Progress
from databom.tasks.project import Project
from databom.tasks.verifying import verify


def gate(
    *names: str,
    full: bool = False,
    leases: bool = False,
    project: Path | str | Project | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Reports:
    """Verify the named pins (all by default), every byte, by the trust root in force and the project's policy.

    `full` and `leases` as for `verify`.

    Raises:
        ConfigError: no project, no pins, an unknown name, no trust root.
    """
    place = project if isinstance(project, Project) else Project.load(project)
    reports = []
    for name in place.names(names):
        report = verify(
            name, full=full, leases=leases, project=place.root, now=now, progress=progress, gated=True
        )
        assert isinstance(report, Report)
        reports.append(report)
    return Reports(tuple(reports))


def replace_process(command: Sequence[str], *, project: Path | str | None = None) -> NoReturn:
    """Become `command` (execvp): its output, signals and exit code are its own.

    `DATABOM_PROJECT` names the gated project to it, so that the run hooks judge the same one wherever it goes.

    Raises:
        ConfigError: there is no such command, or it cannot be run.
    """
    root = Project.load(project).root
    program = shutil.which(command[0])
    if program is None:
        raise ConfigError(f"command not found: {command[0]}", hint="nothing was run")
    os.environ["DATABOM_PROJECT"] = str(root)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(program, list(command))  # noqa: S606  # no shell: the arguments are passed as they are
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be run: {error.strerror}", hint="nothing was run") from error
