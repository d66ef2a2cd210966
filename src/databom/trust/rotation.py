"""From one version of the trust root to the next: TUF's rules (TUF 1.0.34, section 5.3) for one file.

A new version is accepted when

1. it is the very next one (5.3.5): every version is seen, so that each step is signed by keys that the step before
   it named, and nothing goes back;
2. a threshold of the root keys of the version in force signed it, and a threshold of its own (5.3.4): the old keys
   say that the new ones may follow them, the new ones show that they exist;
3. the root keys that are counted are inside their windows now, by each version's own account (TUF has no windows);
4. it has not expired. The version in force may have (5.3.10): otherwise a project that slept too long could
   never wake.

What a version says about other keys plays no part: rotation is decided by root keys alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from databom.errors import ConfigError, InputError, Problem
from databom.model import times
from databom.model.finding import Finding, findings_of
from databom.trust import dsse
from databom.trust.agreement import HOW_TO_SIGN, disagreement
from databom.trust.dsse import Envelope
from databom.trust.root import PAYLOAD_TYPE, parse_draft

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from databom.trust.keys import PrivateKey
    from databom.trust.root import TrustRoot


def check_update(
    current: TrustRoot, new_raw: bytes, *, now: datetime
) -> tuple[TrustRoot | None, tuple[Finding, ...]]:
    """Whether a document is the next version of the trust root. Never raises for anything in it.

    The very bytes of `current` are no step and no refusal: they answer with `current`.

    Args:
        current: the version in force; it may have expired.
        new_raw: the bytes of the new one.
        now: the time to judge by.

    Returns:
        The new root and no findings, or None and everything that is wrong, all of it blocking: what `parse_root`
        refuses; `trust.schema` for a version that skips one, or is not signed; `trust.rollback` for an older
        version, or another document under the same; `signature.threshold`, `.invalid`, `.expired` for either
        set of root keys; `trust.expired`.
    """
    if new_raw == current.raw:
        return current, ()
    try:
        new = parse_draft(new_raw)
    except InputError as error:
        return None, findings_of(error)
    problems = [*_step(current, new), *_agreed(current, new, now)]
    if now >= new.expires:
        problems.append(
            Problem(
                "trust.expired",
                "/expires",
                "the new version of the trust root has expired already",
                expected=f"later than {times.format(now)}",
                found=times.format(new.expires),
                do="make a new draft, and let the root keys sign that: databom trust draft FILE",
            )
        )
    findings = tuple(Finding.of(problem) for problem in problems)
    return (None, findings) if findings else (new, ())


def sign_root(raw: bytes, keys: Sequence[PrivateKey], *, current: TrustRoot | None = None) -> bytes:
    """An envelope around a draft with these keys' signatures; an envelope that is given keeps the others'.

    The signed bytes are the draft's as they are. Signatures are in the order of their keyids; a key that signed
    before signs anew.

    Args:
        raw: a draft, or an envelope that others have signed, perhaps not enough of them yet.
        keys: root keys of the new version, or of `current`.
        current: the version in force, whose root keys must sign too.

    Raises:
        ConfigError: no key, or one that neither root lists under `root`: its signature would count for nothing.
        InputError: `raw` is no trust root.
    """
    new = parse_draft(raw)
    known = {
        keyid
        for root in (new, current)
        if root and "root" in root.roles
        for keyid in root.roles["root"].keyids
    }
    if not keys:
        raise ConfigError("no key to sign with", hint=HOW_TO_SIGN)
    for key in keys:
        if key.public.keyid not in known:
            raise ConfigError(
                f"{key.public.keyid} is no root key of version {new.version}"
                f"{f' or of version {current.version}' if current else ''}: its signature would count for nothing",
                hint="sign with a root key, or name this one in the draft: "
                "databom trust add KEY.pub --role root --draft FILE",
            )
    kind = new.envelope.payload_type if new.envelope else PAYLOAD_TYPE
    signing = {key.public.keyid: key for key in keys}
    signed = dsse.sign(kind, new.payload, signing.values())
    # By what it verifies with, not by its hint, which other tools write as they like.
    others = [
        signature
        for signature in (new.envelope.signatures if new.envelope else ())
        if signature.keyid not in signing
        and not dsse.verified_keyids(
            Envelope(kind, new.payload, (signature,)), {keyid: key.public for keyid, key in signing.items()}
        )
    ]
    written = dsse.format_envelope(Envelope(kind, new.payload, tuple(sorted([*others, *signed.signatures]))))
    parse_draft(written)
    return written


def _step(current: TrustRoot, new: TrustRoot) -> list[Problem]:
    awaited = current.version + 1
    if new.version == awaited:
        return []
    if new.version > awaited:
        missing = (
            f"version {awaited}" if new.version == awaited + 1 else f"versions {awaited} to {new.version - 1}"
        )
        return [
            Problem(
                "trust.schema",
                "/version",
                f"{missing} of the trust root must come first: every version is signed by the keys of the one before",
                expected=f"version {awaited}",
                found=f"version {new.version}",
                do=f"update to version {awaited} first",
            )
        ]
    same = new.version == current.version
    return [
        Problem(
            "trust.rollback",
            "/version",
            "this is another trust root under the version that is in force"
            if same
            else "this trust root is older than the one in force: it may believe keys that were withdrawn",
            expected=f"version {awaited}",
            found=f"version {new.version}, {new.digest}" if same else f"version {new.version}",
            do="make the next version from the one in force: databom trust draft FILE",
        )
    ]


def _agreed(current: TrustRoot, new: TrustRoot, now: datetime) -> list[Problem]:
    if new.envelope is None:
        return [
            Problem(
                "trust.schema",
                "/version",
                "nobody has signed this version of the trust root: it is a draft",
                expected="a DSSE envelope, signed by root keys of the version in force and of the new one",
                found="plain JSON",
                do=HOW_TO_SIGN,
            )
        ]
    problems = disagreement(new.envelope, current, now=now)
    # The same refusal by both versions' keys, in the same words, is one.
    return list(dict.fromkeys([*problems, *disagreement(new.envelope, new, now=now)]))
