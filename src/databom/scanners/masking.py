"""Taking personal data out of a file: faces are painted over, texts masked, metadata left behind.

Whether anything is left is not for this module to say: whoever writes the file scans it again.
"""

from __future__ import annotations

import codecs
import io
from typing import TYPE_CHECKING, Any

from databom.scanners import media, texts
from databom.scanners.patterns import find
from databom.scanners.protocol import Unreadable

if TYPE_CHECKING:
    from databom.scanners.faces import Detector

PADDING = 0.2
"""How far beyond a face it is painted over, as a part of its size: measured, nothing is found again."""
_EAGER = 0.5
"""The score from which a face is painted over: below the one from which it counts."""
_ROUNDS = 5
_QUALITY = 95
_FORMATS = {"MPO": "JPEG"}


def redacted(data: bytes, declared: str | None, path: str) -> bytes | None:
    """The file without what the built-in scanners find in it; None where nobody can take it out."""
    kind = media.media_type_of(data[: media.HEAD_BYTES], declared, path)
    try:
        if media.is_picture(kind):
            from databom.scanners.faces import Detector

            return _painted(data, Detector(_EAGER))
        return _masked(data, kind) if media.is_text(kind) else None
    except (Unreadable, ImportError):
        return None


def _masked(data: bytes, kind: str) -> bytes:
    text = "".join(texts.blocks(data))
    spans: list[tuple[int, int, str]] = []
    for piece in texts.pieces(data, kind):
        for hit in find(piece.text, piece.hint, offset=piece.start):
            mask = "null" if piece.bare else f"[{hit.kind}]"
            if piece.bare:
                spans.append((piece.start, piece.start + len(piece.text), mask))
            elif piece.exact:
                spans.append((*hit.place[:2], mask))  # type: ignore[arg-type]  # a text's place is (start, end)
            elif piece.end:
                spans.append((piece.start, piece.end, mask))
    parts, at = [], 0
    for start, end, mask in sorted(spans):
        if start >= at:
            parts += [text[at:start], mask]
            at = end
    return _encoded("".join([*parts, text[at:]]), data)


def _encoded(text: str, like: bytes) -> bytes:
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if like.startswith(mark):
            return mark + text.encode(encoding, "surrogatepass")
    return text.encode(*texts.ENCODING)


def _painted(data: bytes, detector: Detector) -> bytes | None:
    from PIL import Image, ImageDraw

    from databom.scanners.pictures import frames, open_picture

    picture = open_picture(data)
    if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
        return None
    frame = next(frames(picture, whole=True))
    clean: Any = Image.new("RGB", frame.size)
    clean.paste(frame)  # pixels only: what the metadata said stays behind
    pen = ImageDraw.Draw(clean)
    for _ in range(_ROUNDS):
        faces = detector.faces(clean)
        if not faces:
            break
        for face in faces:
            across, down = face.width * PADDING, face.height * PADDING
            corners = (
                face.x - across,
                face.y - down,
                face.x + face.width + across,
                face.y + face.height + down,
            )
            pen.rectangle(corners, fill=(0, 0, 0))
    file = io.BytesIO()
    try:
        clean.save(file, format=_FORMATS.get(picture.format, picture.format), quality=_QUALITY)
    except (OSError, KeyError, ValueError):
        return None
    return file.getvalue()
