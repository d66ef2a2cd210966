"""`databom explain`: what is known of a run, and what shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from databom.cli.options import Common, common

if TYPE_CHECKING:
    from databom.model.explanation import Explanation

_COLORS = {"verified": "green", "declared": "yellow", "missing": "red"}


@click.command()
@click.argument("target", metavar="RUN_ID|MODEL_URI")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write it as one HTML page."
)
@common
def explain(options: Common, target: str, html: Path | None) -> None:
    """Say what is known of a training run, each line with the evidence that shows it and how strong that is.

    Who supplied its data, when was it fetched, was it paid, under which license and decision, which models came
    out, can it be run again. It starts from the run's receipt in the log; nothing that MLflow says is believed.
    MODEL_URI is models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID or runs:/RUN_ID.

    \b
      verified    checked now: a signature by whoever the trust root lets say this, a proof, or bytes by digest
      declared    somebody says so: the evidence names who
      missing     nothing here shows it
    """  # noqa: D301  # \b is click's mark for a verbatim paragraph
    from databom.hosts.tracking import be_brief
    from databom.tasks.explaining import explain as task

    be_brief()
    explanation = task(target, project=options.project)
    if html is not None:
        from databom.bom.explanation import to_html
        from databom.storage import files

        files.write_atomic(html, to_html(explanation).encode())
    options.show(explanation.to_dict(), "\n".join(text_of(explanation, quiet=options.quiet)))
    options.say(explanation.sentence())


def text_of(explanation: Explanation, *, quiet: bool) -> Iterator[str]:
    """The lines for people; with the evidence of each unless `quiet`."""
    yield click.style(explanation.asked, bold=True)
    width = max(len(line.title) for line in explanation.lines)
    for heading, lines in explanation.groups():
        yield ""
        yield click.style(heading, bold=True)
        for line in lines:
            strength = click.style(f"{line.strength:<8}", fg=_COLORS[line.strength])
            yield f"  {strength}  {line.title:<{width}}  {line.answer}"
            if not quiet:
                yield f"            {'':<{width}}  by {line.evidence}"


COMMANDS = (explain,)
