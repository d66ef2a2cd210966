"""A report in the format that was asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from databom.errors import ConfigError

if TYPE_CHECKING:
    from databom.cli.options import Common
    from databom.model.finding import Report, Reports


def rendered(options: Common, report: Report | Reports) -> str:
    """The report as `--format` says, ending in a line feed."""
    match options.format:
        case "json":
            return report.to_json()
        case "sarif":
            from databom.checks.formats.sarif import to_sarif

            return to_sarif(report, folder=folder_of(options.project))
        case "junit":
            from databom.checks.formats.junit import to_junit

            return to_junit(report)
        case "markdown":
            from databom.checks.formats.markdown import to_markdown

            return to_markdown(report, verbose=options.verbose)
        case _:
            from databom.cli.text import render

            return render(report, quiet=options.quiet, verbose=options.verbose) + "\n"


def folder_of(project: Path | None) -> str | None:
    """Where the project is in its git repository, as a relative POSIX path; "" at its top or without one.

    None where there is no project. Code scanning finds a file by its path from the top of the repository.
    """
    from databom.tasks.project import find_root

    try:
        root = (find_root() if project is None else project).resolve()
    except (ConfigError, OSError):
        return None
    for above in (root, *root.parents):
        if os.path.lexists(above / ".git"):
            return "" if above == root else root.relative_to(above).as_posix()
    return ""
