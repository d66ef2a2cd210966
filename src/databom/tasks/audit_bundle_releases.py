"""What a bundle says of the releases of a run, and of the documents beside its receipt: as of its end, and today.

A release is judged twice, by the same root and policy: at the time at which the run ended, which the verdict is about,
and at the present one. A key, a license or a consent that has ended since, or a license that was taken back, does not
change what was then; it is told (`bundle.since`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from databom.checks.receipt import moved_lists
from databom.log.events import Refused, read_entry
from databom.model import times
from databom.model.audit_bundle import LOCK, POLICY, RUN, TRUST_THEN
from databom.model.digest import sha256
from databom.model.explanation import DATA, DECLARED, MISSING, RERUN, VERIFIED, Explanation, Line, Strength
from databom.model.finding import Finding, Severity
from databom.model.proofs import Proof, Proofs
from databom.model.text import printable
from databom.model.trainings import ENVIRONMENT_FILE, RECORD_FILE
from databom.tasks.attached import JWS_SUFFIX
from databom.tasks.audit_bundle_named import (
    ENVIRONMENT_URI,
    POLICY_URI,
    TRUST_URI,
    document_digest,
    is_about,
    named_as,
    named_documents,
    named_evidence,
    with_uri,
)
from databom.tasks.audit_bundle_reading import Bundle, mismatch, unanswered
from databom.tasks.explained_data import Used, data_lines, is_after, lost_notices, used_by
from databom.tasks.explained_rerun import command_of
from databom.tasks.explaining import Case, digest_of, model_lines, run_lines
from databom.tasks.finding_receipts import notes_of
from databom.tasks.gated_run import PRESENT
from databom.tasks.gatekeeping import Gatekeeper
from databom.tasks.judging import Judged


class Then(Struct, frozen=True):
    """A run's releases, as of its end and as of now."""

    case: Case
    """As of now."""
    ended: datetime
    used: tuple[Used, ...]
    """As of the run's end."""
    weighed: tuple[tuple[Judged | None, Judged | None], ...]
    """Each release judged by policy and proofs: then, and now. None where its manifest is not to be had."""

    @classmethod
    def of(cls, case: Case) -> Then:
        """The releases of a run, judged."""
        metadata = case.found.receipt.statement["predicate"]["runDetails"]["metadata"]
        ended = times.parse(str(metadata["finishedOn"]))
        before = replace(case, now=ended)
        used = tuple(used_by(before))
        weighed = tuple(
            (_weighed(before, one), _weighed(case, now)) for one, now in zip(used, used_by(case), strict=True)
        )
        return cls(case, ended, used, weighed)


def _weighed(case: Case, one: Used) -> Judged | None:
    """A release judged with the proofs about it, at the case's time."""
    judged = one.judged
    if judged is None or judged.manifest is None or not judged.is_believed:
        return judged
    keeper = Gatekeeper.of(case.place, one.name, judged, case.believed, case.now)
    weighed = replace(keeper, proofs=_by(keeper.proofs, case.now)).documents(judged)
    return replace(weighed, policy=(*weighed.policy, *lost_notices(case, one)))


def _by(proofs: Proofs, when: datetime) -> Proofs:
    """Without the notices of revocation that say that they were written later."""
    return replace(proofs, held=tuple(one for one in proofs.held if not _is_later(one, when)))


def _is_later(proof: Proof, when: datetime) -> bool:
    return proof.kind == "revocation" and is_after(proof.predicate.get("issued_at"), when)


# --- releases ------------------------------------------------------------------------------------------


def release_findings(then: Then, bundle: Bundle) -> Iterator[Finding]:
    """All there is to say of the releases: what the receipt names is what is enclosed, and might be used."""
    case = then.case
    yield from _policy(case, bundle)
    yield from _uses(then)
    owned_up = {(one.what, one.about) for one in bundle.index.absent}
    if case.has_moved and not any(what == "list" for what, _ in owned_up):
        yield unanswered(
            "receipt", "a list was moved out of the receipt, and is not in the bundle", "the list"
        )
    for one, (before, today) in zip(then.used, then.weighed, strict=True):
        raw = bundle.files.get(f"provenance/manifests/{one.name}.json")
        if one.manifest is None or raw is None:
            if ("manifest", one.name) not in owned_up:
                what = "the manifest of a release of the receipt is not in the bundle"
                yield unanswered(one.name, what, one.manifest or "a digest")
            continue
        if sha256(raw) != one.manifest:
            what = "this manifest is not the one that the receipt names"
            yield mismatch(f"provenance/manifests/{one.name}.json", what, one.manifest, sha256(raw))
            continue
        if before is None:
            what = "this is no manifest, or what stands beside it is too large: nobody is known to have signed it"
            yield mismatch(
                f"provenance/manifests/{one.name}.json", what, "a signed manifest", "another document"
            )
            continue
        yield from _named(one, before)
        is_used, is_judged = one.notes.get("use", PRESENT) != PRESENT, POLICY in bundle.files
        yield from (*before.doubts, *(before.policy if is_used and is_judged else ()))
        yield from _since(one, before, today)
    yield from _evidence(then, bundle, owned_up)


def _uses(then: Then) -> Iterator[Finding]:
    """Whether the receipt says at all which data the run used."""
    if not then.used and not then.case.has_moved:
        yield unanswered(
            "receipt", "the receipt names no release, so nobody knows what was used", "a release"
        )
    elif then.used and all(one.notes.get("use", PRESENT) == PRESENT for one in then.used):
        yield Finding(
            "capture.present",
            Severity.WARN,
            printable(then.case.found.run),
            "the run is not known to have used any pin: the pins were present, and no more",
            expected="a pin that was read, declared, logged as an input, or a stage's dependency",
            found=printable(", ".join(one.name for one in then.used), 400),
            do='say what a training uses: databom.use("NAME"), databom.open(), or deps of its DVC stage',
        )


def _policy(case: Case, bundle: Bundle) -> Iterator[Finding]:
    named, enclosed = named_as(case, POLICY_URI), case.place.config.policy_digest
    if POLICY not in bundle.files:
        if all(one.what != "policy" for one in bundle.index.absent):
            yield unanswered(
                POLICY, "the bundle has no policy, so nobody can say what was allowed", "the policy"
            )
    elif named is None:
        yield unanswered(
            POLICY, "the receipt names no policy, so the enclosed one is nobody's word", "a digest"
        )
    elif named != enclosed:
        yield mismatch(POLICY, "this is not the policy that held when the run ended", named, enclosed)


def _named(one: Used, judged: Judged) -> Iterator[Finding]:
    """The manifest against the other things that the receipt says of it."""
    manifest = judged.manifest
    if manifest is None:
        return
    if manifest.tree and manifest.tree != one.tree:
        what = "the receipt names another tree than the manifest has"
        yield mismatch(one.name, what, str(one.tree), manifest.tree)
    if printable(manifest.release) != one.release:
        yield mismatch(one.name, "the receipt calls this release otherwise", one.release, manifest.release)


def _since(one: Used, before: Judged, today: Judged | None) -> Iterator[Finding]:
    then, now = _blocking(before), _blocking(today)
    if news := sorted(now - then):
        yield Finding(
            "bundle.since",
            Severity.WARN,
            one.name,
            "today this release would be refused: that is about using it now, and not about the run",
            expected=printable(", ".join(sorted(then))) or "no refusal, as when the run ended",
            found=printable(", ".join(news)),
            do="ask the team whether the model is still used: databom gate MODEL_URI",
        )


def _blocking(judged: Judged | None) -> set[str]:
    found = (*judged.doubts, *judged.policy) if judged is not None else ()
    return {one.code for one in found if one.severity is Severity.BLOCK}


# --- evidence ------------------------------------------------------------------------------------------


def _evidence(then: Then, bundle: Bundle, owned_up: set[tuple[str, str | None]]) -> Iterator[Finding]:
    """Each document about a release is about one that the receipt names; and each that is named is there."""
    by_name = {one.name: one for one in then.used}
    digests: dict[str, set[str]] = {name: set() for name in by_name}
    for file in bundle.index.files:
        if file.what in {"manifest", "evidence", "report", "shard", "signature", "timestamps"}:
            one = by_name.get(file.about or "")
            if one is None or one.manifest is None:
                yield mismatch(
                    file.path, "the receipt names no such release", "one of its releases", file.about or ""
                )
            elif file.what == "evidence":
                digests[one.name].add(file.sha256)
                name = PurePosixPath(file.path).name
                if is_about(name, bundle.files[file.path], one.manifest) is False:
                    what = "this document is about another release than the one that the receipt names"
                    yield mismatch(file.path, what, one.manifest, "another manifest")
            elif file.what == "report" and file.sha256 != one.notes.get("decisionReport"):
                named = str(one.notes.get("decisionReport"))
                yield mismatch(
                    file.path, "this report is not the one that the receipt names", named, file.sha256
                )
    yield from _sources(then, bundle)
    for one in then.used:
        path, report = f"provenance/reports/{one.name}.json", one.notes.get("decisionReport")
        if isinstance(report, str) and path not in bundle.files and ("report", one.name) not in owned_up:
            yield _left_out(path, printable(report))
        for digest in sorted(named_evidence(one.notes) - digests[one.name]):
            if ("evidence", one.name) not in owned_up:
                what = "the receipt names a signed statement about this release that is not in the bundle"
                yield mismatch(one.name, what, digest, "no such file")
    yield from _told(bundle, digests)


def _told(bundle: Bundle, digests: Mapping[str, set[str]]) -> Iterator[Finding]:
    """What the log tells of and is not among these digests of each pin's evidence."""
    for index, raw in bundle.entries():
        entry = read_entry(index, raw)
        said = entry.document if isinstance(entry.document, dict) else {}
        # What was refused is not kept: the log says that somebody handed it in, and no more.
        stated = said.get("evidence") if entry.kind != Refused.kind else None
        if isinstance(stated, str) and stated not in digests.get(str(said.get("name")), set()):
            yield Finding(
                "bundle.incomplete",
                Severity.WARN,
                f"log/{index}.json",
                "the log tells of a signed statement that is not in the bundle",
                expected=printable(stated),
                found="no such file; one that was signed again by others has another digest",
                do="ask the team for it",
            )


def _sources(then: Then, bundle: Bundle) -> Iterator[Finding]:
    """Whether the log, too, says where a manifest came from that an x402 receipt is for.

    Such a receipt is for a place, and nobody has signed the lock, which says that the manifest came from there.
    """
    said = [read_entry(index, raw).document for index, raw in bundle.entries()]
    pinned = {(str(one.get("manifest")), str(one.get("source"))) for one in said if _is_pinned(one)}
    what = (
        "the log does not say that this release came from there, so an x402 receipt shows no payment for it"
    )
    for one in then.used:
        folder = bundle.below(f"provenance/evidence/{one.name}/")
        pin = then.case.place.lock.pins.get(one.name)
        if pin is None or not any(name.endswith(JWS_SUFFIX) for name in folder):
            continue
        if (one.manifest, pin.source) not in pinned:
            if said:
                yield mismatch(one.name, what, "an entry `pinned` with this source", pin.source)
            else:
                yield unanswered(one.name, what, f"an entry `pinned` with the source {printable(pin.source)}")


def _is_pinned(document: Any) -> bool:
    return isinstance(document, dict) and document.get("event") == "pinned"


# --- documents -----------------------------------------------------------------------------------------


def document_findings(then: Then, bundle: Bundle) -> Iterator[Finding]:
    """The documents beside the receipt: each is the one that it names; one that it does not name is told."""
    case = then.case
    named, lists = named_documents(case), moved_lists(case.found.receipt.statement)
    for file in bundle.index.files:
        name, raw = file.path.removeprefix(RUN), bundle.files[file.path]
        if file.what not in {"document", "list"} or name in lists:
            continue  # a list that was moved out of the receipt was checked with it
        if name not in named:
            yield Finding(
                "bundle.unnamed",
                Severity.INFO,
                file.path,
                "nothing signed names this document: it is the word of whoever made the bundle",
            )
        elif named[name] != (found := document_digest(name, raw)):
            yield mismatch(
                file.path, "this document is not the one that the receipt names", named[name], found
            )
    owned_up = {one.about for one in bundle.index.absent if one.what == "document"}
    for name in sorted(named.keys() - owned_up - {RECORD_FILE}):
        if RUN + name not in bundle.files:
            yield _left_out(RUN + name, named[name])
    trust = named_as(case, TRUST_URI)
    if TRUST_THEN in bundle.files and trust != (found := sha256(bundle.files[TRUST_THEN])):
        yield mismatch(TRUST_THEN, "this is not the trust root that the receipt names", str(trust), found)


def _left_out(path: str, digest: str) -> Finding:
    return Finding(
        "bundle.incomplete",
        Severity.WARN,
        path,
        "the receipt names this document, and it is not in the bundle",
        expected=digest,
        found="no such file",
        do="ask the team for it",
    )


# --- in words ------------------------------------------------------------------------------------------


def explanation_of(then: Then) -> Explanation:
    """What is known of the run, as `databom explain` says it; what was then beside what is now."""
    case = then.case
    assert case.believed.root is not None
    lines = [
        *run_lines(case, None),
        _trust_line(case),
        *data_lines(case),
        *_judged_lines(then),
        *model_lines(case),
        *_again(then),
    ]
    order = {"run": 0, DATA: 1, "models": 2, RERUN: 3}
    lines.sort(key=lambda line: (order[line.question], line.pin or "" if line.question == DATA else ""))
    receipt = case.found.receipt.digest
    return Explanation(
        case.found.run, case.found.run, receipt, case.found.index, case.believed.root.digest, tuple(lines)
    )


def _trust_line(case: Case) -> Line:
    """Whether the root that judges is the one of then."""
    stated, judged_by = named_as(case, TRUST_URI), case.believed.digest
    if stated is None:
        told = "the receipt does not say which one was believed"
        return Line("run", "trust root", told, MISSING, case.receipt)
    is_same = stated == judged_by
    told = "the same as when the run ended" if is_same else f"another one than when the run ended ({stated})"
    strength = case.said if is_same else DECLARED
    return Line("run", "trust root", told, strength, f"{judged_by} judges; {case.receipt}")


def _judged_lines(then: Then) -> Iterator[Line]:
    """Whether each release might be used when the run ended, judged from the bundle."""
    for one, (before, _) in zip(then.used, then.weighed, strict=True):
        if before is None or before.manifest is None:
            continue
        codes = ", ".join(sorted(_blocking(before)))
        told = f"not allowed: {codes}" if codes else "allowed"
        evidence = f"{one.where}, policy {then.case.place.config.policy_digest[:19]}…, as of {times.format(then.ended)}"
        yield Line(DATA, "judged as of its end", told, VERIFIED, evidence, one.name)


def _again(then: Then) -> Iterator[Line]:
    """What a second run would need, as far as the bundle shows it."""
    case = then.case
    yield Line(RERUN, "code", *_code(case))
    for one in then.used:
        pin = case.place.lock.pins.get(one.name)
        kept = one.judged is not None and one.judged.manifest is not None
        told = (
            "not in a bundle; its manifest names each by digest" if kept else "nobody can tell which they are"
        )
        root = printable(pin.root, 400) if pin is not None and pin.root else "the place is not told"
        yield Line(RERUN, "assets", told, DECLARED if kept else MISSING, f"{root}; {LOCK}", one.name)
    noted, digest = with_uri(case, ENVIRONMENT_URI), named_as(case, ENVIRONMENT_URI)
    listed = case.found.beside.get(ENVIRONMENT_FILE)
    evidence = f"{digest} in the {case.receipt}" if digest else case.receipt
    if noted is not None and listed is not None and sha256(listed) == digest:
        notes = notes_of(noted)
        python = printable(f"Python {notes.get('python', '?')}, {notes.get('platform', '?')}")
        told = f"{python}; {len(listed.splitlines()):,} packages, in {RUN}{ENVIRONMENT_FILE}"
        yield Line(RERUN, "environment", told, case.said, evidence)
    else:
        told = "its list is not in the bundle" if digest else "nothing was noted of it"
        yield Line(RERUN, "environment", told, MISSING, evidence)
    yield Line(RERUN, "command", *command_of(case))


def _code(case: Case) -> tuple[str, Strength, str]:
    code = case.dependency("code")
    commit = digest_of(code, "gitCommit") if code is not None else None
    if code is None or commit is None:
        return "no commit was noted", MISSING, case.receipt
    uri = printable(str(code.get("uri", "no remote was noted")))
    if notes_of(code).get("dirty") is not False:
        return f"{commit}, and what differed from it is not kept", MISSING, f"{uri}; {case.receipt}"
    return f"{commit}, clean; look for it at its remote", case.said, f"{uri}; {case.receipt}"
