"""The gatekeeper: holds a believed release against the policy, with the proofs that are kept for it.

Asked by whatever lets something happen: `add`, `sync`, `check`, `exec`, the MLflow door. In this order:

1. `documents`: license, attribution, payment, consent, by the manifest and the proofs alone (`databom.checks.gate`);
2. `scanned`: what scanners see in the verified bytes (`databom.checks.personal`);
3. `assets`: at the end, and after 1, what the right people approved is settled (`databom.checks.approvals`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.approvals import settle
from databom.checks.gate import check_use
from databom.model.finding import Report
from databom.model.proofs import Proofs
from databom.tasks.attached import load_proofs
from databom.tasks.believing import Believed
from databom.tasks.judging import Judged
from databom.tasks.personal import scanned
from databom.tasks.progress import Progress
from databom.tasks.project import Project
from databom.tasks.spending import spent_elsewhere

if TYPE_CHECKING:
    from databom.tasks.noting import Noted


class Gatekeeper(Struct, frozen=True):
    """One pin's gate at one time."""

    place: Project
    name: str
    proofs: Proofs
    now: datetime

    @classmethod
    def of(cls, place: Project, name: str, judged: Judged, believed: Believed, now: datetime) -> Gatekeeper:
        """Read what is kept for the pin `name`, about the manifest that was judged.

        Raises:
            StorageError: the evidence folder is there and cannot be read.
        """
        proofs = Proofs()
        if judged.is_believed and judged.manifest is not None:
            proofs = load_proofs(place, name, judged.manifest.digest, believed, now)
            proofs = replace(proofs, spent=spent_elsewhere(place, name, judged.manifest, proofs))
        return cls(place, name, proofs, now)

    def documents(self, judged: Judged) -> Judged:
        """The judgement with the gate's findings in place of "not judged"; a document not believed, as it is."""
        manifest = judged.manifest
        if manifest is None or not judged.is_believed:
            return judged
        others = [one for one in judged.policy if not one.code.startswith(("license.", "attribution."))]
        config = self.place.config
        found = check_use(manifest, config, self.proofs, self.now)
        settled = settle((*others, *found), self.proofs, config, self.now)
        return replace(judged, policy=settled.findings, approvals=settled.approvals)

    def scanned(
        self, judged: Judged, report: Report, progress: Progress, happened: list[Noted] | None = None
    ) -> Report:
        """The report with what scanners see in the assets, which it says are verified; `happened` hears of it."""
        if judged.manifest is None or not judged.is_believed:
            return report
        return scanned(
            self.place,
            self.name,
            judged.manifest,
            report,
            self.proofs,
            now=self.now,
            progress=progress,
            happened=happened,
        )

    def assets(self, report: Report) -> Report:
        """The report with what people approved settled among the findings about the assets."""
        settled = settle(report.findings, self.proofs, self.place.config, self.now)
        approvals = {str(one): one for one in (*report.approvals, *settled.approvals)}
        return replace(
            report, findings=settled.findings, approvals=tuple(approvals[key] for key in sorted(approvals))
        )
