"""Personal data that has a form: e-mail addresses, phone numbers, payment cards, IBANs, US SSNs, IPs.

What is sure is found first and taken out, so that a card is no phone number and an IP address no card. A check digit
must be right (Luhn, ISO 7064 mod 97), an address public, a number dialable (`phones`). Names of people have no form:
nothing here finds them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from databom.scanners import media, phones, texts, versions
from databom.scanners.protocol import Context, Data, Hit

_SPACES, _DASHES = "\xa0\u2007\u2009\u202f", "\u2010\u2011\u2012\u2013\u2014\u2212"
"""What typesetters put between the groups of a number."""
_GAP = rf"[ \t().\-/{_SPACES}{_DASHES}]"
_TYPED = str.maketrans({**dict.fromkeys(_SPACES, " "), **dict.fromkeys(_DASHES, "-")})
TRIGGER = re.compile(
    rf"@\w|\d(?:{_GAP}{{0,3}}\d){{6,}}|\d\.\d{{1,3}}\.\d{{1,3}}\.\d|[A-Za-z]{{2}}\d\d[ \-A-Za-z0-9]{{11}}|"
    rf":[0-9A-Fa-f]{{0,4}}:"
)
"""Text in which this is not found holds nothing."""
_AT = re.compile(
    r"@((?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([A-Za-z]{2,24}|xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24}))"
)
_LOCAL = re.compile(r"""(?:[^\W_]|[_#])(?:[\w%+&'*=/?^{|}~$!#.-]{0,126}[\w+=$-])?\Z|"[^"\n]{1,64}"\Z""")
_LOCAL_CHARS = 128
"""Mailing lists make longer names than the standard's 64."""
_FILES = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "html", "php", "txt", "json"})
"""What ends a file's name and no host's: `icon@2x.png`. Hosts do end with `.py` and `.md`."""
_IPV4 = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w]|\.\d)")
_NOBODYS = ""
"""The kind of what is sure to be nobody's: taken out, and not told."""
_VERSION = re.compile(r"(?i)(?:(?:v|ver|version|release|build|section|§)[ .:=\"]{0,3}|[a-z]/)\Z")
"""Before an address, these say that it is a version; `Firefox/1.5.0.7` too."""
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_HEXES = frozenset("0123456789abcdefABCDEF:")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is given to anybody; `x[::2]` and `ab::cd` are not in it."""
_IBAN = re.compile(
    rf"(?<![A-Za-z0-9])[A-Za-z]{{2}}\d\d[ \-{_SPACES}{_DASHES}]?(?:[A-Za-z0-9]{{4}}[ \-{_SPACES}{_DASHES}]?){{2,7}}"
    r"[A-Za-z0-9]{1,4}(?![A-Za-z0-9])"
)
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SD": 18,
    "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22,
    "VG": 24, "XK": 20,
}  # fmt: skip
_RUN = re.compile(rf"[+(]{{0,2}}\d(?:{_GAP}{{0,3}}\d){{6,}}")
_CARD = re.compile(
    r"\d{4}([ -]?)\d{4}\1\d{4}(?:\1\d{1,7})?|3[0478]\d\d([ -]?)\d{6}\2\d{4,5}|36\d\d([ -]?)\d{6}\3\d{4}"
)
_BRANDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d*|3[47]\d{13}|"
    r"6(?:011|4[4-9]\d|5\d\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12,15}|3(?:0[0-5]|[68]\d)\d{11}"
)
_MAESTRO = re.compile(r"(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}")
"""The ranges that issuers really use, of 12 to 19 digits: Luhn alone passes every tenth number."""
_SSN = re.compile(r"(?!000|666|9)\d{3}([- ])(?!00)\d\d\1(?!0000)\d{4}")
_SSN_WORDS = re.compile(r"(?i)(?<![a-z])(?:ssn|social[ _]security|soc[ .]sec)")
_BARE_SSN = re.compile(r"(?!000|666|9)\d{3}(?!00)\d\d(?!0000)\d{4}")
_AROUND = 40
"""Characters before a number in which a word may say what it is."""
_STICKS = frozenset("/=:#@$<_%&\\^")
"""Before a number, these say that it is part of something else, unless a word says that it is one."""
_EXTENSION = re.compile(r"(?i)x\d{1,6}(?!\w)")


class Patterns:
    """The built-in scanner of texts."""

    name, version, model, settings = versions.patterns()

    def takes(self, media_type: str) -> bool:
        """Whether it is text."""
        return media.is_text(media_type)

    def scan(self, data: Data, media_type: str, context: Context) -> Iterator[Hit]:
        """What stands in the text.

        Raises:
            Unreadable: it is no text.
        """
        del context
        for piece in texts.pieces(data, media_type):
            yield from find(piece.text, piece.hint, offset=piece.start)


def find(text: str, hint: str = "", *, offset: int = 0) -> Iterable[Hit]:
    """What stands in a text. `hint` is what its column or key is called; places count from `offset`."""
    if TRIGGER.search(text) is None:
        return ()
    found: list[Hit] = []
    masked = text
    for finder in (_emails, _ibans, _ipv4s, _ipv6s):
        fresh = list(finder(masked))
        found += fresh
        masked = _masked(masked, fresh)
    found += _numbers(masked, hint)
    found = [hit for hit in found if hit.kind != _NOBODYS]
    return [hit._replace(place=(hit.place[0] + offset, hit.place[1] + offset)) for hit in found]


def _masked(text: str, hits: Iterable[Hit]) -> str:
    """The text with what was found taken out; all places stay."""
    parts, at = [], 0
    for hit in sorted(hits, key=lambda one: one.place):
        start, end = hit.place
        if start < at:
            continue
        parts += [text[at:start], "\0" * (end - start)]
        at = end
    return text if not parts else "".join([*parts, text[at:]])


def _emails(text: str) -> Iterator[Hit]:
    for match in _AT.finditer(text):
        at = match.start()
        local = _LOCAL.search(text, max(0, at - _LOCAL_CHARS), at)
        if local is None or match[2].lower() in _FILES:
            continue
        if local[0] == "git" and text[match.end() : match.end() + 1] in {":", "/"}:
            continue  # a repository's address
        start = local.start()
        while text[start] in "'/=":  # what quotes an address is none of it
            start += 1
        yield Hit("email", 1.0, (start, match.end()))


def _ibans(text: str) -> Iterator[Hit]:
    for match in _IBAN.finditer(text):
        bare = "".join(filter(str.isalnum, match[0])).upper()
        length = _IBAN_LENGTHS.get(bare[:2], 0)
        if length and len(bare) >= length and _mod97(bare[:length]):
            end, left = match.start(), length
            while left:
                left -= text[end].isalnum()
                end += 1
            if not text[end : end + 1].isalnum():  # what goes on there is a longer word
                yield Hit("iban", 1.0, (match.start(), end))


def _mod97(iban: str) -> bool:
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def _ipv4s(text: str) -> Iterator[Hit]:
    for match in _IPV4.finditer(text):
        before = text[match.start() - 1 : match.start()]
        if before.isalnum() or before in {"_", "."}:
            continue
        try:
            is_public = ipaddress.IPv4Address(match[0]).is_global
        except ValueError:  # over 255, or a leading zero
            continue
        is_version = _VERSION.search(text, max(0, match.start() - 12), match.start()) is not None
        yield Hit("ip" if is_public and not is_version else _NOBODYS, 0.9, match.span())


def _ipv6s(text: str) -> Iterator[Hit]:
    end = 0
    for match in _COLONS.finditer(text):
        if match.start() < end:
            continue
        start, end = match.span()
        while start and text[start - 1] in _HEXES and match.start() - start < 45:
            start -= 1
        while end < len(text) and text[end] in _HEXES and end - match.start() < 45:
            end += 1
        sides = text[start - 1 : start] + text[end : end + 1]
        if any(c.isalnum() or c == "_" for c in sides):
            continue
        address = text[start:end]
        try:
            read = ipaddress.IPv6Address(address if address.endswith("::") else address.rstrip(":"))
            if read.is_global and read in _UNICAST:
                yield Hit("ip", 0.9, (start, end))
        except ValueError:
            continue


def _numbers(text: str, hint: str) -> Iterator[Hit]:
    for run in _RUN.finditer(text):
        spans = [run.span()]
        if sum(map(str.isdigit, run[0])) > 2 * phones.MOST_DIGITS or len(run[0]) > 40:
            # A row of numbers: each is one for itself, and most are too short.
            spans = [
                (run.start() + m.start(), run.start() + m.end()) for m in re.finditer(r"[^ \t]{7,}", run[0])
            ]
        for start, end in spans:
            yield from _number(text, start, end, hint)


def _number(text: str, start: int, end: int, hint: str) -> Iterator[Hit]:
    value = text[start:end].translate(_TYPED)
    after, before = text[end : end + 1], text[start - 1 : start]
    beside = _words(f"{hint} {text[max(0, start - _AROUND) : start]}")
    is_named = phones.WORDS.search(beside) is not None
    if after in {"_", "%", "@"} or (after.isalnum() and _EXTENSION.match(text, end) is None):
        return
    if (
        (before.isalnum() and (before.isascii() or not is_named))
        or before in {"_", "-"}
        or (before == "." and not is_named)
    ):
        return
    if before == "," and text[start - 2 : start - 1].isdigit() and (value.isdigit() or " " in value):
        return  # the decimals of a number, or one of many
    card = next((m for m in _CARD.finditer(value) if _is_card(value, m)), None)
    if card is not None:
        yield Hit("card", 1.0, (start + card.start(), start + card.end()))
        return
    is_ssn = bool(_SSN_WORDS.search(beside))
    ssn = _SSN.fullmatch(value) or (_BARE_SSN.fullmatch(value) if is_ssn else None)
    if ssn is not None and (is_ssn or before not in _STICKS):
        yield Hit("us-ssn", 1.0 if is_ssn else 0.8, (start, end))
        return
    is_dialed = is_named or (before in {":", "<"} and value.startswith("+"))
    if not is_dialed and before and before in _STICKS:
        return
    if value.startswith("("):
        value = value if ")" in value else value.lstrip("(")
    if phones.is_phone(value, named=is_named):
        yield Hit("phone", 0.9 if is_named or value.startswith("+") else 0.7, (start, end))


def _words(text: str) -> str:
    """`phoneNumber` and `phone_number` as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)


def _is_card(value: str, match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0])
    around = value[: match.start()][-1:] + value[match.end() :][:1]
    if not 12 <= len(digits) <= 19 or any(c.isdigit() or c == "." for c in around) or len(set(digits)) < 2:
        return False
    is_branded = len(digits) >= 13 and _BRANDS.fullmatch(digits) is not None
    return (is_branded or _MAESTRO.fullmatch(digits) is not None) and _luhn(digits)


def _luhn(digits: str) -> bool:
    total = 0
    for number, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + number % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
