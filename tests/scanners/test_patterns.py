"""Personal data that has a form, and numbers that only look like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.scanners.patterns import find


def kinds(text: str, hint: str = "") -> list[str]:
    return [hit.kind for hit in sorted(find(text, hint), key=lambda hit: hit.place)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ada.lovelace+x@mail.example.org.", ["email"]),
        ("<mailto:ada@example.museum>", ["email"]),
        ("From=bounce-17-ada=example.org@lists.example.com", ["email"]),
        ("ada@xn--bcher-kva.xn--p1ai", ["email"]),
        ("+44 20 7946 0958", ["phone"]),
        ("+1 (415) 555-2671", ["phone"]),
        ("(415) 555-2671 or 415-555-2672", ["phone", "phone"]),
        ("Tel.: 030 1234567", ["phone"]),
        ("fax 555-2671", ["phone"]),
        ("415.555.2671", ["phone"]),
        ("4111 1111 1111 1111", ["card"]),
        ("card:4111-1111-1111-1111;", ["card"]),
        ("3782 822463 10005", ["card"]),
        ("5018 0000 0009", ["card"]),  # Maestro: 12 to 19 digits
        ("676168000000000005", ["card"]),
        ("5893000000000000003", ["card"]),
        ("手机13812345678", ["phone"]),
        ("联系电话\uff1a138 1234 5678", ["phone"]),
        ("ssn 536-90-4399 and 4111 1111 1111 1111", ["us-ssn", "card"]),
        ("SSN: 536904399", ["us-ssn"]),
        ("DE89 3704 0044 0532 0130 00 is an account", ["iban"]),
        ("GB82WEST12345698765432", ["iban"]),
        ("from 8.8.8.8 (dns)", ["ip"]),
        ("2001:4860:4860::8888", ["ip"]),
        ("[2a00:1450:4001:81b:0:0:0:200e]", ["ip"]),
    ],
)
def test_what_is_found(text: str, expected: list[str]) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "icon@2x.png, @decorator, user@localhost, a @ b",
        "4111 1111 1111 1112",  # Luhn
        "DE89 3704 0044 0532 0130 01",  # mod 97
        "DE89 3704",
        "000-12-3456 666-12-3456 912-34-5678 123-00-4567",
        "10.0.0.1 192.168.1.1 127.0.0.1 169.254.0.1 255.255.255.255",
        "version 8.8.8.8, v1.2.3.4, 1.2.3.4.5",
        "std::vector<int>::iterator 12:30:45 aa:bb:cc:dd:ee:ff ::1 fe80::1",
        "2002-09-24 10:48:35 and 24.09.2002 10:48",
        "0.123 0.456 0.789 1.234567890123",
        "3.141592653589793 4.111111111111111",
        "order 123456789012345678901234567890",
        "M10.5 20.25L30.125 40.0625 415-5a",
        "d41d8cd98f00b204e9800998ecf8427e 12345678-1234-1234-1234-123456789012",
        "https://example.org/415-555-2671 id=4155552671 #4155552671",
        "1992-1996 and 1,234,567,890",
        "12345678901",
        "13812345678",  # a phone number in China, or any other number: nothing says which
        "编号13812345678",
    ],
)
def test_what_is_not_found(text: str) -> None:
    assert kinds(text) == []


@pytest.mark.parametrize("text", ["501800000008", "400000000002", "509900000007", "676168000000000006"])
def test_twelve_digits_are_a_card_of_a_known_range_alone(text: str) -> None:
    assert "card" not in kinds(text)


def test_a_column_says_what_a_number_is() -> None:
    assert kinds("2079460958", "mobile_number") == ["phone"]
    assert kinds("536904399", "socialSecurityNumber") == ["us-ssn"]
    assert kinds("2079460958", "inhabitants") == []


@given(st.text(alphabet=st.sampled_from("0123456789+-. ()/@:;abcdefXYZ\n\t\x00é"), max_size=400))
def test_places_are_in_the_text_and_do_not_overlap(text: str) -> None:
    end = 0
    for hit in sorted(find(text), key=lambda one: one.place):
        start, stop = hit.place
        assert end <= start < stop <= len(text)
        end = stop


@given(
    st.lists(
        st.sampled_from(
            ["ada@example.org", "+44 20 7946 0958", "8.8.8.8", "4111 1111 1111 1111", "536-90-4399"]
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([", ", "\n", " | ", "; "]),
)
def test_neighbours_hide_nothing(values: list[str], between: str) -> None:
    assert len(kinds(between.join(values))) == len(values)
