"""databom.lock: deterministic, strict, and readable by YAML and by plain JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from databom.errors import ConfigError, InputError
from databom.model.lock import (
    Lock,
    Mirror,
    Pin,
    Seen,
    SeenRelease,
    SeenRoot,
    check_pin_name,
    format_lock,
    parse_lock,
    pin_name,
)

DIGEST = "sha256:" + "0" * 64


def a_pin(**changes: object) -> Pin:
    values = {
        "release": "hn-pets@1",
        "dataset_id": "hn-pets",
        "version": "1",
        "manifest": DIGEST,
        "tree": DIGEST,
        "source": "s3://bucket/manifest.json",
        "root": "s3://bucket/",
        "path": "data/pets",
        "keyids": ("a" * 64,),
        **changes,
    }
    return Pin(**values)


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@given(texts, texts, st.none() | st.integers(0, 2**53 - 1))
def test_what_is_written_is_read_back_by_everyone(version: str, creator: str, sequence: int | None) -> None:
    pin = a_pin(version=version, creator_id=creator, sequence=sequence)
    seen = Seen(
        sequence=sequence,
        releases={
            version: SeenRelease(
                manifest=DIGEST,
                content=DIGEST,
                core=DIGEST,
                first_seen="2026-01-01T00:00:00Z",
                fetched_at="2026-01-01T00:00:00Z",
            )
        },
    )
    lock = Lock().with_pin("pets", pin).with_seen("hn-pets", seen)
    raw = format_lock(lock)
    assert parse_lock(raw) == lock
    assert format_lock(parse_lock(raw)) == raw
    plain = json.loads(raw)
    assert plain["pins"]["pets"]["version"] == version
    assert YAML(typ="safe").load(raw.decode()) == plain


def test_the_order_of_pinning_does_not_show() -> None:
    one = Lock().with_pin("a", a_pin()).with_pin("b", a_pin())
    other = Lock().with_pin("b", a_pin()).with_pin("a", a_pin())
    assert format_lock(one) == format_lock(other)


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "lock.syntax"),
        (b"<<<<<<< HEAD\n{}", "lock.syntax"),
        (b'{"version": 1, "pins": {}, "pins": {}}', "repeated"),
        (b'{"version": 2, "pins": {}}', "version 1"),
        (b'{"version": 1, "pins": {"a.b": {}}}', "lock.schema"),
        (b'{"version": 1, "pins": {}, "extra": 1}', "extra"),
        (b"[]", "lock.schema"),
    ],
)
def test_anything_else_is_refused(raw: bytes, part: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_lock(raw)
    assert part in str(refused.value)


@pytest.mark.parametrize(
    ("dataset", "name"), [("hn-pets", "hn-pets"), ("org/pets.v2", "org-pets-v2"), ("..", "dataset")]
)
def test_default_names_are_names(dataset: str, name: str) -> None:
    assert pin_name(dataset) == name
    assert check_pin_name(name) == name


@given(st.text(max_size=200))
def test_every_dataset_id_gives_a_usable_name(dataset: str) -> None:
    assert check_pin_name(pin_name(dataset))


@pytest.mark.parametrize("name", ["", "-x", "a.b", "a/b", "é", "x" * 101, "a\n"])
def test_names_that_break_dvc_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a pin"):
        check_pin_name(name)


def test_the_accepted_trust_root_is_a_member_only_where_there_is_one() -> None:
    """So the lock of a project that never updated its root stays as it is, byte for byte."""
    lock = Lock().with_pin("a", a_pin())
    before = format_lock(lock)
    assert b"trust" not in before
    after = format_lock(lock.with_trust(SeenRoot(version=2, digest=DIGEST)))
    assert after.startswith(before[: before.rindex(b"\n}")])
    assert parse_lock(after).trust == SeenRoot(version=2, digest=DIGEST)
    changed = parse_lock(after).with_pin("b", a_pin()).with_seen("hn-pets", Seen())
    assert changed.trust == SeenRoot(version=2, digest=DIGEST)


@pytest.mark.parametrize(
    "trust",
    [
        {},
        {"version": 0, "digest": DIGEST},
        {"version": "2", "digest": DIGEST},
        {"version": 2, "digest": DIGEST[7:]},
        {"version": 2, "digest": DIGEST, "more": 1},
        {"version": 2, "digest": DIGEST + "\n"},
        [],
        2,
    ],
)
def test_a_damaged_memory_of_the_trust_root_is_refused(trust: object) -> None:
    value = {**json.loads(format_lock(Lock())), "trust": trust}
    with pytest.raises(InputError) as refused:
        parse_lock(json.dumps(value).encode())
    assert refused.value.problems[0].code == "lock.schema"


def test_mirrors_are_a_member_only_where_there_are_any_and_no_part_of_a_pin() -> None:
    lock = Lock().with_pin("a", a_pin())
    before = format_lock(lock)
    assert b"mirrors" not in before
    mirror = Mirror(location="r2://team/data", manifest=DIGEST)
    after = format_lock(lock.with_mirror("a", mirror))
    assert after.startswith(before[: before.rindex(b"\n}")])
    assert parse_lock(after).mirrors == {"a": mirror}
    changed = parse_lock(after).with_pin("b", a_pin()).with_seen("hn-pets", Seen())
    assert changed.mirrors == {"a": mirror}
    assert YAML(typ="safe").load(after.decode()) == json.loads(after)


@pytest.mark.parametrize(
    "mirrors",
    [
        [],
        {"a.b": {"location": "s3://team/x", "manifest": DIGEST}},
        {"a": {"location": "s3://team/x"}},
        {"a": {"location": "https://team/x", "manifest": DIGEST}},
        {"a": {"location": "data/x", "manifest": DIGEST}},
        {"a": {"location": "s3://team/x", "manifest": DIGEST[7:]}},
        {"a": {"location": "s3://team/x", "manifest": DIGEST, "more": 1}},
    ],
)
def test_damaged_mirrors_are_refused(mirrors: object) -> None:
    value = {**json.loads(format_lock(Lock())), "mirrors": mirrors}
    with pytest.raises(InputError) as refused:
        parse_lock(json.dumps(value).encode())
    assert refused.value.problems[0].code == "lock.schema"
