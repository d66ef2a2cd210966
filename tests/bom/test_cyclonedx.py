"""BOMs against the official schema, offline; the same bytes for the same pins; no lineage that is not."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.schema._res import SPDX_JSON
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databom.bom.cyclonedx import LICENSE_TYPES, MAX_LISTED, BomEntry, build_bom, dumps
from databom.model.lock import Pin
from databom.model.manifest import Manifest, read_manifest
from databom.model.spdx_ids import IDS

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)
EXAMPLE = {
    "dataset_id": "hn-imagepack-2026-01",
    "version": "2026-01-10",
    "creator_id": "creator:alice",
    "license": {"type": "commercial", "spdx": "CC-BY-4.0", "revocable": False},
    "assets": [
        {"path": "images/cat1.jpg", "sha256": "a" * 64},
        {"path": "images/dog1.jpg", "sha256": "b" * 64},
    ],
    "signature": "",
}
PAYMENT = {
    "model": "one-time",
    "transaction_id": "txn_01J9ZK",
    "payer": "Acme AI",
    "paid_at": "2026-01-10T00:00:00Z",
}


def manifest(**changes: object) -> Manifest:
    return read_manifest(json.dumps({**EXAMPLE, **changes}).encode())


def entry(read: Manifest | None = None, use: str | None = None, **changes: object) -> BomEntry:
    read = read or manifest()
    fields = {
        "release": read.release,
        "dataset_id": read.dataset_id,
        "version": read.version,
        "manifest": read.digest,
        "tree": read.tree,
        "source": "https://marketplace.example/hn/manifest.json",
        "root": "r2://datasets/hn/",
        "path": "data/hn",
        "keyids": ("k1", "k2"),
        "marketplace": "human-native",
        **changes,
    }
    return BomEntry(Pin(**fields), read, use)


def valid(*entries: BomEntry, **options: str | None) -> dict:
    raw = dumps(build_bom(entries, **options))
    errors = VALIDATOR.validate_str(raw.decode(), all_errors=True)
    assert not errors, [str(error.data) for error in errors]
    return json.loads(raw)


def properties(component: dict) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in component["properties"]:
        found.setdefault(row["name"], []).append(row["value"])
    return found


def test_the_example_of_the_documentation() -> None:
    read = manifest(payment=PAYMENT)
    bom = valid(entry(read, "read"), run_id="0f3c", name="cats")
    ref = "dataset:hn-imagepack-2026-01@2026-01-10"
    (component,) = bom["components"]
    hashes = [{"alg": "SHA-256", "content": hashlib.sha256(read.raw).hexdigest()}]
    assert component == {
        "type": "data",
        "bom-ref": ref,
        "supplier": {"name": "human-native"},
        "authors": [{"name": "creator:alice"}],
        "name": "hn-imagepack-2026-01",
        "version": "2026-01-10",
        "hashes": hashes,
        "licenses": [
            {
                "license": {
                    "id": "CC-BY-4.0",
                    "acknowledgement": "declared",
                    "licensing": {
                        "licensor": {"individual": {"name": "creator:alice"}},
                        "licensee": {"organization": {"name": "Acme AI"}},
                        "purchaser": {"organization": {"name": "Acme AI"}},
                        "purchaseOrder": "txn_01J9ZK",
                        "licenseTypes": ["perpetual"],
                        "lastRenewal": "2026-01-10T00:00:00Z",
                    },
                }
            }
        ],
        "externalReferences": [
            {"type": "distribution", "url": "https://marketplace.example/hn/manifest.json", "hashes": hashes}
        ],
        "data": [
            {
                "type": "dataset",
                "name": "hn-imagepack-2026-01@2026-01-10",
                "contents": {"url": "r2://datasets/hn/"},
                "governance": {"owners": [{"contact": {"name": "creator:alice"}}]},
            }
        ],
        "properties": [
            {"name": "databom:manifest:id", "value": "hn-imagepack-2026-01@2026-01-10"},
            {"name": "databom:tree", "value": read.tree},
            {"name": "databom:assets", "value": "2"},
            {"name": "databom:keyid", "value": "k1"},
            {"name": "databom:keyid", "value": "k2"},
            {"name": "databom:use", "value": "read"},
            {"name": "databom:license:type", "value": "commercial"},
            {"name": "databom:license:revocable", "value": "false"},
            {"name": "databom:payment:model", "value": "one-time"},
            {"name": "databom:payment:transaction_id", "value": "txn_01J9ZK"},
            {"name": "databom:payment:signed", "value": "false"},
        ],
    }
    assert bom["metadata"]["component"] == {
        "type": "machine-learning-model",
        "bom-ref": "mlflow:0f3c",
        "name": "cats",
        "modelCard": {"modelParameters": {"datasets": [{"ref": ref}]}},
        "properties": [{"name": "databom:run:id", "value": "mlflow:0f3c"}],
    }
    assert bom["dependencies"] == [{"ref": "mlflow:0f3c", "dependsOn": [ref]}, {"ref": ref}]
    assert bom["compositions"] == [
        {"aggregate": "incomplete", "assemblies": [ref]},
        {"aggregate": "unknown", "dependencies": ["mlflow:0f3c"]},
    ]
    assert "timestamp" not in bom["metadata"]


def test_what_was_only_present_is_no_lineage() -> None:
    used, near = entry(use="stage"), entry(manifest(dataset_id="other"), use="present")
    bom = valid(used, near, run_id="r1")
    assert len(bom["components"]) == 2
    refs = [{"ref": "dataset:hn-imagepack-2026-01@2026-01-10"}]
    assert bom["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"] == refs
    assert bom["dependencies"][0]["dependsOn"] == [ref["ref"] for ref in refs]
    assert bom["metadata"]["component"]["name"] == "r1"


def test_without_a_run() -> None:
    assert "component" not in valid(entry())["metadata"]
    bom = valid(entry(), name="cats-and-dogs")
    assert bom["metadata"]["component"] == {
        "type": "application",
        "bom-ref": "project:cats-and-dogs",
        "name": "cats-and-dogs",
    }
    assert bom["dependencies"][0]["dependsOn"] == [bom["components"][0]["bom-ref"]]
    assert valid()["components"] == []


@pytest.mark.parametrize(
    ("spdx", "expected"),
    [
        ("CC-BY-4.0", {"license": {"id": "CC-BY-4.0", "acknowledgement": "declared"}}),
        ("cc-by-4.0", {"license": {"id": "CC-BY-4.0", "acknowledgement": "declared"}}),
        ("GPL-2.0+", {"license": {"id": "GPL-2.0+", "acknowledgement": "declared"}}),
        ("((MIT))", {"license": {"id": "MIT", "acknowledgement": "declared"}}),
        ("mit or Apache-2.0", {"expression": "MIT OR Apache-2.0", "acknowledgement": "declared"}),
        ("MPL-1.1+", {"expression": "MPL-1.1+", "acknowledgement": "declared"}),
        ("LicenseRef-hn-train", {"license": {"name": "LicenseRef-hn-train", "acknowledgement": "declared"}}),
        ("My own terms", {"license": {"name": "My own terms", "acknowledgement": "declared"}}),
        (None, {"license": {"name": "NOASSERTION", "acknowledgement": "declared"}}),
        *(
            (good, {"expression": good, "acknowledgement": "declared"})
            for good in (
                "CC-BY-4.0 AND LicenseRef-hn-train",
                "(MIT OR Apache-2.0) AND CC0-1.0",
                "GPL-3.0-only WITH Classpath-exception-2.0",
                "MIT AND DocumentRef-x:LicenseRef-y",
            )
        ),
        *(
            (bad, {"license": {"name": bad, "acknowledgement": "declared"}})
            for bad in (
                "MIT OR",
                "AND MIT",
                "MIT Apache-2.0",
                "(MIT",
                "MIT)",
                "()",
                "MIT (OR) Apache-2.0",
                "MIT WITH (Classpath-exception-2.0)",
                "MIT OR Unheard-Of-1.0",
                ") MIT (",
            )
        ),
    ],
)
def test_where_a_license_goes(spdx: str | None, expected: dict) -> None:
    terms = {"revocable": True} if spdx is None else {"spdx": spdx, "revocable": True}
    bom = valid(entry(manifest(license=terms, creator_id="c")))
    (license_,) = bom["components"][0]["licenses"]
    license_.get("license", {}).pop("licensing", None)
    assert license_ == expected
    assert properties(bom["components"][0])["databom:license:revocable"] == ["true"]


def test_a_purchase_without_a_place_goes_into_properties() -> None:
    terms = {"spdx": "CC-BY-4.0 AND LicenseRef-hn", "valid_until": "2027-01-01T00:00:00Z"}
    bom = valid(entry(manifest(license=terms, payment=PAYMENT)))
    found = properties(bom["components"][0])
    assert found["databom:payment:transaction_id"] == ["txn_01J9ZK"]
    assert found["databom:payment:payer"] == ["Acme AI"]
    assert found["databom:payment:paid_at"] == ["2026-01-10T00:00:00Z"]
    assert found["databom:license:valid_until"] == ["2027-01-01T00:00:00Z"]


@pytest.mark.parametrize("model", LICENSE_TYPES)
def test_every_payment_model(model: str) -> None:
    payment = {"model": model, "payee": "Human Native"}
    read = manifest(payment=payment, license={"spdx": "MIT", "valid_until": "2027-01-01T00:00:00Z"})
    bom = valid(entry(read))
    licensing = bom["components"][0]["licenses"][0]["license"]["licensing"]
    assert licensing["licenseTypes"] == [LICENSE_TYPES[model]]
    assert licensing["expiration"] == "2027-01-01T00:00:00Z"
    found = properties(bom["components"][0])
    assert found["databom:payment:signed"] == ["false"]
    assert "databom:payment:transaction_id" not in found


def test_the_licensor_is_the_payee_where_no_creator_is_named() -> None:
    nameless = {key: value for key, value in EXAMPLE.items() if key != "creator_id"}
    read = read_manifest(json.dumps({**nameless, "payment": {"model": "free", "payee": "HN"}}).encode())
    component = valid(entry(read))["components"][0]
    assert component["licenses"][0]["license"]["licensing"]["licensor"] == {"organization": {"name": "HN"}}
    assert "authors" not in component
    assert "governance" not in component["data"][0]


def test_no_payment_is_said_of_a_manifest_that_states_none() -> None:
    assert not [name for name in properties(valid(entry())["components"][0]) if "payment" in name]


def test_a_license_text_and_attribution() -> None:
    terms = {
        "spdx": "CC-BY-4.0",
        "text": {"uri": "https://x.example/terms?token=secret#a"},
        "attribution": {"text": "Photos: Alice\nand Bob\u202e"},
    }
    component = valid(entry(manifest(license=terms)))["components"][0]
    assert component["licenses"][0]["license"]["url"] == "https://x.example/terms"
    assert properties(component)["databom:license:attribution"] == [r"Photos: Alice\x0aand Bob\u202e"]
    terms["text"] = {"uri": "javascript:alert(1)"}
    assert "url" not in valid(entry(manifest(license=terms)))["components"][0]["licenses"][0]["license"]


def test_creators_and_licenses_of_single_assets() -> None:
    assets = [
        {"path": f"{i}", "sha256": "a" * 64, "creator_id": f"creator:{i:04}", "license": f"LicenseRef-{i:04}"}
        for i in range(MAX_LISTED + 20)
    ]
    component = valid(entry(manifest(assets=assets)))["components"][0]
    assert component["authors"][:2] == [{"name": "creator:alice"}, {"name": "creator:0000"}]
    assert len(component["authors"]) == MAX_LISTED
    found = properties(component)
    assert found["databom:creators"] == [str(MAX_LISTED + 21)]
    assert len(found["databom:license:asset"]) == MAX_LISTED
    assert found["databom:license:assets"] == [str(MAX_LISTED + 20)]


def test_sizes_and_classification() -> None:
    assets = [{"path": "a", "sha256": "a" * 64, "size": 7}, {"path": "b", "sha256": "b" * 64, "size": 8}]
    component = valid(entry(manifest(assets=assets, classification=["public", "no people"])))["components"][0]
    assert properties(component)["databom:bytes"] == ["15"]
    assert component["data"][0]["classification"] == "public, no people"
    regulated = manifest(classification=["public", {"regulation": "GDPR", "level": "none"}])
    data = valid(entry(regulated))["components"][0]["data"][0]
    assert data["classification"] == 'public, {"level": "none", "regulation": "GDPR"}'


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("https://u:p@h.example:8443/a b/m.json?sig=s3cret#x", "https://h.example:8443/a%20b/m.json"),
        ("S3://bucket/k%zz/ü[1].json", "s3://bucket/k%25zz/%C3%BC%5B1%5D.json"),
        ("https://[0:0:0:0:0:0:0:1]:9/x", "https://[0:0:0:0:0:0:0:1]:9/x"),  # the validator knows no "::"
        ("release/manifest.json", "release/manifest.json"),
        ("/mnt/données/m.json", "/mnt/donn%C3%A9es/m.json"),
        ("a:b/c?d#e", "a%3Ab/c%3Fd%23e"),
        ("//host/share", "/host/share"),
        ("100%", "100%25"),
    ],
)
def test_locations(place: str, url: str) -> None:
    component = valid(entry(source=place, root=place))["components"][0]
    assert component["externalReferences"][0]["url"] == url
    assert component["data"][0]["contents"]["url"] == url


def test_the_marketplace_that_signed_wins_over_the_one_that_is_claimed() -> None:
    read = manifest(marketplace_id="claimed")
    assert valid(entry(read))["components"][0]["supplier"] == {"name": "human-native"}
    assert valid(entry(read, marketplace=None))["components"][0]["supplier"] == {"name": "claimed"}
    assert "supplier" not in valid(entry(marketplace=None))["components"][0]


def test_one_release_pinned_twice() -> None:
    same = valid(entry(path="data/a"), entry(path="data/b"))
    assert len(same["components"]) == 1
    bom = valid(entry(use="read"), entry(use="present"), run_id="r")
    refs = [component["bom-ref"] for component in bom["components"]]
    assert refs == [f"dataset#{n}:hn-imagepack-2026-01@2026-01-10" for n in (1, 2)]
    uses = {component["bom-ref"]: properties(component)["databom:use"] for component in bom["components"]}
    assert [uses[ref] for ref in bom["dependencies"][0]["dependsOn"]] == [["read"]]


def test_the_serial_number_follows_the_content() -> None:
    one, two = build_bom([entry()]), build_bom([entry(use="read")])
    assert one["serialNumber"] != two["serialNumber"]
    assert one["serialNumber"] == build_bom([entry()])["serialNumber"]


def test_our_license_ids_are_those_of_the_schema() -> None:
    known = set(json.loads(Path(SPDX_JSON).read_text())["enum"])
    assert known >= IDS  # SPDX takes none away, so a newer library has more


# --- any manifest -----------------------------------------------------------------------------------

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Lo")
SEEN = st.characters(exclude_categories=UNSEEN, exclude_characters="@")
TEXT = st.text(SEEN, min_size=1, max_size=12) | st.text(SEEN, min_size=150, max_size=200)
TIME = st.datetimes().map(lambda when: when.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20))
SPDX = (
    st.sampled_from(sorted(IDS))
    | st.lists(
        st.sampled_from(["MIT", "cc0-1.0", "AND", "OR", "WITH", "(", ")", "LicenseRef-x", "Unheard-Of"]),
        min_size=1,
    ).map(" ".join)
    | st.text(SEEN, min_size=1, max_size=1000)
)
URI = st.text(SEEN, min_size=1, max_size=60) | st.text(SEEN, max_size=60).map("https://h.example/{}".format)
LICENSE = st.fixed_dictionaries(
    {},
    optional={
        "type": TEXT,
        "spdx": SPDX,
        "revocable": st.booleans(),
        "text": st.fixed_dictionaries({}, optional={"uri": URI}),
        "valid_until": TIME,
        "attribution": st.fixed_dictionaries({}, optional={"text": st.text(max_size=3000), "url": URI}),
    },
)
PAID = st.fixed_dictionaries(
    {"model": st.sampled_from(sorted(LICENSE_TYPES))},
    optional={"transaction_id": TEXT, "payer": TEXT, "payee": TEXT, "paid_at": TIME},
)
MANIFESTS = st.fixed_dictionaries(
    {
        "dataset_id": TEXT,
        "version": TEXT,
        "license": LICENSE,
        "assets": st.lists(
            st.fixed_dictionaries(
                {"sha256": st.just("c" * 64)},
                optional={"creator_id": TEXT, "license": SPDX, "size": st.integers(0, 2**40)},
            ),
            min_size=1,
            max_size=4,
        ).map(lambda rows: [{**row, "path": f"f{n}"} for n, row in enumerate(rows)]),
    },
    optional={
        "creator_id": TEXT,
        "marketplace_id": TEXT,
        "payment": PAID,
        "classification": st.lists(TEXT | st.dictionaries(TEXT, TEXT, max_size=2), max_size=3),
    },
).map(lambda value: read_manifest(json.dumps(value).encode()))
PLACES = st.text(SEEN, min_size=1, max_size=40) | st.text(SEEN, max_size=40).map("s3://bucket/{}".format)
ENTRIES = st.builds(
    lambda read, use, source, root, marketplace: entry(
        read, use, source=source, root=root, marketplace=marketplace, keyids=()
    ),
    MANIFESTS,
    st.sampled_from([None, "read", "stage", "input", "declared", "present"]),
    PLACES,
    PLACES,
    st.none() | TEXT,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.lists(ENTRIES, max_size=3), st.none() | TEXT, st.none() | TEXT, st.integers())
def test_any_pins_give_a_valid_bom_and_the_same_bytes(
    entries: list[BomEntry], run_id: str | None, name: str | None, seed: int
) -> None:
    bom = valid(*entries, run_id=run_id, name=name)
    shuffled = [*entries, *entries[:1]]
    random.Random(seed).shuffle(shuffled)
    first, second = (dumps(build_bom(each, run_id=run_id, name=name)) for each in (entries, shuffled))
    assert first == second
    text = json.dumps(bom)
    assert "c" * 64 not in text.replace("\\", "")  # asset digests stay in the manifest
    refs = [component["bom-ref"] for component in bom["components"]]
    assert len(set(refs)) == len(refs)
