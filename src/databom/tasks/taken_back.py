"""Notices of revocation that a project has: kept beside the pins, and remembered by the log when they are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from databom.errors import DatabomError, InputError, StorageError
from databom.log.events import Revoked
from databom.model import times
from databom.model.digest import sha256
from databom.model.finding import Finding, Severity
from databom.model.text import printable
from databom.tasks.attached import evidence_files, is_notice, notices_beside, read_evidence

if TYPE_CHECKING:
    from databom.model.manifest import Manifest
    from databom.model.proofs import Proof
    from databom.tasks.project import Project
    from databom.tasks.recollecting import Recollection, TakenBack


def revoked(name: str, release: str, proof: Proof, manifest: Manifest | None) -> Revoked:
    """The event of a notice that holds; a claim where the license was given as irrevocable."""
    return Revoked(
        name=name,
        release=release,
        manifest=proof.manifest,
        evidence=proof.digest,
        issued_at=str(proof.predicate["issued_at"]),
        keyids=proof.keyids,
        claimed=is_irrevocable(manifest),
    )


def is_irrevocable(manifest: Manifest | None) -> bool:
    """Whether a license was given as one that cannot be taken back; not where nobody knows the manifest."""
    return manifest is not None and manifest.license.revocable is False


def unlogged(place: Project, code: str) -> Iterator[Finding]:
    """A warning with this code where this clone does not write the log."""
    from databom.tasks.remembering import can_remember

    if not place.config.log_origin or not can_remember(place):
        yield Finding(
            code,
            Severity.WARN,
            place.config.log_location,
            "this clone does not write the log: a notice that gets lost would not be remembered",
            expected="a key of the role log (DATABOM_LOG_KEY)",
            found="none that speaks for the log",
            do="carry notices out where the log is written",
        )


def notices_of(place: Project, name: str, manifest: str) -> list[str]:
    """Digests of the notices about a pin's manifest that are kept and hold, sorted. Never raises: a run is ending.

    Where none is kept, which is told by the names that `attach` and `revoke` give them, nothing is opened.
    """
    try:
        own = evidence_files(place, name)
        if not any(map(is_notice, own)) and not notices_beside(place, name, manifest, own):
            return []
        from databom.tasks.attached import load_proofs
        from databom.tasks.believing import load_trust

        proofs = load_proofs(place, name, manifest, load_trust(place), times.now())
    except DatabomError:
        return []
    return sorted(proof.digest for proof in proofs.of("revocation"))


def lost_notices(place: Project, told: Recollection, *names: str) -> Iterator[Finding]:
    """`revocation.revoked` of pins that the log shows were revoked, while no notice of it is kept any more.

    A notice lies in git, where a branch can lose it and anybody can remove it; what was logged stays.

    Raises:
        StorageError: the evidence is there and cannot be listed.
    """
    for name in names or sorted(place.lock.pins):
        manifest = place.lock.pins[name].manifest
        for one in missing_notices(place, name, (one for one in told.revoked if one.manifest == manifest)):
            yield Finding(
                "revocation.revoked",
                Severity.BLOCK,
                name,
                "the log says that the license of this release was taken back, and the notice is not kept any more",
                expected=f"the notice {printable(one.evidence)}, of {printable(one.issued_at)}",
                found="no such evidence",
                do=f"put it back from git (provenance/evidence/{name}); move on: databom update {name}",
            )


def missing_notices(place: Project, name: str, told: Iterable[TakenBack]) -> list[TakenBack]:
    """Those of the notices that are told of which are not kept for a pin, sorted.

    Raises:
        StorageError: the evidence is there and cannot be listed.
    """
    missing = {one.evidence: one for one in told}
    if not missing:
        return []
    own = evidence_files(place, name)
    manifests = {one.manifest for one in missing.values()}
    beside = [path for one in sorted(manifests) for path in notices_beside(place, name, one, own)]
    for path in (*own, *beside):
        try:
            missing.pop(sha256(read_evidence(path)), None)
        except (InputError, StorageError):
            continue  # whoever judges the pin says so
    return sorted(missing.values())
