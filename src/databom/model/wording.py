"""Why a manifest was refused, in words: every problem, each with its JSON pointer.

The published JSON Schema (draft 2020-12) is the reference; jsonschema is imported only here, only once a
document has been refused: it takes 0.13 s to import and 30 µs an asset.
"""

from __future__ import annotations

import json
from importlib import resources
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from databom.errors import Problem
from databom.model import times
from databom.model.doubts import pointer
from databom.model.paths import find_problems
from databom.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_PROBLEMS = 100
FOUND_CHARS = 80
_STAND_IN = {"path": "a", "sha256": "0" * 64}
_DO = "ask the publisher for a corrected release; the manifest is signed, so do not edit it"


def schema() -> dict[str, Any]:
    """The published JSON Schema of a manifest, `urn:databom:schema:manifest:v1`."""
    text = resources.files("databom.model").joinpath("schemas/manifest.v1.json").read_bytes()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validator(part: str | None = None) -> Any:
    """A jsonschema validator of the schema, or of one of its `$defs`; it also asks whether a date exists."""
    from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker(formats=())
    formats.checks("date-time", raises=ValueError)(_is_instant)
    whole = schema()
    if part is not None:
        whole = {"$schema": whole["$schema"], "$defs": whole["$defs"], "$ref": f"#/$defs/{part}"}
    return Draft202012Validator(whole, format_checker=formats)


def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or times.parse(value) is not None


def explain(document: Any, is_good_asset: Callable[[Any], bool]) -> list[Problem]:
    """Every problem of a strictly parsed document that was refused, at most `MAX_PROBLEMS`.

    `is_good_asset` says quickly that an asset needs no second look, so that one bad asset in a million is
    found in seconds.
    """
    found = chain(
        _schema_problems(document, is_good_asset), _path_problems(document), _uri_problems(document)
    )
    return list(islice(found, MAX_PROBLEMS))


def explain_assets(assets: list[Any], is_good_asset: Callable[[Any], bool]) -> Iterator[Problem]:
    """Every problem of a list of assets that stands alone; the pointers begin with `/assets`."""
    yield from _asset_problems(assets, is_good_asset)
    yield from _path_problems({"assets": assets})


def _schema_problems(document: Any, is_good_asset: Callable[[Any], bool]) -> Iterator[Problem]:
    assets = document.get("assets") if isinstance(document, dict) else None
    if not isinstance(assets, list) or not assets:
        yield from _words(validator().iter_errors(document), ())
        return
    yield from _words(validator().iter_errors({**document, "assets": [_STAND_IN]}), ())
    yield from _asset_problems(assets, is_good_asset)


def _asset_problems(assets: list[Any], is_good_asset: Callable[[Any], bool]) -> Iterator[Problem]:
    asset_validator = validator("asset")
    for index, asset in enumerate(assets):
        if not is_good_asset(asset):
            yield from _words(asset_validator.iter_errors(asset), ("assets", index))


def _path_problems(document: Any) -> Iterator[Problem]:
    assets = document.get("assets") if isinstance(document, dict) else None
    if isinstance(assets, list):
        paths = ((index, asset.get("path")) for index, asset in enumerate(assets) if isinstance(asset, dict))
        yield from find_problems((index, path) for index, path in paths if isinstance(path, str))


def _uri_problems(document: Any) -> Iterator[Problem]:
    from databom.model.shards import URI_RULE, uri_problem

    index = document.get("asset_index") if isinstance(document, dict) else None
    for number, shard in enumerate(index if isinstance(index, list) else ()):
        uri = shard.get("uri") if isinstance(shard, dict) else None
        if isinstance(uri, str) and (problem := uri_problem(uri)) is not None:
            yield Problem(
                "manifest.path",
                pointer(("asset_index", number, "uri")),
                f"the uri of the shard {problem}",
                expected=URI_RULE,
                found=printable(uri.partition("?")[0]),
                do=_DO,
            )


def _words(errors: Iterable[Any], place: tuple[str | int, ...]) -> Iterator[Problem]:
    told = set()
    for error in errors:
        where = (*place, *error.absolute_path)
        if error.validator == "required":
            # jsonschema gives each missing member an error of its own, and names it only in the message.
            missing = [name for name in error.validator_value if error.message.startswith(f"'{name}' ")]
            for name in missing:
                yield Problem("manifest.schema", pointer((*where, name)), f"{name} is missing", do=_DO)
            continue
        expected = error.schema["description"]
        if (where, expected) not in told:  # one value may break several rules of one description
            told.add((where, expected))
            name = next((part for part in reversed(where) if isinstance(part, str)), "the manifest")
            yield Problem(
                "manifest.schema",
                pointer(where),
                f"{printable(name, 60)} must be {expected}",
                expected=expected,
                found=_found(error.instance),
                do=_DO,
            )


def _found(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {len(value):,} member{'' if len(value) == 1 else 's'}"
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    return printable(json.dumps(value, ensure_ascii=False), FOUND_CHARS)
