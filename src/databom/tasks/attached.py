"""What was attached to a pin: the files of `provenance/evidence/<name>/`, verified each time they are read.

| file | what it is |
|---|---|
| `<kind>-<digest>.dsse.json` | a signed statement about one manifest |
| `payment-<manifest>-<digest>.jws` | an x402 receipt, and the manifest it was attached for |
| `payment-<digest>.unsigned.json` | evidence of a payment that nobody signed, and the manifest it was attached for |

They lie in git, where anybody may edit them; so nothing is believed because it is there. A statement about another
manifest than the pinned one (an earlier release of the pin) proves nothing now and is passed over.

An x402 receipt signs a URL, and no digest. It speaks for a pin when that URL is where the manifest came from, or where
a document of that name stands beside the assets: https, host, port and path equal, and no query in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

from databom.errors import ConfigError, InputError, Problem, StorageError
from databom.model import times
from databom.model.approvals import INVALID
from databom.model.digest import hex_of, sha256
from databom.model.finding import Finding, Severity, findings_of
from databom.model.lock import Pin
from databom.model.proofs import Proof, Proofs
from databom.model.receipts import Receipt, read_unsigned
from databom.model.text import printable
from databom.storage import files
from databom.storage.location import Location, parse_location
from databom.tasks.believing import Believed
from databom.tasks.inside import leads_out
from databom.tasks.project import Project
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.proof import Stated, open_proof, read_proof
from databom.trust.root import TrustRoot
from databom.trust.x402 import ROLE, open_receipt

SUFFIX = ".dsse.json"
"""How the name of a statement ends in the folder."""
JWS_SUFFIX = ".jws"
UNSIGNED_SUFFIX = ".unsigned.json"
MAX_PROOFS = 10_000
_DIGITS = 16
"""Hex digits of a digest that a file's name carries."""


def load_proofs(place: Project, name: str, manifest: str, believed: Believed, now: datetime) -> Proofs:
    """The proofs about the manifest with this digest, by file name, and findings about those that do not hold.

    A notice of revocation counts for every pin of its manifest, whichever of them it is kept beside.
    """
    held: list[Proof] = []
    unsigned: list[Receipt] = []
    findings: list[Finding] = []
    every = evidence_files(place, name)
    if len(every) > MAX_PROOFS:
        findings.append(_too_many(name, len(every)))
    for path in (*every[:MAX_PROOFS], *notices_beside(place, name, manifest, every)):
        if leads_out(place.root, path) is not None:
            findings.append(_elsewhere(path))
            continue
        try:
            if path.name.endswith(UNSIGNED_SUFFIX):
                raw = read_evidence(path)
                about, receipt = read_unsigned(raw, file=path.name, digest=sha256(raw))
                if about == manifest:
                    unsigned.append(receipt)
            elif believed.root is not None:
                proof = _proof(place, name, path, manifest, believed.root, now)
                held += [proof] if isinstance(proof, Proof) else []
                findings += [proof] if isinstance(proof, Finding) else []
        except (InputError, StorageError) as error:
            findings += findings_of(error)
    return Proofs(tuple(held), tuple(findings), tuple(unsigned))


def notices_beside(place: Project, name: str, manifest: str, own: Collection[Path]) -> list[Path]:
    """Files beside the other pins of a manifest that may be notices of its revocation, and are not beside this one.

    Raises:
        ConfigError, StorageError: as `evidence_files`.
    """
    others = [one for one, pin in place.lock.pins.items() if pin.manifest == manifest and one != name]
    if not others:
        return []
    found = {path.name: path for one in others for path in evidence_files(place, one)[:MAX_PROOFS]}
    mine = {path.name for path in own}
    return [path for file, path in sorted(found.items()) if is_notice(path) and file not in mine]


def is_notice(path: Path) -> bool:
    """Whether a file of evidence may be a notice of revocation, by the name that `attach` and `revoke` give it."""
    return path.name.startswith("revocation-") and path.name.endswith(SUFFIX)


def evidence_files(place: Project, name: str) -> list[Path]:
    """The files of a pin's evidence that may be proofs, by name; whoever reads them reads `MAX_PROOFS`.

    Raises:
        ConfigError: a link leads out of the project.
        StorageError: the folder is there and cannot be listed.
    """
    folder = place.evidence_dir(name)
    with files.translated(folder, "list"):
        names = sorted(entry.name for entry in folder.iterdir()) if files.has_folder(folder) else []
    known = [one for one in names if one.endswith((SUFFIX, JWS_SUFFIX, UNSIGNED_SUFFIX))]
    return [folder / one for one in known]


def _elsewhere(path: Path) -> Finding:
    return Finding(
        "evidence.invalid",
        Severity.BLOCK,
        printable(path.name),
        "this is a link that leads out of the project, and is not followed",
        expected="a file",
        found="a symbolic link",
        do="put the file itself there: what lies elsewhere changes without any commit",
    )


def _too_many(name: str, count: int) -> Finding:
    return Finding(
        "evidence.invalid",
        Severity.BLOCK,
        printable(name),
        "this pin has more files of evidence than are read, and what is not read proves nothing",
        expected=f"at most {MAX_PROOFS:,}",
        found=f"{count:,}",
        do="remove what nobody needs any more",
    )


def read_evidence(path: Path) -> bytes:
    """The bytes of a file that may be evidence.

    Raises:
        InputError: `evidence.invalid`: it is too large to be any.
        StorageError: it cannot be read.
    """
    try:
        return files.read_bounded(path, MAX_ENVELOPE_BYTES)
    except InputError:
        what, limit = "this is too large to be evidence", f"at most {MAX_ENVELOPE_BYTES:,} bytes"
        do = "look at what it is"
        raise InputError(Problem("evidence.invalid", printable(path.name), what, limit, None, do)) from None


def statement_name(kind: str, raw: bytes) -> str:
    """The name under which a signed statement is kept."""
    return f"{kind}-{hex_of(sha256(raw))[:_DIGITS]}{SUFFIX}"


def jws_name(manifest: str, raw: bytes) -> str:
    """The name under which an x402 receipt is kept for the manifest with this digest."""
    return f"payment-{_mark(manifest)}-{hex_of(sha256(raw))[:_DIGITS]}{JWS_SUFFIX}"


def unsigned_name(raw: bytes) -> str:
    """The name under which unsigned evidence is kept."""
    return f"payment-{hex_of(sha256(raw))[:_DIGITS]}{UNSIGNED_SUFFIX}"


def is_kept_for(path: Path, manifest: str) -> bool:
    """Whether an x402 receipt was attached for the manifest with this digest, as its file's name says."""
    return path.name.startswith(f"payment-{_mark(manifest)}-")


def _mark(manifest: str) -> str:
    return hex_of(manifest)[:_DIGITS]


def _proof(
    place: Project, name: str, path: Path, manifest: str, root: TrustRoot, now: datetime
) -> Proof | Finding | None:
    """What a file proves of the manifest; what there is to say of one that does not yet; None of any other."""
    if path.name.endswith(JWS_SUFFIX):
        if not is_kept_for(path, manifest):
            return None
        raw = read_evidence(path)
        return open_jws(place, name, raw, manifest, root, file=path.name, now=now)
    raw = read_evidence(path)
    stated = read_proof(raw, file=path.name)
    if stated.manifest != manifest:
        return None
    if waits := waiting(stated, root, file=path.name, now=now):
        return waits
    if _is_over(stated, now) and not is_signed(stated, root, now):
        return None
    return open_proof(raw, root, file=path.name, now=now)


def open_jws(
    place: Project, name: str, raw: bytes, manifest: str, root: TrustRoot, *, file: str, now: datetime
) -> Proof:
    """An x402 receipt (a compact JWS) as a proof of payment for the pin, whose manifest has this digest.

    Raises:
        InputError: `payment.invalid` where it is not signed by the role `payment`; `payment.mismatch` where it is for
            another resource.
    """
    payload, keyid = open_receipt(raw, root, file=file, now=now)
    resource = payload.get("resourceUrl")
    pin = place.lock.pins.get(name)
    places = list(_resources(place, pin)) if pin is not None else []
    if not isinstance(resource, str) or _address(resource) not in places:
        raise InputError(
            Problem(
                "payment.mismatch",
                printable(file),
                "this receipt is for another resource than the pin's manifest",
                expected=" or ".join(printable(one.shown, 400) for one in places)
                or "an https location: this pin comes from none, so no x402 receipt can be for it",
                found=printable(str(resource), 400),
                do="ask the seller for a receipt for the manifest's own URL, without a query, or for a databom "
                "payment receipt",
            )
        )
    return Proof("payment", file, sha256(raw), manifest, (ROLE,), (keyid,), payload, "jws")


def _resources(place: Project, pin: Pin) -> Iterator[Location]:
    """Where the manifest of a pin is, as far as that is an https location."""
    try:
        source, root = place.source(pin.source), place.source(pin.root)
        beside = root.join(source.name)
    except InputError:  # the lock was edited
        return
    for one in dict.fromkeys((source, beside)):
        if one.scheme == "https":
            yield one


def _address(resource: str) -> Location | None:
    """The URL as a location, so that two spellings of one are equal; None where it is none, or has a query."""
    try:
        location = parse_location(resource)
    except ConfigError:
        return None
    return location if location.scheme == "https" and location.secret_query is None else None


def waiting(stated: Stated, root: TrustRoot, *, file: str, now: datetime) -> Finding | None:
    """`approval.invalid` (warn) of an approval or waiver that some who may have signed, and not yet enough of them.

    It settles nothing, and pretends nothing: colleagues sign one after the other.
    """
    signed = stated.signed_in(root, now)
    if stated.code != INVALID or not signed or is_signed(stated, root, now):
        return None
    name, keys = max(signed.items(), key=lambda pair: len(pair[1]))
    return Finding(
        INVALID,
        Severity.WARN,
        printable(file),
        f"this {stated.kind.name} waits for more signatures, and settles nothing before",
        expected=f"{root.roles[name].threshold} keys of the role {name}",
        found=f"{len(keys)}: {', '.join(sorted(keys))}",
        do=f"another of them signs it too: databom approve NAME --add {printable(file)} --key FILE",
    )


def is_signed(stated: Stated, root: TrustRoot, now: datetime) -> bool:
    """Whether enough keys of a role that may make it have signed."""
    signed = stated.signed_in(root, now)
    return any(len(keys) >= root.roles[name].threshold for name, keys in signed.items())


def _is_over(stated: Stated, now: datetime) -> bool:
    """Whether it says itself that it settles nothing any more: then it does not matter who signed it.

    Else every key that is retired would turn the approvals of years ago into refusals.
    """
    try:
        return stated.code == INVALID and times.parse(str(stated.predicate.get("expires_at"))) <= now
    except ValueError:
        return False
