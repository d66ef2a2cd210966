r"""Checkpoints (C2SP tlog-checkpoint v1.0.0): a signed note that says how large a log is, and what it holds.

    databom.local/pets-1f2e3d4c                       the origin: the log's own name, and that of its key
    1042                                              the size
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=      the root hash

    — databom.local/pets-1f2e3d4c Az3grlgtzPIC…       by the log
    — witness.example/w1 jWbPPwAAAABkGFDL…            by a witness (C2SP tlog-cosignature v1)

A witness signs `cosignature/v1\ntime <seconds>\n` before the text, and its signature begins with the seconds. It
says: this is the largest tree I have seen of this log, and it begins with every one I saw before.

Whose words count says the trust root: its `log` role for the first kind, its `witness` role for the second.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import NoReturn

from msgspec import Struct

from databom.errors import InputError, Problem
from databom.log.merkle import HASH_BYTES
from databom.log.note import COSIGNATURE, Line, Note, Signer, holds, key_id, parse_note, sign_note
from databom.log.tiles import MAX_SIZE
from databom.model import times
from databom.model.text import printable
from databom.trust.keys import PublicKey
from databom.trust.root import TrustedKey, TrustRoot

_TIME_BYTES = 8
_LAST_SECOND = 253_402_300_799
"""Of the year 9999."""


class Checkpoint(Struct, frozen=True):
    """How large a log is and what it holds; nobody's word yet."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"

    def __str__(self) -> str:
        """On one line, for messages."""
        return f"{self.size} entries, root {base64.b64encode(self.root).decode('ascii')}"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint. Lines after the third are let pass: the signature covers them.

    Raises:
        InputError: `log.corrupt`: it is none.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        _refuse("it needs three lines: origin, size and root")
    origin, size, root64 = lines[:3]
    if (
        not size.isascii()
        or not size.isdecimal()
        or len(size) > 16
        or str(int(size)) != size
        or int(size) > MAX_SIZE
    ):
        _refuse(f"its size is no number: {printable(size, 40)}")
    try:
        root = base64.b64decode(root64, validate=True)
    except (binascii.Error, ValueError):
        root = b""
    if len(root) != HASH_BYTES or base64.b64encode(root).decode("ascii") != root64:
        _refuse(f"its root is no hash: {printable(root64, 60)}")
    return Checkpoint(origin, int(size), root)


def _refuse(why: str) -> NoReturn:
    raise InputError(
        Problem(
            "log.corrupt", "checkpoint", f"this is no checkpoint: {why}", do="restore it, or get it again"
        )
    )


def sign_checkpoint(checkpoint: Checkpoint, signers: Iterable[Signer]) -> bytes:
    """The signed note of a checkpoint, under the name of its log."""
    return bytes(sign_note(checkpoint.text, checkpoint.origin, signers))


# --- witnesses ---------------------------------------------------------------------------------------


def cosign(text: str, name: str, signer: Signer, when: datetime) -> Line:
    """A witness's line under the text of a checkpoint."""
    seconds = int(when.timestamp())
    signature = signer.sign_raw(_cosigned(text, seconds))
    return Line(name, key_id(name, COSIGNATURE, signer.public), seconds.to_bytes(_TIME_BYTES) + signature)


def cosigned_at(line: Line, key: PublicKey, text: str) -> datetime | bool | None:
    """When the witness with this key signed; False where the line does not hold, None where it is not of this key."""
    if key.keytype != "ed25519" or line.key_id != key_id(line.name, COSIGNATURE, key):
        return None
    seconds = int.from_bytes(line.signature[:_TIME_BYTES])
    if seconds > _LAST_SECOND or not key.verify_raw(line.signature[_TIME_BYTES:], _cosigned(text, seconds)):
        return False
    return datetime.fromtimestamp(seconds, UTC)


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


# --- believing ---------------------------------------------------------------------------------------


class Speakers(Struct, frozen=True):
    """Who speaks for a log, and who witnesses it; how many of each it takes."""

    log: Mapping[str, TrustedKey]
    threshold: int = 1
    witnesses: Mapping[str, TrustedKey] | None = None
    quorum: int = 0

    @classmethod
    def of(cls, root: TrustRoot) -> Speakers:
        """As the trust root says; without a `log` role nobody speaks."""
        log, witness = root.roles.get("log"), root.roles.get("witness")
        return cls(
            {keyid: root.keys[keyid] for keyid in log.keyids} if log else {},
            log.threshold if log else 1,
            {keyid: root.keys[keyid] for keyid in witness.keyids} if witness else {},
            witness.threshold if witness else 0,
        )

    @classmethod
    def by_keys(cls, keys: Iterable[PublicKey]) -> Speakers:
        """Any one of these keys speaks for the log."""
        return cls({key.keyid: TrustedKey(key) for key in keys})


class Opened(Struct, frozen=True):
    """A checkpoint that its log signed, and who witnessed it."""

    checkpoint: Checkpoint
    note: Note
    witnesses: Mapping[str, datetime]
    """When each witness of the trust root signed, by keyid."""
    is_development: bool = False
    """Whether nobody but development keys signed for the log."""

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return bytes(self.note)


def open_checkpoint(
    raw: bytes,
    speakers: Speakers,
    origin: str | None,
    *,
    now: datetime,
    ever: bool = False,
    known: Collection[Checkpoint] = (),
) -> Opened:
    """A checkpoint, once enough keys that speak for the log have signed it.

    In this order:

    1. the form, and that it is of the log with this origin (None: of whichever its keys bear the name of);
    2. every line of a known key holds;
    3. enough keys of the log signed, each valid now, or when a witness that is valid now saw the checkpoint. With
       `ever`, and for a checkpoint that is `known` from before, the window of a key does not count.

    Raises:
        InputError: `log.corrupt`, `signature.untrusted`, `.invalid`, `.expired`, `.threshold`.
    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    if origin is not None and checkpoint.origin != origin:
        raise _refused("log.corrupt", "this is a checkpoint of another log", origin, checkpoint.origin)
    signed = _signers(note, checkpoint.origin, speakers)
    seen = _witnesses(note, speakers, now)
    if not signed:
        names = ", ".join(printable(line.name, 60) for line in note.lines[:3])
        what = "no key that speaks for this log signed the checkpoint"
        raise _refused("signature.untrusted", what, "a key of the trust root's role `log`", names)
    valid = {
        keyid
        for keyid in signed
        if ever
        or checkpoint in known
        or any(speakers.log[keyid].is_valid_at(when) for when in (now, *seen.values()))
    }
    if not valid:
        what = (
            "the key that signed the checkpoint is outside its validity window, and no witness saw it before"
        )
        raise _refused(
            "signature.expired", what, f"a key that is valid at {times.format(now)}", min(signed)[:16]
        )
    if len(valid) < speakers.threshold:
        what = "fewer keys signed the checkpoint than the role `log` asks for"
        raise _refused("signature.threshold", what, str(speakers.threshold), str(len(valid)))
    return Opened(checkpoint, note, seen, all(speakers.log[keyid].development for keyid in valid))


def _signers(note: Note, origin: str, speakers: Speakers) -> set[str]:
    found = set()
    for line in note.lines:
        for keyid, trusted in speakers.log.items() if line.name == origin else ():
            answer = holds(line, trusted.key, note.text)
            if answer is False:
                what = "a signature of the log does not hold: the checkpoint was changed"
                raise _refused("signature.invalid", what, f"a signature by {keyid[:16]}", "another")
            if answer:
                found.add(keyid)
    return found


def _witnesses(note: Note, speakers: Speakers, now: datetime) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    for line in note.lines:
        for keyid, trusted in (speakers.witnesses or {}).items():
            if keyid in speakers.log:  # nobody is his own witness
                continue
            when = cosigned_at(line, trusted.key, note.text)
            if when is False:
                what = "a witness's signature does not hold: the checkpoint was changed"
                raise _refused("signature.invalid", what, f"a cosignature by {keyid[:16]}", "another")
            if isinstance(when, datetime) and trusted.is_valid_at(now) and when <= now + times.CLOCK_SKEW:
                found[keyid] = when
    return found


def _refused(code: str, what: str, expected: str, found: str) -> InputError:
    return InputError(
        Problem(
            code,
            "checkpoint",
            what,
            expected=printable(expected),
            found=printable(found),
            do="get the checkpoint again from whoever keeps the log; `databom trust show` lists whom you believe",
        )
    )
