"""Buckets, read by obstore where it is installed and can be told what databom insists on (docs/adr/0011).

`FastReader` is an `S3Reader` whose requests for bytes go through obstore: same server, same credentials, same errors,
a tenth of the processor time. Whatever obstore cannot do (`fastclient.access`), or answers in a way that it refuses to
hand over, s3fs does, one object or all of them. Writing and listing are s3fs's in any case.

obstore's threads do not survive a fork, and a read would then wait for ever: a forked child reads by s3fs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import threading
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, Self

from databom.errors import ConfigError, DatabomError, StorageError, UnreachableError
from databom.storage import answers, fastclient, s3errors
from databom.storage.headers import kept
from databom.storage.reader import PATIENCE, Pace, Patience, truncated
from databom.storage.s3 import S3Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from databom.storage.location import Location
    from databom.storage.reader import Stream

PARALLEL: Final = 32
"""Objects asked for at a time. Waiting costs obstore nothing, and a distant store answers after 50 ms."""

# As obstore prints its errors: one field a line, texts of others escaped into one line.
_STATUS: Final = re.compile(r"^\s+status: ([0-9]{3}),$", re.MULTILINE)
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_NOWHERE: Final = re.compile(rf"^\s+{re.escape(fastclient.NOWHERE)},$", re.MULTILINE)
_BUILTIN: Final = {
    "FileNotFoundError": 404,
    "UnauthenticatedError": 401,
    "PermissionDeniedError": 403,
    "AlreadyExistsError": 409,
    "PreconditionError": 412,
    "NotModifiedError": 304,
}


def bucket_reader(root: Location, patience: Patience = PATIENCE) -> S3Reader:
    """The best reader there is for a bucket."""
    if importlib.util.find_spec("obstore") is None:
        return S3Reader(root, patience)
    return FastReader(root, patience)


class FastReader(S3Reader):
    """Reads objects below `s3://bucket/prefix` or `r2://bucket/prefix` through obstore."""

    parallel = PARALLEL

    def _reset(self) -> None:
        super()._reset()
        self._place: fastclient.Access | None = None
        self._asked = False
        self._keys: fastclient.Keys | None = None
        self._store: Any = None
        self._fast_lock = threading.Lock()

    def _forget(self) -> None:
        super()._forget()
        with self._fast_lock:
            self._place, self._asked, self._store = None, False, None

    def _get(self, location: Location) -> Stream:
        store = None if _is_forked() or not self._is_plain(location) else self._client()
        if store is None:
            return super()._get(location)
        failure: DatabomError | None
        try:
            from obstore import get

            return FastStream(get(store, location.path), location, self._patience)
        except BaseException as error:  # noqa: BLE001  # translated, all but Ctrl-C
            failure = _failed(error, location)
        if failure is None:
            return super()._get(location)
        # Outside the handler: the original, whose text is the server's, is not chained to ours.
        raise failure

    def _is_plain(self, location: Location) -> bool:
        """Whether obstore takes the key as it is: it drops slashes at either end and refuses empty parts."""
        return location.host == self._root.host and "" not in location.path.split("/")

    def _client(self) -> Any:
        """The store for the credentials of this moment, or None."""
        with self._fast_lock:
            if not self._asked:
                self._place = fastclient.access(self._root.scheme)
                self._asked = True
            if self._place is None:
                return None
            try:
                keys = self._place.keys()
                if self._store is None or keys != self._keys:
                    self._store = fastclient.store(self._root.host, self._place, keys, self._patience)
                    self._keys = keys
            except Exception:  # noqa: BLE001  # no fresh credentials, no certificates: s3fs meets it too, and says it
                self._place = None
            return None if self._place is None else self._store


class FastStream:
    """One object's body, in the pieces it comes in."""

    def __init__(self, result: Any, location: Location, patience: Patience) -> None:
        self._attributes, self._meta = result.attributes, result.meta
        coding = str(self._attributes.get("Content-Encoding") or "identity")
        if coding.lower() != "identity":
            raise answers.encoded(location.shown)
        self.length: int | None = int(self._meta["size"])
        # One byte at least: a larger piece would be waited for, however slowly it comes.
        self._pieces: Iterator[bytes] | None = iter(result.stream(min_chunk_size=1))
        self._location = location
        self._pace = Pace(patience, location.shown)
        self._ahead = b""
        self._left = self.length or 0

    @property
    def headers(self) -> dict[str, str]:
        """What obstore hands on of the answer's headers."""
        from email.utils import format_datetime

        meta, modified = self._meta, self._meta.get("last_modified")
        said = {
            **self._attributes,
            "Content-Length": meta["size"],
            "ETag": meta.get("e_tag"),
            "Last-Modified": None
            if modified is None
            else format_datetime(modified.astimezone(UTC), usegmt=True),
            "x-amz-version-id": meta.get("version"),
        }
        return kept({str(name): value for name, value in said.items() if value is not None})

    def read(self, n: int, /) -> bytes:
        """At least one and at most `n` bytes; `b""` at the end; see `Stream.read`."""
        data, self._ahead = self._ahead or self._next(), b""
        if len(data) > n:
            data, self._ahead = data[:n], data[n:]
        return data

    def _next(self) -> bytes:
        if not self._left or self._pieces is None:
            return b""
        start = time.monotonic()
        failure: DatabomError | None
        try:
            piece = bytes(next(self._pieces, b""))
        except BaseException as error:  # noqa: BLE001  # translated, all but Ctrl-C
            failure = _broken(error, self._location, (self.length or 0) - self._left, self.length)
        else:
            self._pace.add(time.monotonic() - start, len(piece))
            self._left -= len(piece)
            if piece:
                return piece
            failure = truncated(self._location.shown, (self.length or 0) - self._left, self.length)
        raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Dropping an unfinished body drops its connection.
        self._pieces = None


# --- what obstore raises ---------------------------------------------------------------------------


def _failed(error: BaseException, location: Location) -> DatabomError | None:
    """What stands for an error of a request; None where s3fs must be asked. Its text is read, never repeated."""
    _require_foreign(error)
    if isinstance(error, DatabomError):
        return error
    if isinstance(error, ValueError):
        return None  # a key it does not take: s3fs is less particular
    where, text = location.shown, str(error)
    status = list(_STATUS.finditer(text))
    number = int(status[-1][1]) if status else _BUILTIN.get(type(error).__name__)
    if number is not None:
        # The last one, and what follows it: before it stands what the server and the path say.
        code = _CODE.search(text, status[-1].end()) if status else None
        response = {
            "Error": {"Code": code[1] if code else ""},
            "ResponseMetadata": {"HTTPStatusCode": number},
        }
        return s3errors.answered(response, where, location.scheme)
    if _NOWHERE.search(text) or "kind: Redirect" in text or "BareRedirect" in text:
        return answers.redirected(where)
    if "source: Header {" in text:
        return None  # no length, a date in a form of its own: s3fs is less particular
    if "InvalidCertificate" in text or "kind: InvalidData" in text:
        return StorageError(
            f"{where}: the store's TLS certificate was not accepted",
            where=where,
            hint="if a private authority signed it, name its certificates in AWS_CA_BUNDLE",
        )
    if "source: BadScheme" in text or "kind: Builder" in text:
        return ConfigError(
            f"{where}: the S3 configuration cannot be used",
            hint="check AWS_ENDPOINT_URL_S3, AWS_REGION and the bucket's name",
        )
    late = "kind: Timeout" in text
    return UnreachableError(
        f"{where}: the store {'did not answer in time' if late else 'could not be reached'}",
        where=where,
        hint="check the network and AWS_ENDPOINT_URL_S3 or R2_ACCOUNT_ID",
    )


def _broken(error: BaseException, location: Location, done: int, length: int | None) -> DatabomError:
    """What stands for an error in the middle of a body."""
    _require_foreign(error)
    if isinstance(error, DatabomError):
        return error
    where, text = location.shown, str(error)
    if "IncompleteBody" in text or "UnexpectedEof" in text:
        return truncated(where, done, length)
    late = "kind: Timeout" in text
    return UnreachableError(
        f"{where}: the connection {'fell silent' if late else 'failed'} after about {done} bytes",
        where=where,
        hint="run this again; finished assets are kept",
    )


def _require_foreign(error: BaseException) -> None:
    """Raise again what is nobody's error (Ctrl-C); a panic of Rust derives from `BaseException` too."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


# --- forks -----------------------------------------------------------------------------------------

_forked = False


def _is_forked() -> bool:
    return _forked


def _note_fork() -> None:
    global _forked  # noqa: PLW0603  # a fact about the process
    _forked = _forked or "obstore" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
if "obstore" in sys.modules and "multiprocessing" in sys.modules:
    from multiprocessing import parent_process

    # Somebody used obstore before databom was imported; in a child, that may have been the parent.
    _forked = parent_process() is not None
