"""All of it together: bytes in, what was seen out, whatever the scanners do.

1. What kind of bytes these are (`media`).
2. Every scanner that takes them looks; what they find is held to its form.
3. What is inside of them (`archives`, `tables`) is looked at the same way.
4. Bytes that nobody took, or that could not be read, are a doubt: never nothing.

What a scanner's exception says is not kept: it may quote what it had just read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from databom.model.text import printable
from databom.scanners import archives, media, tables
from databom.scanners.patterns import find
from databom.scanners.protocol import KIND, MAX_KIND_CHARS, Context, Data, Hit, Scanner, Unreadable
from databom.scanners.texts import says_number

MAX_HITS = 1_000_000
"""Of one scanner in one file."""
MAX_DOUBTS = 20
"""Of one asset: one for every reason and media type, so that a waiver for one type hides no other."""
NO_SCANNER, UNREADABLE, FAILED = "no-scanner", "unreadable", "failed"
"""Why bytes were not answered for. The first two are about the bytes, the third about the scanner."""


class Doubt(NamedTuple):
    """Bytes that were not answered for."""

    why: str
    media_type: str
    what: str


class Seen(NamedTuple):
    """What was seen in one asset: how often each kind and how sure at best, who looked, and what nobody could see."""

    hits: dict[str, tuple[int, float]]
    by: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


class Looker:
    """A set of scanners at work. For one thread.

    Args:
        scanners: who looks.
        alive: called whenever a part of the work is done: whoever waits knows that it goes on.
    """

    def __init__(self, scanners: Sequence[Scanner], alive: Callable[[], None] = lambda: None) -> None:
        self._scanners = scanners
        self.alive = alive

    def look(self, data: Data, declared: str | None, path: str) -> Seen:
        """What is in the bytes of an asset. Never raises for what they are, or for what a scanner does."""
        work = _Work(self._scanners, self.alive, path)
        work.look(data, declared, path, "", 0)
        return Seen(work.hits, tuple(sorted(work.by)), tuple(work.doubts.values()))


class _Work:
    def __init__(self, scanners: Sequence[Scanner], alive: Callable[[], None], path: str) -> None:
        self.hits: dict[str, tuple[int, float]] = {}
        self.by: set[str] = set()
        self.doubts: dict[tuple[str, str], Doubt] = {}
        self._scanners = scanners
        self._alive = alive
        self._path = path
        self._budget = archives.Budget()

    def look(self, data: Data, declared: str | None, name: str, member: str, depth: int) -> None:
        if not len(data):
            return
        self._alive()
        kind = media.media_type_of(bytes(data[: media.HEAD_BYTES]), declared, name)
        within = f"in {printable(member, 100)}: " if member else ""
        is_taken = archives.is_archive(kind)
        for scanner in self._scanners:
            if self._asks(scanner, kind, within):
                is_taken = True
                self._scan(scanner, data, kind, Context(self._path, member), within)
        try:
            for one in archives.members(data, kind, self._budget, depth):
                below = f"{member}/{one.name}" if member else one.name
                # `a.csv.gz` holds `a.csv`: a packed file has no other name.
                called = one.name or name.rpartition(".")[0]
                self.look(one.data, one.declared, called, below, depth + 1)
            if tables.is_table(kind):
                is_taken = True
                self._table(data, kind, member, depth)
        except Unreadable as error:
            self._doubt(UNREADABLE, kind, within + str(error))
        except Exception as error:  # noqa: BLE001  # of a library that met bytes its authors never saw
            self._doubt(FAILED, kind, f"{within}unpacking raised {type(error).__name__}")
        if not is_taken:
            self._doubt(NO_SCANNER, kind, f"{within}no scanner takes {kind}")

    def _asks(self, scanner: Scanner, kind: str, within: str) -> bool:
        try:
            return scanner.takes(kind) is True
        except BaseException as error:  # noqa: BLE001  # somebody else's code
            self._doubt(FAILED, kind, f"{within}{scanner.name} raised {type(error).__name__}")
            return False

    def _scan(self, scanner: Scanner, data: Data, kind: str, context: Context, within: str) -> None:
        who = f"{scanner.name} {scanner.version}"
        try:
            self._count(scanner.scan(data, kind, context))
            self.by.add(scanner.name)
        except Unreadable as error:
            self._doubt(UNREADABLE, kind, within + printable(str(error)))
        except _Nonsense as error:
            self._doubt(FAILED, kind, f"{within}{who} answered with {error}, which is no finding")
        except BaseException as error:  # SystemExit too: a scanner does not decide when this process ends
            if isinstance(error, KeyboardInterrupt):
                raise
            self._doubt(FAILED, kind, f"{within}{who} raised {type(error).__name__}")
        self._alive()

    def _count(self, answer: Iterable[Any]) -> None:
        found: dict[str, tuple[int, float]] = {}
        try:
            _tally(answer, found)
        except Unreadable:
            self._add(found)  # what was found up to there was found
            raise
        self._add(found)

    def _add(self, found: dict[str, tuple[int, float]]) -> None:
        for kind, (count, best) in found.items():
            had, was = self.hits.get(kind, (0, 0.0))
            self.hits[kind] = (had + count, max(was, best))

    def _table(self, data: Data, kind: str, member: str, depth: int) -> None:
        for number, (column, value) in enumerate(tables.cells(data, kind)):
            if number % 10_000 == 0:
                self._alive()
            if isinstance(value, bytes):
                self.look(value, None, "", f"{member}/{column}" if member else column, depth + 1)
            elif isinstance(value, str):
                self._count(find(value, column))
            elif says_number(column):
                self._count(find(str(value), column))
        self.by.add("databom.patterns")

    def _doubt(self, why: str, kind: str, what: str) -> None:
        if len(self.doubts) < MAX_DOUBTS or (why, kind) in self.doubts:
            self.doubts.setdefault((why, kind), Doubt(why, kind, printable(what, 300)))
        else:  # nobody can waive what is not listed
            what = f"more than {MAX_DOUBTS} kinds of files that cannot be scanned"
            self.doubts[FAILED, media.UNKNOWN] = Doubt(FAILED, media.UNKNOWN, what)


class _Nonsense(Exception):  # noqa: N818  # said of what a scanner answered
    pass


def _tally(answer: Iterable[Any], found: dict[str, tuple[int, float]]) -> None:
    """Count a scanner's findings by their kind.

    Raises:
        _Nonsense: one is none.
        Unreadable: the scanner says so, or there are too many.
    """
    try:
        hits = iter(answer)
    except TypeError:
        raise _Nonsense(type(answer).__name__) from None
    for number, hit in enumerate(hits):
        kind, score = _checked(hit)
        if number >= MAX_HITS:
            raise Unreadable(f"more than {MAX_HITS:,} findings in one file")
        count, best = found.get(kind, (0, 0.0))
        found[kind] = (count + 1, max(best, score))


def _checked(hit: object) -> tuple[str, float]:
    """Kind and score of something that is a hit.

    Raises:
        _Nonsense: it is none.
    """
    if not isinstance(hit, Hit):
        raise _Nonsense(type(hit).__name__)
    kind: object = hit.kind
    score: object = hit.score
    place: object = hit.place
    if not isinstance(kind, str) or len(kind) > MAX_KIND_CHARS or KIND.fullmatch(kind) is None:
        raise _Nonsense("a hit without a kind")
    if not isinstance(score, (int, float)) or isinstance(score, bool) or not math.isfinite(score):
        raise _Nonsense("a hit without a score")
    if not 0 <= score <= 1 or not isinstance(place, tuple) or len(place) > 4:
        raise _Nonsense("a hit out of bounds")
    return kind, float(score)
