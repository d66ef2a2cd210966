"""Faces and metadata in real pictures; those that scikit-image ships are labelled in `tests/vectors/faces`."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from databom.scanners import pictures, versions
from databom.scanners.masking import redacted
from databom.scanners.pictures import Pictures
from databom.scanners.protocol import Context, Unreadable
from support.people import picture

LABELS = Path(__file__).parent.parent / "vectors" / "faces" / "labels.json"


@pytest.fixture(scope="module")
def scanner() -> Pictures:
    identity = versions.pictures()
    assert identity is not None
    return Pictures(identity)


def kinds(scanner: Pictures, data: bytes) -> set[str]:
    return {hit.kind for hit in scanner.scan(data, "image/png", Context("a"))}


def test_the_labelled_pictures_that_are_here(scanner: Pictures) -> None:
    import skimage

    labels = {one["sha256"]: one["label"] for one in json.loads(LABELS.read_text())}
    seen: dict[str, list[bool]] = {"pos": [], "neg": []}
    for path in sorted((Path(skimage.__file__).parent / "data").iterdir()):
        data = path.read_bytes() if path.is_file() else b""
        label = labels.get(hashlib.sha256(data).hexdigest())
        if label in seen:
            seen[label].append("face" in kinds(scanner, data))
    assert all(seen["pos"])
    assert seen["pos"]
    assert len(seen["neg"]) > 15
    assert not any(seen["neg"])


def test_a_face_is_painted_over_and_not_found_again(scanner: Pictures) -> None:
    clean = redacted(picture("astronaut.png"), None, "a.png")
    assert clean is not None
    assert kinds(scanner, clean) == set()
    assert clean.startswith(b"\x89PNG")


def saved(image: Any, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def opened(name: str) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(picture(name))).convert("RGB")


def test_a_face_on_a_later_frame_on_its_side_and_in_other_depths(scanner: Pictures) -> None:
    from PIL import Image

    cat, face = opened("chelsea.png").resize((512, 512)), opened("astronaut.png")
    assert "face" in kinds(scanner, saved(cat, "GIF", save_all=True, append_images=[cat, face]))
    assert "face" in kinds(scanner, saved(cat, "TIFF", save_all=True, append_images=[face]))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees to see it upright
    assert "face" in kinds(scanner, saved(face.rotate(90, expand=True), "JPEG", exif=exif))
    deep = face.convert("I").point(lambda value: value * 256).convert("I;16")
    assert "face" in kinds(scanner, saved(deep, "PNG"))
    assert "face" in kinds(scanner, saved(face.convert("CMYK"), "JPEG"))
    clear = face.convert("RGBA")
    assert "face" in kinds(scanner, saved(clear, "WEBP"))


def test_the_thumbnail_that_was_forgotten(scanner: Pictures) -> None:
    from PIL import Image

    small = saved(opened("astronaut.png").resize((160, 160)), "JPEG")
    cat = saved(opened("chelsea.png"), "JPEG")
    head = b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + small
    exif = b"Exif\0\0" + head
    data = cat[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + cat[2:]
    assert Image.open(io.BytesIO(data)).size == (451, 300)
    assert "face" in kinds(scanner, data)


def test_what_the_metadata_says(scanner: Pictures) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    brick = opened("brick.png")
    exif = Image.Exif()
    exif[0x013B] = "Ada"
    exif.get_ifd(0x8769).update({0xA430: "Ada", 0xA431: "4711"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    data = saved(brick, "JPEG", exif=exif)
    assert kinds(scanner, data) == {"artist", "owner", "serial", "gps"}
    clean = redacted(data, None, "a.jpg")
    assert clean is not None
    assert kinds(scanner, clean) == set()
    text = PngInfo()
    text.add_text("Comment", "by ada@example.org")
    text.add_itxt("XML:com.adobe.xmp", "<x exif:GPSLatitude='52,31N' exif:GPSLongitude='13,24E'/>")
    assert kinds(scanner, saved(brick, "PNG", pnginfo=text)) == {"email", "gps"}


def test_what_is_too_large_is_not_decoded(scanner: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture("brick.png")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(Unreadable, match="more than 1,000 pixels"):
        kinds(scanner, data)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from databom.errors import PluginError
    from databom.scanners import faces

    monkeypatch.setattr(faces, "MODEL_DIGEST", "sha256:" + "0" * 64)
    with pytest.raises(PluginError, match="is not the file databom shipped"):
        faces.Detector()
