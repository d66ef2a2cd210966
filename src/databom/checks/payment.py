"""Was it paid, as far as the policy asks?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from databom.model.config import Policy
from databom.model.finding import Finding
from databom.model.manifest import Manifest
from databom.model.proofs import Proofs


def check_payment(manifest: Manifest, policy: Policy, proofs: Proofs, now: datetime) -> Iterator[Finding]:
    """`payment.*`."""
    del manifest, policy, proofs, now
    yield from ()
