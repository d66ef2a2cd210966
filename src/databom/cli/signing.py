"""`databom sign`: the marketplace's and the countersigner's side, for a manifest that exists."""

from __future__ import annotations

from pathlib import Path

import click

from databom.cli.options import Common, common

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("manifest", type=FILE)
@click.option("--key", "keys", type=FILE, multiple=True, help="A private key to sign with (repeatable).")
@common
def sign(options: Common, manifest: Path, keys: tuple[Path, ...]) -> None:
    """Sign MANIFEST as it lies there: MANIFEST.dsse, beside it.

    MANIFEST is a manifest or a Croissant document, and is not changed. An envelope that is there already gets the
    signatures added (a countersignature, one of a threshold, a new key); one about other bytes is never
    overwritten.
    """
    from databom.tasks.signing import sign as task

    done = task(manifest, keys=keys)
    options.show(
        {
            "release": done.release,
            "envelope": str(done.envelope_path),
            "digest": done.digest,
            "tree": done.tree,
            "added": done.added,
            "signatures": done.signatures,
        },
        "\n".join(
            (
                str(done.envelope_path),
                f"  manifest {done.digest}",
                f"  tree     {done.tree}",
                *(f"  signed by {keyid}" for keyid in done.added),
            )
        ),
    )
    count = f"{done.signatures} signature{'' if done.signatures == 1 else 's'}"
    options.say(f"{done.release}: {count}" + ("" if done.added else ", nothing to add"))


COMMANDS = (sign,)
