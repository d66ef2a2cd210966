"""`databom log`: look at the log, prove an entry, witness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from databom.cli.options import Common, common, reporting, write
from databom.model.text import printable

if TYPE_CHECKING:
    from databom.log.events import Entry

FILE = click.Path(path_type=Path, dir_okay=False)
LOG = click.option("--log", "location", metavar="LOCATION", help="Another log than the project's own.")
TRUST = click.option("--trust", type=FILE, help="Another trust root than the one in force.")
_SHOWN = ("name", "release", "verdict", "model", "transaction_id", "codes", "incident", "asset", "resolution")


@click.group()
def log() -> None:
    """Read the tamper-evident log of what happened: pinned, verified, paid, approved, trained."""


@log.command("show")
@click.argument("index", type=click.IntRange(min=0), required=False)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many of the newest."
)
@LOG
@TRUST
@common
def log_show(
    options: Common, index: int | None, limit: int, location: str | None, trust: Path | None
) -> None:
    """Print the newest entries, or the one at INDEX; each is proved to be in the log first."""
    from databom.tasks.log_reading import log_show as task

    entries = task(index, limit=limit, location=location, trust=trust, project=options.project)
    values = [
        {"index": one.index, "digest": one.digest, "kind": one.kind, "time": one.time, "entry": one.document}
        for one in entries
    ]
    if index is not None:
        document = json.dumps(entries[0].document, indent=2, ensure_ascii=True)
        options.show(values[0], f"{_line(entries[0], None)}\n{document}")
        return
    before = [None, *(one.time for one in entries[:-1])]
    options.show(values, "\n".join(map(_line, entries, before)))


def _line(entry: Entry, before: str | None) -> str:
    from databom.tasks.finding_receipts import invocation

    document = entry.document if isinstance(entry.document, dict) else {}
    kind = printable(entry.kind or "unknown", 40) + (
        "" if entry.is_known or entry.kind is None else " (unknown)"
    )
    said = [printable(_text(document[name]), 60) for name in _SHOWN if document.get(name) is not None]
    if (run := invocation(document)) is not None:
        said.append(printable(run, 80))
    backwards = "  (earlier than the entry before it)" if (entry.time or "9") < (before or "") else ""
    time = printable(entry.time or "-", 30)
    return (
        f"{entry.index:>6}  {time:<20}  {kind:<16} {'  '.join([*said, entry.digest[:19] + '…'])}{backwards}"
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=True)


@log.command("verify")
@click.option(
    "--checkpoint",
    "checkpoints",
    type=FILE,
    multiple=True,
    help="An older checkpoint, kept elsewhere, or a .tlog-proof, which ends with one (repeatable).",
)
@click.option(
    "--run",
    "runs",
    metavar="RUN_ID",
    multiple=True,
    help="An MLflow run: the checkpoints it carries count, and what it shows is held against its receipt (repeatable).",
)
@click.option(
    "--all-runs", is_flag=True, help="The checkpoints count that any run of the tracking server carries."
)
@LOG
@TRUST
@reporting
def log_verify(
    options: Common,
    checkpoints: tuple[Path, ...],
    runs: tuple[str, ...],
    all_runs: bool,
    location: str | None,
    trust: Path | None,
) -> None:
    """Recompute the whole log from its entries, and hold it against every checkpoint that was kept.

    Those in git (provenance/checkpoint) and in this clone count always. A log that holds is remembered here.
    """
    from databom.hosts.tracking import be_brief
    from databom.tasks.log_reading import log_verify as task

    be_brief()

    answer = task(
        *checkpoints, runs=runs, all_runs=all_runs, location=location, trust=trust, project=options.project
    )
    report = answer.report.strict() if options.strict else answer.report
    if options.json:
        write(json.dumps({**answer.to_dict(), **report.to_dict()}, indent=2, ensure_ascii=False))
    else:
        options.write_report(report)
    size = answer.opened.checkpoint.size if answer.opened else 0
    held = len(answer.anchors)
    options.say(
        f"{report.subject.name}: {size} entr{'y' if size == 1 else 'ies'}, held against {held} kept "
        f"checkpoint{'' if held == 1 else 's'}: {report.verdict.value}"
    )
    raise click.exceptions.Exit(report.verdict.exit_code)


@log.command("proof")
@click.argument("which", metavar="INDEX|DIGEST")
@click.option("-o", "--output", type=FILE, help="Where to write it, as receipt.tlog-proof. Default: stdout.")
@LOG
@TRUST
@common
def log_proof(
    options: Common, which: str, output: Path | None, location: str | None, trust: Path | None
) -> None:
    """Prove that an entry is in the log, in one file that any C2SP tlog-proof verifier checks without the log."""
    from databom.tasks.log_reading import log_proof as task

    proof = task(which, location=location, trust=trust, project=options.project)
    text = bytes(proof).decode()
    if output is None:
        options.show({"index": proof.index, "proof": text}, text.rstrip("\n"))
        return
    from databom.storage import files

    files.write_atomic(output, bytes(proof))
    options.show({"index": proof.index, "file": str(output)}, str(output))
    options.say(f"entry {proof.index} is in the log; {output} proves it")


@log.command("witness")
@click.argument("locations", metavar="[LOCATION]...", nargs=-1)
@click.option(
    "--key", type=FILE, required=True, help="The witness's private key; never one of the log's own."
)
@click.option("--state", type=FILE, help="What this witness saw. Default: .databom/witness of the project.")
@click.option("--name", metavar="NAME", help="The witness's name. Default: made from its key.")
@click.option(
    "--vkey", "vkeys", multiple=True, help="Who speaks for the log (repeatable), instead of a trust root."
)
@click.option("--attach", is_flag=True, help="Put the cosignature under the log's own checkpoint.")
@TRUST
@reporting
def log_witness(
    options: Common,
    locations: tuple[str, ...],
    key: Path,
    state: Path | None,
    name: str | None,
    vkeys: tuple[str, ...],
    attach: bool,
    trust: Path | None,
) -> None:
    """Cosign the newest checkpoint of a log, if it continues everything this witness saw of it before.

    Needs no project: with --vkey and --state it runs anywhere, on any directory, bucket or https location.
    """
    from databom.model.finding import Reports
    from databom.tasks.log_witnessing import log_witness as task
    from databom.tasks.project import Project

    done = task(
        *locations,
        key=key,
        state=state if state is not None else Project.load(options.project).state() / "witness",
        name=name,
        vkeys=vkeys,
        attach_=attach,
        trust=trust,
        project=options.project,
    )
    reports = Reports(tuple(one.report for one in done))
    reports = reports.strict() if options.strict else reports
    if options.json:
        lines = [
            {"location": one.location, "size": one.size, "cosignature": one.line, "attached": one.attached}
            for one in done
        ]
        write(json.dumps({**reports.to_dict(), "witnessed": lines}, indent=2, ensure_ascii=False))
    else:
        for one in done:
            if one.line is not None:
                write(one.line)
        if any(one.line is None for one in done) or options.format != "text":
            options.write_report(reports)
    signed = sum(one.line is not None for one in done)
    options.say(
        f"{signed} of {len(done)} log{'' if len(done) == 1 else 's'} cosigned: {reports.verdict.value}"
    )
    raise click.exceptions.Exit(reports.verdict.exit_code)
