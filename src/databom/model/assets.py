"""The assets of a manifest, held in bulk to the rules that types cannot say. How long lists are kept: `listings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest
from itertools import islice
from operator import attrgetter, lt
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from databom.errors import InputError, Problem
from databom.model import digest, members, paths, strictjson
from databom.model.claims import UNSEEN, Asset
from databom.model.listings import ASSETS, Encoded, Usual, closely, count_in, in_order, parts_of

if TYPE_CHECKING:
    from databom.model.listings import UsualAsset

MAX_ASSETS = 2_000_000
"""Assets that one manifest lists by itself; a larger release lists them in shards."""
MAX_STRING_CHARS = 65_536
"""The longest string anywhere in a manifest, in characters."""

_TEXTS = tuple(map(attrgetter, ("media_type", "license", "creator_id", "consent")))
_LICENSE = attrgetter("license")
_VALUES = msgspec.json.Decoder(list[Any])

Meanwhile = Callable[[Sequence[Asset] | None], object]
"""Told of assets that have been found, and not checked (a `Listing` does not know its length yet), and by None that it
was for nothing; its answer is of no interest."""


class Refused(Exception):  # noqa: N818  # never escapes this room
    """A rule that types cannot say does not hold; `wording` finds the words."""


class Own(NamedTuple):
    """How many assets state a license for themselves, and the first of their paths."""

    total: int
    first: tuple[str, ...]


TOO_MANY = ""
"""Stands for all licenses that assets state beyond `MAX_LICENSES`."""
MAX_LICENSES = 1_000
_MOST_FIRST = 3


class Listed(NamedTuple):
    """A list of assets that keeps the rules."""

    assets: Sequence[Asset]
    tree: str
    total_bytes: int | None
    """None where a size is not declared."""
    licenses: Mapping[str, Own] = {}
    """The licenses that assets state for themselves."""
    members: int = 0
    """How many members the assets' objects have together, as far as they were understood. An empty list is none."""


def note_licenses(known: dict[str, Own], assets: Sequence[Asset]) -> None:
    """Add what assets state; the same whatever the order in which they come, up to `MAX_LICENSES`."""
    if not any(map(_LICENSE, assets)):
        return
    paths_of: dict[str, list[str]] = {}
    for asset in assets:
        if asset.license is not None:
            paths_of.setdefault(asset.license, []).append(asset.path)
    for name, found in paths_of.items():
        key = name if name in known or len(known) < MAX_LICENSES else TOO_MANY
        before = known.get(key, Own(0, ()))
        first = nsmallest(_MOST_FIRST, (*before.first, *found))
        known[key] = Own(before.total + len(found), tuple(first))


def read_listed(text: msgspec.Raw, found: Sequence[Asset] | None, *, is_verbatim: bool = True) -> Listed:
    """The assets a manifest lists, every rule checked that concerns them alone. `found` is what `likely` said.

    Raises:
        InputError: `manifest.limit`: they are too many, or their sizes add up to too much.
        Refused: another rule does not hold.
        msgspec.MsgspecError: they are no assets.
    """
    if found is not None:
        try:
            return _checked(text, found)
        except msgspec.MsgspecError:
            pass  # it was cut within an asset, or they are no assets
    _check_count(count_in(text))
    return _checked(text, closely(text, is_verbatim=is_verbatim))


def _checked(text: msgspec.Raw, assets: Sequence[Asset]) -> Listed:
    names: list[str] = []
    total = sized = stated = 0
    licenses: dict[str, Own] = {}
    lines: digest.TreeDigest | None = digest.TreeDigest()
    for part in assets.quick_parts() if isinstance(assets, Encoded) else parts_of(assets):
        if isinstance(part, Usual):
            check_digests(part)
            stated += 2 * len(part)
        else:
            stated += check_texts(part)
            note_licenses(licenses, part)
        fresh = [asset.path for asset in part]
        if lines is not None and all(map(lt, [*names[-1:], *fresh], islice(fresh, not names, None))):
            lines.add([(asset.path, asset.sha256) for asset in part])  # in order so far: no second walk
        else:
            lines = None
        names += fresh
        if len(names) > MAX_ASSETS:
            _check_count(count_in(text))
        sizes = [asset.size for asset in part if asset.size is not None]
        total, sized = total + sum(sizes), sized + len(sizes)
    if not names or paths.check_paths(names):
        raise Refused("paths")
    count = len(names)
    del names
    check_total(total)
    if isinstance(assets, Encoded):
        assets.length, assets.is_in_order = count, lines is not None
    tree = lines.digest() if lines is not None else digest.tree_digest(in_order(assets), is_sorted=True)
    return Listed(assets, tree, total if sized == count else None, licenses, stated + sized)


def _check_count(count: int) -> None:
    if count > MAX_ASSETS:
        raise limit("the manifest lists too many assets", f"at most {MAX_ASSETS:,}", f"{count:,}")


def check_total(total: int) -> None:
    """Refuse sizes whose sum no JSON reader holds exactly.

    Raises:
        InputError: `manifest.limit`.
    """
    if total > strictjson.MAX_INT:
        raise limit(
            "the sizes add up to too much", f"at most {strictjson.MAX_INT:,} bytes", f"{total:,} bytes"
        )


def check_digests(assets: Sequence[Asset | UsualAsset]) -> None:
    """The rule for digests: 64 lower-case hex digits.

    Raises:
        Refused: it does not hold.
    """
    hexes = [asset.sha256 for asset in assets]
    # bytes.fromhex would take upper case and spaces, `$` in a pattern a trailing line feed.
    if set(map(len, hexes)) != {64} or "".join(hexes).encode().translate(None, b"0123456789abcdef"):
        raise Refused("sha256")


def check_texts(assets: Sequence[Asset]) -> int:
    """The rules for digests and texts that types leave out, in bulk; answers how many members but sizes are there.

    Raises:
        Refused: one does not hold.
    """
    check_digests(assets)
    flags = [asset.flags for asset in assets if asset.flags]
    redacted = sum([asset.redacted_from is not None for asset in assets])
    stated = 2 * len(assets) + len(flags) + 2 * redacted
    texts: set[str | None] = set().union(*flags)
    for get in _TEXTS:
        values = list(map(get, assets))
        if (absent := values.count(None)) != len(values):
            texts.update(values)
            stated += len(values) - absent
    if UNSEEN.search("".join(filter(None, texts))):
        raise Refused("a control or invisible character")
    return stated


def is_good_asset(value: Any) -> bool:
    """Whether one parsed asset needs no second look when problems are worded; its path has one of its own."""
    try:
        check_texts([msgspec.convert(members.prune(value, Asset), Asset)])
    except (msgspec.MsgspecError, Refused):
        return False
    return True


def decode(text: bytes) -> tuple[Asset, ...]:
    """The assets in a JSON list, by type only.

    Raises:
        msgspec.MsgspecError: they are no assets.
    """
    assets: tuple[Asset, ...]
    try:
        assets = ASSETS.decode(text)
    except msgspec.MsgspecError:
        # A null says absent. Most types take it as it stands; lists do not.
        if b"null" not in text:
            raise
        pruned = [members.prune(value, Asset) for value in _VALUES.decode(text)]
        assets = ASSETS.decode(msgspec.json.encode(pruned))
    return assets


def limit(what: str, expected: str, found: str, subject: str = "/assets") -> InputError:
    """The refusal of a list that is beyond a limit."""
    do = "ask the publisher to split the release"
    return InputError(Problem("manifest.limit", subject, what, expected=expected, found=found, do=do))
