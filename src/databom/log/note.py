"""Signed notes (C2SP signed-note v1.0.0): a text, an empty line, and lines with who signed it.

    If you think cryptography is the answer to your problem,
    then you don't know what your problem is.

    — example.com/foo Uw2QOkn8srV1yJGh2VYR…

A signature line names a key and carries base64(key id || signature); key id = SHA-256(name || 0x0A || kind || public
key)[:4], kind 0x01 for Ed25519 over the text (`ED25519`), 0x04 for a witness's cosignature (`COSIGNATURE`). A line of
a key that the reader does not know says nothing; a line of one he knows must hold, or the whole note is refused.

Whoever gives keys to others writes them as a vkey: `name+<key id in hex>+base64(kind || public key)`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple, NoReturn, Protocol

from msgspec import Struct

from databom.errors import ConfigError, InputError, Problem
from databom.model.text import printable
from databom.trust.keys import PublicKey

ED25519 = 0x01
COSIGNATURE = 0x04
MAX_NOTE_BYTES = 256 * 1024
MAX_SIGNATURES = 64
_KEY_ID_BYTES = 4
_LINE = re.compile(r"— (\S+) ([A-Za-z0-9+/]+={0,2})")
_RAW = 32


class Signer(Protocol):
    """A key that signs, wherever it is kept."""

    @property
    def public(self) -> PublicKey:
        """Its public half."""

    def sign_raw(self, message: bytes) -> bytes:
        """64 bytes of Ed25519."""


class Line(NamedTuple):
    """One signature line."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode('ascii')}\n"


class Note(Struct, frozen=True):
    """A note that was parsed, and believed by nobody yet. `text` ends in a line feed."""

    text: str
    lines: tuple[Line, ...]

    def __bytes__(self) -> bytes:
        return f"{self.text}\n{''.join(map(str, self.lines))}".encode()


def is_name(text: str) -> bool:
    """Whether a key may have this name: not empty, no blanks, no plus, nothing that cannot be printed."""
    return bool(text) and text.isprintable() and not re.search(r"[\s+]", text)


def raw_key(key: PublicKey) -> bytes:
    """The 32 bytes of an Ed25519 key.

    Raises:
        ConfigError: it is of another kind, and logs and witnesses sign with Ed25519 alone.
    """
    if key.keytype != "ed25519":
        raise ConfigError(
            f"key {key.keyid[:16]} is {key.keytype}: a log and its witnesses sign with Ed25519",
            hint="`databom key new FILE` makes one",
        )
    return key.spki[-_RAW:]


def key_id(name: str, kind: int, key: PublicKey) -> bytes:
    """The four bytes that name a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + raw_key(key)).digest()[:_KEY_ID_BYTES]


def format_vkey(name: str, kind: int, key: PublicKey) -> str:
    """A public key as C2SP tools take it."""
    public = base64.b64encode(bytes([kind]) + raw_key(key)).decode("ascii")
    return f"{name}+{key_id(name, kind, key).hex()}+{public}"


def parse_vkey(text: str) -> tuple[str, int, PublicKey]:
    """The name, the kind and the key.

    Raises:
        ConfigError: it is no vkey of an Ed25519 key that databom believes.
    """
    name, _, rest = text.partition("+")
    hex_id, _, public = rest.partition("+")
    try:
        raw = base64.b64decode(public, validate=True)
        key = PublicKey.from_raw("ed25519", raw[1:])
        good = (
            is_name(name) and raw[0] in (ED25519, COSIGNATURE) and key_id(name, raw[0], key).hex() == hex_id
        )
    except (binascii.Error, ValueError, IndexError, InputError):
        good = False
    if not good:
        raise ConfigError(
            f"{printable(text)} is no vkey", hint="a vkey is NAME+8 HEX DIGITS+BASE64, as C2SP says"
        )
    return name, raw[0], key


def parse_note(data: bytes) -> Note:
    """Read a note.

    Raises:
        InputError: `log.corrupt`: it is no note, in one spelling: UTF-8, no control characters, base64 without slack.
    """
    if len(data) > MAX_NOTE_BYTES:
        _refuse(f"it is longer than {MAX_NOTE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("it is not UTF-8")
    if any(ord(character) < 0x20 and character != "\n" for character in text):
        _refuse("it holds a control character")
    body, blank, tail = text.rpartition("\n\n")
    if not blank or not body or not tail.endswith("\n"):
        _refuse("it has no signatures after an empty line")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        _refuse(f"it has more than {MAX_SIGNATURES} signatures")
    return Note(f"{body}\n", tuple(map(_line, lines)))


def _line(text: str) -> Line:
    found = _LINE.fullmatch(text)
    if found is None or not is_name(found[1]):
        _refuse(f"this is no signature line: {printable(text, 80)}")
    try:
        raw = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) <= _KEY_ID_BYTES or base64.b64encode(raw).decode("ascii") != found[2]:
        _refuse(f"this signature line is not base64 in one spelling: {printable(text, 80)}")
    return Line(found[1], raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _refuse(why: str) -> NoReturn:
    raise InputError(
        Problem(
            "log.corrupt", "checkpoint", f"this is no signed note: {why}", do="restore it, or get it again"
        )
    )


def sign_note(text: str, name: str, signers: Iterable[Signer]) -> Note:
    """A text signed by keys that bear the name."""
    lines = [Line(name, key_id(name, ED25519, one.public), one.sign_raw(text.encode())) for one in signers]
    return Note(text, tuple(lines))


def holds(line: Line, key: PublicKey, text: str) -> bool | None:
    """Whether the key made this line over the text; None where the line is not of this key."""
    if key.keytype != "ed25519" or line.key_id != key_id(line.name, ED25519, key):
        return None
    return key.verify_raw(line.signature, text.encode())
