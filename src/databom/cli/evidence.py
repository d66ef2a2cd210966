"""`databom attach`, `databom bom`, `databom gate` and `databom doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from databom.cli.options import Common, common, reporting, write


@click.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@reporting
def attach(options: Common, name: str, file: Path) -> None:
    """Keep evidence beside a pin: a payment receipt, consent, redaction record, approval, waiver or revocation.

    FILE is a signed statement about the pinned manifest (DSSE), an x402 receipt (JWS) for its URL, or, where the policy
    asks for no more, unsigned evidence of a payment: JSON with a transaction_id, or response headers with
    crawler-charged. It is verified first; what does not hold is not kept.
    """
    from databom.tasks.attaching import attach as task

    report = task(name, file, project=options.project)
    options.answer(report, passed=f"{name}: it is kept in provenance/evidence/{name}: pass")


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--run", "run_id", metavar="RUN_ID", help="The BOM of one MLflow run: which pins it used, and how."
)
@click.option(
    "--spec", type=click.Choice(["cyclonedx", "attribution"]), default="cyclonedx", show_default=True
)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: stdout.")
@common
def bom(options: Common, names: tuple[str, ...], run_id: str | None, spec: str, output: Path | None) -> None:
    """Write the dataset bill of materials (CycloneDX 1.6 JSON).

    One component per pin: manifest and tree digest, license with purchase data, supplier, creator. With
    --spec attribution: ATTRIBUTION.md, of the releases whose license asks for credit.
    """
    from databom.tasks.writing_bom import bom as task

    data = task(*names, run_id=run_id, spec=spec, project=options.project)
    if output is None:
        write(data.decode(), nl=False)
        return
    from databom.storage.files import write_atomic

    write_atomic(output, data)
    options.say(f"wrote {output}")


@click.command()
@click.argument("model_uri", metavar="MODEL_URI")
@reporting
def gate(options: Common, model_uri: str) -> None:
    """Ask whether a registered model may be used: its data's license and payment, its run's verdict, its page.

    MODEL_URI is models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID or runs:/RUN_ID. The tracking server says only
    which run the model names; which data that used, its signed receipt says, and what is judged is what this project
    keeps. Reads only.
    """
    from databom.hosts.tracking import be_brief
    from databom.tasks.gating_models import gate_model

    be_brief()
    options.answer(gate_model(model_uri, project=options.project))


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


COMMANDS = (attach, bom, gate, doctor)
