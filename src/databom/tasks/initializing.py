"""`databom init`: make a folder a project."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from databom.errors import MissingError
from databom.model import times
from databom.model.config import FILE as CONFIG_FILE
from databom.model.config import default_config_text, parse_config
from databom.storage import files
from databom.tasks.project import MAX_TRUST_BYTES
from databom.trust.keys import PrivateKey
from databom.trust.root_editing import add_key

IGNORED = "/.databom/"
DEVELOPMENT_ROLES = ("receipt", "log")


class Initialized(Struct, frozen=True):
    """What `init` made, and what was there already (paths relative to the project)."""

    root: Path
    made: tuple[str, ...]
    kept: tuple[str, ...]


def init(folder: Path | str = ".", *, now: datetime | None = None) -> Initialized:
    """Make `folder` a databom project, with or without git and DVC. Never overwrites; safe to repeat.

    Writes `databom.toml` with every key and its default, a trust root that trusts no marketplace, a
    development key each for `receipt` and `log` under `.databom/keys/` (0600, marked in the trust root), and the
    line that keeps `.databom/` out of git.

    Raises:
        ConfigError: a `databom.toml` is there and is not one.
        StorageError: the folder cannot be written.
    """
    root = Path(folder).absolute()
    files.make_folder(root)
    made: list[str] = []
    kept: list[str] = []

    def write(path: str, data: bytes, mode: int = 0o644) -> None:
        if (root / path).exists():
            kept.append(path)
            return
        files.write_new(root / path, data, mode=mode)
        made.append(path)

    origin = (
        f"{re.sub(r'[^a-z0-9-]+', '-', root.name.lower()).strip('-') or 'project'}-{secrets.token_hex(4)}"
    )
    write(CONFIG_FILE, default_config_text(f"databom.local/{origin}").encode())
    config = parse_config(files.read_bounded(root / CONFIG_FILE, 1 << 20))
    _ignore(root, made, kept)
    if (root / config.trust_root).exists():
        kept.append(config.trust_root)
        return Initialized(root, tuple(made), tuple(kept))
    files.make_private_dir(root / ".databom")
    files.make_private_dir(root / ".databom" / "keys")
    raw: bytes | None = None
    for role in DEVELOPMENT_ROLES:
        private = f".databom/keys/{role}.pem"
        if (root / private).exists():
            kept.append(private)
            key = PrivateKey.from_pem(files.read_bounded(root / private, 1 << 16))
        else:
            key = PrivateKey.generate()
            write(private, key.pem(), mode=0o600)
        raw = add_key(raw, key.public, role=role, development=True, now=times.or_now(now))
    if raw is not None:
        write(config.trust_root, raw)
    return Initialized(root, tuple(made), tuple(kept))


def _ignore(root: Path, made: list[str], kept: list[str]) -> None:
    """Keep keys, spool and quarantine out of git, whether or not this is a git repository yet."""
    path = root / ".gitignore"
    try:
        text = files.read_bounded(path, MAX_TRUST_BYTES).decode("utf-8", "surrogateescape")
    except MissingError:
        text = ""
    if any(line.strip() in (IGNORED, ".databom/", ".databom", "/.databom") for line in text.splitlines()):
        kept.append(".gitignore")
        return
    joint = "" if not text or text.endswith("\n") else "\n"
    files.write_atomic(path, (text + joint + IGNORED + "\n").encode("utf-8", "surrogateescape"))
    made.append(".gitignore")
