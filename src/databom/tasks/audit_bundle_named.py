"""What a receipt names, and what an entry or a file of evidence is about: asked where a bundle is made and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from databom.bom.cyclonedx import before_receipt
from databom.errors import InputError
from databom.log.events import read_entry
from databom.model.digest import sha256
from databom.model.receipts import read_unsigned
from databom.model.trainings import BOM_FILE, ENVIRONMENT_FILE, RECORD_FILE
from databom.tasks.attached import JWS_SUFFIX, UNSIGNED_SUFFIX, is_kept_for
from databom.tasks.explaining import Case, digest_of
from databom.trust.proof import read_proof

_NAMED = ("paymentReceipts", "consent", "approvals", "revoked")
"""Annotations of a release in a receipt that name signed statements by digest."""


POLICY_URI, TRUST_URI = "urn:databom:policy", "urn:databom:trust-root:v1"
ENVIRONMENT_URI = f"file:{ENVIRONMENT_FILE}"


def with_uri(case: Case, uri: str) -> Mapping[str, Any] | None:
    """What the receipt says the run stood on, by its URI: a pin may be called `policy` or `trust`."""
    return next((one for one in case.dependencies if one.get("uri") == uri), None)


def named_as(case: Case, uri: str) -> str | None:
    """The digest (`sha256:<hex>`) of what the receipt names with a URI."""
    one = with_uri(case, uri)
    found = digest_of(one, "sha256") if one is not None else None
    return f"sha256:{found}" if found else None


def named_documents(case: Case) -> dict[str, str]:
    """The documents beside a receipt that it names, with their digests."""
    byproducts = case.found.receipt.statement["predicate"]["runDetails"].get("byproducts")
    named: dict[str, str] = {}
    for one in byproducts if isinstance(byproducts, list) else ():
        if isinstance(one, dict) and (digest := digest_of(one, "sha256")) is not None:
            name = str(one.get("name"))
            named[RECORD_FILE if name.startswith("run/") else name] = f"sha256:{digest}"
    if (environment := named_as(case, ENVIRONMENT_URI)) is not None:
        named[ENVIRONMENT_FILE] = environment
    return named


def document_digest(name: str, raw: bytes) -> str:
    """A document's digest as a receipt names it: a BOM points to the receipt, and is named as it was before."""
    try:
        return sha256(before_receipt(raw) if name == BOM_FILE else raw)
    except ValueError:
        return "no BOM"


def named_evidence(notes: Mapping[str, Any]) -> set[str]:
    """The digests of the signed statements that a receipt names for a release."""
    lists = (notes.get(name) for name in _NAMED)
    return {one for found in lists if isinstance(found, list) for one in found if isinstance(one, str)}


def is_about(name: str, raw: bytes, manifest: str) -> bool | None:
    """Whether a file of evidence is about the manifest with a digest; None where it is no evidence."""
    if name.endswith(JWS_SUFFIX):
        return is_kept_for(Path(name), manifest)
    try:
        if name.endswith(UNSIGNED_SUFFIX):
            return read_unsigned(raw, file=name, digest="")[0] == manifest
        return read_proof(raw, file=name).manifest == manifest
    except InputError:
        return None


def concerns(index: int, raw: bytes, manifests: Collection[str]) -> bool:
    """Whether an entry of the log is an event about one of these manifests."""
    entry = read_entry(index, raw)
    return isinstance(entry.document, dict) and str(entry.document.get("manifest")) in manifests
