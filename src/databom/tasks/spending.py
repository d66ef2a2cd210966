"""Is a payment used for more than it pays for? Looks over all pins of a project, and all that is attached to them.

Files can be deleted. `attach` asks the log too, which says what a receipt paid for when it was taken in.

Nothing that is found here is believed: a transaction id that another release claims counts against both, whoever
wrote it down. What is compared is the id at one marketplace, and an x402 receipt as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from databom.errors import InputError, StorageError
from databom.model import strictjson
from databom.model.digest import sha256
from databom.model.lock import Pin
from databom.model.manifest import Manifest
from databom.model.proofs import Proofs, Spent
from databom.model.receipts import read_unsigned
from databom.tasks.attached import (
    JWS_SUFFIX,
    MAX_PROOFS,
    UNSIGNED_SUFFIX,
    evidence_files,
    is_kept_for,
    read_evidence,
)
from databom.tasks.inside import leads_out
from databom.tasks.project import Project
from databom.trust.encoding import decode64url
from databom.trust.proof import read_proof

if TYPE_CHECKING:
    from databom.tasks.recollecting import Spending


class _Claim(NamedTuple):
    """A payment that some file says is for a release."""

    payment: str
    """A transaction id, or the digest of an x402 receipt."""
    manifest: str
    """Digest of the manifest; "" where the file's name says it."""
    release: str
    """What the file calls it; "" where it says nothing."""


def spent_elsewhere(
    place: Project, name: str, manifest: Manifest, proofs: Proofs, told: Iterable[Spending] = ()
) -> dict[str, tuple[Spent, ...]]:
    """The payments of this pin's release that are used for another one, too; `told` is what the log knows of.

    Raises:
        StorageError: an evidence folder cannot be listed.
    """
    mine = _payments(manifest, proofs)
    if not mine:
        return {}
    found: dict[str, set[Spent]] = {}
    market = _market(place.lock.pins.get(name), manifest)
    for other, dataset, claim in (*_claimed(place, market), *_logged(place, market, told)):
        if claim.payment in mine and manifest.digest != claim.manifest and manifest.release != claim.release:
            release = claim.release or f"an earlier release of {other}"
            of = claim.release.rpartition("@")[0] or dataset
            found.setdefault(claim.payment, set()).add(Spent(release, of))
    return {payment: tuple(sorted(releases)) for payment, releases in sorted(found.items())}


def _claimed(place: Project, market: str | None) -> Iterator[tuple[str, str, _Claim]]:
    """What the project's files say now: the pin, its dataset, the claim."""
    for other, pin in sorted(place.lock.pins.items()):
        if _market(pin) == market:
            for claim in (*_of_pin(pin), *_of_folder(place, other, pin)):
                yield other, pin.dataset_id, claim


def _logged(
    place: Project, market: str | None, told: Iterable[Spending]
) -> Iterator[tuple[str, str, _Claim]]:
    """What the log says, whatever became of the files. A pin that is gone may have been of any marketplace."""
    for one in told:
        pin = place.lock.pins.get(one.name)
        if pin is None or _market(pin) == market:
            for payment in (one.transaction_id, one.evidence):
                yield one.name, "", _Claim(payment, one.manifest, one.release)


def _payments(manifest: Manifest, proofs: Proofs) -> set[str]:
    stated = {manifest.payment.transaction_id} if manifest.payment else set()
    for proof in proofs.of("payment"):
        stated |= {
            proof.predicate.get("transaction_id" if proof.form == "dsse" else "transaction"),
            proof.digest if proof.form == "jws" else None,
        }
    stated |= {one.transaction_id for one in proofs.unsigned}
    return {one for one in stated if isinstance(one, str) and one}


def _market(pin: Pin | None, manifest: Manifest | None = None) -> str | None:
    return pin.marketplace if pin is not None else manifest.marketplace_id if manifest is not None else None


def _of_pin(pin: Pin) -> Iterator[_Claim]:
    """What the manifest itself states, as the lock repeats it: `<model>:<transaction id>`."""
    transaction = (pin.payment or "none").partition(":")[2]
    if transaction not in ("", "none"):
        yield _Claim(transaction, pin.manifest, pin.release)


def _of_folder(place: Project, name: str, pin: Pin) -> Iterator[_Claim]:
    for path in evidence_files(place, name)[:MAX_PROOFS]:
        if leads_out(place.root, path) is not None:
            continue
        try:
            status = path.stat()
        except OSError:  # gone meanwhile
            continue
        for claim in _claims(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns):
            if claim.manifest or not is_kept_for(path, pin.manifest):
                yield claim
            else:
                yield claim._replace(manifest=pin.manifest, release=pin.release)


@lru_cache(maxsize=10_000)
def _claims(path: Path, *_stamp: int) -> tuple[_Claim, ...]:
    """What a file of evidence says has been paid, by whose word ever. Read once while it does not change."""
    try:
        raw = read_evidence(path)
        if path.name.endswith(JWS_SUFFIX):
            payload = strictjson.loads(decode64url(raw.decode("ascii").split(".")[1], ""))
            said = (sha256(raw), payload.get("transaction") if isinstance(payload, dict) else None)
            return tuple(_Claim(one, "", "") for one in said if isinstance(one, str) and one)
        if path.name.endswith(UNSIGNED_SUFFIX):
            manifest, receipt = read_unsigned(raw, file=path.name, digest="")
            return (_Claim(receipt.transaction_id, manifest, ""),) if receipt.transaction_id else ()
        stated = read_proof(raw, file=path.name)
    except (InputError, StorageError, ValueError, IndexError):
        return ()
    transaction = stated.predicate.get("transaction_id")
    if stated.kind.name != "payment" or not isinstance(transaction, str) or not transaction:
        return ()
    return (_Claim(transaction, stated.manifest, stated.release),)
