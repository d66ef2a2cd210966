"""Whether enough root keys signed a trust root: TUF's threshold of the root role (TUF 1.0.34, section 5.3.4).

What is signed is the root's JSON as bytes, in a DSSE envelope. Distinct keys are counted, never signatures, and
only those that the judging root lists under `root`: what a document's author wrote beside a signature decides
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from databom.errors import Problem
from databom.model import times
from databom.trust import dsse

if TYPE_CHECKING:
    from datetime import datetime

    from databom.trust.dsse import Envelope
    from databom.trust.root import TrustRoot

HOW_TO_SIGN = "let the owners of the root keys sign it: databom trust sign FILE --key KEY"

_MAX_KEYIDS_SHOWN = 8


def signers(envelope: Envelope, by: TrustRoot) -> frozenset[str]:
    """The keys of `by`'s root role that verifiably signed."""
    role = by.roles.get("root")
    return dsse.verified_keyids(
        envelope, {keyid: by.keys[keyid].key for keyid in role.keyids} if role else {}
    )


def disagreement(envelope: Envelope, by: TrustRoot, *, now: datetime | None = None) -> list[Problem]:
    """What keeps an envelope from being signed by a threshold of `by`'s root keys; nothing when it is.

    Args:
        envelope: the envelope around a trust root.
        by: the root whose `root` role is asked: the one before, or the very one inside the envelope.
        now: the time that must lie in a key's window; without it windows are not asked.

    Returns:
        `signature.threshold`, `.invalid` (a root key is named that did not sign these bytes), `.expired`.
    """
    role = by.roles.get("root")
    if role is None:
        return [
            Problem(
                "signature.threshold",
                "/roles/root",
                f"version {by.version} of the trust root names no root keys: nobody can sign for it",
                expected="a `root` role with the keys that agree to a new version",
                found="no such role",
                do="add one: databom trust add KEY.pub --role root",
            )
        ]
    heard = signers(envelope, by)
    current = [keyid for keyid in sorted(heard) if now is None or by.keys[keyid].is_valid_at(now)]
    if len(current) >= role.threshold:
        return []
    problems = [_outside(by, keyid, now) for keyid in sorted(heard.difference(current)) if now is not None]
    named = {signature.keyid for signature in envelope.signatures}.intersection(role.keyids)
    problems += [_broken(by, keyid) for keyid in sorted(named - heard)]
    if len(heard | named) < role.threshold:
        problems.append(
            Problem(
                "signature.threshold",
                "/signatures",
                f"too few of the root keys of version {by.version} signed this trust root",
                expected=f"{role.threshold} of {_ids(role.keyids)}",
                found=f"{len(heard)}: {_ids(tuple(sorted(heard)))}" if heard else "none",
                do=HOW_TO_SIGN,
            )
        )
    return problems


def _outside(by: TrustRoot, keyid: str, now: datetime) -> Problem:
    key = by.keys[keyid]
    begin = times.format(key.valid_from) if key.valid_from else "the beginning"
    end = times.format(key.valid_until) if key.valid_until else "further notice"
    return Problem(
        "signature.expired",
        keyid,
        f"a root key of version {by.version} signed this trust root, but is outside its validity now",
        expected=f"valid from {begin} until {end}",
        found=times.format(now),
        do="let another root key sign: databom trust sign FILE --key KEY",
    )


def _broken(by: TrustRoot, keyid: str) -> Problem:
    return Problem(
        "signature.invalid",
        keyid,
        f"a signature names this root key of version {by.version}, but the key did not make it: something was "
        "changed after signing",
        expected="a signature by this key",
        found="a signature that does not verify",
        do="get the signed file again from whoever signed it last, or let this key sign once more",
    )


def _ids(keyids: tuple[str, ...]) -> str:
    more = len(keyids) - _MAX_KEYIDS_SHOWN
    shown = ", ".join(keyids[:_MAX_KEYIDS_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
