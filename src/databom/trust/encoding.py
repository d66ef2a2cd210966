"""Strict spellings inside signed documents: base64, base64url and JSON with exactly one reading each.

Every lenient decoder gives one signature several spellings (dropped trailing bits, ignored white space,
repeated members), and whatever compares spellings can then be made to disagree with whatever compares values.
Here each refusal is an `InputError` with `signature.invalid`.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, NoReturn

from databom.errors import InputError, Problem
from databom.model import strictjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ASK_PUBLISHER = (
    "fetch manifest and signature again; if they still do not hold, ask the publisher for a new release"
)

_STANDARD = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]*={0,2}")
_URL_SAFE_BARE = re.compile(r"[A-Za-z0-9_-]+")


def refuse(
    subject: str | None, what: str, *, expected: str | None = None, found: str | None = None
) -> NoReturn:
    """Raise `signature.invalid`."""
    raise InputError(
        Problem("signature.invalid", subject, what, expected=expected, found=found, do=ASK_PUBLISHER)
    )


def read_json(
    raw: bytes, *, what: str, limit: int, max_string: int = strictjson.MAX_STRING_CHARS
) -> dict[str, Any]:
    """Parse a JSON object strictly; `what` names the document in the refusal, the limits are `strictjson`'s.

    Raises:
        InputError: `signature.invalid`, whatever is wrong with it.
    """
    try:
        value = strictjson.loads(raw, prefix="signature", limit=limit, max_string=max_string)
    except InputError as error:
        first = error.problems[0]
        refuse(first.subject, f"{what}: {first.what}", expected=first.expected, found=first.found)
    if not isinstance(value, dict):
        refuse(None, f"{what} is not a JSON object")
    return value


def encode64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode64(text: str, subject: str) -> bytes:
    """Decode what DSSE allows: standard or URL-safe base64 (RFC 4648 sections 4 and 5), padded.

    No two accepted spellings of the same bytes are one changed character apart: the alphabets may not be
    mixed, trailing bits must be zero, and the URL-safe spelling is refused where a single character
    distinguishes it from the standard one. So every one-byte change of a signed string is refused.

    Raises:
        InputError: `signature.invalid`.
    """
    url_safe = "-" in text or "_" in text
    if (_URL_SAFE if url_safe else _STANDARD).fullmatch(text) is None:
        refuse(subject, "this is not base64, in one alphabet and without white space")
    if text.count("-") + text.count("_") == 1:
        refuse(
            subject,
            "one character alone makes this base64 URL-safe: it cannot be told from a changed byte",
            expected="standard base64 (RFC 4648 section 4)",
        )
    return _exactly(text, text.translate(_TO_STANDARD), subject)


def encode64url(data: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


_STEP = 1 << 15
"""Bytes encoded at a time: several copies are made of each step, which then stay small and close to the processor."""


def encode64url_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`encode64url` of the pieces as one text, a piece at a time."""
    rest = b""
    for piece in pieces:
        for start in range(0, len(piece), _STEP):
            data = rest + piece[start : start + _STEP]
            whole = len(data) - len(data) % 3
            rest = data[whole:]
            yield base64.urlsafe_b64encode(data[:whole])
    yield encode64url(rest).encode()


def decode64url(text: str, subject: str) -> bytes:
    """Decode canonical base64url without padding: one spelling for one value.

    Raises:
        InputError: `signature.invalid`, for padding, white space, another alphabet, trailing bits, no text.
    """
    if _URL_SAFE_BARE.fullmatch(text) is None:
        refuse(subject, "this is not base64url without padding (RFC 7515 section 2)")
    return _exactly(text, text.translate(_TO_STANDARD) + "=" * (-len(text) % 4), subject)


_TO_STANDARD = str.maketrans("-_", "+/")


def _exactly(text: str, standard: str, subject: str) -> bytes:
    try:
        data = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError):
        refuse(subject, f"this base64 text of {len(text)} characters is cut or wrongly padded")
    if encode64(data) != standard:  # "eB==" decodes like "eA==": the unused bits were not zero
        refuse(subject, "this base64 text ends in bits that stand for nothing")
    return data
