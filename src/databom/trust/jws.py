"""The embedded signature: a compact detached JWS in the manifest's `signature` string.

    signature = b64url(header) + ".." + b64url(sig)            RFC 7515 appendix F
    header    = {"alg":"EdDSA"|"ES256","kid":"<keyid>"}        `typ` may be present, nothing else
                EdDSA may be called Ed25519, as RFC 9864 does
    signed    = b64url(header) + "." + b64url(JCS(manifest without "signature"))

Any JOSE library makes or checks it: put the payload back between the dots. The header chooses nothing. `alg`
must be the one that the trusted key named by `kid` has; a key in the header (`jwk`, `x5c`), a place to fetch
one (`jku`, `x5u`), or anything that changes what is signed (`crit`, `b64`) is refused by not being allowed.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from databom.errors import InputError, Problem
from databom.model.text import printable
from databom.trust.encoding import decode64url, encode64url, encode64url_pieces, read_json, refuse
from databom.trust.jcs import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from databom.trust.keys import KeyType, PrivateKey, PublicKey

MAX_SIGNATURE_CHARS = 4096
SUBJECT = "/signature"

ALGORITHMS: dict[KeyType, str] = {"ed25519": "EdDSA", "ecdsa-p256": "ES256"}
"""JOSE's word for how a key of each type signs."""
_NAMES = {"ed25519": ("EdDSA", "Ed25519"), "ecdsa-p256": ("ES256",)}
ACCEPTED = "EdDSA (Ed25519) or ES256"
_MEMBERS = frozenset({"alg", "kid", "typ"})


def is_known(alg: str) -> bool:
    """Whether signatures of this algorithm are looked at. RFC 9864 calls Ed25519 what was EdDSA."""
    return any(alg in names for names in _NAMES.values())


def is_of(alg: str, key: PublicKey) -> bool:
    """Whether an algorithm is the one that a key signs by."""
    return alg in _NAMES[key.keytype]


def signed_content(manifest: Mapping[str, Any]) -> bytes:
    """RFC 8785 bytes of a manifest's object without its `signature`: what the JWS covers.

    Raises:
        InputError: `manifest.syntax`, when the object has no canonical form.
    """
    return canonical({name: value for name, value in manifest.items() if name != "signature"})


def sign_embedded(manifest: Mapping[str, Any], key: PrivateKey) -> str:
    """The `signature` string for this manifest object (a `signature` it may already have is left out).

    Raises:
        InputError: `manifest.syntax`, when the object has no canonical form.
    """
    header = {"alg": ALGORITHMS[key.public.keytype], "kid": key.public.keyid}
    protected = encode64url(json.dumps(header, separators=(",", ":")).encode())
    message = f"{protected}.{encode64url(signed_content(manifest))}".encode()
    return f"{protected}..{encode64url(key.sign_raw(message))}"


def named_keyid(signature: str) -> str:
    """The `kid` of a well-formed signature string; nothing is verified.

    Raises:
        InputError: `signature.invalid`.
    """
    return _parse(signature)[1]["kid"]


def check_embedded(
    signature: str, payload: bytes | Iterable[bytes], keys: Mapping[str, PublicKey], *, most: int = 0
) -> str:
    """Verify a `signature` string over the canonical bytes of the manifest, whole or in pieces; the keyid that signed.

    `most` is how many bytes they are at most, about: room is taken once, and a large manifest is not moved as it grows.

    Raises:
        InputError: `signature.untrusted` when `keys` has no key named by `kid`; `signature.invalid` for
            anything malformed, an `alg` that is not the key's, or a signature over other bytes.
    """
    protected, header, sig = _parse(signature)
    key = keys.get(header["kid"])
    if key is None:
        raise InputError(
            Problem(
                "signature.untrusted",
                SUBJECT,
                "the embedded signature names a key that the trust root does not hold",
                expected=", ".join(sorted(keys)) or "no key: the trust root trusts nobody",
                found=printable(header["kid"]),
                do="if you know this key: databom trust add FILE.pub --marketplace ID --datasets GLOB",
            )
        )
    if not is_of(header["alg"], key):
        refuse(
            SUBJECT,
            f"the signature's algorithm is not that of the key it names ({key.keytype}, by the trust root)",
            expected=ALGORITHMS[key.keytype],
            found=printable(header["alg"]),
        )
    pieces = (payload,) if isinstance(payload, bytes) else payload
    message = bytearray(len(protected) + 1 + 4 * (most // 3 + 1))
    end = 0
    for encoded in chain((f"{protected}.".encode(),), encode64url_pieces(pieces)):
        message[end : end + len(encoded)] = encoded
        end += len(encoded)
    del message[end:]
    if not key.verify_raw(sig, message):
        refuse(
            SUBJECT,
            "the embedded signature does not fit this manifest: one of the two was changed after signing",
            expected=f"a signature by key {key.keyid} over this content",
            found="a signature that does not verify",
        )
    return key.keyid


def _parse(signature: str) -> tuple[str, dict[str, str], bytes]:
    """Header as written, header as read, signature bytes."""
    if len(signature) > MAX_SIGNATURE_CHARS:
        refuse(SUBJECT, "too long for a signature", expected=f"at most {MAX_SIGNATURE_CHARS} characters")
    parts = signature.split(".")
    if len(parts) != 3 or parts[1]:
        refuse(
            SUBJECT,
            "this is not a compact detached JWS (RFC 7515 appendix F)",
            expected="<header>..<signature>",
            found=printable(signature, 60),
        )
    protected, _, tail = parts
    header = read_json(
        decode64url(protected, SUBJECT), what="the signature's header", limit=MAX_SIGNATURE_CHARS
    )
    for name, value in header.items():
        if name not in _MEMBERS:
            refuse(
                SUBJECT,
                f"the signature's header has a member that is not allowed: {printable(name, 40)}",
                expected="alg, kid, and nothing else but typ",
            )
        if not isinstance(value, str):
            refuse(SUBJECT, f"`{name}` in the signature's header is not text")
    for name in ("alg", "kid"):
        if name not in header:
            refuse(SUBJECT, f"the signature's header has no `{name}`")
    if not is_known(header["alg"]):
        refuse(
            SUBJECT,
            "the signature's algorithm is not accepted",
            expected=ACCEPTED,
            found=printable(header["alg"], 40),
        )
    return protected, header, decode64url(tail, SUBJECT)
