"""Which payment receipts are held for a pin: what a BOM says of them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from databom.errors import ConfigError, StorageError
from databom.tasks.project import EVIDENCE_ABOUT

if TYPE_CHECKING:
    from databom.model.manifest import Manifest
    from databom.tasks.project import Project


def has_evidence(place: Project, name: str) -> bool:
    """Whether anything was attached to the pin; False where nobody may look."""
    try:
        return any(entry.name != EVIDENCE_ABOUT for entry in place.evidence_dir(name).iterdir())
    except (ConfigError, OSError, ValueError):
        return False


def receipts_held(
    place: Project, name: str, manifest: Manifest, now: datetime | None = None
) -> tuple[str, ...]:
    """Digests of the receipts for this manifest that verify now and that nothing speaks against, sorted.

    None where the trust root, or what is kept, cannot be read: what cannot be verified is not held.
    """
    try:
        if not has_evidence(place, name):
            return ()
        from databom.checks.payment import good_receipts
        from databom.model import times
        from databom.tasks.attached import load_proofs
        from databom.tasks.believing import load_trust
        from databom.tasks.spending import spent_elsewhere

        now = times.or_now(now)
        proofs = load_proofs(place, name, manifest.digest, load_trust(place), now)
        proofs = replace(proofs, spent=spent_elsewhere(place, name, manifest, proofs))
        good = good_receipts(manifest, place.config.policy, proofs, now)
    except (ConfigError, StorageError):
        return ()
    return tuple(sorted(one.digest for one in good))
