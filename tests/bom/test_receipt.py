"""The statement of a receipt: what stands where, what moves out, and that the same run gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.bom.receipt import (
    MAX_RECEIPT_BYTES,
    Training,
    build_statement,
    completed,
    config_of,
    descriptor,
    run_record,
    sorted_outputs,
)
from databom.trust import dsse
from databom.trust.jcs import canonical
from databom.trust.keys import PrivateKey
from databom.trust.statement import PAYLOAD_TYPE

RECORD = run_record("mlflow:r1", "completed", {"depth": 3}, {"accuracy": 0.5})
HEX = "ab" * 32


def training(**members: object) -> Training:
    return Training(
        **{
            "invocation": "mlflow:r1",
            "status": "completed",
            "verdict": "pass",
            "record": RECORD,
            "started": "2026-01-10T12:00:00Z",
            "finished": "2026-01-10T12:01:00Z",
            "version": "1",
            **members,
        }
    )


def output(number: int) -> dict:
    return descriptor(f"artifacts/file-{number:06}.bin", {"sha256": f"{number:064x}"})


def pin(number: int) -> dict:
    name = f"pin{number}"
    return descriptor(name, f"sha256:{number:064x}", uri=f"dataset:{name}@1", annotations={"use": "read"})


def test_the_form_is_slsa_provenance() -> None:
    statement, moved = build_statement(
        training(pins=(pin(1),), parameters={"stage": "train", "folder": None})
    )
    assert moved == {}
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    definition, details = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert definition["buildType"] == "urn:databom:training:v1"
    assert definition["externalParameters"] == {"stage": "train"}
    assert definition["internalParameters"] == {"status": "completed", "verdict": "pass"}
    assert details["builder"]["id"] == "urn:databom:builder:v1"
    assert details["metadata"]["invocationId"] == "mlflow:r1"
    # A run that made nothing is about its own record.
    assert statement["subject"] == [
        {"name": "run/r1.json", "digest": {"sha256": hashlib.sha256(RECORD).hexdigest()}}
    ]
    assert details["byproducts"][0] == statement["subject"][0]


def test_what_signing_adds() -> None:
    statement, _ = build_statement(training())
    before = json.dumps(statement)
    plain = json.loads(completed(statement, development=False, supersedes=None))
    assert plain == statement
    labelled = json.loads(completed(statement, development=True, supersedes=f"sha256:{HEX}"))
    internal = labelled["predicate"]["buildDefinition"]["internalParameters"]
    assert (internal["developmentKey"], internal["supersedes"]) == (True, f"sha256:{HEX}")
    assert json.dumps(statement) == before


@pytest.mark.parametrize(("outputs", "pins"), [(0, 0), (250, 5), (5000, 0), (3, 3000), (4000, 4000)])
def test_long_lists_move_out_and_the_receipt_fits_the_log(outputs: int, pins: int) -> None:
    made = tuple(output(number) for number in range(outputs))
    used = tuple(pin(number) for number in range(pins))
    statement, moved = build_statement(training(outputs=made, pins=used))
    payload = completed(statement, development=True, supersedes=f"sha256:{HEX}")
    raw = dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, payload, [PrivateKey.generate("ecdsa-p256")]))
    assert len(raw) <= MAX_RECEIPT_BYTES
    definition = statement["predicate"]["buildDefinition"]
    listed = {"subject": statement["subject"], "resolvedDependencies": definition["resolvedDependencies"]}
    for name, data in moved.items():
        (one,) = [one for items in listed.values() for one in items if one["name"] == name]
        assert one["digest"]["sha256"] == hashlib.sha256(data).hexdigest()
        whole = json.loads(data)
        assert one["annotations"]["count"] == len(whole)
        assert canonical(whole) == data
        listed[one["annotations"]["moved"]] = whole
    assert not made or listed["subject"] == list(made)
    assert listed["resolvedDependencies"] == list(used)
    assert bool(moved) == (outputs > 1000 or pins > 1000)


def test_a_model_stays_where_its_files_move_out() -> None:
    model = descriptor("models/m-1", {"sha256": HEX, "dirHash1": HEX})
    files_ = tuple(output(number) for number in range(3000))
    statement, moved = build_statement(training(outputs=(model, *files_)))
    assert [one["name"] for one in statement["subject"]] == ["models/m-1", "receipt.subjects.json"]
    assert json.loads(moved["receipt.subjects.json"]) == list(files_)
    many = tuple({**model, "name": f"models/m-{number}"} for number in range(1000))
    statement, moved = build_statement(training(outputs=many))
    assert [one["name"] for one in statement["subject"]] == ["receipt.subjects.json"]
    assert json.loads(moved["receipt.subjects.json"]) == list(many)


def test_models_come_first() -> None:
    model = descriptor("models/m-1", {"sha256": HEX, "dirHash1": HEX})
    assert sorted_outputs([output(1), model]) == (model, output(1))


@given(
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.floats(), st.none())),
    st.dictionaries(st.text(), st.one_of(st.floats(), st.integers())),
)
def test_whatever_was_logged_has_a_record(params: dict, metrics: dict) -> None:
    first = run_record("mlflow:r", "failed", params, metrics)
    backwards = dict(reversed(metrics.items()))
    assert first == run_record("mlflow:r", "failed", dict(reversed(params.items())), backwards)
    value = json.loads(first)
    assert len(value["metrics"]) == len({key.encode("utf-8", "backslashreplace") for key in metrics})
    config_of(params, {})


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0.5, 0.5),
        (1.0, 1),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (2**60, str(2**60)),
        (1e300, 1e300),
        (-0.0, 0),
    ],
)
def test_numbers(number: float, told: object) -> None:
    assert json.loads(run_record("r", "s", {}, {"m": number}))["metrics"]["m"] == told


def test_the_config_is_params_and_files() -> None:
    base = config_of({"a": 1}, {"params.yaml": HEX})
    assert base["annotations"] == {"files": ["params.yaml"], "params": 1}
    assert config_of({"a": "1"}, {"params.yaml": HEX}) == base  # a server keeps text
    for other in (config_of({"a": 2}, {"params.yaml": HEX}), config_of({"a": 1}, {"params.yaml": "cd" * 32})):
        assert other["digest"] != base["digest"]


def test_the_bom_points_to_the_receipt() -> None:
    from databom.bom.cyclonedx import build_bom, dumps, with_receipt

    raw = dumps(build_bom([], run_id="r1"))
    pointed = with_receipt(raw, f"sha256:{HEX}")
    bom = json.loads(pointed)
    attestation, log = bom["metadata"]["component"]["externalReferences"]
    assert (attestation["type"], attestation["url"]) == ("attestation", "receipt.dsse.json")
    assert attestation["hashes"] == [{"alg": "SHA-256", "content": HEX}]
    assert log == {"type": "log", "url": "receipt.tlog-proof"}
    assert bom["serialNumber"] != json.loads(raw)["serialNumber"]
    assert with_receipt(pointed, f"sha256:{HEX}") == pointed
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(pointed.decode()) is None
