"""Sending one small document to an address that the user named, and waiting no longer than asked for."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from databom.errors import DatabomError, StorageError, UnreachableError
from databom.storage.https import new_pool, proxy_for, translate
from databom.storage.patience import Patience, within

_PATIENCE: Final = Patience(connect=3.0, idle=5.0)


def post_json(url: str, body: bytes, *, seconds: float) -> None:
    """POST `body` to an https address. Certificates are verified; no redirect is followed; the answer is not read.

    The address may hold a secret: errors name its host alone.

    Raises:
        UnreachableError: no answer within `seconds`.
        StorageError: the answer is no 2xx.
    """
    within(lambda: _post(url, body), seconds, urlsplit(url).hostname or "")


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
