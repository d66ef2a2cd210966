"""`databom incident`: what did not match, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from databom.cli.options import Common, common
from databom.model.text import printable

if TYPE_CHECKING:
    from databom.tasks.quarantine import Case

_COLORS = {"open": "red", "refetched": "yellow", "closed": "green"}


@click.group()
def incident() -> None:
    """Carry a mismatch to its end: what was expected, what came, who can be told, how it was closed.

    ID is the id that `list` shows; its first four digits are enough where no other begins so.
    """


@incident.command("list")
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Those that are closed, too.")
@common
def incident_list(options: Common, name: str | None, everything: bool) -> None:
    """List the incidents that are not closed, of a pin or of the project, the oldest first."""
    from databom.tasks.incidents import incident_list as task
    from databom.tasks.incidents import record_of

    found = task(name, project=options.project)
    shown = [case for case in found if everything or case.state != "closed"]
    options.show({"incidents": [record_of(case) for case in shown]}, "\n".join(map(_line, shown)))
    closed = sum(case.state == "closed" for case in found)
    count = f"{len(shown)} incident{'' if len(shown) == 1 else 's'}"
    options.say(f"{count}; {closed} closed" + ("" if everything or not closed else " (--all shows them)"))


@incident.command("show")
@click.argument("wanted", metavar="ID")
@common
def incident_show(options: Common, wanted: str) -> None:
    """Show all that is known of one incident."""
    from databom.tasks.incidents import incident_show as task
    from databom.tasks.incidents import record_of

    case = task(wanted, project=options.project)
    options.show(record_of(case), "\n".join(_lines(case)))


@incident.command("close")
@click.argument("wanted", metavar="ID")
@click.option("--reason", required=True, help="How it came about, or why nothing more is done.")
@click.option("--by", metavar="NAME", help="Who says so. Default: the name of your account.")
@click.option("--accept-loss", is_flag=True, help="Close it although the asset is not as signed.")
@common
def incident_close(options: Common, wanted: str, reason: str, by: str | None, accept_loss: bool) -> None:
    """Close an incident: its asset is as signed again, or its release is no longer pinned.

    The bytes stay in quarantine, and an asset that is missing stays refused until `databom sync NAME --refetch`.
    """
    from databom.tasks.incidents import incident_close as task
    from databom.tasks.incidents import record_of

    case = task(wanted, reason=reason, by=by, accept_loss=accept_loss, project=options.project)
    options.show(record_of(case), "")
    options.say(f"{case.id} is closed ({case.resolution}); its bytes stay in {case.place}")


def _line(case: Case) -> str:
    state = click.style(f"{case.state:<9}", fg=_COLORS[case.state])
    what = f"{printable(case.name)}  {printable(case.path, 400)}"
    return f"{printable(case.id)}  {state}  {printable(case.happened_at):<20}  {printable(case.code):<18}  {what}"


def _lines(case: Case) -> Iterator[str]:
    yield f"incident {printable(case.id)}: {click.style(case.state, fg=_COLORS[case.state], bold=True)}"
    for name, value in _members(case):
        if value not in {None, ""}:
            yield f"  {name:<10} {printable(str(value), 1000)}"


def _members(case: Case) -> Iterator[tuple[str, Any]]:
    yield "pin", case.name
    yield "release", case.release
    yield "manifest", case.manifest
    yield "asset", case.path
    yield "finding", case.code
    yield "expected", case.expected
    yield "found", case.found
    yield "size", None if case.size is None else f"{case.size:,} bytes"
    yield "source", case.source
    for name, value in case.headers.items():
        yield "header", f"{name}: {value}"
    yield "happened", case.happened_at
    yield "by", ", ".join(f"{name} {version}" for name, version in case.versions.items())
    if case.tell.get("marketplace"):
        yield "tell", f"{case.tell['marketplace']} (the marketplace that signed)"
    if case.tell.get("creator"):
        yield "tell", f"{case.tell['creator']} (the creator)"
    for keyid in case.tell.get("keyids") or ():
        yield "signed by", keyid
    yield "refetched", case.refetched_at
    yield "closed", case.closed_at
    yield "closed by", case.closed_by
    yield "resolution", case.resolution
    yield "reason", case.reason
    yield "bytes in", case.place


COMMANDS = (incident,)
