"""Bytes of every kind, and of no kind: never an exception, never nothing where something could be."""

from __future__ import annotations

import base64
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.scanners import media, texts
from databom.scanners.looking import Looker
from databom.scanners.protocol import Unreadable
from databom.scanners.registry import load
from support.people import LETTER, picture


@pytest.fixture(scope="module")
def looker() -> Iterator[Looker]:
    return Looker(load(()).scanners)


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def mail() -> bytes:
    from email.message import EmailMessage

    message = EmailMessage()
    message["Received"] = "from nowhere"
    message.set_content(LETTER.decode(), cte="base64")
    message.add_attachment(picture("astronaut.png"), maintype="image", subtype="png", filename="me.png")
    return bytes(message)


def parquet() -> bytes:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    table = pa.table(
        {
            "text": ["nothing", "ada@example.org"],
            "mobile": [2079460958, 1],
            "n": [2079460958, 1],
            "image": [{"bytes": picture("astronaut.png")}, None],
        }
    )
    file = io.BytesIO()
    write_table(table, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("a.tar", tar({"x/letter.txt": LETTER}), {"email": 1, "phone": 1}),
        (
            "a.tgz",
            gzip.compress(tar({"a": LETTER, "b.png": picture("astronaut.png")}), mtime=0),
            {"email": 1, "phone": 1, "face": 1},
        ),
        ("a.txt.gz", gzip.compress(LETTER, mtime=0), {"email": 1, "phone": 1}),
        ("a.tar.xz", lzma.compress(tar({"a": LETTER})), {"email": 1, "phone": 1}),
        ("a.docx", zipped({"word/document.xml": b"<w:t>ada@example.org</w:t>"}), {"email": 1}),
        ("a", mail(), {"email": 1, "phone": 1, "face": 1}),
        (
            "a.html",
            b"<img src='data:image/png;base64," + base64.b64encode(picture("astronaut.png")) + b"'>",
            {"face": 1},
        ),
        ("b.html", b"<a title='x'>ada&#64;example&#46;org</a>", {"email": 1}),
        ("a.svg", b"<svg><path d='M 415 555 2671 415-555-2671'/></svg>", {}),
        ("b.svg", b"<svg><metadata>ada@example.org</metadata></svg>", {"email": 1}),
        ("c.svg", b"<svg><path d='ada@example.org'/></svg>", {"email": 1}),
        ("a.json", b'[{"n": 4155552671, "phone": 4155552671}, {"v": "415-555-2671"}]', {"phone": 2}),
        ("b.json", b"no JSON: ada@example.org", {"email": 1}),
        ("a.csv", b"n,phone\n4155552671,4155552671\n", {"phone": 1}),
        ("b.csv", b"airport,state\nMobile,AL 3662843\n", {}),
        ("a.parquet", parquet(), {"email": 1, "phone": 1, "face": 1}),
    ],
)
def test_what_is_inside_is_found(looker: Looker, path: str, data: bytes, expected: dict[str, int]) -> None:
    seen = looker.look(data, None, path)
    assert {kind: count for kind, (count, _) in seen.hits.items()} == expected
    assert not seen.doubts


@pytest.mark.parametrize("boundary", ["===============4111111111111111110==", "=4111111111111111="])
@pytest.mark.parametrize("quote", ['"', ""])
def test_what_parts_a_mail_is_no_card(looker: Looker, boundary: str, quote: str) -> None:
    """Mailers draw boundaries at random (Python's of 19 digits); a line that only looks like one is still read."""
    head = f"Received: x\nContent-Type: multipart/mixed; boundary={quote}{boundary}{quote}\n"
    mail = f"{head}\n--{boundary}\n\nhello\n--{boundary}--\n"
    assert not looker.look(mail.encode(), "message/rfc822", "a.eml").hits
    for line in (
        *("--==4012888888881881==", "--==4012888888881881==--", "4111111111111111", f"a {boundary}"),
        *(
            "; boundary=4111111111111111",
            "see ?boundary=4111111111111111 ok",
            "Content-Type: text/x; 4111111111111111",
        ),
    ):
        seen = looker.look(f"{mail}{line}\n".encode(), "message/rfc822", "a.eml")
        assert {kind: count for kind, (count, _) in seen.hits.items()} == {"card": 1}, line


def test_an_address_in_a_mail_is_found_whatever_stands_before_it(looker: Looker) -> None:
    for word in ("boundary=", "; boundary=", "Content-Type: multipart/mixed; boundary="):
        seen = looker.look(
            f"Received: x\n\nwrite to {word}ada.lovelace@example.org\n".encode(), "message/rfc822", "a.eml"
        )
        assert seen.hits.keys() == {"email"}, word
    head = "Received: x\nContent-Type: multipart/mixed; a=b;\n\tboundary="
    folded = f'{head}"==4111111111111111=="\n\n--==4111111111111111==\n'
    assert not looker.look(folded.encode(), "message/rfc822", "a.eml").hits


@pytest.mark.parametrize("cut", range(0, 100, 7))
def test_a_damaged_archive_is_a_doubt(looker: Looker, cut: int) -> None:
    for whole in (zipped({"a.txt": LETTER * 20}), gzip.compress(LETTER * 20), tar({"a": LETTER * 20})):
        part = whole[: len(whole) * (cut + 1) // 100]
        seen = looker.look(part, None, "a.bin")
        assert seen.hits or seen.doubts or not part


@given(
    st.binary(max_size=300)
    | st.sampled_from([LETTER, b"\xff\xd8\xff", b"PK\3\4", b"PAR1", b"\x1f\x8b", b"%PDF-"]),
    st.sampled_from([None, "text/plain", "image/png", "application/zip", "text/csv", "x/y", ""]),
    st.sampled_from(["a", "a.txt", "a.json", "a.csv", "a.svg", "a.eml", "a.tar", "a.parquet", "a."]),
)
@settings(max_examples=300)
def test_any_bytes_are_seen_or_doubted(data: bytes, declared: str | None, path: str) -> None:
    seen = Looker(load(()).scanners).look(data, declared, path)
    assert seen.by or seen.doubts or not data


@given(
    st.text(max_size=200),
    st.sampled_from(["text/plain", "application/json", "text/csv", "text/html", "image/svg+xml"]),
)
def test_exact_pieces_stand_where_they_say(text: str, media_type: str) -> None:
    data = text.encode("utf-8", "surrogateescape") if text.isascii() else text.encode("utf-8", "ignore")
    whole = data.decode()
    try:
        pieces = list(texts.pieces(data, media_type))
    except Unreadable:
        return
    for piece in pieces:
        if piece.exact and media_type not in ("text/html", "image/svg+xml"):
            assert whole[piece.start : piece.start + len(piece.text)] == piece.text


def test_long_texts_are_read_in_blocks_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "BLOCK_BYTES", 64)
    looker = Looker(load(()).scanners[:1])
    lines = b"".join(b"line %d: user%d@example.org\n" % (n, n) for n in range(50))
    assert looker.look(lines, None, "a.txt").hits["email"][0] == 50
    table = b"n,phone\n" + b"".join(b"%d,41555526%02d\n" % (n, n) for n in range(50))
    assert looker.look(table, None, "a.csv").hits["phone"][0] == 50
    rows = b"".join(b'{"mobile": 41555526%02d}\n' % n for n in range(50))
    assert looker.look(rows, None, "a.jsonl").hits["phone"][0] == 50


@pytest.mark.parametrize(
    ("head", "declared", "path", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n", "text/plain", "a.txt", "image/png"),
        (b"plain", "image/svg+xml; charset=utf-8", "a", "image/svg+xml"),
        (b"plain", None, "a.csv", "text/csv"),
        (b"plain", "application/octet-stream", "a.json", "application/json"),
        (b"plain", "application/x-unknown", "a.xyz", "text/plain"),
        (b"\0\1\2", "text/plain", "a.txt", media.UNKNOWN),
        (b"\0\1\2", "application/x-unknown", "a.xyz", media.UNKNOWN),
        (b"Received: from x\nSubject: y\n", None, "0001.7c5", "message/rfc822"),
        (b"BM is a text", None, "a.txt", "text/plain"),
    ],
)
def test_what_bytes_begin_with_goes_before_what_is_said(
    head: bytes, declared: str | None, path: str, expected: str
) -> None:
    assert media.media_type_of(head, declared, path) == expected


def test_phones_are_found_without_phonenumbers(monkeypatch: pytest.MonkeyPatch) -> None:
    from databom.scanners import phones
    from databom.scanners.patterns import find

    monkeypatch.setattr(phones, "library", lambda: None)
    assert [hit.kind for hit in find("12345678901, +44 20 7946 0958, (415) 555-2671, tel 1234567")] == [
        "phone"
    ] * 3
