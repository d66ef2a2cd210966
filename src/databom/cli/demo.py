"""`databom demo`."""

from __future__ import annotations

from pathlib import Path

import click

from databom.cli.options import Common, common


@click.command()
@click.argument(
    "directory", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default="databom-demo"
)
@click.option("--serve", is_flag=True, help="Start the marketplace of a demo that was played in DIR again.")
@common
def demo(options: Common, directory: Path, serve: bool) -> None:
    """Play the whole story on real data: publish, pin, sync, train, verify, and catch a flipped byte.

    Makes a project in DIR (default ./databom-demo) and leaves it there to play with. Needs databom[demo];
    everything runs on this machine, and its S3 server stops when the story is over (--serve starts it again).
    """
    from databom.cli import story

    if serve:
        story.serve(directory)
    else:
        story.play(directory, options)


COMMANDS = (demo,)
