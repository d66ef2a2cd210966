"""`databom ledger` and `databom meter`: money."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from databom.cli.lines import lines_as_text
from databom.cli.options import Common, common

if TYPE_CHECKING:
    from databom.model.accounts import Ledger, Meter

    Param = click.ParamType[datetime]
else:
    Param = click.ParamType  # it takes a parameter from click 8.2 on

CSV = click.option(
    "--csv", "table", type=click.Path(path_type=Path, dir_okay=False), help="Also write it as a table."
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)


class _When(Param):
    """A time, or a day (UTC): its beginning, or where it ends something, its end."""

    name = "time"

    def __init__(self, after_day: timedelta = timedelta(0)) -> None:
        self._after_day = after_day

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant."""
        from databom.model import times

        try:
            if _DAY.match(value):
                return times.parse(f"{value}T00:00:00Z") + self._after_day
            return times.parse(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no day (2026-01-31) and no time (2026-01-31T12:00:00Z).", param, ctx)


@click.command()
@CSV
@common
def ledger(options: Common, table: Path | None) -> None:
    """List every payment that is known here, for each release that is or was pinned, or that a run names.

    \b
      paid       a signed receipt holds, and nothing speaks against it
      over       a signed receipt holds, and now is not in the period it paid for
      disputed   a receipt is kept that the manifest, the policy or another payment contradicts
      declared   somebody says so, and no signed receipt shows it
      free       the manifest says that it is free
      unpaid     a payment is stated, and nothing shows that it was made
      none       the manifest states no payment
      lost       the log says that a receipt was attached, and it is not kept any more

    Totals keep apart what receipts show and what is only declared; a transaction counts once. Exit 0: this is all that
    is known here; 3: something could not be looked at.
    """  # noqa: D301  # \b is click's mark for a verbatim paragraph
    from databom.tasks.accounting import ledger as task

    answer = task(project=options.project, progress=options.bars())
    rows = [
        {**one, "pins": " ".join(one["pins"]), "why": "; ".join(one["why"]), "parts": _parts(one["parts"])}
        for one in answer.to_dict()["payments"]
    ]
    _answer(options, answer, "ledger", table, rows)


@click.command()
@click.option("--since", type=_When(), help="Runs that ended then or later: a day or a time (UTC).")
@click.option(
    "--until", type=_When(timedelta(days=1)), help="Runs that ended before; a day is counted whole."
)
@CSV
@common
def meter(options: Common, since: datetime | None, until: datetime | None, table: Path | None) -> None:
    """Count how often each release was used, by the signed receipts of the runs, and what is due for it.

    A run counts once for each release that it used, however it ended. Nothing is due for a run where a pin was only
    present, or that has no receipt; both are counted apart. Under the payment model per-use the manifest's amount is
    the price of a use; parts of creators are exact, and not rounded. Exit 3: something could not be looked at.
    """
    from databom.tasks.accounting import meter as task

    answer = task(since=since, until=until, project=options.project, progress=options.bars())
    rows = [
        {**one, "pins": " ".join(one["pins"]), "runs": " ".join(one["runs"]), "parts": _parts(one["parts"])}
        for one in answer.to_dict()["uses"]
    ]
    _answer(options, answer, "meter", table, rows)


def _answer(
    options: Common, answer: Ledger | Meter, title: str, table: Path | None, rows: list[dict[str, Any]]
) -> None:
    if table is not None:
        from databom.storage import files

        files.write_atomic(table, _table(rows).encode())
    options.show(answer.to_dict(), lines_as_text(title, answer.lines(), quiet=options.quiet))
    options.say(answer.sentence())
    if answer.untold:
        raise click.exceptions.Exit(3)


def _parts(parts: list[dict[str, Any]]) -> str:
    return " ".join(f"{one['creator']}={one['share']}" for one in parts)


def _table(rows: list[dict[str, Any]]) -> str:
    """RFC 4180. No cell begins as a formula does: a spreadsheet would run what a document says."""
    import csv
    import io

    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["release"])
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if one is None else _cell(one) for key, one in row.items()})
    return file.getvalue()


def _cell(value: object) -> object:
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )


COMMANDS = (ledger, meter)
