"""Manifests: what is read, and a table of every refusal with its message and its pointer."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from databom.errors import InputError, Problem
from databom.model import assets as listing
from databom.model import manifest as reading
from databom.model.claims import MAX_EXPRESSION_CHARS, MAX_ID_CHARS, MAX_URI_CHARS
from databom.model.manifest import Manifest, read_manifest
from databom.model.strictjson import MAX_INT
from support.manifests import CAT, DOG, EXAMPLE, FULL, NOTHING, dump, members


def changed(path: str, value: object, base: dict[str, Any] = FULL) -> dict[str, Any]:
    """The base with one value set, by JSON pointer."""
    document = copy.deepcopy(base)
    at: Any = document
    *parents, last = path.lstrip("/").split("/")
    for part in parents:
        at = at[int(part) if isinstance(at, list) else part]
    at[int(last) if isinstance(at, list) else last] = value
    return document


def without(path: str, base: dict[str, Any] = FULL) -> dict[str, Any]:
    document = changed(path, None, base)
    at: Any = document
    *parents, last = path.lstrip("/").split("/")
    for part in parents:
        at = at[int(part) if isinstance(at, list) else part]
    del at[last]
    return document


def problems(document: object) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        read_manifest(document if isinstance(document, bytes) else dump(document))
    return caught.value.problems


# --- what is read -----------------------------------------------------------------------------------


def test_the_example_of_the_floor_plan() -> None:
    raw = dump(EXAMPLE)
    manifest = read_manifest(raw)
    assert manifest.raw is raw
    assert manifest.digest == "sha256:" + hashlib.sha256(raw).hexdigest()
    lines = f"{CAT}  images/cat1.jpg\n{DOG}  images/dog1.jpg\n".encode()
    assert manifest.tree == "sha256:" + hashlib.sha256(lines).hexdigest()
    assert manifest.release == "hn-imagepack-2026-01@2026-01-10"
    assert (manifest.creator_id, manifest.license.spdx) == ("creator:alice", "CC-BY-4.0")
    assert manifest.license.revocable is False
    assert [(a.path, a.sha256, a.size) for a in manifest.assets] == [
        ("images/cat1.jpg", CAT, None),
        ("images/dog1.jpg", DOG, None),
    ]
    assert (manifest.signature, manifest.total_bytes, manifest.unknown) == (None, None, ())
    assert (manifest.sequence, manifest.issued_at, manifest.payment, manifest.consents) == (
        None,
        None,
        None,
        (),
    )


def test_every_member() -> None:
    manifest = read_manifest(dump(FULL))
    assert manifest.unknown == ()
    assert (manifest.sequence, manifest.supersedes) == (3, f"sha256:{NOTHING}")
    assert manifest.marketplace_id == "human-native"
    assert manifest.issued_at == datetime(2026, 1, 10, 12, tzinfo=UTC)
    assert manifest.expires_at == datetime(2027, 1, 10, 12, 0, 0, 250_000, tzinfo=UTC)
    assert manifest.signature == FULL["signature"]
    assert manifest.total_bytes == 3
    assert manifest.classification == ("public",)
    terms = manifest.license
    assert (terms.type, terms.spdx, terms.revocable) == ("commercial", "CC-BY-4.0 OR LicenseRef-Paid", True)
    assert terms.text is not None
    assert (terms.text.uri, terms.text.sha256) == ("https://example.com/license.txt", NOTHING)
    assert (terms.valid_from, terms.valid_until) == (
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2028, 1, 1, tzinfo=UTC),
    )
    assert (terms.permits, terms.prohibits, terms.user, terms.geo) == (
        ("train-ai",),
        ("redistribute",),
        ("commercial",),
        ("DE", "FR"),
    )
    assert terms.attribution is not None
    assert terms.attribution.text == "Photos by Alice\n\tand Bob"
    paid = manifest.payment
    assert paid is not None
    assert paid.amount is not None
    assert (paid.model, paid.transaction_id, paid.amount.value, paid.amount.currency) == (
        "subscription",
        "tx-1",
        "12.50",
        "EUR",
    )
    assert [(share.creator_id, share.share) for share in paid.allocation] == [
        ("creator:alice", "0.5"),
        ("creator:bob", "0.5"),
    ]
    assert manifest.consents[0].scope == ("train",)
    cat = manifest.assets[0]
    assert (cat.size, cat.media_type, cat.license, cat.creator_id, cat.consent, cat.flags) == (
        3,
        "image/jpeg",
        "CC0-1.0",
        "creator:bob",
        "person:1",
        ("person", "redacted"),
    )
    assert cat.redacted_from is not None
    assert cat.redacted_from.sha256 == DOG


def test_a_manifest_is_frozen_hashable_picklable_and_short_to_print() -> None:
    manifest = read_manifest(dump(FULL))
    assert pickle.loads(pickle.dumps(manifest)) == manifest
    assert hash(manifest.license) == hash(read_manifest(dump(FULL)).license)
    assert len(repr(read_manifest(dump(EXAMPLE)))) < 1_500
    with pytest.raises(AttributeError):
        manifest.version = "4"  # type: ignore[misc]


def test_content_is_the_document_without_its_signature() -> None:
    manifest = read_manifest(dump(FULL))
    expected = {name: value for name, value in FULL.items() if name != "signature"}
    assert manifest.content() == expected
    manifest.content().clear()
    assert manifest.content() == expected
    assert read_manifest(dump(without("/signature"))).content() == expected


@pytest.mark.parametrize("value", ["", None, {}, []])
def test_an_empty_signature_is_absent(value: object) -> None:
    assert read_manifest(dump(changed("/signature", value))).signature is None


@pytest.mark.parametrize("value", ["1", "1.0", 1])
def test_the_version_of_the_format(value: object) -> None:
    assert read_manifest(dump(changed("/manifest_version", value))) == read_manifest(
        dump(changed("/manifest_version", value))
    )


def test_the_size_of_a_release_is_known_only_when_all_sizes_are() -> None:
    assert read_manifest(dump(changed("/assets/1/size", 39))).total_bytes == 42
    assert read_manifest(dump(without("/assets/1/size"))).total_bytes is None


def test_six_spellings_read_alike() -> None:
    spellings = [
        json.dumps(EXAMPLE),
        json.dumps(EXAMPLE, indent=2),
        json.dumps(EXAMPLE, indent=2).replace("\n", "\r\n"),
        json.dumps(EXAMPLE, sort_keys=True, separators=(",", ":")),
        json.dumps(EXAMPLE).replace("a", "\\u0061").replace("f\\u0061lse", "false"),
        "\n\t " + json.dumps(EXAMPLE) + "\n",
    ]
    manifests = [read_manifest(text.encode()) for text in spellings]
    assert len({manifest.digest for manifest in manifests}) == 6
    assert len({manifest.tree for manifest in manifests}) == 1
    assert all(manifest.content() == manifests[0].content() for manifest in manifests)
    assert all(manifest.assets == manifests[0].assets for manifest in manifests)


def test_bounds_are_inclusive() -> None:
    for path, value in [
        ("/dataset_id", "é" * MAX_ID_CHARS),
        ("/version", "x" * MAX_ID_CHARS),
        ("/version", "2026 @ 1"),
        ("/license/spdx", "x" * MAX_EXPRESSION_CHARS),
        ("/license/text/uri", "x" * MAX_URI_CHARS),
        ("/license/attribution/text", "x" * reading.MAX_STRING_CHARS),
        ("/sequence", MAX_INT),
        ("/sequence", 0),
        ("/assets/0/size", MAX_INT),
        ("/payment/amount/value", "0"),
        ("/payment/amount/value", "9" * 18 + "." + "9" * 18),
    ]:
        read_manifest(dump(changed(path, value)))


# --- unknown members ----------------------------------------------------------------------------------


def test_unknown_members_are_listed_and_kept() -> None:
    document = copy.deepcopy(FULL)
    document["x-new"] = {"deep": {"er": None}}
    document["license"]["Spdx"] = "MIT"
    document["license"]["text"]["sha512"] = "…"
    document["payment"]["allocation"][1]["role"] = "editor"
    document["consents"][0]["a/b~c"] = 1
    document["assets"][1]["mime"] = "text/plain"
    document["assets"][1]["sha512"] = None
    manifest = read_manifest(dump(document))
    assert set(manifest.unknown) == {
        "/x-new",
        "/license/Spdx",
        "/license/text/sha512",
        "/payment/allocation/1/role",
        "/consents/0/a~1b~0c",
        "/assets/1/mime",
        "/assets/1/sha512",
    }
    assert manifest.content()["x-new"] == {"deep": {"er": None}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/assets/0/redacted_from/uri", "x"),
        ("/assets/0/uri", "x"),
        ("/assets/1/dataset_id", "x"),
        ("/assets/1/null", 1),
        ("/assets/0/redacted_from/path", "x"),
        ("/supersedes/uri", "x"),
        ("/path", "x"),
        ("/license/text/path", "x"),
    ],
)
def test_unknown_members_are_found_where_others_of_the_name_are_known(path: str, value: object) -> None:
    assert read_manifest(dump(changed(path, value))).unknown == (path,)


def test_at_most_a_hundred_unknown_members_are_listed() -> None:
    document = copy.deepcopy(EXAMPLE)
    document["assets"] = [{"path": f"{i}", "sha256": CAT, "x": 1} for i in range(500)]
    assert read_manifest(dump(document)).unknown == tuple(f"/assets/{i}/x" for i in range(100))
    document = {**EXAMPLE, **{f"x{i}": i for i in range(2_000)}}
    assert read_manifest(dump(document)).unknown == tuple(f"/x{i}" for i in range(100))


def test_unknown_pointers_are_safe_to_show() -> None:
    assert read_manifest(dump({**EXAMPLE, "\x1b[2J\u202e": 1})).unknown == ("/\\x1b[2J\\u202e",)


# --- refusals -----------------------------------------------------------------------------------------

LINE = "a string of 1 to 200 characters, none of them control or invisible characters"
HEX = "exactly 64 lower-case hexadecimal digits"
INSTANT = "an existing date and time as RFC 3339 in UTC with a Z: 2026-01-10T12:00:00Z"
COUNT = "an integer from 0 to 2^53-1"
DECIMAL = 'a decimal number in a string: "12.50"'
DATASET = (
    "a string of 1 to 200 characters without '@', control or invisible characters, or space at either end"
)
VERSION = "a string of 1 to 200 characters without control or invisible characters, or space at either end"
SPDX = "an SPDX license expression: 1 to 1,000 characters, none of them control or invisible characters"
URI = "a string of 1 to 4,096 characters, none of them control or invisible characters"
SIGNATURE = 'a compact detached JWS in a string (RFC 7515 appendix F), or empty: "", null, {} or []'
FORMAT = '"1", the version of this format that this release of databom reads'
MODEL = "one-time, subscription, per-use, royalty or free"
UNSEEN = [
    "a\x00b",
    "a\x1b[31m",
    "a\n",
    "a\x7f",
    "a\x85",
    "a\u200b",
    "a\u202e",
    "\u2066a",
    "\ufeffa",
    "a\u2028",
    "a\ufe0f",
]
TIMES = ["", "2026-01-10", "2026-02-30T00:00:00Z", "2026-01-10T12:00:00+00:00", "2026-01-10T12:00:00z"]
MORE_TIMES = [
    "2016-12-31T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "2026-01-10T12:00:00Z\n",
]

WRONG: list[tuple[str, str, list[Any]]] = [
    ("/dataset_id", DATASET, [None, 1, "", "a@b", " a", "a ", "\u3000a", "x" * 201, [], {}, *UNSEEN]),
    ("/version", VERSION, [None, 1, "", " 1", "1 ", "x" * 201, *UNSEEN]),
    ("/creator_id", LINE, [None, 1, "", "x" * 201, ["creator:alice"], *UNSEEN]),
    ("/marketplace_id", LINE, [None, 1, "", *UNSEEN]),
    ("/sequence", COUNT, [None, -1, "1", True, [1]]),
    ("/supersedes/sha256", HEX, [None, "", CAT.upper(), CAT + "\n", "sha256:" + CAT]),
    ("/issued_at", INSTANT, [None, 1, {}, *TIMES, *MORE_TIMES]),
    ("/expires_at", INSTANT, [None, 1, *TIMES, *MORE_TIMES]),
    ("/manifest_version", FORMAT, [None, "", "0", "2", "1.0 ", "1.1", 0, 2, True, ["1"], {}]),
    ("/signature", SIGNATURE, [0, 1, False, True, ["x"], [None], {"x": 1}]),
    ("/provenance", "an object (OASIS Data Provenance Metadata)", [None, "x", []]),
    ("/classification", "a list", [None, "x", {}]),
    ("/classification/0", "a string or an object (OASIS Data Provenance Metadata)", [None, 1, ["x"], True]),
    ("/data-risk-reducing", "a list", [None, "x", {}]),
    ("/data-risk-reducing/0", "a string or an object", [None, 1, ["x"], True]),
    ("/license", "an object", [None, "CC-BY-4.0", ["CC-BY-4.0"], 1]),
    ("/license/type", LINE, [None, 1, "", *UNSEEN]),
    ("/license/spdx", SPDX, [None, 1, "", "x" * 1001, ["MIT"], *UNSEEN]),
    ("/license/revocable", "true or false", [None, "false", 0, 1]),
    ("/license/text", "an object with uri and sha256", [None, "x", []]),
    ("/license/text/uri", URI, [None, 1, "", "x" * 4097, *UNSEEN]),
    ("/license/text/sha256", HEX, [None, 1, "", CAT[1:]]),
    ("/license/valid_from", INSTANT, [None, 1, *TIMES, *MORE_TIMES]),
    ("/license/valid_until", INSTANT, [None, 1, *TIMES, *MORE_TIMES]),
    ("/license/permits", "a list", [None, "train-ai", {}]),
    ("/license/prohibits/0", LINE, [None, 1, "", *UNSEEN]),
    ("/license/user/0", LINE, [None, 1, ""]),
    ("/license/geo/1", LINE, [None, 1, ""]),
    ("/license/attribution", "an object with required, text and url", [None, "Alice", []]),
    ("/license/attribution/required", "true or false", [None, "yes", 1]),
    ("/license/attribution/text", "a string", [None, 1, ["x"]]),
    ("/license/attribution/url", URI, [None, 1, "", *UNSEEN]),
    ("/payment", "an object with at least model", [None, "free", []]),
    ("/payment/model", MODEL, [None, 1, "", "Free", "gift", ["free"]]),
    ("/payment/transaction_id", LINE, [None, 1, "", *UNSEEN]),
    ("/payment/amount", "an object with value and currency", [None, "12.50 EUR", []]),
    (
        "/payment/amount/value",
        DECIMAL,
        [None, 12, "", "-1", "+1", "01", "1.", ".5", "1e3", "1,000", "1\n", "٣", "9" * 19],
    ),
    (
        "/payment/amount/currency",
        "three upper-case letters (ISO 4217)",
        [None, 1, "", "eur", "EURO", "EU", "EUR\n", "€"],
    ),
    ("/payment/payer", LINE, [None, 1, "", *UNSEEN]),
    ("/payment/payee", LINE, [None, 1, "", *UNSEEN]),
    ("/payment/paid_at", INSTANT, [None, 1, *TIMES, *MORE_TIMES]),
    ("/payment/period", "a string or an object", [None, 1, []]),
    ("/payment/schedule", "a string, an object or a list", [None, 1, True]),
    ("/payment/allocation", "a list", [None, "x", {}]),
    ("/payment/allocation/0", "an object with creator_id and share", [None, "x", []]),
    ("/payment/allocation/0/creator_id", LINE, [None, 1, "", *UNSEEN]),
    ("/payment/allocation/0/share", DECIMAL, [None, 1, "", "50%"]),
    ("/consents", "a list", [None, "x", {}]),
    ("/consents/0", "an object", [None, "x", []]),
    ("/consents/0/subject", LINE, [None, 1, "", *UNSEEN]),
    ("/consents/0/uri", URI, [None, 1, "", *UNSEEN]),
    ("/consents/0/sha256", HEX, [None, 1, "", CAT.upper()]),
    ("/consents/0/scope", "a list", [None, "train", {}]),
    ("/consents/0/scope/0", LINE, [None, 1, "", *UNSEEN]),
    ("/consents/0/expires_at", INSTANT, [None, 1, *TIMES, *MORE_TIMES]),
    ("/assets", "a list of 1 to 2,000,000 assets", [None, {}, "x", [], {"path": "a", "sha256": CAT}]),
    ("/assets/1", "an object with at least path and sha256", [None, "x", [], 1]),
    ("/assets/0/path", "a relative POSIX path", [None, 1, ["a"], {}]),
    (
        "/assets/0/sha256",
        HEX,
        [
            None,
            1,
            "",
            CAT.upper(),
            CAT[1:],
            CAT + "0",
            CAT + "\n",
            " " + CAT[1:],
            "g" + CAT[1:],
            "sha256:" + CAT,
            "\uff10" + CAT[1:],
            "d41d8cd98f00b204e9800998ecf8427e",
            "é" * 32,
            "é" * 64,
        ],
    ),
    ("/assets/0/size", COUNT, [None, -1, "3", True, False, [3]]),
    ("/assets/0/media_type", LINE, [None, 1, "", "x" * 201, *UNSEEN]),
    ("/assets/0/license", SPDX, [None, 1, "", "x" * 1001, {"spdx": "MIT"}, *UNSEEN]),
    ("/assets/0/creator_id", LINE, [None, 1, "", "x" * 201, *UNSEEN]),
    ("/assets/0/consent", LINE, [None, 1, "", *UNSEEN]),
    ("/assets/0/flags", "a list", [None, "person", {}]),
    ("/assets/0/flags/1", LINE, [None, 1, "", "x" * 201, *UNSEEN]),
    ("/assets/0/redacted_from", "an object with sha256", [None, CAT, []]),
    ("/assets/0/redacted_from/sha256", HEX, [None, 1, "", CAT.upper(), CAT + "\n"]),
]
NEEDED = re.compile(
    "/(dataset_id|version|license|assets|supersedes/sha256|payment/model|payment/amount/[a-z]+)"
    "|/payment/allocation/0/[a-z_]+|/assets/0/(path|sha256|redacted_from/sha256)|.*/[0-9]+"
)
CASES = [
    (path, expected, value)
    for path, expected, values in WRONG
    for value in values
    if value is not None or NEEDED.fullmatch(path)  # elsewhere a null says "absent"
]


@pytest.mark.parametrize(
    ("path", "expected", "value"), CASES, ids=[f"{c[0]}={ascii(c[2])[:24]}" for c in CASES]
)
def test_wrong_values(path: str, expected: str, value: object) -> None:
    (problem,) = problems(changed(path, value))
    name = next(part for part in reversed(path.split("/")) if not part.isdigit())
    assert (problem.code, problem.subject) == ("manifest.schema", path)
    assert problem.what == f"{name} must be {expected}"
    assert problem.expected == expected
    assert problem.found is not None
    assert len(problem.found) <= 80
    assert problem.found.isprintable()
    assert (
        problem.do == "ask the publisher for a corrected release; the manifest is signed, so do not edit it"
    )


def test_found_is_said_in_json_or_counted() -> None:
    assert [
        problems(changed("/sequence", value))[0].found for value in (-1, "1", True, [1, 2], {"a": 1})
    ] == [
        "-1",
        '"1"',
        "true",
        "a list of 2",
        "an object with 1 member",
    ]


MISSING = [
    *["/dataset_id", "/version", "/license", "/assets", "/supersedes/sha256", "/payment/model"],
    *["/payment/amount/value", "/payment/amount/currency", "/payment/allocation/1/creator_id"],
    *["/license/signals/0/kind", "/license/signals/1/value"],
    *["/payment/allocation/1/share", "/assets/1/path", "/assets/1/sha256", "/assets/0/redacted_from/sha256"],
]


@pytest.mark.parametrize("path", MISSING)
def test_missing_members(path: str) -> None:
    (problem,) = problems(without(path))
    assert (problem.code, problem.subject) == ("manifest.schema", path)
    assert problem.what == f"{path.rpartition('/')[2]} is missing"


REQUIRED = re.compile(
    "/(dataset_id|version|license|assets|supersedes/sha256|payment/model|payment/amount/[a-z]+)"
    "|/license/signals/[01]/(kind|value)|/payment/allocation/[01]/[a-z_]+|/assets/[01]/(path|sha256|redacted_from/sha256)"
)
OPTIONAL = [path for path in members(FULL) if not REQUIRED.fullmatch(path)]


@pytest.mark.parametrize("path", OPTIONAL)
def test_everything_else_may_be_left_out(path: str) -> None:
    assert read_manifest(dump(without(path))).unknown == ()


@pytest.mark.parametrize(
    "path",
    [path for path in OPTIONAL if not re.match("/payment/(period|schedule)/", path)],
)
def test_and_a_null_says_the_same(path: str) -> None:
    """Publishers that write every member, with null where they have nothing to say, are understood."""
    null, left_out = read_manifest(dump(changed(path, None))), read_manifest(dump(without(path)))
    assert null.raw != left_out.raw  # the signature covers what was written
    own = {"raw": b"", "digest": ""}
    assert replace(null, **own) == replace(left_out, **own)


@pytest.mark.parametrize("document", [None, 1, "x", [], [EXAMPLE], True])
def test_not_an_object(document: object) -> None:
    (problem,) = problems(dump(document))
    assert problem[:3] == ("manifest.schema", "", "the manifest must be an object")


def test_syntax_comes_first() -> None:
    text = json.dumps(changed("/license", "x"))
    (problem,) = problems(text.replace('"size": 3', '"size": 3.0').encode())
    assert problem[:3] == ("manifest.syntax", "/assets/0/size", "the number is not allowed")
    assert problem.expected == "an integer, or a decimal number in a string"
    (problem,) = problems(text.replace('"size": 3', '"size": 3, "\\u0073ize": 4').encode())
    assert problem[:3] == ("manifest.syntax", "/assets/0/size", "the key is repeated in one object")
    (problem,) = problems(text.replace('"size": 3', f'"size": {MAX_INT + 1}').encode())
    assert problem[:3] == ("manifest.syntax", "/assets/0/size", "the number is not allowed")
    (problem,) = problems(b"<!doctype html><title>Sign in</title>")
    assert problem[:3] == ("manifest.syntax", None, "this is an HTML page, not a manifest")
    (problem,) = problems(dump(changed("/provenance", {"x": "x" * 65_537})))
    assert problem[:3] == ("manifest.limit", "/provenance/x", "the string is too long")


def test_every_key_repeated_at_every_level_is_refused() -> None:
    count = 0

    def double(value: Any) -> Any:
        """Each way to repeat one key of a document, as text."""
        if isinstance(value, dict):
            for name in value:
                members = [f"{json.dumps(n)}:{json.dumps(v)}" for n, v in value.items()]
                yield "{" + ",".join([*members, f"{json.dumps(name)}:{json.dumps(value[name])}"]) + "}"
                for inner in double(value[name]):
                    rest = [f"{json.dumps(n)}:{json.dumps(v)}" for n, v in value.items() if n != name]
                    yield "{" + ",".join([*rest, f"{json.dumps(name)}:{inner}"]) + "}"
        elif isinstance(value, list):
            for index, item in enumerate(value):
                for inner in double(item):
                    yield (
                        "["
                        + ",".join([inner if i == index else json.dumps(v) for i, v in enumerate(value)])
                        + "]"
                    )

    for text in double(FULL):
        count += 1
        (problem,) = problems(text.encode())
        assert (problem.code, problem.what) == ("manifest.syntax", "the key is repeated in one object")
    assert count > 60


def test_a_manifest_cut_at_any_byte_is_refused() -> None:
    for document in (EXAMPLE, FULL):
        raw = json.dumps(document, ensure_ascii=False).encode()
        for cut in range(len(raw)):
            (problem,) = problems(raw[:cut])
            assert problem.code == "manifest.syntax"
            assert problem.what.startswith(("the document ends too early", "the document is empty")), raw[
                :cut
            ]


def test_paths_are_refused_by_pointer() -> None:
    document = copy.deepcopy(EXAMPLE)
    document["assets"] += [
        {"path": path, "sha256": CAT}
        for path in ("../x", "images/cat1.jpg", "IMAGES/DOG1.JPG", "images/cat1.jpg/x")
    ]
    assert [(p.code, p.subject) for p in problems(document)] == [
        ("manifest.path", "/assets/2/path"),
        ("manifest.duplicate", "/assets/3/path"),
        ("manifest.path", "/assets/4/path"),
        ("manifest.path", "/assets/5/path"),
    ]


def test_all_problems_are_named_at_once_and_at_most_a_hundred() -> None:
    document = copy.deepcopy(EXAMPLE)
    document["version"] = ""
    document["assets"] = [
        {"path": "a", "sha256": "x"},
        {"path": "b"},
        {"path": "../c", "sha256": CAT, "size": -1},
        {"path": 1, "sha256": CAT},
        "d",
    ]
    assert [(p.code, p.subject) for p in problems(document)] == [
        ("manifest.schema", "/version"),
        ("manifest.schema", "/assets/0/sha256"),
        ("manifest.schema", "/assets/1/sha256"),
        ("manifest.schema", "/assets/2/size"),
        ("manifest.schema", "/assets/3/path"),
        ("manifest.schema", "/assets/4"),
        ("manifest.path", "/assets/2/path"),
    ]
    document["assets"] *= 500
    assert len(problems(document)) == 100


def test_too_many_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_ASSETS", 1)
    assert problems(EXAMPLE) == (
        Problem(
            code="manifest.limit",
            subject="/assets",
            what="the manifest lists too many assets",
            expected="at most 1",
            found="2",
            do="ask the publisher to split the release",
        ),
    )


def test_sizes_that_add_up_to_too_much() -> None:
    document = changed("/assets/1/size", MAX_INT)
    (problem,) = problems(document)
    assert problem[:3] == ("manifest.limit", "/assets", "the sizes add up to too much")
    assert (problem.expected, problem.found) == (f"at most {MAX_INT:,} bytes", f"{MAX_INT + 3:,} bytes")
    assert read_manifest(dump(changed("/assets/1/size", MAX_INT - 3))).total_bytes == MAX_INT


def test_jsonschema_is_imported_only_to_word_a_refusal() -> None:
    program = (
        "import sys; from databom.model.manifest import read_manifest; from databom.errors import InputError\n"
        "read_manifest(sys.stdin.buffer.read()); assert 'jsonschema' not in sys.modules\n"
        "try: read_manifest(b'[]')\n"
        "except InputError: assert 'jsonschema' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], input=dump(FULL), check=True)


# --- a hundred thousand assets ------------------------------------------------------------------------


def large(count: int) -> dict[str, Any]:
    assets = [
        {"path": f"d/{i:06d}", "sha256": hashlib.sha256(b"%d" % i).hexdigest(), "size": i}
        for i in range(count)
    ]
    return {**EXAMPLE, "assets": assets}


def test_one_wrong_asset_among_many_is_found() -> None:
    document = large(30_000)
    manifest = read_manifest(dump(document))
    assert (len(manifest.assets), manifest.unknown) == (30_000, ())
    assert manifest.total_bytes == sum(range(30_000))
    for name, value in (
        ("sha256", CAT.upper()),
        ("size", -1),
        ("consent", "a\x07"),
        ("flags", [""]),
    ):
        (problem, *more) = problems(changed(f"/assets/29999/{name}", value, document))
        assert problem.subject is not None
        assert problem.subject.startswith(f"/assets/29999/{name}")
        assert more == []
    assert read_manifest(dump(changed("/assets/29999/new", 1, document))).unknown == ("/assets/29999/new",)


# --- nothing but InputError ------------------------------------------------------------------------


def read_or_refuse(raw: bytes) -> Manifest | InputError:
    try:
        return read_manifest(raw)
    except InputError as error:
        return error


@settings(max_examples=400)
@given(st.binary(max_size=200), st.integers(0, 5_000), st.integers(0, 30), st.sampled_from([EXAMPLE, FULL]))
def test_only_input_error_escapes(junk: bytes, place: int, width: int, base: dict[str, Any]) -> None:
    raw = dump(base)
    for document in (junk, raw[:place] + junk + raw[place + width :]):
        error = read_or_refuse(document)
        if isinstance(error, InputError):
            assert 1 <= len(error.problems) <= 100
            codes = {problem.code for problem in error.problems}
            assert codes <= {
                f"manifest.{kind}" for kind in ("syntax", "limit", "schema", "path", "duplicate")
            }
            assert all(text is None or text.isprintable() for problem in error.problems for text in problem)


def test_every_flipped_bit_is_refused_or_read() -> None:
    raw = dump(EXAMPLE)
    known = read_manifest(raw)
    accepted = 0
    for place in range(len(raw)):
        for bit in range(8):
            flipped = raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]
            try:
                manifest = read_manifest(flipped)
            except InputError:
                continue
            accepted += 1
            assert manifest.digest != known.digest
    assert accepted > 0
