"""`databom affected`: which models must go."""

from __future__ import annotations

import click

from databom.cli.lines import lines_as_text
from databom.cli.options import Common, common


@click.command()
@click.argument("target")
@common
def affected(options: Common, target: str) -> None:
    """List the releases, runs and models that stand on a creator, a dataset, a file or a pin.

    \b
    TARGET is one of
      creator:ID              everything that a manifest says is this creator's
      dataset:ID[@VERSION]    a dataset, or one release of it
      sha256:HEX              a file, a manifest, a tree, or a model that a run made, by its digest
      NAME                    every release that was ever pinned by this name

    The signed receipts in the log decide which run used what. Bytes are followed by their digest, under any name,
    through redaction, and through what a run made where that is the data of the next. A pin that was only present
    is a possible use, listed apart. Where a tracking server is configured, its runs and registered models are added,
    as its word.

    Exit 0: this is all that is known here; 3: something could not be looked at, and the answer says what.
    """  # noqa: D301  # \b is click's mark for a verbatim paragraph
    from databom.hosts.tracking import be_brief
    from databom.tasks.affecting import affected as task

    be_brief()
    answer = task(target, project=options.project, progress=options.bars())
    text = lines_as_text(answer.target, answer.lines(), quiet=options.quiet)
    nothing = "" if answer.releases or answer.runs else "\n\nnothing that is known here stands on it"
    options.show(answer.to_dict(), text + nothing)
    options.say(answer.sentence())
    if not answer.is_whole:
        raise click.exceptions.Exit(3)


COMMANDS = (affected,)
