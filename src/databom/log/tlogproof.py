"""Proofs that an entry is in a log, in one file that needs no log to be checked (C2SP `tlog-proof@v1`).

    c2sp.org/tlog-proof@v1
    index 417
    xdHPGXq/c5WZbXLJQmM9RMvs/1lcQ1bPIOFWI6Y4f9Q=      the hashes, from the leaf's sibling up
    …

    databom.local/pets-1f2e3d4c                       the checkpoint, as the log signed it
    1000
    …

The entry itself is not in it: whoever checks has the entry, for instance `receipt.dsse.json`, whose bytes are the leaf.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NoReturn

from msgspec import Struct

from databom.errors import InputError, Problem
from databom.log.checkpoint import parse_checkpoint
from databom.log.merkle import HASH_BYTES, check_inclusion, leaf_hash
from databom.log.note import MAX_NOTE_BYTES, parse_note

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 64 * 1024
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")


class TlogProof(Struct, frozen=True):
    """Where an entry stands, the hashes beside it, and the checkpoint they lead to; believed by nobody yet."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note, verbatim."""

    def __bytes__(self) -> bytes:
        lines = [
            HEADER,
            f"index {self.index}",
            *(base64.b64encode(one).decode("ascii") for one in self.hashes),
        ]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint

    def holds_for(self, entry: bytes) -> bool:
        """Whether the entry is where the proof says, in the tree its checkpoint states; not whose word that is.

        Raises:
            InputError: `log.corrupt`: the checkpoint is none.
        """
        stated = parse_checkpoint(parse_note(self.checkpoint).text)
        return check_inclusion(leaf_hash(entry), self.index, stated.size, self.hashes, stated.root)


def parse_proof(data: bytes) -> TlogProof:
    """Read a proof. An `extra` line is let pass: nothing vouches for it.

    Raises:
        InputError: `log.corrupt`: it is none.
    """
    if len(data) > MAX_PROOF_BYTES:
        _refuse(f"it is longer than {MAX_PROOF_BYTES} bytes")
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        header, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        _refuse("it is not text")
    if header != HEADER or not blank:
        _refuse(f"it does not begin with {HEADER}")
    if lines and lines[0].startswith("extra "):
        lines = lines[1:]
    index = _INDEX.fullmatch(lines[0]) if lines else None
    if index is None:
        _refuse("it says no index")
    if len(lines) > MAX_HASHES + 1:
        _refuse(f"it has more than {MAX_HASHES} hashes")
    return TlogProof(int(index[1]), tuple(map(_hash, lines[1:])), checkpoint)


def _hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != HASH_BYTES or base64.b64encode(raw).decode("ascii") != line:
        _refuse("a line of it is no hash")
    return raw


def _refuse(why: str) -> NoReturn:
    raise InputError(
        Problem(
            "log.corrupt",
            "proof",
            f"this is no tlog-proof: {why}",
            do="make it again: databom log proof INDEX",
        )
    )
