"""Is this a receipt, and who says so? Every way in which it is not, and that others' tools read ours."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.bom.receipt import Training, build_statement, completed, descriptor, run_record
from databom.checks.receipt import check_receipt
from databom.model.finding import Severity
from databom.trust import dsse
from databom.trust.keys import PrivateKey, Signer
from databom.trust.root import Role, TrustedKey, TrustRoot
from databom.trust.statement import PAYLOAD_TYPE

KEY, SECOND, STRANGER = (PrivateKey.generate() for _ in range(3))
ECDSA = PrivateKey.generate("ecdsa-p256")
ENDED = "2026-01-10T12:01:00Z"


def statement(**members: Any) -> dict[str, Any]:
    record = run_record("mlflow:r1", "completed", {}, {})
    training = Training(
        **{
            "invocation": "mlflow:r1",
            "status": "completed",
            "verdict": "pass",
            "record": record,
            "started": "2026-01-10T12:00:00Z",
            "finished": ENDED,
            "version": "1",
            **members,
        }
    )
    return build_statement(training)[0]


def signed(value: dict[str, Any], *keys: Signer, payload_type: str = PAYLOAD_TYPE) -> bytes:
    payload = completed(value, development=False, supersedes=None)
    return dsse.format_envelope(dsse.sign(payload_type, payload, keys or (KEY,)))


def root(
    *keys: PrivateKey,
    threshold: int = 1,
    role: str = "receipt",
    development: bool = False,
    window: tuple[datetime | None, datetime | None] = (None, None),
) -> TrustRoot:
    held = keys or (KEY,)
    return TrustRoot(
        raw=b"",
        digest="sha256:0",
        version=1,
        expires=datetime(2030, 1, 1, tzinfo=UTC),
        keys={one.public.keyid: TrustedKey(one.public, *window, development) for one in held},
        roles={role: Role(tuple(sorted(one.public.keyid for one in held)), threshold)},
        marketplaces={},
    )


def codes(raw: bytes, trusted: TrustRoot | None, **attachments: bytes) -> list[str]:
    return [one.code for one in check_receipt(raw, trusted, attachments).findings]


@pytest.mark.parametrize("key", [KEY, ECDSA], ids=["ed25519", "ecdsa"])
def test_a_receipt_holds(key: PrivateKey) -> None:
    receipt = check_receipt(signed(statement(), key), root(key))
    assert receipt.findings == ()
    assert receipt.is_believed
    assert receipt.keyids == (key.public.keyid,)
    assert receipt.statement["subject"][0]["name"] == "run/r1.json"


@pytest.mark.parametrize("key", [KEY, ECDSA], ids=["ed25519", "ecdsa"])
def test_securesystemslib_verifies_it(key: PrivateKey) -> None:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    raw = signed(statement(), key)
    envelope = Envelope.from_dict(json.loads(raw))
    scheme = {"ed25519": ("ed25519", "ed25519"), "ecdsa-p256": ("ecdsa", "ecdsa-sha2-nistp256")}
    public = serialization_of(key)
    theirs = SSlibKey.from_crypto(public, keyid=key.public.keyid)
    assert (theirs.keytype, theirs.scheme) == scheme[key.public.keytype]
    assert set(envelope.verify([theirs], 1)) == {key.public.keyid}
    other = SSlibKey.from_crypto(serialization_of(STRANGER), keyid=key.public.keyid)
    with pytest.raises(VerificationError):
        envelope.verify([other], 1)


def serialization_of(key: PrivateKey) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return load_pem_public_key(key.public.pem().encode())


def test_in_totos_attestation_reads_it() -> None:
    """By its own protobuf models, which refuse a member that they do not know: a Statement v1, SLSA Provenance v1."""
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as StatementV1

    value = statement(
        parameters={"stage": "train", "command": ["python", "train.py"], "complete": True},
        outputs=(
            descriptor("model.bin", {"sha256": 64 * "0"}, annotations={"weights": f"sha256:{64 * '1'}"}),
        ),
        pins=(
            descriptor(
                "pets",
                {"sha256": 64 * "0", "dirHash1": 64 * "1"},
                uri="dataset:hn-pets@1",
                annotations={"use": "read"},
            ),
        ),
        byproducts=(descriptor("report.json", f"sha256:{64 * '2'}"),),
        unknown=("environment",),
    )
    payload = dsse.parse_envelope(signed(value)).payload
    theirs = json_format.Parse(payload, StatementV1())
    Statement.copy_from_pb(theirs).validate()
    predicate = json.loads(payload)["predicate"]
    provenance = json_format.ParseDict(predicate, Provenance())
    # Their times have nanoseconds to spare; all else comes back as it was.
    assert json_format.MessageToDict(provenance) == predicate
    assert provenance.run_details.metadata.finished_on.ToJsonString() == ENDED


# --- who signed -----------------------------------------------------------------------------------------


def test_nobody_who_may_has_signed() -> None:
    assert codes(signed(statement(), STRANGER), root()) == ["receipt.unsigned"]
    assert codes(signed(statement()), root(KEY, role="log")) == ["receipt.unsigned"]
    assert codes(signed(statement()), None) == ["receipt.unsigned"]
    envelope = json.loads(signed(statement()))
    envelope["signatures"] = []
    assert codes(json.dumps(envelope).encode(), root()) == ["receipt.unsigned"]


def test_a_threshold_counts_keys() -> None:
    both = root(KEY, SECOND, threshold=2)
    assert codes(signed(statement()), both) == ["receipt.unsigned"]
    assert codes(signed(statement(), KEY, KEY), both) == ["receipt.unsigned"]
    assert codes(signed(statement(), KEY, SECOND, STRANGER), both) == []


def test_a_key_counts_in_its_window() -> None:
    before = datetime(2026, 1, 1, tzinfo=UTC)
    after = datetime(2026, 2, 1, tzinfo=UTC)
    assert codes(signed(statement()), root(window=(before, after))) == []
    assert codes(signed(statement()), root(window=(after, None))) == ["receipt.invalid"]
    assert codes(signed(statement()), root(window=(None, before))) == ["receipt.invalid"]


def test_a_development_key_is_said() -> None:
    receipt = check_receipt(signed(statement()), root(development=True))
    assert [(one.code, one.severity) for one in receipt.findings] == [("receipt.development", Severity.WARN)]
    assert receipt.is_believed


# --- what is signed -------------------------------------------------------------------------------------


@given(st.data())
def test_any_change_is_found(data: st.DataObject) -> None:
    raw = bytearray(signed(statement()))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    value = check_receipt(bytes(raw), root())
    if value.is_believed:  # white space around the JSON, or the keyid, which only is a hint
        assert value.statement == check_receipt(signed(statement()), root()).statement
    else:
        assert {one.code for one in value.findings} <= {"receipt.invalid", "receipt.unsigned"}


def changed(path: str, value: Any) -> dict[str, Any]:
    whole = copy.deepcopy(statement())
    *parents, last = path.split(".")
    place = whole
    for name in parents:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "urn:databom:approval:v1"),
        ("predicateType", None),
        ("predicate", {}),
        ("predicate", [1]),
        ("predicate.buildDefinition.buildType", "https://example.com/other"),
        ("predicate.buildDefinition.internalParameters.status", 3),
        ("predicate.buildDefinition.internalParameters.verdict", None),
        ("predicate.buildDefinition.resolvedDependencies", {"a": 1}),
        ("predicate.runDetails.metadata.invocationId", ""),
        ("predicate.runDetails.metadata.finishedOn", "yesterday"),
        ("subject", []),
        ("subject", ["x"]),
        ("subject", "x"),
    ],
)
def test_a_good_signature_on_something_else(path: str, value: Any) -> None:
    raw = json.dumps(changed(path, value)).encode()
    envelope = dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, raw, [KEY]))
    assert codes(envelope, root()) == ["receipt.invalid"]


@given(st.binary(max_size=300))
def test_garbage_is_answered(raw: bytes) -> None:
    assert not check_receipt(raw, root()).is_believed


def test_another_payload_type() -> None:
    assert codes(signed(statement(), payload_type="application/json"), root()) == ["receipt.invalid"]


def test_a_member_twice_is_refused() -> None:
    raw = signed(statement())
    envelope = json.loads(raw)
    payload = dsse.parse_envelope(raw).payload.replace(b'{"_type"', b'{"_type":"x","_type"', 1)
    assert codes(dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, payload, [KEY])), root()) == ["receipt.invalid"]
    assert envelope["payloadType"] == PAYLOAD_TYPE


def test_lists_that_were_moved_out() -> None:
    outputs = tuple(descriptor(f"artifacts/{number}", {"sha256": f"{number:064x}"}) for number in range(3000))
    record = run_record("mlflow:r1", "completed", {}, {})
    whole = Training("mlflow:r1", "completed", "pass", ENDED, ENDED, "1", record, outputs=outputs)
    built, moved = build_statement(whole)
    raw = signed(built)
    name = "receipt.subjects.json"
    assert check_receipt(raw, root(), moved).is_believed
    assert codes(raw, root()) == []
    assert [one.code for one in check_receipt(raw, root(), {name: moved[name] + b" "}).findings] == [
        "receipt.invalid"
    ]
