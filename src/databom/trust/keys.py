"""Keys: Ed25519 and ECDSA P-256, checked when they are loaded, named by a digest that we compute.

keyid = lower-case hex SHA-256 of the DER SubjectPublicKeyInfo, as if by this command:

    openssl pkey -pubin -in key.pub -outform DER | sha256sum

The DER is always written by us (uncompressed point, named curve), so two spellings of one key have one id.

Two signature encodings exist for P-256 and the format decides which is meant: DSSE and in-toto use DER
(`sign`, `verify`), JWS uses the 64 raw bytes r‖s (`sign_raw`, `verify_raw`, RFC 7518 section 3.4). Ed25519
has one (RFC 8032); both pairs use it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct
from msgspec.structs import force_setattr

from databom.errors import ConfigError, InputError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

KeyType = Literal["ed25519", "ecdsa-p256"]
KEY_TYPES: tuple[KeyType, ...] = ("ed25519", "ecdsa-p256")

MAX_PEM_BYTES = 64 * 1024
"""A key file larger than this is not a key; refused before it is parsed."""

_MAKE_ONE = "make a key with `databom key new FILE` and use its public half FILE.pub"
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")
_P256_BYTES = 32

# Our spelling of a SubjectPublicKeyInfo is one of two constants and the key (RFC 8410 section 4; RFC 5480 sections
# 2.1.1 and 2.2, named curve, uncompressed point). Whatever is spelled like that needs no parser for all kinds of keys:
# importing that takes as long as verifying fifty signatures.
_SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")
_SPKI_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_PEM_LINE = 64

_Key = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

# Points of Ed25519 (RFC 8032 section 5.1) are written as y, 255 bits little-endian, and the sign of x.
# The curve has eight points of low order, with these five values of y; an honest key is never one of them,
# and under such a key one signature fits many messages (`cryptography` loads all of them without a word).
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_Y_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_LOW_ORDER_Y = frozenset({0, 1, _P - 1, _Y_ORDER_8, _P - _Y_ORDER_8})


def _refuse(what: str, *, subject: str | None = None, found: str | None = None) -> NoReturn:
    raise InputError(
        Problem(
            "trust.weak-key",
            subject,
            what,
            expected="an Ed25519 or ECDSA P-256 public key, PEM (SubjectPublicKeyInfo)",
            found=found,
            do=_MAKE_ONE,
        )
    )


def _ed25519_fault(raw: bytes) -> str | None:
    """Why 32 bytes are no Ed25519 public key worth trusting, or None."""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y % _P in _LOW_ORDER_Y:
        return "this Ed25519 public key is a point of low order: one signature would fit many messages"
    if y >= _P:
        return "this Ed25519 public key is not written in its canonical form (RFC 8032 section 5.1.3)"
    # x^2 = (y^2 - 1) / (d y^2 + 1) must have a root. OpenSSL looks only when it verifies.
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(x_squared, (_P - 1) // 2, _P) != 1:
        return "this Ed25519 public key is not a point of the curve"
    return None


class PublicKey(Struct, frozen=True):
    """A public key that has been checked: one that exists is sound. Whether to trust it, the trust root says.

    Equal keys are equal objects, whatever their spelling was. Hashable and picklable.

    Raises:
        InputError: `trust.weak-key`, for low-order, non-canonical or off-curve Ed25519 points, for any curve
            but P-256, for RSA and every other kind.
    """

    spki: bytes
    """DER SubjectPublicKeyInfo in our spelling."""
    keyid: str = ""
    """Lower-case hex SHA-256 of `spki`. It and `keytype` are computed, whatever they were made with."""
    keytype: KeyType = "ed25519"

    def __post_init__(self) -> None:
        try:
            key = _load(self.spki)
            spki = _der(key)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            _refuse("this is not a public key that can be read")
        keyid = hashlib.sha256(spki).hexdigest()
        if isinstance(key, ed25519.Ed25519PublicKey):
            fault = _ed25519_fault(key.public_bytes_raw())
            if fault is not None:
                _refuse(fault, subject=keyid)
            keytype: KeyType = "ed25519"
        elif isinstance(key, ec.EllipticCurvePublicKey):
            if not isinstance(key.curve, ec.SECP256R1):
                _refuse("this elliptic curve is not accepted", subject=keyid, found=key.curve.name)
            keytype = "ecdsa-p256"
        else:
            kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
            _refuse("this kind of key is not accepted", subject=keyid, found=kind)
        force_setattr(self, "spki", spki)
        force_setattr(self, "keyid", keyid)
        force_setattr(self, "keytype", keytype)

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Read one `-----BEGIN PUBLIC KEY-----` block.

        Raises:
            InputError: `trust.weak-key`, as for the class, and when there is no such block, or several, or
                the text holds a private key instead.
        """
        blocks = _PEM_BLOCK.findall(pem[:MAX_PEM_BYTES])
        if any(block.endswith(b"PRIVATE KEY") for block in blocks):
            _refuse("this is a private key where a public key is asked for", found="a private key")
        if len(pem) > MAX_PEM_BYTES or blocks != [b"PUBLIC KEY"]:
            kinds = ", ".join(block.decode("ascii") for block in blocks[:3])
            _refuse("this is not exactly one PEM public key", found=kinds or "no PEM block")
        spki = _plain(pem)
        if spki is not None:
            return cls(spki)
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            return cls(_der(load_pem_public_key(pem)))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            _refuse("this is not a public key that can be read")

    @classmethod
    def from_raw(cls, keytype: str, raw: bytes) -> PublicKey:
        """Read 32 bytes (Ed25519) or an X9.62 point, compressed or not (P-256).

        Raises:
            InputError: `trust.weak-key`, as for the class.
        """
        key: _Key
        try:
            if keytype == "ed25519":
                key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
            elif keytype == "ecdsa-p256":
                key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
            else:
                _refuse("this type of key is not known")
        except (ValueError, TypeError, UnsupportedAlgorithm):
            _refuse(f"these bytes are not a public key of type {keytype}")
        return cls(_der(key))

    def pem(self) -> str:
        """The key as PEM text with a final newline."""
        return _pem(self.spki).decode("ascii")

    def verify(self, signature: bytes, message: bytes | bytearray) -> bool:
        """Whether this key made this signature: Ed25519, or ECDSA with SHA-256 in DER. Never raises."""
        key = self._load()
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            else:
                key.verify(signature, message, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    def verify_raw(self, signature: bytes, message: bytes | bytearray) -> bool:
        """As `verify`, but an ECDSA signature is the 64 bytes r‖s of RFC 7518 section 3.4. Never raises."""
        if self.keytype == "ed25519":
            return self.verify(signature, message)
        if len(signature) != 2 * _P256_BYTES:
            return False
        r, s = signature[:_P256_BYTES], signature[_P256_BYTES:]
        return self.verify(encode_dss_signature(int.from_bytes(r), int.from_bytes(s)), message)

    def _load(self) -> _Key:
        # Loaded anew each time (10 µs beside 100 µs of verifying): the object then stays plain data, which
        # can be pickled to workers, hashed and compared.
        key = _load(self.spki)
        assert isinstance(key, _Key)
        return key


def _load(spki: bytes) -> PublicKeyTypes:
    """The key of a SubjectPublicKeyInfo, whatever kind it is."""
    if len(spki) == len(_SPKI_ED25519) + 32 and spki.startswith(_SPKI_ED25519):
        return ed25519.Ed25519PublicKey.from_public_bytes(spki[len(_SPKI_ED25519) :])
    if len(spki) == len(_SPKI_P256) + 1 + 2 * _P256_BYTES and spki.startswith(_SPKI_P256 + b"\4"):
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), spki[len(_SPKI_P256) :])
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    return load_der_public_key(spki)


def _der(key: PublicKeyTypes) -> bytes:
    """Our spelling of a key of one of our kinds, the parser's of any other."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _SPKI_ED25519 + key.public_bytes_raw()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        numbers = key.public_numbers()
        return _SPKI_P256 + b"\4" + numbers.x.to_bytes(_P256_BYTES) + numbers.y.to_bytes(_P256_BYTES)
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(spki: bytes) -> bytes:
    """A key as PEM (RFC 7468 section 13)."""
    text = base64.b64encode(spki)
    lines = (text[at : at + _PEM_LINE] for at in range(0, len(text), _PEM_LINE))
    return b"\n".join((b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""))


def _plain(pem: bytes) -> bytes | None:
    """The SubjectPublicKeyInfo of a PEM that is spelled as we spell it; None for any other."""
    lines = pem.splitlines()
    try:
        spki = base64.b64decode(b"".join(lines[1:-1]), validate=True)
    except binascii.Error:
        return None
    return spki if _pem(spki) == pem.strip() + b"\n" else None


class Signer(Protocol):
    """Whoever signs as a `PrivateKey` does: a key of ours, or one that never leaves its hardware."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies."""

    def sign(self, message: bytes) -> bytes:
        """Sign: 64 bytes of Ed25519, or ECDSA with SHA-256 in DER."""


class PrivateKey:
    """A private key. Its repr and str show the keyid alone; it cannot be pickled or copied."""

    __slots__ = ("_key", "public")

    public: PublicKey

    def __init__(self, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        """Wrap a key of the `cryptography` package; prefer `generate` and `from_pem`."""
        self._key = key
        self.public = PublicKey(_der(key.public_key()))

    @classmethod
    def generate(cls, keytype: str = "ed25519") -> PrivateKey:
        """Make a new key from the operating system's randomness.

        Raises:
            ConfigError: `keytype` is none of `KEY_TYPES`.
        """
        if keytype == "ed25519":
            return cls(ed25519.Ed25519PrivateKey.generate())
        if keytype == "ecdsa-p256":
            return cls(ec.generate_private_key(ec.SECP256R1()))
        raise ConfigError("this type of key is not known", hint=f"one of: {', '.join(KEY_TYPES)}")

    @classmethod
    def from_pem(cls, pem: bytes) -> PrivateKey:
        """Read an unencrypted PEM private key (PKCS#8, or SEC 1 for P-256).

        Raises:
            ConfigError: it cannot be read, is encrypted, is a public key, or is of another kind. The message
                never repeats anything of the file.
        """
        blocks = _PEM_BLOCK.findall(pem[:MAX_PEM_BYTES])
        if not any(block.endswith(b"PRIVATE KEY") for block in blocks) and b"PUBLIC KEY" in blocks:
            raise ConfigError(
                "this is a public key where a private key is asked for",
                hint="give the private half: the file without `.pub` that `databom key new FILE` wrote",
            )
        if b"ENCRYPTED PRIVATE KEY" in blocks or b"Proc-Type: 4,ENCRYPTED" in pem:
            raise ConfigError(
                "the private key is encrypted, and databom asks for no passphrase",
                hint="decrypt it to a file of your own: `openssl pkcs8 -in KEY -out KEY.plain` (mode 0600), "
                "or make a new one with `databom key new FILE`",
            )
        if len(pem) > MAX_PEM_BYTES:
            raise ConfigError("this file is too large to be a private key", hint=_PRIVATE_HINT)
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Without `from`: a parser's own words may quote the file.
            raise ConfigError("this is not a private key that can be read", hint=_PRIVATE_HINT) from None
        if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise ConfigError("this kind of private key is not accepted", hint=_PRIVATE_HINT)
        try:
            return cls(key)
        except InputError as error:
            raise ConfigError(
                f"this private key is not accepted: {error.problems[0].what}", hint=_PRIVATE_HINT
            ) from None

    def pem(self) -> bytes:
        """The key as unencrypted PKCS#8 PEM, for a file of mode 0600 and nowhere else."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """Sign: 64 bytes of Ed25519, or ECDSA with SHA-256 in DER."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, ec.ECDSA(SHA256()))

    def sign_raw(self, message: bytes) -> bytes:
        """Sign: 64 bytes of Ed25519, or the 64 bytes r‖s of ECDSA with SHA-256 (RFC 7518 section 3.4)."""
        signature = self.sign(message)
        if self.public.keytype == "ed25519":
            return signature
        r, s = decode_dss_signature(signature)
        return r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)

    def __repr__(self) -> str:
        return f"<PrivateKey {self.public.keytype} {self.public.keyid[:12]}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled or copied: pass the path of its file instead")


_PRIVATE_HINT = (
    "make a private key with `databom key new FILE`, or give a PEM file (PKCS#8) with an Ed25519 or P-256 key"
)
