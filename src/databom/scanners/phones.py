"""Which runs of digits are telephone numbers.

Numbers are everywhere, so a run of digits must look dialed: a `+` and a country code; or ten digits in three groups; or
a word beside it that says so (`tel`, `phone`, `fax`, …). `phonenumbers` then says whether such a number can exist;
where that is not installed, what it looks like must do.
"""

from __future__ import annotations

import functools
import re
from typing import Any

WORDS = re.compile(
    r"(?i)(?<![a-z])(?:tele?(?:phone|fon|fono|f)?|phones?|ph|fax|call|mobile|cell(?:ular)?|whatsapp|sms|dial|hotline|"
    r"handy|mobil|rufnummer|telefono|celular|tlf|msisdn|toll[- ]free)"
    r"(?:[ _.-]?(?:no|nr|num|number|nummer|us|me|at))?(?![a-z])|手机|手機|电话|電話|携帯|휴대폰|전화"
)
REGIONS = ("US", "GB", "IE", "DE", "FR", "IN", "AU", "IT", "ES", "NL", "BR", "JP", "CH", "AT", "BE", "SE")
"""Where numbers without a country code are dialed, as far as we look."""
LEAST_DIGITS, MOST_DIGITS = 7, 15

_GROUPS = re.compile(r"\d+")
_NANP = re.compile(r"(?:1[ .-])?\(?[2-9]\d\d\)?[ .-]{0,2}[2-9]\d\d[ .-]\d{4}")
_TRUNK = re.compile(r"\(?0[1-9]\d{1,4}\)?[ /-]{1,3}\d{5,8}")
_DATES = re.compile(
    r"\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{4}|\d{4}/\d\d/\d\d|(?:19|20)\d\d ?- ?(?:19|20)\d\d"
)


def is_phone(text: str, *, named: bool) -> bool:
    """Whether a run of digits and separators is a telephone number; `named`: something beside it says so."""
    groups = _GROUPS.findall(text)
    digits = "".join(groups)
    if not LEAST_DIGITS <= len(digits) <= MOST_DIGITS or len(set(digits)) < 2 or _DATES.match(text):
        return False
    if text.count(".") and (" " in text.strip() or text.count(".") != len(groups) - 1):
        return False  # decimals side by side
    if text.startswith("+"):
        return _exists(text, None, len(digits) >= 8)
    if named:
        return _is_possible(text, len(digits) >= LEAST_DIGITS)
    if len(digits) < 10 or len(groups) < 2:
        return False
    if len(groups) == 2:  # `030 1234567`: with the digit that one dials before an area
        return _TRUNK.fullmatch(text) is not None and _exists(text, REGIONS, False)
    if max(map(len, groups)) > 6 or min(map(len, groups[1:])) < 2:
        return False
    return _exists(text, REGIONS, _NANP.fullmatch(text) is not None)


@functools.cache
def library() -> Any:
    """The `phonenumbers` package; None where it is not installed."""
    try:
        import phonenumbers
    except ImportError:
        return None
    return phonenumbers


def _exists(text: str, regions: tuple[str, ...] | None, otherwise: bool) -> bool:
    numbers = library()
    if numbers is None:
        return otherwise
    return any(
        parsed is not None and numbers.is_valid_number(parsed)
        for parsed in (_parsed(numbers, text, region) for region in regions or (None,))
    )


def _is_possible(text: str, otherwise: bool) -> bool:
    numbers = library()
    if numbers is None:
        return otherwise
    return any(
        parsed is not None and numbers.is_possible_number(parsed)
        for parsed in (_parsed(numbers, text, region) for region in REGIONS)
    )


def _parsed(numbers: Any, text: str, region: str | None) -> Any:
    try:
        return numbers.parse(text, region)
    except numbers.NumberParseException:
        return None
