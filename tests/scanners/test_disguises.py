"""Personal data that is written in another way than one would write it: every form was missed once."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.scanners import looking, texts
from databom.scanners.looking import Looker
from databom.scanners.registry import load
from support.people import picture

ADDRESS = "ada@example.org"
FACE = base64.b64encode(picture("astronaut.png")).decode()


@pytest.fixture(scope="module")
def looker() -> Iterator[Looker]:
    return Looker(load(()).scanners)


def mail(content: str, charset: str, coding: str, subtype: str = "plain") -> bytes:
    head = f"Received: from nowhere\nContent-Type: text/{subtype}; charset={charset}\n"
    raw = base64.encodebytes(content.encode(charset)).decode()
    return f"{head}Content-Transfer-Encoding: {coding}\n\n{raw}\n".encode()


def photo_that_is_called_a_text() -> bytes:
    return b"Received: x\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + FACE.encode()


def wound(subject: str) -> bytes:
    message = EmailMessage()
    message["Received"] = "from nowhere"
    message.set_content("hello")
    word = base64.b64encode(subject.encode()).decode()
    return f"Subject: =?utf-8?B?{word}?=\n".encode() + bytes(message)


@pytest.mark.parametrize(
    ("path", "data", "kind"),
    [
        # Cells that are numbers to the eye and no numbers.
        ("a.csv", b"name,contact\nAda,415-555-2671\n", "phone"),
        ("a.csv", b"name,id\nAda,536-90-4399\n", "us-ssn"),
        ("a.csv", b"client,hits\n81.2.69.142,3\n", "ip"),
        ("a.csv", b"name,x\nAda,4111-1111-1111-1111\n", "card"),
        ("a.csv", b"name,cc\nAda,4111111111111111\n", "card"),
        ("a.csv.gz", gzip.compress(b"name,mobile\nada,2079460958\n", mtime=0), "phone"),
        # Rows whose file does not say that they are rows.
        ("a.txt", b"name,id\nAda,536-90-4399\n", "us-ssn"),
        ("a", b"name,id\n1,415-555-2671\n", "phone"),
        ("a", b"name,id\nAda,4111111111111111\n", "card"),
        # Typesetting.
        ("a.md", b"at **(415) 555-2671**", "phone"),
        ("a.txt", "call 415\u2013555\u20132671".encode(), "phone"),
        ("a.txt", "+33\u202f6\u202f12\u202f34\u202f56\u202f78".encode(), "phone"),
        ("a.txt", "4111\xa01111\xa01111\xa01111".encode(), "card"),
        ("a.txt", "DE89\u20113704\u20110044\u20110532\u20110130\u201100".encode(), "iban"),
        ("a.txt", b"gb29nwbk60161331926819", "iban"),
        ("a.txt", b"3056 930902 5904", "card"),
        ("a.txt", b"Tel.030 1234567", "phone"),
        ("a.txt", b"Telefonnummer 0171 2345678", "phone"),
        ("a.txt", b"reach us at 07700 900123", "phone"),
        ("a.txt", b"contact:+442079460958", "phone"),
        ("a.txt", b"415-555-2671x12", "phone"),
        # Addresses.
        ("a.txt", "ada@m\xfcnchen.de".encode(), "email"),
        ("a.txt", b'"ada lovelace"@example.org', "email"),
        ("a.txt", b"ion@gov.md and juan@una.edu.py", "email"),
        # References and escapes, whatever the file is called.
        ("a.md", b"ada&#64;example.org", "email"),
        ("a.html", b"<a href='mailto:ada%40example.org'>", "email"),
        ("a", b'{"e": "ada\\u0040example.org"}\n', "email"),
        ("a.json", b'{"e": "ada\\u0040example.org"} // no JSON', "email"),
        ("a.json", b'{"e": "+44\\u00a020\\u00a07946\\u00a00958"}', "phone"),
        ("a.json", b'{"html": "<p>ada&#64;example.org"}', "email"),
        # Tags in the midst.
        ("a.html", b"<p>ada<span>@</span>example.org</p>", "email"),
        ("a.html", b"<p><b>ada</b>@example.org</p>", "email"),
        ("a.xml", b"<w:t>+44 20 </w:t></w:r><w:r><w:t>7946 0958</w:t>", "phone"),
        ("a.xml", b"<person id='536-90-4399'/>", "us-ssn"),
        # E-mails.
        ("a.eml", wound("call +44 20 7946 0958"), "phone"),
        ("a.eml", b"Received: x\nSubject: =?utf-8?Q?ada=40example.org?=\n\nhi\n", "email"),
        ("a.eml", mail(f"{ADDRESS}, hello", "utf-16", "base64"), "email"),
        ("a.eml", mail("<p>ada&#64;example.org", "utf-8", "base64", "html"), "email"),
        ("a.eml", photo_that_is_called_a_text(), "face"),
        ("a.eml", mail(ADDRESS, "utf-8", "base64").decode().encode("utf-16"), "email"),
        # Pictures in texts.
        ("a.md", f"![x](data:image/png;base64,{FACE})".encode(), "face"),
        ("a.json", json.dumps({"u": f"data:image/png;base64,{FACE}"}).encode(), "face"),
        (
            "a.ipynb",
            json.dumps({"image/png": base64.encodebytes(picture("astronaut.png")).decode()}).encode(),
            "face",
        ),
        ("a.csv", f"image\n{FACE}\n".encode(), "face"),
    ],
)
def test_it_is_found(looker: Looker, path: str, data: bytes, kind: str) -> None:
    assert kind in looker.look(data, None, path).hits


@pytest.mark.parametrize(
    "text",
    [
        "x[::2] y[::-1] z[10::2] use ab::cd; fe::ad::be",
        "Firefox/1.5.0.7 Gecko/20060909",
        "git@github.com:ada/engine.git",
        "1850 - 64,753,872 1900 - 103,208,415 1910 - 138,918,526",
        "d41d8cd98f00b204e9800998ecf8427e de89370400440532013000ff",
    ],
)
def test_it_is_not_found(looker: Looker, text: str) -> None:
    assert looker.look(text.encode(), None, "a.txt").hits == {}


@pytest.mark.parametrize("separator", ["", " ", ",", '","'])
@given(st.integers(0, 300))
@settings(max_examples=40)
def test_a_block_ends_in_no_address_and_in_no_number(separator: str, before: int) -> None:
    # One line as long as you like, without a place where one would cut it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "BLOCK_BYTES", 256)
        filler = f"filler{separator}" * 60
        for value, kind in ((ADDRESS, "email"), ("+44 20 7946 0958", "phone")):
            text = f"{filler[:before]}, <{value}>, {filler}"
            assert kind in Looker(load(()).scanners[:1]).look(text.encode(), None, "a.txt").hits


def test_a_text_without_a_gap_is_read_or_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "BLOCK_BYTES", 64)
    data = b"x" * 60 + ADDRESS.encode() + b"y" * 10_000
    looker = Looker(load(()).scanners[:1])
    assert "email" in looker.look(data, None, "a.txt").hits
    monkeypatch.setattr(texts, "MAX_WIDE_BYTES", 5_000)
    assert looker.look(data, None, "a.txt").doubts


def test_one_kind_of_doubt_hides_no_other(looker: Looker) -> None:
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(50):
            archive.writestr(f"{number}.pdf", b"%PDF-1.7")
        archive.writestr("film", b"\0\0\0\x18ftypisom")
    doubts = looker.look(file.getvalue(), None, "a.zip").doubts
    assert {doubt.media_type for doubt in doubts} == {"application/pdf", "video/mp4"}


def test_more_kinds_of_doubts_than_are_listed_are_waived_by_nothing(looker: Looker) -> None:
    parts = "".join(
        f"--b\nContent-Type: image/x-{number}\nContent-Transfer-Encoding: base64\n\nAAECAwQ=\n"
        for number in range(looking.MAX_DOUBTS + 5)
    )
    data = f"Received: x\nContent-Type: multipart/mixed; boundary=b\n\n{parts}--b--\n"
    doubts = looker.look(data.encode(), None, "a.eml").doubts
    assert len(doubts) == looking.MAX_DOUBTS + 1
    assert doubts[-1].why == looking.FAILED


def test_what_was_found_before_a_file_broke_off_was_found(looker: Looker) -> None:
    seen = looker.look(ADDRESS.encode() + b"\n" + b"x" * 9000 + b"\0" * 9000, None, "a.txt")
    assert seen.doubts
    seen = looker.look(bz2.compress(ADDRESS.encode()) + b"", None, "a.bz2")
    assert "email" in seen.hits
