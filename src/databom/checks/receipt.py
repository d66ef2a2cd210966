"""Is this a receipt, and who says so? Asked of the bytes alone, with a trust root, years later, by anybody.

1. The bytes are a DSSE envelope around an in-toto Statement v1 with a SLSA Provenance v1 predicate of our build type.
2. Enough keys of the trust root's `receipt` role signed it, each inside its window at the time the run says it ended.
3. Lists that were moved out, where they are given, have the digests that the receipt names.

What is not asked here: whether the receipt is in the log, and whether the things it names are still the same. A key
past its window could sign an old time; that no receipt was made up later, only the log shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from databom.errors import InputError
from databom.model import times
from databom.model.digest import hex_of, sha256
from databom.model.finding import Finding, Severity
from databom.model.text import printable
from databom.model.trainings import BUILD_TYPE, PREDICATE_TYPE, ROLE
from databom.trust import dsse
from databom.trust.encoding import read_json
from databom.trust.root import TrustRoot
from databom.trust.statement import PAYLOAD_TYPE, STATEMENT_TYPE

UNSIGNED, INVALID = "receipt.unsigned", "receipt.invalid"
DEVELOPMENT = "receipt.development"
_ASK = "ask whoever trained the model for the receipt as the log has it: `databom log show`"


class Receipt(Struct, frozen=True):
    """A receipt's statement, and what was found about it. Without a blocking finding it is to be believed."""

    digest: str
    statement: Mapping[str, Any] = field(default_factory=dict)
    """Empty where the bytes are no receipt."""
    keyids: tuple[str, ...] = ()
    """Keys of the `receipt` role that signed."""
    findings: tuple[Finding, ...] = ()

    @property
    def is_believed(self) -> bool:
        """Whether nothing blocks."""
        return all(one.severity is not Severity.BLOCK for one in self.findings)


def check_receipt(
    raw: bytes, root: TrustRoot | None, attachments: Mapping[str, bytes] | None = None
) -> Receipt:
    """What some bytes are worth as a receipt. Never raises for what they hold."""
    digest = sha256(raw)
    try:
        envelope = dsse.parse_envelope(raw)
        statement = read_json(envelope.payload, what="the receipt's statement", limit=dsse.MAX_ENVELOPE_BYTES)
    except InputError as error:
        code = UNSIGNED if error.problems[0].code == "signature.missing" else INVALID
        return Receipt(digest, findings=(_finding(code, None, str(error), "a signed DSSE envelope", "none"),))
    findings = list(_shape(envelope, statement))
    if findings:
        return Receipt(digest, findings=tuple(findings))
    signers, doubts = _signers(envelope, statement, root)
    findings += doubts
    findings += _attached(statement, attachments or {})
    return Receipt(digest, statement, signers, tuple(findings))


def _shape(envelope: dsse.Envelope, statement: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether a statement is of the form that is asked about below; the first thing that is not ends it."""
    predicate = _object(statement, "predicate")
    definition, details = _object(predicate, "buildDefinition"), _object(predicate, "runDetails")
    internal, metadata = _object(definition, "internalParameters"), _object(details, "metadata")
    wanted = (
        ("payloadType", PAYLOAD_TYPE, envelope.payload_type),
        ("/_type", STATEMENT_TYPE, statement.get("_type")),
        ("/predicateType", PREDICATE_TYPE, statement.get("predicateType")),
        ("/predicate/buildDefinition/buildType", BUILD_TYPE, definition.get("buildType")),
    )
    for where, expected, found in wanted:
        if found != expected:
            yield _finding(INVALID, where, "this is no training receipt", expected, _shown(found))
            return
    for where, value in (
        ("/predicate/runDetails/metadata/invocationId", metadata.get("invocationId")),
        ("/predicate/buildDefinition/internalParameters/status", internal.get("status")),
        ("/predicate/buildDefinition/internalParameters/verdict", internal.get("verdict")),
    ):
        if not isinstance(value, str) or not value:
            yield _finding(INVALID, where, "the receipt does not say this", "a text", _shown(value))
            return
    if _finished(statement) is None:
        where = "/predicate/runDetails/metadata/finishedOn"
        yield _finding(INVALID, where, "the receipt has no time", "RFC 3339 in UTC", "none that can be read")
        return
    for where, items in (
        ("/subject", statement.get("subject")),
        ("/predicate/buildDefinition/resolvedDependencies", definition.get("resolvedDependencies")),
    ):
        if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
            yield _finding(
                INVALID, where, "a receipt has a list here", "a list of descriptors", _shown(items)
            )
            return
    if not statement["subject"]:
        yield _finding(INVALID, "/subject", "the receipt is about nothing", "at least one subject", "none")


def _signers(
    envelope: dsse.Envelope, statement: Mapping[str, Any], root: TrustRoot | None
) -> tuple[tuple[str, ...], list[Finding]]:
    role = root.roles.get(ROLE) if root is not None else None
    if root is None or role is None:
        what = "nobody may sign receipts here: the trust root has no `receipt` role"
        do = "databom trust add FILE.pub --role receipt"
        return (), [_finding(UNSIGNED, None, what, "a key of the role receipt", "no such role", do=do)]
    when = _finished(statement)
    assert when is not None
    keys = {keyid: root.keys[keyid] for keyid in role.keyids}
    signed = dsse.verified_keyids(envelope, {keyid: one.key for keyid, one in keys.items()})
    good = tuple(sorted(keyid for keyid in signed if keys[keyid].is_valid_at(when)))
    findings = []
    if len(good) < role.threshold:
        hints = {one.keyid for one in envelope.signatures}
        late = sorted(signed - set(good))
        broken = sorted((hints & keys.keys()) - signed)
        expected = f"{role.threshold} of the {len(role.keyids)} keys of the role receipt"
        if broken:
            what = "a signature of this receipt does not hold: its bytes were changed"
            found = f"a signature that names {broken[0][:16]} and is not its own"
            findings.append(_finding(INVALID, broken[0], what, expected, found))
        elif late:
            what = "a key that signed this receipt was outside its validity when the run ended"
            findings.append(_finding(INVALID, late[0], what, expected, times.format(when)))
        else:
            what = "nobody who may sign receipts has signed this one"
            found = ", ".join(sorted(printable(hint)[:16] or "no keyid" for hint in hints))
            do = "if you know the signer: databom trust add FILE.pub --role receipt"
            findings.append(_finding(UNSIGNED, None, what, expected, f"signed by {found}", do=do))
    elif all(keys[keyid].development for keyid in good):
        findings.append(
            Finding(
                DEVELOPMENT,
                Severity.WARN,
                good[0],
                "a development key signed this receipt: whoever can read that machine's files can make others",
                expected="a key that was made for receipts, kept apart from the code",
                found="a key that `databom init` made",
                do="databom key new FILE; databom trust add FILE.pub --role receipt; set DATABOM_RECEIPT_KEY=FILE",
            )
        )
    return good, findings


def moved_lists(statement: Mapping[str, Any]) -> dict[str, str | None]:
    """The lists that were moved out of a receipt, each with the SHA-256 in hex that the receipt names."""
    definition = statement["predicate"]["buildDefinition"]
    named = {}
    for one in (*statement["subject"], *definition["resolvedDependencies"]):
        name, stated = one.get("name"), _object(one, "digest").get("sha256")
        if "moved" in _object(one, "annotations") and isinstance(name, str):
            named[name] = stated if isinstance(stated, str) else None
    return named


def _attached(statement: Mapping[str, Any], attachments: Mapping[str, bytes]) -> Iterator[Finding]:
    for name, stated in moved_lists(statement).items():
        found = sha256(attachments[name]) if name in attachments else None
        if found is not None and stated != hex_of(found):
            what = "a list that was moved out of the receipt is not the one that it names"
            yield _finding(INVALID, printable(name), what, f"sha256:{_shown(stated)}", found)


def _finished(statement: Mapping[str, Any]) -> datetime | None:
    metadata = _object(_object(_object(statement, "predicate"), "runDetails"), "metadata")
    try:
        return times.parse(str(metadata.get("finishedOn")))
    except ValueError:
        return None


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _shown(value: object) -> str:
    return printable(value) if isinstance(value, str) else type(value).__name__


def _finding(
    code: str, subject: str | None, what: str, expected: str, found: str, *, do: str = _ASK
) -> Finding:
    return Finding(code, Severity.BLOCK, subject, what, expected=expected, found=printable(found), do=do)
