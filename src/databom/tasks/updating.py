"""`databom update`: move a pin to another release of its dataset, forwards unless somebody says otherwise."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from databom.errors import InputError, StorageError
from databom.model import times
from databom.model.finding import Finding, Report, Severity, Subject, findings_of
from databom.model.manifest import read_manifest
from databom.model.text import printable
from databom.tasks.adding import pin_release, refresh_stage
from databom.tasks.believing import load_trust
from databom.tasks.judging import judge_pin
from databom.tasks.noting import noting
from databom.tasks.project import Project, exclusive_project, find_root
from databom.tasks.receiving import receive


def update(
    name: str,
    manifest: str | None = None,
    *,
    allow_rollback: bool = False,
    dvc: bool = True,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> Report:
    """Move the pin `name` to the release at `manifest`, by default to what its own source says now.

    Judged like `add`: nothing is written unless the manifest's form, signature and release hold. It must be of the
    same dataset (`release.mismatch`), and newer than everything this project has seen of it (`release.rollback`); a
    second content under a name already seen is never accepted (`release.equivocation`), and both are kept as
    evidence. The next `sync` fetches what is new and retires what only the old release had.

    Args:
        name: the pin.
        manifest: a path, or an https://, s3:// or r2:// URL; None asks where the pinned manifest came from.
        allow_rollback: pin it even if it is not newer, or if neither `sequence` nor `issued_at` can tell. Recorded
            in `databom.lock`; the order starts anew at this release. Allows nothing else.
        dvc: bring the stage in `dvc.yaml` up to date where the project uses DVC.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.

    Returns:
        A report; `storage.*` findings where the manifest could not be had. The release that is pinned already is
        judged again, and nothing is written but a stage that is not up to date.

    Raises:
        ConfigError: no project, or no such pin.
    """
    now = times.or_now(now)
    folder = Path(project).absolute() if project is not None else find_root()
    with noting(folder, now) as happened, exclusive_project(folder):
        place = Project.load(folder)
        pin = place.pin(name)
        try:
            location = place.source(pin.source) if manifest is None else place.locate(manifest)
            received = receive(location, name=name)
        except (InputError, StorageError) as error:
            return Report(Subject(name), findings_of(error), policy=place.config.policy_digest)
        try:
            read = read_manifest(received.manifest)
        except InputError:
            pass  # said better by the judgement
        else:
            if read.digest == pin.manifest:
                if dvc:
                    refresh_stage(place, name)
                return judge_pin(place, name, load_trust(place), now=now).report(name)
            if read.dataset_id != pin.dataset_id:
                other = Finding(
                    "release.mismatch",
                    Severity.BLOCK,
                    printable(read.release),
                    f"asked for another release of {printable(pin.dataset_id)}, got one of another dataset",
                    expected=printable(pin.dataset_id),
                    found=printable(read.dataset_id),
                    do="check the address; another dataset is pinned by `databom add MANIFEST --name OTHER`",
                )
                subject = Subject(name, read.release, read.digest, read.tree or None)
                believed = load_trust(place)
                findings = (*believed.findings, other)
                return Report(subject, findings, trust=believed.digest, policy=place.config.policy_digest)
        # The assets' place follows the manifest's, unless the pin keeps them elsewhere (`add --root`).
        beside = place.source(pin.source).parent.stored
        root = None if pin.root == beside else place.source(pin.root).stored
        return pin_release(
            place,
            location,
            received,
            name,
            happened,
            root=root,
            dvc=dvc,
            allow_rollback=allow_rollback,
            now=now,
        )
