"""RFC 3161 tokens: a key past its window is believed when an authority of the trust root saw its signature in time."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from databom.errors import InputError
from databom.trust.root import TrustRoot, parse_root
from trust.making import IDS, VECTORS, A, B, as_root, codes, embedded, full, only, opened, root_document

decode_timestamp_response = pytest.importorskip(
    "rfc3161_client", reason="needs the extra `timestamps`"
).decode_timestamp_response

FILES = VECTORS / "rfc3161"
RAW = (FILES / "manifest.json").read_bytes()
ENVELOPE = (FILES / "manifest.json.dsse").read_bytes()
SIGNATURE = base64.b64decode(json.loads(ENVELOPE)["signatures"][0]["sig"])
GOOD, BARE, OTHER, STRANGER = (
    (FILES / name).read_bytes() for name in ("good.tsr", "good.token", "other.tsr", "stranger.tsr")
)
TSA, THEIRS = ((FILES / name).read_text() for name in ("root.pem", "stranger.pem"))
STAMPED = datetime.fromisoformat((FILES / "time.txt").read_text().strip())
NOW = STAMPED + timedelta(days=90)
HOUR = timedelta(hours=1)


def spelled(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def trusted(
    *, start: datetime | None = None, end: datetime | None = STAMPED + HOUR, tsa: Any = (TSA,), **changes: Any
) -> TrustRoot:
    """A root in which A may speak from `start` to `end`, and these authorities are believed."""
    document = root_document(A, expires=spelled(NOW + timedelta(days=400)), **changes)
    window = {"valid_from": spelled(start) if start else None, "valid_until": spelled(end) if end else None}
    document["keys"][IDS[A]] |= window
    if tsa:
        document["roles"]["tsa"] = {"roots": list(tsa)}
    return as_root(document)


@pytest.mark.parametrize("tokens", [GOOD, BARE, OTHER + STRANGER + GOOD], ids=["response", "bare", "third"])
def test_a_token_from_inside_the_window_saves_the_signature(tokens: bytes) -> None:
    answer = opened(RAW, ENVELOPE, trusted(), now=NOW, timestamps=tokens)
    assert codes(answer) == []
    assert answer.keyids == (IDS[A],)
    assert codes(opened(RAW, ENVELOPE, trusted(), now=NOW)) == ["signature.expired"]


@pytest.mark.parametrize(
    ("root", "tokens", "why"),
    [
        (trusted(end=STAMPED - HOUR), GOOD, "outside the window too"),
        (
            trusted(end=STAMPED + timedelta(seconds=1)),
            GOOD,
            "outside the window too",
        ),  # ± 1 s by its own account
        (trusted(tsa=()), GOOD, "names no time stamping authority"),
        (trusted(tsa=(THEIRS,)), GOOD, "not by a time stamping authority of the trust root"),
        (trusted(), STRANGER, "not by a time stamping authority of the trust root"),
        (trusted(), OTHER, "no token is over this key's signature"),
        (trusted(), b"", "no token is over this key's signature"),
        (trusted(), b"\x00" + GOOD, "no token is over this key's signature"),
        (trusted(), b"\x30\x84\xff\xff\xff\xff" + GOOD, "no token is over this key's signature"),
        (trusted(), GOOD[:-1], "no token is over this key's signature"),
        (trusted(), b"\x30\x02\x05\x00", "cannot be read"),
        (trusted(), OTHER * 64 + GOOD, "no token is over this key's signature"),
    ],
)
def test_any_other_token_counts_for_nothing(root: TrustRoot, tokens: bytes, why: str) -> None:
    finding = only(opened(RAW, ENVELOPE, root, now=NOW, timestamps=tokens))
    assert (finding.code, finding.subject) == ("signature.expired", IDS[A])
    assert why in (finding.found or "")
    # Where the key is inside its window, the same token is no obstacle.
    assert codes(opened(RAW, ENVELOPE, trusted(end=None), now=NOW, timestamps=tokens)) == []


@pytest.mark.parametrize(("ahead", "believed"), [(4, True), (6, False)])
def test_a_token_may_be_five_minutes_ahead_of_our_clock(ahead: int, believed: bool) -> None:
    # The key is not valid yet by our clock, and is by the authority's.
    root = trusted(start=STAMPED, end=None)
    answer = opened(RAW, ENVELOPE, root, now=STAMPED - timedelta(minutes=ahead), timestamps=GOOD)
    assert (codes(answer) == []) is believed
    if not believed:
        assert "from the future" in (only(answer).found or "")


def tlv(tag: int, body: bytes) -> bytes:
    size = bytes([len(body)]) if len(body) < 0x80 else b"\x82" + len(body).to_bytes(2)
    return bytes([tag]) + size + body


def elements(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        octets = body[1] & 0x7F if body[1] & 0x80 else 0
        size = int.from_bytes(body[2 : 2 + octets]) if octets else body[1]
        found.append((body[0], body[2 + octets : 2 + octets + size]))
        body = body[2 + octets + size :]
    return found


def with_certificates(raw: bytes, path: list[int], certificates: list[bytes]) -> bytes:
    """The same DER, where the element at `path` holds these certificates."""
    parts = elements(raw)
    tag, body = parts[path[0]]
    inner = with_certificates(body, path[1:], certificates) if path[1:] else b"".join(certificates)
    parts[path[0]] = (tag, inner)
    return b"".join(tlv(*part) for part in parts)


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize(("tokens", "path"), [(GOOD, [0, 1, 1, 0, 3]), (BARE, [0, 1, 0, 3])])
def test_an_authority_may_write_its_certificates_in_any_order(
    tokens: bytes, path: list[int], is_reversed: bool
) -> None:
    # `openssl ts -reply` with a chain does; DER, which the library insists on, sorts them.
    (own,) = decode_timestamp_response(GOOD).signed_data.certificates
    root = x509.load_pem_x509_certificate(TSA.encode()).public_bytes(Encoding.DER)
    chained = with_certificates(tokens, path, sorted([own, root], reverse=is_reversed))
    assert codes(opened(RAW, ENVELOPE, trusted(), now=NOW, timestamps=chained)) == []
    late = trusted(end=STAMPED - HOUR)
    assert codes(opened(RAW, ENVELOPE, late, now=NOW, timestamps=chained)) == ["signature.expired"]


def test_a_token_says_nothing_about_another_keys_signature() -> None:
    document = root_document(A, B, threshold=2, expires=spelled(NOW + HOUR))
    for key in (A, B):
        document["keys"][IDS[key]]["valid_until"] = spelled(STAMPED + HOUR)
    document["roles"]["tsa"] = {"roots": [TSA]}
    both = json.loads(ENVELOPE)
    message = base64.b64decode(both["payload"])
    pae = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(message), message)
    both["signatures"].append({"keyid": IDS[B], "sig": base64.b64encode(B.sign(pae)).decode()})
    answer = opened(RAW, json.dumps(both).encode(), as_root(document), now=NOW, timestamps=GOOD)
    assert codes(answer) == ["signature.expired"]
    assert answer.findings[0].subject == IDS[B]


def test_tokens_are_for_the_detached_form() -> None:
    raw = embedded(full(), A)
    assert codes(opened(raw, None, trusted(), now=NOW, timestamps=GOOD)) == ["signature.expired"]


def test_a_token_does_not_mend_what_is_wrong_otherwise() -> None:
    changed = RAW.replace(b"txn_01J9ZK", b"txn_01J9ZX")
    assert codes(opened(changed, ENVELOPE, trusted(), now=NOW, timestamps=GOOD)) == ["signature.invalid"]
    late = trusted().expires
    assert "trust.expired" in codes(opened(RAW, ENVELOPE, trusted(), now=late, timestamps=GOOD))


def test_no_bit_flip_makes_a_token_say_another_time() -> None:
    """What CMS leaves unsigned may change; the time may not, and nothing foreign escapes."""
    before, after = trusted(end=STAMPED - timedelta(seconds=1)), trusted(start=STAMPED + timedelta(seconds=2))
    for position in range(len(GOOD) * 8):
        flipped = bytearray(GOOD)
        flipped[position // 8] ^= 1 << position % 8
        root = before if position % 2 else after
        assert codes(opened(RAW, ENVELOPE, root, now=NOW, timestamps=bytes(flipped))) == ["signature.expired"]


def test_a_change_of_what_is_signed_spoils_a_token() -> None:
    said = GOOD.index(STAMPED.strftime("%Y%m%d%H%M%SZ").encode())
    for position in range(said * 8, (said + 15) * 8):
        flipped = bytearray(GOOD)
        flipped[position // 8] ^= 1 << position % 8
        assert codes(opened(RAW, ENVELOPE, trusted(), now=NOW, timestamps=bytes(flipped))) == [
            "signature.expired"
        ]


def test_without_the_library_the_finding_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    finding = only(opened(RAW, ENVELOPE, trusted(), now=NOW, timestamps=GOOD))
    assert finding.code == "signature.expired"
    assert "pip install 'databom[timestamps]'" in (finding.do or "")
    assert codes(opened(RAW, ENVELOPE, trusted(end=None), now=NOW, timestamps=GOOD)) == []


@pytest.mark.parametrize(
    "entry",
    [
        None, [], {}, {"roots": []}, {"roots": TSA}, {"roots": [7]}, {"roots": ["text"]}, {"roots": [TSA, TSA]},
        {"roots": [TSA + THEIRS]}, {"roots": ["x" + TSA]}, {"roots": [TSA] * 17}, {"roots": [A.public.pem()]},
        {"roots": [TSA.replace("M", "!")]},
    ],
)  # fmt: skip
def test_authorities_are_read_strictly(entry: Any) -> None:
    document = root_document(A)
    document["roles"]["tsa"] = entry
    with pytest.raises(InputError) as caught:
        parse_root(json.dumps(document).encode())
    assert {problem.code for problem in caught.value.problems} == {"trust.schema"}
    assert all((problem.subject or "").startswith("/roles/tsa") for problem in caught.value.problems)
