"""`databom redact`."""

from __future__ import annotations

from pathlib import Path

import click

from databom.cli.options import Common, reporting


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where the derived release goes: a folder that is not there yet.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The team's private key, which signs the derived release.",
)
@click.option("--dataset-id", metavar="ID", help="Of the derived release. Default: the pin's with -redacted.")
@click.option("--version", metavar="V", help="Of the derived release. Default: the pin's.")
@click.option("--leave-out", is_flag=True, help="Leave out assets that cannot be cleaned, and say so in it.")
@reporting
def redact(
    options: Common,
    name: str,
    output: Path,
    key: Path,
    dataset_id: str | None,
    version: str | None,
    leave_out: bool,
) -> None:
    """Derive a release without personal data from a pin: paint over faces, mask texts, drop metadata.

    The derived release is signed by your team under the marketplace `internal` and says what it was made from. What was
    written is scanned again; while a scanner still finds something, nothing is signed and the answer is no.
    """
    from databom.tasks.redacting import redact as task

    done = task(
        name,
        output,
        key=key,
        dataset_id=dataset_id,
        version=version,
        leave_out=leave_out,
        project=options.project,
        progress=options.bars(),
    )
    passed = None
    if done.manifest_path is not None:
        out = f", {done.left_out} left out" if done.left_out else ""
        what = f"{done.release}: {done.changed} asset{'' if done.changed == 1 else 's'} redacted{out}"
        passed = f"{what}; `databom add {done.manifest_path}` pins it: pass"
    options.answer(done.report, passed=passed)


COMMANDS = (redact,)
