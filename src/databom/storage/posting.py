"""Sending one small document to an address that the user named, and waiting no longer than asked for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from databom.errors import DatabomError, StorageError, UnreachableError
from databom.storage.https import new_pool, proxy_for, translate
from databom.storage.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE: Final = Patience(connect=3.0, idle=5.0)


def post_json(url: str, body: bytes, *, seconds: float) -> None:
    """POST `body` to an https address. Certificates are verified; no redirect is followed; the answer is not read.

    The address may hold a secret: errors name its host alone.

    Raises:
        UnreachableError: no answer within `seconds`.
        StorageError: the answer is no 2xx.
    """
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            _post(url, body)
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
            failures.append(error)

    # Name resolution has no time limit of its own; a daemon thread keeps nobody waiting.
    _within(attempt, seconds, urlsplit(url).hostname or "")
    if failures:
        raise failures[0]


def _within(call: Callable[[], None], seconds: float, where: str) -> None:
    thread = threading.Thread(target=call, name="databom-post", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise UnreachableError(f"{where}: no answer within {seconds:.0f} s", where=where)


def _post(url: str, body: bytes) -> None:
    parts = urlsplit(url)
    where = parts.hostname or ""
    failure: Exception
    try:
        with new_pool(proxy_for(parts.netloc), _PATIENCE) as pool:
            response = pool.urlopen(
                "POST",
                url,
                body=body,
                headers={"Content-Type": "application/json", "User-Agent": "databom"},
                redirect=False,
                retries=False,
                preload_content=False,
            )
            response.close()
            status = response.status
    except Exception as error:  # noqa: BLE001  # translated, all of it
        failure = translate(error, where)
    else:
        if 200 <= status < 300:
            return
        failure = StorageError(f"{where}: it answered HTTP {status}", where=where)
    if not isinstance(failure, DatabomError):
        raise UnreachableError(f"{where}: it could not be told", where=where)
    # Outside the handler: urllib3's exceptions hold the URL, and are not chained to ours.
    raise failure
