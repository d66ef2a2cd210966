"""DSSE 1.0.2 envelopes: bytes, their type, and any number of signatures over both.

    {"payload": "<base64>", "payloadType": "<type>", "signatures": [{"keyid": "<hint>", "sig": "<base64>"}]}

What is signed is never the JSON but PAE(type, payload): the ASCII text `DSSEv1`, a space, the type's length
in bytes, a space, the type, a space, the payload's length, a space, the payload. The type inside the signed
bytes is what keeps a signature made for one purpose from serving another.

`keyid` is an unauthenticated hint. It narrows which trusted key to try, and decides nothing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from databom.errors import InputError, Problem
from databom.trust.encoding import decode64, encode64, read_json, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from databom.trust.keys import PublicKey, Signer

MAX_ENVELOPE_BYTES = 1 << 20
"""A statement about a manifest takes a kilobyte; an envelope over one mebibyte is refused unread."""
MAX_SIGNATURES = 64
"""More signatures than this are refused: each costs a verification per candidate key."""

_TYPE = re.compile(r"[!-~]{1,255}")


class Signature(NamedTuple):
    """One signature: the signer's hint ("" when there is none) and the signature's bytes."""

    keyid: str
    sig: bytes


class Envelope(Struct, frozen=True):
    """A parsed envelope. Nothing in it is to be believed before `verified_keyids` names a trusted key."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes a DSSE signature covers (protocol.md, "Signature Definition")."""
    # Encoded first, then measured: the reference implementations count characters where the text says bytes.
    kind = payload_type.encode("utf-8", "surrogatepass")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def parse_envelope(raw: bytes) -> Envelope:
    """Read an envelope: its shape only, no signature is checked.

    Members DSSE does not know are ignored, as its parsing rules demand; all others are read strictly, and
    base64 must be canonical in whichever of its two alphabets.

    Raises:
        InputError: `signature.missing` for an envelope without any signature, else `signature.invalid`.
    """
    return envelope_of(
        read_json(raw, what="the detached signature is not a DSSE envelope", limit=MAX_ENVELOPE_BYTES)
    )


def envelope_of(document: Mapping[str, object]) -> Envelope:
    """As `parse_envelope`, of an envelope that was parsed strictly as part of another document.

    Raises:
        InputError: as `parse_envelope`; the pointers begin at the envelope.
    """
    payload, payload_type = _text(document, "payload", ""), _text(document, "payloadType", "")
    if _TYPE.fullmatch(payload_type) is None:
        refuse("/payloadType", "a payload type is 1 to 255 visible ASCII characters")
    entries = document.get("signatures")
    if not isinstance(entries, list):
        refuse("/signatures", "a DSSE envelope lists its signatures here")
    if not entries:
        raise InputError(
            Problem(
                "signature.missing",
                "/signatures",
                "the detached signature is an envelope that nobody has signed",
                expected="at least one signature",
                found="an empty list",
                do="ask the publisher for the signed envelope: unsigned data is never accepted",
            )
        )
    if len(entries) > MAX_SIGNATURES:
        refuse(
            "/signatures",
            "too many signatures",
            expected=f"at most {MAX_SIGNATURES}",
            found=str(len(entries)),
        )
    signatures = []
    for index, entry in enumerate(entries):
        where = f"/signatures/{index}"
        if not isinstance(entry, dict):
            refuse(where, "a signature is an object with `keyid` and `sig`")
        hint = entry.get("keyid") or ""  # unset, null and empty are the same to DSSE
        if not isinstance(hint, str):
            refuse(f"{where}/keyid", "a keyid is text")
        signatures.append(Signature(hint, decode64(_text(entry, "sig", where), f"{where}/sig")))
    return Envelope(payload_type, decode64(payload, "/payload"), tuple(signatures))


def format_envelope(envelope: Envelope) -> bytes:
    """The envelope as deterministic JSON with a final newline; `parse_envelope` gives the object back."""
    document = {
        "payload": encode64(envelope.payload),
        "payloadType": envelope.payload_type,
        "signatures": [{"keyid": hint, "sig": encode64(sig)} for hint, sig in envelope.signatures],
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def sign(payload_type: str, payload: bytes, keys: Iterable[Signer]) -> Envelope:
    """Sign with each key, in the order of their keyids. ECDSA signatures are DER."""
    message = pae(payload_type, payload)
    ordered = sorted(keys, key=lambda key: key.public.keyid)
    return Envelope(
        payload_type, payload, tuple(Signature(key.public.keyid, key.sign(message)) for key in ordered)
    )


def signatures_by(envelope: Envelope, key: PublicKey) -> tuple[bytes, ...]:
    """The raw signatures of the envelope that this key made, in their order."""
    message = pae(envelope.payload_type, envelope.payload)
    return tuple(sig for _, sig in envelope.signatures if key.verify(sig, message))


def verified_keyids(envelope: Envelope, keys: Mapping[str, PublicKey]) -> frozenset[str]:
    """Which of these keys signed: keyids, each at most once, however many of its signatures there are.

    A hint that names one of the keys narrows the search to it. Any other hint is no help and no harm: DSSE
    leaves its form to the tool that signs, so such a signature is tried with every key, like one without.
    Signatures by other keys are ignored (countersignatures).
    """
    message = pae(envelope.payload_type, envelope.payload)
    found: set[str] = set()
    for hint, sig in envelope.signatures:
        candidates = [keys[hint]] if hint in keys else list(keys.values())
        # The name is taken from the key, never from the mapping or the hint: keys are what is counted.
        found.update(key.keyid for key in candidates if key.verify(sig, message))
    return frozenset(found)


def _text(document: Mapping[str, object], name: str, where: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        refuse(f"{where}/{name}", f"a DSSE envelope has `{name}` here, as text")
    return value
