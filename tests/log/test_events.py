"""Events: what is written fits the schema that the package ships, and whatever is read is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import NODEFAULT
from msgspec.structs import fields

from databom.log.events import EVENT_TYPE, KINDS, KNOWN, Event, format_event, read_entry
from databom.model import incidents
from databom.trust.jcs import canonical

WHEN = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
COUNTS = st.integers(0, 2**53 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ["manifest", "tree", "trust", "policy", "report", "evidence", "content", "core"], DIGESTS
    ),
    **dict.fromkeys(["assets", "bytes", "failed", "found_in", "sequence"], COUNTS),
    **dict.fromkeys(["keyids", "codes", "roles", "aliases"], st.lists(TEXTS, max_size=3).map(tuple)),
    **dict.fromkeys(["rollback", "refetched", "claimed"], st.booleans()),
    "verdict": st.sampled_from(["pass", "fail", "unanswered"]),
    "value": st.decimals(0, 10**6, places=2).map(str),
    "scanners": st.lists(
        st.fixed_dictionaries({"name": TEXTS, "version": TEXTS, "assets": COUNTS}), max_size=2
    ).map(tuple),
}


def schema(kind: str) -> dict[str, Any]:
    return json.loads((files("databom.log") / "schemas" / f"{kind}.json").read_text())


def values(kind: type[Event], name: str, *, optional: bool) -> st.SearchStrategy[Any]:
    given = COUNTS if (kind.kind, name) == ("scanned", "found") else VALUES.get(name, TEXTS)
    return st.none() | given if optional else given


def events(kind: type[Event]) -> st.SearchStrategy[Event]:
    return st.builds(
        kind, **{one.name: values(kind, one.name, optional=one.default is None) for one in fields(kind)}
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@given(data=st.data())
def test_what_is_written_fits_its_schema(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(events(kind))
    raw = event.entry(WHEN)
    document = json.loads(raw)
    Draft202012Validator(schema(kind.kind)).validate(document)
    assert canonical(document) == raw
    entry = read_entry(3, raw)
    assert (entry.kind, entry.time, entry.is_known) == (kind.kind, "2026-11-26T12:00:00Z", True)
    assert entry.document == document


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_schema_and_its_class_name_the_same_members(kind: type[Event]) -> None:
    found = schema(kind.kind)
    Draft202012Validator.check_schema(found)
    members = {one.name for one in fields(kind)}
    assert set(found["properties"]) == {"_type", "event", "time", *members}
    optional = {one.name for one in fields(kind) if one.default is None}
    assert set(found["required"]) == set(found["properties"]) - optional
    assert all(one.default in (NODEFAULT, None, False) for one in fields(kind))


def test_every_schema_is_of_a_kind() -> None:
    shipped = {path.name for path in (files("databom.log") / "schemas").iterdir()}
    assert shipped == {f"{kind}.json" for kind in KNOWN - {"trained"}}


RECORDS = st.fixed_dictionaries(
    {
        **dict.fromkeys(["incident", "path", "name", "manifest"], TEXTS),
        "happened_at": st.just("2026-11-26T12:00:00Z"),
    },
    optional=dict.fromkeys(["release", "code", "expected", "found", "source"], st.none() | TEXTS),
)
ENDS = st.fixed_dictionaries(
    {
        **dict.fromkeys(["closed_by", "reason", "resolution"], TEXTS),
        "closed_at": st.just("2026-11-27T00:00:00Z"),
    }
)


@given(RECORDS, ENDS)
def test_what_an_incident_says_fits_its_schema(record: dict[str, Any], end: dict[str, Any]) -> None:
    for kind, whole in ((incidents.OPENED, record), (incidents.CLOSED, {**record, **end})):
        raw = format_event(incidents.event(kind, whole))
        Draft202012Validator(schema(kind)).validate(json.loads(raw))
        assert read_entry(0, raw).is_known


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(
    lambda value: json.dumps({"_type": EVENT_TYPE, "event": value, "payloadType": value}).encode()))  # fmt: skip
def test_whatever_is_there_is_read(raw: bytes) -> None:
    entry = read_entry(0, raw)
    assert entry.index == 0
    json.dumps(entry.document)
