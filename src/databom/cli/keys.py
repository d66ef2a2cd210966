"""`databom key`."""

from __future__ import annotations

from pathlib import Path

import click

from databom.cli.options import Common, common

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def key() -> None:
    """Make and name signing keys."""


@key.command("new")
@click.argument("file", type=FILE)
@click.option(
    "--type", "keytype", type=click.Choice(["ed25519", "ecdsa-p256"]), default="ed25519", show_default=True
)
@common
def key_new(options: Common, file: Path, keytype: str) -> None:
    """Make a key pair: FILE (private, 0600) and FILE.pub; print the keyid."""
    from databom.tasks.keyring import new_key

    keyid = new_key(file, keytype=keytype)
    options.show({"keyid": keyid, "private": str(file), "public": f"{file}.pub"}, keyid)
    options.say(f"{file} is the private half: keep it out of git. {file}.pub may be shown to anyone.")


@key.command("id")
@click.argument("file", type=FILE)
@common
def key_id(options: Common, file: Path) -> None:
    """Print the keyid of a key: the SHA-256 of its SubjectPublicKeyInfo."""
    from databom.tasks.keyring import key_id as task

    keyid = task(file)
    options.show({"keyid": keyid}, keyid)


COMMANDS = (key,)
