"""What a store said of one answer, as far as it may be kept as evidence.

A short list of names, none of which carries a credential by its meaning; a value is cut, made printable, and redacted
all the same, because a server can put anything anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from databom.model.text import printable
from databom.storage.redact import redact

NONE: Final[Mapping[str, str]] = MappingProxyType({})

_NAMES: Final = frozenset(
    {
        *(
            "age",
            "cf-cache-status",
            "cf-ray",
            "content-encoding",
            "content-length",
            "content-type",
            "date",
            "etag",
        ),
        *("last-modified", "server", "via", "x-amz-id-2", "x-amz-request-id", "x-amz-version-id", "x-cache"),
    }
)
_CHECKSUM: Final = "x-amz-checksum-"
_MAX_KEPT: Final = 30


def kept(headers: Mapping[str, Any]) -> dict[str, str]:
    """The headers that may be kept: lower-case names, sorted."""
    found = {name.lower(): value for name, value in headers.items() if _is_kept(name.lower())}
    return {name: printable(redact(str(found[name]))) for name in sorted(found)[:_MAX_KEPT]}


def headers_of(stream: object) -> Mapping[str, str]:
    """What the store said of the answer that `stream` reads; nothing for a local file."""
    headers: Mapping[str, str] = getattr(stream, "headers", NONE)
    return headers


def _is_kept(name: str) -> bool:
    return name in _NAMES or (name.startswith(_CHECKSUM) and name.isascii() and len(name) < 40)
