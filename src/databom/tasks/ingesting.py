"""Fetching assets: streamed, hashed while streaming, published only when they match.

Workers read and write temporary files; one thread, the caller's, publishes in batches, so that a flush is paid
once for many small files. A transport error is retried from the first byte, a mismatch never: the bad bytes
are handed to the caller as evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from databom.checks.integrity import Outcome, problem_of
from databom.errors import FullError, StorageError
from databom.model.manifest import Asset
from databom.storage.hashing import Measured, Sink, copy_verified
from databom.storage.headers import NONE, headers_of
from databom.storage.reader import Reader, with_retries
from databom.storage.staging import Staging, TempFile
from databom.storage.tree import LocalTree

WORKERS = 8
BATCH_FILES = 256
BATCH_BYTES = 256 * 1024 * 1024
"""A batch is published when it holds this much: what a crash may cost, and what one flush is shared by."""


class Fetched(NamedTuple):
    """One asset after its download, staged under a temporary name."""

    asset: Asset
    temp: TempFile
    measured: Measured
    matches: bool
    headers: Mapping[str, str] = NONE
    """Of the answer whose bytes did not match."""


def ingest(
    assets: Sequence[Asset],
    reader: Reader,
    staging: Staging,
    tree: LocalTree,
    *,
    md5: bool,
    set_aside: Callable[[Fetched], Outcome],
    advance: Callable[[int], None],
    watch: Callable[[Asset], Sequence[Sink]] = lambda _: (),
) -> Iterator[Outcome]:
    """Fetch `assets` into `staging` and publish them; yields an outcome for each, in no order.

    Args:
        assets: what to fetch.
        reader: where from.
        staging: where to; nothing there is ever overwritten.
        tree: the same folder as a reader, for the key of each published file.
        md5: also compute the MD5 that DVC wants.
        set_aside: called with each asset whose bytes do not match; keeps them, and says what the outcome is.
        advance: told the bytes of each asset that is done.
        watch: who else sees the bytes of an asset while they are fetched and hashed; asked anew for each attempt.

    Raises:
        FullError: no space left; what was published stays.
        StorageError: the local side failed.
    """
    batch: list[Fetched] = []
    held = 0
    for fetched in _downloads(assets, reader, staging, md5=md5, watch=watch):
        if isinstance(fetched, Outcome):
            advance(0)
            yield fetched
            continue
        advance(fetched.measured.size)
        if not fetched.matches:
            yield set_aside(fetched)
        else:
            batch.append(fetched)
            held += fetched.measured.size
        if len(batch) >= BATCH_FILES or held >= BATCH_BYTES:
            yield from _publish(batch, staging, tree)
            batch, held = [], 0
    yield from _publish(batch, staging, tree)


def _publish(batch: Sequence[Fetched], staging: Staging, tree: LocalTree) -> Iterator[Outcome]:
    if not batch:
        return
    staging.publish_all([(one.temp, one.asset.path) for one in batch])
    with tree.batch() as opener:
        for one in batch:
            size, sha256, md5, _ = one.measured
            # The key is taken after the file got its name: linking it changes its ctime.
            with opener.open(one.asset.path) as file:
                yield Outcome(one.asset.path, size, sha256, md5, stat=file.opened)


def _downloads(
    assets: Sequence[Asset],
    reader: Reader,
    staging: Staging,
    *,
    md5: bool,
    watch: Callable[[Asset], Sequence[Sink]],
) -> Iterator[Fetched | Outcome]:
    """Run the downloads with a bounded number in flight; a full disk stops the others at once."""
    waiting = iter(assets)
    running: set[Future[Fetched | Outcome]] = set()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="databom-ingest")
    try:
        while True:
            while len(running) < WORKERS * 2 and (asset := next(waiting, None)) is not None:
                running.add(pool.submit(_download, asset, reader, staging, md5=md5, watch=watch))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _download(
    asset: Asset, reader: Reader, staging: Staging, *, md5: bool, watch: Callable[[Asset], Sequence[Sink]]
) -> Fetched | Outcome:
    def attempt() -> Fetched:
        with reader.open(asset.path) as stream:
            temp = staging.create()
            try:
                measured, matches = copy_verified(
                    stream, temp, asset.sha256, asset.size, md5=md5, also=watch(asset)
                )
            except BaseException:
                temp.discard()
                raise
            return Fetched(asset, temp, measured, matches, NONE if matches else headers_of(stream))

    try:
        return with_retries(attempt)
    except FullError:
        raise
    except StorageError as error:
        return Outcome(asset.path, error=problem_of(error, asset.path))
