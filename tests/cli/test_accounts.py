"""`databom ledger` and `databom meter`: every payment with its evidence, every use with its receipt, and exact sums."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from databom.bom.receipt import Training, build_statement, completed
from databom.model import times
from databom.tasks import Project
from databom.tasks.remembering import remember_entries
from databom.tasks.surroundings import pin_descriptor
from databom.testing.simulator import Release
from databom.trust import dsse
from databom.trust.statement import PAYLOAD_TYPE
from support.affecting import alone, move, pin, team, train
from support.house import Answer, House
from support.payments import NOW, PAID, Team

__all__ = ["alone", "team"]


@pytest.fixture
def buyer(team: Team) -> Team:
    """A team that believes somebody about payments."""
    (team.house.project / "provenance/trust.json").write_bytes(team.sim.trust_role("payment", "payment"))
    return team


def paid(team: Team, release: Release, name: str = "pets", **members: Any) -> Answer:
    """`databom attach` of a receipt for a release."""
    raw = team.sim.receipt(release, **{"transaction_id": PAID["transaction_id"], **members})
    return team.attach(raw, name)


def ledger(team: Team, *extra: str | Path) -> Answer:
    return team.house.json("ledger", *extra)


def meter(team: Team, *extra: str) -> Answer:
    return team.house.json("meter", *extra)


def states(answer: Answer) -> list[tuple[str, str, str]]:
    return [(one["release"], one["state"], one["strength"]) for one in answer.report["payments"]]


def totals(answer: Answer) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (one["party"], one["currency"]): (one["shown"], one["declared"]) for one in answer.report["totals"]
    }


# --- the ledger ---------------------------------------------------------------------------------------------


def test_a_receipt_is_a_payment_with_its_evidence_and_its_entry(buyer: Team) -> None:
    release = pin(buyer, "pets", payment=PAID)
    shares = [{"creator_id": "creator:a", "share": "0.7"}, {"creator_id": "creator:b", "share": "0.3"}]
    assert paid(buyer, release, allocation=shares).code == 0
    answer = ledger(buyer)
    assert answer.code == 0
    [one] = answer.report["payments"]
    [kept] = buyer.kept()
    assert one["evidence"].startswith(kept)
    logged = json.loads(buyer.house.ok("log", "show", str(one["index"]), "--format", "json").out)
    assert (logged["kind"], logged["entry"]["evidence"] in one["evidence"]) == ("paid", True)
    assert one | {"evidence": "", "index": 0} == {
        "release": "sim-pets@1",
        "manifest": release.digest,
        "pins": ["pets"],
        "pinned": True,
        "state": "paid",
        "strength": "verified",
        "evidence": "",
        "index": 0,
        "model": "one-time",
        "transaction": PAID["transaction_id"],
        "value": "120.00",
        "currency": "USD",
        "payer": "org:team",
        "payee": "creator:simulated",
        "paid_at": times.format(NOW),
        "why": [],
        "parts": [
            {"creator": "creator:a", "share": "0.7", "value": "84.000"},
            {"creator": "creator:b", "share": "0.3", "value": "36.000"},
        ],
    }
    assert totals(answer) == {
        ("all", "USD"): ("120.00", "0"),
        ("payee:creator:simulated", "USD"): ("120.00", "0"),
        ("creator:a", "USD"): ("84.000", "0"),
        ("creator:b", "USD"): ("36.000", "0"),
    }
    assert answer.err == "ledger: 1 paid; 120.00 USD shown\n"


def test_what_is_only_said_is_never_added_to_what_is_shown(buyer: Team) -> None:
    money = {"amount": {"value": "0.10", "currency": "USD"}}
    first = pin(buyer, "pets", payment={**PAID, "amount": {"value": "0.20", "currency": "USD"}})
    paid(buyer, first, amount={"value": "0.20", "currency": "USD"})
    stated = {**PAID, **money, "transaction_id": "txn_2"}
    pin(buyer, "cars", {"c": b"c"}, dataset_id="sim-cars", payment=stated)
    pin(buyer, "free", {"f": b"f"}, dataset_id="sim-free", payment={"model": "free"})
    pin(buyer, "none", {"n": b"n"}, dataset_id="sim-none")
    answer = ledger(buyer)
    assert states(answer) == [
        ("sim-cars@2", "declared", "declared"),
        ("sim-free@3", "free", "verified"),
        ("sim-none@4", "none", "verified"),
        ("sim-pets@1", "paid", "verified"),
    ]
    assert totals(answer)["all", "USD"] == ("0.20", "0.10")


def test_an_earlier_release_stays_in_the_ledger(buyer: Team) -> None:
    first = pin(buyer, "pets", payment=PAID)
    paid(buyer, first)
    move(buyer, "pets", {"c.txt": b"c"}, payment={**PAID, "transaction_id": "txn_2"})
    answer = ledger(buyer)
    assert states(answer) == [("sim-pets@1", "paid", "verified"), ("sim-pets@2", "declared", "declared")]
    assert [one["pinned"] for one in answer.report["payments"]] == [False, True]


def test_one_subscription_for_two_releases_counts_once(buyer: Team) -> None:
    until = times.format(NOW + timedelta(days=9))
    period = {"start": times.format(NOW - timedelta(days=1)), "end": until}
    agreed = {"model": "subscription", "transaction_id": "txn_s", "payee": "creator:simulated"}
    first = pin(buyer, "pets", payment=agreed)
    assert paid(buyer, first, model="subscription", transaction_id="txn_s", period=period).code == 0
    second = move(buyer, "pets", {"c.txt": b"c"}, payment=agreed)
    assert paid(buyer, second, model="subscription", transaction_id="txn_s", period=period).code == 0
    answer = ledger(buyer)
    assert [state for _, state, _ in states(answer)] == ["paid", "paid"]
    assert totals(answer)["all", "USD"] == ("120.00", "0")


SUBSCRIBED = {
    "model": "subscription",
    "transaction_id": "txn_s",
    "payee": "creator:simulated",
    "amount": {"value": "120.00", "currency": "USD"},
}
PERIOD = {"start": times.format(NOW - timedelta(days=1)), "end": times.format(NOW + timedelta(days=9))}


def subscribed(team: Team, release: Release, **members: Any) -> None:
    answer = paid(team, release, model="subscription", transaction_id="txn_s", period=PERIOD, **members)
    assert answer.code == 0, answer.out


def test_a_receipt_counts_though_an_earlier_release_only_declares_its_transaction(buyer: Team) -> None:
    pin(buyer, "pets", payment=SUBSCRIBED)
    subscribed(buyer, move(buyer, "pets", {"c.txt": b"c"}, payment=SUBSCRIBED))
    answer = ledger(buyer)
    assert [state for _, state, _ in states(answer)] == ["declared", "paid"]
    assert totals(answer) == {(party, "USD"): ("120.00", "0") for party in ("all", "payee:creator:simulated")}


def test_an_amount_that_is_written_in_another_way_is_no_other_payment(buyer: Team) -> None:
    subscribed(buyer, pin(buyer, "pets", payment=SUBSCRIBED))
    second = move(buyer, "pets", {"c.txt": b"c"}, payment=SUBSCRIBED)
    subscribed(buyer, second, amount={"value": "120", "currency": "USD"})
    assert totals(ledger(buyer))["all", "USD"] == ("120.00", "0")


def test_what_a_receipt_shows_is_not_declared_as_well(buyer: Team) -> None:
    release = pin(buyer, "pets", payment=PAID)
    said = {"transaction_id": PAID["transaction_id"], "amount": {"value": "120.00", "currency": "USD"}}
    assert buyer.attach(json.dumps(said).encode()).code == 0
    assert totals(ledger(buyer))["all", "USD"] == ("0", "120.00")
    paid(buyer, release)
    answer = ledger(buyer)
    assert sorted(state for _, state, _ in states(answer)) == ["declared", "paid"]
    assert totals(answer)["all", "USD"] == ("120.00", "0")


def test_a_period_that_is_over_and_a_receipt_that_disagrees(buyer: Team) -> None:
    over = {"start": times.format(NOW - timedelta(days=9)), "end": times.format(NOW - timedelta(days=1))}
    release = pin(buyer, "pets", payment={**PAID, "model": "subscription"})
    raw = buyer.sim.receipt(release, transaction_id=PAID["transaction_id"], model="subscription", period=over)
    buyer.keep(raw, "payment-1111111111111111.dsse.json")
    raw = buyer.sim.receipt(release, transaction_id="txn_other", model="one-time")
    buyer.keep(raw, "payment-2222222222222222.dsse.json")
    buyer.keep(b"{}", "payment-3333333333333333.unsigned.json")
    answer = ledger(buyer)
    assert [state for _, state, _ in states(answer)] == ["over", "disputed", "disputed"]
    why = [one["why"] for one in answer.report["payments"]]
    assert why[0][0].startswith("payment.mismatch: the paid period is over")
    assert any("another transaction" in text for text in why[1])
    assert why[2][0].startswith("payment.invalid")
    assert totals(answer)["all", "USD"] == ("120.00", "0")  # it was paid, and is over


def test_a_receipt_that_was_removed_is_lost_and_not_forgotten(buyer: Team) -> None:
    release = pin(buyer, "pets", payment=PAID)
    paid(buyer, release)
    for path in (buyer.house.project / "provenance/evidence/pets").glob("payment-*"):
        path.unlink()
    answer = ledger(buyer)
    assert [state for _, state, _ in states(answer)] == ["declared", "lost"]
    lost = answer.report["payments"][1]
    assert (lost["value"], lost["currency"], lost["transaction"]) == (
        "120.00",
        "USD",
        PAID["transaction_id"],
    )
    assert totals(answer) == {}


def test_a_manifest_that_is_gone_leaves_it_unanswered(buyer: Team) -> None:
    first = pin(buyer, "pets", payment=PAID)
    paid(buyer, first)
    move(buyer, "pets", {"c.txt": b"c"})
    shutil.rmtree(buyer.house.project / ".databom/seen")
    answer = ledger(buyer)
    assert answer.code == 3
    assert [one["about"] for one in answer.report["untold"]] == ["sim-pets@1"]
    assert meter(buyer).code == 3


def test_text_and_table(buyer: Team, tmp_path: Path) -> None:
    release = pin(buyer, "pets", payment={**PAID, "payee": "=cmd|'/c calc'!A1"})
    paid(buyer, release, payee="=cmd|'/c calc'!A1")
    table = tmp_path / "ledger.csv"
    out = buyer.house.ok("ledger", "--csv", table).out
    assert "sim-pets@1" in out
    assert "120.00 USD" in out
    [row] = list(csv.DictReader(table.read_text().splitlines()))
    assert (row["state"], row["value"], row["payee"]) == ("paid", "120.00", "'=cmd|'/c calc'!A1")


def test_a_project_without_pins_has_an_empty_ledger(buyer: Team) -> None:
    answer = ledger(buyer)
    assert (answer.code, answer.report["payments"], answer.report["totals"]) == (0, [], [])


# --- the meter ----------------------------------------------------------------------------------------------


PER_USE = {
    "model": "per-use",
    "transaction_id": "agreement-7",
    "amount": {"value": "0.05", "currency": "EUR"},
    "allocation": [{"creator_id": "creator:a", "share": "0.9"}, {"creator_id": "creator:b", "share": "0.1"}],
}


def test_runs_that_used_it_are_due_and_others_are_not(buyer: Team) -> None:
    pin(buyer, "pets", payment=PER_USE)
    pin(
        buyer, "cars", {"c": b"c"}, dataset_id="sim-cars", payment={"model": "royalty", "transaction_id": "r"}
    )
    used = sorted([train("pets"), train("pets"), train("pets", "cars")])
    train()
    answer = meter(buyer)
    assert answer.code == 0
    cars, pets = answer.report["uses"]
    assert (pets["used"], pets["completed"], pets["possible"], pets["unsigned"]) == (3, 3, 1, 0)
    assert (pets["price"], pets["currency"], pets["due"], pets["runs"]) == ("0.05", "EUR", "0.15", used)
    assert pets["parts"] == [
        {"creator": "creator:a", "share": "0.9", "value": "0.135"},
        {"creator": "creator:b", "share": "0.1", "value": "0.015"},
    ]
    assert (cars["used"], cars["due"], cars["model"]) == (1, None, "royalty")
    assert answer.err == "meter: 3 runs used 2 of 2 releases; 0.15 EUR due\n"
    assert "0.05 EUR a use: 0.15 due" in buyer.house.ok("meter").out


def test_a_run_without_a_receipt_is_counted_apart(buyer: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(buyer, "pets", payment=PER_USE)
    train("pets")
    monkeypatch.delenv("DATABOM_RECEIPT_KEY_PEM")
    shutil.move(buyer.house.project / ".databom/keys", buyer.house.base / "keys")
    train("pets")
    [use] = meter(buyer).report["uses"]
    assert (use["used"], use["unsigned"], use["due"]) == (2, 1, "0.05")


def endings(team: Team, release: Release, *ends: tuple[str, str]) -> None:
    """Receipts of one run in the log, which was resumed: when it ended, and how it used the release."""
    entries = []
    for ended, use in ends:
        training = Training(
            invocation="databom:resumed",
            status="completed",
            verdict="pass",
            started=ended,
            finished=ended,
            version="1",
            record=b"{}",
            pins=(pin_descriptor("pets", "sim-pets@1", release.digest, release.digest, {"use": use}),),
        )
        statement, _ = build_statement(training)
        payload = completed(statement, development=False, supersedes=None)
        signed = dsse.sign(PAYLOAD_TYPE, payload, [team.sim.key("receipt")])
        entries.append(dsse.format_envelope(signed))
    remember_entries(Project.load(), entries)


def test_a_run_that_was_resumed_is_due_once(buyer: Team) -> None:
    """In the time of the first ending that used it: no later ending changes an account that was settled."""
    release = pin(buyer, "pets", payment=PER_USE)
    months = ("2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30")
    uses = ("present", "read", "declared", "present")
    endings(buyer, release, *((f"{day}T12:00:00Z", use) for day, use in zip(months, uses, strict=True)))
    due = [meter(buyer, "--since", day, "--until", day).report["uses"][0]["due"] for day in months]
    assert due == ["0.00", "0.05", "0.00", "0.00"]
    assert meter(buyer).report["uses"][0]["due"] == "0.05"


def test_what_no_signed_receipt_says_was_used_is_not_due(
    buyer: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signed ending where it was only present; a later one says that it was used, and waits for its signature."""
    release = pin(buyer, "pets", payment=PER_USE)
    endings(buyer, release, ("2026-01-31T12:00:00Z", "present"))
    monkeypatch.delenv("DATABOM_RECEIPT_KEY_PEM")
    shutil.move(buyer.house.project / ".databom/keys", buyer.house.base / "keys")
    run = train("pets")
    for path in (buyer.house.project / ".databom/receipts").rglob("*.json"):
        path.write_text(path.read_text().replace(run, "databom:resumed"))
    [use] = meter(buyer).report["uses"]
    assert (use["used"], use["unsigned"], use["due"]) == (1, 1, "0.00")


def test_receipts_of_a_development_key_are_no_more_than_declared(house: House, alone: None) -> None:
    house.synced()
    train("pets")
    [use] = house.json("meter").report["uses"]
    assert (use["used"], use["strength"]) == (1, "declared")
    assert "  declared  hn-pets@1" in house.ok("meter").out


def test_a_run_that_failed_used_it_all_the_same(buyer: Team) -> None:
    import databom

    pin(buyer, "pets", payment=PER_USE)
    databom.use("pets")
    with pytest.raises(ZeroDivisionError), databom.training("train"):
        raise ZeroDivisionError
    [use] = meter(buyer).report["uses"]
    assert (use["used"], use["completed"], use["due"]) == (1, 0, "0.05")


def test_a_time_is_a_day_or_an_instant(buyer: Team) -> None:
    pin(buyer, "pets", payment=PER_USE)
    train("pets")
    today, tomorrow = (times.format(NOW + timedelta(days=days))[:10] for days in (0, 1))
    for extra, count in (
        (("--since", today), 1),
        (("--until", tomorrow), 1),
        (("--since", today, "--until", tomorrow), 1),
        (("--since", times.format(NOW + timedelta(days=2))), 0),
        (("--until", times.format(NOW - timedelta(days=1))), 0),
    ):
        assert meter(buyer, *extra).report["uses"][0]["used"] == count, extra
    for bad in ("yesterday", "2026-13-01", "2026-02-30", "9999-12-31"):
        assert buyer.house.cli("meter", "--until", bad).code == 2, bad
    assert buyer.house.cli("meter", "--since", tomorrow, "--until", "2020-01-01").code == 2


def test_money_is_exact(buyer: Team) -> None:
    shares = [
        {"creator_id": f"creator:{n}", "share": share} for n, share in enumerate(("0.333333", "0.666667"))
    ]
    price = {"value": "0.000001", "currency": "EUR"}
    pin(buyer, "pets", payment={**PER_USE, "amount": price, "allocation": shares})
    train("pets")
    train("pets")
    [use] = meter(buyer).report["uses"]
    assert use["due"] == "0.000002"
    assert [one["value"] for one in use["parts"]] == [
        "0.000000666666",
        "0.000001333334",
    ]
