"""RFC 3161 time stamps: somebody we trust saw a signature before a certain time.

A key's window ends when the key is rotated or revoked. What it signed before then is still good, but the signer's
own date shows nothing: whoever holds the key writes any date. A time stamping authority (TSA) of the trust root
signs the digest of the signature's bytes together with its own time; a signature it has seen existed then.

    manifest.json.dsse.tsr = DER TimeStampResp (RFC 3161 section 2.4.2) or bare tokens, one after the other
    message imprint        = SHA-256, SHA-384 or SHA-512 of the raw bytes of one signature of the envelope

A token can only help. Whatever is wrong with one, it counts for nothing, and the key's window is judged as if it
were not there. Its certificates must chain to a root that the trust root names, at the token's own time.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from databom.errors import Problem
from databom.model import times

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from databom.trust.root import TrustedKey

MAX_TOKENS = 64
"""Tokens looked at in one file; more are not read."""
MAX_ROOTS = 16
"""TSA roots a trust root may name."""
MAX_ROOT_CHARS = 16 * 1024

INSTALL = "pip install 'databom[timestamps]'"

_IMPRINTS = {
    "2.16.840.1.101.3.4.2.1": hashlib.sha256,
    "2.16.840.1.101.3.4.2.2": hashlib.sha384,
    "2.16.840.1.101.3.4.2.3": hashlib.sha512,
}
_GRANTED = bytes.fromhex("3003020100")  # PKIStatusInfo with status 0
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class Stamped(Struct, frozen=True):
    """What the tokens say for one key: a time inside its window, or why they are no help."""

    at: datetime | None
    why: str | None = None
    needs_library: bool = False


def read_authorities(problems: list[Problem], entry: object) -> tuple[str, ...]:
    """The PEM certificates of `roles.tsa`: `{"roots": ["<PEM>", …]}`.

    Appends `trust.schema` to `problems` for anything but a list of 1 to `MAX_ROOTS` different certificates, one
    PEM block each.
    """
    roots = entry.get("roots") if isinstance(entry, dict) else None
    if not isinstance(roots, list) or not 1 <= len(roots) <= MAX_ROOTS:
        found = f"a list of {len(roots)}" if isinstance(roots, list) else "something else"
        problems.append(
            _schema("/roles/tsa/roots", f"a list of 1 to {MAX_ROOTS} PEM certificates", found),
        )
        return ()
    seen: set[bytes] = set()
    read: list[str] = []
    for index, text in enumerate(roots):
        der = _der(text)
        if der is None or der in seen:
            found = "no certificate that can be read" if der is None else "the same certificate again"
            problems.append(_schema(f"/roles/tsa/roots/{index}", "one PEM certificate", found))
            continue
        seen.add(der)
        read.append(text)
    return tuple(read)


def stamped(
    raw: bytes, signatures: Iterable[bytes], key: TrustedKey, roots: Sequence[str], *, now: datetime
) -> Stamped:
    """Whether a token shows that one of a key's signatures was made inside the key's window. Never raises.

    Args:
        raw: the bytes of `manifest.json.dsse.tsr`.
        signatures: raw signatures that verifiably are by this key.
        key: the key and its window.
        roots: the TSA roots of the trust root, PEM.
        now: the time to judge by; a token from later than `times.CLOCK_SKEW` after it does not count.
    """
    if not roots:
        return Stamped(None, "the trust root names no time stamping authority (roles.tsa)")
    try:
        import rfc3161_client  # noqa: F401
    except ImportError:
        return Stamped(None, f"time stamps cannot be read here: {INSTALL}", needs_library=True)
    wanted = tuple(signatures)
    why = "no token is over this key's signature"
    for token in _tokens(raw):
        at, fault = _time_of(token, wanted, roots)
        if at is None:
            why = fault or why
        elif at > now + times.CLOCK_SKEW:
            why = f"the token is from the future: {times.format(at)}"
        elif not key.is_valid_at(at):
            why = f"the token's time is outside the window too: {times.format(at)}"
        else:
            return Stamped(at)
    return Stamped(None, why)


def _time_of(
    token: bytes, signatures: Sequence[bytes], roots: Sequence[str]
) -> tuple[datetime | None, str | None]:
    """The latest time a token may mean, or what is wrong with it; neither when it is over something else."""
    from cryptography import x509
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    try:
        response = decode_timestamp_response(token)
        info = response.tst_info
        digest = _IMPRINTS.get(info.message_imprint.hash_algorithm.dotted_string)
        covered = [
            one for one in signatures if digest and digest(one).digest() == info.message_imprint.message
        ]
        if not covered:
            return None, None
        if not _has_one_signer(response):
            return None, "the token does not say which of its certificates signed it"
        verifier = VerifierBuilder(
            roots=[x509.load_pem_x509_certificate(one.encode()) for one in roots]
        ).build()
        verifier.verify_message(response, covered[0])
        return _latest(info), None
    except VerificationError:
        return None, "the token is not by a time stamping authority of the trust root, or was changed"
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException:  # noqa: BLE001 - a parser's panic is no Exception, and any fault means the same
        return None, "a token cannot be read"


def _latest(info: Any) -> datetime:
    """The token's time plus its stated accuracy: the signature existed by then."""
    at: datetime = info.gen_time
    accuracy = info.accuracy
    if accuracy is not None:
        at += timedelta(
            seconds=accuracy.seconds or 0,
            milliseconds=accuracy.millis or 0,
            microseconds=accuracy.micros or 0,
        )
    return at


def _has_one_signer(response: Any) -> bool:
    # The library looks the signer's certificate up by issuer and serial number: with two of that name, the one
    # whose purpose it checks need not be the one that signed.
    from cryptography import x509

    signers = list(response.signed_data.signer_infos)
    if len(signers) != 1:
        return False
    certificates = [x509.load_der_x509_certificate(der) for der in response.signed_data.certificates]
    names = [(one.issuer, one.serial_number) for one in certificates]
    return names.count((signers[0].issuer, signers[0].serial_number)) == 1


def _tokens(raw: bytes) -> list[bytes]:
    """The DER elements of a file as responses, up to the first that is none; a bare token is put into one."""
    found: list[bytes] = []
    at = 0
    while at < len(raw) and len(found) < MAX_TOKENS:
        head = _header(raw, at)
        if head is None or raw[at] != 0x30 or head[1] > len(raw):
            break
        body, end = head
        element = raw[at:end]
        if raw[body : body + 1] == b"\x06":  # ContentInfo begins with an OID, TimeStampResp with a sequence
            element = b"\x30" + _length(len(_GRANTED) + len(element)) + _GRANTED + element
        found.append(_in_order(element))
        at = end
    return found


def _in_order(response: bytes) -> bytes:
    """The response with its certificates in DER's order; as it is where it has another shape.

    OpenSSL, and so many an authority, writes them in any order, which the library takes for no DER. They are not
    among the signed bytes, and which of them signed is looked up by name.
    """
    at, end = 0, len(response)
    # TimeStampResp, its ContentInfo (after the status), [0] (after the OID), SignedData, [0] certificates.
    for place, tag in ((0, 0x30), (1, 0x30), (1, 0xA0), (0, 0x30), (3, 0xA0)):
        parts = _parts(response, at, end)
        if len(parts) <= place or response[parts[place][0]] != tag:
            return response
        _, at, end = parts[place]
    certificates = sorted(response[start:stop] for start, _, stop in _parts(response, at, end))
    body = b"".join(certificates)
    return response[:at] + body + response[end:] if len(body) == end - at else response


def _parts(raw: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Where each DER element between two places begins, where its contents do, and where it ends."""
    parts: list[tuple[int, int, int]] = []
    while at < end:
        head = _header(raw, at)
        if head is None or head[1] > end:
            return []
        parts.append((at, *head))
        at = head[1]
    return parts


def _header(raw: bytes, at: int) -> tuple[int, int] | None:
    """Where the contents of a DER element begin and end (X.690 section 8.1.3), definite lengths only."""
    first = raw[at + 1] if at + 1 < len(raw) else 0x80
    if first < 0x80:
        return at + 2, at + 2 + first
    octets = first & 0x7F
    body = at + 2 + octets
    if not 1 <= octets <= 4 or body > len(raw):
        return None
    return body, body + int.from_bytes(raw[at + 2 : body])


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([0x80 | len(octets)]) + octets


def _der(text: object) -> bytes | None:
    """The DER of exactly one PEM certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    if not isinstance(text, str) or len(text) > MAX_ROOT_CHARS or not text.isascii():
        return None
    if text.count("-----BEGIN") != 1 or not text.startswith(_BEGIN) or not text.rstrip().endswith(_END):
        return None
    try:
        return x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)
    except ValueError:
        return None


def _schema(where: str, expected: str, found: str) -> Problem:
    return Problem(
        "trust.schema",
        where,
        "a trust root has the certificates of its time stamping authorities here",
        expected=expected,
        found=found,
        do="put the PEM text of the authority's root certificate there, from the authority over https",
    )
