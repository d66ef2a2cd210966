"""An x402 receipt (offer-and-receipt extension, format `jws`): a compact JWS by whoever was paid.

    receipt = b64url(header) "." b64url(payload) "." b64url(sig)       RFC 7515 section 7.1
    header  = {"alg": "EdDSA" | "ES256", "kid": "…"}                   `typ` may be present, nothing else
    payload = {network, resourceUrl, payer, issuedAt, transaction?}    `databom.model.receipts` reads it

The extension leaves open how a key is found. Here it is a key of the trust root's role `payment`: `kid` is a hint, a
keyid or a DID, and a DID is never resolved; the key's own type says which algorithm. ES256K keys belong in no trust
root of ours, and format `eip712` signs with those: both are refused by name.

What is signed names a URL, and no digest: `databom.tasks.attached` binds it to a pin by where the pin came from.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from databom.errors import InputError, Problem
from databom.model import strictjson
from databom.model.text import printable
from databom.trust.encoding import decode64url
from databom.trust.jws import ACCEPTED, is_known, is_of

if TYPE_CHECKING:
    from databom.trust.keys import PublicKey
    from databom.trust.root import TrustRoot

MAX_RECEIPT_BYTES = 64 * 1024
ROLE = "payment"
_COMPACT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MEMBERS = frozenset({"alg", "kid", "typ"})
_WRAPPER = frozenset({"format", "signature"})


def compact_of(raw: bytes) -> bytes | None:
    """The compact JWS in what x402 hands out: the JWS itself, or `{"format": "jws", "signature": <JWS>}`.

    None for anything else.

    Raises:
        InputError: `payment.invalid`: a receipt in format `eip712`.
    """
    text = raw.strip(b" \t\r\n")
    if _COMPACT.fullmatch(text):
        return text
    try:
        value = strictjson.loads(text, prefix="payment", limit=MAX_RECEIPT_BYTES)
    except InputError:
        return None
    if not isinstance(value, dict) or "format" not in value:
        return None
    if value["format"] == "eip712":
        _refuse(
            "receipt",
            "a receipt in the format eip712 is signed with a key of a blockchain, which no trust root here holds",
            expected='format "jws", by an Ed25519 or P-256 key',
            found="eip712",
            do="ask the seller for a receipt in the format jws, or for a databom payment receipt",
        )
    jws = value.get("signature")
    if value["format"] != "jws" or set(value) != _WRAPPER or not isinstance(jws, str):
        return None
    encoded = jws.encode("utf-8", "surrogatepass")
    return encoded if _COMPACT.fullmatch(encoded) else None


def open_receipt(raw: bytes, root: TrustRoot, *, file: str, now: datetime) -> tuple[dict[str, Any], str]:
    """The payload of a compact JWS, and the keyid of the key that signed it: one of the role `payment`, valid now.

    Raises:
        InputError: `payment.invalid`, for anything malformed or not signed so.
    """
    if len(raw) > MAX_RECEIPT_BYTES or not _COMPACT.fullmatch(raw):
        _refuse(file, "this is not a compact JWS (RFC 7515)", expected="<header>.<payload>.<signature>")
    protected, body, tail = raw.decode("ascii").split(".")
    try:
        header = _object(decode64url(protected, "/header"), file, "header")
        payload = _object(decode64url(body, "/payload"), file, "payload")
        signature = decode64url(tail, "/signature")
    except InputError as error:
        if error.problems[0].code == "payment.invalid":
            raise
        _refuse(file, error.problems[0].what)
    algorithm = _algorithm(header, file)
    role = root.roles.get(ROLE)
    if role is None or not role.keyids:
        _refuse(
            file,
            "the trust root names nobody whose receipts count",
            expected=f"a key in the role {ROLE}",
            found="none",
            do=f"if you know the seller's key: databom trust add FILE.pub --role {ROLE}",
        )
    if role.threshold > 1:
        _refuse(
            file,
            "a JWS carries one signature, and the trust root asks for more",
            expected=f"{role.threshold} keys of the role {ROLE}",
            found="one signature",
            do="ask the seller for a databom payment receipt, which carries several",
        )
    hint = header["kid"]
    candidates = [hint] if hint in role.keyids else list(role.keyids)
    message = f"{protected}.{body}".encode()
    keys = {keyid: root.keys[keyid] for keyid in candidates}
    signer = next((one for one in keys.values() if _has_signed(one.key, algorithm, signature, message)), None)
    if signer is None:
        _refuse(
            file,
            "no key of the trust root whose receipts count has signed this",
            expected=f"a signature by a key of the role {ROLE}",
            found=f"kid {hint}",
            do=f"if you know the seller's key: databom trust add FILE.pub --role {ROLE}",
        )
    if not signer.is_valid_at(now):
        _refuse(
            file,
            "the key that signed this receipt is outside its validity",
            expected=f"a key of the role {ROLE} that is valid now",
            found=signer.key.keyid[:16],
            do="ask the seller for a receipt signed with a current key",
        )
    return payload, signer.key.keyid


def _has_signed(key: PublicKey, algorithm: str, signature: bytes, message: bytes) -> bool:
    return is_of(algorithm, key) and key.verify_raw(signature, message)


def _algorithm(header: dict[str, Any], file: str) -> str:
    for name, value in header.items():
        if name not in _MEMBERS or not isinstance(value, str):
            _refuse(
                file,
                "the receipt's header has a member that is not allowed",
                "alg, kid and typ, as text",
                name,
            )
    for name in ("alg", "kid"):
        if name not in header:
            _refuse(file, f"the receipt's header has no `{name}`")
    algorithm = str(header["alg"])
    if algorithm == "ES256K":
        _refuse(
            file,
            "ES256K is a blockchain's curve (secp256k1), which no trust root here holds a key of",
            expected=ACCEPTED,
            found="ES256K",
            do="ask the seller to sign receipts with an Ed25519 or P-256 key",
        )
    if not is_known(algorithm):
        _refuse(file, "the receipt's algorithm is not accepted", ACCEPTED, algorithm)
    return algorithm


def _object(raw: bytes, file: str, what: str) -> dict[str, Any]:
    try:
        value = strictjson.loads(raw, prefix="payment", limit=MAX_RECEIPT_BYTES, floats=False)
    except InputError as error:
        _refuse(file, f"the receipt's {what}: {error.problems[0].what}")
    if not isinstance(value, dict):
        _refuse(file, f"the receipt's {what} is not a JSON object")
    return value


def _refuse(
    file: str, what: str, expected: str | None = None, found: str | None = None, *, do: str | None = None
) -> NoReturn:
    shown = None if found is None else printable(found)
    do = do or "ask whoever issued it for another one"
    raise InputError(Problem("payment.invalid", printable(file), what, expected, shown, do))
