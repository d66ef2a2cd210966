"""`databom approve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from databom.cli.options import FORMATS, Common, reporting
from databom.model.config import ROLES
from databom.model.text import printable

if TYPE_CHECKING:
    from databom.tasks.approving import Approved

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--key", type=FILE, help="The private key of somebody in the role. Without it: show what is open."
)
@click.option("--role", type=click.Choice(ROLES), help="The role in which it is accepted.")
@click.option(
    "--settles",
    metavar="CODE[:SUBJECT]",
    multiple=True,
    help="A finding that is accepted (repeatable). Default: all that the role may settle.",
)
@click.option(
    "--waive",
    metavar="WHAT",
    help="Instead: illustration, animal, public-figure, not-personal, or unscanned:MEDIA/TYPE.",
)
@click.option(
    "--asset", "assets", metavar="PATH|sha256:HEX", multiple=True, help="With --waive: of this asset."
)
@click.option("--add", metavar="FILE", help="Instead: add a signature to this approval of NAME's evidence.")
@click.option("--reason", help="Why; shown in every report.")
@click.option("--expires", metavar="DATE|DAYS", help="Until when it holds: 2027-01-31, or 90 for 90 days.")
@reporting
def approve(
    options: Common,
    name: str | None,
    key: Path | None,
    role: str | None,
    settles: tuple[str, ...],
    waive: str | None,
    assets: tuple[str, ...],
    add: str | None,
    reason: str | None,
    expires: str | None,
) -> None:
    """Accept what a check alone could not, as somebody in a role, by a signature that expires.

    \b
      databom approve pets                       what is open, and who may settle it
      databom approve pets --role legal --key FILE --reason "…" --expires 90
      databom approve pets --waive illustration --asset drawings/1.png --key FILE …
      databom approve --role steward …           without a NAME: data that no pin covers

    It holds for exactly the manifest that is pinned and the policy as it is. What is denied cannot be accepted. Exit 1,
    and nothing is kept, where the key does not speak in that role.
    """  # noqa: D301  # \b is click's mark for a verbatim paragraph
    from databom.tasks import approving as task

    if key is None:
        _require_none(settles or waive or assets or add or reason or expires or role)
        _show_open(options, name)
        return
    if add is not None:
        _require_none(settles or waive or assets or reason or expires or role, "with --add")
        _answer(options, task.cosign(name, add, key=key, project=options.project))
    if reason is None or expires is None:
        raise click.UsageError("an approval says why and until when: --reason TEXT --expires DATE|DAYS")
    if waive is None:
        if role is None:
            raise click.UsageError(f"in which role? --role {'|'.join(ROLES)}")
        _require_none(assets, "without --waive")
        done = task.approve(
            name,
            key=key,
            role=role,
            reason=reason,
            expires=expires,
            settles=settles,
            project=options.project,
        )
    else:
        _require_none(role or settles, "with --waive")
        if name is None:
            raise click.UsageError("a waiver is about the assets of a pin: name it")
        done = task.waive(
            name,
            key=key,
            waives=waive,
            reason=reason,
            expires=expires,
            assets=assets,
            project=options.project,
        )
    _answer(options, done)


def _require_none(given: object, where: str = "without --key") -> None:
    if given:
        raise click.UsageError(f"an option was given that means nothing {where}")


def _show_open(options: Common, name: str | None) -> None:
    from databom.tasks.approving import open_findings

    if options.format not in FORMATS:
        raise click.UsageError(f"what is open is shown as {' or '.join(FORMATS)}")
    found = open_findings(name, project=options.project)
    lines = []
    for one in found:
        lines += [f"{one.finding.code}:{printable(one.finding.subject or '')}", f"  {one.finding.what}"]
        lines.append(f"  may be settled by {' or '.join(one.roles)}")
    values = [{**one.finding.to_dict(), "roles": list(one.roles)} for one in found]
    options.show(values, "\n".join(lines))
    count = f"{len(found)} finding{'' if len(found) == 1 else 's'}"
    options.say(f"{count} of {name or 'the project'} may be settled by an approval")


def _answer(options: Common, done: Approved) -> NoReturn:
    passed = None
    if done.path is not None:
        state = "is kept" if done.is_complete else "is kept, and waits for more signatures"
        left = f"; {done.left} more finding{'' if done.left == 1 else 's'} block" if done.left else ""
        passed = f"{done.path.name} {state}{left}; commit provenance/evidence/: {done.report.verdict.value}"
    options.answer(done.report, passed=passed)


COMMANDS = (approve,)
