"""Answers of a store that mean the same over https and S3, in one wording."""

from __future__ import annotations

import re
from typing import Final

from databom.errors import StorageError, UnreachableError

MAX_RETRY_AFTER: Final = 3600.0


class BusyError(UnreachableError):
    """429, 5xx and their likes; `retry_after` is how many seconds the store asked to be left alone."""

    retry_after: float = 0.0


def busy(where: str, said: str, retry_after: str | None) -> BusyError:
    """The store may answer later. `retry_after` is the header's text, if there was one."""
    error = BusyError(
        f"{where}: the store is busy or failing ({said})",
        where=where,
        hint="run this again later; finished assets are kept",
    )
    # The HTTP-date form is rare and needs the server's clock; it is treated as absent.
    if retry_after is not None and re.fullmatch(r"[0-9]{1,20}", retry_after.strip()):
        error.retry_after = min(float(retry_after), MAX_RETRY_AFTER)
    return error


def redirected(where: str) -> StorageError:
    """A redirect we refuse to follow; its target is not shown, it may be a presigned URL."""
    return StorageError(
        f"{where}: the store answered with a redirect that is refused",
        where=where,
        hint="name the final location (for a bucket: its own endpoint or region) instead",
    )


def encoded(where: str) -> StorageError:
    """A body with a Content-Encoding: digests are over the stored bytes, and nothing is inflated here."""
    return StorageError(
        f"{where}: the body has a Content-Encoding; databom reads bytes as they are and decompresses nothing",
        where=where,
        hint="store the object without Content-Encoding, or switch off compression in the proxy",
    )


def unexpected(where: str, status: int) -> StorageError:
    """A status that answers a question we did not ask."""
    return StorageError(f"{where}: the store gave an unexpected answer (HTTP {status})", where=where)
