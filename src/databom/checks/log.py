"""Is the log whole, and does it still begin with what it began with?

Recomputed from the entries, not from what the log says about itself. In this order:

1. the newest checkpoint: its form, and who signed it (`signature.`);
2. every entry is hashed, every tile compared, up to the root of the checkpoint (`log.corrupt`, at the first place);
3. every older checkpoint somebody kept: the log begins with it (`log.rolled-back`, `log.forked`);
4. where the trust root names witnesses: enough of them saw the checkpoint (`log.unwitnessed`);
5. somebody signed it whose key is no development key (`log.development`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from databom.errors import InputError
from databom.log.appending import require_continued
from databom.log.checkpoint import Checkpoint, Opened, Speakers, open_checkpoint
from databom.log.merkle import leaf_hash
from databom.log.reading import LogReader
from databom.log.tiles import WIDTH, Edge, Tile, refuse, tile_name
from databom.model.finding import Finding, Severity, findings_of
from databom.model.text import printable

_AT_ONCE = 8
"""Files read at once: a bucket takes its time for each."""
_AHEAD = 16
"""Bundles held at once, each of 16 MiB at most."""


class Audit(Struct, frozen=True):
    """What an audit found, and what it looked at."""

    findings: tuple[Finding, ...]
    opened: Opened | None = None
    """The newest checkpoint, where it is believed."""
    anchors: int = 0
    """How many older checkpoints the log was held against."""


def open_anchors(
    given: Mapping[str, bytes], speakers: Speakers, origin: str, *, now: datetime
) -> tuple[dict[str, Checkpoint], list[Finding]]:
    """Older checkpoints by where they were kept, once the log's key is found to have signed them.

    One that the log never signed shows nothing against it, and is a finding itself.
    """
    held: dict[str, Checkpoint] = {}
    findings: list[Finding] = []
    for where, raw in given.items():
        try:
            held[where] = open_checkpoint(raw, speakers, origin, now=now, ever=True).checkpoint
        except InputError as error:
            findings += [_about(one, where) for one in findings_of(error)]
    return held, findings


def audit(reader: LogReader, anchors: Mapping[str, Checkpoint], speakers: Speakers) -> Audit:
    """Hold a whole log against its checkpoint and against older ones.

    Raises:
        StorageError: a file of it cannot be read.
    """
    findings: list[Finding] = []
    try:
        _recompute(reader)
    except InputError as error:
        findings += findings_of(error)
    for where, older in sorted(anchors.items()):
        try:
            require_continued(reader, older)
        except InputError as error:
            findings += [_about(one, where) for one in findings_of(error)]
    findings += [*unwitnessed(reader.opened, speakers), *_development(reader.opened)]
    return Audit(tuple(findings), reader.opened, len(anchors))


def _about(finding: Finding, where: str) -> Finding:
    """Say which of the checkpoints that were kept: the log's own is called "checkpoint"."""
    return replace(finding, subject=printable(where))


def _recompute(reader: LogReader) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def read(number: int) -> list[bytes]:
        reader.tile(0, number)  # it is kept until it is compared
        return reader.bundle(number)

    edge = Edge()
    numbers = range(-(-reader.size // WIDTH))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in numbers[::_AHEAD]:
            for entries in pool.map(read, numbers[start : start + _AHEAD]):
                edge, tiles = edge.grown([leaf_hash(entry) for entry in entries])
                for tile in tiles:
                    if len(tile.hashes) == WIDTH:
                        _compare(reader, tile)
    for tile in _partial(edge):
        _compare(reader, tile)
    if edge.root() != reader.checkpoint.root:
        refuse("entries", "the entries do not lead to the root of the checkpoint: they, and the tiles, were rewritten",
               expected=str(reader.checkpoint), found=str(Checkpoint("", edge.size, edge.root())))  # fmt: skip


def _partial(edge: Edge) -> Iterator[Tile]:
    for level, hashes in enumerate(edge.levels):
        if hashes:
            yield Tile(level, edge.size >> 8 * (level + 1), hashes)


def _compare(reader: LogReader, tile: Tile) -> None:
    stored = reader.tile(tile.level, tile.number)
    if tuple(stored) == tile.hashes:
        return
    at = next(at for at, pair in enumerate(zip(stored, tile.hashes, strict=True)) if pair[0] != pair[1])
    if tile.level == 0:
        refuse(
            f"entry {tile.number * WIDTH + at}",
            "this entry, or its hash, is not what was appended",
        )
    refuse(tile_name(tile.level, tile.number), f"hash {at} of this tile is not that of the entries below it")


def unwitnessed(opened: Opened, speakers: Speakers) -> Iterable[Finding]:
    """`log.unwitnessed` (warn) of a checkpoint that fewer witnesses have signed than the role asks for."""
    if len(opened.witnesses) < speakers.quorum:
        yield Finding(
            "log.unwitnessed",
            Severity.WARN,
            "checkpoint",
            "fewer witnesses have seen this checkpoint than the trust root asks for",
            expected=str(speakers.quorum),
            found=str(len(opened.witnesses)),
            do="ask the witnesses: databom log witness LOCATION --key WITNESS.pem --attach",
        )


def _development(opened: Opened) -> Iterable[Finding]:
    if opened.is_development:
        yield Finding(
            "log.development",
            Severity.WARN,
            "checkpoint",
            "a development key signed this checkpoint: whoever can read that machine's files can make another log",
            expected="a key that was made for the log, kept apart from the code",
            found="a key that `databom init` made",
            do="databom key new FILE; databom trust add FILE.pub --role log; set DATABOM_LOG_KEY=FILE",
        )
