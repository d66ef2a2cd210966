"""Telling the team: a program or an address of the user's own configuration gets a notice.

Nothing here changes what a command answers. The program is run without a shell, in the root folder, with the notice as
JSON on its standard input and nothing of ours on its output; it and whatever it started are killed when its time is
over. Who cannot be told is a warning on stderr.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

from databom.errors import ConfigError, DatabomError
from databom.storage.posting import post_json
from databom.tasks.user_config import UserConfig, user_config

_logger = logging.getLogger(__name__)

SECONDS = 10.0
"""How long a program may run, and how long an address may take to answer."""


def tell(notice: Mapping[str, Any]) -> None:
    """Tell whoever the user's configuration names; never raises for their trouble, or for its own."""
    try:
        config = user_config()
    except ConfigError as error:
        _warn(f"{error}" + (f" ({error.hint})" if error.hint else ""))
        return
    if not config.command and not config.webhook:
        return
    body = json.dumps(notice, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    if config.command:
        _run(config, body)
    if config.webhook:
        try:
            post_json(config.webhook, body, seconds=SECONDS)
        except DatabomError as error:
            _warn(f"the webhook at {error}")


def _run(config: UserConfig, body: bytes) -> None:
    program = os.path.basename(config.command[0])  # noqa: PTH119  # a name for a message
    try:
        process = subprocess.Popen(  # noqa: S603  # what the user's own configuration names
            config.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        _warn(
            f"the command {program} cannot be run: {getattr(error, 'strerror', None) or type(error).__name__}"
        )
        return
    try:
        process.communicate(body, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        _warn(f"the command {program} was ended: it had not finished after {SECONDS:.0f} s")
        return
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    if process.returncode:
        _warn(f"the command {program} answered {process.returncode}")


def _warn(what: str) -> None:
    _logger.warning("the team was not told of an incident: %s", what)
