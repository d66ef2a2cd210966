"""Timestamps: one spelling in, one spelling out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import ConfigError
from databom.model import times

SHAPE = "a time is written 2026-01-10T12:00:00Z: RFC 3339, UTC, with a Z"

REFUSED = [
    ("", SHAPE),
    ("2026-01-10", SHAPE),
    ("2026-01-10T12:00:00", SHAPE),
    ("2026-01-10T12:00:00+00:00", SHAPE),
    ("2026-01-10T12:00:00-00:00", SHAPE),
    ("2026-01-10T12:00:00+14:01", SHAPE),
    ("2026-01-10T12:00:00z", SHAPE),
    ("2026-01-10t12:00:00Z", SHAPE),
    ("2026-01-10 12:00:00Z", SHAPE),
    ("2026-01-10T12:00Z", SHAPE),
    ("20260110T120000Z", SHAPE),
    ("2026-01-10T12:00:00.Z", SHAPE),
    ("2026-01-10T12:00:00,5Z", SHAPE),
    ("2026-01-10T12:00:00.1234567890Z", SHAPE),
    ("2026-01-10T12:00:00Z\n", SHAPE),
    (" 2026-01-10T12:00:00Z", SHAPE),
    ("10000-01-01T00:00:00Z", SHAPE),
    ("-001-01-01T00:00:00Z", SHAPE),
    ("٢٠٢٦-01-10T12:00:00Z", SHAPE),
    ("2026-02-30T00:00:00Z", "there is no such date or time: day is out of range for month"),
    ("2025-02-29T00:00:00Z", "there is no such date or time: day is out of range for month"),
    ("2026-13-01T00:00:00Z", "there is no such date or time: month must be in 1..12"),
    ("0000-01-01T00:00:00Z", "there is no such date or time: year 0 is out of range"),
    ("2026-01-10T24:00:00Z", "there is no such date or time: hour must be in 0..23"),
    ("2016-12-31T23:59:60Z", "there is no such date or time: second must be in 0..59"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[repr(text) for text, _ in REFUSED])
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        times.parse(text)
    # CPython words the details of an impossible date; the front is ours.
    assert str(caught.value) == message or str(caught.value).startswith(message.partition(":")[0] + ":")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-10T12:00:00Z", datetime(2026, 1, 10, 12, tzinfo=UTC)),
        ("2024-02-29T23:59:59Z", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-01-10T12:00:00.5Z", datetime(2026, 1, 10, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-10T12:00:00.123456789Z", datetime(2026, 1, 10, 12, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_accepted(text: str, expected: datetime) -> None:
    assert times.parse(text) == expected
    assert times.parse(text).tzinfo is UTC


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-23, 23))  # noqa: DTZ001
def test_parse_and_format_are_inverse_in_whole_seconds(naive: datetime, hours: int) -> None:
    when = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert times.parse(times.format(when)) == when.replace(microsecond=0)
    assert times.format(times.parse(times.format(when))) == times.format(when)


def test_a_time_without_a_zone_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        times.format(datetime(2026, 1, 10))  # noqa: DTZ001


def test_the_clock_is_utc() -> None:
    assert times.now().utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("when", "why"),
    [
        (datetime(2026, 1, 10), "no time zone"),  # noqa: DTZ001
        (datetime.max.replace(tzinfo=UTC), "no time to judge by"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "no time to judge by"),
    ],
)
def test_a_time_to_judge_by_is_an_instant(when: datetime, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        times.or_now(when)


def test_the_time_to_judge_by_is_the_callers_or_the_clocks() -> None:
    when = datetime(2026, 1, 10, tzinfo=UTC)
    assert times.or_now(when) is when
    assert times.or_now(None) >= times.now() - times.CLOCK_SKEW
