"""Shards: the lists of assets that a large release keeps in files of their own, read as strictly as a manifest.

| media type | what a shard is |
|---|---|
| `application/x-ndjson` | one asset object a line, as a manifest spells it, each line ended by one line feed |
| `application/vnd.apache.parquet` | one row an asset, one column a member; `databom[parquet]` reads it |

A shard's bytes are held against the index before anything parses them. A Parquet shard is turned into the lines of its
rows (a null is an absent member) and then held to the very same rules. Bounded by `MAX_SHARD_BYTES` and
`MAX_SHARD_ASSETS`: what one shard takes in memory follows from the two.
"""

from __future__ import annotations

import hashlib
import re
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from databom.errors import InputError, Problem
from databom.model import members, parquet, paths, strictjson
from databom.model.assets import MAX_STRING_CHARS, Refused, check_texts, decode, is_good_asset
from databom.model.claims import MAX_SHARD_ASSETS, MAX_SHARD_BYTES, MAX_SHARDS
from databom.model.text import printable

if TYPE_CHECKING:
    from databom.model.claims import Asset, Shard

__all__ = [
    "MAX_SHARDS",
    "MAX_SHARD_ASSETS",
    "MAX_SHARD_BYTES",
    "NDJSON",
    "PARQUET",
    "Read",
    "read_again",
    "read_shard",
]

NDJSON: Final = "application/x-ndjson"
PARQUET: Final = parquet.MEDIA_TYPE
URI_RULE = "a relative path, or an https, s3 or r2 location without a query"

_LOCATION = re.compile(r"(?:https|s3|r2)://[^/?#@\\\s]+(?:/[^/?#\\\s]+)+")
_AT_LINE = re.compile(r"/(?:assets/)?([0-9]+)(.*)", re.DOTALL)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_ASK = "fetch the shard again; if it stays so, ask the publisher for a corrected release"


class Read(NamedTuple):
    """What a shard lists, in its own order, and the members in it that this version does not know."""

    assets: tuple[Asset, ...]
    unknown: tuple[str, ...]


def uri_problem(uri: str) -> str | None:
    """Why an index may not name this place, in words that follow "the uri"; None when it may."""
    if "://" not in uri:
        return paths.path_problem(uri)
    if _LOCATION.fullmatch(uri) is None:
        return f"is not {URI_RULE}"
    parts = uri.partition("://")[2].split("/")
    return "has a '.' or '..' part" if {".", ".."}.intersection(parts) or "%2e" in uri.lower() else None


def is_relative(shard: Shard) -> bool:
    """Whether the shard lies below the manifest's own directory."""
    return "://" not in shard.uri


def check_bytes(raw: bytes, shard: Shard) -> None:
    """Hold a shard's bytes against the index.

    Raises:
        InputError: `integrity.size` or `integrity.mismatch`; the subject is the shard's uri.
    """
    subject = printable(shard.uri, 400)
    if len(raw) != shard.size:
        what = f"the shard is {'longer' if len(raw) > shard.size else 'shorter'} than the manifest says"
        raise InputError(
            Problem("integrity.size", subject, what, f"{shard.size:,} bytes", f"{len(raw):,} bytes", _ASK)
        )
    if (found := hashlib.sha256(raw).hexdigest()) != shard.sha256:
        what = "the shard's bytes are not those the manifest signs"
        raise InputError(
            Problem("integrity.mismatch", subject, what, f"sha256:{shard.sha256}", f"sha256:{found}", _ASK)
        )


def read_shard(raw: bytes, shard: Shard) -> Read:
    """The assets in a shard's bytes. Its own paths are safe, and none collides with another of them.

    Raises:
        InputError: `integrity.size` or `.mismatch` for other bytes; else with every problem found (at most 100), the
            subject being `<uri>:<line>` and a JSON pointer: `manifest.syntax`, `.limit`, `.schema`, `.path` or
            `.duplicate`.
        ConfigError: it is Parquet and the extra `parquet` is not installed.
    """
    check_bytes(raw, shard)
    where = printable(shard.uri, 400)
    if shard.media_type == PARQUET:
        raw = parquet.as_lines(raw, shard, where)
    text, shapes = _joined(raw, shard, where)
    try:
        assets = decode(text)
        check_texts(assets)
        _check_paths(assets)
        unknown = members.look_at_assets(text, shapes, asset_count=len(assets))
    except (msgspec.MsgspecError, Refused) as error:
        raise _refusal(text, where, error) from None
    return Read(assets, tuple(_at_line(pointer, where) for pointer in unknown))


def read_again(raw: bytes, shard: Shard) -> tuple[Asset, ...]:
    """The assets of a shard that `read_shard` has accepted in this process: the same bytes, so the same answer, sooner.

    Raises:
        InputError: `integrity.size` or `.mismatch`: the bytes are others now.
    """
    check_bytes(raw, shard)
    if shard.media_type == PARQUET:
        raw = parquet.as_lines(raw, shard, printable(shard.uri, 400))
    return decode(b"[%b]" % raw[:-1].replace(b"\n", b","))


def _check_paths(assets: tuple[Asset, ...]) -> None:
    if paths.check_paths([asset.path for asset in assets]):
        raise Refused("paths")


def _joined(raw: bytes, shard: Shard, where: str) -> tuple[bytes, members.Shapes | None]:
    """The lines as one JSON list, each known to be one value; and how often each sequence of member names occurs."""
    if not raw.endswith(b"\n"):
        what = "the last line of the shard does not end in a line feed"
        raise InputError(Problem("manifest.syntax", where, what, "a line feed after every asset", do=_ASK))
    lines = raw[:-1].split(b"\n")
    if len(lines) != shard.count:
        what = "the shard lists another number of assets than the manifest says"
        found = f"{len(lines):,}"
        raise InputError(Problem("manifest.schema", where, what, f"{shard.count:,}", found, _ASK))
    text = b"[%b]" % b",".join(lines)
    try:
        shapes = strictjson.shapes(text, limit=MAX_SHARD_BYTES + 2, max_string=MAX_STRING_CHARS, floats=False)
        # Line by line as long as the list's values: then each line is one value, and nothing else.
        if [len(value) for value in _RAWS.decode(text)] != list(map(len, lines)):
            raise msgspec.DecodeError("a value is not a line")
    except (InputError, msgspec.MsgspecError) as error:
        raise _bad_line(lines, where, error) from None
    return text, shapes


def _bad_line(lines: list[bytes], where: str, error: Exception) -> InputError:
    """The first line that is not one JSON object and nothing else, in words."""
    for number, line in enumerate(lines, start=1):
        try:
            strictjson.loads(line, max_string=MAX_STRING_CHARS, floats=False)
        except InputError as refused:
            return InputError(
                *(
                    problem._replace(subject=f"{where}:{number}{problem.subject or ''}")
                    for problem in refused.problems
                )
            )
        if line.strip(b" \t\r") != line:
            what = "a line of the shard begins or ends with space"
            return InputError(
                Problem(
                    "manifest.syntax", f"{where}:{number}", what, "one asset object and a line feed", do=_ASK
                )
            )
    if isinstance(error, InputError):
        return InputError(*(problem._replace(subject=where) for problem in error.problems))
    what = "the shard is not one asset object a line"
    return InputError(Problem("manifest.syntax", where, what, "one asset object a line", do=_ASK))


def _refusal(text: bytes, where: str, reason: Exception) -> InputError:
    from databom.model import wording

    value = strictjson.loads(text, limit=MAX_SHARD_BYTES + 2, max_string=MAX_STRING_CHARS, floats=False)
    found = islice(wording.explain_assets(value, is_good_asset), wording.MAX_PROBLEMS)
    problems = [problem._replace(subject=_at_line(problem.subject or "", where)) for problem in found]
    what = f"the shard does not fit the schema: {reason}"
    return InputError(*(problems or [Problem("manifest.schema", where, what, do=_ASK)]))


def _at_line(pointer: str, where: str) -> str:
    """A pointer into the list of assets as a place in the shard: `<uri>:<line>/member`."""
    match = _AT_LINE.fullmatch(pointer)
    return f"{where}:{int(match[1]) + 1}{match[2]}" if match else where
