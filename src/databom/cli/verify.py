"""`databom verify`, `databom check`, `databom exec`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from databom.cli.options import Common, reporting

if TYPE_CHECKING:
    from concurrent.futures import Executor

_full = click.option(
    "--full",
    is_flag=True,
    help="Hash every file, whatever is remembered; list a bucket for unlisted objects.",
)
_leases = click.option(
    "--leases", is_flag=True, help="Hash every file, and refuse those that somebody has open for writing."
)
_executor = click.option(
    "--executor",
    metavar="URL",
    help="Hash every file on dask://HOST:PORT, dask+tls://HOST:PORT, processes:N or threads:N.",
)


@click.command()
@click.argument("targets", metavar="[NAME|MANIFEST]...", nargs=-1)
@click.option("--root", metavar="URL", help="Read the assets from here instead.")
@click.option("--trust", type=click.Path(path_type=Path, dir_okay=False), help="Judge by this trust root.")
@click.option("--trust-digest", metavar="sha256:HEX", help="The digest the trust root must have.")
@_full
@_leases
@_executor
@click.option("--mirror", is_flag=True, help="Read from the mirror that databom.lock knows.")
@click.option("--fast", is_flag=True, help="Read no byte: compare what the bucket recorded. Never a pass.")
@click.option("--oms", is_flag=True, help="Each argument is an OpenSSF Model Signing bundle, not a manifest.")
@reporting
def verify(
    options: Common,
    targets: tuple[str, ...],
    root: str | None,
    trust: Path | None,
    trust_digest: str | None,
    full: bool,
    leases: bool,
    executor: str | None,
    mirror: bool,
    fast: bool,
    oms: bool,
) -> None:
    """Ask who signed, is it current, are the bytes right. Reads only.

    An argument that is a URL, holds '/' or ends in .json is a MANIFEST, anything else a pin's NAME; none means
    every pin. With a MANIFEST and --trust no project is needed.
    """
    from databom.tasks.verifying import verify as task

    with _at(executor) as workers:
        report = task(
            *targets,
            root=root,
            trust=trust,
            trust_digest=trust_digest,
            full=full,
            leases=leases,
            executor=workers,
            mirror=mirror,
            fast=fast,
            oms=oms,
            project=options.project,
            progress=options.bars(),
        )
    options.answer(report)


@click.command()
@click.option(
    "--base",
    metavar="REF",
    help="Also compare trust root, policy and pins with where this branch left REF (origin/main).",
)
@click.option("--trust", type=click.Path(path_type=Path, dir_okay=False), help="Judge by this trust root.")
@click.option(
    "--trust-digest",
    metavar="sha256:HEX",
    help="The digest the trust root must have; with --base, approves a changed one.",
)
@click.option("--policy-digest", metavar="sha256:HEX", help="With --base: approves a weaker policy.")
@_full
@_leases
@_executor
@reporting
def check(
    options: Common,
    base: str | None,
    trust: Path | None,
    trust_digest: str | None,
    policy_digest: str | None,
    full: bool,
    leases: bool,
    executor: str | None,
) -> None:
    """Run every check of the policy over every pin: for CI. No pins is exit 2.

    With --base a branch cannot quietly change who is believed: another trust root, a weaker policy, a pin that
    went back and forgotten history block, although everything verifies.
    """
    from databom.tasks.checking import check as task

    with _at(executor) as workers:
        answer = task(
            base=base,
            trust=trust,
            trust_digest=trust_digest,
            policy_digest=policy_digest,
            full=full,
            leases=leases,
            project=options.project,
            executor=workers,
            progress=options.bars(),
        )
    options.answer(answer)


def _at(url: str | None) -> AbstractContextManager[Executor | None]:
    if url is None:
        return nullcontext()
    from databom.tasks.executors import executor_at

    return executor_at(url)


class _BeforeTheDash(click.Command):
    """Takes what stands before the first `--` as its own; the rest is somebody else's command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split, keep the command, let click read the rest."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["databom.command"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usage line, with the part click does not know."""
        return [*super().collect_usage_pieces(ctx), "-- CMD [ARG]..."]


@click.command(name="exec", cls=_BeforeTheDash)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_full
@_leases
@reporting
def exec_(options: Common, names: tuple[str, ...], full: bool, leases: bool) -> None:
    """Verify the named pins now (all by default), then run CMD in their place.

    A refusal never starts CMD. This is the gate DVC cannot be: it looks at every file whatever DVC skipped.
    """
    from databom.tasks.gating import gate, replace_process

    command = click.get_current_context().meta["databom.command"]
    if not command:
        raise click.UsageError("put the command after `--`: databom exec [NAME]... -- CMD")
    report = gate(*names, full=full, leases=leases, project=options.project, progress=options.bars())
    if options.strict:
        report = report.strict()
    if report.verdict.exit_code != 0:
        options.answer(report)
    options.say(report.sentence())
    replace_process(command, project=options.project)


COMMANDS = (verify, check, exec_)
