"""Storing objects for good: each once, under a name that is never written again.

One PUT where one PUT can hold the object, with `If-None-Match: *` and the SHA-256 as a plain header: the store
refuses damaged bytes and takes nothing over what is there. Above that, parts of equal size (R2 takes no others), each
with its MD5 so that the store refuses a damaged one, and the condition at the end, when the parts become an object.

Not s3fs' own writers: `open(path, "xb")` with nothing written sends no condition and overwrites what is there, and its
412 comes as a bare `OSError`. Not obstore's fsspec writer either: it ignores `mode="create"`.

What a writer cannot know it says: `Stored.TAKEN` and `Stored.UNPROVEN` ask the caller to read the object back. An
acknowledgement that was lost looks like somebody else's write, and bytes that were put together by the store have no
checksum of the whole.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from databom.errors import DeniedError, MissingError, StorageError
from databom.storage.reader import PATIENCE, Patience, with_retries
from databom.storage.s3 import MAX_SINGLE_PUT, S3Reader, open_body, put_body
from databom.storage.s3client import is_cloudflare
from databom.storage.s3errors import ConflictError, ExpiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from databom.storage.location import Location

__all__ = ["MAX_SINGLE_PUT", "PART_BYTES", "Retention", "S3Writer", "Stored", "part_bytes"]

T = TypeVar("T")

PART_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a part, held in memory while it is sent; more only where an object would have too many parts."""
MAX_PARTS: Final = 10_000
MAX_OBJECT: Final = 5 * 1024**4
"""Bytes of the largest object S3 and R2 take."""
_MIB: Final = 1024 * 1024
_CONDITION: Final = {"IfNoneMatch": "*"}


class Stored(Enum):
    """What became of an object."""

    NEW = "new"
    """The store took it, and has compared its SHA-256 with the one we sent."""
    UNPROVEN = "unproven"
    """The store put it together from parts: only reading it back shows what it is."""
    TAKEN = "taken"
    """Something of this name is there, perhaps ours, and was not touched: only reading it back shows what it is."""


class Retention(Enum):
    """What S3 says about a bucket's object lock."""

    KEPT = "kept"
    """Every new object is kept from deletion by the bucket's default retention."""
    NONE = "none"
    UNKNOWN = "unknown"


def part_bytes(size: int, part: int = PART_BYTES) -> int:
    """The size of the parts of an object of `size` bytes: all equal, the last one at most as long, 10,000 at most."""
    least = -(-size // MAX_PARTS)
    return part if least <= part else -(-least // _MIB) * _MIB


class S3Writer(S3Reader):
    """Stores objects below `s3://bucket/prefix` or `r2://bucket/prefix`, and reads them back. For threads.

    Args:
        root: the bucket and the prefix.
        single: bytes up to which an object goes up in one PUT.
        part: bytes of a part above that; stores take none below 5 MiB.
        patience: time limits.
    """

    def __init__(
        self,
        root: Location,
        *,
        single: int = MAX_SINGLE_PUT,
        part: int = PART_BYTES,
        patience: Patience = PATIENCE,
    ) -> None:
        super().__init__(root, patience)
        self._single = min(single, MAX_SINGLE_PUT)
        self._part = part

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_single": self._single, "_part": self._part}

    @property
    def endpoint(self) -> str | None:
        """The URL requests go to, None where botocore chooses AWS's own.

        Raises:
            ConfigError: s3fs is missing, or the endpoint is not said.
        """
        endpoint: str | None = self._filesystem().endpoint_url
        return endpoint

    @property
    def is_cloudflare(self) -> bool:
        """Whether this is Cloudflare R2, as far as the location and the endpoint tell."""
        return self._root.scheme == "r2" or is_cloudflare(self.endpoint)

    def is_large(self, size: int) -> bool:
        """Whether an object of `size` bytes goes up in parts."""
        return size > self._single

    def store(self, key: str, data: bytes | Path, sha256: str) -> Stored:
        """Store one object under a name where nothing is yet; see the module.

        Args:
            key: its name below the root.
            data: the bytes, or a file that nobody changes meanwhile.
            sha256: their SHA-256, 64 hex digits.

        Raises:
            DeniedError: these credentials may not write there.
            UnreachableError: no usable answer, after the retries of `Patience`; the object may be there or not.
            StorageError: it is too large, or an answer we refuse.
        """
        location = self._root.join(key)
        with open_body(data) as body:
            size = body.seek(0, os.SEEK_END)
        if size > MAX_OBJECT:
            raise StorageError(
                f"{location.shown}: {size:,} bytes are more than an object can have", where=location.shown
            )
        try:
            if self.is_large(size):
                return self._store_parts(location, data, size)
            return self._store_whole(location, data, bytes.fromhex(sha256))
        except ConflictError:
            return Stored.TAKEN

    def default_retention(self) -> Retention:
        """Whether the bucket's object lock keeps what is stored from now on. Never asked of R2: its answer is a dummy.

        Raises:
            StorageError: no usable answer.
        """
        if self.is_cloudflare:
            return Retention.UNKNOWN
        try:
            found = self._sent(self._root, _object_lock, self._root.host)
        except DeniedError:
            return Retention.UNKNOWN
        except MissingError:
            return Retention.NONE
        settings = found.get("ObjectLockConfiguration", {})
        default = settings.get("Rule", {}).get("DefaultRetention", {})
        kept = settings.get("ObjectLockEnabled") == "Enabled" and default.get("Mode") == "COMPLIANCE"
        return Retention.KEPT if kept else Retention.NONE

    # --- one PUT ------------------------------------------------------------------------------

    def _store_whole(self, location: Location, data: bytes | Path, digest: bytes) -> Stored:
        def once() -> None:
            with open_body(data) as body:
                self._run(location, put_body, location, body, digest, _CONDITION)

        self._send(once)
        return Stored.NEW

    # --- parts --------------------------------------------------------------------------------

    def _store_parts(self, location: Location, data: bytes | Path, size: int) -> Stored:
        upload = self._sent(location, _create, location)
        try:
            etags: list[str] = []
            with open_body(data) as body:
                while piece := body.read(part_bytes(size, self._part)):
                    etags.append(self._sent(location, _part, location, upload, len(etags) + 1, piece))
            try:
                self._sent(location, _complete, location, upload, etags)
            except MissingError:
                # The upload is gone: an earlier attempt completed it and its answer was lost, or it was aborted.
                return Stored.TAKEN
        except BaseException:
            with contextlib.suppress(
                StorageError
            ):  # stores drop unfinished uploads by themselves, R2 after a week
                self._run(location, _abort, location, upload)
            raise
        return Stored.UNPROVEN

    # --- trying again -------------------------------------------------------------------------

    def _sent(self, location: Location, call: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        return self._send(lambda: self._run(location, call, *args))

    def _send(self, once: Callable[[], T]) -> T:
        """`once`, with the retries of `Patience`; with fresh credentials, one time, where those in use have expired."""

        def attempt() -> T:
            fs = self._filesystem()
            try:
                result = once()
            except ExpiredError:
                with self._lock:
                    if self._fs is fs:  # else another thread has renewed them meanwhile
                        if self._renewed:
                            raise
                        self._renewed, self._fs = True, None
                result = once()
            self._renewed = False
            return result

        patience = self._patience
        return with_retries(attempt, attempts=patience.attempts, budget=patience.budget, pause=patience.pause)


# --- what runs on fsspec's event loop --------------------------------------------------------------


async def _create(fs: Any, location: Location) -> str:
    client = await fs.set_session()
    answer = await client.create_multipart_upload(Bucket=location.host, Key=location.path)
    upload: str = answer["UploadId"]
    return upload


async def _part(fs: Any, location: Location, upload: str, number: int, data: bytes) -> str:
    client = await fs.set_session()
    # Content-MD5, not a checksum: parts may have one only where the upload announced an algorithm, and what R2 makes
    # of that announcement is not documented. It guards against damage on the way; the reading back proves.
    name = hashlib.md5(data, usedforsecurity=False).digest()
    answer = await client.upload_part(
        Bucket=location.host,
        Key=location.path,
        UploadId=upload,
        PartNumber=number,
        Body=data,
        ContentMD5=base64.b64encode(name).decode("ascii"),
    )
    etag: str = answer["ETag"]
    return etag


async def _complete(fs: Any, location: Location, upload: str, etags: list[str]) -> None:
    client = await fs.set_session()
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
    await client.complete_multipart_upload(
        Bucket=location.host,
        Key=location.path,
        UploadId=upload,
        MultipartUpload={"Parts": parts},
        **_CONDITION,
    )


async def _abort(fs: Any, location: Location, upload: str) -> None:
    client = await fs.set_session()
    await client.abort_multipart_upload(Bucket=location.host, Key=location.path, UploadId=upload)


async def _object_lock(fs: Any, bucket: str) -> dict[str, Any]:
    client = await fs.set_session()
    answer: dict[str, Any] = await client.get_object_lock_configuration(Bucket=bucket)
    return answer
