"""What kind of bytes these are.

What they begin with goes before what is said of them: a picture that a manifest calls `text/plain` is a picture. Bytes
that begin like nothing known are what the manifest says, else what their name ends with; and where both say nothing,
text is text. `application/octet-stream` is what nobody can read.
"""

from __future__ import annotations

import re
from typing import Final

UNKNOWN: Final = "application/octet-stream"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\0\0\1\0", "image/vnd.microsoft.icon"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
    (b"PK\3\4", "application/zip"),
    (b"PK\5\6", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\7", "application/vnd.rar"),
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"ARROW1\0\0", "application/vnd.apache.arrow.file"),
    (b"%PDF-", "application/pdf"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"\x7fELF", "application/x-executable"),
    (b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic",
           b"mif1": "image/heic", b"M4A ": "audio/mp4"}  # fmt: skip
_PNM = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d{1,6}\s+(?:#[^\n]*\n\s*)*\d{1,6}\s")
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})

EXTENSIONS = {
    **dict.fromkeys(
        ("txt", "text", "md", "rst", "log", "tex", "yaml", "yml", "toml", "ini", "cfg", "srt", "vtt", "rtf"),
        "text/plain",
    ),
    **dict.fromkeys(
        ("py", "js", "ts", "c", "h", "cpp", "java", "go", "rs", "sh", "sql", "css"), "text/plain"
    ),
    **dict.fromkeys(("html", "htm", "xhtml"), "text/html"),
    **dict.fromkeys(("xml", "rss", "kml", "gpx", "rdf", "rels", "xmp"), "application/xml"),
    **dict.fromkeys(("json", "geojson", "ipynb"), "application/json"),
    **dict.fromkeys(("jsonl", "ndjson"), "application/x-ndjson"),
    "svg": "image/svg+xml",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    **dict.fromkeys(("eml", "mbox", "mht"), "message/rfc822"),
    **dict.fromkeys(("jpg", "jpeg"), "image/jpeg"),
    **{name: f"image/{name}" for name in ("png", "gif", "webp", "avif", "heic", "jp2")},
    **dict.fromkeys(("tif", "tiff"), "image/tiff"),
    "bmp": "image/bmp",
    "tga": "image/x-tga",
    **dict.fromkeys(("pbm", "pgm", "ppm", "pnm"), "image/x-portable-anymap"),
    **dict.fromkeys(("ogg", "oga", "opus"), "audio/ogg"),
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "pdf": "application/pdf",
    "tar": "application/x-tar",
    "parquet": "application/vnd.apache.parquet",
    **dict.fromkeys(("arrow", "feather"), "application/vnd.apache.arrow.file"),
}
"""What a name's end says; what is not here says nothing."""
PICTURES = "image/"
SVG = "image/svg+xml"
_TEXTUAL = frozenset({"application/xml", "application/json", "application/x-ndjson", "message/rfc822", SVG,
                      "application/jsonl", "application/yaml", "application/x-yaml", "application/toml",
                      "application/javascript", "application/sql", "application/rtf"})  # fmt: skip
_CONTROLS = re.compile(rb"[\x01-\x06\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.02
"""Real e-mails hold a stray control character here and there; pictures and sounds are a tenth of them."""
_MAIL = re.compile(
    rb"(?:From [^\n]+\n)?(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*){0,40}"
    rb"(?i:received|return-path|message-id|delivered-to|mime-version):"
)
BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
HEAD_BYTES = 8192
"""How much of the bytes is looked at."""


def is_text(media_type: str) -> bool:
    """Whether bytes of this type are read as text."""
    return media_type.startswith("text/") or media_type in _TEXTUAL or media_type.endswith(("+json", "+xml"))


def is_textual(data: bytes) -> bool:
    """Whether bytes could be text in an encoding that keeps ASCII."""
    return b"\0" not in data and len(_CONTROLS.findall(data)) <= _MOST_CONTROLS * len(data)


def is_picture(media_type: str) -> bool:
    """Whether bytes of this type are pixels; SVG is text."""
    return media_type.startswith(PICTURES) and media_type != SVG


def stated(declared: str | None, path: str) -> str:
    """What is said of the bytes: the declared type without its parameters, else what the name ends with, else ""."""
    said = (declared or "").split(";")[0].strip().lower()
    if said and said != UNKNOWN:
        return said
    return EXTENSIONS.get(path.rpartition("/")[2].rpartition(".")[2].lower(), "")


def media_type_of(head: bytes, declared: str | None, path: str) -> str:
    """The media type of bytes that begin with `head` (up to `HEAD_BYTES`)."""
    begins = _begins(head)
    if begins:
        return begins
    said = stated(declared, path)
    looks_like_text = head.startswith(BOMS) or is_textual(head)
    if looks_like_text and said in ("", "text/plain") and _MAIL.match(head):
        return "message/rfc822"
    if is_text(said):
        # What is called text and is none must not be passed over as an empty text.
        return said if looks_like_text else UNKNOWN
    if is_picture(said):
        return said
    return "text/plain" if looks_like_text else UNKNOWN


def _begins(head: bytes) -> str | None:
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if _PNM.match(head):
        return "image/x-portable-anymap"
    if head[257:262] == b"ustar":
        return "application/x-tar"
    return None
