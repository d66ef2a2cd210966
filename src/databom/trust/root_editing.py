"""Editing a plain trust root: version 1 in place, or the draft of a later one before it is signed.

Nothing else is touched: members and roles that this release does not know stay as they are. A signed root is
never edited, since that would leave signatures over something else.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from databom.errors import ConfigError
from databom.model import strictjson, times
from databom.model.text import printable, unsafe_character
from databom.trust.root import MAX_ROOT_BYTES, PLAIN_ROLES, ROOT_TYPE, parse_draft

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from databom.trust.keys import PublicKey
    from databom.trust.root import TrustRoot

LIFETIME = timedelta(days=365)
"""How long a new root holds before somebody must look at it again."""


class Removed(NamedTuple):
    """A root without a key it had."""

    raw: bytes
    roles: tuple[str, ...]
    """The roles the key held, sorted: `root`, `marketplace <id>`, …"""
    emptied: tuple[str, ...]
    """Those of them that are gone with it, because it was their last key."""


def new_root(*, now: datetime, expires: datetime | None = None) -> bytes:
    """A version-1 root that trusts nobody; it expires a year after `now` unless `expires` says otherwise."""
    document = {
        "_type": ROOT_TYPE,
        "version": 1,
        "expires": times.format(expires or now + LIFETIME),
        "keys": {},
        "roles": {},
    }
    return _written(document)


def draft(current: TrustRoot, *, now: datetime) -> bytes:
    """The next version as plain JSON, to edit and then to sign; it expires a year after `now`.

    Everything else stays as it is in `current`, known to this release or not.
    """
    document = strictjson.loads(current.payload, prefix="trust", limit=MAX_ROOT_BYTES)
    return _written({**document, "version": current.version + 1, "expires": times.format(now + LIFETIME)})


def add_key(
    raw: bytes | None,
    key: PublicKey,
    *,
    role: str,
    marketplace: str | None = None,
    datasets: Sequence[str] = (),
    threshold: int | None = None,
    development: bool = False,
    now: datetime,
) -> bytes:
    """A root that also lets `key` act in `role`; `raw` is the root as it is, or None to start an empty one.

    Changes nothing else: other members, windows and thresholds stay as they are, known or not. Adding what is
    there already changes nothing. The role `marketplace` takes the marketplace's id and the dataset globs to
    add to it; a glob holds for every key of that marketplace. `threshold` says how many of the role's keys must
    sign from now on.

    Raises:
        ConfigError: no such role, a marketplace without id or globs, globs for another role, a threshold that
            the role's keys cannot meet, or a root that is signed already.
        InputError: `raw` is no trust root, or the result would not be one: `trust.shared-key` when the
            key holds a role already that must be apart from this one.
    """
    if role != "marketplace" and role not in PLAIN_ROLES:
        known = ", ".join(("marketplace", *PLAIN_ROLES))
        raise ConfigError(f"there is no role {printable(role)}", hint=f"the roles are: {known}")
    scoped = role == "marketplace"
    texts = [*datasets, *([] if marketplace is None else [marketplace])]
    if (marketplace is not None) != scoped or bool(datasets) != scoped or "" in texts:
        raise ConfigError(
            "a marketplace needs its id and the datasets it may speak for, other roles have neither",
            hint="databom trust add FILE.pub --marketplace ID --datasets GLOB, or --role ROLE",
        )
    for text in texts:
        if unsafe_character(text) is not None:
            raise ConfigError(
                f"{printable(text)} holds a character that cannot be seen", hint="type the id or glob by hand"
            )
    document = _editable(new_root(now=now) if raw is None else raw)
    entry = document["keys"].setdefault(
        key.keyid, {"keytype": key.keytype, "public": key.pem(), "valid_from": None, "valid_until": None}
    )
    if development:
        entry["development"] = True
    holders = document["roles"]
    if scoped:
        holders = holders.setdefault("marketplace", {})
    held = holders.setdefault(marketplace or role, {"keyids": [], "threshold": 1})
    held["keyids"] += [key.keyid] if key.keyid not in held["keyids"] else []
    if scoped:
        globs = held.setdefault("datasets", [])
        globs += [glob for glob in dict.fromkeys(datasets) if glob not in globs]
    if threshold is not None:
        count = len(set(held["keyids"]))
        if not 1 <= threshold <= count:
            raise ConfigError(
                f"{threshold} of {count} key{'' if count == 1 else 's'} cannot sign",
                hint="a threshold is at least 1 and at most the number of keys: raise it with the last key",
            )
        held["threshold"] = threshold
    written = _written(document)
    parse_draft(written)
    return written


def remove_key(raw: bytes, keyid: str) -> Removed:
    """A root without this key, in any role. A role or marketplace that is left without keys goes with it.

    Raises:
        ConfigError: there is no such key, a role would be left with fewer keys than must sign, a later version
            would be left without root keys, or the root is signed already.
        InputError: `raw` is no trust root.
    """
    document = _editable(raw)
    if keyid not in document["keys"]:
        raise ConfigError(
            f"the trust root holds no key {printable(keyid)}", hint="`databom trust show` lists its keys"
        )
    del document["keys"][keyid]
    held, emptied = [], []
    for name, holders, member in list(_roles(document["roles"])):
        role = holders[member]
        if keyid not in role["keyids"]:
            continue
        held.append(name)
        role["keyids"] = [other for other in role["keyids"] if other != keyid]
        left, threshold = len(set(role["keyids"])), role.get("threshold")
        if not left:
            del holders[member]
            emptied.append(name)
        elif isinstance(threshold, int) and left < threshold:
            raise ConfigError(
                f"{name} would be left with {left} key{'' if left == 1 else 's'}, and {threshold} must sign",
                hint="add the new key first, or lower the threshold: databom trust add … --threshold N",
            )
    if "root" in emptied and document["version"] > 1:
        raise ConfigError(
            "this is the last root key: nobody could sign this version, or any later one",
            hint="add the new root key first: databom trust add KEY.pub --role root",
        )
    written = _written(document)
    parse_draft(written)
    return Removed(written, tuple(sorted(held)), tuple(sorted(emptied)))


def _roles(roles: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Everything with key ids: how a person names it, the object that holds it, its member's name.

    Also roles of later releases, which the key must leave too.
    """
    for name, role in roles.items():
        if name == "marketplace":
            yield from ((f"marketplace {printable(market)}", role, market) for market in role)
        elif isinstance(role, dict) and isinstance(role.get("keyids"), list):
            yield printable(name), roles, name


def _editable(raw: bytes) -> dict[str, Any]:
    if parse_draft(raw).envelope is not None:
        raise ConfigError(
            "this trust root is signed and cannot be edited: its signatures would no longer hold",
            hint="write the next version to a file with `databom trust draft FILE`, and edit that",
        )
    document: dict[str, Any] = strictjson.loads(raw, prefix="trust", limit=MAX_ROOT_BYTES)
    return document


def _written(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
