"""A model that is registered after its run has ended, often by another process: the credits its page is owed.

Which pins the run used, only its tags can say; what is written on the page is made from the manifests that this project
keeps, and only where they are the ones the tags name.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from databom.mlflow.delivery import Refused

if TYPE_CHECKING:
    from databom.mlflow.delivery import Server


def credit_late(server: Server, client: Any, root: str, run_id: str, version: tuple[str, str]) -> None:
    """Put the credits on the page; a job of the server's thread. A server that fails is left alone."""
    from databom.bom.attribution import brief
    from databom.hosts.tracking import Tracking
    from databom.mlflow.record import credit
    from databom.tasks.evidence import for_run

    tags: dict[str, str] = {}
    with contextlib.suppress(Refused):
        server.call(lambda: tags.update(client.get_run(run_id).data.tags))
        evidence = for_run(root).as_tagged(tags)
        block = brief(evidence.credits(), run_id=run_id)
        if block is not None:
            server.call(lambda: credit(Tracking(client), version, block))
