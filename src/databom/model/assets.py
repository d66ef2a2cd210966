"""Lists of assets: held to the rules in bulk, and, when they are long, decoded only while somebody looks at them.

An asset takes some 350 bytes once it is decoded, more than twice what it takes in the document. So a long list keeps
the document's bytes and where each part of it begins (`Encoded`), and whoever walks over it meets one part at a time.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import islice, pairwise
from operator import attrgetter, lt
from typing import Any, NamedTuple, overload

import msgspec

from databom.errors import InputError, Problem
from databom.model import digest, members, paths, strictjson
from databom.model.claims import UNSEEN, Asset

MAX_ASSETS = 2_000_000
"""Assets that one manifest lists by itself; a larger release lists them in shards."""
MAX_STRING_CHARS = 65_536
"""The longest string anywhere in a manifest, in characters."""
PART = 2_048
"""Assets that are decoded at a time: few enough that what they leave behind is used again by the next ones."""
FEW = 32_768
"""Lists up to this length are kept decoded."""
MEANWHILE_BYTES = 32 * 1024 * 1024
"""Of a longer list nobody is told before it was checked: what they made of it would be held at the same time."""
USUAL_BYTES = 128
"""What an asset takes in a document, about; it only decides where a long list is cut."""

_TEXTS = tuple(map(attrgetter, ("media_type", "license", "creator_id", "consent")))
_LICENSE = attrgetter("license")
_ASSETS = msgspec.json.Decoder(tuple[Asset, ...])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_VALUES = msgspec.json.Decoder(list[Any])
_FIRST = re.compile(rb"\[[ \t\r\n]*(?=\{)")
_SEAM = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_LAST = re.compile(rb"\}[ \t\r\n]*\][ \t\r\n]*\Z")
_TAIL_BYTES = 1_024


class _Object(msgspec.Struct, gc=False):
    """Any object, for counting."""


_OBJECTS = msgspec.json.Decoder(list[_Object])


Meanwhile = Callable[[Sequence[Asset] | None], object]
"""Told of assets that have been found, and not checked (a `Listing` does not know its length yet), and by None that it
was for nothing; its answer is of no interest."""


class Refused(Exception):  # noqa: N818  # never escapes this room
    """A rule that types cannot say does not hold; `wording` finds the words."""


class Listing(Sequence[Asset]):
    """A release's assets where they are too many to keep decoded: the same each time they are walked over.

    `list(listing)` is what it avoids. Indexing decodes the part that is asked for.
    """

    @abstractmethod
    def parts(self) -> Iterator[Sequence[Asset]]:
        """All assets, in the document's order, a bounded number at a time."""

    @abstractmethod
    def in_order(self) -> Iterator[tuple[str, str]]:
        """(path, SHA-256 in hex) of each asset, in the order of the paths' UTF-8 bytes."""

    def __iter__(self) -> Iterator[Asset]:
        for part in self.parts():
            yield from part

    @overload
    def __getitem__(self, index: int) -> Asset: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Asset, ...]: ...
    def __getitem__(self, index: int | slice) -> Asset | tuple[Asset, ...]:
        if isinstance(index, slice):
            wanted = range(*index.indices(len(self)))
            if not wanted:
                return ()
            low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
            found = tuple(islice(self, low, high + 1))
            return tuple(found[at - low] for at in wanted)
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return next(islice(self, index % len(self), None))


class Encoded(Listing):
    """A list of assets as a manifest spells it, and where its parts begin."""

    def __init__(self, text: msgspec.Raw, starts: array[int], *, is_verbatim: bool) -> None:
        self._view = memoryview(text)
        self._starts = starts
        self.length = 0
        """How many they are; known once they have been read."""
        self.is_verbatim = is_verbatim
        """Whether the manifest spells it so; False where it was spelled anew, to leave out what is null."""
        self.is_in_order = False
        """Whether they are known to be listed in the order of their paths."""

    def __len__(self) -> int:
        return self.length

    def parts(self) -> Iterator[tuple[Asset, ...]]:
        """As `Listing.parts`."""
        return map(_ASSETS.decode, self.texts())

    def texts(self) -> Iterator[bytes]:
        """All parts as JSON lists, spelled as the document spells them."""
        for begin, end in pairwise(self._starts):
            yield b"[%b]" % bytes(self._view[begin:end]).rstrip(b" \t\r\n,")

    def in_order(self) -> Iterator[tuple[str, str]]:
        """As `Listing.in_order`. A list that is not in order is sorted in memory, by its paths."""
        if self.is_in_order:
            return ((asset.path, asset.sha256) for asset in self)
        names = [asset.path for asset in self]
        order = sorted(range(len(names)), key=names.__getitem__)
        digests = "".join([asset.sha256 for asset in self])
        return ((names[at], digests[64 * at : 64 * at + 64]) for at in order)


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


def read_listed(text: msgspec.Raw, *, is_verbatim: bool, meanwhile: Meanwhile | None = None) -> Listed:
    """The assets a manifest lists, every rule checked that concerns them alone.

    `is_verbatim` says that the text is the manifest's own, and not spelled anew. `meanwhile` is called with what is
    checked then.

    Raises:
        InputError: `manifest.limit`: they are too many, or their sizes add up to too much.
        Refused: another rule does not hold.
        msgspec.MsgspecError: they are no assets.
    """
    if len(memoryview(text)) > FEW * 2 * USUAL_BYTES:
        try:
            likely = Encoded(text, _likely_starts(text), is_verbatim=is_verbatim)
            if meanwhile is not None and len(memoryview(text)) <= MEANWHILE_BYTES:
                meanwhile(likely)
            return _checked(text, likely)
        except msgspec.MsgspecError:
            pass  # it was cut within an asset, or they are no assets
    elif len(few := _ASSETS.decode(text)) <= FEW:
        if meanwhile is not None:
            meanwhile(few)
        return _checked(text, few)
    _check_count(len(_OBJECTS.decode(text)))
    return _checked(text, Encoded(text, _starts(bytes(text), _RAWS.decode(text)), is_verbatim=is_verbatim))


def _checked(text: msgspec.Raw, assets: Sequence[Asset]) -> Listed:
    names: list[str] = []
    total = sized = stated = 0
    licenses: dict[str, Own] = {}
    lines: digest.TreeDigest | None = digest.TreeDigest()
    for part in parts_of(assets):
        stated += check_texts(part)
        note_licenses(licenses, part)
        fresh = [asset.path for asset in part]
        if lines is not None and all(map(lt, [*names[-1:], *fresh], islice(fresh, not names, None))):
            lines.add([(asset.path, asset.sha256) for asset in part])  # in order so far: no second walk
        else:
            lines = None
        names += fresh
        if len(names) > MAX_ASSETS:
            _check_count(len(_OBJECTS.decode(text)))
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


def parts_of(assets: Sequence[Asset]) -> Iterator[Sequence[Asset]]:
    """The assets, a bounded number at a time."""
    if isinstance(assets, Listing):
        return assets.parts()
    return (assets[start : start + PART] for start in range(0, len(assets), PART))


def in_order(assets: Sequence[Asset]) -> Iterator[tuple[str, str]]:
    """(path, SHA-256 in hex) of each asset, in the order of the paths' UTF-8 bytes."""
    if isinstance(assets, Listing):
        return assets.in_order()
    return ((asset.path, asset.sha256) for asset in sorted(assets, key=attrgetter("path")))


def check_total(total: int) -> None:
    """Refuse sizes whose sum no JSON reader holds exactly.

    Raises:
        InputError: `manifest.limit`.
    """
    if total > strictjson.MAX_INT:
        raise limit(
            "the sizes add up to too much", f"at most {strictjson.MAX_INT:,} bytes", f"{total:,} bytes"
        )


def check_texts(assets: Sequence[Asset]) -> int:
    """The rules for digests and texts that types leave out, in bulk; answers how many members but sizes are there.

    Raises:
        Refused: one does not hold.
    """
    hexes = [asset.sha256 for asset in assets]
    # bytes.fromhex would take upper case and spaces, `$` in a pattern a trailing line feed.
    if set(map(len, hexes)) != {64} or "".join(hexes).encode().translate(None, b"0123456789abcdef"):
        raise Refused("sha256")
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
        assets = _ASSETS.decode(text)
    except msgspec.MsgspecError:
        # A null says absent. Most types take it as it stands; lists do not.
        if b"null" not in text:
            raise
        pruned = [members.prune(value, Asset) for value in _VALUES.decode(text)]
        assets = _ASSETS.decode(msgspec.json.encode(pruned))
    return assets


def _likely_starts(text: msgspec.Raw) -> array[int]:
    """As `_starts`, without parsing: wherever an object ends and one begins there may be the next asset.

    Whether it was, parsing the parts tells: lists that are JSON each are one list when commas join them.

    Raises:
        msgspec.DecodeError: it is surely no list of objects, or only parsing can tell.
    """
    view = memoryview(text)
    first, last = _FIRST.match(view), _LAST.search(view, max(0, len(view) - _TAIL_BYTES))
    if first is None or last is None:
        raise msgspec.DecodeError("no list of objects")
    starts = array("q", [first.end()])
    while seam := _SEAM.search(view, starts[-1] + PART * USUAL_BYTES):
        starts.append(seam.end() - 1)
    starts.append(last.start() + 1)
    return starts


def _starts(text: bytes, raws: Sequence[msgspec.Raw]) -> array[int]:
    """Where each part begins, and where the last one ends. Between two assets there is only space and a comma."""
    starts = array("q")
    find, at = text.index, text.index(b"[") + 1
    for first in range(0, len(raws), PART):
        starts.append(find(b"{", at))
        for size in map(len, raws[first : first + PART]):
            at = find(b"{", at) + size
    starts.append(at)
    return starts


def limit(what: str, expected: str, found: str, subject: str = "/assets") -> InputError:
    """The refusal of a list that is beyond a limit."""
    do = "ask the publisher to split the release"
    return InputError(Problem("manifest.limit", subject, what, expected=expected, found=found, do=do))
