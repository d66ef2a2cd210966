"""`databom log flush`: what runs left to be done later."""

from __future__ import annotations

import click

from databom.cli.log import log
from databom.cli.options import Common, common
from databom.model.text import printable


@log.command("flush")
@common
def log_flush(options: Common) -> None:
    """Sign, log and deliver what runs left behind while the log, a key or the tracking server was away.

    Runs whose process was killed are closed as aborted first. Exits 0 when nothing waits any more, 3 when something
    still does; asked again, it goes on where it stopped.
    """
    from databom.errors import DatabomError
    from databom.mlflow import flushing
    from databom.tasks.project import Project

    root = str(Project.load(options.project).root)
    settled = flushing.settle(root, patience=60.0)
    why = list(settled.waiting)
    try:
        left = flushing.deliver_all(root)
    except DatabomError as error:
        why.append(str(error))
        left = flushing.waiting(root)
    if left.left:
        servers = ", ".join(printable(one) for one in left.servers)
        why.append(f"{left.left} wait for {servers}: set MLFLOW_TRACKING_URI to it")
    logged = sum(1 for one in settled.ready if one.is_logged)
    value = {
        "aborted": settled.aborted,
        "logged": logged,
        "delivered": left.runs,
        "waiting": why,
    }
    lines = [
        f"{settled.aborted} closed as aborted",
        f"{logged} signed and logged",
        f"{left.runs} delivered to the tracking server",
        *(f"waits: {printable(one, 500)}" for one in why),
    ]
    options.show(value, "\n".join(lines))
    raise click.exceptions.Exit(3 if why else 0)


COMMANDS = (log,)
