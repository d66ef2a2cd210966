"""Appending: many writers, one history, nothing acknowledged that is not in the published checkpoint.

A commit, in this order; the second step decides:

1. read the newest checkpoint, believe it, and hold it against the older ones the writer knows;
2. claim the next place: `.state/staged/<size>` holds the new entries and is written only where nothing is. There is one
   such file for each size, so there is one history, whoever else is writing. Where another was faster, his commit is
   finished first, and this one starts again behind it;
3. write the bundles and tiles, each durable before the next step, or computed from one that is;
4. publish the checkpoint, only if it is larger than the one that is there.

A writer who is killed leaves either nothing or a claim, and the next writer finishes that. A claim is signed: nobody
else can put words into the log's mouth. On a directory one writer at a time is let in (flock) and claims are removed
once published; in a bucket they stay.
"""

from __future__ import annotations

import base64
import os
import secrets
import threading
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec import Struct, field

from databom.errors import ConfigError, DatabomError, InputError, Problem, StorageError
from databom.log.checkpoint import (
    Checkpoint,
    Opened,
    Speakers,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from databom.log.merkle import leaf_hash
from databom.log.note import Note, Signer, holds, is_name, parse_note, sign_note
from databom.log.reading import CHECKPOINT, LogReader, read_checkpoint
from databom.log.tiles import (
    MAX_BUNDLE_BYTES,
    MAX_ENTRY,
    WIDTH,
    Edge,
    bundle_name,
    format_bundle,
    parse_bundle,
    refuse,
    tile_name,
    width_in,
)
from databom.model import times

if TYPE_CHECKING:
    from databom.storage.shelf import WritableShelf

MAX_ENTRIES = 16_384
"""Of one commit; more are appended in several."""
MAX_COMMIT_BYTES = 64 * 1024 * 1024
_STAGED = "databom.log/staged/v1"
_CLAIMS = ".state/staged"


class Staged(Struct, frozen=True):
    """Entries on their way into a log: what a claim holds, signed by whoever made it.

    databom.log/staged/v1
    <origin>
    <size before> <root before> <size after> <SHA-256 of the entries as a bundle> <a number used once>

    — <origin> <signature>
    <the entries, each after its length>
    """

    origin: str
    size: int
    root: bytes
    entries: tuple[bytes, ...]
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def name(self) -> str:
        """Under which it is claimed."""
        return f"{_CLAIMS}/{self.size}"

    def _text(self, digest: str) -> str:
        root = base64.b64encode(self.root).decode("ascii")
        after = self.size + len(self.entries)
        return f"{_STAGED}\n{self.origin}\n{self.size} {root} {after} {digest} {self.nonce}\n"

    def signed(self, signers: Sequence[Signer]) -> bytes:
        """Its bytes."""
        bundle = format_bundle(self.entries)
        note = sign_note(self._text(sha256(bundle).hexdigest()), self.origin, signers)
        return bytes(note) + b"\n" + bundle

    @classmethod
    def opened(cls, data: bytes, head: Edge, origin: str, speakers: Speakers) -> Staged:
        """What somebody claimed to come after `head`, once a key that speaks for the log is found to have signed it.

        Raises:
            InputError: `log.corrupt`: nobody who may has signed it, or it is about another tree.
            ConfigError: a later release made it, in a form this one does not know.
        """
        where = f"{_CLAIMS}/{head.size}"
        at = data.find(b"\n\n", data.find(b"\n\n") + 1)
        note = parse_note(data[: at + 1])
        bundle = data[at + 2 :]
        if at < 0 or not _is_spoken(note, origin, speakers):
            refuse(where, "no key that speaks for this log signed these entries")
        if not note.text.startswith(f"{_STAGED}\n"):
            raise ConfigError(
                f"{where}: another version of databom is writing this log",
                hint="use that version, or a later one",
            )
        staged = cls(
            origin, head.size, head.root(), tuple(parse_bundle(bundle, None, where)), note.text.split()[-1]
        )
        if note.text != staged._text(sha256(bundle).hexdigest()):
            refuse(where, "these entries were meant for another log, or for another place in it")
        return staged


def _is_spoken(note: Note, origin: str, speakers: Speakers) -> bool:
    signed = {
        keyid
        for line in note.lines
        for keyid, trusted in speakers.log.items()
        if line.name == origin and trusted.is_valid_at(times.now()) and holds(line, trusted.key, note.text)
    }
    return len(signed) >= max(1, speakers.threshold)


class _Batch:
    """What one caller wants appended, and what became of it."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries = entries
        self.start: int | None = None
        self.failure: DatabomError | None = None


class Log:
    """A log to append to. For threads: what waits while one commits goes into the next commit together."""

    def __init__(
        self,
        shelf: WritableShelf,
        origin: str,
        signers: Sequence[Signer],
        speakers: Speakers,
        anchors: Sequence[Checkpoint] = (),
    ) -> None:
        """Nothing is read or written yet.

        Args:
            shelf: where the log is.
            origin: its name.
            signers: keys of the log, as many as must sign.
            speakers: whose signatures of the log count; the signers' among them.
            anchors: older checkpoints of this log: one that does not begin with each of them is not appended to.

        Raises:
            ConfigError: these signers cannot speak for the log now, or this can be no log's name.
        """
        if not is_name(origin):
            raise ConfigError(
                f"a log cannot be called {origin!r}",
                hint="set [log] origin: no blanks, no `+`; example.com/log",
            )
        self._shelf = shelf
        self._origin = origin
        self._signers = tuple(signers)
        self._speakers = speakers
        self._anchors = tuple(anchors)
        self._edge: Edge | None = None
        self._tail: list[bytes] | None = None
        self._swept = False  # whether what killed writers have left is gone
        self.checkpoint: bytes | None = None
        """The newest one this object has published or seen covering its entries."""
        self._require_signers()
        self._reset()

    def _require_signers(self) -> None:
        known = {signer.public.keyid for signer in self._signers} & set(self._speakers.log)
        ids = ", ".join(sorted(signer.public.keyid[:16] for signer in self._signers))
        hint = "databom trust add FILE.pub --role log, or name another key in DATABOM_LOG_KEY"
        if not known:
            raise ConfigError(
                f"the log's key {ids} is not one that the trust root's role `log` asks for", hint=hint
            )
        if len(known) < self._speakers.threshold:
            raise ConfigError(
                f"the trust root's role `log` asks for {self._speakers.threshold} keys, and {len(known)} of its "
                f"{len(self._speakers.log)} signs here ({ids})",
                hint="one key signs what commands write: set the role's threshold to 1",
            )
        now = times.now()
        known = {keyid for keyid in known if self._speakers.log[keyid].is_valid_at(now)}
        if len(known) < max(1, self._speakers.threshold):  # nobody would believe what it signs
            raise ConfigError(f"the log's key {ids} is outside its validity, says the trust root", hint=hint)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._waiting: list[_Batch] = []
        self._queue = threading.Lock()
        self._turn = threading.Lock()

    def append(self, entries: Sequence[bytes]) -> range:
        """Append entries, in this order and with nothing in between; their indexes.

        On return they are durable, and the published checkpoint covers them.

        Raises:
            ConfigError: an entry is too long, there are too many for one commit, or the key's time is over.
            InputError: `log.corrupt`, `.rolled-back`, `.forked` or a `signature.` code: what is there is no log to
                be continued. Nothing was appended.
            StorageError: it could not be written. The entries may be in the log or not: `LogReader.find` tells.
        """
        self._require_signers()
        if any(len(entry) > MAX_ENTRY for entry in entries):
            raise ConfigError(f"an entry of a log has at most {MAX_ENTRY:,} bytes")
        if len(entries) > MAX_ENTRIES or sum(map(len, entries)) > MAX_COMMIT_BYTES:
            raise ConfigError(
                f"one commit has at most {MAX_ENTRIES:,} entries and {MAX_COMMIT_BYTES:,} bytes"
            )
        if self._pid != os.getpid():  # a forked child: threads that held the locks are not here
            self._reset()
        batch = _Batch(entries)
        with self._queue:
            self._waiting.append(batch)
        with self._turn:
            while batch.start is None and batch.failure is None:
                self._commit_waiting()
        if batch.failure is not None:
            raise batch.failure
        assert batch.start is not None
        return range(batch.start, batch.start + len(entries))

    def _commit_waiting(self) -> None:
        with self._queue:
            batches: list[_Batch] = []
            total = count = 0
            while self._waiting:
                one = self._waiting[0]
                total, count = total + sum(map(len, one.entries)), count + len(one.entries)
                if batches and (count > MAX_ENTRIES or total > MAX_COMMIT_BYTES):
                    break
                batches.append(self._waiting.pop(0))
        try:
            start = self._commit(tuple(entry for one in batches for entry in one.entries))
        except DatabomError as error:
            self._edge = self._tail = None
            for one in batches:
                one.failure = error
        except BaseException:
            self._edge = self._tail = None
            for one in batches:  # those of other threads, which were not interrupted
                one.failure = StorageError("the commit was interrupted: its entries may be in the log or not")
            raise
        else:
            for one in batches:
                one.start, start = start, start + len(one.entries)

    def _commit(self, entries: tuple[bytes, ...]) -> int:
        with self._shelf.exclusive():
            while True:
                head = self._head()
                if not entries:
                    return head.size
                staged = Staged(self._origin, head.size, head.root(), entries)
                found = self._shelf.read(staged.name, MAX_COMMIT_BYTES + MAX_BUNDLE_BYTES)
                if found is None and self._shelf.claim(staged.name, staged.signed(self._signers)):
                    self._finish(head, staged)
                    return staged.size
                if found is None:
                    found = self._shelf.read(staged.name, MAX_COMMIT_BYTES + MAX_BUNDLE_BYTES) or b""
                self._finish(head, Staged.opened(found, head, self._origin, self._speakers), found)

    # --- the steps ----------------------------------------------------------------------------

    def _head(self) -> Edge:
        """The edge of the tree that the newest checkpoint states, and which this writer may continue."""
        raw = read_checkpoint(self._shelf)
        if raw is None:
            for anchor in self._anchors:
                if anchor.size:
                    raise _contradicted("log.rolled-back", anchor, None)
            self._edge, self._tail = Edge(), []
            return self._edge
        opened = self._open(raw)
        stated, edge = opened.checkpoint, self._edge
        if edge is not None and (edge.size, edge.root()) == (stated.size, stated.root):
            return edge
        reader = LogReader(self._shelf, opened)
        for anchor in self._anchors:
            require_continued(reader, anchor)
        self._anchors = (stated,)
        edge = reader.edge()
        tail = reader.bundle(edge.size // WIDTH) if edge.size % WIDTH else []
        if tuple(map(leaf_hash, tail)) != (edge.levels[0] if tail else ()):
            refuse(
                bundle_name(edge.size // WIDTH, len(tail)),
                "the last entries are not what the checkpoint covers",
            )
        self._edge, self._tail = edge, tail
        self.checkpoint = raw
        return edge

    def _open(self, raw: bytes) -> Opened:
        return open_checkpoint(raw, self._speakers, self._origin, now=times.now(), known=self._anchors)

    def _finish(self, head: Edge, staged: Staged, found: bytes | None = None) -> None:
        """Write what a claim stands for, and publish it; `found` is another's claim as it was found."""
        assert self._tail is not None
        edge, tiles = head.grown([leaf_hash(entry) for entry in staged.entries])
        rows = [*self._tail, *staged.entries]
        first = head.size // WIDTH
        # Who was killed in the middle may not have flushed his claim, and no checkpoint comes before that.
        files = [(staged.name, found)] if found is not None else []
        files += [tile.file for tile in tiles]
        # Readers, and the next writer, compute a partial tile of leaves from its bundle, which is flushed.
        derived = [one.file[0] for one in tiles if one.level == 0 and len(one.hashes) < WIDTH]
        for at in range(0, len(rows), WIDTH):
            row, index = rows[at : at + WIDTH], first + at // WIDTH
            files.append((bundle_name(index, len(row)), format_bundle(row)))
        taken = self._shelf.keep(files, derived=derived)
        if taken:
            refuse(taken[0], "other bytes stand where the log's next entries belong")
        self._publish(Checkpoint(self._origin, edge.size, edge.root()))
        self._tail = rows[len(rows) // WIDTH * WIDTH :]
        self._edge = edge
        self._shelf.discard([staged.name if self._swept else f"{_CLAIMS}/", *_outgrown(head.size, edge.size)])
        self._swept = True

    def _publish(self, checkpoint: Checkpoint) -> None:
        ours = sign_checkpoint(checkpoint, self._signers)
        published = ours

        def larger(found: bytes | None) -> bytes | None:
            nonlocal published
            published = ours
            if found is not None:
                stated = parse_checkpoint(parse_note(found).text)
                if stated.size >= checkpoint.size:
                    published = found
                    return None
            return ours

        self._shelf.update(CHECKPOINT, larger)
        self.checkpoint = published
        if published is not ours:
            # Another has published meanwhile, which covers these entries if it continues them.
            require_continued(LogReader(self._shelf, self._open(published)), checkpoint)
        self._anchors = (checkpoint,)


def require_continued(reader: LogReader, older: Checkpoint) -> None:
    """Return if the log begins with what an older checkpoint of it states.

    Raises:
        InputError: `log.rolled-back` where it is shorter, `log.forked` where it is another history; both checkpoints
            are in the error.
    """
    if older.size > reader.size:
        raise _contradicted("log.rolled-back", older, reader.opened)
    if not reader.begins_with(older):
        raise _contradicted("log.forked", older, reader.opened)


def _contradicted(code: str, older: Checkpoint, opened: Opened | None) -> InputError:
    shorter = code == "log.rolled-back"
    return InputError(
        Problem(
            code,
            "checkpoint",
            "the log is shorter than it was: its end was cut off"
            if shorter
            else "the log is another history than the one it was: it was rewritten, or it has two writers' copies",
            expected=f"a continuation of {older}",
            found=str(opened.checkpoint) if opened else "no checkpoint",
            do="keep both as evidence; restore the log from a copy that covers the older checkpoint"
            if shorter
            else "keep both as evidence; if two clones have kept a log each under this one origin, let one of the logs "
            "go on, set the other one aside, and share it ([log] location s3:// or r2://)",
        )
    )


def _outgrown(before: int, after: int) -> list[str]:
    """The folders of partial tiles and bundles that full ones have replaced, those of the commit before too."""
    names, level = [], 0
    while after >> 8 * level >= WIDTH:
        first, last = max(0, (before >> 8 * (level + 1)) - 1), after >> 8 * (level + 1)
        for index in range(first, last):
            assert width_in(after, level, index) == WIDTH
            names.append(f"{tile_name(level, index)}.p")
            if level == 0:
                names.append(f"{bundle_name(index)}.p")
        level += 1
    return names
