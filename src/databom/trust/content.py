r"""The content of a manifest in RFC 8785 bytes, in pieces: what an embedded signature and the content digest cover.

A manifest of a million assets would take nine times its size as parsed objects. So its list of assets is made
canonical one part at a time. msgspec writes a part when that is proven to give RFC 8785's bytes: all of it is ASCII
and spelled without `\u`, so that names in code-point order are in order of UTF-16 units, and a manifest that has been
read holds no fraction, no exponent and no integer beyond 2^53-1. Everything else goes through `jcs.canonical`. A
property test holds the pieces against `rfc8785`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from databom.model.listings import Encoded
from databom.trust.jcs import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from databom.model.manifest import Manifest

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(Any)
_ENCODE = msgspec.json.Encoder(order="sorted").encode


def content_pieces(manifest: Manifest, *, without: tuple[str, ...] = ()) -> Iterator[bytes]:
    """RFC 8785 bytes of the manifest's object without its `signature` and the members named in `without`.

    Raises:
        InputError: `manifest.syntax`, for content without canonical form (a manifest that was read has one).
    """
    assets = manifest.assets
    if manifest.form != "manifest" or not isinstance(assets, Encoded) or not assets.is_verbatim:
        content = manifest.content()
        yield canonical({name: value for name, value in content.items() if name not in without})
        return
    members = _OBJECT.decode(manifest.raw)
    names = sorted(members.keys() - {"signature", *without}, key=lambda name: name.encode("utf-16-be"))
    for number, name in enumerate(names):
        yield b"%b%b:" % (b"," if number else b"{", canonical(name))
        if name == "assets":
            yield from _list_pieces(assets)
        else:
            yield canonical(_ANY.decode(members[name]))
    yield b"}" if names else b"{}"


def content_digest(manifest: Manifest, *, without: tuple[str, ...] = ()) -> str:
    """`sha256:<hex>` of `content_pieces`: equal for every spelling of one content.

    Raises:
        InputError: as `content_pieces`.
    """
    state = hashlib.sha256()
    for piece in content_pieces(manifest, without=without):
        state.update(piece)
    return "sha256:" + state.hexdigest()


def _list_pieces(assets: Encoded) -> Iterator[bytes]:
    before = b"["
    for text in assets.texts():
        value = _ANY.decode(text)
        is_plain = text.isascii() and b"\\u" not in text
        yield before
        yield (_ENCODE(value) if is_plain else canonical(value))[1:-1]
        before = b","
    yield b"]"
