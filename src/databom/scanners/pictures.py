"""What a picture shows and says about people: faces, and in its metadata places, owners, makers and addresses.

Pillow decodes; a picture of more pixels than `MAX_PIXELS`, or of more frames than `MAX_FRAMES`, is not decoded and not
answered for. The thumbnail that a camera hid in the metadata is looked at too: it may show what the picture no longer
does.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

from databom.scanners import media
from databom.scanners.faces import Detector
from databom.scanners.patterns import find
from databom.scanners.protocol import Context, Data, Hit, Identity, Unreadable
from databom.scanners.versions import SIDE

MAX_PIXELS = 89_478_485
"""What Pillow itself warns of: a quarter of a gibibyte of RGB."""
MAX_FRAMES = 100
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "ICO", "JPEG2000", "TGA")

_GPS, _EXIF = 0x8825, 0x8769
_OPAQUE = 255
_MIDDLE = (0.5, 99.5)
"""Percentiles of the values of a picture that become black and white."""
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/"
_TAGS = {0x013B: "artist", 0x9C9D: "artist", 0xA430: "owner", 0xA431: "serial", 0xA435: "serial"}
_XMP = {
    "gps": re.compile(r"exif:GPS(?:Latitude|Longitude)"),
    "artist": re.compile(r"<dc:creator>\s*<rdf:Seq>\s*<rdf:li[^>]*>\s*\w"),
    "owner": re.compile(r"aux:OwnerName|CiEmailWork|CiTelWork|CiAdrExtadr"),
    "serial": re.compile(r"aux:(?:Lens)?SerialNumber"),
    "person": re.compile(r"Iptc4xmpExt:PersonInImage|mwg-rs:Name"),
}


class Pictures:
    """The built-in scanner of pictures."""

    def __init__(self, identity: Identity) -> None:
        self.name, self.version, self.model, self.settings = identity
        self._detector: Detector | None = None

    def takes(self, media_type: str) -> bool:
        """Whether it is pixels."""
        return media.is_picture(media_type)

    def scan(self, data: Data, media_type: str, context: Context) -> Iterator[Hit]:
        """Faces in every frame, and what the metadata says.

        Raises:
            Unreadable: it cannot be decoded, or is larger than what is decoded.
        """
        del media_type, context
        self._detector = self._detector or Detector()
        picture = open_picture(data)
        told: set[str] = set()
        yield from said(picture, told)
        for frame in frames(picture):
            yield from shown(frame, self._detector)
            yield from said(picture, told)  # a PNG's end and a TIFF's other pages speak only now
        thumbnail = hidden(picture)
        if thumbnail is not None:
            with contextlib.suppress(Unreadable):  # what nobody can decode shows nothing
                yield from shown(next(frames(open_picture(thumbnail))), self._detector)


def shown(frame: Any, detector: Detector) -> Iterator[Hit]:
    """The faces of a frame."""
    for face in detector.faces(frame):
        place = (int(face.x), int(face.y), max(1, int(face.width)), max(1, int(face.height)))
        yield Hit("face", round(face.score, 2), place)


def open_picture(data: Data) -> Any:
    """The picture, not decoded yet.

    Raises:
        Unreadable: it is none that we read, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise Unreadable(f"a picture of more than {MAX_PIXELS:,} pixels") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise Unreadable("a picture that cannot be decoded, or of a format that is not read") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise Unreadable(f"a picture of more than {MAX_PIXELS:,} pixels")
    if getattr(picture, "n_frames", 1) > MAX_FRAMES:
        raise Unreadable(f"a picture of more than {MAX_FRAMES} frames")
    return picture


def frames(picture: Any, *, whole: bool = False) -> Iterator[Any]:
    """Every frame in RGB, the right way up; a JPEG smaller than it is unless `whole`.

    After one that is transparent somewhere comes what its colors are there: whoever drops the alpha channel sees them.

    Raises:
        Unreadable: a frame cannot be decoded.
    """
    from PIL import ImageOps

    for number in range(getattr(picture, "n_frames", 1)):
        try:
            if number:
                picture.seek(number)
            elif picture.format == "JPEG" and not whole:
                picture.draft("RGB", (SIDE, SIDE))
            if picture.width * picture.height > MAX_PIXELS:
                raise Unreadable(f"a picture of more than {MAX_PIXELS:,} pixels")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                upright = ImageOps.exif_transpose(picture)
                yield from _views(upright if upright is not None else picture)
        except (
            OSError,
            ValueError,
            SyntaxError,
            EOFError,
            IndexError,
            KeyError,
            TypeError,
            ZeroDivisionError,
        ):
            raise Unreadable("a picture that cannot be decoded") from None


def _views(picture: Any) -> Iterator[Any]:
    """The picture in RGB: on gray where it is transparent, and then without its alpha channel."""
    if picture.mode.startswith(("I", "F")):
        yield _scaled(picture)
    elif "A" in picture.mode or "transparency" in picture.info:
        from PIL import Image

        clear = picture.convert("RGBA")
        ground = Image.new("RGBA", clear.size, (127, 127, 127, 255))
        yield Image.alpha_composite(ground, clear).convert("RGB")
        if clear.getextrema()[3][0] < _OPAQUE:
            yield clear.convert("RGB")
    else:
        yield picture.convert("RGB")


def _scaled(picture: Any) -> Any:
    """More than 8 bits a channel, scaled: cutting them off would show white, and so would one pixel far off."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(picture.convert("I") if ";" in picture.mode else picture, np.float32))
    low, high = np.percentile(values, _MIDDLE)
    if low >= high:
        low, high = values.min(), values.max()
    scaled = (values - low) * (255 / ((high - low) or 1))
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).convert("RGB")


def said(picture: Any, told: set[str]) -> Iterator[Hit]:
    """What the metadata says that was not `told` before: EXIF, XMP, IPTC, comments and text chunks."""
    try:
        exif = picture.getexif()
        inner = exif.get_ifd(_EXIF)
        place = exif.get_ifd(_GPS)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, ZeroDivisionError, IndexError):
        raise Unreadable("a picture whose metadata cannot be read") from None
    kinds = {"gps"} if {2, 4} <= set(place) else set()
    texts: list[str] = []
    for tag, value in {**exif, **inner}.items():
        text = _text(value)
        if tag in _TAGS and text.strip():
            kinds.add(_TAGS[tag])
        texts.append(text)
    for name, value in picture.info.items():
        if name != "exif":
            texts += map(_text, value.values() if isinstance(value, dict) else (value,))
    segments = getattr(picture, "applist", ())  # of a JPEG: all comments, and XMP's overflow
    texts += (_text(data) for name, data in segments if name == "COM" or data.startswith(_MORE_XMP))
    for text in texts:
        kinds |= {kind for kind, sign in _XMP.items() if sign.search(text)}
    yield from (Hit(kind) for kind in sorted(kinds - told))
    for text in dict.fromkeys(texts):
        if text not in told:
            yield from (hit._replace(place=()) for hit in find(text))
    told.update(kinds, texts)


def _text(value: object) -> str:
    """What it says: also in UTF-16, of which bytes that are zero are every other one."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.replace("\0", "") if isinstance(value, str) else ""


def hidden(picture: Any) -> bytes | None:
    """The JPEG that EXIF keeps as a thumbnail."""
    raw = picture.info.get("exif")
    if not isinstance(raw, bytes):
        return None
    at = raw.find(b"\xff\xd8\xff", 6)
    return raw[at:] if at >= 0 else None
