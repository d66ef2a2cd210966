"""Was it paid, as far as the policy asks?

| `policy.payment` | asks |
|---|---|
| `off` | nothing |
| `declared` | a payment that the manifest states has a transaction id (or evidence attached), unless it is free |
| `signed` | a verified receipt for this very manifest, unless the manifest says that it is free |

Whatever is stated or attached must not contradict itself, the manifest or the policy: another payer, transaction,
amount, currency or model, a period that is over, shares that are not a whole, a payment that is used for another
release (`payment.mismatch`). Money is compared as decimal numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from databom.errors import InputError
from databom.model import currencies, times
from databom.model.claims import Share
from databom.model.config import Policy
from databom.model.finding import Finding, Severity, findings_of
from databom.model.manifest import Manifest
from databom.model.proofs import Proof, Proofs
from databom.model.receipts import SUBSCRIBED, Period, Receipt, read_receipt, stated_period, sum_of
from databom.model.text import printable

_LISTED = 10
"""Other releases that a finding names."""
_ASK = "ask the marketplace; what is signed cannot be corrected, only issued anew"


def check_payment(manifest: Manifest, policy: Policy, proofs: Proofs, now: datetime) -> Iterator[Finding]:
    """`payment.missing`, `.mismatch`, `.invalid` (block), `.unsigned` (block where a receipt is asked, else info)."""
    if policy.payment == "off":
        return
    yield from _stated(manifest, policy, proofs, now)
    judged = judge_receipts(manifest, policy, proofs, now)
    # A subscription is renewed: an old receipt that is over says nothing once there is a current one.
    is_current = any(not one.findings for one in judged)
    for one in judged:
        yield from (finding for finding in one.findings if not (is_current and finding in one.late))
    if not judged:
        yield from _unshown(manifest, policy, proofs)


def good_receipts(manifest: Manifest, policy: Policy, proofs: Proofs, now: datetime) -> list[Receipt]:
    """The verified receipts of the manifest that nothing speaks against, whatever the policy asks."""
    judged = judge_receipts(manifest, policy, proofs, now)
    return [one.receipt for one in judged if one.receipt is not None and not one.findings]


class JudgedReceipt(NamedTuple):
    """A verified receipt of the manifest, and what speaks against it; None where it cannot be read as one."""

    proof: Proof
    receipt: Receipt | None
    findings: list[Finding]
    late: list[Finding]
    """Those of the findings that only say that it is not the time."""


def judge_receipts(manifest: Manifest, policy: Policy, proofs: Proofs, now: datetime) -> list[JudgedReceipt]:
    """Every verified receipt of the manifest, held against it, the policy and other payments."""
    return [_judged(proof, manifest, policy, proofs, now) for proof in proofs.of("payment")]


def _judged(proof: Proof, manifest: Manifest, policy: Policy, proofs: Proofs, now: datetime) -> JudgedReceipt:
    try:
        receipt = read_receipt(proof.predicate, form=proof.form, file=proof.file, digest=proof.digest)
    except InputError as error:
        return JudgedReceipt(proof, None, list(findings_of(error)), [])
    late = list(_out_of_time(receipt.period, receipt.file, now))
    findings = [*_disagreements(receipt, manifest, policy), *late]
    if receipt.paid_at is not None and receipt.paid_at > now + times.CLOCK_SKEW:
        findings.append(
            _mismatch(
                receipt.file,
                "the receipt is from the future",
                f"before {times.format(now + times.CLOCK_SKEW)}",
                times.format(receipt.paid_at),
                "check this machine's clock; if it is right, ask whoever issued it",
            )
        )
    model = receipt.model or (manifest.payment.model if manifest.payment else None)
    for payment in (receipt.transaction_id, receipt.digest if receipt.form == "x402" else None):
        findings += _reused(payment, model, manifest, proofs, receipt.file)
    findings += _shares(receipt.allocation, receipt.file)
    return JudgedReceipt(proof, receipt, findings, late)


def _disagreements(receipt: Receipt, manifest: Manifest, policy: Policy) -> Iterator[Finding]:
    file, stated = receipt.file, manifest.payment
    if policy.payer and receipt.payer != policy.payer:
        what = "somebody else than this team has paid (policy.payer)"
        yield _mismatch(file, what, policy.payer, receipt.payer)
    if stated is None:
        return
    pairs = [
        ("transaction", stated.transaction_id, receipt.transaction_id),
        ("payee", stated.payee, receipt.payee),
        ("model", stated.model, receipt.model),
    ]
    if receipt.form == "databom":  # who pays by x402 is a wallet, and the manifest names an organization
        pairs.append(("payer", stated.payer, receipt.payer))
    if stated.amount is not None and receipt.amount is not None:
        pairs.append(("currency", stated.amount.currency, receipt.amount.currency))
        if Decimal(stated.amount.value) != Decimal(receipt.amount.value):
            pairs.append(("amount", stated.amount.value, receipt.amount.value))
    for name, expected, found in pairs:
        if expected is not None and found is not None and expected != found:
            yield _mismatch(file, f"the receipt and the manifest name another {name}", expected, found)
    if stated.allocation and receipt.allocation and _table(stated.allocation) != _table(receipt.allocation):
        what = "the receipt and the manifest share the payment out in other ways"
        yield _mismatch(file, what, _shown(stated.allocation), _shown(receipt.allocation))


def _stated(manifest: Manifest, policy: Policy, proofs: Proofs, now: datetime) -> Iterator[Finding]:
    """What the manifest itself says of the payment."""
    stated = manifest.payment
    if stated is None:
        return
    subject = manifest.release
    if stated.amount is not None and stated.amount.currency not in currencies.CODES:
        yield Finding(
            "payment.invalid",
            Severity.BLOCK,
            subject,
            "the manifest states an amount in no currency",
            expected=currencies.EXPECTED,
            found=stated.amount.currency,
            do=_ASK,
        )
    yield from _shares(stated.allocation, subject)
    yield from _reused(stated.transaction_id, stated.model, manifest, proofs, subject)
    if any(proofs.of("payment")):
        return  # then the receipts say who has paid, and for when
    yield from _out_of_time(stated_period(stated.period), subject, now)
    if policy.payer and stated.payer is not None and stated.payer != policy.payer:
        what = "the manifest names another payer than this team (policy.payer)"
        yield _mismatch(subject, what, policy.payer, stated.payer)


def _unshown(manifest: Manifest, policy: Policy, proofs: Proofs) -> Iterator[Finding]:
    """No receipt: is one needed, and what is there in its place?"""
    stated, subject = manifest.payment, manifest.release
    attach = "ask the marketplace for the receipt, then: databom attach NAME FILE"
    if stated is not None and stated.model == "free":
        return
    if policy.payment == "signed":
        if proofs.unsigned:
            yield Finding(
                "payment.unsigned",
                Severity.BLOCK,
                subject,
                "the evidence of payment is not signed, and the policy asks for a verified receipt",
                expected="a receipt signed by a key of the role payment",
                found=", ".join(_evidence(one) for one in proofs.unsigned),
                do=attach,
            )
            return
        found = "no receipt"
        if stated is not None and stated.transaction_id:
            found = f"the manifest's own word: {stated.model}, {printable(stated.transaction_id)}"
        yield Finding(
            "payment.missing",
            Severity.BLOCK,
            subject,
            "no verified receipt shows that this release is paid for",
            expected="a receipt for this manifest, signed by a key of the role payment",
            found=found,
            do=attach,
        )
        return
    if proofs.unsigned:
        said = ", ".join(_evidence(one) for one in proofs.unsigned)
    elif stated is not None and stated.transaction_id:
        said = f"the manifest's own word: {stated.model}, {printable(stated.transaction_id)}"
    elif stated is None:
        return
    else:
        yield Finding(
            "payment.missing",
            Severity.BLOCK,
            subject,
            f"a {stated.model} payment is stated, without a transaction id",
            expected="payment.transaction_id, or evidence of the payment",
            found="none",
            do=attach,
        )
        return
    yield Finding(
        "payment.unsigned",
        Severity.INFO,
        subject,
        "the payment is declared, and not shown by a signed receipt",
        expected='nothing more, under payment = "declared"',
        found=said,
        do="nothing; a signed receipt, attached with databom attach, would show it",
    )


def _reused(
    payment: str | None, model: str | None, manifest: Manifest, proofs: Proofs, subject: str
) -> Iterator[Finding]:
    others = proofs.spent.get(payment, ()) if payment else ()
    if model in SUBSCRIBED:
        others = tuple(one for one in others if one.dataset_id != manifest.dataset_id)
    if others:
        listed = ", ".join(one.release for one in others[:_LISTED])
        listed += f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
        yield _mismatch(
            # Named with the others: whoever accepted these has not accepted the next.
            f"{subject} and {listed}",
            "this payment is used for another release, too",
            f"{payment} for {manifest.release} alone",
            listed,
            "ask the marketplace which release it paid for, and for a receipt for each",
        )


def _out_of_time(period: Period | None, subject: str, now: datetime) -> Iterator[Finding]:
    if period is None:
        return
    start, end = period
    begin = times.format(start) if start else "any time"
    until = times.format(end) if end else "no end"
    if end is not None and now >= end:
        what, about = "the paid period is over", f"until {until}"
    elif start is not None and now < start:
        what, about = "the paid period has not begun", f"from {begin}"
    else:
        return
    expected, do = f"{times.format(now)} within the period", "renew it, then: databom attach NAME FILE"
    # Named with its day: whoever accepted something else about this payment has not accepted its end.
    yield _mismatch(f"{subject} {about}", what, expected, f"{begin} to {until}", do)


def _shares(allocation: tuple[Share, ...], subject: str) -> Iterator[Finding]:
    if not allocation:
        return
    if (total := sum_of(allocation)) != 1:
        what = "the creators' shares are not a whole"
        yield _mismatch(subject, what, "parts of 1: shares that add up to 1", f"{total:f} in all", _ASK)
    names = [one.creator_id for one in allocation]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        yield _mismatch(
            subject, "a creator has more than one share", "one share each", ", ".join(twice), _ASK
        )


def _table(allocation: tuple[Share, ...]) -> dict[str, Decimal]:
    return {one.creator_id: Decimal(one.share) for one in allocation}


def _shown(allocation: tuple[Share, ...]) -> str:
    return ", ".join(f"{one.creator_id} {one.share}" for one in allocation[:10])


def _evidence(receipt: Receipt) -> str:
    said = [receipt.transaction_id] if receipt.transaction_id else []
    if receipt.amount is not None:
        said.append(f"{receipt.amount.currency} {receipt.amount.value}")
    return printable(f"unsigned: {' '.join(said)}")


def _mismatch(
    subject: str, what: str, expected: str | None, found: str | None, do: str | None = None
) -> Finding:
    asked, had = (printable(one, 400) if one is not None else "nothing" for one in (expected, found))
    do = do or "ask whoever issued it for the right one; do not train on the word of this one"
    return Finding("payment.mismatch", Severity.BLOCK, printable(subject, 1_000), what, asked, had, do)
