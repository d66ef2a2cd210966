"""What a branch changes about whom is believed and what is demanded.

Everything else databom checks is judged by files that the branch itself holds: with another trust root every
signature of another key is right. Here those files are held against the same files at a base that was reviewed.
A change that could let more through blocks until somebody who is not the branch names its result by digest.
`databom.checks.memory` does the same for pins and for what was seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from databom.errors import InputError
from databom.model.config import RIGHTS, Config
from databom.model.digest import sha256
from databom.model.finding import Finding, Severity
from databom.model.text import printable
from databom.trust.root import parse_draft
from databom.trust.root_changes import differences
from databom.trust.rotation import check_update

# --- the trust root ------------------------------------------------------------------------------------


class RootAt(NamedTuple):
    """A trust root's file at one of the two sides."""

    name: str
    """What `[trust] root` says."""
    raw: bytes | None
    """None where there is no such file."""

    @property
    def digest(self) -> str | None:
        """`sha256:<hex>` of the file."""
        return None if self.raw is None else sha256(self.raw)


def check_root(
    base: RootAt | None, head: RootAt, *, approved: str | None, now: datetime
) -> Iterator[Finding]:
    """`trust.changed`: the file is not, byte for byte and by name, that of the base.

    Blocks, unless `approved` is the digest of the root that is there now; then it is information. A proper
    rotation (`rotation.check_update`) is named as one and still has to be approved.

    Args:
        base: None where the base has no readable `databom.toml`, and so names no root.
        head: the root as it will be merged.
        approved: the digest that somebody outside the branch named, if any.
        now: the time at which a rotation is judged.
    """
    if base == head and head.raw is not None:
        return
    is_approved = head.digest is not None and head.digest == approved
    if head.digest is None:
        do = "restore it from git; without a trust root nobody is believed"
    else:
        do = f"review it (databom trust show; git diff), then name it: --trust-digest {head.digest}"
    yield Finding(
        "trust.changed",
        Severity.INFO if is_approved else Severity.BLOCK,
        printable(head.name),
        _how(base, head, now) + (", and --trust-digest approves it" if is_approved else ""),
        expected="no root" if base is None or base.raw is None else _shown(base),
        found="no root" if head.raw is None else _shown(head),
        do=None if is_approved else do,
    )


def _shown(root: RootAt) -> str:
    return f"{root.digest} ({printable(root.name)})"


def _how(base: RootAt | None, head: RootAt, now: datetime) -> str:
    if head.raw is None:
        return "the trust root is gone"
    if base is None or base.raw is None:
        return "the trust root is new: the base has none to compare it with"
    if base.raw == head.raw:
        return "[trust] root names another file than at the base, with the same bytes for now"
    moved = ", in another file," if base.name != head.name else ""
    try:
        old, new = parse_draft(base.raw), parse_draft(head.raw)
    except InputError:
        return f"the trust root{moved} is another one than at the base, and not both of them can be read"
    changes = differences(old, new)
    wider = sum(change.widens for change in changes)
    what = f"{len(changes)} change{'' if len(changes) == 1 else 's'}, {wider} of them believe more"
    if not changes:
        what = "it says the same in other bytes"
    accepted, _ = check_update(old, head.raw, now=now)
    if accepted is not None:
        return f"the trust root{moved} is the next version, signed by enough root keys of the one at the base: {what}"
    return f"the trust root{moved} is another one than at the base, and the root keys there did not sign it: {what}"


# --- the policy ----------------------------------------------------------------------------------------

_LEVELS = ("off", "warn", "require")
_ORDERS: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "use": {"commercial": (False, True), "distribute": ("none", "api", "weights")},
    "policy": {
        "payment": ("off", "declared", "signed"),
        "attribution": _LEVELS,
        "completeness": _LEVELS,
        "personal_data": _LEVELS,
        "coverage": _LEVELS,
        "risk": ("normal", "high"),
    },
    "mlflow": {"auto": ("off", "tags", "full"), "mode": ("observe", "enforce")},
}
ORDERS = {f"{table}.{key}": order for table, keys in _ORDERS.items() for key, order in keys.items()}
"""The values of each key from the least demanding to the most. A key without an order (a purpose is neither more
nor less than another) is weakened by any change, so a key that is not known here is never lost by forgetting it."""
_OF_A_LICENSE = dict.fromkeys(RIGHTS, ("permit", "conditional", "unknown", "deny"))
"""The same for the keys of a license that the team defines: what it permits least demands most."""
_OWN = "licenses"
_ELSEWHERE = "trust_root"
"""The field of `Config` that `check_root` compares."""


def settings(config: Config) -> dict[str, object]:
    """Every key of `databom.toml` that is compared, as `table.key`, with its defaults filled in."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, msgspec.Struct):
            found |= {
                f"{field.name}.{part.name}": getattr(value, part.name)
                for part in msgspec.structs.fields(value)
            }
        elif field.name == _OWN:
            found |= {
                f"license.{name}.{key}": one for name, keys in value.items() for key, one in keys.items()
            }
        elif field.name != _ELSEWHERE:
            found[field.name.replace("_", ".", 1)] = value
    return found


def settings_digest(config: Config) -> str:
    """`sha256:<hex>` over everything that is compared; `Config.policy_digest` names only what judges a release."""
    text = json.dumps(
        settings(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str
    )
    return sha256(text.encode())


def check_policy(base: Config | None, head: Config, *, approved: str | None) -> Iterator[Finding]:
    """`policy.weakened` for each key that demands less than at the base. Demanding more is silent.

    Blocks, unless `approved` names what is there now: `Config.policy_digest` for keys of `[policy]`, `[use]`,
    `[accept]` and `[license]`, `settings_digest` for all. A digest approves only what it covers; else one that was
    named once for a policy would let every later change elsewhere pass.

    Args:
        base: None where the base has no `databom.toml` that can be read: then everything is as if it had changed.
        head: the policy as it will be merged.
        approved: the digest that somebody outside the branch named, if any.
    """
    whole = settings_digest(head)
    if base is None:
        yield _weakened(
            "databom.toml",
            "the base has no policy that can be read, so nothing says that this one demands as much",
            "a databom.toml that can be read",
            None,
            is_approved=approved == whole,
            digest=whole,
        )
        return
    before, after = settings(base), settings(head)
    weaker = [key for key in sorted({*before, *after}) if _is_weaker(key, before.get(key), after.get(key))]
    is_covered = {key: key.startswith(("accept.", "license.", "policy.", "use.")) for key in weaker}
    digest = head.policy_digest if all(is_covered.values()) else whole
    for key in weaker:
        yield _weakened(
            key,
            "demands less than at the base"
            if key in ORDERS or key.rpartition(".")[2] in _OF_A_LICENSE
            else "not what it is at the base, and no order says which of the two demands more",
            _value(before.get(key)),
            _value(after.get(key)),
            is_approved=approved == whole or (is_covered[key] and approved == head.policy_digest),
            digest=digest,
        )


def _weakened(
    key: str, what: str, expected: str, found: str | None, *, is_approved: bool, digest: str
) -> Finding:
    return Finding(
        "policy.weakened",
        Severity.INFO if is_approved else Severity.BLOCK,
        key,
        what + (", and --policy-digest approves it" if is_approved else ""),
        expected=expected,
        found=found,
        do=None if is_approved else f"restore it, or review it and name the result: --policy-digest {digest}",
    )


def _is_weaker(key: str, before: object, after: object) -> bool:
    if before == after:
        return False
    order = ORDERS.get(key, ())
    if key.startswith("license."):
        order = _OF_A_LICENSE.get(key.rpartition(".")[2], ())
    if before not in order or after not in order:
        return True
    return order.index(after) < order.index(before)


def _value(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str))
