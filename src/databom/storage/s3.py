"""Buckets: reading, listing and storing objects of Cloudflare R2, AWS S3 and their likes.

`s3client` says which server is asked, as whom and how; this module says what. One GET reads one object from its
start to its end, in constant memory: `cat` and `get` of s3fs read parallel ranges, and have returned files with
holes of zeros at the right length. One PUT stores one object and carries its SHA-256.

The coroutines run on fsspec's event loop; everything else may be called from any thread, and after a fork.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar

from databom.errors import StorageError, UnreachableError
from databom.storage import answers, s3errors
from databom.storage.headers import kept
from databom.storage.posix import storage_error
from databom.storage.reader import CHUNK, PATIENCE, Pace, Patience, RemoteReader, truncated, with_retries
from databom.storage.s3client import filesystem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from databom.storage.location import Location
    from databom.storage.reader import Stream

T = TypeVar("T")

MAX_SINGLE_PUT: Final = 4_995 * 1024 * 1024
"""Bytes R2 takes in one PUT; above it an upload has parts, and its stored checksum is not the file's."""


class Statement(NamedTuple):
    """What a store says about an object. `sha256` is bare hex, and None unless it is of the whole object."""

    size: int
    sha256: str | None


class S3Reader(RemoteReader):
    """Reads objects below `s3://bucket/prefix` or `r2://bucket/prefix`: one GET each, constant memory."""

    def __init__(self, root: Location, patience: Patience = PATIENCE) -> None:
        super().__init__(root, patience)
        self._reset()

    def _reset(self) -> None:
        self._fs: Any = None
        self._pid = 0
        self._lock = threading.Lock()
        self._renewed = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _filesystem(self) -> Any:
        # A forked child has no event loop thread: what its parent built would wait for ever.
        if self._pid != os.getpid():
            self._reset()
            self._pid = os.getpid()
        with self._lock:
            if self._fs is None:
                self._fs = filesystem(self._root.scheme, self._patience)
            return self._fs

    def _open(self, location: Location, redirects: int) -> Stream:  # noqa: ARG002  # S3 has none we follow
        return self._renewing(lambda: self._get(location))

    def stat(self, path: str, /) -> Statement:
        """What the store recorded about the object at `path`: its statement, and no more than that.

        Raises:
            StorageError: as `Reader.open`.
        """
        location = self._root.join(path)
        return self._patiently(
            lambda: self._renewing(lambda: self._run(location, _head, location, self._patience)), location
        )

    def _renewing(self, call: Callable[[], T]) -> T:
        try:
            answer = call()
        except s3errors.ExpiredError:
            # Files and helpers that hold credentials may have fresh ones. Once, not once per asset.
            if self._renewed:
                raise
            self._renewed = True
            self._forget()
            answer = call()
        self._renewed = False
        return answer

    def _get(self, location: Location) -> Stream:
        """One request."""
        return self._run(location, _get, location, self._patience)

    def _forget(self) -> None:
        """Drop the client, and the credentials it holds."""
        self._fs = None

    def _run(self, location: Location, call: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        from fsspec.asyn import sync

        fs = self._filesystem()
        failure: Exception
        try:
            result: T = sync(fs.loop, call, fs, *args)
        except Exception as error:  # noqa: BLE001  # translated, all of it
            failure = s3errors.translate(error, location.shown, location.scheme)
        else:
            return result
        # Outside the handler: the original, whose text is the server's, is not chained to ours.
        raise failure

    def walk(self) -> Iterator[tuple[str, str]]:
        """Every object below the root as `(path, "file")`, paths relative to it, as the store lists them.

        Raises:
            StorageError: the bucket cannot be listed.
        """
        prefix = self._root.path.rstrip("/") + "/" if self._root.path.strip("/") else ""
        token: str | None = None
        while True:
            page = self._run(self._root, _list, self._root.host, prefix, token, self._patience)
            for entry in page.get("Contents", ()):
                yield entry["Key"][len(prefix) :], "file"
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not token:
                return

    def put(self, path: str, data: bytes | Path, *, if_absent: bool = False) -> None:
        """Store one object below the root; see `put_object`."""
        self.put_at(self._root.join(path), data, if_absent=if_absent)

    def put_at(self, location: Location, data: bytes | Path, *, if_absent: bool = False) -> None:
        """Store one object; see `put_object`."""
        with open_body(data) as body:
            if body.seek(0, os.SEEK_END) > MAX_SINGLE_PUT:
                raise StorageError(
                    f"{location.shown}: larger than one PUT may be ({MAX_SINGLE_PUT} bytes)",
                    where=location.shown,
                    hint="upload it with rclone or wrangler; databom verifies it just the same",
                )
            body.seek(0)
            digest = hashlib.file_digest(body, "sha256").digest()
        condition = {"IfNoneMatch": "*"} if if_absent else {}

        def once() -> None:
            with open_body(data) as body:
                self._run(location, put_body, location, body, digest, condition)

        patience = self._patience
        try:
            with_retries(once, attempts=patience.attempts, budget=patience.budget, pause=patience.pause)
        except s3errors.ConflictError:
            if self._stored_digest(location) != digest:
                raise

    def _stored_digest(self, location: Location) -> bytes:
        state = hashlib.sha256()
        with self.open_location(location, redirects=0) as stream:
            while chunk := stream.read(CHUNK):
                state.update(chunk)
        return state.digest()

    def make_bucket(self) -> None:
        """Create the root's bucket unless it exists."""
        self._run(self._root, _make_bucket, self._root.host, self._patience)


class S3Stream:
    """One object's body. Its first piece comes with the answer: a small object costs one trip to the loop."""

    def __init__(self, fs: Any, answer: Any, where: str, patience: Patience) -> None:
        self._loop = fs.loop
        self._body = answer["Body"]
        self.length: int | None = answer.get("ContentLength")
        self._said = answer["ResponseMetadata"]
        self._where = where
        self._patience = patience
        self._pace = Pace(patience, where)
        self._ahead: bytes | Exception | None = None
        self._done = 0

    @property
    def headers(self) -> dict[str, str]:
        """What may be kept of the answer's headers."""
        return kept(self._said.get("HTTPHeaders") or {})

    def read(self, n: int, /) -> bytes:
        """At least one and at most `n` bytes; `b""` at the end; see `Stream.read`."""
        from fsspec.asyn import sync

        ahead, self._ahead = self._ahead, None
        if isinstance(ahead, Exception):
            raise ahead
        if ahead is not None:
            if len(ahead) > n:
                ahead, self._ahead = ahead[:n], ahead[n:]
            self._done += len(ahead)
            return ahead
        if n == 0 or (self.length is not None and self._done >= self.length):
            return b""
        failure: Exception
        try:
            data: bytes = sync(self._loop, self._fill, n)
        except Exception as error:  # noqa: BLE001  # translated, all of it
            failure = self._failed(error)
        else:
            self._done += len(data)
            if data or self.length is None:
                return data
            failure = truncated(self._where, self._done, self.length)
        raise failure

    async def prefetch(self) -> None:
        """Read the first piece; a failure is kept for `read`, whose place it is to raise it."""
        try:
            self._ahead = await self._fill(CHUNK)
        except Exception as error:  # noqa: BLE001  # kept, translated
            self._ahead = self._failed(error)

    async def _fill(self, n: int) -> bytes:
        # Gather what comes within a second: few trips on a fast line, a verdict in time on a slow one.
        data = bytearray()
        start = time.monotonic()
        async with asyncio.timeout(self._patience.idle + 1):
            while len(data) < n and time.monotonic() - start < 1:
                piece = await self._body.read(n - len(data))
                if not piece:
                    break
                data += piece
        self._pace.add(time.monotonic() - start, len(data))
        return bytes(data)

    def _failed(self, error: Exception) -> Exception:
        done, length = self._done, self.length
        if s3errors.is_truncation(error):
            return truncated(self._where, done, length)
        if isinstance(error, StorageError):
            return error
        return UnreachableError(
            f"{self._where}: the connection failed after about {done} bytes ({type(error).__name__})",
            where=self._where,
            hint="run this again; finished assets are kept",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Thread-safe: closing an unfinished body drops its connection, on the loop that owns it.
        self._loop.call_soon_threadsafe(self._body.close)


# --- what runs on fsspec's event loop --------------------------------------------------------------


async def _get(fs: Any, location: Location, patience: Patience) -> S3Stream:
    # Not fs.call_s3: its wrapper retries on its own and turns the server's text into a message.
    async with asyncio.timeout(patience.connect + patience.idle):
        client = await fs.set_session()
        answer = await client.get_object(Bucket=location.host, Key=location.path)
    where = location.shown
    encoding = answer.get("ContentEncoding") or "identity"
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    if encoding.lower() != "identity" or status != 200:
        answer["Body"].close()
        raise answers.encoded(where) if status == 200 else answers.unexpected(where, status)
    stream = S3Stream(fs, answer, where, patience)
    await stream.prefetch()
    return stream


async def _head(fs: Any, location: Location, patience: Patience) -> Statement:
    async with asyncio.timeout(patience.connect + patience.idle):
        client = await fs.set_session()
        answer = await client.head_object(Bucket=location.host, Key=location.path, ChecksumMode="ENABLED")
    return Statement(int(answer.get("ContentLength") or 0), _whole_sha256(answer))


def _whole_sha256(answer: Any) -> str | None:
    """The SHA-256 of the whole object; that of a multipart upload is one over its parts', and says `-2` at its end."""
    if answer.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":  # many stores leave it out
        return None
    try:
        digest = base64.b64decode(answer.get("ChecksumSHA256") or "", validate=True)
    except ValueError:
        return None
    return digest.hex() if len(digest) == hashlib.sha256().digest_size else None


async def _list(fs: Any, bucket: str, prefix: str, token: str | None, patience: Patience) -> dict[str, Any]:
    async with asyncio.timeout(patience.connect + patience.idle):
        client = await fs.set_session()
        more = {"ContinuationToken": token} if token else {}
        page: dict[str, Any] = await client.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
        return page


async def put_body(fs: Any, location: Location, body: Any, digest: bytes, condition: dict[str, str]) -> None:
    """One PUT that carries its SHA-256; `condition` is what the store must find first."""
    # A store that hangs ends this by the read time-out; a large body on a slow line may take its time.
    client = await fs.set_session()
    # The value, never ChecksumAlgorithm: that makes a trailer again, which R2 refuses.
    checksum = base64.b64encode(digest).decode("ascii")
    await client.put_object(
        Bucket=location.host, Key=location.path, Body=body, ChecksumSHA256=checksum, **condition
    )


async def _make_bucket(fs: Any, bucket: str, patience: Patience) -> None:
    async with asyncio.timeout(patience.connect + patience.idle):
        client = await fs.set_session()
        try:
            await client.create_bucket(Bucket=bucket)
        except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            return


# --- writing ---------------------------------------------------------------------------------------


def put_object(
    location: Location, data: bytes | Path, *, if_absent: bool = False, patience: Patience = PATIENCE
) -> None:
    """Store one object with a single PUT that carries its SHA-256, so that the store refuses damaged bytes.

    To store many, keep one `S3Reader` and use its `put`.

    Args:
        location: a bucket location with a key.
        data: the bytes, or the file that holds them (at most `MAX_SINGLE_PUT` bytes).
        if_absent: refuse to overwrite. An object that is there with the very same bytes is a success: an
            acknowledgement that was lost must not look like somebody else's write.
        patience: time limits.

    Raises:
        ConflictError: `if_absent`, and the object exists with other bytes.
        StorageError: it could not be stored.
    """
    S3Reader(location, patience).put_at(location, data, if_absent=if_absent)


def make_bucket(location: Location, *, patience: Patience = PATIENCE) -> None:
    """Create the location's bucket; one that exists already is fine.

    Raises:
        StorageError: it could not be created.
    """
    S3Reader(location, patience).make_bucket()


def open_body(data: bytes | Path) -> io.BytesIO | io.BufferedReader:
    """Bytes or a file, to be read from the start.

    Raises:
        StorageError: the file cannot be read.
    """
    if isinstance(data, bytes):
        return io.BytesIO(data)
    try:
        return data.open("rb")
    except OSError as error:
        raise storage_error(error, os.fspath(data), "read") from error
