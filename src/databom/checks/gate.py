"""May it be used so? What a believed manifest and the proofs kept for it say to the policy.

`check_use` asks everything that needs no asset. What a scanner finds in the assets is asked in `personal`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from databom.checks.approvals import check_risk
from databom.checks.attribution import check_attribution
from databom.checks.license import check_license
from databom.checks.payment import check_payment
from databom.checks.personal import check_consents
from databom.checks.revocation import check_revocations
from databom.model.config import Config
from databom.model.finding import Finding
from databom.model.manifest import Manifest
from databom.model.proofs import Proofs


def check_use(manifest: Manifest, config: Config, proofs: Proofs, now: datetime) -> Iterator[Finding]:
    """License, attribution, payment and consent against the policy, before any approval."""
    # A payment that nobody asks about is not asked about, receipts included.
    silent = "payment." if config.policy.payment == "off" else None
    yield from (one for one in proofs.findings if silent is None or not one.code.startswith(silent))
    yield from check_license(manifest, config, now)
    yield from check_risk(manifest, config)
    yield from check_attribution(manifest, config)
    yield from check_payment(manifest, config.policy, proofs, now)
    yield from check_consents(manifest, config, now)
    yield from check_revocations(manifest, proofs)
