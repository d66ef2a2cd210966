"""`databom bom` and `databom doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from databom.cli.options import Common, common, write


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--run", "run_id", metavar="RUN_ID", help="The BOM of one MLflow run: which pins it used, and how."
)
@click.option("--spec", type=click.Choice(["cyclonedx"]), default="cyclonedx", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: stdout.")
@common
def bom(options: Common, names: tuple[str, ...], run_id: str | None, spec: str, output: Path | None) -> None:
    """Write the dataset bill of materials (CycloneDX 1.6 JSON).

    One component per pin: manifest and tree digest, license with purchase data, supplier, creator.
    """
    from databom.tasks.writing_bom import bom as task

    del spec  # one so far; the option is there so that scripts can name it
    data = task(*names, run_id=run_id, project=options.project)
    if output is None:
        write(data.decode(), nl=False)
        return
    from databom.storage.files import write_atomic

    write_atomic(output, data)
    options.say(f"wrote {output}")


@click.command()
@common
def doctor(options: Common) -> None:
    """Show versions, plugins, and what weakens the guarantees on this machine."""
    from databom.tasks.examining import doctor as task

    facts = task(project=options.project)
    lines = []
    for fact in facts:
        mark = {"ok": click.style("ok  ", fg="green"), "warn": click.style("WARN", fg="yellow")}.get(
            fact.level, "    "
        )
        lines.append(f"{mark}  {fact.name:<28} {fact.value}")
        if fact.advice:
            lines.append(f"      {fact.advice}")
    options.show([fact._asdict() for fact in facts], "\n".join(lines))


COMMANDS = (bom, doctor)
