"""`databom reproduce`: run a training again, and compare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from databom.cli.options import Common, common, tell

if TYPE_CHECKING:
    from databom.model.reproduction import Compared, Plan, Reproduction


@click.command()
@click.argument("target", metavar="RUN_ID|RECEIPT")
@click.option("--yes", is_flag=True, help="Run it. Without this, what would be run is shown, and nothing is.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Check out into this new folder, and keep it. Default: a temporary one that is removed.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), help="End the program after so many seconds."
)
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="Where MLflow tracks the second run. Default: a store in the work tree, so that the team's has nothing of it.",
)
@common
def reproduce(
    options: Common,
    target: str,
    yes: bool,
    keep: Path | None,
    timeout: float | None,
    tracking_uri: str | None,
) -> None:
    """Run a training again as its receipt says, and say whether the same models come out.

    The receipt has to be signed by a key that the trust root lets sign receipts; nothing is run for any other. Its
    commit is checked out beside yours, which is left alone; its releases are copied or fetched, and verified there;
    its DVC stage or command is run with your rights. Then models are compared: by file, and by weights, which
    leaves out ids and times of packing.

    Exit 0: every model has the same weights. 1: one has not, or the receipt or a release is refused. 3: nothing
    was run, or it gave nothing to compare.
    """
    from databom.tasks.reproducing import reproduce as task

    def show(plan: Reproduction) -> None:
        if not options.quiet:
            tell("\n".join(_plan(plan)))

    answer = task(
        target,
        yes=yes,
        keep=keep,
        timeout=timeout,
        tracking_uri=tracking_uri,
        strict=options.strict,
        project=options.project,
        progress=options.bars(),
        shown=show,
        output=_nowhere() if options.quiet else None,
    )
    options.show(answer.to_dict(), "\n".join(_text(options, answer)))
    options.say(answer.sentence())
    raise click.exceptions.Exit(answer.verdict.exit_code)


def _nowhere() -> int:
    import subprocess

    return subprocess.DEVNULL


def _plan(answer: Reproduction) -> Iterator[str]:
    plan = answer.plan
    if plan is not None:
        yield from _command(plan)
    for one in answer.report.findings:
        yield f"{one.severity.value:<5}  {one.code}  {one.subject or ''}: {one.what}"


def _command(plan: Plan) -> Iterator[str]:
    told = plan.to_dict()
    yield f"  commit   {told['commit']}"
    for one in told["pins"]:
        yield f"  data     {one['name']}  {one['release']}  {one['manifest']}"
    where = "" if told["cwd"] == "." else f"  (in {told['cwd']})"
    yield f"  command  {click.style(told['command'], bold=True)}{where}"
    for step in told["steps"]:
        for command in step["commands"]:
            yield f"    {step['stage']}: {command}"


def _text(options: Common, answer: Reproduction) -> Iterator[str]:
    from databom.cli.text import render

    yield click.style(f"{answer.run}  {answer.receipt}", bold=True)
    if answer.plan is not None:
        yield from _command(answer.plan)
    if answer.kept is not None:
        yield f"  kept     {answer.kept}"
    for one in answer.outputs:
        yield f"  {'model' if one.is_model else 'file':<7}  {_compared(one)}"
    yield render(answer.report, quiet=options.quiet, verbose=options.verbose).partition("\n")[2]


def _compared(one: Compared) -> str:
    name = one.to_dict()["name"]
    if one.found is None:
        return f"{name}: was not made"
    if not one.is_model:
        return f"{name}: {'same' if one.same_file else 'other'} bytes"
    weights = {True: "same", False: "other", None: "unknown"}[one.same_weights]
    return f"{name}: {weights} weights, {'same' if one.same_file else 'other'} bytes"


COMMANDS = (reproduce,)
