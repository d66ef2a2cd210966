"""Lists of assets, decoded only while somebody looks at them where they are long.

An asset takes some 350 bytes once it is decoded, more than twice what it takes in the document. So a long list keeps
the document's bytes and where each part of it begins (`Encoded`), and whoever walks over it meets one part at a time.
What the assets must be like is asked by `assets`.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from operator import attrgetter, lt
from typing import overload

import msgspec

from databom.model.claims import Asset, Count

PART = 512
"""Assets that are decoded at a time: few enough that what they leave behind is used again by the next ones."""
FEW = 4_096
"""Lists up to this length are kept decoded."""
USUAL_BYTES = 128
"""What an asset takes in a document, about; it only decides where a long list is cut."""
MOST_BYTES = 1024 * 1024
"""The longest part of a list that is decoded before anything was checked, here and in every copy of this process."""

ASSETS = msgspec.json.Decoder(tuple[Asset, ...])
"""Decodes a list of assets, by type only."""

_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_FIRST = re.compile(rb"\[[ \t\r\n]*(?=\{)")
_SEAM = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_LAST = re.compile(rb"\}[ \t\r\n]*\][ \t\r\n]*\Z")
_TAIL_BYTES = 1_024


class _Object(msgspec.Struct, gc=False):
    """Any object, for counting."""


_OBJECTS = msgspec.json.Decoder(list[_Object])


class _Sized(msgspec.Struct, gc=False):
    """An asset's size, which must be stated."""

    size: int


class _Named(msgspec.Struct, gc=False):
    """An asset's path."""

    path: str


class UsualAsset(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An asset of which the manifest says what most manifests say, and no more."""

    path: str
    sha256: str
    size: Count


class Usual(tuple[UsualAsset, ...]):
    """Assets of which the manifest says no more than that."""

    __slots__ = ()


_USUAL = msgspec.json.Decoder(tuple[UsualAsset, ...])
_SIZES = msgspec.json.Decoder(list[_Sized])
_NAMES = msgspec.json.Decoder(list[_Named])


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

    def paths_in_order(self) -> Iterator[str]:
        """The paths alone, as `in_order`."""
        return (path for path, _ in self.in_order())

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


class Part(Sequence[Asset]):
    """A part of a list as a manifest spells it: decoded whenever somebody looks, and once for a walk."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def text(self) -> bytes:
        """The part as a JSON list."""
        return b"[%b]" % bytes(self._view).rstrip(b" \t\r\n,")

    def __iter__(self) -> Iterator[Asset]:
        return iter(ASSETS.decode(self.text()))

    def __len__(self) -> int:
        return count_in(self.text())

    @overload
    def __getitem__(self, index: int) -> Asset: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Asset, ...]: ...
    def __getitem__(self, index: int | slice) -> Asset | tuple[Asset, ...]:
        return tuple(self)[index]

    def __reduce__(self) -> tuple[type[tuple[Asset, ...]], tuple[tuple[Asset, ...]]]:
        return tuple, (tuple(self),)  # what somebody else gets is decoded


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
        self._small: dict[int, bool] = {}

    def __len__(self) -> int:
        return self.length

    @property
    def size(self) -> int:
        """Bytes of the list in the document."""
        return len(self._view)

    def parts(self) -> Iterator[tuple[Asset, ...]]:
        """As `Listing.parts`."""
        return map(ASSETS.decode, self.texts())

    def texts(self) -> Iterator[bytes]:
        """All parts as JSON lists, spelled as the document spells them."""
        return (part.text() for part in self._parts())

    def quick_parts(self) -> Iterator[Sequence[Asset] | Usual]:
        """As `parts`; those whose assets are all usual ones take less to decode, and to check."""
        for text in self.texts():
            try:
                yield Usual(_USUAL.decode(text))
            except msgspec.ValidationError:
                yield ASSETS.decode(text)

    def _parts(self) -> Iterator[Part]:
        return (Part(self._view[begin:end]) for begin, end in pairwise(self._starts))

    def small_parts(self, most: int) -> list[Part] | None:
        """The list in parts, where every asset states a size of at most `most` bytes and they seem to be in order.

        None where not, or where it is no list of assets.
        """
        if most not in self._small:
            self._small[most] = self._are_small(most)
        return list(self._parts()) if self._small[most] else None

    def _are_small(self, most: int) -> bool:
        sizes = (max([one.size for one in _SIZES.decode(text)], default=0) for text in self.texts())
        try:
            first = [asset.path for asset in next(self._parts())]
            return all(map(lt, first, first[1:])) and max(sizes) <= most
        except msgspec.MsgspecError:
            return False

    def in_order(self) -> Iterator[tuple[str, str]]:
        """As `Listing.in_order`. A list that is not in order is sorted in memory, by its paths."""
        if self.is_in_order:
            return ((asset.path, asset.sha256) for asset in self)
        names = list(self._paths())
        order = sorted(range(len(names)), key=names.__getitem__)
        digests = "".join([asset.sha256 for asset in self])
        return ((names[at], digests[64 * at : 64 * at + 64]) for at in order)

    def paths_in_order(self) -> Iterator[str]:
        """As `Listing.paths_in_order`."""
        return self._paths() if self.is_in_order else iter(sorted(self._paths()))

    def _paths(self) -> Iterator[str]:
        return (one.path for text in self.texts() for one in _NAMES.decode(text))


def likely(text: msgspec.Raw, *, is_verbatim: bool = True) -> Sequence[Asset] | None:
    """The assets that a text lists, by the looks of it; None where only reading it closely can tell.

    `is_verbatim` says that the text is the manifest's own, and not spelled anew.

    Raises:
        msgspec.MsgspecError: they are no assets.
    """
    if len(memoryview(text)) <= FEW * 2 * USUAL_BYTES and len(few := ASSETS.decode(text)) <= FEW:
        return few
    try:
        return Encoded(text, _likely_starts(text), is_verbatim=is_verbatim)
    except msgspec.MsgspecError:
        return None


def closely(text: msgspec.Raw, *, is_verbatim: bool) -> Encoded:
    """The assets that a text lists, each looked for by parsing.

    Raises:
        msgspec.MsgspecError: they are no list.
    """
    return Encoded(text, _starts(bytes(text), _RAWS.decode(text)), is_verbatim=is_verbatim)


def count_in(text: bytes | msgspec.Raw) -> int:
    """How many objects a text lists.

    Raises:
        msgspec.MsgspecError: it is no list of objects.
    """
    return len(_OBJECTS.decode(text))


def parts_of(assets: Sequence[Asset]) -> Iterator[Sequence[Asset]]:
    """The assets, a bounded number at a time."""
    if isinstance(assets, Listing):
        return assets.parts()
    return (assets[start : start + PART] for start in range(0, len(assets), PART))


def paths_in_order(assets: Sequence[Asset]) -> Iterator[str]:
    """The path of each asset, in the order of their UTF-8 bytes."""
    if isinstance(assets, Listing):
        return assets.paths_in_order()
    return iter(sorted(asset.path for asset in assets))


def in_order(assets: Sequence[Asset]) -> Iterator[tuple[str, str]]:
    """(path, SHA-256 in hex) of each asset, in the order of the paths' UTF-8 bytes."""
    if isinstance(assets, Listing):
        return assets.in_order()
    return ((asset.path, asset.sha256) for asset in sorted(assets, key=attrgetter("path")))


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
    if any(end - begin > MOST_BYTES for begin, end in pairwise(starts)):
        raise msgspec.DecodeError("an asset is described at length")
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
