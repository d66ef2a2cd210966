"""What a manifest states as its license, held against `[use]`: terms, signals, assets, contradictions."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.checks.license import check_license, obligations
from databom.model.claims import Signal
from databom.model.config import Config, parse_config
from databom.model.finding import Finding
from databom.model.manifest import read_manifest
from databom.model.rsl import read_rsl
from databom.model.signals import KINDS, Unreadable, said

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEX = "ab" * 32
RSL = (
    '<rsl xmlns="https://rslstandard.org/rsl"><content url="/" {attributes}>'
    "<license>{inside}</license></content></rsl>"
)


def config(use: str = "", rest: str = "") -> Config:
    return parse_config(f"[use]\n{use}\n[policy]\n{rest}".encode())


def manifest(license_: dict[str, Any], assets: list[dict[str, Any]] | None = None, **members: Any) -> Any:
    listed = assets or [{"path": "a", "sha256": HEX}]
    value = {"dataset_id": "d", "version": "1", "license": license_, "assets": listed, **members}
    return read_manifest(json.dumps(value).encode())


def judge(license_: dict[str, Any], use: str = "", **members: Any) -> list[Finding]:
    return list(check_license(manifest({"spdx": "CC-BY-4.0"} | license_, **members), config(use), NOW))


def rsl(inside: str, attributes: str = "") -> dict[str, Any]:
    return signal("rsl", RSL.format(inside=inside, attributes=attributes))


def signal(kind: str, value: str) -> dict[str, Any]:
    return {"signals": [{"kind": kind, "value": value}]}


NC, BY_NC = "commercial = false", {"spdx": "CC-BY-NC-4.0"}
DE, EVALUATE = 'territory = ["DE"]', 'purpose = "evaluate"'
RETRIEVE, DISCRIMINATIVE = 'purpose = "retrieve"', 'model = "discriminative"'
NO, ASK, AGAINST = "license.not-permitted", "license.review", "license.contradiction"


@pytest.mark.parametrize(
    ("license_", "use", "codes"),
    [
        # A permitted license says nothing.
        ({}, "", []),
        ({"type": "commercial", "revocable": False}, "", []),
        ({"type": "commercial", "spdx": "CC-BY-NC-4.0 OR CC-BY-4.0"}, "", []),
        ({"revocable": True, "spdx": "CC-BY-4.0 OR LicenseRef-scancode-bigscience-rail-1.0"}, "", []),
        # The type narrows.
        ({"type": "non-commercial"}, "", [NO]),
        ({"type": "Non Commercial"}, "", [NO]),
        ({"type": "non-commercial"}, NC, []),
        ({"type": "research"}, "", [NO]),
        ({"type": "research"}, NC, [ASK]),
        ({"type": "editorial-v2"}, "", [ASK]),
        ({"type": "commercial", **BY_NC}, "", [AGAINST, NO]),
        ({"type": "commercial", **BY_NC}, NC, [AGAINST]),
        ({"type": "commercial", "spdx": "CC-BY-NC-4.0 AND MIT"}, NC, [AGAINST]),
        # Words of RSL.
        ({"permits": ["ai-train"]}, "", []),
        ({"permits": ["all"]}, "", []),
        ({"permits": ["ai-all, search"]}, "", []),
        ({"permits": ["search"]}, "", [NO]),
        ({"permits": ["ai-input"]}, "", [NO]),
        ({"permits": ["ai-input"]}, RETRIEVE, []),
        ({"permits": ["whatever"]}, "", [NO]),
        ({"prohibits": ["ai-train"]}, "", [NO]),
        ({"prohibits": ["ai-train"]}, EVALUATE, []),
        ({"prohibits": ["ai-all"]}, EVALUATE, [NO]),
        ({"prohibits": ["search"]}, "", []),
        ({"prohibits": ["redistribute"]}, "", []),
        ({"prohibits": ["redistribute"]}, RETRIEVE + '\ndistribute = "api"', [NO]),
        ({"prohibits": ["juggling"]}, "", [ASK]),
        ({"permits": ["all"], "prohibits": ["ai-train"]}, "", [NO]),
        ({"permits": ["ai-train"], "prohibits": ["ai-train"]}, "", [AGAINST, NO]),
        ({"user": ["commercial"]}, "", []),
        ({"user": ["non-commercial"]}, "", [NO]),
        ({"user": ["education", "government"]}, "", [NO]),
        ({"user": ["education"]}, NC, [ASK]),
        ({"user": ["non-commercial"]}, NC, []),
        ({"user": ["education"], "type": "commercial"}, NC, [AGAINST, ASK]),
        ({"user": ["commercial"], **BY_NC}, NC, [AGAINST, ASK]),
        # Places.
        ({"geo": ["DE"]}, "", [ASK]),
        ({"geo": ["DE"]}, DE, []),
        ({"geo": ["eu"]}, DE, []),
        ({"geo": ["worldwide"]}, "", []),
        ({"geo": ["US", "FR"]}, DE, [NO]),
        ({"geo": ["Atlantis"]}, DE, [ASK]),
        # Days.
        ({"valid_from": "2026-01-01T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z"}, "", []),
        ({"valid_until": "2026-06-01T00:00:00Z"}, "", ["license.expired"]),
        ({"valid_from": "2026-06-01T00:00:01Z"}, "", ["license.expired"]),
        (
            {"valid_from": "2027-01-01T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"},
            "",
            [AGAINST, "license.expired"],
        ),
        # Taken back.
        ({"revocable": True}, "", [AGAINST]),
        ({"revocable": True, "spdx": "CC0-1.0"}, "", [AGAINST]),
        ({"revocable": True, "spdx": "MIT"}, "", []),
        ({"revocable": True, "spdx": "CC0-1.0 AND Apache-2.0"}, "", [AGAINST]),
        # Nothing stated.
        ({"spdx": None}, "", ["license.missing"]),
        ({"spdx": None, "permits": ["search"]}, "", ["license.missing", NO]),
        ({"spdx": "My own terms"}, "", ["license.unknown"]),
        ({"spdx": "cc-by-nc-4.0"}, "", [NO]),
        # Signals of others.
        (signal("aipref", "train-ai=y, search=n"), "", []),
        (signal("aipref", "train-ai=n"), "", [AGAINST]),
        (signal("aipref", "Content-Usage: train-ai=n;exp=1"), "", [AGAINST]),
        (signal("aipref", "train-ai=n"), EVALUATE, []),
        (signal("aipref", "bots=n, future"), "", []),
        (signal("aipref", "train-ai=perhaps"), "", [ASK]),
        ({**signal("aipref", "train-ai=n"), **BY_NC}, "", [NO]),
        (signal("content-signal", "search=yes,ai-train=no"), "", [AGAINST]),
        (signal("content-signal", "search=yes,ai-train=no"), RETRIEVE, []),
        (signal("content-signal", "ai-input=no"), RETRIEVE, [AGAINST]),
        (signal("tdmrep", "tdm-reservation: 1\ntdm-policy: https://x.example/p"), "", [AGAINST]),
        (signal("tdmrep", "1"), "", [AGAINST]),
        (signal("tdmrep", '{"tdm-reservation": 1}'), "", [AGAINST]),
        (signal("tdmrep", '{"tdm-reservation": "0"}'), "", []),
        (signal("tdmrep", "tdm-reservation: 0"), "", []),
        (signal("tdmrep", "perhaps"), "", [ASK]),
        (
            signal("tdmrep", '[{"tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}]'),
            "",
            [AGAINST],
        ),
        (signal("tdmrep", '[{"tdm-reservation": 0}, {"tdm-reservation": 2}]'), "", [ASK]),
        (signal("cawg", '{"cawg.ai_training": "notAllowed", "cawg.ai_training": "allowed"}'), "", [ASK]),
        (signal("cawg", '{"entries": {"c2pa.ai_training": {"use": "notAllowed"}}}'), "", [AGAINST]),
        ({"permits": ["data-mining"]}, "", [NO]),
        ({"permits": ["ai-train-generative"]}, DISCRIMINATIVE, [NO]),
        ({"prohibits": ["data-mining"]}, "", [NO]),
        (signal("cawg", '{"entries": {"cawg.ai_training": {"use": "notAllowed"}}}'), "", [AGAINST]),
        (signal("cawg", "cawg.ai_generative_training=constrained"), "", [AGAINST]),
        (signal("cawg", '{"cawg.ai_generative_training": {"use": "notAllowed"}}'), DISCRIMINATIVE, []),
        (signal("cawg", '{"cawg.ai_training": "allowed"}'), "", []),
        (signal("cawg", "{"), "", [ASK]),
        (signal("smoke", "puff"), "", [ASK]),
        (rsl('<permits type="usage">ai-train</permits><payment type="free"/>'), "", []),
        (rsl('<permits type="usage">search</permits>'), "", [AGAINST]),
        (rsl('<prohibits type="usage">ai-all</prohibits>'), "", [AGAINST]),
        (rsl('<permits type="user">education</permits>'), "", [AGAINST]),
        (rsl('<permits type="geo">US</permits>'), DE, [AGAINST]),
        (rsl('<permits type="geo">US</permits>'), "", [ASK]),
        (rsl('<prohibits type="geo">DE</prohibits>'), "", [ASK]),
        (rsl('<payment type="purchase"><amount currency="EUR">5</amount></payment>'), "", [AGAINST]),
        (rsl("", 'server="https://rsl.example"'), "", [ASK]),
        (rsl("<prohibits>all</prohibits></license><license><permits>all</permits>"), "", []),
        (signal("rsl", "<html/>"), "", [ASK]),
        (signal("rsl", "<rsl"), "", [ASK]),
        (signal("tdmrep", "tdm-reservation: 10"), "", [ASK]),
    ],
)
def test_what_is_found(license_: dict[str, Any], use: str, codes: list[str]) -> None:
    found = judge(license_, use)
    assert sorted(one.code for one in found) == sorted(codes), found
    for one in found:
        assert one.severity == "block"
        assert one.subject == "d@1"
        assert one.do


def test_a_payment_answers_a_signal_that_asks_for_one() -> None:
    asked = rsl('<payment type="purchase"/>', 'server="https://rsl.example"')
    assert [one.code for one in judge(asked, payment={"model": "free"})] == [AGAINST]
    assert judge(asked, payment={"model": "one-time", "transaction_id": "t"}) == []


def test_words_for_a_lawyer_and_for_an_engineer() -> None:
    [found] = judge(BY_NC)
    assert found.what == "CC-BY-NC-4.0 does not permit commercial use (section 2(a)(1))"
    assert found.expected == "a license to train a generative model, commercial, distribute none"
    assert found.found == "CC-BY-NC-4.0"


def test_hostile_words_are_shown_harmlessly() -> None:
    for found in judge(
        {"type": "x" * 200, "permits": ["\u00e9" * 200], "prohibits": ["<b>"], "geo": ["x'\"y"]}
    ):
        assert all(
            text is None or (text.isprintable() and len(text) <= 1_000) for text in (found.what, found.found)
        )


# --- licenses of single assets ------------------------------------------------------------------------


def assets(**counts: int) -> list[dict[str, Any]]:
    return [
        {"path": f"{name}/{number:05}", "sha256": HEX} | ({"license": text} if text else {})
        for name, (text, count) in {
            key: (
                {"nc": "CC-BY-NC-4.0", "cc0": "CC0-1.0", "nd": "CC-BY-ND-4.0", "odd": "Odd-1.0"}.get(key, ""),
                value,
            )
            for key, value in counts.items()
        }.items()
        for number in range(count)
    ]


def test_each_license_of_assets_is_judged_once() -> None:
    found = judge({}, assets=assets(plain=2, nc=5, cc0=1, odd=1))
    told = {(one.code, one.subject): one.what for one in found}
    assert told[NO, "assets under CC-BY-NC-4.0"] == (
        "5 assets (nc/00000, nc/00001, nc/00002, …): CC-BY-NC-4.0 does not permit commercial use (section 2(a)(1))"
    )
    assert (
        told["license.unknown", "assets under Odd-1.0"]
        == "1 asset (odd/00000): Odd-1.0 is no SPDX license id"
    )
    assert "permits commercial use, and their own CC-BY-NC-4.0 does not" in told[AGAINST, "d@1"]
    assert len(found) == 3


def test_a_release_that_promises_more_than_its_assets_contradicts_itself_whatever_the_use() -> None:
    assert [one.code for one in judge({}, NC, assets=assets(plain=1, nc=1))] == [AGAINST]
    assert judge(BY_NC, NC, assets=assets(nc=3)) == []
    assert judge(BY_NC, NC, assets=assets(cc0=3)) == []


@pytest.mark.parametrize("order", [1, -1])
def test_many_assets_are_told_by_their_first_paths_in_any_order(order: int) -> None:
    """Above the number of assets that are kept decoded, in parts."""
    found = judge({}, assets=assets(plain=33_000, nc=9_000)[::order])
    assert found[0].what.startswith("9,000 assets (nc/00000, nc/00001, nc/00002, …)")


def test_very_many_licenses_end_in_one_finding() -> None:
    many = [{"path": f"{n:05}", "sha256": HEX, "license": f"LicenseRef-{n}"} for n in range(1_500)]
    found = judge({}, assets=many)
    assert len(found) == 52
    assert any("500 assets (01000, 01001, 01002, …): more licenses" in one.what for one in found)
    assert any(one.what.startswith("950 more licenses") and one.code == "license.unknown" for one in found)


# --- what is asked in return ----------------------------------------------------------------------------


def names(license_: dict[str, Any], **members: Any) -> list[tuple[str, str]]:
    return [(one.name, one.license) for one in obligations(manifest(license_, **members), config())]


def test_obligations_are_those_of_what_was_picked() -> None:
    assert names({"spdx": "CC0-1.0"}) == []
    assert ("attribution", "CC-BY-4.0") in names({"spdx": "CC-BY-4.0"})
    assert names({"spdx": "CC-BY-SA-4.0 OR PDDL-1.0"}) == []
    assert ("share_alike", "ODbL-1.0") in names({"spdx": "PDDL-1.0 AND ODbL-1.0"})
    assert names({"spdx": "Unheard-Of-1.0"}) == [("attribution", "Unheard-Of-1.0")]
    assert names({"spdx": "no expression"}) == [("attribution", "no expression")]
    assert ("attribution", "CC-BY-NC-4.0") in names({"spdx": "CC0-1.0"}, assets=assets(plain=1, nc=1))
    assert names({"spdx": "CC0-1.0", "attribution": {"required": True}}) == [("attribution", "the manifest")]


# --- hostile signals ------------------------------------------------------------------------------------

BOMB = """<?xml version="1.0"?><!DOCTYPE rsl [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<rsl xmlns="https://rslstandard.org/rsl"><content><license><permits>&b;</permits></license></content></rsl>"""


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE rsl SYSTEM "file:///etc/passwd"><rsl/>',
        "<rsl>" + "<x>" * 100,
        '<rsl xmlns="https://elsewhere.example"/>',
        "",
        "\ud800",
        "<rsl>&undefined;</rsl>",
    ],
)
def test_a_hostile_document_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read_rsl(text)


@given(st.sampled_from([kind for kind in KINDS if kind != "rsl"]), st.text(max_size=80))
def test_any_signal_is_read_or_unreadable(kind: str, value: str) -> None:
    with contextlib.suppress(Unreadable):
        assert all(type(answer) is bool for answer in said(Signal(kind, value)).values())
    with contextlib.suppress(Unreadable):
        read_rsl(value)
