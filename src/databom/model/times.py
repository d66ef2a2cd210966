"""Time: aware UTC datetimes, written as RFC 3339 with `Z`, and the one clock.

RFC 3339 allows offsets, lower-case letters and leap seconds; documents databom reads may not use them, so
that one instant has one spelling (up to the fraction) and no reader needs a table of leap seconds.
"""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta

from databom.errors import ConfigError

PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z"
"""The shape of a timestamp (RFC 3339 section 5.6, `Z` only). `parse` also asks whether the date exists."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far one honest clock may be from another before a time counts as being in the future."""

_SHAPE = re.compile(PATTERN, re.ASCII)


def parse(text: str) -> datetime:
    """The instant a timestamp names, as an aware UTC datetime. Digits below a microsecond are dropped.

    Raises:
        ValueError: not RFC 3339 with `Z` (an offset, lower case, no zone), or no such date or time: 30
            February, second 60, year 0.
    """
    if _SHAPE.fullmatch(text) is None:
        raise ValueError("a time is written 2026-01-10T12:00:00Z: RFC 3339, UTC, with a Z")
    fraction = text[20:-1]
    micros = int(fraction[:6].ljust(6, "0")) if fraction else 0
    try:
        return datetime(
            int(text[0:4]),
            int(text[5:7]),
            int(text[8:10]),
            int(text[11:13]),
            int(text[14:16]),
            int(text[17:19]),
            micros,
            UTC,
        )
    except ValueError as error:
        raise ValueError(f"there is no such date or time: {error}") from None


def format(when: datetime) -> str:  # noqa: A001  # parse/format are a pair, used as times.format
    """The instant as RFC 3339 in whole seconds with `Z`; a fraction is dropped, never rounded up.

    Raises:
        ValueError: the datetime is naive: its zone would be a guess.
    """
    if when.utcoffset() is None:
        raise ValueError("a time without a zone cannot be written as UTC")
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def now() -> datetime:
    """The clock. Functions that judge time take `now=`, so nothing else in databom reads it."""
    return datetime.now(UTC)


def or_now(when: datetime | None) -> datetime:
    """The time a caller named to judge by, else the clock's.

    Raises:
        ConfigError: the datetime is naive, so that it cannot be compared with any time in a document, or in the
            first or last year there is, where a zone or a lifetime leads beyond what can be counted.
    """
    if when is None:
        return now()
    if when.utcoffset() is None or not MINYEAR < when.year < MAXYEAR:
        why = (
            "has no time zone, so it is no instant" if when.utcoffset() is None else "is no time to judge by"
        )
        raise ConfigError(f"now={when.isoformat()} {why}", hint="pass an aware datetime: datetime.now(UTC)")
    return when
