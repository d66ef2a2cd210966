"""The license decision: a table of cases that people can read, and what must hold of all expressions."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from databom.checks.deciding import Decision, Outcome, Rules, decide
from databom.errors import InputError
from databom.model.config import OBLIGATIONS, RIGHTS, Use, default_config_text, parse_config
from databom.model.expression import parse_expression
from databom.model.rights import table
from databom.model.spdx_ids import EXCEPTIONS, IDS

HERE = Path(__file__).parent
DEFAULT = Use("train", True, "none")
OWN = """
[license."LicenseRef-acme"]
name = "Acme data licence"
clause = "contract 12"
reproduction = "permit"
commercial_use = "permit"
ai_training = "permit"
genai_training = "permit"
sublicense_model = "deny"
obligations = ["attribution"]

[license."LicenseRef-germany"]
reproduction = "permit"
commercial_use = "permit"
ai_training = "permit"
genai_training = "permit"
territory = ["DE"]
"""
GEMMA = """
[license."LicenseRef-scancode-gemma-tou-2024-04-01"]
reproduction = "permit"
commercial_use = "permit"
ai_training = "permit"
genai_training = "permit"
"""


def rows(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def rules_of(words: str) -> Rules:
    """The rules that a case names, read as a team would have written them."""
    text, use, lists = OWN, DEFAULT, {"allow": [], "deny": []}
    for word in words.split():
        key, _, value = word.partition(":")
        if key in lists:
            lists[key].append(value)
        elif key == "own":
            text += GEMMA
        elif key == "in":
            use = replace(use, territory=tuple(value.split(",")))
        elif word in ("train", "fine-tune", "evaluate", "retrieve"):
            use = replace(use, purpose=word)
        elif word in ("api", "weights"):
            use = replace(use, distribute=word)
        elif word == "discriminative":
            use = replace(use, model=word)
        else:
            assert word == "non-commercial"
            use = replace(use, commercial=False)
    policy = f"[use]\n[policy]\nallow = {lists['allow']}\ndeny = {lists['deny']}\n"
    return Rules.of(parse_config((policy + text).encode()), use)


CASES = rows("license_cases.txt")


def test_there_are_enough_cases() -> None:
    assert len(CASES) + len(rows("license_table.txt")) >= 120
    assert len(CASES) >= 120


@pytest.mark.parametrize("case", CASES)
def test_case(case: str) -> None:
    text, *others = case.split("|")
    use, outcome, code, says = map(str.strip, others)
    decision = decide(text, rules_of(use))
    told = f"{decision.outcome}: {[str(one) for one in decision.reasons]}"
    assert str(decision.outcome) == outcome, told
    worst = {one.code for one in decision.reasons if one.outcome is decision.outcome}
    assert (code in worst) if code != "-" else not worst, told
    if says.startswith("asks: "):
        assert says[6:] in {one.name for one in decision.obligations}
    elif says.startswith("by: "):
        assert str(decision.branch) == says[4:]
    else:
        assert any(says in str(one) for one in decision.reasons) or not says, told


@pytest.mark.parametrize("line", rows("license_table.txt"))
def test_every_license_of_the_table(line: str) -> None:
    name, *expected = line.split()
    uses = ("", "non-commercial", "weights", "retrieve api", "evaluate")
    for spelled in (name, name.lower(), name.upper()):
        assert [str(decide(spelled, rules_of(use)).outcome) for use in uses] == expected


def test_the_table_of_cases_has_every_license_and_no_other() -> None:
    assert [line.split()[0] for line in rows("license_table.txt")] == [row.id for row in table()]


@pytest.mark.parametrize("row", table(), ids=lambda row: row.id)
def test_a_row_keeps_the_form(row: object) -> None:
    assert list(row.rights) == list(RIGHTS)
    assert set(row.obligations) <= set(OBLIGATIONS)
    assert row.id in IDS or row.id.startswith("LicenseRef-")
    assert row.id not in EXCEPTIONS
    assert row.url.startswith(("https://", "http://"))
    assert row.name
    assert date.fromisoformat(row.reviewed) <= date(2100, 1, 1)
    for value, clause in row.rights.values():
        assert clause, "a right needs the section that says so"
        # What is left to a person is explained to that person.
        assert value == "permit" or row.note or value == "deny"
    assert all(row.obligations.values())
    assert row.revocable[1] or row.revocable[0] == "unknown"


def test_no_two_rows_have_one_name() -> None:
    names = [name.casefold() for row in table() for name in (row.id, *row.aliases)]
    assert len(names) == len(set(names))


# --- what holds of all expressions --------------------------------------------------------------------

SIMPLE = st.sampled_from(
    [
        *(
            "CC0-1.0",
            "CC-BY-4.0",
            "CC-BY-SA-4.0",
            "CC-BY-NC-4.0",
            "CC-BY-ND-4.0",
            "CC-BY-NC-ND-3.0",
            "ODbL-1.0",
            "MIT",
        ),
        *("GPL-3.0-only WITH Classpath-exception-2.0", "CC-BY-4.0+", "LicenseRef-acme", "LicenseRef-germany"),
        *(
            "LicenseRef-nobody",
            "Unheard-Of-1.0",
            "Beerware",
            "LicenseRef-llama-3",
            "CC-BY-4.0 WITH Unheard-Of",
        ),
    ]
)
EXPRESSIONS = st.recursive(
    SIMPLE,
    lambda inner: st.builds(
        lambda operator, parts: f" {operator} ".join(f"({part})" for part in parts),
        st.sampled_from(("AND", "OR")),
        st.lists(inner, min_size=2, max_size=3),
    ),
    max_leaves=8,
)
USES = st.builds(
    Use,
    purpose=st.sampled_from(("train", "fine-tune", "evaluate", "retrieve")),
    commercial=st.booleans(),
    distribute=st.sampled_from(("none", "api", "weights")),
    territory=st.sampled_from(((), ("DE",), ("DE", "US"))),
    model=st.sampled_from(("generative", "discriminative")),
)
BASE = Rules.of(parse_config((default_config_text("x") + OWN).encode()))


def outcome(text: str, use: Use) -> Outcome:
    return decide(text, replace(BASE, use=use)).outcome


@given(EXPRESSIONS, EXPRESSIONS, USES)
def test_a_choice_is_the_best_and_what_holds_together_the_worst(one: str, other: str, use: Use) -> None:
    each = (outcome(one, use), outcome(other, use))
    assert outcome(f"({one}) AND ({other})", use) == max(each)
    assert outcome(f"({one}) OR ({other})", use) == min(each)


@given(EXPRESSIONS, USES)
def test_a_narrower_use_is_never_refused_more(text: str, use: Use) -> None:
    wide = outcome(text, use)
    for narrower in (
        replace(use, commercial=False),
        replace(use, model="discriminative"),
        replace(use, distribute="none"),
        replace(use, distribute="api" if use.distribute == "weights" else use.distribute),
    ):
        assert outcome(text, narrower) <= wide
    if len(use.territory) == 2:
        assert outcome(text, replace(use, territory=("DE",))) <= wide


@given(st.text(alphabet="abcXYZ0189.-", min_size=1, max_size=30), USES)
def test_what_nobody_knows_is_never_allowed(name: str, use: Use) -> None:
    known = {one.casefold() for row in table() for one in (row.id, *row.aliases)}
    if name.casefold() not in known:
        assert outcome(name, use) is not Outcome.ALLOW
    assert outcome(f"LicenseRef-x{name}", use) is Outcome.REVIEW


@given(st.text(max_size=60) | st.text(alphabet="() ANDORWITHMIT+-.", max_size=60))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    decision = decide(text, BASE)
    assert isinstance(decision, Decision)
    assert all(str(reason).isprintable() for reason in decision.reasons)
    try:
        parsed = parse_expression(text)
    except InputError:
        assert decision.outcome is Outcome.REVIEW
    else:
        assert parse_expression(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text", ["(" * 33 + "MIT" + ")" * 33, "(" * 500, "MIT OR " * 142 + "MIT", "x" * 1001, "MIT\x00"]
)
def test_limits(text: str) -> None:
    assert decide(text, BASE).outcome is not (Outcome.ALLOW if text.count("MIT") < 100 else Outcome.DENY)


def test_policy_deny_wins_over_everything() -> None:
    rules = replace(BASE, allow=frozenset({"mit"}), deny=frozenset({"mit"}))
    assert decide("MIT", rules).outcome is Outcome.DENY


@pytest.mark.parametrize("denied", ["GPL-2.0-only", "GPL-2.0", "gpl-2.0-only"])
@pytest.mark.parametrize("text", ["GPL-2.0-only", "GPL-2.0-or-later", "GPL-2.0+", "GPL-2.0-or-later WITH x"])
def test_policy_deny_also_means_later_versions(denied: str, text: str) -> None:
    config = parse_config(f'[use]\n[policy]\ndeny = ["{denied}"]'.encode())
    assert decide(text, Rules.of(config)).outcome is Outcome.DENY
    other = parse_config(b'[use]\n[policy]\ndeny = ["GPL-2.0-or-later"]')
    assert decide("GPL-2.0-only", Rules.of(other)).outcome is not Outcome.DENY
