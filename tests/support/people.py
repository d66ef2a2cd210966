"""Statements about personal data, real pictures, and scanners that a user installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from databom.tasks.keyring import read_private_key
from databom.trust.proof import sign_proof
from support.house import House

LATER = "2099-01-01T00:00:00Z"
EARLIER = "2020-01-01T00:00:00Z"
LETTER = b"Dear Ada,\nwrite to ada.lovelace@example.org or call +44 20 7946 0958.\n"
"""Numbers and addresses that are reserved for examples."""


def picture(name: str) -> bytes:
    """A picture that scikit-image ships: `astronaut.png` shows a face, `chelsea.png` a cat, `brick.png` bricks."""
    import skimage

    return (Path(skimage.__file__).parent / "data" / name).read_bytes()


def ask(house: House, level: str = "require", **others: str) -> None:
    """Have the policy ask for personal data."""
    config = house.project / "databom.toml"
    text = config.read_text().replace('personal_data = "off"', f'personal_data = "{level}"')
    for key, value in others.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} ") else line for line in text.splitlines()]
        text = "\n".join(lines) + "\n"
    config.write_text(text)


def pinned(
    house: House, files: dict[str, bytes], level: str = "require", *extra: str, **members: Any
) -> Path:
    """A project that has pinned a release of these files as `pets`; `members` go into the manifest."""
    import json

    house.init()
    ask(house, level)
    filled = house.base / "filled.json"
    filled.write_text(json.dumps(members))
    manifest = house.release(files, "--from", str(filled), *extra)
    house.cli("add", manifest, "--name", "pets")  # a policy refusal pins, too
    return manifest


def role(house: House, name: str) -> Path:
    """A key that the trust root knows in a role; the file of its private half."""
    key = house.base / f"{name}.key"
    if not key.exists():
        house.ok("key", "new", key)
        house.ok("trust", "add", f"{key}.pub", "--role", name)
    return key


def state(
    house: House,
    kind: str,
    predicate: dict[str, Any],
    key: Path,
    *,
    file: str = "a",
    manifest: str | None = None,
) -> Path:
    """Put a signed statement about the pinned manifest beside it."""
    lock = house.json("verify", "pets").report["subject"]
    raw = sign_proof(
        f"urn:databom:{kind}:v1",
        lock["release"],
        manifest or lock["manifest"],
        predicate,
        [read_private_key(key)],
    )
    folder = house.project / "provenance" / "evidence" / "pets"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file}.dsse.json"
    path.write_bytes(raw)
    return path


def install(base: Path, patch: pytest.MonkeyPatch, name: str, source: str) -> None:
    """Install a package with a scanner, `Scanner` in `source`, and have the user name it."""
    folder = base / f"site-{name}"
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[databom.scanners]\n{name} = {name}:Scanner\n")
    patch.setenv("PYTHONPATH", str(folder))
    patch.setattr(sys, "path", [str(folder), *sys.path])
    patch.setenv("DATABOM_SCANNERS", name)


SCANNER = """
import os, time, sys
from databom.scanners.protocol import Hit, Unreadable
class Scanner:
    name, version, model, settings = "{name}", "1.0", None, ""
    def takes(self, media_type):
        return True
    def scan(self, data, media_type, context):
        {body}
"""


def scanner(name: str, body: str) -> str:
    """The source of a scanner that does `body`."""
    return SCANNER.format(name=name, body=body)
