"""A bucket as a shelf: conditional writes decide, since nobody can be kept out.

What is written once has `If-None-Match: *`; what is replaced has `If-Match` with the tag it was read under (AWS S3, R2
and SeaweedFS answer 412 to the slower one). R2 takes one write a second under one name: replacing waits for that, and
a busy answer sends the caller to look whether somebody else has meanwhile written what he wanted.

Nothing is ever removed: a claim must outlive the slowest writer who may still come with another.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import random
import time
from typing import TYPE_CHECKING, Any, Final

from databom.errors import MissingError, StorageError, UnreachableError
from databom.storage.reader import PATIENCE, Patience, open_reader
from databom.storage.s3 import put_body
from databom.storage.s3errors import ConflictError
from databom.storage.s3upload import S3Writer, Stored
from databom.storage.shelf import WebShelf

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from databom.storage.location import Location

WRITE_EVERY: Final = 1.0
"""Seconds between two writes under one name (R2's limit; a good pace anywhere)."""
_AT_ONCE: Final = 8


class BucketShelf(WebShelf):
    """A shelf below `s3://bucket/prefix` or `r2://bucket/prefix`."""

    def __init__(self, location: Location, patience: Patience = PATIENCE) -> None:
        super().__init__(open_reader(location, patience=patience), patience)
        self._writer = _Tagged(location, patience=patience)
        self._written: dict[str, float] = {}

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps nobody out."""
        yield

    def claim(self, name: str, data: bytes, /) -> bool:
        """As `WritableShelf.claim`."""
        deadline = self._deadline()
        while True:
            try:
                if self._writer.store(name, data, hashlib.sha256(data).hexdigest()) is Stored.NEW:
                    return True
                # Taken: by somebody else, or by ourselves, whom the store's answer did not reach.
                return self.read(name, len(data)) == data
            except UnreachableError:
                # R2 also says "too fast" to whoever comes second: then the first one's is there.
                found = self.read(name, len(data))
                if found is not None:
                    return found == data
                if time.monotonic() > deadline:
                    raise
                _pause()

    def keep(self, files: Sequence[tuple[str, bytes]], /, *, derived: Collection[str] = ()) -> list[str]:  # noqa: ARG002
        """As `WritableShelf.keep`; a bucket loses nothing that it took."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_AT_ONCE, len(files)) or 1) as pool:
            kept = list(pool.map(lambda pair: self.claim(*pair), files))
        return [name for (name, _), done in zip(files, kept, strict=True) if not done]

    def update(self, name: str, change: Callable[[bytes | None], bytes | None], /) -> None:
        """As `WritableShelf.update`."""
        deadline = self._deadline()
        while True:
            since = time.monotonic() - self._written.get(name, float("-inf"))
            if since < WRITE_EVERY:
                time.sleep(WRITE_EVERY - since)
            found, tag = self._writer.tagged(name)
            data = change(found)
            if data is None:
                return
            try:
                self._writer.swap(name, data, tag)
            except (ConflictError, UnreachableError) as error:
                # Slower than another, too fast for R2, or an answer that was lost: reading again tells which.
                if time.monotonic() > deadline:
                    where = f"{self.shown}/{name}"
                    raise StorageError(
                        f"{where}: could not be replaced for {self._patience.budget:.0f} s: {error}",
                        where=where,
                    ) from error
                if isinstance(error, UnreachableError):
                    _pause()
                continue
            self._written[name] = time.monotonic()
            return

    def _deadline(self) -> float:
        return time.monotonic() + self._patience.budget

    def discard(self, names: Iterable[str], /) -> None:
        """Removes nothing."""


def _pause() -> None:
    time.sleep(WRITE_EVERY * random.uniform(0.3, 1))  # noqa: S311  # spreads load, keeps no secret


class _Tagged(S3Writer):
    """Reads an object with its entity tag, and replaces exactly what was read."""

    def tagged(self, key: str) -> tuple[bytes | None, str | None]:
        location = self._root.join(key)
        try:
            return self._sent(location, _get_tagged, location, self._patience)
        except MissingError:
            return None, None

    def swap(self, key: str, data: bytes, tag: str | None) -> None:
        """Replace the object that was read under `tag`; None: where none was.

        Raises:
            ConflictError: another is there, perhaps ours, whose answer was lost: read it.
            UnreachableError: too many writes, or an answer that was lost: it may be there or not.
            StorageError: it cannot be written.
        """
        location = self._root.join(key)
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        digest = hashlib.sha256(data).digest()
        try:
            self._run(location, put_body, location, io.BytesIO(data), digest, condition)
        except MissingError as error:  # what AWS answers to If-Match where nothing is
            raise ConflictError(f"{location.shown}: it is gone", where=location.shown) from error


async def _get_tagged(fs: Any, location: Location, patience: Patience) -> tuple[bytes, str]:
    async with asyncio.timeout(patience.connect + patience.idle):
        client = await fs.set_session()
        answer = await client.get_object(Bucket=location.host, Key=location.path)
        async with answer["Body"] as body:
            data: bytes = await body.read()
    return data, answer["ETag"]
