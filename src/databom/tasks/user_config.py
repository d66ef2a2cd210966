"""The user's own configuration: what may make databom run a program or call an address of somebody's choosing.

`DATABOM_CONFIG`, else `$XDG_CONFIG_HOME/databom/config.toml` (by default under `~/.config`). Never a file of the
project: whoever clones a repository would run what its author wrote into it. The same holds for a relative
`DATABOM_CONFIG`, which means whatever folder one happens to stand in.

The keys are data (`_TABLES`), and strict: an unknown one is an error that names the nearest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from databom.errors import ConfigError, DatabomError, MissingError
from databom.model.config import _nearest as nearest
from databom.model.text import printable, unsafe_character
from databom.storage import files
from databom.tasks.rootfile import config_home

VARIABLE = "DATABOM_CONFIG"
FILE = "config.toml"
MAX_BYTES = 64 * 1024
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

_TABLES: dict[str, dict[str, type]] = {
    "incidents": {"command": list, "webhook": str},
    "scanners": {"use": list},
}
"""The keys of each table, and whether a key's value is a string or a list of strings."""


class UserConfig(Struct, frozen=True):
    """The whole of it; what is not there is empty."""

    path: Path | None = None
    """The file; None where the user has none."""
    command: tuple[str, ...] = ()
    """The program that is told of incidents, and its arguments."""
    webhook: str | None = None
    """The https address that is told of incidents. A secret: whoever knows it can post there."""
    scanners: tuple[str, ...] = ()
    """The scanners of personal data that are used beside the built-in ones."""

    @property
    def webhook_host(self) -> str:
        """All of the address that is ever shown."""
        return urlsplit(self.webhook or "").hostname or ""


def user_config(*, environ: Mapping[str, str] = os.environ) -> UserConfig:
    """Read it.

    Raises:
        ConfigError: it is not the user's alone to write, cannot be read, or says what it may not say.
    """
    path = _place(environ)
    if path is None:
        return UserConfig()
    shown = printable(os.fspath(path))
    try:
        raw = files.read_bounded(path, MAX_BYTES, prefix="config")
        _require_own(path, shown)
    except MissingError:
        if environ.get(VARIABLE):
            raise ConfigError(f"{VARIABLE} names {shown}, and there is no such file") from None
        return UserConfig()
    except ConfigError:
        raise
    except DatabomError as error:
        raise ConfigError(f"your configuration {shown} cannot be read: {error}", hint=error.hint) from None
    return _parse(raw, path, shown)


def _place(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get(VARIABLE):
        if not Path(named).is_absolute():
            raise ConfigError(
                f"{VARIABLE} must be an absolute path",
                hint="a relative one would be another file in every folder",
            )
        return Path(named)
    home = config_home(environ)
    return None if home is None else home / "databom" / FILE


def _require_own(path: Path, shown: str) -> None:
    """Of the file, where a link leads, and of the folders it lies in: who can write there can run programs as us."""
    try:
        real = path.resolve(strict=True)
        file = real.stat()
        folders = {place: place.stat() for place in (path.parent, real.parent)}
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"your configuration {shown} cannot be looked at") from error
    if file.st_uid not in (os.getuid(), 0):
        raise ConfigError(
            f"your configuration {shown} belongs to another user (uid {file.st_uid}) and is not followed",
            hint="take ownership of it, or remove it",
        )
    # In a sticky folder nobody can replace a file of somebody else.
    loose = [
        place for place, it in folders.items() if it.st_mode & _OTHERS_WRITE and not it.st_mode & stat.S_ISVTX
    ]
    if file.st_mode & _OTHERS_WRITE:
        loose.insert(0, real)
    if loose:
        raise ConfigError(
            f"your configuration {shown} can be changed by others and is not followed: it says which programs run",
            hint="; ".join(f"chmod go-w {printable(os.fspath(place))}" for place in loose),
        )


def _parse(raw: bytes, path: Path, shown: str) -> UserConfig:
    import tomllib

    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown} is not TOML: {error}") from None
    for table, keys in document.items():
        if table not in _TABLES:
            raise ConfigError(f"{shown}: unknown table or key '{printable(table)}'{nearest(table, _TABLES)}")
        if not isinstance(keys, dict):
            raise ConfigError(f"{shown}: '{table}' must be a table, written [{table}]")
        for key, value in keys.items():
            _check(table, key, value, shown)
    incidents = document.get("incidents", {})
    command, webhook = tuple(incidents.get("command", ())), incidents.get("webhook")
    if command:
        _check_command(command, shown)
    if webhook is not None:
        _check_webhook(webhook, shown)
    return UserConfig(path, command, webhook, tuple(document.get("scanners", {}).get("use", ())))


def _check(table: str, key: str, value: Any, shown: str) -> None:
    known = _TABLES[table]
    if key not in known:
        raise ConfigError(f"{shown}: unknown key '{table}.{printable(key)}'{nearest(key, known)}")
    texts = value if isinstance(value, list) else [value]
    if type(value) is not known[key] or not all(isinstance(one, str) for one in texts):
        kind = "a string" if known[key] is str else 'a list of strings, ["one", "two"]'
        raise ConfigError(f"{shown}: {table}.{key} must be {kind}")


def _check_command(command: tuple[str, ...], shown: str) -> None:
    program = command[0]
    if not program or any("\0" in part for part in command):
        raise ConfigError(f"{shown}: incidents.command names no program")
    if "/" in program and not Path(program).is_absolute():
        raise ConfigError(
            f"{shown}: incidents.command must name its program by an absolute path or by its name alone",
            hint="a relative path would be another program in every folder",
        )


def _check_webhook(webhook: str, shown: str) -> None:
    """Its text is never repeated: it is what lets somebody post there."""
    try:
        url = urlsplit(webhook)
        good = url.scheme == "https" and bool(url.hostname) and url.username is None and (url.port or 1) > 0
    except ValueError:
        good = False
    if not good or not webhook.isascii() or unsafe_character(webhook) or " " in webhook:
        raise ConfigError(
            f"{shown}: incidents.webhook must be an https:// address without a user name or password in it"
        )
