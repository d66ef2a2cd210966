"""`databom add`, `databom update` and `databom sync`."""

from __future__ import annotations

import click

from databom.cli.options import Common, reporting

_ALLOW_ROLLBACK = click.option(
    "--allow-rollback", is_flag=True, help="Pin it even if it is not newer. This is recorded in databom.lock."
)


@click.command()
@click.argument("manifest")
@click.option("--name", help="The pin's name. Default: made from the dataset id.")
@click.option("--root", metavar="URL", help="Where the assets are. Default: the manifest's own directory.")
@click.option("--path", metavar="DIR", help="Where the assets go. Default: data/NAME.")
@_ALLOW_ROLLBACK
@click.option("--no-dvc", is_flag=True, help="Write no stage into dvc.yaml.")
@reporting
def add(
    options: Common,
    manifest: str,
    name: str | None,
    root: str | None,
    path: str | None,
    allow_rollback: bool,
    no_dvc: bool,
) -> None:
    """Pin a release: fetch its manifest, prove who signed it, register its DVC stage.

    MANIFEST is a path or an https://, s3:// or r2:// URL. Nothing is written unless the manifest's form,
    signature and release hold. `databom sync` then fetches the assets.
    """
    from databom.tasks.adding import add as task

    report = task(
        manifest,
        name=name,
        root=root,
        path=path,
        allow_rollback=allow_rollback,
        dvc=not no_dvc,
        project=options.project,
    )
    pinned = f"{report.subject.release} is pinned as {report.subject.name}; `databom sync` fetches its assets"
    options.answer(report, passed=pinned)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--refetch", is_flag=True, help="Fetch again what was quarantined. This is recorded.")
@click.option("--full", is_flag=True, help="Hash every local file, whatever is remembered.")
@reporting
def sync(options: Common, names: tuple[str, ...], refetch: bool, full: bool) -> None:
    """Fetch what is missing, verify every byte, judge, write the report. What the DVC stage runs.

    A file that does not match is moved to .databom/quarantine/ and every later sync says no, until
    `databom sync NAME --refetch`.
    """
    from databom.tasks.syncing import sync as task

    report = task(
        *names,
        refetch=refetch,
        full=full,
        strict=options.strict,
        project=options.project,
        progress=options.bars(),
    )
    options.answer(report)


@click.command()
@click.argument("name")
@click.argument("manifest", required=False)
@_ALLOW_ROLLBACK
@click.option("--no-dvc", is_flag=True, help="Leave dvc.yaml as it is.")
@reporting
def update(options: Common, name: str, manifest: str | None, allow_rollback: bool, no_dvc: bool) -> None:
    """Move a pin to a newer release of its dataset.

    MANIFEST is a path or URL, by default where the pinned manifest came from. An older release, and a second content
    under a version already seen, are refused. `databom sync` then fetches what is new.
    """
    from databom.tasks.project import Project
    from databom.tasks.updating import update as task

    before = Project.load(options.project).pin(name).manifest
    report = task(name, manifest, allow_rollback=allow_rollback, dvc=not no_dvc, project=options.project)
    stands = "stood already" if report.subject.manifest == before else "stands now"
    pinned = f"{name} {stands} at {report.subject.release}; `databom sync {name}` fetches its assets"
    options.answer(report, passed=pinned)


COMMANDS = (add, update, sync)
