"""`databom init`."""

from __future__ import annotations

from pathlib import Path

import click

from databom.cli.options import Common, common


@click.command()
@common
def init(options: Common) -> None:
    """Make this folder a project: policy, trust root, development keys.

    Works with or without git and DVC, never overwrites, and may be run again. The trust root it writes trusts
    no marketplace: `databom trust add` is the next step.
    """
    from databom.tasks.initializing import init as task

    done = task(options.project or Path.cwd())
    text = [f"made  {path}" for path in done.made] + [f"kept  {path}" for path in done.kept]
    if not done.made:
        text.append(f"{done.root} is a databom project already; nothing was changed")
    else:
        text.append("next: databom trust add KEY.pub --marketplace ID --datasets GLOB")
    options.show({"project": str(done.root), "made": done.made, "kept": done.kept}, "\n".join(text))


COMMANDS = (init,)
