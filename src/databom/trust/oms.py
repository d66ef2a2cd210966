"""OpenSSF Model Signing (OMS) 1.0 bundles: a signed list of files, read as the manifest it amounts to.

    Sigstore bundle v0.3 → DSSE envelope with one signature → in-toto Statement v1, predicateType
    `https://model_signing/signature/v1.0`, predicate {resources: [{name, digest, algorithm}], serialization}

Accepted: `sha256` over whole files (method `files`), signed by an Ed25519 or P-256 key (ECDSA in DER) that the
trust root knows. Certificates, and keys inside the bundle, speak for nobody here; transparency-log entries and
timestamps in it are not read. The subject's name is the dataset id; the key must be one of a marketplace role
whose globs match it.

OMS computes its subject digest over the digests of the files alone. Files that change places (`cat/1.jpg` and
`dog/1.jpg` swapped for `cat/1.jpg` and `cat/2.jpg`) leave it as it is. It is recomputed, since a bundle that
contradicts itself is broken, and then never used: the release is named by the bundle's bytes (manifest digest)
and by `dirHash1` over names and contents (tree digest), which also stands for the version OMS does not have.

What the signer chose to ignore (`ignore_paths`, `allow_symlinks`) describes the signing, not the release: files
that the bundle does not list are unlisted here.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec import Struct

from databom.errors import InputError, Problem
from databom.model import times
from databom.model.digest import tree_digest
from databom.model.finding import Finding, findings_of
from databom.model.manifest import MAX_MANIFEST_BYTES, Manifest, assemble
from databom.model.text import printable
from databom.trust import dsse
from databom.trust.encoding import ASK_PUBLISHER, read_json, refuse
from databom.trust.statement import PAYLOAD_TYPE, STATEMENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from databom.trust.keys import PublicKey
    from databom.trust.root import MarketplaceRole, TrustRoot

MEDIA_TYPES = (
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
)
"""Both spellings of version 0.3."""
PREDICATE_TYPE = "https://model_signing/signature/v1.0"

_MEMBERS = frozenset(("mediaType", "verificationMaterial", "dsseEnvelope"))
_CERTIFICATES = ("certificate", "x509CertificateChain")
_HEX = frozenset("0123456789abcdef")
_RESOURCES = "/predicate/resources"


class OpenedBundle(Struct, frozen=True):
    """The answer: no findings means that the bundle is believed."""

    manifest: Manifest | None
    """What the bundle says, once a known key verifiably said it and it is well-formed."""
    findings: tuple[Finding, ...]
    keyids: tuple[str, ...] = ()
    marketplace: str | None = None


def open_bundle(raw: bytes, root: TrustRoot, *, now: datetime) -> OpenedBundle:
    """Decide whether an OMS bundle is believed. Never raises for anything in the documents.

    Nothing of the statement is parsed before a key of the trust root is known to have signed it.

    Args:
        raw: the bundle's bytes as received.
        root: the trust root in force.
        now: the time to judge by: the root's expiry and the keys' windows.

    Returns:
        Findings `signature.missing`, `.invalid`, `.untrusted`, `.threshold` and `.expired`, `trust.expired`,
        and `manifest.schema`, `.path`, `.duplicate` and `.limit`; all blocking.
    """
    doubts = [Finding.of(root.expired_problem(now))] if now >= root.expires else []
    try:
        envelope, hint = _parse(raw)
        keyid = _signer(envelope, hint, root.public_keys())
        manifest = _manifest(raw, envelope.payload)
    except InputError as error:
        return OpenedBundle(None, (*doubts, *findings_of(error)))
    role = _speaker(manifest, keyid, root, now)
    if isinstance(role, Problem):
        return OpenedBundle(manifest, (*doubts, Finding.of(role)))
    return OpenedBundle(manifest, tuple(doubts), (keyid,), role.marketplace)


# --- the bundle --------------------------------------------------------------------------------------


def _parse(raw: bytes) -> tuple[dsse.Envelope, str]:
    """The envelope with its one signature, and the hint which key made it ("" when there is none)."""
    bundle = read_json(
        raw, what="this is not a Sigstore bundle", limit=MAX_MANIFEST_BYTES, max_string=MAX_MANIFEST_BYTES
    )
    if bundle.get("mediaType") not in MEDIA_TYPES:
        found = printable(str(bundle.get("mediaType")))
        refuse("/mediaType", "this is not a Sigstore bundle v0.3", expected=MEDIA_TYPES[0], found=found)
    if other := sorted(bundle.keys() - _MEMBERS):
        refuse(f"/{printable(other[0])}", "an OMS bundle has no such member")
    hint = _hint(bundle.get("verificationMaterial"))
    document = bundle.get("dsseEnvelope")
    if not isinstance(document, dict):
        refuse("/dsseEnvelope", "an OMS bundle holds a DSSE envelope here")
    try:
        envelope = dsse.envelope_of(document)
    except InputError as error:
        raise InputError(
            *(one._replace(subject=f"/dsseEnvelope{one.subject or ''}") for one in error.problems)
        ) from None
    if len(envelope.signatures) != 1:
        refuse(
            "/dsseEnvelope/signatures",
            "a bundle carries exactly one signature",
            expected="1",
            found=str(len(envelope.signatures)),
        )
    if envelope.payload_type != PAYLOAD_TYPE:
        refuse(
            "/dsseEnvelope/payloadType",
            "the envelope was made for another purpose than signing a statement",
            expected=PAYLOAD_TYPE,
            found=printable(envelope.payload_type),
        )
    return envelope, hint


def _hint(material: object) -> str:
    if not isinstance(material, dict):
        refuse("/verificationMaterial", "a bundle says here which key verifies it")
    for name in _CERTIFICATES:
        if name in material:
            raise InputError(
                Problem(
                    "signature.untrusted",
                    f"/verificationMaterial/{name}",
                    "the bundle rests on a certificate, and only keys of the trust root speak here",
                    expected="a bundle signed with a key: verificationMaterial.publicKey",
                    found="a certificate",
                    do="ask the publisher for a bundle signed with a key, compare the key's id over another "
                    "channel, and add it with databom trust add",
                )
            )
    key = material.get("publicKey")
    if not isinstance(key, dict):
        refuse("/verificationMaterial/publicKey", "a bundle says here which key verifies it")
    hint = key.get("hint") or ""
    if not isinstance(hint, str):
        refuse("/verificationMaterial/publicKey/hint", "a hint is text")
    return hint


def _signer(envelope: dsse.Envelope, hint: str, keys: Mapping[str, PublicKey]) -> str:
    """The keyid of the trust root's key that made the signature; the hint narrows the search, no more."""
    hinted = {keyid: key for keyid, key in keys.items() if hint and hint in _names(key)}
    # The envelope's own keyid is no hint in OMS, and could lead the search astray.
    bare = dsse.Envelope(
        envelope.payload_type, envelope.payload, (dsse.Signature("", envelope.signatures[0].sig),)
    )
    found = dsse.verified_keyids(bare, hinted or keys)
    if found:
        return min(found)
    if hinted:
        refuse(
            "/dsseEnvelope/signatures/0/sig",
            "the bundle names a trusted key, but that key did not make the signature: "
            "something was changed after signing",
            expected=f"a signature by {min(hinted)}",
            found="a signature that does not verify",
        )
    raise InputError(
        Problem(
            "signature.untrusted",
            "/dsseEnvelope/signatures/0",
            "no key of the trust root made this signature",
            expected="a signature by a key of a marketplace"
            if keys
            else "the trust root holds no key at all",
            found=f"a signature that hints at {printable(hint, 80)}"
            if hint
            else "a signature that names no key",
            do="get the publisher's public key, compare its keyid over another channel, then: "
            "databom trust add FILE.pub --marketplace ID --datasets GLOB",
        )
    )


def _names(key: PublicKey) -> tuple[str, ...]:
    """What a hint may say for a key: our keyid, or as model-signing does the SHA-256 of the PEM text."""
    pem = key.pem().encode()
    texts = {hashlib.sha256(text).hexdigest() for text in (pem, pem.rstrip(b"\n"))}
    return (key.keyid, f"sha256:{key.keyid}", *texts)


# --- the statement -----------------------------------------------------------------------------------


def _manifest(raw: bytes, payload: bytes) -> Manifest:
    statement = read_json(payload, what="the signed statement", limit=MAX_MANIFEST_BYTES)
    for name, expected, what in (
        ("_type", STATEMENT_TYPE, "this is not an in-toto Statement v1"),
        ("predicateType", PREDICATE_TYPE, "the statement was signed for another purpose than listing files"),
    ):
        if statement.get(name) != expected:
            refuse(f"/{name}", what, expected=expected, found=printable(str(statement.get(name))))
    subjects, predicate = statement.get("subject"), statement.get("predicate")
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        refuse("/subject", "the statement must be about exactly one thing")
    if not isinstance(predicate, dict):
        refuse("/predicate", "the statement has no predicate")
    pairs = _pairs(predicate)
    stated = subjects[0].get("digest")
    found = stated.get("sha256") if isinstance(stated, dict) else None
    expected = hashlib.sha256(b"".join(bytes.fromhex(sha256) for _, sha256 in pairs)).hexdigest()
    if found != expected:
        refuse(
            "/subject/0/digest/sha256",
            "the statement contradicts itself: its digest is not that of the files it lists",
            expected=expected,
            found=printable(str(found)),
        )
    claims: dict[str, Any] = {
        "dataset_id": subjects[0].get("name"),
        "version": tree_digest(pairs),
        "license": {},
        "assets": [{"path": name, "sha256": sha256} for name, sha256 in pairs],
    }
    return assemble(raw, claims, form="oms", told=_told)


def _pairs(predicate: dict[str, Any]) -> list[tuple[str, str]]:
    """The files a predicate lists, as (name, sha256), in its order, which must be that of code points."""
    serialization, resources = predicate.get("serialization"), predicate.get("resources")
    if not isinstance(serialization, dict):
        _schema("/predicate/serialization", "the predicate does not say how files were hashed", "an object")
    for member, expected in (("method", "files"), ("hash_type", "sha256")):
        if (value := serialization.get(member)) != expected:
            what = f"files hashed by another {member.replace('_', ' ')} cannot be checked here"
            _schema(f"/predicate/serialization/{member}", what, expected, value)
    if not isinstance(resources, list) or not resources:
        _schema(_RESOURCES, "the predicate lists no files", "a list of files")
    pairs = []
    for index, one in enumerate(resources):
        where = f"{_RESOURCES}/{index}"
        if not isinstance(one, dict):
            _schema(where, "a file is described by an object", "name, digest and algorithm")
        name, digest, algorithm = one.get("name"), one.get("digest"), one.get("algorithm")
        if not isinstance(name, str):
            _schema(f"{where}/name", "a file has no name", "a relative path", name)
        if algorithm != "sha256":
            what = f"the digest of {printable(name, 80)!r} is made by an algorithm that is not read"
            _schema(f"{where}/algorithm", what, "sha256", algorithm)
        if not isinstance(digest, str) or len(digest) != 64 or not _HEX.issuperset(digest):
            _schema(f"{where}/digest", "a digest is malformed", "64 lower-case hexadecimal digits", digest)
        pairs.append((name, digest))
    for index, ((before, _), (after, _)) in enumerate(pairwise(pairs), start=1):
        if after < before:
            what = f"the files are not in order: {printable(after, 80)!r} stands too late"
            _schema(f"{_RESOURCES}/{index}/name", what, "names sorted by code point", name)
    return pairs


def _schema(where: str, what: str, expected: str, found: object = None) -> NoReturn:
    shown = None if found is None else printable(str(found), 80)
    raise InputError(Problem("manifest.schema", where, what, expected, shown, ASK_PUBLISHER))


def _told(problem: Problem) -> Problem:
    """A problem of the claims, worded about the statement."""
    parts = (("/assets/", f"{_RESOURCES}/"), ("/path", "/name"), ("/dataset_id", "/subject/0/name"))
    subject, what = problem.subject or "", problem.what
    for ours, theirs in parts:
        subject, what = subject.replace(ours, theirs), what.replace(f" {ours}", f" {theirs}")
    return problem._replace(subject=subject, what=f"read as a manifest: {what}", do=ASK_PUBLISHER)


# --- who may speak -----------------------------------------------------------------------------------


def _speaker(manifest: Manifest, keyid: str, root: TrustRoot, now: datetime) -> MarketplaceRole | Problem:
    """The role that accepts this key for this dataset, else why none does."""
    roles = root.candidates(manifest.dataset_id, None)
    holding = [role for role in roles if keyid in role.keyids]
    alone = [role for role in holding if role.threshold == 1]
    dataset = printable(manifest.dataset_id)
    if not holding:
        scopes = "; ".join(
            f"{printable(role.marketplace)}: {', '.join(map(printable, role.datasets))}"
            for _, role in sorted(root.marketplaces.items())
        )
        return Problem(
            "signature.untrusted",
            dataset,
            f"the signature holds, but its key may not speak for dataset {dataset}",
            expected=f"a key that may speak for it; there are {scopes or 'none'}",
            found=keyid,
            do="if this publisher may sign this dataset: databom trust add FILE.pub --marketplace ID --datasets "
            "GLOB",
        )
    if not alone:
        needed = min(role.threshold for role in holding)
        return Problem(
            "signature.threshold",
            dataset,
            f"too few of the keys of marketplace {printable(holding[0].marketplace)} signed",
            expected=f"{needed} keys",
            found=f"1: {keyid}",
            do="a bundle carries one signature only: ask the publisher for a manifest with manifest.json.dsse",
        )
    key = root.keys[keyid]
    if not key.is_valid_at(now):
        begin = times.format(key.valid_from) if key.valid_from else "the beginning"
        end = times.format(key.valid_until) if key.valid_until else "further notice"
        return Problem(
            "signature.expired",
            keyid,
            "the key that signed is outside its validity now",
            expected=f"valid from {begin} until {end}",
            found=times.format(now),
            do="ask the publisher for a bundle signed with a current key; if the window itself is wrong, "
            "correct it in provenance/trust.json",
        )
    return alone[0]
