"""`databom mirror`."""

from __future__ import annotations

import click

from databom.cli.options import Common, reporting


@click.command()
@click.argument("name")
@click.argument("url")
@reporting
def mirror(options: Common, name: str, url: str) -> None:
    """Copy a pin's release into a bucket your team owns, once and for good.

    URL is s3://BUCKET/PREFIX or r2://BUCKET/PREFIX. Every asset is verified before it is stored, under its own digest;
    nothing there is ever overwritten. An interrupted run goes on where it was. Afterwards `databom sync` asks the
    mirror first. Says whether the objects are locked, and the command that locks them.
    """
    from databom.tasks.mirroring import mirror as task

    report = task(name, url, project=options.project, progress=options.bars())
    told = {finding.code: finding for finding in report.findings if finding.code.startswith("mirror.")}
    passed = None
    if (stored := told.get("mirror.stored")) is not None:
        passed = f"{name}: {stored.what}; verify it at {stored.subject}: pass"
    lock = told.get("mirror.lock")
    if lock is not None and not options.json and lock.severity.value == "info":  # a warning is in the report
        options.say(f"lock: {lock.what}")
        if lock.do is not None:
            options.say(f"  do: {lock.do}")
    options.answer(report, passed=passed)


COMMANDS = (mirror,)
