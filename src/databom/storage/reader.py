"""The seam between "where" and "bytes": readers and streams.

A reader opens assets below a root; a stream gives the bytes of one, in order, once. Neither is trusted: every
transport below has been seen to return wrong bytes without an error, so whoever reads hashes while reading,
stops at the declared size + 1 and believes nothing before the digest matches.

What a transport can tell apart, it must: `MissingError` (the store says no), `DeniedError` (not for you),
`TruncatedError` (the body ended before its announced length), `UnreachableError` (no usable answer).
"""

from __future__ import annotations

import io
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from databom.errors import (
    ConfigError,
    DatabomError,
    DeniedError,
    InputError,
    MissingError,
    Problem,
    StorageError,
    TruncatedError,
    UnreachableError,
    UnsafeFileError,
)
from databom.storage.location import Location
from databom.storage.patience import PATIENCE, Pace, Patience, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from fsspec import AbstractFileSystem

T = TypeVar("T")

__all__ = [
    "CHUNK",
    "PATIENCE",
    "FsspecReader",
    "Pace",
    "Patience",
    "Reader",
    "RemoteReader",
    "Stream",
    "open_reader",
    "read_document",
    "read_optional_document",
    "truncated",
    "with_retries",
]

CHUNK: Final = 1024 * 1024
"""Bytes asked for at a time: large enough that calls cost nothing, small enough for constant memory."""


class Stream(Protocol):
    """The bytes of one object, once, in order. A context manager; leaving it gives the connection back."""

    @property
    def length(self) -> int | None:
        """Bytes the store announced, None when it did not. A claim, never a proof."""

    def read(self, n: int, /) -> bytes:
        """At least one and at most `n` bytes; `b""` at the end.

        Raises:
            TruncatedError: the body ended before `length`.
            UnreachableError: the connection broke, fell silent or became too slow.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Reader(Protocol):
    """Opens the assets below one root. Safe to use from threads, and picklable: a copy connects anew."""

    @property
    def shown(self) -> str:
        """The root, as text that holds no secret."""

    def open(self, path: str, /) -> Stream:
        """The stream of the asset at the relative POSIX path `path`.

        Raises:
            MissingError: the store says there is no such object.
            DeniedError: it wants other or fresher credentials.
            UnreachableError: no usable answer, after the retries of `Patience`.
            StorageError: an answer we refuse: a redirect, an encoded body, a TLS failure.
        """


# --- readers ---------------------------------------------------------------------------------------


class RemoteReader(ABC):
    """What every remote reader shares: retries at open, and giving up on a store that has stopped answering.

    Without the second, a store that hangs would cost its full patience once per asset: days for a large
    release. After three opens in a row that spent all their retries the reader fails at once; one answer,
    even a refusal, closes the case.
    """

    _GIVE_UP_AFTER: Final = 3

    def __init__(self, root: Location, patience: Patience = PATIENCE) -> None:
        self._root = root
        self._patience = patience
        self._silent = 0

    @property
    def shown(self) -> str:
        """The root, without its query."""
        return self._root.shown

    def open(self, path: str, /) -> Stream:
        """The stream of the asset at `path`; see `Reader.open`."""
        return self.open_location(self._root.join(path), redirects=0)

    def open_location(self, location: Location, *, redirects: int) -> Stream:
        """The stream of one object, following at most `redirects` redirects (https only).

        Raises:
            StorageError: as `Reader.open`.
        """
        return self._patiently(lambda: self._open(location, redirects), location)

    def _patiently(self, call: Callable[[], T], location: Location) -> T:
        """Whatever `call` asks of the store, with retries, unless the store has stopped answering."""
        if self._silent >= self._GIVE_UP_AFTER:
            raise UnreachableError(
                f"{location.shown}: not tried: the store did not answer the last {self._silent} times",
                where=location.shown,
                hint="check the network and the store, then run this again; finished assets are kept",
            )
        patience = self._patience
        try:
            answer = with_retries(
                call,
                attempts=patience.attempts,
                budget=patience.budget,
                pause=patience.pause,
            )
        except UnreachableError:
            self._silent += 1
            raise
        except StorageError:
            self._silent = 0
            raise
        self._silent = 0
        return answer

    @abstractmethod
    def _open(self, location: Location, redirects: int) -> Stream:
        """One attempt."""

    def __getstate__(self) -> dict[str, Any]:
        # Connections, event loops and locks stay behind; the copy builds its own when it first opens.
        return {"_root": self._root, "_patience": self._patience, "_silent": 0}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shown}>"


class FsspecReader:
    """Reads below `root` of any fsspec filesystem: for callers who bring their own, and for `memory://`.

    fsspec's caches are switched off: one sequential pass, no read-ahead of another size, no stale bytes.
    """

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")

    @property
    def shown(self) -> str:
        """The protocol and the root."""
        protocol = self._fs.protocol
        return f"{protocol if isinstance(protocol, str) else protocol[0]}://{self._root.lstrip('/')}"

    def open(self, path: str, /) -> Stream:
        """The stream of the asset at `path`; see `Reader.open`."""
        Location("s3", "", self._root).join(path)  # the path rules, whatever the filesystem thinks of ".."
        where = f"{self.shown}/{path}"
        try:
            file = self._fs.open(f"{self._root}/{path}", "rb", cache_type="none")
        except Exception as error:
            raise _foreign(error, where) from error
        return _FsspecStream(file, where)


class _FsspecStream:
    def __init__(self, file: Any, where: str) -> None:
        self._file = file
        self._where = where
        self._done = 0
        size = getattr(file, "size", None)
        self.length: int | None = size if isinstance(size, int) else None

    def read(self, n: int, /) -> bytes:
        try:
            data: bytes = self._file.read(n)
        except Exception as error:
            raise _foreign(error, self._where) from error
        self._done += len(data)
        if not data and n and self.length is not None and self._done < self.length:
            raise truncated(self._where, self._done, self.length)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _foreign(error: Exception, where: str) -> DatabomError:
    """A filesystem's own exception in our words; only its type is repeated, its text may hold anything."""
    if isinstance(error, DatabomError):
        return error
    if isinstance(error, FileNotFoundError):
        return MissingError(f"{where}: no such object", where=where)
    if isinstance(error, PermissionError):
        return DeniedError(
            f"{where}: permission denied", where=where, hint="check the filesystem's credentials"
        )
    return UnreachableError(f"{where}: could not be read ({type(error).__name__})", where=where)


def truncated(where: str, done: int, length: int | None) -> TruncatedError:
    """The error for a body that ended before its announced length."""
    of = "its end" if length is None else f"the {length} bytes announced"
    return TruncatedError(
        f"{where}: the body ended after {done} bytes, before {of}",
        where=where,
        hint="run this again; if it repeats, the stored object or a proxy in between is damaged",
    )


def open_reader(
    location: Location,
    *,
    name: str | None = None,
    marketplace: str | None = None,
    patience: Patience = PATIENCE,
) -> Reader:
    """A reader for the assets below `location`. Connects only when the first asset is opened.

    Args:
        location: the asset root.
        name: the pin's name: `DATABOM_TOKEN_<NAME>` is looked up under it.
        marketplace: likewise. Pass only a marketplace the trust root vouched for, never one a manifest merely
            claims: the token goes to `location`'s host.
        patience: time limits.

    Raises:
        ConfigError: s3fs is not installed, or `R2_ACCOUNT_ID` is missing (raised at the first open).
    """
    if location.is_local:
        from databom.storage.tree import LocalTree

        return LocalTree(location.local_path)
    return _remote(location, name, marketplace, patience)


def _remote(
    location: Location, name: str | None, marketplace: str | None, patience: Patience
) -> RemoteReader:
    if location.is_bucket:
        from databom.storage.fast import bucket_reader

        return bucket_reader(location, patience)
    from databom.storage.https import HttpsReader

    return HttpsReader(location, name=name, marketplace=marketplace, patience=patience)


# --- documents -------------------------------------------------------------------------------------


def read_document(
    location: Location,
    *,
    limit: int,
    name: str | None = None,
    marketplace: str | None = None,
    patience: Patience = PATIENCE,
) -> bytes:
    """The bytes of one document, exactly as stored: a manifest or its envelope.

    Over https up to three redirects to the same origin are followed; nothing is decompressed.

    Args:
        location: where it is.
        limit: bytes at most; reading stops at the first byte beyond it.
        name: the pin's name, for `DATABOM_TOKEN_<NAME>`.
        marketplace: likewise; see `open_reader`.
        patience: time limits.

    Raises:
        InputError: `manifest.limit`: it is larger than `limit`.
        MissingError: there is no such document.
        ConfigError: the location is a bucket, not an object in it.
        StorageError: it cannot be had.
    """
    if location.is_local:
        from databom.storage.files import read_bounded

        return read_bounded(location.local_path, limit)
    if location.is_bucket and (not location.path or location.path.endswith("/")):
        raise ConfigError(
            f"{location.shown} names no object",
            hint="name the manifest itself: s3://bucket/prefix/manifest.json",
        )
    reader = _remote(location, name, marketplace, patience)
    return with_retries(
        lambda: _read_all(reader, location, limit, patience),
        attempts=patience.attempts,
        budget=patience.budget,
        pause=patience.pause,
    )


def read_optional_document(
    location: Location,
    *,
    limit: int,
    name: str | None = None,
    marketplace: str | None = None,
    patience: Patience = PATIENCE,
) -> bytes | None:
    """Like `read_document`, but None when the store says there is no such document.

    Raises:
        DeniedError: 403. A bucket that may not be listed answers so for a missing object too (AWS S3 without
            ListBucket, some R2 tokens); the hint says it, and nothing is assumed.
        StorageError: it cannot be had.
        InputError: `manifest.limit`: it is larger than `limit`.
    """
    try:
        return read_document(location, limit=limit, name=name, marketplace=marketplace, patience=patience)
    except MissingError:
        if location.is_local and location.local_path.is_symlink():
            # A link that leads nowhere is something, and must not pass for nothing.
            raise UnsafeFileError(
                f"{location.shown} is a link that leads nowhere", where=location.shown
            ) from None
        return None
    except DeniedError as error:
        if location.is_bucket and error.hint is not None:
            error.hint += (
                ". A store that does not allow these credentials to list the bucket also answers this for an "
                "object that does not exist: allow listing, or put the document there"
            )
        raise


def _read_all(reader: RemoteReader, location: Location, limit: int, patience: Patience) -> bytes:
    too_large = InputError(
        Problem(
            "manifest.limit",
            location.shown,
            "the document is larger than databom reads",
            expected=f"at most {limit} bytes",
            do="ask the publisher for a smaller document; its assets are not part of it",
        )
    )
    start = time.monotonic()
    data = io.BytesIO()  # gives its bytes away without copying them
    with reader.open_location(location, redirects=3) as stream:
        if stream.length is not None and stream.length > limit:
            raise too_large
        while chunk := stream.read(min(CHUNK, limit + 1 - data.tell())):
            data.write(chunk)
            if data.tell() > limit:
                raise too_large
            if time.monotonic() - start > patience.document:
                raise UnreachableError(
                    f"{location.shown}: not complete after {patience.document:.0f} s", where=location.shown
                )
    return data.getvalue()
