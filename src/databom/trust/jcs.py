"""Canonical JSON (RFC 8785): one spelling for one value, so that a signature can cover the value.

The bytes are UTF-8 without white space, members sorted by the UTF-16 code units of their names, numbers
written as ECMAScript writes them. Only the embedded signature and the content digest need it; a detached
signature covers bytes as they are.
"""

from __future__ import annotations

import json

import rfc8785

from databom.errors import InputError, Problem

_MAX_SAFE_INTEGER = 2**53 - 1
_WALK_DEPTH = 64


def canonical(value: object) -> bytes:
    """The RFC 8785 bytes of a JSON value (dicts, lists, strings, numbers, booleans, None).

    Idempotent: parsing the bytes and canonicalizing again gives the same bytes. Does not change `value`.

    Raises:
        InputError: `manifest.syntax`, for what has no such form: NaN, an infinity, an integer beyond 2^53-1,
            a lone surrogate, a member name that is not a string, nesting without end, any other type.
    """
    try:
        if _is_plain(value):
            return _ENCODE(value).encode()
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # it checks at run time what we cannot promise
    # rfc8785 lets UnicodeEncodeError (a lone surrogate in a name) and RecursionError through, and a huge
    # integer fails while its own error message is built; all but RecursionError are ValueErrors.
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            Problem(
                "manifest.syntax",
                None,
                f"this value has no canonical form (RFC 8785): {type(error).__name__}",
                expected="JSON without NaN, lone surrogates or integers beyond 2^53-1",
                do="ask the publisher for a document that is valid I-JSON (RFC 7493)",
            )
        ) from error


# With ASCII names and no floats, sorted compact `json.dumps` gives the bytes of RFC 8785 five times faster
# (the stdlib sorts by code point, which is the order of UTF-16 units there; it escapes what section 3.2.2.2
# escapes). A property test holds the two together. Manifests of 10^5 assets are why this exists.
_ENCODE = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def _is_plain(value: object) -> bool:
    """Whether the stdlib writes this value exactly as RFC 8785 does."""
    todo: list[object] = [value]
    for _ in range(_WALK_DEPTH):
        deeper: list[object] = []
        for item in todo:
            kind = type(item)
            if kind is dict:
                for key in item:  # type: ignore[attr-defined]  # a dict, by the line above
                    if type(key) is not str or not key.isascii():
                        return False
                deeper.extend(item.values())  # type: ignore[attr-defined]
            elif kind is list:
                deeper.extend(item)  # type: ignore[arg-type]
            elif kind is int:
                if not -_MAX_SAFE_INTEGER <= item <= _MAX_SAFE_INTEGER:  # type: ignore[operator]
                    return False
            elif kind is not str and item is not None and kind is not bool:
                return False
        if not deeper:
            return True
        todo = deeper
    return False
