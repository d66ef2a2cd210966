"""The audit bundle: what an archive about one training run holds, and its index, `bundle.json`.

Files lie where they lie in a project (`databom.toml`, `provenance/…`); what a project keeps elsewhere is below `run/`
and `log/`. So each place says what it holds, and the index can say nothing else. Nothing in the index is evidence: it
says which bytes belong together, and what is not there and why; whether they hold is asked of the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta, Struct

from databom.errors import InputError, Problem
from databom.model import strictjson
from databom.model.digest import sha256
from databom.model.finding import Finding, Severity
from databom.model.text import printable

TYPE = "urn:databom:audit-bundle:v1"
INDEX = "bundle.json"
MAX_BYTES = 256 * 1024 * 1024
"""Of the whole archive: it is checked in memory."""
MAX_FILES = 20_000
MAX_PATH = 240
MAX_RELEASES = 1_000
"""Whether a payment is used twice is asked of each against each."""
_MAX_INDEX_BYTES = 16 * 1024 * 1024

RECEIPT, PROOF = "run/receipt.dsse.json", "run/receipt.tlog-proof"
TRUST_THEN, RUN = "run/trust.json", "run/"
CHECKPOINT = "log/checkpoint"
TRUST, POLICY, LOCK = "provenance/trust.json", "databom.toml", "databom.lock"

_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME = r"(?P<about>[A-Za-z0-9_][A-Za-z0-9_-]{0,99})"
_INDEX = r"0|[1-9][0-9]{0,15}"
_PLACES = (
    (r"run/receipt\.dsse\.json", "receipt"),
    (r"run/receipt\.tlog-proof", "receipt-proof"),
    (r"run/receipt\.(?:subjects|dependencies)\.json", "list"),
    (r"run/trust\.json", "trust-then"),
    (rf"run/{_WORD}(?:/{_WORD})*", "document"),
    (r"log/checkpoint", "checkpoint"),
    (rf"log/(?P<about>{_INDEX})\.json", "entry"),
    (rf"log/(?P<about>{_INDEX})\.tlog-proof", "entry-proof"),
    (rf"provenance/manifests/{_NAME}\.json", "manifest"),
    (rf"provenance/manifests/{_NAME}\.json\.dsse", "signature"),
    (rf"provenance/manifests/{_NAME}\.json\.dsse\.tsr", "timestamps"),
    (rf"provenance/manifests/{_NAME}\.index/[0-9a-f]{{64}}", "shard"),
    (rf"provenance/evidence/{_NAME}/{_WORD}\.(?:dsse\.json|unsigned\.json|jws)", "evidence"),
    (rf"provenance/reports/{_NAME}\.json", "report"),
    (r"provenance/trust\.json", "trust"),
    (r"databom\.toml", "policy"),
    (r"databom\.lock", "pins"),
)
_COMPILED = tuple((re.compile(rf"(?:{pattern})\Z"), what) for pattern, what in _PLACES)

REQUIRED = frozenset({"receipt-proof", "list", "manifest", "shard", "trust", "policy"})
"""Without these a question that the bundle is made for cannot be answered."""

PARAMS = "params"
"""What is left out unless it is asked for: that is no doubt."""

_Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
_Size = Annotated[int, Meta(ge=0, le=MAX_BYTES)]
_Text = Annotated[str, Meta(min_length=1, max_length=1_000)]


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the archive."""

    path: Annotated[str, Meta(max_length=MAX_PATH)]
    size: _Size
    sha256: _Digest
    what: _Text
    about: _Text | None
    """The pin, or the index of the log's entry; None for what is about the run or the project."""


class Absent(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that belongs into the archive and is not in it."""

    what: _Text
    about: _Text | None
    why: _Text


class Index(Struct, frozen=True, forbid_unknown_fields=True):
    """What an archive says that it holds."""

    run: _Text
    receipt: _Digest
    files: tuple[File, ...]
    absent: tuple[Absent, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"_type": TYPE, **msgspec.to_builtins(self)}

    def missing(self) -> Iterator[Finding]:
        """What is not there, told: `bundle.unanswered` where a question stays open for it, else `bundle.incomplete`."""
        for one in self.absent:
            is_required = one.what in REQUIRED
            weight = Severity.INFO if one.what == PARAMS else Severity.WARN
            yield Finding(
                "bundle.unanswered" if is_required else "bundle.incomplete",
                Severity.BLOCK if is_required else weight,
                printable(one.about or one.what),
                f"not in the bundle: {printable(one.why, 400)}",
                expected=printable(one.what),
                found="nothing",
                do="make the bundle where this is kept, or ask whoever made it",
            )


def what_is(path: str) -> tuple[str, str | None] | None:
    """What a place in the archive holds, and of which pin or entry; None for a place that no archive has."""
    if len(path) > MAX_PATH:
        return None
    for pattern, what in _COMPILED:
        if match := pattern.match(path):
            return what, match.groupdict().get("about")
    return None


def index_of(run: str, receipt: str, files: Mapping[str, bytes], absent: tuple[Absent, ...]) -> Index:
    """The index of these files, sorted."""
    listed = []
    for path in sorted(files):
        place = what_is(path)
        if place is None:
            raise ValueError(f"{path} is no place in a bundle")
        listed.append(File(path, len(files[path]), sha256(files[path]), *place))
    ordered = sorted(set(absent), key=lambda one: (one.what, one.about or "", one.why))
    return Index(run, receipt, tuple(listed), tuple(ordered))


def read_index(raw: bytes) -> Index:
    """Read `bundle.json` strictly.

    Raises:
        InputError: `bundle.syntax`, `.limit` or `.schema`: it is none, or says of a place what no such place holds.
    """
    document = strictjson.loads(raw, prefix="bundle", limit=_MAX_INDEX_BYTES)
    found = document.pop("_type", None) if isinstance(document, dict) else None
    if found != TYPE:
        _refuse("/_type", "this is no index of an audit bundle that this release reads", TYPE, str(found))
    try:
        index = msgspec.convert(document, Index)
    except msgspec.ValidationError as error:
        _refuse(None, f"this is no index of an audit bundle: {error}", "what the schema says", "another form")
    paths = [one.path for one in index.files]
    if paths != sorted(set(paths)):
        _refuse(
            "/files", "its files are not sorted, or one is listed twice", "each path once", "another order"
        )
    releases = sum(one.what == "manifest" for one in index.files)
    if releases > MAX_RELEASES:
        _refuse(
            "/files",
            "it has too many releases",
            f"at most {MAX_RELEASES:,}",
            f"{releases:,}",
            code="bundle.limit",
        )
    for one in index.files:
        if what_is(one.path) != (one.what, one.about):
            _refuse(one.path, "this is no place for what the index says", str(what_is(one.path)), one.what)
    return index


def _refuse(
    where: str | None, what: str, expected: str, found: str, *, code: str = "bundle.schema"
) -> NoReturn:
    do = "make the bundle again: databom bundle RUN_ID -o FILE.zip"
    raise InputError(
        Problem(
            code,
            printable(where) if where else None,
            printable(what, 400),
            printable(expected),
            printable(found),
            do,
        )
    )
