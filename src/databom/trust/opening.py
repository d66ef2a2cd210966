"""The question of this room: who signed this manifest, and may they speak for its dataset now?

1. Each form of signature that is there (detached, embedded) is verified with the keys of the trust root. What
   an unknown key says is not read.
2. The marketplace roles that may speak for the dataset are tried one by one. One role must accept every form.
3. A role accepts when enough of its distinct keys signed and are inside their windows: now, or at the time of a
   token by which an authority of the trust root saw the key's signature (`timestamps`).

The threshold is asked of the detached form, which can carry many signatures, and of the embedded one only
when it stands alone; both present, both must hold. A refusal is told from the view of the role that came
closest.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

from databom.errors import InputError, Problem
from databom.model import times
from databom.model.finding import Finding
from databom.model.manifest import Manifest, read_manifest
from databom.model.text import printable
from databom.trust import dsse, jws
from databom.trust.content import content_digest, content_pieces
from databom.trust.encoding import ASK_PUBLISHER
from databom.trust.statement import PAYLOAD_TYPE, check_statement, manifest_statement
from databom.trust.timestamps import INSTALL, Stamped, stamped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from databom.trust.keys import PrivateKey, PublicKey
    from databom.trust.root import MarketplaceRole, TrustRoot

__all__ = ["Opened", "content_digest", "open_manifest", "sign_manifest"]

Form = Literal["detached", "embedded"]

_MAX_KEYIDS_SHOWN = 8
_MAX_RELEASE = 401


class Opened(Struct, frozen=True):
    """The answer: no findings means that the manifest is believed."""

    findings: tuple[Finding, ...]
    keyids: tuple[str, ...]
    """Sorted ids of the trusted keys that signed; empty unless a role accepted every form."""
    marketplace: str | None
    """The marketplace whose role accepted."""
    forms: tuple[Form, ...]
    """The forms of signature that are there, whether or not they hold."""


class _Signed(Struct, frozen=True):
    """One form after step 1."""

    form: Form
    faults: tuple[Problem, ...] = ()
    """What is wrong whoever signed: malformed, altered, or about other bytes."""
    keyids: frozenset[str] = frozenset()
    """Keys of the trust root that verifiably signed."""
    named: frozenset[str] = frozenset()
    """Key ids the signatures claim; unauthenticated."""
    envelope: dsse.Envelope | None = None
    """What was parsed, of the detached form."""


def open_manifest(
    manifest: Manifest,
    envelope_raw: bytes | None,
    root: TrustRoot,
    *,
    now: datetime,
    timestamps: bytes | None = None,
) -> Opened:
    """Decide whether a manifest is believed. Never raises for anything in the documents.

    Args:
        manifest: as read from the very bytes whose signature is asked for.
        envelope_raw: the bytes of `manifest.json.dsse`; None when there is no such document.
        root: the trust root in force.
        now: the time to judge by; the root must not have expired then.
        timestamps: the bytes of `manifest.json.dsse.tsr`. They are asked only about keys outside their windows
            at `now`, and can only help.

    Returns:
        Findings `signature.missing`, `.invalid`, `.untrusted`, `.threshold`, `.expired` and `trust.expired`,
        all blocking.
    """
    problems: list[Problem] = []
    if now >= root.expires:
        problems.append(root.expired_problem(now))
    keys = root.public_keys()
    signed: list[_Signed] = []
    if envelope_raw is not None:
        signed.append(_detached(envelope_raw, manifest, keys))
    if manifest.signature:
        signed.append(_embedded(manifest, manifest.signature, keys))
    keyids: tuple[str, ...] = ()
    marketplace = None
    if not signed:
        problems.append(_missing(manifest))
    else:
        case = _Case(manifest, root, now, tuple(signed), _stamped(signed[0], root, now, timestamps))
        role, refusals = case.decide()
        problems += refusals
        if role is not None:
            keyids, marketplace = case.speakers(role), role.marketplace
    return Opened(
        tuple(Finding.of(problem) for problem in problems),
        keyids,
        marketplace,
        tuple(form.form for form in signed),
    )


def sign_manifest(
    manifest: Mapping[str, Any],
    key: PrivateKey,
    *,
    embed: bool,
    complete: Callable[[Manifest], Manifest] | None = None,
) -> tuple[bytes, bytes | None]:
    """Write and sign a manifest: its bytes, and the bytes of `manifest.json.dsse` unless `embed`.

    The bytes are deterministic JSON in the order given, `signature` last, indented by two, with a final
    newline. Embedded, `signature` holds the JWS and there is no envelope; detached, it is "". Does not change
    `manifest`; a `signature` it may have is replaced. `complete` reads the shards of a large release.

    Raises:
        InputError: it is not a manifest that `read_manifest` accepts. What we would refuse is never signed.
    """
    content = {name: value for name, value in manifest.items() if name != "signature"}
    written = _written({**content, "signature": ""})
    unsigned = read_manifest(written)
    if complete is not None:
        unsigned = complete(unsigned)
    if embed:
        return _written({**content, "signature": jws.sign_embedded(unsigned.content(), key)}), None
    envelope = dsse.sign(PAYLOAD_TYPE, manifest_statement(unsigned), [key])
    return written, dsse.format_envelope(envelope)


# --- step 1: what the signatures say, whoever may speak --------------------------------------------


def _detached(raw: bytes, manifest: Manifest, keys: Mapping[str, PublicKey]) -> _Signed:
    try:
        envelope = dsse.parse_envelope(raw)
    except InputError as error:
        return _Signed("detached", tuple(error.problems))
    if envelope.payload_type != PAYLOAD_TYPE:
        fault = Problem(
            "signature.invalid",
            "/payloadType",
            "the envelope was made for another purpose than signing a statement",
            expected=PAYLOAD_TYPE,
            found=printable(envelope.payload_type),
            do=ASK_PUBLISHER,
        )
        return _Signed("detached", (fault,))
    keyids = dsse.verified_keyids(envelope, keys)
    named = frozenset(signature.keyid for signature in envelope.signatures)
    if keyids:  # only what a known key signed is parsed at all
        return _Signed(
            "detached", tuple(check_statement(envelope.payload, manifest)), keyids, named, envelope
        )
    return _Signed("detached", named=named)


def _embedded(manifest: Manifest, signature: str, keys: Mapping[str, PublicKey]) -> _Signed:
    try:
        named = jws.named_keyid(signature)
        if named not in keys:
            return _Signed("embedded", named=frozenset({named}))
        keyid = jws.check_embedded(signature, content_pieces(manifest), keys, most=len(manifest.raw))
    except InputError as error:
        return _Signed("embedded", tuple(error.problems))
    return _Signed("embedded", keyids=frozenset({keyid}), named=frozenset({keyid}))


def _stamped(form: _Signed, root: TrustRoot, now: datetime, timestamps: bytes | None) -> dict[str, Stamped]:
    """What the tokens say about the keys that signed the detached form and are outside their windows now.

    An embedded signature by the same key is part of what the detached one covers, and so older still.
    """
    if timestamps is None or form.envelope is None:
        return {}
    late = {keyid: root.keys[keyid] for keyid in form.keyids if not root.keys[keyid].is_valid_at(now)}
    return {
        keyid: stamped(timestamps, dsse.signatures_by(form.envelope, key.key), key, root.tsa, now=now)
        for keyid, key in late.items()
    }


# --- steps 2 and 3: may they? -----------------------------------------------------------------------


class _Case(Struct, frozen=True):
    """One manifest before one trust root; what tokens say is by keyid, of keys outside their windows `now`."""

    manifest: Manifest
    root: TrustRoot
    now: datetime
    signed: tuple[_Signed, ...]
    stamped: Mapping[str, Stamped] = field(default_factory=dict)

    def decide(self) -> tuple[MarketplaceRole | None, list[Problem]]:
        """The role that accepts, or None and the refusals of the one that came closest."""
        roles = self.root.candidates(self.manifest.dataset_id, self.manifest.marketplace_id)
        closest: tuple[tuple[int, int], list[Problem]] = ((-1, -1), [])
        for role in roles:
            refusals = [problem for form in self.signed for problem in self._refusals(form, role)]
            if not refusals:
                return role, []
            heard = sum(len(form.keyids.intersection(role.keyids)) for form in self.signed)
            named = sum(len(form.named.intersection(role.keyids)) for form in self.signed)
            if (heard, named) > closest[0]:
                closest = ((heard, named), refusals)
        if not roles:
            nobody = [problem for form in self.signed for problem in form.faults or (self._nobody(form),)]
            return None, nobody
        return None, closest[1]

    def speakers(self, role: MarketplaceRole) -> tuple[str, ...]:
        """The role's keys that signed in any form and inside their windows, sorted."""
        return tuple(sorted({keyid for form in self.signed for keyid in self._current(form, role)}))

    def _current(self, form: _Signed, role: MarketplaceRole) -> list[str]:
        heard = sorted(form.keyids.intersection(role.keyids))
        return [keyid for keyid in heard if self._in_time(keyid)]

    def _in_time(self, keyid: str) -> bool:
        told = self.stamped.get(keyid)
        return self.root.keys[keyid].is_valid_at(self.now) or (told is not None and told.at is not None)

    def _refusals(self, form: _Signed, role: MarketplaceRole) -> list[Problem]:
        if form.faults:
            return list(form.faults)
        heard = sorted(form.keyids.intersection(role.keyids))
        current = self._current(form, role)
        alone = form.form == "detached" or len(self.signed) == 1
        needed = role.threshold if alone else 1
        if len(current) >= needed:
            return []
        if heard:
            late = [self._expired(keyid) for keyid in heard if keyid not in current]
            return late if len(heard) >= needed else [*late, self._threshold(form, role, needed, current)]
        if broken := sorted(form.named.intersection(role.keyids)):
            return [self._broken(form, broken)]
        return [self._untrusted(form)]

    # --- wording ---

    def _expired(self, keyid: str) -> Problem:
        key = self.root.keys[keyid]
        begin = times.format(key.valid_from) if key.valid_from else "the beginning"
        end = times.format(key.valid_until) if key.valid_until else "further notice"
        told = self.stamped.get(keyid)
        found = times.format(self.now)
        do = "ask the publisher for a release signed with a current key; if the window itself is wrong, "
        do += "correct it in provenance/trust.json"
        if told is not None and told.why is not None:
            found += f"; manifest.json.dsse.tsr is no help: {told.why}"
        if told is not None and told.needs_library:
            do = f"{INSTALL}, then ask again: a time stamp stands beside the signature"
        return Problem(
            "signature.expired",
            keyid,
            "the key that signed is outside its validity now, and nothing shows that it signed in time",
            expected=f"valid from {begin} until {end}",
            found=found,
            do=do,
        )

    def _threshold(self, form: _Signed, role: MarketplaceRole, needed: int, current: list[str]) -> Problem:
        do = f"ask {printable(role.marketplace)} for an envelope that {needed} of its keys signed"
        if form.form == "embedded":
            do += ": an embedded signature carries one key only, manifest.json.dsse any number"
        return Problem(
            "signature.threshold",
            printable(self.manifest.release, _MAX_RELEASE),
            f"too few of the keys of marketplace {printable(role.marketplace)} signed",
            expected=f"{needed} of {_ids(role.keyids)}",
            found=f"{len(current)}: {_ids(current)}" if current else "none that is valid",
            do=do,
        )

    def _broken(self, form: _Signed, keyids: list[str]) -> Problem:
        return Problem(
            "signature.invalid",
            printable(self.manifest.release, _MAX_RELEASE),
            f"the {form.form} signature names a trusted key, but that key did not make it: "
            "something was changed after signing",
            expected=f"a signature by {_ids(keyids)}",
            found="a signature that does not verify",
            do=ASK_PUBLISHER,
        )

    def _untrusted(self, form: _Signed) -> Problem:
        roles = self.root.candidates(self.manifest.dataset_id, self.manifest.marketplace_id)
        held = "; ".join(f"{printable(role.marketplace)}: {_ids(role.keyids)}" for role in roles)
        return self._unheard(form, f"a signature by a key of {held}")

    def _nobody(self, form: _Signed) -> Problem:
        scopes = [
            f"{printable(role.marketplace)}: {', '.join(map(printable, role.datasets)) or 'no dataset'}"
            for _, role in sorted(self.root.marketplaces.items())
        ]
        if not scopes:
            return self._unheard(form, "a key of a marketplace; the trust root holds none and trusts nobody")
        return self._unheard(form, f"a key that may speak for this dataset; there are {'; '.join(scopes)}")

    def _unheard(self, form: _Signed, expected: str) -> Problem:
        dataset, marketplace = self.manifest.dataset_id, self.manifest.marketplace_id
        whose = f"dataset {printable(dataset)}"
        if marketplace is not None:
            whose += f" of marketplace {printable(marketplace)}"
        named = _ids(sorted(printable(name, 80) for name in form.named if name))
        if form.keyids:
            what = f"the {form.form} signature holds, but its key may not speak for {whose}"
            found = "; ".join(f"{keyid}, which {self._duties(keyid)}" for keyid in sorted(form.keyids))
        elif named:
            what = f"no key that may speak for {whose} made the {form.form} signature"
            found = f"a signature that names {named}"
        else:
            what = f"no key that may speak for {whose} made the {form.form} signature"
            found = "a signature that names no key: by another key, or changed after signing"
        scope = ["--marketplace", printable(marketplace or "ID"), "--datasets", printable(dataset)]
        from shlex import join

        command = join(["databom", "trust", "add", "FILE.pub", *scope])
        return Problem(
            "signature.untrusted",
            printable(self.manifest.release, _MAX_RELEASE),
            what,
            expected=expected,
            found=found,
            do=f"get the publisher's public key, compare its keyid over another channel, then: {command}",
        )

    def _duties(self, keyid: str) -> str:
        """What the trust root lets a key do, for a person."""
        names = [name for name, role in sorted(self.root.roles.items()) if keyid in role.keyids]
        names += [
            f"marketplace {printable(role.marketplace)} ({', '.join(map(printable, role.datasets))})"
            for _, role in sorted(self.root.marketplaces.items())
            if keyid in role.keyids
        ]
        return f"may act as {', '.join(names)}" if names else "holds no role"


def _missing(manifest: Manifest) -> Problem:
    return Problem(
        "signature.missing",
        printable(manifest.release, _MAX_RELEASE),
        "nobody has signed this manifest: `signature` is empty and no detached signature stands beside it",
        expected="manifest.json.dsse beside the manifest, or a JWS in `signature`",
        found="neither",
        do="ask the publisher for the signed one; your own are signed with databom publish DIR … --key FILE",
    )


def _ids(keyids: Sequence[str]) -> str:
    more = len(keyids) - _MAX_KEYIDS_SHOWN
    shown = ", ".join(keyids[:_MAX_KEYIDS_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _written(document: Mapping[str, Any]) -> bytes:
    # The encoder's own complaints (NaN, a type JSON lacks, a lone surrogate, a cycle) become ours.
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            Problem(
                "manifest.syntax",
                None,
                f"this manifest cannot be written as JSON: {type(error).__name__}",
                expected="text, whole numbers, true, false, null, lists and objects",
                do="correct the value and publish again",
            )
        ) from error
