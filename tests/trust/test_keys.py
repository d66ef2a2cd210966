from __future__ import annotations

import contextlib
import copy
import hashlib
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import ConfigError, InputError
from databom.trust.keys import KEY_TYPES, MAX_PEM_BYTES, PrivateKey, PublicKey
from trust.making import ed, p256

KEYS = [ed(1), p256(1)]


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_keyid_is_the_digest_of_the_subject_public_key_info(key: PrivateKey) -> None:
    assert key.public.keyid == hashlib.sha256(key.public.spki).hexdigest()
    assert PublicKey.from_pem(key.public.pem().encode()) == key.public
    assert key.public.pem().endswith("-----END PUBLIC KEY-----\n")


@pytest.mark.parametrize("key", KEYS, ids=KEY_TYPES)
def test_our_spelling_is_the_parsers_and_every_other_one_is_read(key: PrivateKey) -> None:
    """What is spelled as we spell it is read without the parser: it must be just what the parser reads and writes."""
    parsed = serialization.load_der_public_key(key.public.spki)
    pem = parsed.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert parsed.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key.public.spki
    assert key.public.pem().encode() == pem
    head, *lines, tail = pem.splitlines()
    others = [
        pem.replace(b"\n", b"\r\n"),
        pem.rstrip(),
        b"a comment\n" + pem,
        b"\n".join((head, *(line[at : at + 20] for line in lines for at in range(0, len(line), 20)), tail)),
    ]
    for other in (pem, *others):
        assert PublicKey.from_pem(other) == key.public


def test_a_coordinate_beyond_the_field_is_no_point() -> None:
    """P-256 has a point with x = 0; the same point with x = p is another spelling, which no parser takes."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    y = pow(b, (p + 1) // 4, p).to_bytes(32)
    good = PublicKey.from_raw("ecdsa-p256", b"\4" + bytes(32) + y)
    assert good.spki.endswith(bytes(32) + y)
    with pytest.raises(InputError):
        PublicKey(good.spki[:-64] + p.to_bytes(32) + y)


def test_a_known_keyid() -> None:
    # printf of the 44 bytes of DER of the all-ones seed, through sha256sum
    der = bytes.fromhex("302a300506032b6570032100") + bytes.fromhex(
        "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
    )
    assert ed(1).public.spki == der
    assert ed(1).public.keyid == hashlib.sha256(der).hexdigest()


def test_two_spellings_of_one_key_have_one_id() -> None:
    key = ec.derive_private_key(5, ec.SECP256R1()).public_key()
    points = [
        key.public_bytes(Encoding.X962, form)
        for form in (PublicFormat.CompressedPoint, PublicFormat.UncompressedPoint)
    ]
    assert points[0] != points[1]
    assert (
        PublicKey.from_raw("ecdsa-p256", points[0])
        == PublicKey.from_raw("ecdsa-p256", points[1])
        == p256(5).public
    )


@pytest.mark.parametrize("keytype", KEY_TYPES)
def test_sign_and_verify(keytype: str) -> None:
    key, other = PrivateKey.generate(keytype), PrivateKey.generate(keytype)
    assert key.public.keytype == keytype
    for sign, verify in [(key.sign, key.public.verify), (key.sign_raw, key.public.verify_raw)]:
        signature = sign(b"message")
        assert verify(signature, b"message")
        assert not verify(signature, b"massage")
        assert not verify(signature[:-1], b"message")
        assert not verify(signature + b"\0", b"message")
        assert not verify(b"", b"message")
    assert not other.public.verify(key.sign(b"message"), b"message")
    assert len(key.sign_raw(b"message")) == 64


def test_public_keys_are_plain_data() -> None:
    one, two = ed(1).public, ed(2).public
    assert pickle.loads(pickle.dumps(one)) == one
    assert copy.deepcopy(one) == one
    assert len({one, two, PublicKey(one.spki)}) == 2
    with pytest.raises(AttributeError):
        one.keyid = "0" * 64  # type: ignore[misc]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_a_private_key_survives_its_pem(key: PrivateKey) -> None:
    again = PrivateKey.from_pem(key.pem())
    assert again.public == key.public
    assert again.public.verify(key.sign(b"x"), b"x")


def test_sec1_private_keys_are_read() -> None:
    key = ec.derive_private_key(9, ec.SECP256R1())
    assert PrivateKey.from_pem(private_pem(key, PrivateFormat.TraditionalOpenSSL)).public == p256(9).public


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_a_private_key_never_shows_itself(key: PrivateKey) -> None:
    shown = " ".join([repr(key), str(key), f"{key}", repr([key]), repr({"key": key})])
    secret = b"".join(key.pem().splitlines()[1:-1]).decode()
    assert key.public.keyid[:12] in shown
    assert not any(secret[at : at + 8] in shown for at in range(len(secret) - 8))
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            leak(key)
    with pytest.raises(TypeError):
        vars(key)


FOREIGN = {
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "dsa": dsa.generate_private_key(key_size=2048),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "brainpool": ec.generate_private_key(ec.BrainpoolP256R1()),
    "ed448": ed448.Ed448PrivateKey.generate(),
    "x25519": x25519.X25519PrivateKey.generate(),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_kinds_of_key_are_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        PublicKey.from_pem(public_pem(FOREIGN[name]))
    (problem,) = caught.value.problems
    assert problem.code == "trust.weak-key"
    assert problem.expected is not None
    assert "Ed25519 or ECDSA P-256" in problem.expected
    assert problem.found
    assert problem.do
    with pytest.raises(ConfigError) as refused:
        PrivateKey.from_pem(private_pem(FOREIGN[name]))
    assert "not accepted" in str(refused.value)


BLOCK = ed(1).public.pem()


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"\xff\xfe\x00",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@here",
        (BLOCK + ed(2).public.pem()).encode(),
        BLOCK.replace("PUBLIC KEY", "CERTIFICATE").encode(),
        BLOCK.replace("PUBLIC KEY", "RSA PUBLIC KEY").encode(),
        BLOCK[:-30].encode(),
        BLOCK.replace("M", "*", 1).encode(),
        b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        BLOCK.encode() + b" " * MAX_PEM_BYTES,
    ],
)
def test_what_is_no_public_key_is_refused(pem: bytes) -> None:
    with pytest.raises(InputError, match=r"trust\.weak-key"):
        PublicKey.from_pem(pem)


def test_a_private_key_is_no_public_key_and_its_content_is_not_repeated() -> None:
    pem = ed(1).pem()
    with pytest.raises(InputError, match="private key where a public key") as caught:
        PublicKey.from_pem(pem)
    assert pem.splitlines()[1].decode() not in repr(caught.value.problems)


def test_a_public_key_is_no_private_key() -> None:
    with pytest.raises(ConfigError, match="public key where a private key") as caught:
        PrivateKey.from_pem(BLOCK.encode())
    assert caught.value.exit_code == 2
    assert ".pub" in (caught.value.hint or "")


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_private_key_says_what_to_do(form: PrivateFormat) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"passphrase"))
    with pytest.raises(ConfigError, match="encrypted") as caught:
        PrivateKey.from_pem(pem)
    assert "openssl pkcs8" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"S3CRET-CANARY",
        b"-----BEGIN PRIVATE KEY-----\nS3CRETCANARY\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nS3CRET-CANARY",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nS3CRETCANARY\n-----END OPENSSH PRIVATE KEY-----\n",
        ed(3).pem().replace(b"M", b"*", 1) + b"S3CRET-CANARY",
        b"S3CRET-CANARY" * 10_000,
    ],
)
def test_a_garbage_key_file_is_never_echoed(pem: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        PrivateKey.from_pem(pem)
    shown = f"{caught.value} {caught.value.hint} {caught.value!r}"
    assert "S3CRET" not in shown
    assert "databom key new" in shown
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("keytype", ["", "rsa", "Ed25519", "ed25519\n"])
def test_unknown_key_types_are_refused(keytype: str) -> None:
    with pytest.raises(ConfigError, match="not known"):
        PrivateKey.generate(keytype)
    with pytest.raises(InputError, match=r"trust\.weak-key"):
        PublicKey.from_raw(keytype, b"\1" * 32)


def test_points_off_the_curve_are_refused() -> None:
    with pytest.raises(InputError, match=r"trust\.weak-key"):
        PublicKey.from_raw("ecdsa-p256", b"\x04" + b"\1" * 64)


@given(st.binary(max_size=200))
def test_only_our_errors_leave_the_loaders(data: bytes) -> None:
    wrapped = b"-----BEGIN PUBLIC KEY-----\n" + data + b"\n-----END PUBLIC KEY-----\n"
    for load in (
        PublicKey,
        PublicKey.from_pem,
        lambda raw: PublicKey.from_raw("ed25519", raw),
        lambda raw: PublicKey.from_raw("ecdsa-p256", raw),
    ):
        for raw in (data, wrapped):
            with contextlib.suppress(InputError):
                load(raw)
    for raw in (data, wrapped.replace(b"PUBLIC", b"PRIVATE"), wrapped.replace(b"PUBLIC", b"EC PRIVATE")):
        with pytest.raises(ConfigError):
            PrivateKey.from_pem(raw)


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_verifying_never_raises(signature: bytes, message: bytes) -> None:
    for key in (ed(1).public, p256(1).public):
        assert key.verify(signature, message) is False
        assert key.verify_raw(signature, message) is False


def test_wrapping_a_foreign_key_object_is_refused_too() -> None:
    with pytest.raises(InputError, match=r"trust\.weak-key"):
        PrivateKey(ec.generate_private_key(ec.SECP384R1()))
    assert PrivateKey(ed25519.Ed25519PrivateKey.generate()).public.keytype == "ed25519"
