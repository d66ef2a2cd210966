"""Opening a proof: a DSSE envelope around an in-toto Statement v1 about one manifest, signed in a role.

    {"_type": "https://in-toto.io/Statement/v1",
     "subject": [{"name": "<id>@<version>", "digest": {"sha256": <manifest>}}],
     "predicateType": "urn:databom:approval:v1", "predicate": {...}}

The kind of statement says which roles may make it (`databom.model.proofs.KINDS`); a key of any other role is nobody
here. A key counts while its window holds: whoever left the team approves nothing any more.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from databom.errors import InputError, Problem
from databom.model.digest import hex_of, sha256
from databom.model.proofs import KINDS, Kind, Proof
from databom.model.text import printable
from databom.trust import dsse
from databom.trust.encoding import read_json
from databom.trust.statement import PAYLOAD_TYPE, STATEMENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from databom.trust.keys import PrivateKey
    from databom.trust.root import TrustRoot

_UNREADABLE = "evidence.invalid"


def sign_proof(
    predicate_type: str, release: str, manifest: str, predicate: Mapping[str, Any], keys: Iterable[PrivateKey]
) -> bytes:
    """The bytes of a signed statement about the manifest with this digest (`sha256:<hex>`)."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": release, "digest": {"sha256": hex_of(manifest)}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    payload = json.dumps(statement, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    return dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, payload, keys))


class Stated(NamedTuple):
    """A statement that was read and not verified: good for nothing but to know which manifest it is about."""

    kind: Kind
    manifest: str
    release: str
    """What the statement calls the manifest: `<id>@<version>`, or what else the signer wrote."""
    predicate: dict[str, Any]
    envelope: dsse.Envelope

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that may make it; of an approval that one alone in which it says it was given."""
        claimed = self.predicate.get("role")
        if self.kind.name == "approval" and isinstance(claimed, str) and claimed in self.kind.roles:
            return (claimed,)
        return self.kind.roles

    @property
    def code(self) -> str:
        """Of the finding that says that it does not hold."""
        return self.kind.code

    def signed_in(self, root: TrustRoot, now: datetime) -> dict[str, frozenset[str]]:
        """Of each role that may make it: which of its keys, valid now, have signed. Roles without one are absent."""
        found = {}
        for name in sorted(self.roles):
            if (role := root.roles.get(name)) is None:
                continue
            keys = {keyid: root.keys[keyid].key for keyid in role.keyids if root.keys[keyid].is_valid_at(now)}
            if signed := dsse.verified_keyids(self.envelope, keys):
                found[name] = signed
        return found


def read_proof(raw: bytes, *, file: str) -> Stated:
    """The statement in some bytes. Nobody is believed yet.

    Raises:
        InputError: `evidence.invalid` where it is no statement of a known kind; `<kind>.invalid` where it is not about
            exactly one manifest, or says nothing.
    """
    try:
        envelope = dsse.parse_envelope(raw)
        statement = read_json(envelope.payload, what="the signed statement", limit=dsse.MAX_ENVELOPE_BYTES)
    except InputError as error:
        what = f"this is no signed statement: {error.problems[0].what}"
        raise _refused(_UNREADABLE, file, what, "a DSSE envelope around a statement", "none") from None
    if envelope.payload_type != PAYLOAD_TYPE:
        raise _refused(_UNREADABLE, file, "not an in-toto statement", PAYLOAD_TYPE, envelope.payload_type)
    predicate_type = statement.get("predicateType")
    kind = KINDS.get(predicate_type) if isinstance(predicate_type, str) else None
    if statement.get("_type") != STATEMENT_TYPE or kind is None:
        expected = ", ".join(KINDS)
        raise _refused(_UNREADABLE, file, "a statement of no known kind", expected, str(predicate_type))
    manifest, release = _subject(statement, kind.code, file)
    predicate = statement.get("predicate")
    if not isinstance(predicate, dict):
        raise _refused(
            kind.code, file, "the statement has no predicate", "an object", type(predicate).__name__
        )
    return Stated(kind, manifest, release, predicate, envelope)


def open_proof(raw: bytes, root: TrustRoot, *, file: str, now: datetime) -> Proof:
    """The statement in some bytes, once enough keys of a role that may make it have signed.

    Raises:
        InputError: as `read_proof`; `<kind>.invalid` where nobody who may has signed it.
    """
    stated = read_proof(raw, file=file)
    signed = stated.signed_in(root, now)
    spoken = {name: keys for name, keys in signed.items() if len(keys) >= root.roles[name].threshold}
    if not spoken:
        raise _unheard(file, stated, root, now)
    keyids = tuple(sorted(frozenset().union(*spoken.values())))
    return Proof(
        stated.kind.name, file, sha256(raw), stated.manifest, tuple(spoken), keyids, stated.predicate
    )


def _subject(statement: Mapping[str, Any], code: str, file: str) -> tuple[str, str]:
    subjects = statement.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise _refused(
            code, file, "the statement must be about exactly one manifest", "one subject", "another"
        )
    digests = subjects[0].get("digest")
    claim = digests.get("sha256") if isinstance(digests, dict) else None
    if not isinstance(claim, str) or len(claim) != 64 or set(claim) - set("0123456789abcdef"):
        raise _refused(code, file, "the statement names no manifest", "64 hex digits of SHA-256", str(claim))
    name = subjects[0].get("name")
    return f"sha256:{claim}", name if isinstance(name, str) else ""


def _unheard(file: str, stated: Stated, root: TrustRoot, now: datetime) -> InputError:
    kind, roles = stated.kind.name, stated.roles
    signers = dsse.verified_keyids(stated.envelope, root.public_keys())
    found = ", ".join(_described(keyid, root, now) for keyid in sorted(signers))
    return _refused(
        stated.code,
        file,
        f"nobody who may has signed this {kind}",
        f"enough keys of the role {' or '.join(roles)}, valid now",
        found or "no signature by a key of the trust root",
        do=f"if you know the signer: databom trust add FILE.pub --role {roles[0]}; else remove the file",
    )


def _described(keyid: str, root: TrustRoot, now: datetime) -> str:
    held = sorted(name for name, role in root.roles.items() if keyid in role.keyids)
    held += [f"marketplace {name}" for name, role in root.marketplaces.items() if keyid in role.keyids]
    window = "" if root.keys[keyid].is_valid_at(now) else ", outside its validity"
    return f"{keyid[:16]} ({', '.join(held) or 'no role'}{window})"


def _refused(
    code: str, file: str, what: str, expected: str, found: str, *, do: str | None = None
) -> InputError:
    return InputError(
        Problem(
            code,
            printable(file),
            what,
            expected=expected,
            found=printable(found),
            do=do or "ask whoever made it for another one; it is signed, so do not edit it",
        )
    )
