"""OpenSSF Model Signing bundles: what is believed, and what an attacker may try with them."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.model.digest import sha256, tree_digest
from databom.trust.keys import PrivateKey
from databom.trust.oms import OpenedBundle, open_bundle
from databom.trust.root import TrustRoot
from support.forms import OMS, oms_bundle, oms_statement, resources
from support.forms import sha256 as hex256
from trust.making import NOW, STRANGER, VECTORS, A, B, C, as_root, only, p256, root, root_document

PUBLIC = VECTORS / "model-signing"
FILES = {"cat/1.jpg": b"a cat\n", "dog/1.jpg": b"a dog\n"}
TRUST = root(A, B, C)
KEY = {"publicKey": {"hint": ""}}


def opened(bundle: Any, trusted: TrustRoot = TRUST) -> OpenedBundle:
    return open_bundle(json.dumps(bundle).encode(), trusted, now=NOW)


def signed(*, key: PrivateKey = A, name: str = "hn-pets", files: Any = FILES, **changes: Any) -> OpenedBundle:
    """What is said of a bundle about these files, whose predicate has these changes."""
    return opened(oms_bundle(oms_statement(files, name=name, **changes), [key]))


def told(answer: OpenedBundle) -> tuple[str, str | None]:
    finding = only(answer)
    return finding.code, finding.subject


@pytest.mark.parametrize("key", [A, C], ids=["ed25519", "p256"])
def test_a_bundle_is_believed(key: PrivateKey) -> None:
    raw = json.dumps(oms_bundle(oms_statement(FILES), [key])).encode()
    answer = open_bundle(raw, TRUST, now=NOW)
    assert answer.findings == ()
    assert (answer.keyids, answer.marketplace) == ((key.public.keyid,), "human-native")
    manifest = answer.manifest
    assert manifest is not None
    assert (manifest.raw, manifest.digest, manifest.form) == (raw, sha256(raw), "oms")
    assert (manifest.dataset_id, manifest.license.spdx) == ("hn-pets", None)
    assert {one.path: one.sha256 for one in manifest.assets} == {n: hex256(d) for n, d in FILES.items()}
    assert manifest.tree == tree_digest((name, hex256(data)) for name, data in FILES.items())


@pytest.mark.parametrize(
    "hint", ["pem", "pem-stripped", A.public.keyid, f"sha256:{A.public.keyid}", "", "somebody", None]
)
def test_any_hint_that_does_not_mislead(hint: str | None) -> None:
    pem = A.public.pem().encode()
    hint = {"pem": hex256(pem), "pem-stripped": hex256(pem.strip())}.get(str(hint), hint)
    material = {"publicKey": {} if hint is None else {"hint": hint}}
    assert opened(oms_bundle(oms_statement(FILES), [A], **material)).findings == ()


def test_a_hint_at_a_trusted_key_that_did_not_sign() -> None:
    material = {"publicKey": {"hint": B.public.keyid}}
    answer = opened(oms_bundle(oms_statement(FILES), [A], **material))
    assert told(answer) == ("signature.invalid", "/dsseEnvelope/signatures/0/sig")


def test_the_key_in_the_bundle_speaks_for_nobody() -> None:
    material = {"publicKey": {"rawBytes": base64.b64encode(STRANGER.public.spki).decode()}}
    answer = opened(oms_bundle(oms_statement(FILES), [STRANGER], **material))
    assert only(answer).code == "signature.untrusted"
    assert answer.manifest is None


@pytest.mark.parametrize("name", ["certificate", "x509CertificateChain"])
def test_certificates_speak_for_nobody(name: str) -> None:
    """Even one beside a public key, on a bundle that a trusted key signed."""
    material = {**KEY, name: {"rawBytes": "AAAA"}}
    answer = opened(oms_bundle(oms_statement(FILES), [A], **material))
    assert told(answer) == ("signature.untrusted", f"/verificationMaterial/{name}")


# --- who may speak -----------------------------------------------------------------------------------


def test_a_dataset_out_of_scope() -> None:
    answer = signed(name="x-pets")
    assert told(answer) == ("signature.untrusted", "x-pets")


def test_a_key_of_another_role() -> None:
    document = root_document(A, B)
    document["roles"]["marketplace"]["human-native"]["keyids"] = [B.public.keyid]
    document["roles"]["payment"] = {"keyids": [A.public.keyid], "threshold": 1}
    answer = opened(oms_bundle(oms_statement(FILES), [A]), as_root(document))
    assert told(answer) == ("signature.untrusted", "hn-pets")


def test_a_threshold_is_never_met_by_one_signature() -> None:
    answer = opened(oms_bundle(oms_statement(FILES), [A]), root(A, B, threshold=2))
    assert told(answer) == ("signature.threshold", "hn-pets")


def test_a_key_outside_its_window() -> None:
    document = root_document(A)
    document["keys"][A.public.keyid]["valid_until"] = "2026-01-01T00:00:00Z"
    answer = opened(oms_bundle(oms_statement(FILES), [A]), as_root(document))
    assert told(answer) == ("signature.expired", A.public.keyid)


def test_an_expired_root_and_an_empty_one() -> None:
    raw = json.dumps(oms_bundle(oms_statement(FILES), [A])).encode()
    late = open_bundle(raw, TRUST, now=TRUST.expires + timedelta(seconds=1))
    assert [finding.code for finding in late.findings] == ["trust.expired"]
    assert only(open_bundle(raw, as_root(root_document()), now=NOW)).code == "signature.untrusted"


# --- attacks on the statement ----------------------------------------------------------------------------


def test_relabeled_files_are_another_release() -> None:
    """The same bytes under other names: OMS's own digest is equal, ours is not."""
    other = {"cat/1.jpg": b"a cat\n", "cat/2.jpg": b"a dog\n"}
    assert oms_statement(FILES)["subject"] == oms_statement(other)["subject"]
    first, second = signed().manifest, signed(files=other).manifest
    assert first is not None
    assert second is not None
    assert first.tree != second.tree
    assert first.release != second.release
    assert first.digest != second.digest


def test_relabeled_in_the_signed_bundle() -> None:
    bundle = oms_bundle(oms_statement(FILES), [A])
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"dog/1.jpg", b"cat/2.jpg")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    assert only(opened(bundle)).code == "signature.invalid"


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/../b", "a//b", "./a", "a\\b", "C:a", ".git/config", "a\u202e"]
)
def test_unsafe_names(name: str) -> None:
    assert told(signed(files={name: b"x"})) == ("manifest.path", "/predicate/resources/0/name")


def test_names_twice_out_of_order_or_colliding() -> None:
    one, two = resources(FILES)
    assert told(unsorted([one, one])) == ("manifest.duplicate", "/predicate/resources/1/name")
    assert told(unsorted([two, one])) == ("manifest.schema", "/predicate/resources/1/name")
    assert told(signed(files={"A": b"x", "a": b"y"}))[0] == "manifest.path"


def unsorted(listed: list[dict[str, str]]) -> OpenedBundle:
    statement = oms_statement({}, resources=listed)
    digests = b"".join(bytes.fromhex(one["digest"]) for one in listed)
    statement["subject"][0]["digest"] = {"sha256": hex256(digests)}
    return opened(oms_bundle(statement, [A]))


def test_a_statement_that_contradicts_itself() -> None:
    changed = [{**one, "digest": hex256(b"other")} for one in resources(FILES)]
    assert told(signed(resources=changed)) == ("signature.invalid", "/subject/0/digest/sha256")


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        (
            {"serialization": {"method": "shards", "hash_type": "sha256", "shard_size": 9}},
            "/serialization/method",
        ),
        ({"serialization": {"method": "files", "hash_type": "blake3"}}, "/serialization/hash_type"),
        ({"serialization": None}, "/serialization"),
        ({"resources": []}, "/resources"),
        ({"resources": None}, "/resources"),
        ({"resources": ["a"]}, "/resources/0"),
        ({"resources": [{"name": 1}]}, "/resources/0/name"),
        (
            {"resources": [{"name": "a", "algorithm": "blake2b", "digest": "0" * 128}]},
            "/resources/0/algorithm",
        ),
        ({"resources": [{"name": "a", "algorithm": "sha256", "digest": "A" * 64}]}, "/resources/0/digest"),
        (
            {"resources": [{"name": "a", "algorithm": "sha256", "digest": "0" * 63 + "\n"}]},
            "/resources/0/digest",
        ),
    ],
)
def test_predicates_that_are_not_read(changes: dict[str, Any], subject: str) -> None:
    assert told(signed(**changes)) == ("manifest.schema", f"/predicate{subject}")


@pytest.mark.parametrize("name", ["", "hn@pets", "hn-pets ", "hn-\u200bpets", 7, None])
def test_subjects_that_are_no_dataset_id(name: Any) -> None:
    assert told(signed(name=name)) == ("manifest.schema", "/subject/0/name")


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"predicateType": "urn:databom:dataset-manifest:v1"}, "/predicateType"),
        ({"predicateType": OMS + "/"}, "/predicateType"),
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "/_type"),
        ({"subject": []}, "/subject"),
        ({"subject": [{}, {}]}, "/subject"),
        ({"predicate": []}, "/predicate"),
    ],
)
def test_statements_for_another_purpose(change: dict[str, Any], subject: str) -> None:
    answer = opened(oms_bundle({**oms_statement(FILES), **change}, [A]))
    assert told(answer) == ("signature.invalid", subject)


def test_two_signatures_are_refused() -> None:
    answer = opened(oms_bundle(oms_statement(FILES), [A, B]))
    assert told(answer) == ("signature.invalid", "/dsseEnvelope/signatures")


@pytest.mark.parametrize(
    ("change", "code", "subject"),
    [
        (
            {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"},
            "signature.invalid",
            "/mediaType",
        ),
        ({"mediaType": None}, "signature.invalid", "/mediaType"),
        ({"messageSignature": {}}, "signature.invalid", "/messageSignature"),
        ({"dsseEnvelope": None}, "signature.invalid", "/dsseEnvelope"),
        ({"verificationMaterial": None}, "signature.invalid", "/verificationMaterial"),
        ({"verificationMaterial": {}}, "signature.invalid", "/verificationMaterial/publicKey"),
        (
            {"verificationMaterial": {"publicKey": {"hint": 7}}},
            "signature.invalid",
            "/verificationMaterial/publicKey/hint",
        ),
        (
            {"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": []}},
            "signature.missing",
            "/dsseEnvelope/signatures",
        ),
    ],
)
def test_bundles_that_are_none(change: dict[str, Any], code: str, subject: str) -> None:
    bundle = {**oms_bundle(oms_statement(FILES), [A]), **change}
    assert told(opened(bundle)) == (code, subject)


def test_a_bundle_of_many_files_is_no_longer_than_a_manifest_may_be() -> None:
    """Its payload is one string of megabytes."""
    files = {f"images/{index:06}-{'x' * 60}.jpg": b"x" for index in range(6_000)}
    answer = signed(files=files)
    assert answer.findings == ()
    assert answer.manifest is not None
    assert len(answer.manifest.assets) == 6_000


# --- the public vectors ------------------------------------------------------------------------------


def vector(name: str) -> bytes:
    return (PUBLIC / name).read_bytes()


@pytest.mark.parametrize("path", sorted(PUBLIC.glob("*/*.json")), ids=lambda path: "-".join(path.parts[-2:]))
def test_public_vectors_are_refused_without_their_keys(path: Path) -> None:
    """What is signed for another purpose is not looked at before a known key has signed it."""
    finding = only(open_bundle(path.read_bytes(), TRUST, now=NOW))
    rests_on_certificate = path.name.startswith(("certificate", "sigstore", "missing-tlog"))
    well_formed = path.parent.name != "invalid" or rests_on_certificate
    assert finding.code == ("signature.untrusted" if well_formed else "signature.invalid")
    assert ("certificate" in finding.what) == rests_on_certificate


@pytest.mark.parametrize(
    ("name", "code"), [("valid/key", None), ("invalid-payload/wrong-predicate", "signature.invalid")]
)
def test_public_statements_under_a_key_of_ours(name: str, code: str | None) -> None:
    bundle = json.loads(vector(f"{name}.bundle.json"))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    document = root_document(A)
    document["roles"]["marketplace"]["human-native"]["datasets"] = ["model"]
    answer = opened(oms_bundle(statement, [A]), as_root(document))
    assert [finding.code for finding in answer.findings] == ([] if code is None else [code])
    if code is None:
        assert answer.manifest is not None
        assert [one.path for one in answer.manifest.assets] == ["signme-1", "signme-2"]


# --- whatever the bytes --------------------------------------------------------------------------------

SOUND = json.dumps(oms_bundle(oms_statement({"a": b"x"}), [A])).encode()
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("sha256") | st.just("0" * 64),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "digest", "algorithm", "sha256", "method", "x"]), inner, max_size=4
        )
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SOUND) - 1), st.integers(0, 7))
def test_no_change_of_a_bit_is_believed_to_say_something_else(at: int, bit: int) -> None:
    changed = bytearray(SOUND)
    changed[at] ^= 1 << bit
    answer = open_bundle(bytes(changed), root(A), now=NOW)
    if not answer.findings:  # in the hint or the log entries, which nobody reads
        assert answer.manifest is not None
        assert [(one.path, one.sha256) for one in answer.manifest.assets] == [("a", hex256(b"x"))]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | JUNK.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_an_answer(raw: bytes) -> None:
    assert open_bundle(raw, TRUST, now=NOW).findings


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["resources", "serialization"]), JUNK), JUNK, JUNK)
def test_garbage_that_a_trusted_key_signed_is_an_answer(predicate: Any, subject: Any, digest: Any) -> None:
    statement = oms_statement({"a": b"x"}, **predicate)
    statement["subject"] = [subject, {"name": "hn-x", "digest": digest}][-1:] if digest else subject
    answer = opened(oms_bundle(statement, [A]))
    assert answer.findings or answer.manifest


def test_p256_signatures_are_der() -> None:
    bundle = oms_bundle(oms_statement(FILES), [C])
    signature = bundle["dsseEnvelope"]["signatures"][0]
    from databom.trust.dsse import pae

    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    raw = p256(3).sign_raw(pae(bundle["dsseEnvelope"]["payloadType"], payload))
    signature["sig"] = base64.b64encode(raw).decode()
    assert only(opened(bundle)).code == "signature.invalid"
