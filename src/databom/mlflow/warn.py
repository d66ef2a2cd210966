"""One place to warn from: the logger `databom`, each message once a process, never a secret."""

from __future__ import annotations

import logging
from contextlib import suppress

from databom._forks import ForkLock

log = logging.getLogger("databom")
_said: set[str] = set()
_lock = ForkLock()
_silent = False


def silence(on: bool) -> None:  # reads as what it is: silence(True)
    """Stop (or resume) warning in this process."""
    global _silent  # noqa: PLW0603  # one switch a process
    _silent = on


def once(message: str) -> None:
    """Warn, unless this very message has been said. Never an exception's text: MLflow puts passwords into those.

    Never raises, whatever a handler or a filter of the program does: it is called where an error is being caught.
    """
    with suppress(Exception):
        with _lock:
            if message in _said or _silent:
                return
            _said.add(message)
        log.warning("databom: %s", message)
