"""Which members of a manifest this version does not know: kept, since the signature covers them, and listed.

A typed decode skips unknown members in silence, so they are looked for here. A walk
over a million assets takes seconds; the member names that `strictjson.shapes` counted usually show that there
is no need.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any, get_args

import msgspec

from databom.model.claims import Asset, Head
from databom.model.doubts import pointer
from databom.model.strictjson import MAX_INT

MAX_UNKNOWN = 100
"""Unknown members that are listed; more are kept all the same."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder()
_OBJECTS = msgspec.json.Decoder(dict[str, Any])

Shapes = dict[tuple[str, ...], int]
Place = tuple[str | int, ...]


def look(raw: bytes, shapes: Shapes | None, *, asset_count: int) -> tuple[str, ...]:
    """JSON pointers of the members of a manifest that this version does not know, at most `MAX_UNKNOWN`.

    The manifest has been decoded by type, so that its structure is known. `shapes` is what `strictjson.shapes` said of
    the same bytes.
    """
    parts = _OBJECT.decode(raw)
    head = _head(parts)
    walk = _of_head(head)
    if asset_count and (shapes is None or not _are_plain(shapes, head, asset_count)):
        walk.of_assets(parts["assets"], ("assets",))
    return tuple(map(pointer, walk.unknown))


def look_at_head(raw: bytes, *, count: int) -> tuple[str, ...] | None:
    """As `look`, of a manifest whose objects outside its list of assets should have `count` members together.

    None when they have another number, for then a name was repeated; or when only `strictjson` and `croissant` can
    tell: there is a number that is no small integer, or a JSON-LD context.
    """
    head = _head(_OBJECT.decode(raw))
    waiting: list[Any] = [head]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "@context" in item:
                return None
            count -= len(item)
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, float) or (isinstance(item, int) and not -MAX_INT <= item <= MAX_INT):
            return None
    return None if count else tuple(map(pointer, _of_head(head).unknown))


def _head(parts: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """A manifest's members as values, but for `assets`, which is None."""
    return {name: None if name == "assets" else _ANY.decode(part) for name, part in parts.items()}


def _of_head(head: dict[str, Any]) -> _Walk:
    walk = _Walk()
    walk.of_struct({name: value for name, value in head.items() if name != "assets"}, Head, ())
    return walk


def look_at_assets(text: bytes, shapes: Shapes | None, *, asset_count: int) -> tuple[str, ...]:
    """As `look`, of a list of assets that stands alone."""
    walk = _Walk()
    if shapes is None or not _are_plain(shapes, {}, asset_count):
        walk.of_assets(text, ())
    return tuple(map(pointer, walk.unknown))


def without_nulls(raw: bytes) -> bytes:
    """The same manifest, spelled anew, with optional members that are null left out: a null says "absent".

    Only ever decoded, never kept, hashed or verified.

    Raises:
        msgspec.MsgspecError: it is no JSON object.
    """
    return msgspec.json.encode(prune(_OBJECTS.decode(raw), Head, Asset))


def prune(value: Any, struct: type[msgspec.Struct], *within: type[msgspec.Struct]) -> Any:
    """A copy of a parsed struct without optional members that are null, at every level its type knows.

    `within` is the type of the items of `assets`, which the head keeps as bytes.
    """
    if not isinstance(value, dict):
        return value
    known, needed = _known(struct), _needed(struct)
    kept: dict[str, Any] = {}
    for name, member in value.items():
        inner = within[0] if within and name == "assets" else known.get(name)
        if member is None and name in known and name not in needed:
            continue
        if inner is not None and isinstance(member, list):
            kept[name] = [prune(item, inner) for item in member]
        else:
            kept[name] = member if inner is None else prune(member, inner)
    return kept


@cache
def _needed(struct: type[msgspec.Struct]) -> frozenset[str]:
    """The members a type cannot do without, as documents spell them."""
    fields = msgspec.structs.fields(struct)
    return frozenset(field.encode_name for field in fields if field.required)


class _Walk:
    """Follows the types of `claims` through a parsed value; free-form parts are not entered."""

    def __init__(self) -> None:
        self.unknown: list[Place] = []

    def of_assets(self, text: bytes | msgspec.Raw, place: Place) -> None:
        for index, part in enumerate(_LIST.decode(text)):
            self.of_struct(_ANY.decode(part), Asset, (*place, index))

    def of_struct(self, value: dict[str, Any], struct: type[msgspec.Struct], place: Place) -> None:
        known = _known(struct)
        for name, member in value.items():
            if name not in known:
                if len(self.unknown) < MAX_UNKNOWN:
                    self.unknown.append((*place, name))
            elif member is not None and (inner := known[name]) is not None:
                if isinstance(member, dict):
                    self.of_struct(member, inner, (*place, name))
                else:
                    for index, item in enumerate(member):
                        self.of_struct(item, inner, (*place, name, index))


@cache
def _known(struct: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct] | None]:
    """A type's members as documents spell them, with the type of those that are objects or lists of them."""
    return {field.encode_name: _struct_in(field.type) for field in msgspec.structs.fields(struct)}


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next(filter(None, map(_struct_in, get_args(kind))), None)


def _are_plain(shapes: Shapes, head: dict[str, Any], asset_count: int) -> bool:
    """Whether each object outside the head is an asset of known members, or a digest: `redacted_from`."""
    known = _known(Asset).keys()
    rest = Counter(shapes)
    rest.subtract(_shapes_of(head) if head else ())
    rest[("sha256",)] = 0
    assets = {shape: count for shape, count in rest.items() if count}
    return sum(assets.values()) == asset_count and all(
        {"path", "sha256"} <= set(shape) <= known for shape in assets
    )


def _shapes_of(value: Any) -> Counter[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            counts[tuple(item)] += 1
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return counts
