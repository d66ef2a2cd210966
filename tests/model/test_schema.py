"""The published JSON Schema, and that the fast reader agrees with it."""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from databom.errors import InputError
from databom.model import claims, manifest, shards, strictjson, wording
from databom.model.paths import find_problems
from support.manifests import CAT, EXAMPLE, FULL, INDEXED, dump, members

UNSEEN = [
    "a\x1b[31m",
    "a\n",
    "a\x7f",
    "a\u200b",
    "a\u202e",
    "\ufeffa",
    "a\u2028",
    "a\ufe0f",
    "a\uffff",
    "a\U000e0041",
]
TIMES = [
    "2026-02-30T00:00:00Z",
    "2026-01-10T12:00:00+00:00",
    "2016-12-31T23:59:60Z",
    "2026-01-10T12:00:00Z\n",
]
SCHEMA = wording.schema()
VALIDATOR = wording.validator()


def nodes(node: Any) -> list[dict[str, Any]]:
    """Every subschema."""
    if isinstance(node, list):
        return [found for item in node for found in nodes(item)]
    if not isinstance(node, dict):
        return []
    inner = [*node.get("properties", {}).values(), *node.get("$defs", {}).values(), node.get("items")]
    inner += [node.get("then"), node.get("else")]
    return [node, *nodes(inner)]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$id"] == "urn:databom:schema:manifest:v1"


def test_every_rule_has_words() -> None:
    """A refusal is worded by the description of the subschema that refused."""
    for node in nodes(SCHEMA):
        assert "$ref" in node or node.get("if") == {"type": "null"} or node["description"], node
        assert not ("$ref" in node and len(node) > 1), node
        # The one rule about two members: the assets are listed by one of them.
        assert "if" not in node or set(node) == {"if", "else"} or node is SCHEMA, node


def test_limits_are_those_of_the_code() -> None:
    assert SCHEMA["properties"]["assets"]["else"]["maxItems"] == manifest.MAX_ASSETS
    assert SCHEMA["properties"]["asset_index"]["else"]["maxItems"] == claims.MAX_SHARDS
    shard = SCHEMA["$defs"]["shard"]["properties"]
    assert (shard["size"]["maximum"], shard["count"]["maximum"]) == (
        claims.MAX_SHARD_BYTES,
        claims.MAX_SHARD_ASSETS,
    )
    assert shard["media_type"]["enum"] == list(get_args(claims.ShardType))
    assert SCHEMA["$defs"]["count"]["maximum"] == strictjson.MAX_INT
    assert SCHEMA["$defs"]["text"]["maxLength"] == claims.MAX_ID_CHARS
    assert SCHEMA["$defs"]["expression"]["maxLength"] == claims.MAX_EXPRESSION_CHARS
    assert SCHEMA["$defs"]["uri"]["maxLength"] == claims.MAX_URI_CHARS
    assert f"{manifest.MAX_STRING_CHARS:,} characters" in SCHEMA["$comment"]
    assert f"{strictjson.MAX_DEPTH} levels" in SCHEMA["$comment"]


def test_patterns_hold_in_other_dialects() -> None:
    """ECMA 262 has no \\A, \\Z, possessive or inline-flag syntax; `$` alone would let a line feed through in Python."""
    for node in nodes(SCHEMA):
        pattern = node.get("pattern", "^")
        assert pattern.startswith("^")
        assert not any(part in pattern for part in ("\\A", "\\Z", "(?P", "(?i", "(?>", "++", "*+"))
        assert not pattern.endswith("$") or node["maxLength"] == node["minLength"]


def is_allowed(document: Any) -> bool:
    """The slow answer: strict JSON, the schema, and the rules a schema cannot say."""
    try:
        strictjson.loads(dump(document), floats=False, max_string=manifest.MAX_STRING_CHARS)
    except InputError:
        return False
    if not VALIDATOR.is_valid(document):
        return False
    if any(shards.uri_problem(shard["uri"]) for shard in document.get("asset_index") or ()):
        return False
    assets = document.get("assets") or ()
    return (
        not list(find_problems(enumerate(asset["path"] for asset in assets)))
        and sum(asset.get("size") or 0 for asset in assets) <= strictjson.MAX_INT
    )


@pytest.mark.parametrize("document", [EXAMPLE, FULL, INDEXED])
def test_the_examples_fit(document: dict[str, Any]) -> None:
    assert is_allowed(document)


# --- the fast reader and the schema agree --------------------------------------------------------------

NAMES = [
    *sorted({path.rpartition("/")[2] for document in (FULL, INDEXED) for path in members(document)}),
    "x",
    "",
    "null",
]
STRINGS = st.sampled_from(
    [
        *[
            "",
            " ",
            "a",
            "a@b",
            " a",
            "free",
            "one-time",
            "USD",
            "usd",
            "1",
            "1.0",
            "2",
            "0.5",
            "-1",
            "1e3",
            "null",
        ],
        *[
            CAT,
            CAT.upper(),
            CAT + "\n",
            CAT[1:],
            "2026-01-10T12:00:00Z",
            "2026-01-10T12:00:00.1Z",
            "a\n",
            "\ta",
        ],
        *[
            "../x",
            "s3://bucket/x",
            "https://host/x?y",
            "application/x-ndjson",
            "images/CAT1.jpg",
            "empty/x",
            "a//b",
            ".git/x",
            "x" * 200,
            "x" * 201,
            "é" * 200,
            "x" * 1001,
        ],
        *UNSEEN,
        *TIMES,
    ]
)
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, -1, 3, strictjson.MAX_INT, strictjson.MAX_INT + 1, 1.0, 0.5]
)
VALUES = st.recursive(
    SCALARS | STRINGS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=4,
)


def containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for item in inner for found in containers(item)] + (
        [value] if isinstance(value, dict | list) else []
    )


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid manifest with one to three things set, added, dropped, doubled or swapped."""
    document = copy.deepcopy(draw(st.sampled_from([EXAMPLE, FULL, INDEXED])))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(containers(document)))
        if isinstance(place, dict):
            name = draw(st.sampled_from([*place, *place, *NAMES]))
            if draw(st.booleans()) and name in place:
                del place[name]
            else:
                place[name] = draw(VALUES)
        elif place and draw(st.booleans()):
            index = draw(st.integers(0, len(place) - 1))
            place[index] = draw(VALUES | st.just(place[0]))
        elif place and draw(st.booleans()):
            place.append(copy.deepcopy(place[0]))
        else:
            place.insert(0, draw(VALUES))
    return document


def read_or_refuse(document: Any) -> manifest.Manifest | InputError:
    try:
        return manifest.read_manifest(dump(document))
    except InputError as error:
        return error


@settings(max_examples=1_500, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(mutated())
def test_the_fast_reader_and_the_schema_agree(document: dict[str, Any]) -> None:
    read = read_or_refuse(document)
    assert isinstance(read, manifest.Manifest) == is_allowed(document)
    if isinstance(read, InputError):
        assert not any("does not fit its schema" in problem.what for problem in read.problems)
        assert all((problem.do or "") and problem.subject is not None for problem in read.problems)
    else:
        assert read.content() == {name: value for name, value in document.items() if name != "signature"}
        assert read.unknown == tuple(unknown_members(document))


def unknown_members(document: dict[str, Any]) -> list[str]:
    """Unknown members by the schema's own lists: head first, then assets, each in the order of the document."""

    def walk(value: Any, node: dict[str, Any], at: str) -> list[str]:
        while "$ref" in node or ("else" in node and node is not SCHEMA):
            node = node.get("else") or SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]
        if isinstance(value, list):
            return [
                found
                for i, item in enumerate(value)
                for found in walk(item, node.get("items", {}), f"{at}/{i}")
            ]
        if not isinstance(value, dict) or "properties" not in node:
            return []
        found = []
        for name, member in value.items():
            here = strictjson.doubts.pointer((*at.split("/")[1:], name))
            if name not in node["properties"]:
                found.append(here)
            else:
                found += walk(member, node["properties"][name], here)
        return found

    head = {name: member for name, member in document.items() if name != "assets"}
    return walk(head, SCHEMA, "") + walk({"assets": document.get("assets")}, SCHEMA, "")


def test_should_they_ever_disagree_the_answer_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that doubts more than the schema can word still refuses, and says what it knows."""
    monkeypatch.setattr(manifest, "_VERSIONS", ("7",))
    with pytest.raises(InputError) as caught:
        manifest.read_manifest(dump(EXAMPLE))
    (problem,) = caught.value.problems
    assert problem[:3] == ("manifest.schema", "", "the manifest does not fit its schema: manifest_version")


def test_times_are_words_of_one_rule() -> None:
    for text in TIMES:
        with pytest.raises(InputError) as caught:
            manifest.read_manifest(dump({**EXAMPLE, "issued_at": text}))
        assert [problem.expected for problem in caught.value.problems] == [
            SCHEMA["$defs"]["instant"]["description"]
        ]


def test_the_schema_file_is_ascii_and_ends_in_a_line_feed() -> None:
    text = json.dumps(SCHEMA, indent=2) + "\n"
    assert text.isascii()
    assert (
        wording.resources.files("databom.model").joinpath("schemas/manifest.v1.json").read_text("ascii")
        == text
    )
