"""doors – the `databom` command.

One file a family of commands; each command is a handful of options over one function of `databom.tasks`.
stdout carries the answer, stderr the progress and one summary sentence. Exit codes, everywhere:

    0 yes · 1 no · 2 usage or configuration · 3 could not answer · 130 Ctrl-C · 143 SIGTERM

An internal error is 3, never 1: a crash must not look like a verdict. No flag suppresses the exit code; in a
shell, `databom verify … || true` does, and shows that it does.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from databom import __version__
from databom.cli.options import tell
from databom.errors import CheckFailed, DatabomError


class _Terminated(BaseException):
    """SIGTERM, as an exception, so that temporary files are removed on the way out."""


def _on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


_HOMES = {
    "add": "pins",
    "affected": "affected",
    "approve": "approve",
    "attach": "evidence",
    "bom": "evidence",
    "bundle": "bundle",
    "check": "verify",
    "demo": "demo",
    "doctor": "evidence",
    "drill": "affected",
    "exec": "verify",
    "explain": "explain",
    "gate": "evidence",
    "incident": "incident",
    "init": "setup",
    "key": "keys",
    "ledger": "accounts",
    "license": "licenses",
    "log": "flush",
    "meter": "accounts",
    "mirror": "mirror",
    "publish": "publish",
    "redact": "redact",
    "reproduce": "reproduce",
    "revoke": "affected",
    "sign": "signing",
    "sync": "pins",
    "trust": "trust",
    "update": "pins",
    "verify": "verify",
}
"""The module of each command, imported when it is asked for: one command needs none of the others."""


class _Commands(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_HOMES)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _HOMES:
            return None
        family: tuple[click.Command, ...] = importlib.import_module(f"databom.cli.{_HOMES[name]}").COMMANDS
        return next(command for command in family if command.name == name)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 yes, 1 no, 2 usage or configuration, 3 could not answer.",
)
@click.version_option(__version__, prog_name="databom")
def cli() -> None:
    """Train only on data you can account for.

    \b
    A first project:
      databom init                                     decide what must hold (databom.toml)
      databom trust add hn.pub --marketplace human-native --datasets 'hn-*'
      databom add https://…/manifest.json              pin a release, register its DVC stage
      databom sync                                     fetch and verify every byte
      databom check                                    in CI: exit 1 unless everything holds

    `databom demo` plays the whole story on real data in about a minute.
    """  # noqa: D301  # \b is click's mark for a verbatim paragraph


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    _open_what_is_closed()
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _on_sigterm)
    code = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away (`databom … | head`): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Give a closed stdin, stdout or stderr the null device.

    Else Python has None there, which nothing can be written to, and the next file we open gets its number.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def _run() -> int:  # noqa: PLR0911  # one return an exit code
    try:
        code = cli.main(prog_name="databom", standalone_mode=False)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 3
    except (KeyboardInterrupt, click.exceptions.Abort):
        tell("interrupted; nothing half-done was kept, run the same command again")
        return 130
    except _Terminated:
        tell("terminated; nothing half-done was kept, run the same command again")
        return 143
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except BrokenPipeError:
        return 141
    except CheckFailed as error:
        tell(f"databom: {error}")
        return 1
    except DatabomError as error:
        _explain(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  # an internal error is 3, never a verdict
        _internal(error)
        return 3
    return code if isinstance(code, int) else 0


def _internal(error: Exception) -> None:
    """Say of an exception that is being handled what can be said: there may be no memory to import anything."""
    try:
        import traceback

        from databom.storage.redact import redact

        tell(redact(traceback.format_exc().rstrip()))  # it may be another library's, with what it was given
        tell("databom: internal error; this is a bug, please report the lines above")
    except Exception as another:  # noqa: BLE001  # the last line of defence
        with contextlib.suppress(Exception):
            tell(f"databom: internal error: {type(error).__name__}; telling of it, {type(another).__name__}")


def _explain(error: DatabomError) -> None:
    tell(f"databom: {error}")
    if error.hint:
        tell(f"  do: {error.hint}")
