"""The in-toto Statement v1 that stands for a manifest: small, whatever the manifest's size.

    {"_type": "https://in-toto.io/Statement/v1",
     "subject": [{"name": "<id>@<version>", "digest": {"sha256": <manifest>, "dirHash1": <tree>}}],
     "predicateType": "urn:databom:dataset-manifest:v1",
     "predicate": {"datasetId", "version", "sequence", "issuedAt", "assetCount", "totalBytes"}}

`sha256` binds the manifest's bytes as published. `dirHash1` (in-toto's digest set) binds names and contents
of the assets once more, so that a tree can be matched to the statement without the manifest. The predicate
repeats what other tools want to read without fetching the manifest; a member that disagrees is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from databom.errors import InputError, Problem
from databom.model import times
from databom.model.digest import hex_of
from databom.model.text import printable
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.encoding import ASK_PUBLISHER, read_json

if TYPE_CHECKING:
    from databom.model.manifest import Manifest

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:databom:dataset-manifest:v1"


def manifest_statement(manifest: Manifest) -> bytes:
    """The statement about this manifest, as deterministic JSON: what a publisher signs.

    Raises:
        ValueError: the shards of its index have not been read, so that nobody knows its tree digest.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": manifest.release, "digest": _digests(manifest)}],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(manifest),
    }
    return json.dumps(statement, ensure_ascii=False, separators=(",", ":")).encode()


def check_statement(payload: bytes, manifest: Manifest) -> list[Problem]:
    """Whether a statement, whose signature has been verified, is about exactly this manifest.

    Every difference is a `signature.invalid`: a good signature about something else proves nothing here.
    Never raises. Exactly one subject; both digests must be there and equal; every predicate member that is
    there must agree, absent values of the manifest being null. What only the shards of a large release can tell
    (`dirHash1`, `totalBytes`) is not asked of a manifest whose shards have not been read: ask again when they are.
    """
    try:
        statement = read_json(payload, what="the signed statement", limit=MAX_ENVELOPE_BYTES)
    except InputError as error:
        return list(error.problems)
    if statement.get("_type") != STATEMENT_TYPE:
        return [
            _differs("/_type", "this is not an in-toto Statement v1", STATEMENT_TYPE, statement.get("_type"))
        ]
    if statement.get("predicateType") != PREDICATE_TYPE:
        what = "the statement was signed for another purpose than describing a dataset's manifest"
        return [_differs("/predicateType", what, PREDICATE_TYPE, statement.get("predicateType"))]
    subjects = statement.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        found = f"{len(subjects)} entries" if isinstance(subjects, list) else type(subjects).__name__
        what = "the statement must be about exactly one manifest"
        return [_differs("/subject", what, "one subject", found)]
    subject, predicate = subjects[0], statement.get("predicate")
    digests = subject.get("digest")
    claims = [("/subject/0/name", _OTHER["name"], subject.get("name"), manifest.release)]
    later = () if manifest.is_complete else ("dirHash1", "totalBytes")
    for name, digest in (("sha256", manifest.digest), ("dirHash1", manifest.tree)):
        if name in later:
            continue
        claim = digests.get(name) if isinstance(digests, dict) else None
        shown = f"sha256:{claim}" if isinstance(claim, str) else claim
        claims.append((f"/subject/0/digest/{name}", _OTHER[name], shown, digest))
    if isinstance(predicate, dict):
        for name, fact in _predicate(manifest).items():
            if name in predicate and name not in later:
                claim = _same_instant(predicate[name], fact) if name == "issuedAt" else predicate[name]
                claims.append((f"/predicate/{name}", _OTHER["predicate"], claim, fact))
    # What was signed is what is expected of the manifest at hand; True is no 1 here.
    problems = [
        _differs(where, what, claim, fact)
        for where, what, claim, fact in claims
        if type(claim) is not type(fact) or claim != fact
    ]
    if not isinstance(predicate, dict):
        kind = type(predicate).__name__
        problems.append(_differs("/predicate", "the statement has no predicate", "an object", kind))
    return problems


_OTHER = {
    "name": "the statement that was signed is about another release",
    "sha256": "the statement that was signed is about another manifest: these are not the bytes that were signed",
    "dirHash1": "the statement that was signed is about other assets than this manifest lists",
    "predicate": "the statement that was signed and this manifest disagree",
}


def _digests(manifest: Manifest) -> dict[str, str]:
    return {"sha256": hex_of(manifest.digest), "dirHash1": hex_of(manifest.tree)}


def _predicate(manifest: Manifest) -> dict[str, Any]:
    return {
        "datasetId": manifest.dataset_id,
        "version": manifest.version,
        "sequence": manifest.sequence,
        "issuedAt": times.format(manifest.issued_at) if manifest.issued_at else None,
        "assetCount": manifest.asset_count,
        "totalBytes": manifest.total_bytes,
    }


def _same_instant(found: object, expected: str | None) -> object:
    """`expected` where `found` spells the same second in another way (`.000Z`), else `found`."""
    if isinstance(found, str) and expected is not None:
        try:
            return expected if times.format(times.parse(found)) == expected else found
        except ValueError:
            return found
    return found


def _differs(subject: str, what: str, expected: object, found: object) -> Problem:
    if type(expected) is not type(found):  # as JSON, so that 7 and "7" do not look alike
        expected, found = json.dumps(expected, ensure_ascii=False), json.dumps(found, ensure_ascii=False)
    return Problem(
        "signature.invalid",
        subject,
        what,
        expected=printable(str(expected)),
        found=printable(str(found)),
        do=ASK_PUBLISHER,
    )
