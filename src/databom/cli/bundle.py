"""`databom bundle RUN_ID -o FILE.zip` and `databom bundle verify FILE.zip`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from databom.cli.options import Common, reporting, write

_MAKE = "RUN_ID"
"""The name of the command that makes a bundle, as it stands in its usage. No run is called so and made by us."""
_FILE = click.Path(path_type=Path, dir_okay=False)


class _RunOrVerify(click.Group):
    """`verify` is a word; whatever else comes first is a run's id, or an option of what makes a bundle."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [_MAKE, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_RunOrVerify)
def bundle() -> None:
    """One archive about a training run, that an auditor checks offline.

    \b
      databom bundle RUN_ID -o FILE.zip     make it, in the project
      databom bundle verify FILE.zip        check it, anywhere

    A run that is called verify is written mlflow:verify.
    """  # noqa: D301  # \b is click's mark for a verbatim paragraph


@bundle.command(_MAKE)
@click.argument("run", metavar="", required=False)
@click.option("-o", "--output", type=_FILE, required=True, help="The archive to write; nothing may be there.")
@click.option(
    "--params", is_flag=True, help="Enclose params and metrics too: look for secrets in them first."
)
@reporting
def make(options: Common, run: str | None, output: Path, params: bool) -> None:
    """Write all that is kept about a training run into one archive.

    The receipt and its proof, every release with its signature and the evidence about it, what the log says of them,
    policy and trust root. No asset, no key; params and metrics only with --params. What is not kept is told, and named
    in the archive.
    """
    from databom.hosts.tracking import be_brief
    from databom.tasks.audit_bundle import bundle as task

    if run is None:
        raise click.UsageError("Missing RUN_ID: databom bundle RUN_ID -o FILE.zip")
    be_brief()
    done = task(run, output, params=params, project=options.project)
    report = done.report.strict() if options.strict else done.report
    if options.json:
        write(json.dumps({**done.to_dict(), **report.to_dict()}, indent=2, ensure_ascii=False))
    elif options.format == "text":
        write(f"{output}\n  {len(done.index.files) + 1} files, {done.size:,} bytes\n  bundle   {done.digest}")
        write(f"  trust    {report.trust}\n")
        options.write_report(report)
    else:
        options.write_report(report)
    options.say(report.sentence())
    raise click.exceptions.Exit(report.verdict.exit_code)


@bundle.command("verify")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--trust", type=_FILE, help="Judge by this trust root.")
@click.option(
    "--trust-digest",
    metavar="sha256:HEX",
    help="The digest the trust root must have: of --trust, else of the enclosed one, which is then believed.",
)
@reporting
def verify(options: Common, file: Path, trust: Path | None, trust_digest: str | None) -> None:
    """Check such an archive from its bytes alone: no project, no network.

    Whom to believe says --trust, --trust-digest, or the project around. With none of them everything is checked by the
    enclosed trust root, and the answer is no better than "could not answer" (exit 3).
    """
    from databom.cli.lines import lines_as_text
    from databom.tasks.audit_bundle_verifying import verify_bundle as task

    answer = task(file, trust=trust, trust_digest=trust_digest, project=options.project)
    report = answer.report.strict() if options.strict else answer.report
    if options.json:
        write(json.dumps({**answer.to_dict(), **report.to_dict()}, indent=2, ensure_ascii=False))
    else:
        if answer.explanation is not None and options.format == "text":
            told = answer.explanation
            write(lines_as_text(told.asked, told.lines, quiet=options.quiet) + "\n")
        options.write_report(report)
    options.say(report.sentence())
    raise click.exceptions.Exit(report.verdict.exit_code)


COMMANDS = (bundle,)
