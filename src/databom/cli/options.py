"""Options every command takes after its name, and how an answer is printed."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from databom.errors import StorageError

FORMATS = ("text", "json")
REPORT_FORMATS = (*FORMATS, "sarif", "junit", "markdown")
"""Of a command that answers with a report."""

if TYPE_CHECKING:
    from databom.cli.bars import Bars
    from databom.model.finding import Report, Reports

    Choice = click.Choice[str]
else:
    Choice = click.Choice  # it takes a parameter from click 8.2 on

Command = Callable[..., Any]


def tell(text: str) -> None:
    """One line on stderr. Where that is full or gone, the exit code still says what matters."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def write(text: str, *, nl: bool = True) -> None:
    """The answer, on stdout.

    Raises:
        StorageError: it cannot be written, a full disk for one. BrokenPipeError is left to `main`.
    """
    try:
        click.echo(text, nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(
            f"the answer cannot be written: {error.strerror}", hint="look where stdout leads"
        ) from error


class Common(NamedTuple):
    """The values of the common options."""

    project: Path | None
    format: str
    strict: bool
    quiet: bool
    verbose: bool

    @property
    def json(self) -> bool:
        """Whether stdout is for programs."""
        return self.format == "json"

    def say(self, text: str) -> None:
        """One line on stderr, unless `-q`."""
        if not self.quiet:
            tell(text)

    def show(self, value: Any, text: str) -> None:
        """An answer that is not a report: `value` as JSON, or `text`."""
        if self.json:
            write(json.dumps(value, indent=2, ensure_ascii=False, default=str))
        elif text:
            write(text)

    def write_report(self, report: Report | Reports) -> None:
        """A report on stdout, in the format that was asked for."""
        from databom.cli.rendering import rendered

        write(rendered(self, report), nl=False)

    def bars(self) -> Bars:
        """Progress bars on stderr; nothing where it is not a terminal or `-q`."""
        from databom.cli.bars import Bars

        return Bars(enabled=not self.quiet and sys.stderr.isatty())

    def answer(self, report: Report | Reports, *, passed: str | None = None) -> NoReturn:
        """Print a report and exit with its verdict's code; the last line, the JSON and the code agree.

        `passed` is the summary sentence of a pass, where the report's own would say too little.
        """
        if self.strict:
            report = report.strict()
        self.write_report(report)
        code = report.verdict.exit_code
        self.say(passed if passed and code == 0 else report.sentence())
        raise click.exceptions.Exit(code)


class _Formats(Choice):
    """Says of a report's format why this command does not have it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As `click.Choice`."""
        if value in REPORT_FORMATS and value not in self.choices:
            self.fail(
                f"{value!r} is for reports, and this command answers with none: use one of {', '.join(self.choices)}.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


def reporting(function: Command) -> Command:
    """As `common`, for a command that answers with a report: it takes a report's formats, too."""
    return common(function, formats=REPORT_FORMATS)


def common(function: Command, *, formats: Sequence[str] = FORMATS) -> Command:
    """Give a command the options that all commands share, as its first argument."""

    @click.option(
        "--project",
        type=click.Path(path_type=Path, file_okay=False),
        help="The project's folder. Default: $DATABOM_PROJECT, else the nearest parent with a databom.toml.",
    )
    @click.option(
        "--format",
        "format_",
        type=_Formats(formats),
        default="text",
        show_default=True,
        help="Of stdout.",
    )
    @click.option("--strict", is_flag=True, help="Warnings block.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress, no summary sentence.")
    @click.option("-v", "--verbose", is_flag=True, help="Also show what is only information.")
    @functools.wraps(function)
    def wrapped(
        *, project: Path | None, format_: str, strict: bool, quiet: bool, verbose: bool, **options: Any
    ) -> Any:
        return function(Common(project, format_, strict, quiet, verbose), **options)

    return wrapped
