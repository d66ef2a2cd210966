"""`databom publish`: the marketplace's side."""

from __future__ import annotations

from pathlib import Path

import click

from databom.cli.options import Common, common, write


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--dataset-id", metavar="ID", help="The dataset's id.")
@click.option("--version", metavar="V", help="The release's version.")
@click.option("--license", "license_", metavar="SPDX", help="An SPDX license expression, as CC-BY-4.0.")
@click.option("--license-type", metavar="TYPE", help="For example commercial.")
@click.option("--creator", metavar="ID", help="Who made the data, as creator:alice.")
@click.option("--marketplace", metavar="ID", help="The marketplace's own id.")
@click.option("--sequence", type=click.IntRange(min=0), help="Grows with every release, against rollback.")
@click.option(
    "--payment-model", type=click.Choice(["one-time", "subscription", "per-use", "royalty", "free"])
)
@click.option("--transaction-id", metavar="ID", help="The payment this release was sold under.")
@click.option(
    "--from", "filled", type=click.Path(path_type=Path, dir_okay=False), help="A filled --template."
)
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="The private key that signs.")
@click.option(
    "--embed", is_flag=True, help="A JWS in `signature` instead of the detached manifest.json.dsse."
)
@click.option(
    "--shard",
    metavar="N",
    type=click.IntRange(min=1),
    help="List the assets N at a time in shards beside the manifest: for large releases.",
)
@click.option(
    "--shard-format", type=click.Choice(["ndjson", "parquet"]), default="ndjson", help="Of --shard."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: DIR/manifest.json."
)
@click.option("--template", is_flag=True, help="Print a manifest to fill in, and stop.")
@common
def publish(
    options: Common,
    directory: Path | None,
    dataset_id: str | None,
    version: str | None,
    license_: str | None,
    license_type: str | None,
    creator: str | None,
    marketplace: str | None,
    sequence: int | None,
    payment_model: str | None,
    transaction_id: str | None,
    filled: Path | None,
    key: Path | None,
    embed: bool,
    shard: int | None,
    shard_format: str,
    output: Path | None,
    template: bool,
) -> None:
    """Build and sign the manifest of a release from the files in DIR.

    Every regular file below DIR is an asset; links, devices and names that would not travel to another system
    are refused. The manifest and its signature may lie in DIR: they are not assets.
    """
    from databom.tasks import publishing

    if template:
        write(publishing.template(), nl=False)
        return
    if directory is None or key is None:
        raise click.UsageError("publish needs DIR and --key FILE (`databom key new FILE` makes one)")
    fields = {
        "dataset_id": dataset_id,
        "version": version,
        "creator_id": creator,
        "license": {"type": license_type, "spdx": license_},
        "marketplace_id": marketplace,
        "sequence": sequence,
        "payment": {"model": payment_model, "transaction_id": transaction_id},
    }
    done = publishing.publish(
        directory,
        key=key,
        fields=fields,
        filled=filled,
        embed=embed,
        shard=shard,
        shard_format=shard_format,
        output=output,
        progress=options.bars(),
    )
    options.show(
        {
            "manifest": str(done.manifest_path),
            "envelope": str(done.envelope_path) if done.envelope_path else None,
            "digest": done.digest,
            "tree": done.tree,
            "assets": done.assets,
            "bytes": done.bytes,
            "keyid": done.keyid,
        },
        f"{done.manifest_path}\n  manifest {done.digest}\n  tree     {done.tree}\n  signed by {done.keyid}",
    )
    options.say(
        f"{done.release}: {done.assets} asset{'' if done.assets == 1 else 's'}, {done.bytes:,} bytes, signed"
    )


COMMANDS = (publish,)
