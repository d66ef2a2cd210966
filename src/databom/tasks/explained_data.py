"""What is known of the data of a run: for each pin of its receipt, who says what, opened and verified again."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from databom.checks.payment import good_receipts
from databom.errors import ConfigError, InputError, StorageError
from databom.log.events import Entry
from databom.model import times
from databom.model.digest import sha256
from databom.model.explanation import DATA, DECLARED, MISSING, VERIFIED, Line, Strength
from databom.model.finding import Finding, Severity
from databom.model.lock import PIN_NAME
from databom.model.text import printable
from databom.tasks.explaining import Case, digest_of
from databom.tasks.finding_receipts import notes_of
from databom.tasks.gatekeeping import Gatekeeper
from databom.tasks.judging import Judged, judge, judge_pin
from databom.tasks.kept_manifests import Kept, committed, kept_here
from databom.tasks.passed import MAX_REPORT_BYTES
from databom.tasks.project import read_possible
from databom.tasks.recollecting import TakenBack
from databom.tasks.taken_back import is_irrevocable, missing_notices

if TYPE_CHECKING:
    from databom.hosts.git import Commit

_ABOUT_SIGNERS = ("signature.", "trust.", "manifest.")


class Used(Struct, frozen=True):
    """A release that a run used, or that was present: what of it is kept here."""

    name: str
    release: str
    manifest: str | None
    """Its digest, None where the receipt has none."""
    notes: Mapping[str, Any]
    judged: Judged | None
    """The kept manifest, judged now; None where it is not kept."""
    where: str
    is_pinned: bool
    tree: str | None = None
    """Digest of the tree, as the receipt has it."""

    @property
    def signed(self) -> Strength:
        """How strong is what the manifest says."""
        return DECLARED if self.judged is None else signed_strength(self.judged)


def signed_strength(judged: Judged) -> Strength:
    """How strong is what a manifest says: `verified` where whoever signed it may speak for it, now."""
    doubts = [one.code for one in judged.doubts if one.severity is Severity.BLOCK]
    is_doubted = any(code.startswith(_ABOUT_SIGNERS) for code in doubts)
    return VERIFIED if judged.keyids and not is_doubted else DECLARED


def data_lines(case: Case) -> Generator[Line, None, list[Used]]:
    """The lines of each pin; answers what is kept of them."""
    used = used_by(case)
    pairs = [(one.name, one.manifest) for one in used if one.manifest is not None]
    events = case.search.events(case.found, pairs)
    if not used and not case.has_moved:
        yield Line(DATA, "pins", "the receipt names no release", MISSING, case.receipt, "-")
    for one in used:
        for about, answer, strength, evidence in _answers(case, one, events):
            yield Line(DATA, about, answer, strength, evidence, one.name)
    return used


def used_by(case: Case) -> list[Used]:
    """The releases that the receipt names, each with what is kept of it."""
    commit = commit_of(case)
    pins = [one for one in case.dependencies if str(one.get("uri")).startswith("dataset:")]
    return [_used(case, one, commit) for one in pins]


def commit_of(case: Case) -> Commit | None:
    """The commit that the receipt names, where this clone has it."""
    code = case.dependency("code")
    return case.search.commit(digest_of(code, "gitCommit") or "") if code is not None else None


def _used(case: Case, one: Mapping[str, Any], commit: Commit | None) -> Used:
    name = printable(str(one.get("name")))
    found = digest_of(one, "sha256")
    manifest = f"sha256:{found}" if found else None
    release = printable(str(one.get("uri")).removeprefix("dataset:"))
    judged, where, is_pinned = None, "", False
    if manifest is not None and PIN_NAME.match(name):
        judged, where, is_pinned = _kept(case, name, manifest, commit)
    tree = digest_of(one, "dirHash1")
    return Used(
        *(name, release, manifest, notes_of(one), judged, where, is_pinned),
        tree=f"sha256:{tree}" if tree else None,
    )


def _kept(case: Case, name: str, digest: str, commit: Commit | None) -> tuple[Judged | None, str, bool]:
    """The manifest with a digest, judged now; where it is, and whether it is the pinned one."""
    kept = kept_for(case, name, digest, commit)
    if kept is None:
        return None, "", False
    try:
        if kept.is_pinned:
            judged = judge_pin(case.place, name, case.believed, now=case.now, received=kept.received)
        else:
            judged = judge(kept.received, case.believed, config=case.place.config, now=case.now)
    except (StorageError, ConfigError):
        return None, "", False
    return judged, kept.where, kept.is_pinned


def kept_for(case: Case, name: str, digest: str, commit: Commit | None) -> Kept | None:
    """The manifest with a digest as it was received: pinned, or as this clone or the commit has it."""
    try:
        found = kept_here(case.place, name, digest)
        if found is None and commit is not None:
            found = committed(case.place, name, digest, commit)
    except (InputError, StorageError, ConfigError):
        return None
    return found


# --- the answers ----------------------------------------------------------------------------------------

_Answer = tuple[str, str, Strength, str]


def _answers(case: Case, one: Used, events: Mapping[tuple[str, str, str], Entry]) -> Iterator[_Answer]:
    use = printable(str(one.notes.get("use", "present")))
    told = "it was there; nothing shows that it was used" if use == "present" else f"used: {use}"
    yield (
        "release",
        f"{one.release} ({told})",
        case.said,
        f"{one.manifest or 'no digest'} in the {case.receipt}",
    )
    yield from _supplied(one)
    yield from _fetched(case, one, events)
    yield from _paid(case, one)
    yield from _license(case, one)


def _supplied(one: Used) -> Iterator[_Answer]:
    judged = one.judged
    if judged is None or judged.manifest is None:
        yield "supplied by", "its manifest is not kept here", MISSING, one.manifest or "no digest"
        return
    manifest = judged.manifest
    market = printable(judged.marketplace or manifest.marketplace_id or "no marketplace")
    told = f"{market}; creator {printable(manifest.creator_id or 'not named')}"
    if judged.keyids:
        told += f"; signed by {', '.join(keyid[:16] for keyid in judged.keyids)}"
    codes = sorted({doubt.code for doubt in judged.doubts if doubt.severity is Severity.BLOCK})
    if codes:
        told += f" (now: {', '.join(codes)})"
    yield "supplied by", told, one.signed, f"{one.where}, {manifest.digest[:19]}…"


def _fetched(case: Case, one: Used, events: Mapping[tuple[str, str, str], Entry]) -> Iterator[_Answer]:
    fetched = one.notes.get("fetchedAt")
    pinned = events.get(("pinned", one.name, one.manifest or ""))
    if isinstance(fetched, str):
        evidence = case.receipt + (f"; pinned by log entry {pinned.index}" if pinned is not None else "")
        yield "fetched", printable(fetched), DECLARED, evidence
    else:
        yield "fetched", "nobody noted when", MISSING, case.receipt
    if (checked := events.get(("verified", one.name, one.manifest or ""))) is not None:
        said, time = checked.document, f"by its clock at {printable(str(checked.time))}"
        if said.get("verdict") == "pass" and said.get("failed") == 0:
            told = f"before the run ended, {time}: every byte was as signed"
            yield "checked", told, case.logged, f"log entry {checked.index}"
        else:
            told = f"at the last look before the run ended, {time}, it did not hold"
            yield "checked", told, MISSING, f"log entry {checked.index}"
    elif isinstance(report := one.notes.get("decisionReport"), str):
        yield (
            "checked",
            "a verification was recorded",
            case.said,
            f"report {printable(report)}, {case.receipt}",
        )
    else:
        yield "checked", "no verification before the run", MISSING, case.receipt


def _paid(case: Case, one: Used) -> Iterator[_Answer]:
    manifest = one.judged.manifest if one.judged is not None else None
    if one.judged is None or manifest is None:
        stated = one.notes.get("payment")
        if isinstance(stated, str) and stated != "none":
            yield "paid", printable(stated), DECLARED, case.receipt
        else:
            yield "paid", "its manifest is not kept here", MISSING, case.receipt
        return
    try:
        keeper = Gatekeeper.of(case.place, one.name, one.judged, case.believed, case.now)
    except StorageError as error:
        yield "paid", "the evidence cannot be read", MISSING, printable(str(error), 300)
        return
    good = good_receipts(manifest, case.place.config.policy, keeper.proofs, case.now)
    folder = case.place.evidence_dir(one.name).relative_to(case.place.root).as_posix()
    for receipt in good:
        amount = f", {receipt.amount.value} {receipt.amount.currency}" if receipt.amount else ""
        number = receipt.transaction_id or "no transaction id"
        told = printable(f"receipt: {number}{amount}, by {receipt.payer}", 400)
        yield "paid", told, VERIFIED, f"{folder}/{receipt.file}, {receipt.digest[:19]}…"
    if good:
        return
    for proof in keeper.proofs.of("payment"):
        told = "a signed receipt is kept that does not agree with the manifest or the policy now"
        yield "paid", told, DECLARED, f"{folder}/{printable(proof.file)}"
    for receipt in keeper.proofs.unsigned:
        told = printable(f"unsigned: {receipt.transaction_id or 'a header of a response'}")
        yield "paid", told, DECLARED, f"{folder}/{printable(receipt.file)}"
    stated_ = manifest.payment
    if stated_ is None:
        yield "paid", "no payment is stated", MISSING, one.where
    elif stated_.model == "free":
        yield "paid", "free, says the manifest", one.signed, one.where
    elif stated_.transaction_id:
        told = printable(f"declared: {stated_.model}, {stated_.transaction_id}, says the manifest", 400)
        yield "paid", told, DECLARED, one.where
    else:
        yield "paid", printable(f"{stated_.model}, and no transaction is named"), MISSING, one.where


def _license(case: Case, one: Used) -> Iterator[_Answer]:
    judged = one.judged
    if judged is None or judged.manifest is None:
        stated = one.notes.get("license")
        known = isinstance(stated, str)
        yield (
            "license",
            printable(str(stated)) if known else "not known",
            DECLARED if known else MISSING,
            case.receipt,
        )
    else:
        stated = judged.manifest.license.spdx or judged.manifest.license.type or "none stated"
        yield "license", printable(stated), one.signed, one.where
    decision, report = one.notes.get("decision", "none"), one.notes.get("decisionReport")
    evidence = case.receipt
    if isinstance(report, str):
        path = case.place.report_path(one.name)
        raw = read_possible(path, MAX_REPORT_BYTES) if PIN_NAME.match(one.name) else None
        is_here = raw is not None and sha256(raw) == report
        kept = path.relative_to(case.place.root).as_posix() if is_here else "not kept here"
        evidence += f"; report {printable(report)[:19]}…, {kept}"
    strength = MISSING if decision == "none" else case.said
    yield "decided then", printable(str(decision)), strength, evidence
    if isinstance(notices := one.notes.get("revoked"), list) and notices:
        told = printable(f"before the run ended: notice {', '.join(map(str, notices))}", 400)
        yield "taken back", told, case.said, case.receipt
    if judged is None or not judged.is_believed or judged.manifest is None:
        return
    try:
        keeper = Gatekeeper.of(case.place, one.name, judged, case.believed, case.now)
    except StorageError:
        return
    weighed = keeper.documents(judged)
    findings = (*weighed.policy, *lost_notices(case, one))
    codes = sorted({found.code for found in findings if found.severity is Severity.BLOCK})
    told = f"not allowed: {', '.join(codes)}" if codes else "allowed"
    if weighed.approvals:
        words = {printable(str(role)) for each in weighed.approvals for role in _roles(each)}
        told += f", accepted by {', '.join(sorted(words)) or 'somebody'}"
    yield "decided now", told, VERIFIED, f"{one.where}, policy {case.place.config.policy_digest[:19]}…"


def lost_notices(case: Case, one: Used) -> Iterator[Finding]:
    """`revocation.revoked` of notices in force by the case's time that log or receipt tell of, and that are lost.

    Raises:
        StorageError: the evidence cannot be listed, or the log is not one to be believed.
    """
    manifest = one.judged.manifest if one.judged is not None else None
    if manifest is None:
        return
    told = [
        found for found in case.search.revoked(manifest.digest) if not is_after(found.issued_at, case.now)
    ]
    noted = one.notes.get("revoked")
    if isinstance(noted, list) and not is_irrevocable(manifest):
        ended = str(case.found.receipt.statement["predicate"]["runDetails"]["metadata"]["finishedOn"])
        told += [TakenBack(manifest.digest, evidence, ended) for evidence in map(str, noted)]
    for lost in missing_notices(case.place, one.name, told):
        yield Finding(
            "revocation.revoked",
            Severity.BLOCK,
            one.name,
            "the license of this release was taken back, and the notice of it is not here",
            expected=f"the notice {printable(lost.evidence)}",
            found="no such evidence",
            do="ask the team for it, and whether the model is still used",
        )


def is_after(text: object, when: datetime) -> bool:
    """Whether a text is a time, and later than another."""
    try:
        return times.parse(str(text)) > when
    except ValueError:
        return False


def _roles(approval: Mapping[str, Any]) -> list[Any]:
    found = approval.get("roles")
    return (
        list(found) if isinstance(found, list | tuple) else [approval["role"]] if "role" in approval else []
    )
