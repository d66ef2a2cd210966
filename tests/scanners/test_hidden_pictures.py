"""What a picture shows and says where nobody looks at first: every place was overlooked once."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from databom.scanners import media
from databom.scanners.looking import Looker
from databom.scanners.masking import redacted
from databom.scanners.registry import load
from support.people import picture

ADDRESS = b"ada@example.org"


@pytest.fixture(scope="module")
def looker() -> Looker:
    return Looker(load(()).scanners)


def saved(image: Any, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def opened(name: str) -> Any:
    return Image.open(io.BytesIO(picture(name))).convert("RGB")


CAT, FACE = opened("chelsea.png"), opened("astronaut.png")
JPEG = saved(CAT, "JPEG")


def segment(mark: int, data: bytes) -> bytes:
    return JPEG[:2] + bytes((0xFF, mark)) + struct.pack(">H", len(data) + 2) + data + JPEG[2:]


def iptc() -> bytes:
    record = b"\x1c\x02\x50" + struct.pack(">H", len(ADDRESS)) + ADDRESS
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record
    return segment(0xED, b"Photoshop 3.0\0" + block + b"\0" * (len(record) % 2))


def overflowing_xmp() -> bytes:
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 100, 0)
    return segment(0xE1, head + b"<x>" + ADDRESS + b"</x>")


def two_comments() -> bytes:
    later = segment(0xFE, b"hello")
    return later[:2] + segment(0xFE, ADDRESS)[2 : 2 + len(ADDRESS) + 4] + later[2:]


def in_utf16(tag: int) -> bytes:
    exif = Image.Exif()
    if tag == 0x9286:
        exif.get_ifd(0x8769)[tag] = b"UNICODE\0" + ADDRESS.decode().encode("utf-16-le")
    else:
        exif[tag] = ADDRESS.decode().encode("utf-16-le")
    return saved(CAT, "JPEG", exif=exif)


def behind_the_pixels() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a maker"  # Pillow looks no further once there is any
    png = saved(CAT, "PNG", exif=exif)
    text = b"tEXt" + b"Author\0" + ADDRESS
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return png[:-12] + chunk + png[-12:]


def on_a_later_page() -> bytes:
    file = io.BytesIO()
    with AppendingTiffWriter(file, new=True) as writer:
        CAT.save(writer, "TIFF")
        writer.newFrame()
        CAT.save(writer, "TIFF", artist=ADDRESS.decode())
        writer.newFrame()
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        iptc(),
        overflowing_xmp(),
        two_comments(),
        in_utf16(0x9C9C),
        in_utf16(0x9286),
        behind_the_pixels(),
        on_a_later_page(),
    ],
)
def test_an_address_in_the_metadata(looker: Looker, data: bytes) -> None:
    assert "email" in looker.look(data, None, "a").hits
    clean = redacted(data, None, "a")
    assert clean is None or not looker.look(clean, None, "a").hits


def transparent(form: str, **options: Any) -> bytes:
    clear = FACE.copy()
    clear.putalpha(0)
    return saved(clear, form, **options)


def deep(change: str) -> bytes:
    import numpy as np

    gray = np.asarray(FACE.convert("L"))
    if change == "big endian":
        return saved(Image.fromarray((gray.astype(">u2") * 257).astype(">u2")), "TIFF")
    if change == "one bright pixel":
        dark = gray.astype(np.uint16) * 32
        dark[0, 0] = 65535
        return saved(Image.fromarray(dark), "PNG")
    floats = gray.astype(np.float32) / 255
    floats[0, 0] = np.nan if change == "no number" else 1e9
    return saved(Image.fromarray(floats), "TIFF")


@pytest.mark.parametrize(
    "data",
    [
        transparent("PNG"),
        transparent("WEBP", lossless=True, exact=True),
        *map(deep, ("big endian", "one bright pixel", "no number", "far off")),
    ],
)
def test_a_face_that_a_viewer_does_not_show(looker: Looker, data: bytes) -> None:
    assert "face" in looker.look(data, None, "a").hits
    clean = redacted(data, None, "a")
    assert clean is not None
    assert not looker.look(clean, None, "a").hits


def test_a_picture_in_plain_numbers_is_a_picture(looker: Looker) -> None:
    small = FACE.resize((128, 128))
    numbers = " ".join(map(str, small.tobytes()))
    assert "face" in looker.look(f"P3\n# drawn\n128 128\n255\n{numbers}".encode(), None, "a.txt").hits
    assert media.media_type_of(b"P3 is a port", None, "a.txt") == "text/plain"


def test_a_picture_without_a_signature_is_one_by_its_name(looker: Looker) -> None:
    assert "face" in looker.look(saved(FACE, "TGA"), None, "a.tga").hits
    assert looker.look(saved(FACE, "TGA"), None, "a").doubts


def test_what_the_metadata_said_of_a_picture_that_breaks_off_was_said(looker: Looker) -> None:
    exif = Image.Exif()
    exif[0x8298] = ADDRESS.decode()
    seen = looker.look(saved(FACE, "JPEG", exif=exif)[:6000], None, "a")
    assert seen.doubts
    assert "email" in seen.hits
