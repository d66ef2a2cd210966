"""What was attached to a pin: the files of `provenance/evidence/<name>/`, verified each time they are read.

They lie in git, where anybody may edit them; so nothing is believed because it is there. A statement about another
manifest than the pinned one (an earlier release of the pin) proves nothing now and is passed over.
"""

from __future__ import annotations

from datetime import datetime

from databom.errors import InputError, StorageError
from databom.model import times
from databom.model.approvals import INVALID
from databom.model.finding import Finding, Severity, findings_of
from databom.model.proofs import Proof, Proofs
from databom.model.text import printable
from databom.storage import files
from databom.tasks.believing import Believed
from databom.tasks.project import Project
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.proof import Stated, open_proof, read_proof
from databom.trust.root import TrustRoot

SUFFIX = ".dsse.json"
"""How the name of a statement ends in the folder."""
MAX_PROOFS = 10_000


def load_proofs(place: Project, name: str, manifest: str, believed: Believed, now: datetime) -> Proofs:
    """The proofs about the manifest with this digest, by file name, and findings about those that do not hold."""
    held: list[Proof] = []
    findings: list[Finding] = []
    folder = place.evidence_dir(name)
    try:
        names = sorted(entry.name for entry in folder.iterdir()) if files.has_folder(folder) else []
    except OSError as error:
        raise StorageError(f"{folder} cannot be listed: {error.strerror}") from error
    for file in [one for one in names if one.endswith(SUFFIX)][:MAX_PROOFS]:
        try:
            raw = files.read_bounded(folder / file, MAX_ENVELOPE_BYTES)
            stated = read_proof(raw, file=file)
            if stated.manifest != manifest or believed.root is None:
                continue
            if waits := waiting(stated, believed.root, file=file, now=now):
                findings.append(waits)
            elif is_signed(stated, believed.root, now) or not _is_over(stated, now):
                held.append(open_proof(raw, believed.root, file=file, now=now))
        except (InputError, StorageError) as error:
            findings += findings_of(error)
    return Proofs(tuple(held), tuple(findings))


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
