"""Croissant 1.0 and 1.1 (MLCommons) as a manifest: what such a document claims, said in the manifest's own members.

`translate` maps the parsed JSON; `manifest.read_manifest` then holds the result to every rule a manifest has.

| Croissant | manifest |
|---|---|
| `name`, `version` (else `datePublished`) | `dataset_id`, `version` |
| `license` | `license.spdx`: SPDX and Creative Commons URLs by their id, several joined by AND, others a LicenseRef |
| `creator` | `creator_id`: its `@id`, `url` or `name` |
| `datePublished`, when it is a full time | `issued_at` |
| `distribution`: each FileObject | an asset: `contentUrl`, `sha256`, `contentSize`, `encodingFormat` |

A FileSet names files by a glob and carries no digests, so it cannot be pinned; one inside an archive that is
pinned needs nothing more. No context is ever fetched (`jsonld`). All other members are kept in silence, since
JSON-LD documents have very many; the signature covers them.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from databom.errors import InputError, Problem
from databom.model import times
from databom.model.claims import MAX_ID_CHARS, MAX_URI_CHARS
from databom.model.jsonld import CROISSANT, DUBLIN_CORE, SCHEMA_ORG, Names, items, reference
from databom.model.licenses import spdx_of
from databom.model.text import printable

_CONFORMS = re.compile(r"https?://mlcommons\.org/croissant/([0-9][0-9.]*)/?")
_VERSIONS = ("1.0", "1.1")
_CONTEXTS = frozenset(
    (
        *SCHEMA_ORG,
        *(space.rstrip("/") for space in SCHEMA_ORG),
        *(space + version for space in CROISSANT for version in _VERSIONS),
    )
)
_TOP = frozenset(("name", "version", "license", "creator", "datePublished", "distribution", "isLiveDataset"))
_FILE = frozenset(("contentUrl", "contentSize", "encodingFormat", "sha256", "md5", "containedIn"))
_READ = _TOP | _FILE | {"conformsTo", "url"}
_CLASSES = frozenset(("Dataset", "FileObject", "FileSet"))
_NATIVE = ("dataset_id", "assets")
_SIZE = re.compile(r"([0-9]{1,16})(?: ?(?:B|bytes?))?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")
_ASSET = re.compile(r"/assets/([0-9]+)(/[a-z0-9_]+)?")
_MEMBERS = {
    "/path": "/contentUrl",
    "/sha256": "/sha256",
    "/size": "/contentSize",
    "/media_type": "/encodingFormat",
    "/dataset_id": "/name",
    "/creator_id": "/creator",
    "/issued_at": "/datePublished",
    "/assets": "/distribution",
}
_DO = "ask the publisher for a corrected Croissant file; it is signed, so do not edit it"
_NO_DIGESTS = (
    "ask the publisher to list each file as a FileObject with its sha256, or to put the files into one archive "
    "that is a FileObject with a sha256, and name it in containedIn"
)


class Translation(NamedTuple):
    """A Croissant document in the manifest's members, not yet held to the manifest's rules."""

    claims: dict[str, Any]
    indexes: tuple[int, ...]
    """For each asset, its index in `distribution`."""

    def told(self, problem: Problem) -> Problem:
        """A problem of `claims`, worded about the Croissant document."""
        return problem._replace(
            subject=self._where(problem.subject or ""),
            what=f"read as a manifest: {_ASSET.sub(self._place, problem.what)}",
            do=_DO,
        )

    def _where(self, pointer: str) -> str:
        if _ASSET.match(pointer):
            return _ASSET.sub(self._place, pointer, count=1)
        return _MEMBERS.get(pointer, pointer)

    def _place(self, found: re.Match[str]) -> str:
        member = found[2] or ""
        return f"/distribution/{self.indexes[int(found[1])]}{_MEMBERS.get(member, member)}"


def is_croissant(document: object) -> bool:
    """Whether a parsed document says of itself that it is Croissant, of whatever version."""
    if not isinstance(document, dict) or "@context" not in document:
        return False
    return any(_CONFORMS.fullmatch(one) for one in _conforms(document))


def translate(document: dict[str, Any]) -> Translation:
    """What a document for which `is_croissant` holds claims, in the manifest's members.

    Raises:
        InputError: `manifest.schema`, with every problem found: another version, a context that changes
            meanings, files that nothing pins, absolute URLs, a live dataset.
    """
    return _Reader(document).read()


def _conforms(document: dict[str, Any]) -> list[str]:
    names = ("conformsTo", "dct:conformsTo", *(f"{space}conformsTo" for space in DUBLIN_CORE))
    found = [reference(one) for name in names for one in items(document.get(name))]
    return [one for one in found if one is not None]


class _Reader:
    """One reading of one document; problems are collected, so that a publisher sees all of them at once."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.names = Names(
            document["@context"], read=_READ, classes=_CLASSES, fetched=_CONTEXTS, refuse=self.refuse
        )

    def read(self) -> Translation:
        top = self.names.members(self.document, "")
        self.of_form(top)
        claims = {
            "dataset_id": top.get("name"),
            "version": self.version(top),
            "license": _license(top.get("license")),
            "creator_id": _creators(top.get("creator")),
            "issued_at": _instant(top.get("datePublished")),
        }
        assets, indexes = self.assets(top.get("distribution"))
        if not self.problems and not assets:
            self.refuse("/distribution", "the document lists no file", "FileObjects with a sha256", "none")
        if self.problems:
            raise InputError(*self.problems[:100])
        return Translation({**claims, "assets": assets}, tuple(indexes))

    def refuse(
        self, where: str, what: str, expected: str | None = None, found: object = None, do: str = _DO
    ) -> None:
        shown = None if found is None else printable(str(found), 80)
        self.problems.append(Problem("manifest.schema", printable(where), what, expected, shown, do))

    # --- the document ---

    def of_form(self, top: dict[str, Any]) -> None:
        versions = [match[1] for one in _conforms(self.document) if (match := _CONFORMS.fullmatch(one))]
        if not set(versions) <= set(_VERSIONS):
            what = "this version of Croissant is not read"
            self.refuse("/conformsTo", what, "Croissant 1.0 or 1.1", ", ".join(versions))
        if "Dataset" not in self.names.types(self.document):
            self.refuse("/@type", "a Croissant document describes a dataset", "sc:Dataset", "another type")
        both = [name for name in _NATIVE if name in self.document]
        if both:
            what = "the document is a manifest and a Croissant document at once, so two readers would differ"
            self.refuse(f"/{both[0]}", what, "one of the two", ", ".join(both))
        if top.get("isLiveDataset") not in (None, False):
            what = "a live dataset changes, so no digest can pin it"
            do = "ask the publisher for a release that does not change: a snapshot, with its own version"
            self.refuse("/isLiveDataset", what, "false, or absent", top["isLiveDataset"], do)

    def version(self, top: dict[str, Any]) -> Any:
        stated = top.get("version", top.get("datePublished"))
        if stated is None:
            what = "the document states neither version nor datePublished, so the release has no name"
            self.refuse("/version", what, "version, as text")
        return str(stated) if isinstance(stated, int) and not isinstance(stated, bool) else stated

    # --- the files ---

    def assets(self, distribution: Any) -> tuple[list[dict[str, Any]], list[int]]:
        entries = items(distribution)
        parts: list[tuple[str, dict[str, Any] | None, bool]] = []
        for index, entry in enumerate(entries):
            where = f"/distribution/{index}"
            kinds = self.names.types(entry) if isinstance(entry, dict) else set()
            if kinds not in ({"FileObject"}, {"FileSet"}):
                self.refuse(where, "this is neither a file nor a set of files", "cr:FileObject or cr:FileSet")
                parts.append(("", None, False))
                continue
            members = self.names.members(entry, where)
            name = entry.get("@id", members.get("name"))
            parts.append((name if isinstance(name, str) else "", members, kinds == {"FileSet"}))
        self.of_names(parts)
        by_name = {name: (plain, is_set) for name, plain, is_set in parts if name and plain is not None}
        assets, indexes = [], []
        for index, (name, plain, is_set) in enumerate(parts):
            where = f"/distribution/{index}"
            if plain is None:
                continue
            if "containedIn" in plain:
                if not _is_pinned(plain, by_name):
                    what = f"nothing pins {self.noun(name, is_set)}: what it is contained in has no sha256"
                    self.refuse(where, what, "containedIn a FileObject with a sha256", do=_NO_DIGESTS)
            elif is_set:
                what = f"{self.noun(name, True)}: a FileSet without digests cannot be pinned"
                self.refuse(where, what, "FileObjects with a sha256", "a FileSet", do=_NO_DIGESTS)
            else:
                assets.append(self.asset(where, name, plain))
                indexes.append(index)
        return assets, indexes

    def of_names(self, parts: list[tuple[str, dict[str, Any] | None, bool]]) -> None:
        seen: set[str] = set()
        for index, (name, _, _) in enumerate(parts):
            if name and name in seen:
                self.refuse(f"/distribution/{index}/@id", "two entries share one @id", "each @id once", name)
            seen.add(name)

    def noun(self, name: str, is_set: bool) -> str:
        return f"the {'FileSet' if is_set else 'FileObject'} {printable(name, 80)!r}"

    def asset(self, where: str, name: str, plain: dict[str, Any]) -> dict[str, Any]:
        if "sha256" not in plain:
            found = "an md5, which anyone can forge" if "md5" in plain else "no digest"
            what = f"{self.noun(name, False)} has no sha256, so its bytes cannot be proven"
            self.refuse(where, what, "sha256, 64 lower-case hexadecimal digits", found, _NO_DIGESTS)
        path = plain.get("contentUrl")
        if not isinstance(path, str):
            self.refuse(
                f"{where}/contentUrl", "the file has no contentUrl", "a path relative to this document"
            )
        elif _ABSOLUTE.match(path):
            what = "the file lies at an absolute URL, where this document's folder does not reach"
            do = "ask the publisher to name files relative to the Croissant file; a mirror is named with --root"
            self.refuse(
                f"{where}/contentUrl", what, "a path relative to this document", path.partition("?")[0], do
            )
        elif not {"%", "?", "#"}.isdisjoint(path):
            what = "the path can be read as a URL or as a file's name, with different results"
            self.refuse(f"{where}/contentUrl", what, "a path without %, ? and #", path.partition("?")[0])
        media = next(iter(items(plain.get("encodingFormat"))), None)
        members = {"path": path, "sha256": plain.get("sha256"), "size": _size(plain), "media_type": media}
        return {name: member for name, member in members.items() if member is not None}


def _is_pinned(plain: dict[str, Any], by_name: dict[str, tuple[dict[str, Any], bool]]) -> bool:
    """Whether each thing that holds this part is, in the end, a file with a digest of its own."""
    todo, seen = [reference(one) for one in items(plain["containedIn"])], set()
    if not todo:
        return False
    while todo:
        name = todo.pop()
        if name is None or name in seen or name not in by_name:
            return False
        seen.add(name)
        holder, is_set = by_name[name]
        if "containedIn" in holder:
            todo += [reference(one) for one in items(holder["containedIn"])] or [None]
        elif is_set or "sha256" not in holder:
            return False
    return True


def _size(plain: dict[str, Any]) -> int | None:
    """The size where it is stated in bytes; `3 MB` is a rounded number and bounds nothing."""
    stated = plain.get("contentSize")
    if isinstance(stated, int) and not isinstance(stated, bool):
        return stated
    match = _SIZE.fullmatch(stated) if isinstance(stated, str) else None
    return int(match[1]) if match else None


def _instant(value: Any) -> str | None:
    try:
        times.parse(value)
    except (ValueError, TypeError):
        return None
    return str(value)


def _named(value: Any, *names: str) -> str | None:
    """The first text an object states under these names; a text stands for itself."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return None
    found = (value.get(prefix + name) for name in names for prefix in ("", "sc:", "schema:"))
    # A blank node's id (`_:b0`) names nobody outside the document.
    return next((one for one in found if isinstance(one, str) and one and not one.startswith("_:")), None)


def _creators(value: Any) -> str | None:
    names = [one for one in (_named(item, "@id", "url", "name") for item in items(value)) if one]
    if not names:
        return None
    together = "; ".join(names)
    return together if len(together) <= MAX_ID_CHARS else f"{names[0]} and {len(names) - 1} more"


def _license(value: Any) -> dict[str, Any]:
    """All that is stated must be kept to: several licenses are joined by AND. Nothing stated is no license."""
    stated = [_named(item, "url", "@id", "name") or "" for item in items(value)]
    expressions = [(spdx_of(one), one) for one in stated if one.strip()]
    if len(expressions) < len(stated) or not expressions:  # one that cannot be read cannot be kept to
        return {}
    if len(expressions) > 1:
        parts = (f"({one})" if " " in one else one for one in dict.fromkeys(one for one, _ in expressions))
        return {"spdx": " AND ".join(parts)}
    expression, original = expressions[0]
    if "://" in original and len(original) <= MAX_URI_CHARS:
        return {"spdx": expression, "text": {"uri": original}}
    if expression != original and len(original) <= MAX_ID_CHARS:
        return {"spdx": expression, "type": original}
    return {"spdx": expression}
