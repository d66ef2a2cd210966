"""`databom bundle verify FILE`: is what an archive says about a training run so? Needs no project and no network.

In this order:

1. the archive is of its one form, and holds what its index says;
2. whom to believe: a trust root that the auditor names, one whose digest the auditor names, or that of the project one
   stands in. With none of these the enclosed root is believed for the sake of the argument, and `trust.unanswered` says
   so: all else is checked, and there is no pass;
3. the receipt: signed by the role `receipt`, in a log whose checkpoint the role `log` signed;
4. each entry of the log that is enclosed: in that log, and about a release of the receipt;
5. each release of the receipt: the manifest and tree that it names, signed by who may, and what the enclosed policy
   says of license, payment and consent, as of the time at which the run ended; what it says today is told beside it;
6. what the receipt and the log name by digest is what is enclosed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.log import unwitnessed
from databom.checks.receipt import Receipt, check_receipt
from databom.errors import ConfigError, InputError
from databom.log.checkpoint import Opened, Speakers, open_checkpoint
from databom.log.tlogproof import TlogProof, parse_proof
from databom.model import times
from databom.model.audit_bundle import CHECKPOINT, PROOF, RECEIPT, RUN, TRUST
from databom.model.explanation import DECLARED, VERIFIED, Explanation, Line
from databom.model.finding import Finding, Report, Severity, Subject, findings_of
from databom.model.text import printable
from databom.model.trainings import COMPLETED, DEPENDENCIES_FILE, SUBJECTS_FILE
from databom.tasks.audit_bundle_named import concerns
from databom.tasks.audit_bundle_reading import (
    Bundle,
    Enclosed,
    as_project,
    changed,
    laid_out,
    mismatch,
    open_bundle,
    unanswered,
)
from databom.tasks.audit_bundle_releases import (
    Then,
    document_findings,
    explanation_of,
    release_findings,
)
from databom.tasks.believing import Believed, load_trust
from databom.tasks.explaining import Case
from databom.tasks.finding_receipts import Found, whole
from databom.tasks.project import Project, find_root
from databom.tasks.rootfile import is_named, require_digest

OWN_WORD = "trust.unanswered"


class BundleAnswer(Struct, frozen=True):
    """What there is to say of a bundle: a report; and, where its receipt is believed, what is known of the run."""

    report: Report
    explanation: Explanation | None = None
    digest: str | None = None
    """Of the archive."""

    def to_dict(self) -> dict[str, Any]:
        """The report, and `bundle`: `digest`, and what is known of the run as `databom explain` writes it."""
        known = self.explanation.to_dict() if self.explanation is not None else None
        return {**self.report.to_dict(), "bundle": {"digest": self.digest, "explanation": known}}


def verify_bundle(
    file: Path | str,
    *,
    trust: Path | str | None = None,
    trust_digest: str | None = None,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> BundleAnswer:
    """Check an audit bundle from its bytes alone. Reads only, asks no network; a "no" is a verdict.

    Args:
        file: the archive.
        trust: the trust root to judge by.
        trust_digest: `sha256:<hex>` of the trust root: of the one that is named, else of the enclosed one, which is
            believed if it has it.
        project: the project whose trust root judges; by default the one around the working directory, if there is one.
        now: what is called today.

    Raises:
        ConfigError: the trust root that is named cannot be used, or the digest is none.
        StorageError: the file cannot be read.
    """
    file, now = Path(file), times.or_now(now)
    if trust_digest is not None:
        require_digest(trust_digest)
    bundle, findings = open_bundle(file)
    if bundle is None:
        return BundleAnswer(_report(f"bundle {printable(file.name)}", findings, None))
    with laid_out(bundle) as folder:
        believed, doubts = _whom(bundle, folder, trust, trust_digest, project)
        findings += [*bundle.index.missing(), *doubts, *_expired(believed, now)]
        about = f"bundle of {printable(bundle.index.run)}"
        if believed is None or believed.root is None or any(_is_refusal(one) for one in believed.findings):
            return BundleAnswer(_report(about, findings, believed), None, bundle.digest)
        explanation, more = _judged(bundle, folder, believed, now)
        if explanation is not None and any(one.code == OWN_WORD for one in doubts):
            explanation = replace(explanation, lines=tuple(map(_declared, explanation.lines)))
    return BundleAnswer(_report(about, [*findings, *more], believed), explanation, bundle.digest)


def _report(about: str, findings: list[Finding], believed: Believed | None) -> Report:
    trust = believed.digest if believed is not None else None
    return Report(Subject(), tuple(dict.fromkeys(findings)), trust=trust, about=about)


def _is_refusal(finding: Finding) -> bool:
    """Whether a trust root is not the one to judge by: then nothing is explained by it."""
    return finding.severity is Severity.BLOCK


def _declared(line: Line) -> Line:
    """A line, where only the bundle itself says whom to believe: then nothing in it is more than said."""
    return replace(line, strength=DECLARED) if line.strength == VERIFIED else line


# --- whom to believe -----------------------------------------------------------------------------------


def _whom(
    bundle: Bundle, folder: Path, trust: Path | str | None, digest: str | None, project: Path | str | None
) -> tuple[Believed | None, tuple[Finding, ...]]:
    """Who is believed, and what there is to say about that.

    Raises:
        ConfigError: as `load_trust`.
    """
    if is_named(trust):
        believed = load_trust(_project(project), Path(trust) if trust is not None else None, digest)
        return believed, believed.findings
    if digest is None and (place := _project(project)) is not None:
        believed = load_trust(place)
        return believed, believed.findings
    if TRUST not in bundle.files:
        return None, (unanswered(TRUST, "the bundle has no trust root, and none is named", "--trust FILE"),)
    try:
        believed = load_trust(None, folder / TRUST, digest)
    except ConfigError as error:
        told = printable(str(error).replace(f"{folder}/", ""), 300)
        return None, (
            mismatch(TRUST, f"the enclosed trust root is none: {told}", "a trust root", "another document"),
        )
    if digest is not None or believed.root is None:
        return believed, believed.findings
    return believed, (*believed.findings, _own_word(believed.root.digest))


def _project(named: Path | str | None) -> Project | None:
    """The project whose root judges; None outside of any.

    Raises:
        ConfigError: the one that is named cannot be used.
    """
    if named is None:
        try:
            find_root()
        except ConfigError:
            return None
    return Project.load(named)


def _own_word(digest: str) -> Finding:
    return Finding(
        OWN_WORD,
        Severity.BLOCK,
        TRUST,
        "nobody but the bundle itself says whom to believe: all else was checked by the trust root that is in it",
        expected="a trust root that you know, or its digest",
        found=digest,
        do="compare this digest with the team over another channel, then name it: --trust-digest sha256:…",
    )


def _expired(believed: Believed | None, now: datetime) -> Iterator[Finding]:
    """A root that has expired since: what it said then it said; nobody says so today."""
    root = believed.root if believed is not None else None
    if root is not None and root.expires <= now:
        yield Finding.of(root.expired_problem(now), Severity.WARN)


# --- the receipt and the log ---------------------------------------------------------------------------


def _judged(
    bundle: Bundle, folder: Path, believed: Believed, now: datetime
) -> tuple[Explanation | None, list[Finding]]:
    assert believed.root is not None
    place, findings = as_project(bundle, folder)
    raw, beside = bundle.files[RECEIPT], bundle.below(RUN)
    receipt = check_receipt(raw, believed.root, beside)
    findings += receipt.findings
    if receipt.digest != bundle.index.receipt:
        findings.append(
            changed(RECEIPT, "the index is about another receipt", bundle.index.receipt, receipt.digest)
        )
    if not receipt.is_believed:
        return None, findings
    findings += _stated(receipt, bundle, now)
    log, more = _log(bundle, place, Speakers.of(believed.root), now)
    findings += more
    predicate = receipt.statement["predicate"]
    found = Found(
        receipt,
        printable(str(predicate["runDetails"]["metadata"]["invocationId"])),
        RECEIPT,
        log.index,
        f"{PROOF}: entry {log.index} of a log of {log.size:,}" if log.index is not None else None,
        log.opened is not None and not log.opened.is_development,
        beside,
    )
    subjects = whole(receipt.statement["subject"], SUBJECTS_FILE, beside)
    dependencies = whole(predicate["buildDefinition"]["resolvedDependencies"], DEPENDENCIES_FILE, beside)
    search = Enclosed(place, believed.root, bundle, log.opened, log.entries, now)
    # What there is to say of the root itself is said once, and not of each release again.
    case = Case(place, replace(believed, findings=()), now, found, search, subjects, dependencies)
    then = Then.of(case)
    findings += release_findings(then, bundle)
    findings += document_findings(then, bundle)
    manifests = {one.manifest for one in then.used if one.manifest is not None}
    for index, entry in bundle.entries():
        if not concerns(index, entry, manifests):
            what = "this entry of the log is about no release of the receipt"
            findings.append(
                mismatch(f"log/{index}.json", what, "an event about one of them", "another entry")
            )
    return explanation_of(then), findings


def _stated(receipt: Receipt, bundle: Bundle, now: datetime) -> Iterator[Finding]:
    """What the receipt says of itself."""
    predicate = receipt.statement["predicate"]
    run = predicate["runDetails"]["metadata"]["invocationId"]
    if run != bundle.index.run:
        yield changed(RECEIPT, "the index is about another run", printable(bundle.index.run), str(run))
    ended = times.parse(str(predicate["runDetails"]["metadata"]["finishedOn"]))
    if ended > now + times.CLOCK_SKEW:
        yield Finding(
            "receipt.invalid",
            Severity.BLOCK,
            printable(str(run)),
            "the run has not ended yet, by this machine's clock, and what holds then nobody knows",
            expected=f"before {times.format(now)}",
            found=times.format(ended),
            do="check this machine's clock; then ask the team",
        )
    internal = predicate["buildDefinition"]["internalParameters"]
    verdict, status = str(internal["verdict"]), str(internal["status"])
    if verdict != "pass" or status != COMPLETED:
        yield Finding(
            "capture.verdict",
            Severity.BLOCK,
            printable(str(run)),
            "the data of the run was not known to be what was verified, or the run did not complete",
            expected=f"verdict pass, {COMPLETED}",
            found=printable(f"{verdict}, {status}"),
            do="its report says why (run/report.json); train again on verified data",
        )


class _Log(Struct, frozen=True):
    """What is proved to be in the log."""

    opened: Opened | None = None
    index: int | None = None
    """Of the receipt."""
    entries: Mapping[int, bytes] = {}

    @property
    def size(self) -> int:
        return self.opened.checkpoint.size if self.opened is not None else 0


def _log(bundle: Bundle, place: Project, speakers: Speakers, now: datetime) -> tuple[_Log, list[Finding]]:
    """The receipt and the entries, each in the one log whose checkpoint is enclosed."""
    if CHECKPOINT not in bundle.files or PROOF not in bundle.files:
        return _Log(), [
            unanswered(PROOF, "nothing shows that the receipt was in the log", "a proof, a checkpoint")
        ]
    findings: list[Finding] = []
    raw, origin = bundle.files[CHECKPOINT], place.config.log_origin or None
    try:
        opened = open_checkpoint(raw, speakers, origin, now=now, ever=True)
        try:
            open_checkpoint(raw, speakers, origin, now=now)
        except InputError as error:
            findings += [replace(one, severity=Severity.WARN) for one in findings_of(error)]
    except InputError as error:
        return _Log(), [*findings, *(replace(one, subject=CHECKPOINT) for one in findings_of(error))]
    findings += unwitnessed(opened, speakers)
    at, doubts = _proved(bundle, PROOF, bundle.files[RECEIPT], opened)
    findings += doubts
    proved: dict[int, bytes] = {}
    for index, entry in bundle.entries():
        path = f"log/{index}.tlog-proof"
        if path not in bundle.files:
            findings.append(changed(path, "this entry has no proof", "a proof", "none"))
            continue
        found, doubts = _proved(bundle, path, entry, opened)
        if found is not None and found != index:
            doubts = [
                mismatch(path, "this is the proof of another entry", f"entry {index}", f"entry {found}")
            ]
        findings += doubts
        if not doubts:
            proved[index] = entry
    for file in bundle.index.files:
        if file.what == "entry-proof" and f"log/{file.about}.json" not in bundle.files:
            findings.append(
                changed(file.path, "this is the proof of an entry that is not there", "an entry", "none")
            )
    return _Log(opened, at, proved), findings


def _proved(bundle: Bundle, path: str, entry: bytes, opened: Opened) -> tuple[int | None, list[Finding]]:
    """Where an entry stands in the log with this checkpoint; or why nothing shows that it does."""
    try:
        proof: TlogProof = parse_proof(bundle.files[path])
        if proof.checkpoint == bundle.files[CHECKPOINT] and proof.holds_for(entry):
            return proof.index, []
    except InputError as error:
        return None, [replace(one, subject=path) for one in findings_of(error)]
    what = "this proof does not lead from the entry to the checkpoint that is enclosed"
    return None, [mismatch(path, what, str(opened.checkpoint), "another entry, proof or checkpoint")]
