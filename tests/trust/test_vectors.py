"""Public vectors for the signature back end: every verdict must be ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from databom.errors import InputError
from databom.trust.jws import check_embedded
from databom.trust.keys import PublicKey
from trust.making import VECTORS

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def wycheproof(name: str) -> list[tuple[str, str, dict[str, Any]]]:
    document = json.loads((VECTORS / "wycheproof" / name).read_text())
    tests = [
        (f"{test['tcId']}-{test['result']}", group["publicKeyPem"], test)
        for group in document["testGroups"]
        for test in group["tests"]
    ]
    assert len(tests) == document["numberOfTests"]
    return tests


def disagreements(name: str, *, raw: bool) -> list[str]:
    found = []
    keys: dict[str, PublicKey] = {}
    for label, pem, test in wycheproof(name):
        key = keys.setdefault(pem, PublicKey.from_pem(pem.encode()))
        verify = key.verify_raw if raw else key.verify
        if verify(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"])) != (test["result"] == "valid"):
            found.append(f"{label}: {test['comment']}")
    return found


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("ed25519_test.json", False),
        ("ed25519_test.json", True),
        ("ecdsa_secp256r1_sha256_test.json", False),
        ("ecdsa_secp256r1_sha256_p1363_test.json", True),
    ],
)
def test_wycheproof(name: str, raw: bool) -> None:
    assert disagreements(name, raw=raw) == []


def test_the_two_encodings_of_ecdsa_are_not_confused() -> None:
    for name, raw in [
        ("ecdsa_secp256r1_sha256_test.json", True),
        ("ecdsa_secp256r1_sha256_p1363_test.json", False),
    ]:
        valid = sum(test["result"] == "valid" for _, _, test in wycheproof(name))
        # Read in the other encoding nothing verifies, so exactly the valid ones disagree.
        assert len(disagreements(name, raw=raw)) == valid


def signing_keys(owner: dict[str, Any]) -> dict[str, PublicKey]:
    """The keys of a JWK or of a set that a trust root could hold: P-256, to sign with, by ES256.

    databom reads no JWK: whoever brings such a key to a trust root as PEM has decided the same. One that is no point
    of the curve cannot be brought at all, and of two with one name neither says who signed.
    """
    named: dict[str, list[PublicKey]] = {}
    for jwk in owner.get("keys", [owner]):
        if (jwk.get("kty"), jwk.get("crv"), jwk.get("use")) != ("EC", "P-256", "sig"):
            continue
        if jwk.get("alg", "ES256") != "ES256":
            continue
        x, y = (int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "==")) for name in "xy")
        try:
            public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        except ValueError:
            continue
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        named.setdefault(jwk["kid"], []).append(PublicKey.from_pem(pem))
    return {kid: keys[0] for kid, keys in named.items() if len(keys) == 1}


@pytest.mark.parametrize(
    ("name", "count", "with_our_keys"),
    [("json_web_signature_test.json", 401, {18, 378}), ("json_web_key_test.json", 26, set())],
)
def test_wycheproof_json_web_signatures_and_keys(name: str, count: int, with_our_keys: set[int]) -> None:
    """Of all the algorithms in the files, ES256 with a key of ours verifies, and nothing else ever does.

    What is valid by HMAC or RSA is refused too: no trust root can hold such a key. Their payload travels inside the
    JWS; the form a manifest carries leaves it out, so it is moved aside first.
    """
    document = json.loads((VECTORS / "wycheproof" / name).read_text())
    seen, accepted, valid = 0, set(), set()
    for group in document["testGroups"]:
        keys = signing_keys(group.get("public") or group["private"])
        for test in group["tests"]:
            seen += 1
            if keys and test["result"] == "valid":
                valid.add(test["tcId"])
            header, _, rest = test["jws"].partition(".")
            payload, _, signature = rest.rpartition(".")
            try:
                content = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
                if base64.urlsafe_b64encode(content).decode().rstrip("=") != payload:
                    continue  # another spelling of the payload: nothing that a manifest's content can have
                check_embedded(f"{header}..{signature}", content, keys)
            except (InputError, ValueError):
                continue
            accepted.add(test["tcId"])
    assert seen == document["numberOfTests"] == count
    assert accepted == valid == with_our_keys


def test_cctv_ed25519() -> None:
    refused, accepted = 0, 0
    for case in json.loads((VECTORS / "cctv-ed25519" / "ed25519vectors.json").read_text()):
        flags = set(case["flags"] or ())
        raw = bytes.fromhex(case["key"])
        if flags & {"low_order_A", "non_canonical_A"}:
            with pytest.raises(InputError) as caught:
                PublicKey.from_raw("ed25519", raw)
            assert caught.value.problems[0].code == "trust.weak-key"
            assert "databom key new" in (caught.value.hint or "")
            refused += 1
            continue
        # RFC 8032: R must be canonical; and we verify without the cofactor, as OpenSSL, Go and ref10 do.
        fits = not flags & {"non_canonical_R", "low_order_residue", "reencoded_k"}
        verdict = PublicKey.from_raw("ed25519", raw).verify(bytes.fromhex(case["sig"]), case["msg"].encode())
        assert verdict == fits, case
        accepted += verdict
    assert refused > 500
    assert accepted > 0


def encodings(y: int) -> list[bytes]:
    """Every 32-byte spelling that means this y: both signs, and y + p where it fits in 255 bits."""
    spelled = [value for value in (y, y + P) if value < 2**255]
    return [(value | sign << 255).to_bytes(32, "little") for value in spelled for sign in (0, 1)]


def torsion() -> set[tuple[int, int]]:
    """The eight points of low order, found by arithmetic alone: L times any point of the curve has one."""

    def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        (x1, y1), (x2, y2) = a, b
        k = D * x1 * x2 * y1 * y2 % P
        x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P
        return x, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P

    def times(n: int, point: tuple[int, int]) -> tuple[int, int]:
        result = (0, 1)
        while n:
            if n & 1:
                result = add(result, point)
            point, n = add(point, point), n >> 1
        return result

    found: set[tuple[int, int]] = set()
    root = pow(2, (P - 1) // 4, P)
    y = 2
    while len(found) < 8:
        y += 1
        square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
        x = pow(square, (P + 3) // 8, P)
        if x * x % P != square:
            x = x * root % P
        if x * x % P == square:
            small = times(L, (x, y))
            found.update(times(n, small) for n in range(8))
    return found


def test_every_spelling_of_every_low_order_point_is_refused() -> None:
    points = torsion()
    assert len(points) == 8
    spellings = {spelling for _, y in points for spelling in encodings(y)}
    assert len(spellings) == 14  # the README of CCTV counts eight and six alternatives
    for raw in spellings:
        with pytest.raises(InputError, match=r"trust\.weak-key"):
            PublicKey.from_raw("ed25519", raw)


def test_every_other_spelling_that_is_not_canonical_is_refused() -> None:
    # y in p .. 2^255-1: 19 values, each with both signs, whether or not it is a point.
    for y in range(P, 2**255):
        for sign in (0, 1):
            with pytest.raises(InputError, match=r"trust\.weak-key"):
                PublicKey.from_raw("ed25519", (y | sign << 255).to_bytes(32, "little"))


def test_a_y_that_no_point_has_is_refused() -> None:
    with pytest.raises(InputError, match="not a point"):
        PublicKey.from_raw("ed25519", (2).to_bytes(32, "little"))
