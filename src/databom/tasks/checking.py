"""`databom check`: `verify` and the gate over every pin, data that no pin covers, what a branch changed. Reads only."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from databom.errors import ConfigError
from databom.model import times
from databom.model.finding import Report, Reports, Subject
from databom.model.text import printable
from databom.tasks.believing import Believed, load_trust
from databom.tasks.covering import cover
from databom.tasks.progress import Progress
from databom.tasks.project import Project
from databom.tasks.verifying import verify

if TYPE_CHECKING:
    from concurrent.futures import Executor


def check(
    *,
    base: str | None = None,
    trust: Path | str | None = None,
    trust_digest: str | None = None,
    policy_digest: str | None = None,
    full: bool = False,
    leases: bool = False,
    project: Path | str | None = None,
    executor: Executor | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Reports:
    """Every check of the policy over every pin: what CI runs.

    In a project that uses DVC one more report, whose subject has no name, is about data that the pipeline reads and no
    pin covers. Where `databom.lock` and the project's log do not remember the same, one more says so.

    Args:
        base: a branch, tag or commit id: also compare the trust root, the policy and the pins with the commit at
            which the work tree left it. The pins' reports then hold what became of them, and one more report, whose
            subject has no name, what changed for the project.
        trust: a trust root to judge by, as for `verify`.
        trust_digest: `sha256:<hex>` that the trust root must have. Approves, with `base`, a root that has it.
        policy_digest: `sha256:<hex>` of a weaker policy that somebody outside the branch approves; needs `base`.
        full: as for `verify`.
        leases: as for `verify`.
        project: the project's folder; by default the one around the working directory.
        executor: where the hashing runs: any `concurrent.futures.Executor`, also `client.get_executor()` of Dask;
            by default this machine's cores.
        now: the time to judge by.
        progress: told how far it is.

    Raises:
        ConfigError: no project, or no pins (an empty check never passes); no git, no such `base`, or a clone that
            is too shallow to compare with it.
    """
    if policy_digest is not None and base is None:
        raise ConfigError(
            "--policy-digest approves what changed since a base, and none is named",
            hint="databom check --base origin/main --policy-digest sha256:...",
        )
    place = Project.load(project)
    compared = None
    if base is not None:
        from databom.tasks.comparing import compare

        compared = compare(place, base, trust_digest=trust_digest, policy_digest=policy_digest, now=now)
    answer = verify(
        trust=trust,
        trust_digest=trust_digest,
        full=full,
        leases=leases,
        project=place.root,
        executor=executor,
        now=now,
        progress=progress,
        gated=True,
    )
    assert isinstance(answer, Reports)
    believed = load_trust(place, Path(trust) if trust else None, trust_digest)
    covered = cover(place, believed, times.or_now(now))
    forgotten = _forgotten(place, believed, times.or_now(now))
    data = tuple(one for one in (covered, forgotten) if one is not None)
    if base is None or compared is None:
        return Reports((*answer.reports, *data))
    pins = (report.plus(compared.pins.get(report.subject.name or "", ())) for report in answer.reports)
    changes = Report(
        Subject(),
        compared.project,
        trust=answer.reports[0].trust,
        policy=place.config.policy_digest,
        about=f"changes since {printable(base)}",
    )
    return Reports((*pins, *data, changes))


def _forgotten(place: Project, believed: Believed, now: datetime) -> Report | None:
    """What the lock, the evidence and the log say differently; None where they agree, or nobody can be asked."""
    from databom.tasks.recollecting import recollect
    from databom.tasks.taken_back import lost_notices

    told = recollect(place, believed, now)
    findings = (*told.differences(place.lock), *lost_notices(place, told))
    if not findings:
        return None
    return Report(
        Subject(),
        findings,
        trust=believed.digest,
        policy=place.config.policy_digest,
        about="databom.lock and the log",
    )
