"""What was attached to a pin: the files of `provenance/evidence/<name>/`, verified each time they are read.

They lie in git, where anybody may edit them; so nothing is believed because it is there. A statement about another
manifest than the pinned one (an earlier release of the pin) proves nothing now and is passed over.
"""

from __future__ import annotations

from datetime import datetime

from databom.errors import InputError, StorageError
from databom.model.finding import Finding, findings_of
from databom.model.proofs import Proof, Proofs
from databom.storage import files
from databom.tasks.believing import Believed
from databom.tasks.project import Project
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.proof import open_proof, read_proof

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
            if read_proof(raw, file=file).manifest == manifest and believed.root is not None:
                held.append(open_proof(raw, believed.root, file=file, now=now))
        except (InputError, StorageError) as error:
            findings += findings_of(error)
    return Proofs(tuple(held), tuple(findings))
