"""What a person must review before a new version of the trust root is believed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from databom.model import strictjson, times
from databom.model.doubts import pointer
from databom.model.text import printable
from databom.trust.root import (
    KEY_MEMBERS,
    MARKET_MEMBERS,
    MAX_ROOT_BYTES,
    PLAIN_ROLES,
    ROLE_MEMBERS,
    MarketplaceRole,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from databom.trust.root import Role, TrustedKey, TrustRoot

Kind = Literal["added", "removed", "changed"]


class Change(Struct, frozen=True):
    """One difference between two roots, as texts that are safe to print."""

    kind: Kind
    what: str
    """Which part: `key <keyid>`, `role root: threshold`, `marketplace <id>: dataset <glob>`, `expires`, …"""
    before: str | None
    after: str | None
    widens: bool
    """Whether it lets somebody speak who could not before, or sooner, longer, for more, or with fewer others."""


def differences(old: TrustRoot, new: TrustRoot) -> tuple[Change, ...]:
    """Everything that differs: version, expiry, keys, roles and marketplaces by name (new ones last), then the rest.

    The rest is what this release does not know: it grants nothing here, and may under another release. Spelling
    and order of the documents, and who signed them, are no difference. A later expiry widens nothing by itself:
    every version brings one.
    """
    return (
        *_values("version", str(old.version), str(new.version)),
        *_values("expires", times.format(old.expires), times.format(new.expires)),
        *_keys(old, new),
        *_roles("role", old.roles, new.roles),
        *_roles("marketplace", old.marketplaces, new.marketplaces),
        *_unknown(old, new),
    )


def _values(what: str, before: str | None, after: str | None, *, widens: bool = False) -> Iterator[Change]:
    if before != after:
        kind: Kind = "added" if before is None else "removed" if after is None else "changed"
        yield Change(kind, what, before, after, widens)


def _keys(old: TrustRoot, new: TrustRoot) -> Iterator[Change]:
    speaking = {keyid for role in (*new.roles.values(), *new.marketplaces.values()) for keyid in role.keyids}
    for keyid in _old_first(old.keys, new.keys):
        what, before, after = f"key {keyid}", old.keys.get(keyid), new.keys.get(keyid)
        if before is None or after is None:
            # Holding a key is not yet speaking: what a new one may do stands under its roles.
            yield from _values(what, _key(before), _key(after))
            continue
        wider = keyid in speaking and _is_wider(before, after)
        yield from _values(f"{what}: window", _window(before), _window(after), widens=wider)
        yield from _values(f"{what}: development", _yes(before.development), _yes(after.development))


def _roles(noun: str, old: Mapping[str, Role], new: Mapping[str, Role]) -> Iterator[Change]:
    for name in _old_first(old, new):
        what, before, after = f"{noun} {printable(name)}", old.get(name), new.get(name)
        if before is None or after is None:
            yield from _values(what, _role(before), _role(after), widens=after is not None)
            continue
        lower = after.threshold < before.threshold
        yield from _values(f"{what}: threshold", str(before.threshold), str(after.threshold), widens=lower)
        yield from _members(f"{what}: key", before.keyids, after.keyids)
        if isinstance(before, MarketplaceRole) and isinstance(after, MarketplaceRole):
            yield from _members(f"{what}: dataset", before.datasets, after.datasets)


def _members(what: str, before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Change]:
    for member in _old_first(before, after):
        shown = printable(member)
        is_new = member not in before
        yield from _values(
            f"{what} {shown}",
            None if is_new else shown,
            shown if member in after else None,
            widens=is_new,
        )


def _old_first(before: Collection[str], after: Collection[str]) -> list[str]:
    """The names in both, sorted, and then those that are new: a key's id is random, its place should not be."""
    return [*sorted(set(before)), *sorted(set(after).difference(before))]


def _key(key: TrustedKey | None) -> str | None:
    if key is None:
        return None
    return f"{key.key.keytype}, {_window(key)}{', development' if key.development else ''}"


def _window(key: TrustedKey) -> str:
    begin = times.format(key.valid_from) if key.valid_from else "any time"
    end = times.format(key.valid_until) if key.valid_until else "no end"
    return f"{begin} to {end}"


def _is_wider(before: TrustedKey, after: TrustedKey) -> bool:
    sooner = before.valid_from is not None and (
        after.valid_from is None or after.valid_from < before.valid_from
    )
    longer = before.valid_until is not None and (
        after.valid_until is None or after.valid_until > before.valid_until
    )
    return sooner or longer


def _role(role: Role | None) -> str | None:
    if role is None:
        return None
    shown = f"{role.threshold} of {', '.join(role.keyids)}"
    if isinstance(role, MarketplaceRole):
        shown += f" for {', '.join(map(printable, role.datasets)) or 'no dataset'}"
    return shown


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _unknown(old: TrustRoot, new: TrustRoot) -> Iterator[Change]:
    before, after = (dict(_strange(root)) for root in (old, new))
    for what in sorted({*before, *after}):
        yield from _values(f"unknown member {what}", before.get(what), after.get(what))


def _strange(root: TrustRoot) -> Iterator[tuple[str, str]]:
    """What this release does not know, by JSON pointer, as JSON."""
    document = strictjson.loads(root.payload, prefix="trust", limit=MAX_ROOT_BYTES)
    keys, roles = document["keys"], document["roles"]
    markets = roles.get("marketplace", {})
    known: list[tuple[tuple[str, ...], Mapping[str, Any], Collection[str]]] = [
        ((), document, ("_type", "version", "expires", "keys", "roles")),
        (("roles",), roles, ("marketplace", *PLAIN_ROLES)),
        *((("keys", keyid), entry, KEY_MEMBERS) for keyid, entry in keys.items()),
        *((("roles", name), roles[name], ROLE_MEMBERS) for name in root.roles),
        *((("roles", "marketplace", name), entry, MARKET_MEMBERS) for name, entry in markets.items()),
    ]
    for place, members, names in known:
        for name in members:
            if name not in names:
                shown = json.dumps(members[name], ensure_ascii=False, sort_keys=True)
                yield pointer((*place, name)), printable(shown)
