"""Signals of others (`license.signals`) against the license: whoever says no is heard, whoever says yes widens nothing.

A license that permits a use and a signal that refuses it contradict each other. Which of the two holds is no question
for a program: a marketplace's license may well be what a reservation asks for, or sell what was never its to sell.
"""

from __future__ import annotations

from collections.abc import Iterator

from databom.checks.deciding import Outcome, Reason
from databom.checks.terms import by_words, covers
from databom.model.claims import Signal
from databom.model.config import Use
from databom.model.manifest import Manifest
from databom.model.rsl import Offer, read_rsl
from databom.model.signals import Unreadable, said
from databom.model.text import printable

_FREE = frozenset({"free", "attribution"})
"""Payments in RSL that are none."""


def by_signals(manifest: Manifest, use: Use) -> Iterator[Reason]:
    """What the signals say against a use that the license permits: `license.contradiction`, or `license.review`."""
    for signal in manifest.license.signals:
        name = f"the signal {printable(signal.kind, 40)}"
        try:
            reasons = _by_rsl(signal, manifest, use) if signal.kind == "rsl" else _by_pairs(signal, use)
            yield from (Reason("", one.outcome, one.code, f"{name} {one.text}") for one in reasons)
        except Unreadable as error:
            yield Reason("", Outcome.REVIEW, "license.review", f"{name} cannot be read: {error}")


def _by_pairs(signal: Signal, use: Use) -> list[Reason]:
    answers = said(signal)
    if use.model != "generative":
        answers.pop("ai-train-generative", None)
    refused = sorted(word for word, is_yes in answers.items() if not is_yes and covers(word, use))
    return [_against(f"refuses {word!r}, and the license permits {use.purpose!r}") for word in refused]


def _by_rsl(signal: Signal, manifest: Manifest, use: Use) -> list[Reason]:
    found: list[Reason] = []
    for offers in read_rsl(signal.value):
        # Any one license is enough; a content without one says nothing.
        answers = [_by_offer(offer, manifest, use) for offer in offers]
        if answers:
            found += min(
                answers, key=lambda reasons: max((one.outcome for one in reasons), default=Outcome.ALLOW)
            )
    return list(dict.fromkeys(found))


def _by_offer(offer: Offer, manifest: Manifest, use: Use) -> list[Reason]:
    found = []
    permits, prohibits = offer.get("permits", "usage"), offer.get("prohibits", "usage")
    user, geo = offer.get("permits", "user"), offer.get("permits", "geo")
    for reason in by_words(permits, prohibits, user, geo, use, where=""):
        if reason.outcome is Outcome.DENY:
            found.append(_against(f"refuses the use, and the license permits it: {reason.text}"))
        else:
            found.append(Reason("", Outcome.REVIEW, "license.review", f"asks for a look: {reason.text}"))
    for kind in ("user", "geo"):
        if offer.get("prohibits", kind):
            words = printable(", ".join(offer.get("prohibits", kind)), 120)
            found.append(Reason("", Outcome.REVIEW, "license.review", f"prohibits {kind} {words}"))
    payment = manifest.payment
    is_paid = payment is not None and payment.model != "free"
    if offer.payments and not _FREE & set(offer.payments) and not is_paid:
        kinds = printable(", ".join(offer.payments), 80)
        found.append(_against(f"asks for a payment ({kinds}), and the manifest states none"))
    elif offer.server and not is_paid:
        found.append(
            Reason("", Outcome.REVIEW, "license.review", "has a server that a license is asked from")
        )
    return found


def _against(text: str) -> Reason:
    return Reason("", Outcome.DENY, "license.contradiction", text)
