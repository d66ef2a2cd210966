"""Locations: the only texts databom takes for "where".

A location is a local path, `s3://bucket/key`, `r2://bucket/key` or `https://host/path`. Everything else is
refused here, once: fsspec knows over fifty protocols and chains them (`simplecache::file:///etc/hostname` is
a working URL), so an allow-list is the only list that holds.

What may be secret never leaves the object: the query of a presigned URL sits in `secret_query`, which neither
`str()`, `repr()`, `shown` nor `stored` contains, and a URL with a user name or password is refused without
repeating it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, Literal, NoReturn
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from databom.errors import ConfigError, InputError, Problem

Scheme = Literal["file", "s3", "r2", "https"]

_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*):")
_BUCKET: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._\-]{1,62}$")
_HOST: Final = re.compile(r"^[a-z0-9]([a-z0-9.\-]*[a-z0-9])?$")
# RFC 3986 pchar and "/": what a path may hold unescaped; "%" stays, the user has already escaped.
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~-._"
_ACCEPTED: Final = "a local path, s3://bucket/prefix, r2://bucket/prefix or https://host/path"
MAX_CHARACTERS: Final = 8192


class Location(Struct, frozen=True, eq=False):
    """Where a document or a tree of assets is. Make one with `parse_location`, never by hand.

    `host` is the bucket for `s3` and `r2`, the authority (`host[:port]`) for `https`, empty for local paths.
    `path` is an absolute local path, an object key without leading slash, or a percent-encoded URL path.
    """

    scheme: Scheme
    host: str
    path: str
    base: str | None = None
    secret_query: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and self._whole() == other._whole()

    def __hash__(self) -> int:
        return hash(self._whole())

    def _whole(self) -> tuple[str, str, str, str | None]:
        return self.scheme, self.host, self.path, self.secret_query

    def __repr__(self) -> str:
        return f"<Location {self.shown}>"  # a query may be a secret

    @property
    def is_local(self) -> bool:
        """Whether this is a path of this machine."""
        return self.scheme == "file"

    @property
    def is_bucket(self) -> bool:
        """Whether this is an object store that speaks S3 (AWS S3, Cloudflare R2 and their likes)."""
        return self.scheme in {"s3", "r2"}

    @property
    def local_path(self) -> Path:
        """The absolute path.

        Raises:
            ConfigError: the location is not local.
        """
        if not self.is_local:
            raise ConfigError(f"{self.shown} is not a local path")
        return Path(self.path)

    @property
    def stored(self) -> str:
        """The text for lock files: never a query; inside the project's folder a relative POSIX path."""
        if not self.is_local:
            return f"{self.scheme}://{self.host}" + ("/" if self.is_bucket and self.path else "") + self.path
        if self.base is not None and (self.path == self.base or self.path.startswith(_with_slash(self.base))):
            relative = self.path[len(_with_slash(self.base)) :] or "."
            # `a:b` would be read back as a scheme.
            return f"./{relative}" if _SCHEME.match(relative) else relative
        return self.path

    @property
    def shown(self) -> str:
        """The text for people: safe in messages, reports and logs."""
        return self.stored

    @property
    def name(self) -> str:
        """The last part of the path, percent-decoded for https."""
        last = self.path.rstrip("/").rpartition("/")[2]
        return unquote(last) if self.scheme == "https" else last

    @property
    def parent(self) -> Location:
        """The directory that holds this document: where its assets are unless somebody says otherwise."""
        head = self.path.rstrip("/").rpartition("/")[0] if self.is_local else self.path.rpartition("/")[0]
        return self._at(head or ("" if self.is_bucket else "/"))

    def join(self, asset: str) -> Location:
        """The location of the asset at the relative POSIX path `asset` below this one.

        The path is taken literally: never as a URL, never percent-decoded, and a query of this location is
        not carried over, since a presigned query belongs to one object.

        Raises:
            InputError: `manifest.path`: the path is absolute, empty, or has an empty, `.` or `..` part.
        """
        parts = asset.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\0" in asset:
            raise InputError(
                Problem(
                    "manifest.path",
                    _printable(asset),
                    "an asset's path is relative and has no empty, '.' or '..' part",
                    do="ask the publisher for a release whose paths stay below its root",
                )
            )
        tail = quote(asset, safe="/") if self.scheme == "https" else asset
        head = self.path.rstrip("/")
        return self._at(f"{head}/{tail}" if head or not self.is_bucket else tail)

    def sibling(self, suffix: str) -> Location:
        """The document whose name is this one's plus `suffix`, for instance `.dsse`; without the query."""
        return self._at(self.path + suffix)

    def _at(self, path: str) -> Location:
        return replace(self, path=path, secret_query=None)

    def __str__(self) -> str:
        return self.shown


def parse_location(text: str, *, base: Path | None = None, from_document: bool = False) -> Location:
    """Read a location as a user types it or as a document states it.

    Accepted are an absolute local path, a local path relative to `base` (by default the working directory),
    `s3://bucket[/key]`, `r2://bucket[/key]` and `https://host[:port][/path][?query]`. Nothing is looked up.

    Args:
        text: the location. It is not expanded: no `~`, no variables, no globs.
        base: the project's folder; what lies inside it is stored relative to it.
        from_document: whether the text comes from a manifest, a lock or another document.

    Raises:
        ConfigError: anything else, when a user typed it.
        InputError: `manifest.path`: anything else, when a document said it.
    """
    refuse = _Refusal(from_document)
    if not text or text != text.strip() or len(text) > MAX_CHARACTERS:
        refuse("a location is not empty, has no blanks around it and at most 8192 characters")
    if any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in text):
        refuse("a location has no control characters and is valid Unicode")
    scheme = _SCHEME.match(text)
    name = scheme[1].lower() if scheme else None
    if "::" in text and not (name == "https" and text.partition("::")[0].count("[") == 1):
        refuse("chained locations ('::') are not accepted")
    if name is None:
        return _local(text, base)
    rest = text[len(name) + 1 :]
    if name not in {"s3", "r2", "https"} or not rest.startswith("//"):
        refuse(f"{name}: is not accepted" if name != "http" else "http: is not accepted, only https:")
    return _https(text, refuse) if name == "https" else _bucket(name, rest[2:], refuse)


class _Refusal:
    """Raises the right error; the text it gets never repeats what might hold a password or a query."""

    def __init__(self, from_document: bool) -> None:  # one caller, ten lines above
        self.from_document = from_document

    def __call__(self, why: str, shown: str | None = None) -> NoReturn:
        do = f"use {_ACCEPTED}"
        if self.from_document:
            raise InputError(Problem("manifest.path", shown, why, do=do))
        raise ConfigError(f"{why}: {shown}" if shown else why, hint=do)


def _local(text: str, base: Path | None) -> Location:
    # abspath, not resolve: a location is a text, and nothing is looked up to make one.
    folder = os.path.abspath(base if base is not None else Path.cwd())  # noqa: PTH100
    path = os.path.abspath(os.path.join(folder, text))  # noqa: PTH100, PTH118
    return Location("file", "", path, base=folder if base is not None else None)


def _bucket(scheme: str, rest: str, refuse: _Refusal) -> Location:
    bucket, _, key = rest.partition("/")
    if "@" in bucket:
        refuse(f"a {scheme}: location has no user name or password; use the AWS_* variables")
    if not _BUCKET.match(bucket):
        refuse(f"{scheme}: needs the name of a bucket (letters, digits, '.', '-', '_')")
    if "?" in key or "#" in key:
        refuse(f"a {scheme}: location has no query or fragment", f"{scheme}://{bucket}/…")
    if any(part in {".", ".."} for part in key.split("/")) or key.startswith("/"):
        refuse("a bucket's key has no leading '/', '.' or '..' part", f"{scheme}://{bucket}/…")
    return Location("s3" if scheme == "s3" else "r2", bucket, key)


def _https(text: str, refuse: _Refusal) -> Location:
    if "\\" in text or " " in text:
        refuse("an https: location has no backslash and no blank")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        # urllib's own message repeats the authority, and a mistyped password may sit there.
        refuse("the host or port of this https: location cannot be read")
    if "@" in parts.netloc:
        refuse("an https: location has no user name or password; use netrc or DATABOM_TOKEN_<NAME>")
    if "#" in text:
        refuse("an https: location has no fragment")
    literal = ":" in host
    if not literal and not _HOST.match(host):
        refuse(
            "an https: location needs a host of ASCII letters, digits, '.' and '-' (write xn-- names encoded)"
        )
    authority = (f"[{host}]" if literal else host) + (f":{port}" if port not in {None, 443} else "")
    path = quote(parts.path or "/", safe=_PATH_SAFE)
    if any(unquote(part) in {".", ".."} for part in path.split("/")):
        refuse("an https: location has no '.' or '..' part", f"https://{authority}/…")
    query = quote(parts.query, safe=_PATH_SAFE + "?[]") or None
    return Location("https", authority, path, secret_query=query)


def _with_slash(folder: str) -> str:
    return folder if folder.endswith("/") else folder + "/"


def _printable(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")[:200]
