"""`databom attach`: keep evidence beside a pin, once it holds.

What a file is, its content says: a signed statement (DSSE), an x402 receipt (JWS), or evidence of a payment that nobody
signed. Nothing is kept that does not hold: signed in a role that may, about the manifest that is pinned now, and a
receipt agrees with what the manifest and the policy say. What is kept is verified again each time it counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from databom.checks.approvals import check_acceptance
from databom.checks.consents import Statements
from databom.checks.payment import check_payment
from databom.checks.revocation import check_notice
from databom.errors import InputError, Problem
from databom.log.events import Event, Paid
from databom.model import strictjson, times
from databom.model.digest import sha256
from databom.model.finding import Finding, Report, Subject, findings_of
from databom.model.manifest import Manifest
from databom.model.proofs import Proof, Proofs
from databom.model.receipts import Receipt, format_unsigned, read_receipt, read_unsigned
from databom.model.text import printable
from databom.storage import files
from databom.tasks.attached import jws_name, open_jws, read_evidence, statement_name, unsigned_name
from databom.tasks.believing import Believed, load_trust
from databom.tasks.judging import judge_pin
from databom.tasks.noting import approved, noting
from databom.tasks.project import Project, exclusive_project, find_root
from databom.tasks.spending import spent_elsewhere
from databom.tasks.taken_back import revoked
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.proof import open_proof
from databom.trust.root import TrustRoot
from databom.trust.x402 import compact_of

_HEADER = re.compile(rb"(?im)^crawler-charged:[ \t]*([A-Z]{3})[ \t]+([0-9.]{1,40})[ \t]*\r?$")
NO_TRANSACTION = "none"
"""What the log says of an x402 receipt without one: its digest is what it is known by."""
_KNOWN = "a signed statement (DSSE), an x402 receipt (JWS), JSON with a transaction_id, or headers with crawler-charged"


class _Evidence(NamedTuple):
    """What is to be kept: bytes under a name, and what they prove."""

    name: str
    raw: bytes
    proof: Proof | None = None
    unsigned: Receipt | None = None


def attach(
    name: str, file: Path | str, *, project: Path | str | None = None, now: datetime | None = None
) -> Report:
    """Keep a receipt, consent, redaction record, approval, waiver or notice of revocation beside the pin `name`.

    It goes to `provenance/evidence/<name>/` under a name made from its digest: attaching it again changes nothing.
    Unsigned evidence of a payment is kept only where the policy asks for no more (`payment` is `declared` or `off`),
    and what is kept of it is what counts, not the whole file.

    Returns:
        A report on the evidence alone; nothing was kept unless its verdict is `pass`.

    Raises:
        ConfigError: no project, no such pin, no trust root.
        StorageError: the file cannot be read, or the evidence not be written.
    """
    now = times.or_now(now)
    folder = Path(project).absolute() if project is not None else find_root()
    with noting(folder, now) as happened, exclusive_project(folder):
        place = Project.load(folder)
        pin = place.pin(name)
        believed = load_trust(place)
        report = Report(
            Subject(name, pin.release, pin.manifest, pin.tree),
            believed.findings,
            trust=believed.digest,
            policy=place.config.policy_digest,
        )
        try:
            judged = judge_pin(place, name, believed, now=now)
            if not judged.is_believed or judged.manifest is None:
                return replace(report, findings=judged.doubts)
            raw = read_evidence(Path(file))
            evidence = _read(place, name, raw, Path(file).name, believed, now)
            report = report.plus(_doubts(place, name, evidence, judged.manifest, believed, now))
        except InputError as error:
            return report.plus(findings_of(error))
        if not report.blocking and keep_evidence(place.evidence_dir(name) / evidence.name, evidence.raw):
            happened.extend(_events(name, pin.release, evidence, judged.manifest))
    return report


def _read(place: Project, name: str, raw: bytes, file: str, believed: Believed, now: datetime) -> _Evidence:
    """What the bytes are, verified.

    Raises:
        InputError: they are no evidence, or do not hold.
    """
    pinned = place.pin(name).manifest
    jws = compact_of(raw)
    value = None if jws is not None else _object(raw)
    is_statement = value is not None and "payloadType" in value
    root = believed.root
    if (jws is not None or is_statement) and root is None:
        raise _refused("evidence.invalid", file, "there is no trust root that is believed", "one", "none")
    if jws is not None:
        assert root is not None
        kept = jws_name(pinned, jws)
        return _Evidence(kept, jws, open_jws(place, name, jws, pinned, root, file=file, now=now))
    if is_statement:
        assert root is not None
        return _statement(raw, root, pinned, file, now)
    record = _unsigned(raw, value, pinned, file)
    if place.config.policy.payment == "signed":
        raise _refused(
            "payment.unsigned",
            file,
            "nobody has signed this, and the policy asks for a verified receipt",
            'a receipt signed by a key of the role payment (policy.payment is "signed")',
            "unsigned evidence",
        )
    kept = unsigned_name(record)
    return _Evidence(kept, record, unsigned=read_unsigned(record, file=kept, digest=sha256(record))[1])


def _statement(raw: bytes, root: TrustRoot, pinned: str, file: str, now: datetime) -> _Evidence:
    proof = open_proof(raw, root, file=file, now=now)
    if proof.manifest != pinned:
        code = "payment.mismatch" if proof.kind == "payment" else "evidence.invalid"
        what = f"this {proof.kind} is about another manifest than the pinned one"
        raise _refused(code, file, what, pinned, proof.manifest)
    return _Evidence(statement_name(proof.kind, raw), raw, proof)


def _unsigned(raw: bytes, value: dict[str, Any] | None, pinned: str, file: str) -> bytes:
    """The record of unsigned evidence.

    Raises:
        InputError: there is none in these bytes.
    """
    source = sha256(raw)
    if value is not None and isinstance(value.get("transaction_id"), str):
        said = {key: value.get(key) for key in ("amount", "payer", "payee")}
        return format_unsigned(pinned, source, "transaction", transaction_id=value["transaction_id"], **said)
    headers = _HEADER.findall(raw) if value is None else []
    if len(headers) == 1:
        currency, amount = (part.decode() for part in headers[0])
        return format_unsigned(
            pinned, source, "crawler-charged", amount={"value": amount, "currency": currency}
        )
    raise _refused(
        "evidence.invalid", file, "this is no evidence that databom knows", _KNOWN, "something else"
    )


def _doubts(
    place: Project, name: str, evidence: _Evidence, manifest: Manifest, believed: Believed, now: datetime
) -> Iterable[Finding]:
    """What speaks against it, as if it were all there is."""
    proof, unsigned = evidence.proof, evidence.unsigned
    proofs = Proofs(
        held=(proof,) if proof is not None else (), unsigned=(unsigned,) if unsigned is not None else ()
    )
    if proof is not None and proof.kind in ("approval", "waiver"):
        return check_acceptance(proof, place.config, now)
    if proof is not None and proof.kind == "revocation":
        return [doubt] if (doubt := check_notice(proof)) is not None else []
    if proof is not None and proof.kind != "payment":
        return Statements(proofs).invalid
    from databom.tasks.recollecting import recollect

    told = recollect(place, believed, now)
    proofs = replace(proofs, spent=spent_elsewhere(place, name, manifest, proofs, told.spent))
    # Under `off` nothing is asked of a payment, but what contradicts the manifest is not taken in either.
    asked = place.config.policy
    policy = replace(asked, payment="declared") if asked.payment == "off" else asked
    return (*told.findings, *check_payment(manifest, policy, proofs, now))


def keep_evidence(path: Path, raw: bytes) -> bool:
    """Keep the bytes of evidence; False where they are kept already."""
    if path.exists() and read_evidence(path) == raw:
        return False
    files.write_new(path, raw)
    return True


def _events(name: str, release: str, evidence: _Evidence, manifest: Manifest) -> Iterator[Event]:
    """What the log is to say: of signed statements alone, since nobody vouches for any other."""
    proof = evidence.proof
    if proof is None:
        return
    if proof.kind in ("approval", "waiver"):
        yield approved(name, release, proof)
    if proof.kind == "revocation":
        yield revoked(name, release, proof, manifest)
    if proof.kind != "payment":
        return
    receipt = read_receipt(proof.predicate, form=proof.form, file=proof.file, digest=proof.digest)
    yield Paid(
        name=name,
        release=release,
        manifest=proof.manifest,
        evidence=proof.digest,
        transaction_id=receipt.transaction_id or NO_TRANSACTION,
        model=receipt.model,
        value=receipt.amount.value if receipt.amount else None,
        currency=receipt.amount.currency if receipt.amount else None,
        payer=receipt.payer,
    )


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = strictjson.loads(
            raw, prefix="evidence", limit=MAX_ENVELOPE_BYTES, max_string=MAX_ENVELOPE_BYTES
        )
    except InputError:
        return None
    return value if isinstance(value, dict) else None


def _refused(code: str, file: str, what: str, expected: str, found: str) -> InputError:
    do = "ask whoever made it for the right one" if code != "evidence.invalid" else "look at what it is"
    return InputError(Problem(code, printable(file), what, expected, printable(found), do))
