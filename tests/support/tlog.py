"""Logs for tests: made quickly, broken on purpose, and checked by a verifier that shares no line with ours.

The verifier is written from the texts of C2SP (signed-note, tlog-checkpoint, tlog-proof) and RFC 6962 alone, and
believes a vkey.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from databom.errors import StorageError
from databom.log.appending import Log
from databom.log.checkpoint import Speakers
from databom.log.reading import LogReader
from databom.storage.location import parse_location
from databom.storage.shelf import open_shelf, open_writable_shelf
from databom.storage.shelf_local import LocalShelf
from databom.storage.shelf_s3 import BucketShelf
from databom.trust.keys import PrivateKey

ORIGIN = "log.example/tests"
NOW = datetime(2026, 11, 26, tzinfo=UTC)


class SmallLog:
    """A log in a directory, and the key that speaks for it."""

    def __init__(self, folder: Path, key: PrivateKey | None = None) -> None:
        self.folder = folder
        self.key = key or PrivateKey.generate()
        self.speakers = Speakers.by_keys([self.key.public])

    def writer(self, **more: object) -> Log:
        shelf = open_writable_shelf(parse_location(str(self.folder)))
        return Log(shelf, ORIGIN, [self.key], self.speakers, **more)  # type: ignore[arg-type]

    def append(self, *entries: bytes) -> range:
        return self.writer().append(entries)

    def reader(self) -> LogReader:
        return LogReader.open(open_shelf(parse_location(str(self.folder))), self.speakers, ORIGIN, now=NOW)

    def entries(self) -> list[bytes]:
        reader = self.reader()
        return [entry for _, entry in reader.entries(0, reader.size)]

    def files(self) -> dict[str, bytes]:
        """What an outsider sees."""
        found = {
            p.relative_to(self.folder).as_posix(): p.read_bytes()
            for p in self.folder.rglob("*")
            if p.is_file()
        }
        return {name: data for name, data in found.items() if not name.startswith(".state")}


class FaultyShelf:
    """A shelf whose n-th write fails, before it is done or after."""

    def __init__(
        self, folder: Path, fail_at: int, *, after: bool, error: type[BaseException] = StorageError
    ) -> None:
        self._error = error
        self._shelf = LocalShelf(folder)
        self._left = fail_at
        self._after = after

    @property
    def shown(self) -> str:
        return self._shelf.shown

    def read(self, name: str, /, limit: int) -> bytes | None:
        return self._shelf.read(name, limit)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._shelf.exclusive():
            yield

    @contextmanager
    def _fault(self) -> Iterator[None]:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise self._error("on purpose")
        yield
        if self._left == 0:
            raise self._error("on purpose")

    def claim(self, name: str, data: bytes, /) -> bool:
        with self._fault():
            return self._shelf.claim(name, data)

    def keep(self, files: Sequence[tuple[str, bytes]], /, *, derived: Collection[str] = ()) -> list[str]:
        taken = []
        for one in files:
            with self._fault():
                taken += self._shelf.keep([one], derived=derived)
        return taken

    def update(self, name: str, change: Callable[[bytes | None], bytes | None], /) -> None:
        with self._fault():
            self._shelf.update(name, change)

    def discard(self, names: Sequence[str], /) -> None:
        for name in names:
            with self._fault():
                self._shelf.discard([name])


# --- the other verifier ------------------------------------------------------------------------------


def outsider_opens(note: bytes, vkey: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint that the vkey's owner signed."""
    name, _, material = vkey.split("+", 2)
    kind_and_key = base64.b64decode(material)
    wanted = hashlib.sha256(name.encode() + b"\n" + kind_and_key).digest()[:4]
    cut = note.rindex(b"\n\n") + 1
    text, lines = note[:cut], note[cut + 1 :].decode().splitlines()
    public = Ed25519PublicKey.from_public_bytes(kind_and_key[1:])
    for line in lines:
        dash, who, signature = line.split(" ")
        raw = base64.b64decode(signature)
        if (dash, who, raw[:4]) == ("—", name, wanted):
            public.verify(raw[4:], text)
            break
    else:
        raise InvalidSignature
    origin, size, root = text.decode().splitlines()[:3]
    assert origin == name
    return origin, int(size), base64.b64decode(root)


def outsider_opens_cosignature(note: bytes, name: str, public: bytes) -> datetime:
    """When the witness with this name and raw Ed25519 key signed a checkpoint (C2SP tlog-cosignature v1)."""
    cut = note.rindex(b"\n\n") + 1
    wanted = hashlib.sha256(name.encode() + b"\n\x04" + public).digest()[:4]
    for line in note[cut + 1 :].decode().splitlines():
        dash, who, signature = line.split(" ")
        raw = base64.b64decode(signature)
        if (dash, who, raw[:4]) == ("—", name, wanted):
            seconds = int.from_bytes(raw[4:12], "big")
            signed = b"cosignature/v1\ntime %d\n" % seconds + note[:cut]
            Ed25519PublicKey.from_public_bytes(public).verify(raw[12:], signed)
            return datetime.fromtimestamp(seconds, UTC)
    raise InvalidSignature


def outsider_checks_proof(proof: bytes, entry: bytes, vkey: str) -> bool:
    """Whether a `.tlog-proof` shows that the entry is in the log of the vkey's owner (RFC 6962 section 2.1.1)."""
    head, _, checkpoint = proof.partition(b"\n\n")
    header, index_line, *hashes = head.decode().splitlines()
    assert header == "c2sp.org/tlog-proof@v1"
    _, size, root = outsider_opens(checkpoint, vkey)
    path = [base64.b64decode(line) for line in hashes]

    def up(index: int, count: int) -> bytes:
        if count == 1:
            return hashlib.sha256(b"\x00" + entry).digest()
        k = 1
        while 2 * k < count:
            k *= 2
        beside = path.pop()
        if index < k:
            return hashlib.sha256(b"\x01" + up(index, k) + beside).digest()
        return hashlib.sha256(b"\x01" + beside + up(index - k, count - k)).digest()

    found = up(int(index_line.removeprefix("index ")), size)
    return found == root and not path


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


# --- what other processes do: here, where a spawned child finds it by the name its parent has ------------


def append_one_by_one(folder: str, key: bytes, name: int, count: int) -> None:
    small = SmallLog(Path(folder), PrivateKey.from_pem(key))
    writer = small.writer()
    for number in range(count):
        (index,) = writer.append([b"%d-%d" % (name, number)])
        assert writer.append([]).start > index


def append_in_groups(location: str, key: bytes, name: int, count: int, group: int) -> None:
    from support.fixtures_r2 import CALM

    signer = PrivateKey.from_pem(key)
    shelf = BucketShelf(parse_location(location), CALM)
    writer = Log(shelf, ORIGIN, [signer], Speakers.by_keys([signer.public]))
    for start in range(0, count, group):
        entries = [b"%d-%d" % (name, number) for number in range(start, start + group)]
        indexes = writer.append(entries)
        assert len(indexes) == group
