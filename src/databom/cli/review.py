"""A trust root on one screen, for the person who has to say that it is right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from databom.model import times
from databom.model.text import counted, printable
from databom.tasks.rotating import signed_by
from databom.trust.root import MarketplaceRole, Role, TrustedKey, TrustRoot

_COLORS = {"valid": "green", "expired": "red", "not yet valid": "yellow"}


def state(key: TrustedKey, now: datetime) -> str:
    """Whether signatures of a key count at `now`: `valid`, `expired` or `not yet valid`."""
    if key.is_valid_at(now):
        return "valid"
    return "not yet valid" if key.valid_from is not None and now < key.valid_from else "expired"


def days_left(root: TrustRoot, now: datetime) -> int:
    """Whole days until the root expires; negative when it has."""
    return (root.expires - now).days


def as_text(root: TrustRoot, now: datetime) -> str:
    """The root for a person."""
    return "\n".join(_lines(root, now))


def as_dict(root: TrustRoot, now: datetime) -> dict[str, Any]:
    """What a program cannot read off the root's own document."""
    return {
        "digest": root.digest,
        "days_left": days_left(root, now),
        "signed_by": list(signed_by(root)),
        "states": {keyid: state(key, now) for keyid, key in sorted(root.keys.items())},
    }


def _lines(root: TrustRoot, now: datetime) -> Iterator[str]:
    yield f"trust root {root.digest}"
    left = days_left(root, now)
    when = f"in {counted(left, 'day')}" if now < root.expires else click.style("EXPIRED", fg="red")
    yield f"version {root.version}, expires {times.format(root.expires)} ({when})"
    if root.envelope is not None:
        keyids = signed_by(root)
        yield f"signed by {counted(len(keyids), 'root key')} of this version"
        yield from (f"  {keyid}" for keyid in keyids)
    elif root.version == 1:
        yield "not signed: that its commits are reviewed is what protects version 1"
    else:
        yield "not signed: a draft"
    yield ""
    for _, market in sorted(root.marketplaces.items()):
        yield from _role(root, market, now)
    for name, role in sorted(root.roles.items()):
        yield from _role(root, role, now, name)
    idle = sorted(set(root.keys) - _holders(root))
    if idle:
        yield "no role"
        yield from (_key(root, keyid, now) for keyid in idle)
    if not root.marketplaces:
        yield "no marketplace is trusted: every manifest is refused"


def _role(root: TrustRoot, role: Role, now: datetime, name: str = "") -> Iterator[str]:
    if isinstance(role, MarketplaceRole):
        name = f"marketplace {printable(role.marketplace)}: {', '.join(map(printable, role.datasets))}"
    yield f"{name} – {role.threshold} of {len(role.keyids)}"
    yield from (_key(root, keyid, now) for keyid in role.keyids)


def _key(root: TrustRoot, keyid: str, now: datetime) -> str:
    key = root.keys[keyid]
    begin = times.format(key.valid_from) if key.valid_from else "any time"
    end = times.format(key.valid_until) if key.valid_until else "no end"
    now_is = state(key, now)
    mark = "  DEVELOPMENT KEY" if key.development else ""
    return f"  {keyid}  {key.key.keytype}, {begin} to {end}, {click.style(now_is, fg=_COLORS[now_is])}{mark}"


def _holders(root: TrustRoot) -> set[str]:
    roles = [*root.roles.values(), *root.marketplaces.values()]
    return {keyid for role in roles for keyid in role.keyids}
