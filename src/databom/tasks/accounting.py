"""`databom ledger` and `databom meter`: what was paid for each release, and how often each was used.

Both are views of what is kept: manifests, receipts of payments, the log, the signed receipts of runs. Each payment is
judged as `check` judges it. What a signed receipt shows and what is only declared are never added up, one transaction
counts once, and nothing is due for a run where a pin was only present.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from databom.checks.payment import JudgedReceipt, judge_receipts
from databom.errors import ConfigError, InputError, StorageError
from databom.log.events import Entry
from databom.model import times
from databom.model.accounts import (
    Ledger,
    Meter,
    Part,
    Payment,
    State,
    Use,
    parts_of,
    times_of,
    totals_of,
)
from databom.model.affected import PRESENT, Untold
from databom.model.claims import Share
from databom.model.digest import sha256
from databom.model.explanation import DECLARED, MISSING, VERIFIED, Strength
from databom.model.lock import PIN_NAME
from databom.model.manifest import Manifest
from databom.model.proofs import Proofs
from databom.model.text import printable
from databom.tasks.attached import evidence_files, load_proofs, read_evidence
from databom.tasks.believing import Believed
from databom.tasks.explained_data import signed_strength
from databom.tasks.explaining import trusted
from databom.tasks.finding_receipts import Search
from databom.tasks.judging import judge
from databom.tasks.kept_manifests import Kept, Manifests
from databom.tasks.known_runs import History, Known, Release, read_history
from databom.tasks.progress import Progress, Silent
from databom.tasks.project import Project
from databom.tasks.spending import spent_elsewhere

_FETCH = "fetch the commits that pinned it (git fetch --unshallow), or ask in the clone that did"


class _Books(NamedTuple):
    """What both views are made of."""

    place: Project
    believed: Believed
    now: datetime
    history: History
    manifests: Manifests
    trust: str
    is_expired: bool

    @classmethod
    def open(cls, project: Path | str | None, now: datetime | None, progress: Progress | None) -> _Books:
        place = Project.load(project)
        now = times.or_now(now)
        believed, root = trusted(place)
        expired = root.expires <= now
        search = Search(place, root, (), now)
        history = read_history(search, expired=expired, progress=progress or Silent())
        return cls(place, believed, now, history, Manifests(place), root.digest, expired)

    def releases(self) -> list[Release]:
        """All that are known, by name."""
        return sorted(self.history.releases.values(), key=lambda one: (one.release, one.manifest))

    def kept(self, release: Release) -> tuple[Kept, Manifest] | Untold:
        """The manifest of a release; or why there is none."""
        kept = self.manifests.find(release.manifest, sorted(release.names))
        if kept is None:
            told = f"its manifest is not kept here ({release.manifest})"
            return Untold(printable(release.release), told, _FETCH)
        try:
            return kept, kept.received.read()
        except InputError as error:
            told = f"{kept.where} cannot be read as a manifest: {printable(str(error), 300)}"
            return Untold(printable(release.release), told, _FETCH)


# --- the ledger ---------------------------------------------------------------------------------------------


def ledger(
    *, project: Path | str | None = None, now: datetime | None = None, progress: Progress | None = None
) -> Ledger:
    """Every payment that this project knows of: for all releases that are or were pinned, or that a run names.

    Args:
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: told how much of the log was read.

    Raises:
        ConfigError: no project, or no trust root that is believed.
        StorageError: the log is there, and cannot be read or believed; a kept file cannot be read.
    """
    books = _Books.open(project, now, progress)
    payments: list[Payment] = []
    untold = [*books.history.absent]
    for release in books.releases():
        found = books.kept(release)
        if isinstance(found, Untold):
            untold.append(found)
            payments += _lost(books, release, set())
            continue
        payments += _payments(books, release, *found)
    return Ledger(tuple(payments), tuple(totals_of(payments)), tuple(untold), books.trust)


def _payments(books: _Books, release: Release, kept: Kept, manifest: Manifest) -> Iterator[Payment]:
    names = sorted(filter(PIN_NAME.match, release.names))
    every = [load_proofs(books.place, name, manifest.digest, books.believed, books.now) for name in names]
    held = {proof.digest: proof for proofs in every for proof in proofs.held}
    unsigned = {one.digest: one for proofs in every for one in proofs.unsigned}
    proofs = Proofs(held=tuple(held.values()), unsigned=tuple(unsigned.values()))
    spent = spent_elsewhere(books.place, names[0], manifest, proofs) if names else {}
    proofs = Proofs(held=proofs.held, unsigned=proofs.unsigned, spent=spent)
    judged = judge_receipts(manifest, books.place.config.policy, proofs, books.now)
    told = [_receipt(books, release, manifest, one) for one in judged]
    for one in unsigned.values():
        amount = one.amount
        told.append(
            _payment(
                release,
                "declared",
                DECLARED,
                f"{printable(one.file)}, which nobody signed",
                transaction=one.transaction_id,
                value=amount.value if amount else None,
                currency=amount.currency if amount else None,
                payer=one.payer,
                payee=one.payee,
            )
        )
    for doubt in dict.fromkeys(doubt for proofs in every for doubt in proofs.findings):
        if doubt.code.startswith("payment."):
            why = (f"{doubt.code}: {doubt.what}",)
            told.append(_payment(release, "disputed", MISSING, doubt.subject or "evidence", why=why))
    yield from told or [_stated(books, release, kept, manifest)]
    yield from _lost(books, release, _digests(books, names))


def _receipt(books: _Books, release: Release, manifest: Manifest, judged: JudgedReceipt) -> Payment:
    receipt, proof = judged.receipt, judged.proof
    why = tuple(f"{one.code}: {one.what}" for one in judged.findings)
    logged = books.history.paid.get((release.manifest, proof.digest))
    if receipt is None:
        return _payment(release, "disputed", MISSING, f"{printable(proof.file)}, {proof.digest}", why=why)
    is_late = len(judged.late) == len(judged.findings)
    state: State = "paid" if not why else "over" if is_late else "disputed"
    amount, stated = receipt.amount, manifest.payment
    allocation = receipt.allocation or (stated.allocation if stated is not None else ())
    value = amount.value if amount is not None else None
    return _payment(
        release,
        state,
        DECLARED if books.is_expired else VERIFIED,
        f"{printable(receipt.file)}, {receipt.digest}",
        model=receipt.model or (stated.model if stated is not None else None),
        transaction=receipt.transaction_id,
        value=value,
        currency=amount.currency if amount is not None else None,
        payer=receipt.payer,
        payee=receipt.payee,
        paid_at=times.format(receipt.paid_at) if receipt.paid_at is not None else None,
        why=why,
        index=logged.index if logged is not None else None,
        parts=_parts(allocation, value),
    )


def _stated(books: _Books, release: Release, kept: Kept, manifest: Manifest) -> Payment:
    """What the manifest itself says, where nothing else does."""
    judged = judge(kept.received, books.believed, config=books.place.config, now=books.now)
    strength, stated = signed_strength(judged), manifest.payment
    if stated is None:
        return _payment(release, "none", strength, kept.where)
    if stated.model == "free":
        return _payment(release, "free", strength, kept.where, model="free")
    state: State = "declared" if stated.transaction_id else "unpaid"
    amount = stated.amount
    return _payment(
        release,
        state,
        DECLARED if stated.transaction_id else MISSING,
        kept.where,
        model=stated.model,
        transaction=stated.transaction_id,
        value=amount.value if amount else None,
        currency=amount.currency if amount else None,
        payer=stated.payer,
        payee=stated.payee,
        paid_at=times.format(stated.paid_at) if stated.paid_at is not None else None,
        parts=_parts(stated.allocation, amount.value if amount else None),
    )


def _lost(books: _Books, release: Release, kept: set[str]) -> Iterator[Payment]:
    """Receipts that the log says were attached, and that are not kept any more."""
    for (manifest, evidence), entry in books.history.paid.items():
        if manifest == release.manifest and evidence not in kept:
            yield _logged(release, evidence, entry)


def _logged(release: Release, evidence: str, entry: Entry) -> Payment:
    said = {
        name: printable(value) if isinstance(value := entry.document.get(name), str) else None
        for name in ("model", "transaction_id", "value", "currency", "payer")
    }
    return _payment(
        release,
        "lost",
        DECLARED,
        f"{printable(evidence)}, which is not kept",
        model=said["model"],
        transaction=said["transaction_id"],
        value=said["value"],
        currency=said["currency"],
        payer=said["payer"],
        index=entry.index,
    )


def _digests(books: _Books, names: Iterable[str]) -> set[str]:
    """Of all files that are kept as evidence."""
    found = set()
    for name in names:
        for path in evidence_files(books.place, name):
            try:
                found.add(sha256(read_evidence(path)))
            except (InputError, StorageError):
                continue  # what cannot be read is none that the log knows
    return found


def _payment(
    release: Release,
    state: State,
    strength: Strength,
    evidence: str,
    *,
    model: str | None = None,
    transaction: str | None = None,
    value: str | None = None,
    currency: str | None = None,
    payer: str | None = None,
    payee: str | None = None,
    paid_at: str | None = None,
    why: tuple[str, ...] = (),
    index: int | None = None,
    parts: tuple[Part, ...] = (),
) -> Payment:
    shown = {name: _shown(one) for name, one in (("t", transaction), ("by", payer), ("to", payee))}
    return Payment(
        release=printable(release.release),
        manifest=release.manifest,
        pins=tuple(sorted(map(printable, release.names))),
        pinned=release.pinned,
        state=state,
        strength=strength,
        evidence=evidence,
        model=model,
        transaction=shown["t"],
        value=value,
        currency=currency,
        payer=shown["by"],
        payee=shown["to"],
        paid_at=paid_at,
        why=why,
        index=index,
        parts=parts,
    )


def _shown(text: str | None) -> str | None:
    return printable(text, 200) if text is not None else None


def _parts(allocation: Sequence[Share], value: str | None) -> tuple[Part, ...]:
    return parts_of(((printable(one.creator_id, 200), one.share) for one in allocation), value)


# --- the meter ----------------------------------------------------------------------------------------------


def meter(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    project: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Meter:
    """How often each release was used by runs that ended in a time, and what is due where a use has a price.

    A price is what the manifest states under the model `per-use`. Runs without a signed receipt are counted apart.

    Args:
        since: runs that ended then or later; by default all.
        until: runs that ended before; by default all, and those that have not ended.
        project: the project's folder; by default the one around the working directory.
        now: the time to judge by.
        progress: told how much of the log was read.

    Raises:
        ConfigError: no project, no trust root that is believed, or a time that ends before it begins.
        StorageError: the log is there, and cannot be read or believed; a kept file cannot be read.
    """
    if since is not None and until is not None and since >= until:
        raise ConfigError("the time ends before it begins", hint="--since is before --until")
    books = _Books.open(project, now, progress)
    untold = [*books.history.absent, *books.history.untold]
    runs = _by_release(books.history.runs)
    uses = []
    for release in books.releases():
        found = books.kept(release)
        if isinstance(found, Untold):
            untold.append(found)
        manifest = None if isinstance(found, Untold) else found[1]
        ends = runs.get(release.manifest, {}).values()
        counted = [one for one in map(_counted, ends) if _is_within(one.ending, since, until)]
        uses.append(_use(release, manifest, counted))
    began, ended = (times.format(one) if one is not None else None for one in (since, until))
    return Meter(began, ended, tuple(uses), tuple(untold), books.trust)


def _is_within(run: Known, since: datetime | None, until: datetime | None) -> bool:
    if run.ended is None:
        return until is None
    try:
        ended = times.parse(run.ended)
    except ValueError:
        return True  # counted rather than forgotten
    return (since is None or ended >= since) and (until is None or ended < until)


class _Ending(NamedTuple):
    """What one ending of a run says of one release."""

    use: str
    ending: Known
    is_completed: bool

    @property
    def is_used(self) -> bool:
        return self.use != PRESENT

    @property
    def is_signed(self) -> bool:
        return self.ending.receipt is not None


def _by_release(runs: Iterable[Known]) -> dict[str, dict[str, list[_Ending]]]:
    """By manifest and run: each ending that names it."""
    found: dict[str, dict[str, list[_Ending]]] = {}
    for run in runs:
        for one in run.releases:
            if one.manifest is not None:
                endings = found.setdefault(one.manifest, {}).setdefault(run.run, [])
                endings.append(_Ending(one.use, run, run.status == "completed"))
    return found


def _counted(endings: Sequence[_Ending]) -> _Ending:
    """The ending by which a run counts: the first signed one that says that it was used.

    So a run that is resumed is not due twice, and what only an unsigned ending says makes nothing due.
    """
    first = min(endings, key=lambda one: (not one.is_used, not one.is_signed, one.ending.ended or "~"))
    return first._replace(is_completed=any(one.is_completed for one in endings))


def _use(release: Release, manifest: Manifest | None, runs: Sequence[_Ending]) -> Use:
    used = [one for one in runs if one.is_used]
    unsigned = sum(not one.is_signed for one in used)
    is_verified = all(one.ending.strength == VERIFIED for one in used if one.is_signed)
    payment = manifest.payment if manifest is not None else None
    price = payment.amount if payment is not None and payment.model == "per-use" else None
    due = times_of(price.value, len(used) - unsigned) if price is not None else None
    return Use(
        release=printable(release.release),
        manifest=release.manifest,
        pins=tuple(sorted(map(printable, release.names))),
        model=payment.model if payment is not None else None,
        used=len(used),
        completed=sum(one.is_completed for one in used),
        possible=len(runs) - len(used),
        unsigned=unsigned,
        price=price.value if price is not None else None,
        currency=price.currency if price is not None else None,
        due=due,
        parts=_parts(payment.allocation, due) if payment is not None else (),
        runs=tuple(sorted(one.ending.run for one in used)),
        strength=VERIFIED if is_verified else DECLARED,
    )
