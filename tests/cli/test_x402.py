"""x402 receipts (format jws), signed by two JOSE libraries that know nothing of databom."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from support.payments import PAID, Team

URL = "https://market.example/pets/manifest.json"
PAYLOAD = {"network": "eip155:8453", "resourceUrl": URL, "payer": "0x857b06519E91e3A54538791bDbb0E22373e36b66",
           "issuedAt": int(time.time())}  # fmt: skip
DID = "did:web:market.example#key-1"
Key = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def pem(key: Key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def by_joserfc(key: Key, alg: str, payload: Any, **header: Any) -> bytes:
    from joserfc import jws
    from joserfc.jwk import ECKey, OKPKey

    kind = OKPKey if isinstance(key, ed25519.Ed25519PrivateKey) else ECKey
    protected = {"alg": alg, "kid": DID, **header}
    registry = jws.JWSRegistry(algorithms=["Ed25519", "ES256", "ES256K"], strict_check_header=False)
    return jws.serialize_compact(
        protected, json.dumps(payload), kind.import_key(pem(key)), registry=registry
    ).encode()


def by_pyjwt(key: Key, alg: str, payload: Any, **header: Any) -> bytes:
    import jwt

    return jwt.api_jws.encode(
        json.dumps(payload).encode(), pem(key), algorithm=alg, headers={"kid": DID, **header}
    ).encode()


@pytest.fixture
def seller(team: Team) -> Key:
    """A seller's Ed25519 key, which the team believes for receipts; the pin came from the seller's URL."""
    key = ed25519.Ed25519PrivateKey.generate()
    trust(team, key)
    team.pin()
    team.repin(team.sim.releases[-1], "pets", source=URL, root="https://market.example/pets")
    return key


def trust(team: Team, key: Key, *more: str) -> None:
    path = team.house.base / f"seller-{id(key)}.pub"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    team.house.ok("trust", "add", path, "--role", "payment", *more)


@pytest.mark.parametrize(("sign", "alg"), [(by_joserfc, "Ed25519"), (by_pyjwt, "EdDSA")])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_receipt_by_another_library_counts(
    team: Team, seller: Key, sign: Any, alg: str, wrapped: bool
) -> None:
    team.policy(payment="signed", payer=PAYLOAD["payer"])
    jws = sign(seller, alg, {**PAYLOAD, "transaction": "0xabc"})
    raw = json.dumps({"format": "jws", "signature": jws.decode()}).encode() if wrapped else jws + b"\n"
    answer = team.attach(raw)
    assert answer.code == 0, answer.out
    [name] = team.kept()
    assert name.startswith("payment-")
    assert name.endswith(".jws")
    assert (team.house.project / "provenance/evidence/pets" / name).read_bytes() == jws
    assert team.payment() == {}
    assert team.attach(raw).code == 0
    assert team.kept() == [name]


def test_a_p256_key_signs_too(team: Team, seller: Key) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    trust(team, key)
    assert team.attach(by_joserfc(key, "ES256", PAYLOAD)).code == 0


def test_the_key_id_of_the_trust_root_is_a_kid_too(team: Team, seller: Key) -> None:
    from databom.trust.keys import PublicKey

    spki = seller.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert team.attach(by_pyjwt(seller, "EdDSA", PAYLOAD, kid=PublicKey(spki).keyid)).code == 0


def test_es256k_is_refused_by_name(team: Team, seller: Key) -> None:
    answer = team.attach(by_joserfc(ec.generate_private_key(ec.SECP256K1()), "ES256K", PAYLOAD))
    assert answer.blocking == {"payment.invalid"}
    assert "secp256k1" in answer.findings[0]["what"]
    eip712 = {"format": "eip712", "payload": PAYLOAD, "signature": "0x12"}
    answer = team.attach(json.dumps(eip712).encode())
    assert answer.blocking == {"payment.invalid"}
    assert "eip712" in answer.findings[0]["what"]


@pytest.mark.parametrize(
    "change",
    [
        {"resourceUrl": None},
        {"payer": None},
        {"network": None},
        {"issuedAt": None},
        {"issuedAt": "1703123456"},
        {"issuedAt": 1703123456.5},
        {"issuedAt": -1},
        {"issuedAt": 9007199254740991},
        {"version": 2},
        {"amount": "10000"},
        {"payer": "a\u202eb"},
        {"payer": ["0x1"]},
        {"transaction": 7},
    ],
    ids=str,
)
def test_a_payload_of_another_form_is_refused(team: Team, seller: Key, change: dict[str, Any]) -> None:
    payload = {key: value for key, value in {**PAYLOAD, **change}.items() if value is not None}
    answer = team.attach(by_joserfc(seller, "Ed25519", payload))
    assert answer.code == 1
    assert answer.blocking <= {"payment.invalid", "payment.mismatch"}
    assert team.kept() == []


def test_an_offer_is_no_receipt(team: Team, seller: Key) -> None:
    """The same key signs both: terms that were offered are not terms that were paid."""
    offer = {"resourceUrl": URL, "scheme": "exact", "network": "eip155:8453", "asset": "native", "payTo": "0x1",
             "amount": "10000", "issuedAt": 1703123456}  # fmt: skip
    assert team.attach(by_joserfc(seller, "Ed25519", offer)).blocking == {"payment.invalid"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (URL, 0),
        ("https://MARKET.example:443/pets/manifest.json", 0),
        ("https://market.example/pets/manifest.json?dataset=cars", 1),
        ("https://market.example/pets/manifest.json?", 0),
        ("https://market.example/pets/manifest.json#x", 1),
        ("https://market.example/pets/../pets/manifest.json", 1),
        ("https://market.example/pets/", 1),
        ("https://market.example/pets/Manifest.json", 1),
        ("https://market.example/cars/manifest.json", 1),
        ("https://market.example.evil/pets/manifest.json", 1),
        ("https://user@market.example/pets/manifest.json", 1),
        ("http://market.example/pets/manifest.json", 1),
        ("https://market.example:8443/pets/manifest.json", 1),
        ("manifest.json", 1),
    ],
)
def test_a_receipt_is_for_the_url_of_the_manifest_alone(team: Team, seller: Key, url: str, code: int) -> None:
    answer = team.attach(by_joserfc(seller, "Ed25519", {**PAYLOAD, "resourceUrl": url}))
    assert answer.code == code, answer.out
    assert answer.blocking == ({"payment.mismatch"} if code else set())


def test_the_manifest_beside_the_assets_is_the_same_resource(team: Team, seller: Key) -> None:
    team.repin(team.sim.releases[-1], "pets", source="/home/me/Downloads/manifest.json")
    assert team.attach(by_joserfc(seller, "Ed25519", PAYLOAD)).code == 0
    team.repin(team.sim.releases[-1], "pets", root="/home/me/Downloads")
    answer = team.attach(by_joserfc(seller, "Ed25519", {**PAYLOAD, "transaction": "0x2"}))
    assert answer.blocking == {"payment.mismatch"}
    assert "no x402 receipt" in answer.findings[0]["expected"]


def test_one_receipt_for_two_releases_at_one_url(team: Team, seller: Key) -> None:
    """The URL stays and the release behind it changes: what was paid for the first does not pay for the second."""
    team.policy(payment="signed")
    receipt = by_joserfc(seller, "Ed25519", PAYLOAD)
    assert team.attach(receipt).code == 0
    assert team.payment() == {}
    release = team.sim.publish({"a.txt": b"newer"})
    manifest = team.sim.write(release.documents(), team.house.market / "2")
    team.house.cli("update", "pets", manifest)
    team.repin(release, "pets", source=URL)
    assert team.payment() == {"payment.missing": "block"}
    answer = team.attach(receipt)
    assert answer.blocking == {"payment.mismatch"}
    assert "an earlier release" in answer.findings[0]["found"]
    assert (
        team.attach(by_joserfc(seller, "Ed25519", {**PAYLOAD, "issuedAt": PAYLOAD["issuedAt"] - 1})).code == 0
    )
    assert team.payment() == {}


def test_the_transaction_must_be_the_one_the_manifest_states(team: Team, seller: Key) -> None:
    release = team.pin("cars", payment={**PAID, "payer": "org:team"}, dataset_id="sim-cars")
    team.repin(release, "cars", source=URL)
    other = by_joserfc(seller, "Ed25519", {**PAYLOAD, "transaction": "0xabc"})
    assert team.attach(other, "cars").blocking == {"payment.mismatch"}
    same = by_joserfc(seller, "Ed25519", {**PAYLOAD, "transaction": PAID["transaction_id"]})
    assert team.attach(same, "cars").code == 0  # who pays is a wallet, which no manifest names


def test_another_wallet_than_the_policy_names(team: Team, seller: Key) -> None:
    team.policy(payer="0x0000")
    assert team.attach(by_joserfc(seller, "Ed25519", PAYLOAD)).blocking == {"payment.mismatch"}


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"], "exp": 1}, {"jwk": {}}, {"jku": "https://x"}, {"x5u": "https://x"}, {"b64": False}],
    ids=str,
)  # fmt: skip
def test_a_header_brings_no_key_and_changes_nothing(team: Team, seller: Key, header: dict[str, Any]) -> None:
    import base64

    protected = base64.urlsafe_b64encode(json.dumps({"alg": "EdDSA", "kid": DID, **header}).encode()).rstrip(
        b"="
    )
    body = base64.urlsafe_b64encode(json.dumps(PAYLOAD).encode()).rstrip(b"=")
    message = protected + b"." + body
    assert isinstance(seller, ed25519.Ed25519PrivateKey)
    signature = base64.urlsafe_b64encode(seller.sign(message)).rstrip(b"=")
    assert team.attach(message + b"." + signature).blocking == {"payment.invalid"}


def test_nobody_else_signs(team: Team, seller: Key) -> None:
    stranger = ed25519.Ed25519PrivateKey.generate()
    assert team.attach(by_joserfc(stranger, "Ed25519", PAYLOAD)).blocking == {"payment.invalid"}
    good = by_joserfc(seller, "Ed25519", PAYLOAD)
    head, body, tail = good.split(b".")
    forged = b".".join((head, by_joserfc(seller, "Ed25519", {**PAYLOAD, "payer": "me"}).split(b".")[1], tail))
    assert team.attach(forged).blocking == {"payment.invalid"}
    none = b".".join((by_joserfc(seller, "Ed25519", PAYLOAD, typ="JWT").split(b".")[0], body, tail))
    assert team.attach(none).blocking == {"payment.invalid"}


def test_one_signature_does_not_meet_a_threshold(team: Team, seller: Key) -> None:
    trust(team, ed25519.Ed25519PrivateKey.generate(), "--threshold", "2")
    answer = team.attach(by_joserfc(seller, "Ed25519", PAYLOAD))
    assert answer.blocking == {"payment.invalid"}
    assert "more" in answer.findings[0]["what"]


def test_without_a_payment_role_no_receipt_counts(team: Team, seller: Key) -> None:
    path = team.house.project / "provenance/trust.json"
    root = json.loads(path.read_text())
    del root["roles"]["payment"]
    path.write_text(json.dumps(root))
    answer = team.attach(by_joserfc(seller, "Ed25519", PAYLOAD))
    assert answer.blocking == {"payment.invalid"}
    assert "--role payment" in answer.findings[0]["do"]
