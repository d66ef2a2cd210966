"""What a person is shown before a new version of the trust root is believed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from databom.trust.root import parse_draft
from databom.trust.root_changes import Change, differences
from databom.trust.rotation import sign_root
from trust.making import SCOPES, A, B, as_root, ed, entry

NEW = ed(30)
IDA, IDB, IDN = (key.public.keyid for key in (A, B, NEW))
MARKET, OTHER = "marketplace human-native", "marketplace other"


def start() -> dict[str, Any]:
    value = copy.deepcopy(SCOPES)
    value["keys"][IDA] |= {"valid_from": "2026-01-01T00:00:00Z", "valid_until": "2026-12-31T00:00:00Z"}
    value["roles"]["root"] = {"keyids": [IDA, IDB], "threshold": 2}
    return value


def changes(edit: Callable[[dict[str, Any]], object]) -> tuple[Change, ...]:
    old, new = start(), start()
    edit(new)
    back = differences(as_root(new), as_root(old))
    there = differences(as_root(old), as_root(new))
    assert {(one.what, one.before, one.after) for one in there} == {
        (one.what, one.after, one.before) for one in back
    }
    return there


def market(value: dict[str, Any], name: str = "human-native") -> dict[str, Any]:
    entry: dict[str, Any] = value["roles"]["marketplace"][name]
    return entry


def test_no_change() -> None:
    assert not changes(lambda value: value)
    assert not changes(lambda value: value["roles"]["root"]["keyids"].reverse())
    assert not changes(lambda value: value["keys"][IDB].update(valid_from=None))


def test_signatures_are_no_change() -> None:
    draft = parse_draft(json.dumps(start()).encode())
    assert not differences(draft, parse_draft(sign_root(draft.raw, [A, B])))


@pytest.mark.parametrize(
    ("edit", "kind", "what", "widens"),
    [
        (lambda v: market(v)["datasets"].append("y-*"), "added", f"{MARKET}: dataset y-*", True),
        (lambda v: market(v, "other")["datasets"].remove("x-*"), "removed", f"{OTHER}: dataset x-*", False),
        (lambda v: market(v)["keyids"].append(IDB), "added", f"{MARKET}: key {IDB}", True),
        (lambda v: v["roles"]["root"].update(threshold=1), "changed", "role root: threshold", True),
        (lambda v: v["roles"]["marketplace"].pop("other"), "removed", OTHER, False),
        (lambda v: v["roles"].update(log={"keyids": [IDN], "threshold": 1}) or v["keys"].update(
            {IDN: entry(NEW.public)}), "added", "role log", True),
        (lambda v: v["keys"].update({IDN: entry(NEW.public)}), "added", f"key {IDN}", False),
        (lambda v: v["keys"][IDA].update(valid_until=None), "changed", f"key {IDA}: window", True),
        (lambda v: v["keys"][IDA].update(valid_from="2025-01-01T00:00:00Z"), "changed", f"key {IDA}: window", True),
        (lambda v: v["keys"][IDA].update(valid_until="2026-06-01T00:00:00Z"), "changed", f"key {IDA}: window", False),
        (lambda v: v["keys"][IDA].update(development=True), "changed", f"key {IDA}: development", False),
        (lambda v: v.update(expires="2030-01-01T00:00:00Z"), "changed", "expires", False),
        (lambda v: v.update(comment="x"), "added", "unknown member /comment", False),
        (lambda v: v["roles"].update(auditor={}), "added", "unknown member /roles/auditor", False),
        (lambda v: market(v).update(contact="x"), "added",
         "unknown member /roles/marketplace/human-native/contact", False),
    ],
)  # fmt: skip
def test_one_change(edit: Callable[[dict[str, Any]], object], kind: str, what: str, widens: bool) -> None:
    found = [(one.kind, one.what, one.widens) for one in changes(edit)]
    assert (kind, what, widens) in found
    assert [one for one in found if one[1] != what] in ([], [("added", f"key {IDN}", False)])


def test_the_order_is_that_of_reading() -> None:
    def edit(value: dict[str, Any]) -> None:
        value |= {"version": 2, "expires": "2028-01-01T00:00:00Z", "zz": 1}
        value["keys"][IDN] = entry(NEW.public)
        value["roles"]["root"]["threshold"] = 1
        market(value)["keyids"] = [IDN]

    # A draft: a plain later version is shown, never believed.
    old, value = start(), start()
    edit(value)
    found = differences(as_root(old), parse_draft(json.dumps(value).encode()))
    assert [one.what for one in found] == [
        "version",
        "expires",
        f"key {IDN}",
        "role root: threshold",
        *(f"{MARKET}: key {keyid}" for keyid in (IDA, IDN)),
        "unknown member /zz",
    ]


@pytest.mark.parametrize("seed", range(40, 46))
def test_what_goes_is_told_before_what_comes_whatever_a_keys_id(seed: int) -> None:
    key = ed(seed).public

    def edit(value: dict[str, Any]) -> None:
        market(value)["keyids"] = [key.keyid]
        market(value)["datasets"] = ["a-*"]
        value["keys"][key.keyid] = entry(key)
        value["roles"]["marketplace"]["a"] = value["roles"]["marketplace"].pop("other")

    kinds = [one.kind for one in changes(edit) if one.what.startswith(MARKET)]
    assert kinds == ["removed", "added", "removed", "added"]
    assert [one.kind for one in changes(edit) if one.what in {OTHER, "marketplace a"}] == ["removed", "added"]


def test_texts_are_safe_to_print() -> None:
    found = changes(lambda value: value.update({"a\u202e": "\x1b[2J"}))
    assert all(text.isprintable() for one in found for text in (one.what, one.after) if text)
