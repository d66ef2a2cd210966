from __future__ import annotations

import base64
import hmac
import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws as jose
from joserfc.errors import BadSignatureError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey

from databom.errors import InputError
from databom.trust.jws import MAX_SIGNATURE_CHARS, check_embedded, named_keyid, sign_embedded, signed_content
from databom.trust.keys import PrivateKey, PublicKey
from trust.making import article, ed, p256

KEYS = {"EdDSA": ed(1), "ES256": p256(1)}
RING = {key.public.keyid: key.public for key in KEYS.values()}
CONTENT = signed_content(article())


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def their_key(key: PrivateKey) -> Any:
    return (OKPKey if key.public.keytype == "ed25519" else ECKey).import_key(key.pem())


def their_jws(alg: str, key: Any, header: dict[str, Any], payload: bytes = CONTENT) -> str:
    """A compact detached JWS by joserfc."""
    registry = jose.JWSRegistry(algorithms=[alg], strict_check_header=False)
    whole = jose.serialize_compact({"alg": alg, **header}, payload, key, registry=registry)
    head, _, tail = whole.split(".")
    return f"{head}..{tail}"


def newer_name_asked_for(alg: str) -> AbstractContextManager[Any]:
    """joserfc warns of the name that we write, and reads it: every JOSE library does."""
    return pytest.warns(SecurityWarning, match="RFC 9864") if alg == "EdDSA" else nullcontext()


def by_hand(header: Any, key: PrivateKey = KEYS["EdDSA"], payload: bytes = CONTENT) -> str:
    head = b64(header if isinstance(header, bytes) else json.dumps(header).encode())
    return f"{head}..{b64(key.sign_raw(f'{head}.{b64(payload)}'.encode()))}"


def refusal(signature: str, ring: dict[str, PublicKey] = RING, payload: bytes = CONTENT) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        check_embedded(signature, payload, ring)
    (problem,) = caught.value.problems
    assert problem.do
    return problem.code, problem.what


# --- an independent implementation -----------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["Ed25519", *KEYS])
@pytest.mark.parametrize("typ", [{}, {"typ": "dataset-manifest+jcs"}])
def test_their_signature_verifies_with_us(alg: str, typ: dict[str, str]) -> None:
    key = KEYS.get(alg, KEYS["EdDSA"])
    with newer_name_asked_for(alg):
        signature = their_jws(alg, their_key(key), {"kid": key.public.keyid, **typ})
    assert check_embedded(signature, CONTENT, RING) == key.public.keyid
    assert named_keyid(signature) == key.public.keyid


@pytest.mark.parametrize("alg", KEYS)
def test_our_signature_verifies_with_them(alg: str) -> None:
    key = KEYS[alg]
    head, empty, tail = sign_embedded(article(), key).split(".")
    assert empty == ""
    with newer_name_asked_for(alg):
        read = jose.deserialize_compact(f"{head}.{b64(CONTENT)}.{tail}", their_key(key), algorithms=[alg])
    assert read.headers() == {"alg": alg, "kid": key.public.keyid}
    assert read.payload == CONTENT
    other = b64(signed_content(article(version="2026-01-11")))
    with pytest.raises(BadSignatureError), newer_name_asked_for(alg):
        jose.deserialize_compact(f"{head}.{other}.{tail}", their_key(key), algorithms=[alg])


# --- what is signed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))
def test_sign_and_check(key: PrivateKey) -> None:
    for old in ("", "anything", None, {}):
        signature = sign_embedded(article(signature=old), key)
        assert check_embedded(signature, CONTENT, RING) == key.public.keyid
    assert refusal(signature, payload=signed_content(article(version="2026-01-11")))[0] == "signature.invalid"
    assert refusal(signature, payload=b"")[0] == "signature.invalid"


def test_the_content_is_the_same_in_every_spelling() -> None:
    value = article()
    turned = dict(reversed(value.items()))
    assert signed_content(turned) == CONTENT
    assert "signature" in value
    assert b"signature" not in CONTENT


def test_an_unsignable_value_is_refused_with_our_error() -> None:
    with pytest.raises(InputError, match=r"manifest\.syntax"):
        sign_embedded(article(version="\ud800"), ed(1))


# --- headers ---------------------------------------------------------------------------------------------

KID = {"kid": KEYS["EdDSA"].public.keyid}
GOOD = {"alg": "EdDSA", **KID}
JWK = {"kty": "OKP", "crv": "Ed25519", "x": b64(ed(9).public.spki[-32:])}


def test_the_hand_made_signature_is_good() -> None:
    assert check_embedded(by_hand(GOOD), CONTENT, RING) == KID["kid"]


def test_ed25519_is_the_newer_name_of_eddsa() -> None:
    """RFC 9864. The name is signed with the rest, so it cannot be exchanged; and it is the name of one kind of key."""
    newer = by_hand({**GOOD, "alg": "Ed25519"})
    assert check_embedded(newer, CONTENT, RING) == KID["kid"]
    head, _, tail = newer.split(".")
    older = b64(json.dumps(GOOD).encode())
    assert refusal(f"{older}..{tail}")[0] == "signature.invalid"
    assert refusal(f"{head}..{by_hand(GOOD).split('.')[2]}")[0] == "signature.invalid"
    assert (
        refusal(by_hand({"alg": "Ed25519", "kid": p256(1).public.keyid}, p256(1)))[0] == "signature.invalid"
    )


@pytest.mark.parametrize(
    "member",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"b64": True},
        {"b64": False, "crit": ["b64"]},
        {"jwk": JWK},
        {"jku": "https://marketplace.example/keys.json"},
        {"x5c": ["MIIB"]},
        {"x5u": "https://marketplace.example/cert.pem"},
        {"x5t": "AA"},
        {"cty": "json"},
        {"iat": 1},
        {"": ""},
    ],
)
def test_no_other_member_is_allowed(member: dict[str, Any]) -> None:
    code, what = refusal(by_hand({**GOOD, **member}))
    assert code == "signature.invalid"
    assert "not allowed" in what


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"alg": "EdDSA"},
        KID,
        {**GOOD, "kid": None},
        {**GOOD, "kid": 1},
        {**GOOD, "alg": ["EdDSA"]},
        {**GOOD, "typ": 1},
        {**GOOD, "alg": "eddsa"},
        {**GOOD, "alg": "ed25519"},
        {**GOOD, "alg": "Ed448"},
        {**GOOD, "alg": "ESP256"},
        {**GOOD, "alg": "none"},
        {**GOOD, "alg": "HS256"},
        {**GOOD, "alg": "RS256"},
        {**GOOD, "alg": "ES384"},
        {**GOOD, "alg": "ES256"},
        {**GOOD, "alg": ""},
        [],
        "text",
        b"",
        b"{",
        b"\xff",
        b'{"alg": "EdDSA", "alg": "EdDSA", "kid": "a"}',
        b'{"alg": "EdDSA", "\\u0061lg": "EdDSA", "kid": "a"}',
        b"\xef\xbb\xbf{}",
        b"[" * 2000,
    ],
    ids=str,
)
def test_a_header_that_is_not_exactly_right_is_refused(header: Any) -> None:
    assert refusal(by_hand(header))[0] == "signature.invalid"


def test_an_embedded_key_is_never_used() -> None:
    stranger = ed(9)
    with_key = {"alg": "EdDSA", "kid": stranger.public.keyid, "jwk": JWK}
    assert refusal(by_hand(with_key, stranger))[0] == "signature.invalid"
    assert (
        refusal(by_hand({"alg": "EdDSA", "kid": stranger.public.keyid}, stranger))[0] == "signature.untrusted"
    )


def test_the_public_key_is_no_shared_secret() -> None:
    key = KEYS["EdDSA"].public
    head = b64(json.dumps({"alg": "HS256", **KID}).encode())
    for secret in (key.pem().encode(), key.spki, key.spki[-32:]):
        mac = hmac.digest(secret, f"{head}.{b64(CONTENT)}".encode(), "sha256")
        assert refusal(f"{head}..{b64(mac)}")[0] == "signature.invalid"


def test_an_algorithm_must_be_that_of_the_named_key() -> None:
    for alg, kid, signer in [
        ("ES256", ed(1), ed(1)),
        ("EdDSA", p256(1), p256(1)),
        ("ES256", ed(1), p256(1)),
        ("EdDSA", p256(1), ed(1)),
    ]:
        code, what = refusal(by_hand({"alg": alg, "kid": kid.public.keyid}, signer))
        assert code == "signature.invalid"
        assert kid.public.keytype in what


def test_a_key_must_have_signed_under_its_own_name() -> None:
    assert refusal(by_hand({"alg": "ES256", "kid": p256(1).public.keyid}, p256(2)))[0] == "signature.invalid"
    for kid in ("unknown", "", KID["kid"].upper(), KID["kid"][:63], f"sha256:{KID['kid']}"):
        assert refusal(by_hand({"alg": "EdDSA", "kid": kid}))[0] == "signature.untrusted"


def test_an_unknown_key_is_named_and_so_are_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        check_embedded(by_hand({"alg": "EdDSA", "kid": "evil\x1b[2J"}), CONTENT, RING)
    (problem,) = caught.value.problems
    assert problem.found == "evil\\x1b[2J"
    assert problem.expected == ", ".join(sorted(RING))
    assert "databom trust add" in (problem.do or "")


def test_es256_in_der_is_refused() -> None:
    key = KEYS["ES256"]
    head = b64(json.dumps({"alg": "ES256", "kid": key.public.keyid}).encode())
    der = key.sign(f"{head}.{b64(CONTENT)}".encode())
    assert refusal(f"{head}..{b64(der)}")[0] == "signature.invalid"


# --- spelling --------------------------------------------------------------------------------------------

SIGNATURE = sign_embedded(article(), KEYS["EdDSA"])
HEAD, _, TAIL = SIGNATURE.split(".")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        ".",
        "..",
        "...",
        HEAD,
        f"{HEAD}.{TAIL}",
        f"{HEAD}..",
        f"..{TAIL}",
        f"{HEAD}.{b64(CONTENT)}.{TAIL}",
        f"{HEAD}..{TAIL}.",
        f" {SIGNATURE}",
        f"{SIGNATURE}\n",
        f"{HEAD}..{TAIL}==",
        f"{HEAD}=..{TAIL}",
        f"{HEAD}..\n{TAIL}",
        f"{HEAD}..{TAIL[:-1]}",
        f"{HEAD}..{TAIL[:-2]}",
        f"{HEAD}..{TAIL.replace('-', '+').replace('_', '/')}+",
        f"{HEAD}..{TAIL}é",
        "A" * (MAX_SIGNATURE_CHARS + 1),
    ],
)
def test_only_one_spelling_is_read(signature: str) -> None:
    assert refusal(signature)[0] == "signature.invalid"


def test_no_other_last_character_means_the_same_bytes() -> None:
    # 64 bytes leave four unused bits in the 86th character: a lenient decoder takes 15 other spellings.
    lenient = base64.urlsafe_b64decode(TAIL + "==")
    accepted = 0
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if base64.urlsafe_b64decode(TAIL[:-1] + last + "==") == lenient and last != TAIL[-1]:
            accepted += 1
            assert refusal(f"{HEAD}..{TAIL[:-1]}{last}")[0] == "signature.invalid"
    assert accepted == 15


@given(st.text(max_size=200) | st.binary(max_size=150).map(lambda data: f"{b64(data)}..{b64(data)}"))
def test_only_our_errors_leave(text: str) -> None:
    assert refusal(text)[0] in ("signature.invalid", "signature.untrusted")
