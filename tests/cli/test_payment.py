"""M08: a payment that is missing, used twice, for another dataset, by another payer, over, badly shared or forged."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from databom import tasks
from databom.model import times
from databom.model.receipts import PREDICATE_TYPE
from databom.trust.proof import sign_proof
from support.payments import NOW, PAID, Team

DAY = timedelta(days=1)


def period(start: timedelta, end: timedelta) -> dict[str, str]:
    return {"start": times.format(NOW + start), "end": times.format(NOW + end)}


def shares(**parts: str) -> list[dict[str, str]]:
    return [{"creator_id": creator, "share": share} for creator, share in parts.items()]


# --- declared: what a manifest says of itself ------------------------------------------------------------


def test_declared_asks_nothing_of_a_manifest_without_payment(team: Team) -> None:
    team.pin()
    assert team.payment() == {}
    assert team.check().code == 0


def test_a_stated_payment_with_its_transaction_passes_and_is_labelled_unsigned(team: Team) -> None:
    team.pin(payment=PAID)
    assert team.payment() == {"payment.unsigned": "info"}


def test_a_stated_payment_without_transaction_blocks_and_is_told_once(team: Team) -> None:
    team.pin(payment={"model": "one-time"}, code=1)
    assert team.payment() == {"payment.missing": "block"}
    assert "manifest.incomplete" not in team.check().codes
    team.policy(payment="off")
    assert team.payment() == {}
    assert "manifest.incomplete" in team.check().codes


def test_free_is_free(team: Team) -> None:
    team.pin(payment={"model": "free"})
    assert team.payment() == {}
    team.policy(payment="signed")
    assert team.payment() == {}


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ({"amount": {"value": "1", "currency": "USD"}}, None),
        ({"amount": {"value": "1", "currency": "XBT"}}, "payment.invalid"),
        ({"allocation": shares(a="0.7", b="0.30")}, None),
        ({"allocation": shares(a="0.7", b="0.2")}, "payment.mismatch"),
        ({"allocation": shares(a="70", b="30")}, "payment.mismatch"),
        ({"allocation": [*shares(a="0.5"), *shares(a="0.5")]}, "payment.mismatch"),
        # Never a float: ten tenths are less than one then, and the last digit of the others is lost.
        ({"allocation": shares(**{f"c{n}": "0.1" for n in range(10)})}, None),
        ({"allocation": shares(a="0.999999999999999999")}, "payment.mismatch"),
        ({"allocation": shares(a="999999999999999999.000000000000000001")}, "payment.mismatch"),
        ({"model": "subscription", "period": period(-DAY, DAY)}, None),
        ({"model": "subscription", "period": period(-2 * DAY, -DAY)}, "payment.mismatch"),
        ({"model": "subscription", "period": period(DAY, 2 * DAY)}, "payment.mismatch"),
        ({"model": "subscription", "period": {"start": "2020-01-01", "end": "2020-12-31"}}, "payment.mismatch"),
        ({"model": "subscription", "period": {"from": "2026-01", "months": 12}}, None),
        ({"model": "royalty", "payer": "org:team"}, None),
    ],
)  # fmt: skip
def test_what_the_manifest_states_must_not_contradict_itself(
    team: Team, stated: Any, code: str | None
) -> None:
    team.pin(payment={**PAID, **stated}, code=0 if code is None else 1)
    found = team.payment()
    assert set(found) - {"payment.unsigned"} == ({code} if code else set())


def test_another_payer_than_the_policy_names(team: Team) -> None:
    team.policy(payer="org:team")
    team.pin(payment={**PAID, "payer": "org:other"}, code=1)
    assert team.payment() == {"payment.mismatch": "block", "payment.unsigned": "info"}


def test_one_transaction_for_two_releases_counts_against_both(team: Team) -> None:
    team.pin("one", payment=PAID)
    team.pin("two", payment=PAID, code=1)
    mismatches = [f for f in team.check().findings if f["code"] == "payment.mismatch"]
    assert {f["subject"]: f["found"] for f in mismatches} == {
        "sim-pets@1 and sim-pets@2": "sim-pets@2",
        "sim-pets@2 and sim-pets@1": "sim-pets@1",
    }


def test_one_release_under_two_names_is_paid_once(team: Team) -> None:
    release = team.pin("one", payment=PAID)
    manifest = team.sim.write(release.documents(), team.house.market / "again")
    team.house.ok("add", manifest, "--name", "two")
    assert team.payment() == {"payment.unsigned": "info"}


def test_a_subscription_pays_for_the_releases_of_its_dataset_and_no_other(team: Team) -> None:
    stated = {**PAID, "model": "subscription", "period": period(-DAY, DAY)}
    team.pin("one", payment=stated)
    team.pin("two", payment=stated)
    assert "payment.mismatch" not in team.payment()
    team.pin("three", payment=stated, dataset_id="sim-cars", code=1)
    assert team.payment()["payment.mismatch"] == "block"


# --- signed: a receipt -----------------------------------------------------------------------------------


def test_a_signed_receipt_is_kept_verified_and_counts(team: Team) -> None:
    team.policy(payment="signed", payer="org:team")
    release = team.pin(payment=PAID, code=1)
    assert team.payment() == {"payment.missing": "block"}
    receipt = team.sim.receipt(release)
    answer = team.attach(receipt)
    assert answer.code == 0, answer.out
    [name] = team.kept()
    assert name.startswith("payment-")
    assert name.endswith(".dsse.json")
    assert (team.house.project / "provenance/evidence/pets" / name).read_bytes() == receipt
    assert team.payment() == {}
    assert team.attach(receipt).code == 0  # again
    assert team.kept() == [name]


def test_signed_asks_for_a_receipt_where_the_manifest_is_silent(team: Team) -> None:
    team.policy(payment="signed")
    release = team.pin(code=1)
    assert team.payment() == {"payment.missing": "block"}
    assert team.attach(team.sim.receipt(release)).code == 0
    assert team.payment() == {}


def test_the_receipt_is_what_sync_add_and_exec_ask_for(team: Team) -> None:
    team.policy(payment="signed")
    release = team.pin(code=1)
    answer = team.house.json("sync", "pets")
    assert answer.blocking == {"payment.missing"}
    assert not (team.house.project / "data/pets/a.txt").exists()  # refused before a byte is fetched
    assert team.house.cli("exec", "--", "true").code == 1
    assert team.house.json("verify", "pets").blocking == {"integrity.missing"}  # asks of no policy
    team.attach(team.sim.receipt(release))
    assert team.house.json("sync", "pets").code == 0


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "other transaction": ({"transaction_id": "txn_other"}, {}, "payment.mismatch"),
    "other payer than the policy's": ({"payer": "org:other"}, {}, "payment.mismatch"),
    "other payer than the manifest's": ({}, {"payer": "org:us"}, "payment.mismatch"),
    "other payee": ({"payee": "creator:bob"}, {}, "payment.mismatch"),
    "other model": ({"model": "per-use"}, {}, "payment.mismatch"),
    "other amount": ({"amount": {"value": "12.00", "currency": "USD"}}, {"amount": {"value": "120", "currency": "USD"}},
                     "payment.mismatch"),
    "other currency": ({}, {"amount": {"value": "120", "currency": "EUR"}}, "payment.mismatch"),
    "no currency": ({"amount": {"value": "1", "currency": "XXX"}}, {}, "payment.invalid"),
    "a number": ({"amount": {"value": 120, "currency": "USD"}}, {}, "payment.invalid"),
    "a float in text": ({"amount": {"value": "1e2", "currency": "USD"}}, {}, "payment.invalid"),
    "negative": ({"amount": {"value": "-1", "currency": "USD"}}, {}, "payment.invalid"),
    "no amount": ({"amount": None}, {}, "payment.invalid"),
    "no transaction": ({"transaction_id": None}, {}, "payment.invalid"),
    "an unknown member": ({"refunded": True}, {}, "payment.invalid"),
    "an unknown member inside": ({"amount": {"value": "1", "currency": "USD", "tax": "0"}}, {}, "payment.invalid"),
    "from the future": ({"paid_at": times.format(NOW + DAY)}, {}, "payment.mismatch"),
    "over": ({"period": period(-2 * DAY, -DAY)}, {}, "payment.mismatch"),
    "not begun": ({"period": period(DAY, 2 * DAY)}, {}, "payment.mismatch"),
    "ends first": ({"period": period(DAY, -DAY)}, {}, "payment.invalid"),
    "a subscription without a period": ({"model": "subscription"}, {"model": "subscription"}, "payment.invalid"),
    "shares": ({"allocation": [{"creator_id": "a", "share": "0.9"}]}, {}, "payment.mismatch"),
    "other shares": ({"allocation": [{"creator_id": "a", "share": "1"}]},
                     {"allocation": [{"creator_id": "b", "share": "1"}]}, "payment.mismatch"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("level", ["declared", "signed"])
def test_a_receipt_that_does_not_fit_is_not_kept_and_does_not_count(
    team: Team, case: str, level: str
) -> None:
    said, stated, code = BAD[case]
    team.policy(payment=level, payer="org:team" if "policy" in case else "")
    release = team.pin(payment={**PAID, **stated}, code=0 if level == "declared" else 1)
    receipt = team.sim.receipt(release, **said)
    answer = team.attach(receipt)
    assert (answer.code, answer.blocking) == (1, {code}), answer.out
    assert team.kept() == []
    team.keep(receipt, "payment-0000000000000000.dsse.json")  # somebody commits it all the same
    assert team.payment().get(code) == "block"


def test_another_spelling_of_the_amount_is_the_same_amount(team: Team) -> None:
    release = team.pin(payment={**PAID, "amount": {"value": "120", "currency": "USD"}})
    assert team.attach(team.sim.receipt(release)).code == 0
    assert team.payment() == {}


def test_a_receipt_for_another_release_is_refused(team: Team) -> None:
    team.policy(payment="signed")
    one = team.pin("one", code=1)
    two = team.pin("two", code=1)
    assert team.attach(team.sim.receipt(one), "two").blocking == {"payment.mismatch"}
    assert team.kept("two") == []
    team.keep(team.sim.receipt(one), "payment-0000000000000000.dsse.json", "two")
    assert team.house.json("sync", "two").blocking == {
        "payment.missing"
    }  # it is about another, and proves nothing
    reused = team.sim.receipt(two, transaction_id="txn_sim-pets_1")
    assert team.attach(team.sim.receipt(one), "one").code == 0
    answer = team.attach(reused, "two")
    assert answer.blocking == {"payment.mismatch"}
    assert "sim-pets@1" in answer.findings[0]["found"]


def test_a_receipt_used_before_the_pin_moved_on_does_not_pay_again(team: Team) -> None:
    team.policy(payment="signed")
    first = team.pin(code=1)
    assert team.attach(team.sim.receipt(first)).code == 0
    second = team.sim.publish(FILES_2)
    manifest = team.sim.write(second.documents(), team.house.market / "2")
    assert team.house.json("update", "pets", manifest).blocking == {"payment.missing"}
    again = team.sim.receipt(second, transaction_id="txn_sim-pets_1")
    assert team.attach(again).blocking == {"payment.mismatch"}
    assert team.attach(team.sim.receipt(second)).code == 0
    assert team.payment() == {}


FILES_2 = {"a.txt": b"another"}


def test_a_renewed_subscription_counts_and_the_old_receipt_is_passed_over(team: Team) -> None:
    team.policy(payment="signed")
    release = team.pin(code=1)
    old = team.sim.receipt(
        release, model="subscription", period=period(-2 * DAY, -DAY), transaction_id="txn_2025"
    )
    team.keep(old, "payment-1111111111111111.dsse.json")
    assert team.payment() == {"payment.mismatch": "block"}
    new = team.sim.receipt(
        release, model="subscription", period=period(-DAY, 30 * DAY), transaction_id="txn_2026"
    )
    assert team.attach(new).code == 0
    assert team.payment() == {}


# --- who signed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", ["market", "stranger", "root"])
def test_only_the_role_payment_makes_receipts(team: Team, signer: str) -> None:
    release = team.pin()
    answer = team.attach(team.sim.receipt(release, signers=[signer]))
    assert answer.blocking == {"payment.invalid"}
    assert team.kept() == []


def test_a_changed_receipt_is_forged(team: Team) -> None:
    import base64

    team.policy(payment="signed")
    release = team.pin(code=1)
    receipt = team.sim.receipt(release)
    envelope = json.loads(receipt)
    payload = base64.b64decode(envelope["payload"]).replace(b"org:team", b"org:them")
    forged = json.dumps({**envelope, "payload": base64.b64encode(payload).decode()}).encode()
    assert team.attach(forged).blocking == {"payment.invalid"}
    team.attach(receipt)
    [name] = team.kept()
    team.keep(forged, name)
    assert team.payment() == {"payment.invalid": "block", "payment.missing": "block"}


def test_a_key_that_was_taken_out_speaks_no_more(team: Team) -> None:
    team.policy(payment="signed")
    release = team.pin(code=1)
    assert team.attach(team.sim.receipt(release)).code == 0
    root = team.house.project / "provenance/trust.json"
    document = json.loads(root.read_text())
    keyid = team.sim.key("payment").public.keyid
    document["keys"][keyid]["valid_until"] = times.format(NOW - DAY)
    root.write_text(json.dumps(document))
    assert team.payment() == {"payment.invalid": "block", "payment.missing": "block"}


def test_a_receipt_that_was_damaged_after_it_was_kept_is_not_overwritten(team: Team) -> None:
    release = team.pin()
    receipt = team.sim.receipt(release)
    team.attach(receipt)
    [name] = team.kept()
    path = team.keep(b"{}", name)
    path_ = team.house.base / "receipt"
    answer = team.house.cli("attach", "pets", path_)
    assert answer.code == 3
    assert path.read_bytes() == b"{}"


# --- unsigned evidence -----------------------------------------------------------------------------------

HEADERS = b"HTTP/1.1 200 OK\r\ncrawler-charged: USD 0.01\r\nSet-Cookie: session=SECRET\r\n\r\n"
JSON = json.dumps(
    {"transaction_id": "txn_9", "amount": {"value": "5.00", "currency": "EUR"}, "token": "SECRET"}
)


@pytest.mark.parametrize("raw", [HEADERS, JSON.encode()])
def test_unsigned_evidence_counts_where_the_policy_says_so_and_is_labelled(team: Team, raw: bytes) -> None:
    team.pin(payment={"model": "per-use"}, code=1)
    assert team.payment() == {"payment.missing": "block"}
    answer = team.attach(raw)
    assert answer.code == 0, answer.out
    assert {f["code"]: f["severity"] for f in answer.findings}["payment.unsigned"] == "info"
    [name] = team.kept()
    assert name.endswith(".unsigned.json")
    assert b"SECRET" not in (team.house.project / "provenance/evidence/pets" / name).read_bytes()
    assert team.attach(raw).code == 0
    assert team.kept() == [name]
    assert team.payment() == {"payment.unsigned": "info"}
    team.policy(payment="signed")
    assert team.payment() == {"payment.unsigned": "block"}
    assert team.attach(raw).blocking == {"payment.unsigned"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[]",
        b"null",
        b"crawler-price: USD 0.01\n",
        b"crawler-charged: USD 0.01\ncrawler-charged: USD 0.02\n",
        b'{"transaction_id": 7}',
        b'{"transaction_id": "a", "transaction_id": "b"}',
        b'{"payloadType": "application/vnd.in-toto+json"}',
        b'{"format": "jws", "signature": "x"}',
        b"a.b.c",
        b"...",
    ],
)
def test_what_is_no_evidence_is_refused_in_words(team: Team, raw: bytes) -> None:
    team.pin()
    answer = team.attach(raw)
    assert answer.code == 1
    assert answer.blocking <= {"evidence.invalid", "payment.invalid"}
    assert answer.blocking
    assert team.kept() == []


@pytest.mark.parametrize("raw", [b"crawler-charged: BTC 1\n", b'{"transaction_id": "a\\u202eb"}',
                                 b'{"transaction_id": "a", "amount": {"value": 1, "currency": "USD"}}'])  # fmt: skip
def test_unsigned_evidence_has_a_form_too(team: Team, raw: bytes) -> None:
    team.pin()
    answer = team.attach(raw)
    assert answer.blocking == {"payment.invalid"}
    assert "\u202e" not in answer.out


def test_a_file_that_is_too_large_is_no_evidence(team: Team) -> None:
    team.pin()
    assert team.attach(b" " * (1 << 20) + b"{}").blocking == {"evidence.invalid"}
    team.keep(b" " * (1 << 20) + b"{}", "payment-1.dsse.json")
    assert "evidence.invalid" in team.check().blocking


def test_usage(team: Team) -> None:
    team.pin()
    assert team.house.cli("attach", "pets").code == 2
    (team.house.base / "x").write_bytes(JSON.encode())
    assert team.house.cli("attach", "nobody", team.house.base / "x").code == 2
    assert team.house.cli("attach", "pets", team.house.base / "absent").code == 3


# --- other statements ------------------------------------------------------------------------------------


def test_any_signed_statement_about_the_pin_is_kept_by_its_kind(team: Team) -> None:
    team.sim.trust_role("legal", "legal")
    (team.house.project / "provenance/trust.json").write_bytes(team.sim.trust_root())
    release = team.pin()
    keys = [team.sim.key("legal")]
    until = times.format(NOW + DAY)
    says = {"waives": "animal", "assets": ["sha256:" + "0" * 64], "reason": "a cat", "expires_at": until}
    waiver = sign_proof("urn:databom:waiver:v1", "sim-pets@1", release.digest, says, keys)
    assert team.attach(waiver).code == 0
    assert [name.partition("-")[0] for name in team.kept()] == ["waiver"]
    other = sign_proof("urn:databom:waiver:v1", "sim-pets@1", "sha256:" + "0" * 64, says, keys)
    assert team.attach(other).blocking == {"evidence.invalid"}
    torn = sign_proof("urn:databom:redaction:v1", "sim-pets@1", release.digest, {"asset": []}, keys)
    assert team.attach(torn).blocking == {"redaction.invalid"}
    # Somebody of another role makes no receipts.
    receipt = sign_proof(PREDICATE_TYPE, "sim-pets@1", release.digest, {"model": "free"}, keys)
    assert team.attach(receipt).blocking == {"payment.invalid"}


# --- the BOM ---------------------------------------------------------------------------------------------


def test_the_bom_says_whether_a_receipt_shows_the_payment(team: Team) -> None:
    def said() -> list[str]:
        [component] = json.loads(team.house.ok("bom").out)["components"]
        return [p["value"] for p in component["properties"] if p["name"] == "databom:payment:signed"]

    release = team.pin(payment=PAID)
    assert said() == ["false"]
    team.keep(team.sim.receipt(release, signers=["stranger"]), "payment-1111111111111111.dsse.json")
    team.keep(team.sim.receipt(release, payee="creator:bob"), "payment-2222222222222222.dsse.json")
    assert said() == ["false"]
    team.attach(team.sim.receipt(release))
    assert said() == ["true"]


def accept(team: Team) -> None:
    """Billing accepts all that is open."""
    key = team.house.base / "billing.key"
    team.house.ok("key", "new", key)
    team.house.ok("trust", "add", f"{key}.pub", "--role", "billing")
    why = ("--reason", "paid by invoice 7", "--expires", "30")
    team.house.ok("approve", "pets", "--key", key, "--role", "billing", *why)


def test_billing_may_accept_a_payment_that_is_not_shown(team: Team) -> None:
    team.policy(payment="signed")
    team.pin(code=1)
    accept(team)
    assert team.payment() == {"payment.missing": "info"}
    assert team.house.json("check").code == 0


def test_what_comes_up_after_an_acceptance_is_a_new_question(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed = {**PAID, "model": "subscription", "period": period(DAY, 2 * DAY)}
    team.pin(payment={**subscribed, "allocation": shares(a="0.7", b="0.2")}, code=1)
    accept(team)  # the shares, and that it has not begun
    assert team.payment() == {"payment.mismatch": "info", "payment.unsigned": "info"}
    later = NOW + 3 * DAY
    [over] = tasks.check(project=team.house.project, now=later).reports[0].blocking
    assert (over.code, over.what) == ("payment.mismatch", "the paid period is over")
    team.pin("dogs", dataset_id="sim-dogs", payment=subscribed, code=1)
    answer = team.house.json("check")
    blocking = {
        f["subject"] for f in answer.findings if f["code"] == "payment.mismatch" and f["severity"] == "block"
    }
    assert "sim-pets@1 and sim-dogs@2" in blocking
