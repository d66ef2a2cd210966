"""The S3 client: the one module that owns the s3fs configuration Cloudflare R2 needs.

`s3://` means the usual AWS environment (`AWS_*` variables, profiles, `AWS_ENDPOINT_URL_S3`). `r2://` means
the same credentials at `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` if set, else at the R2 endpoint of
`R2_ACCOUNT_ID` (and `R2_JURISDICTION`, `eu` or `fedramp`), there always in region `auto`.

Why the defaults of s3fs will not do:

* botocore 1.36 and later adds a CRC32 trailer to uploads, which R2 refuses (501, or "Unauthorized"), over
  https only: hence `when_required`. R2 refuses uploads in unequal parts: hence `fixed_upload_size`.
* s3fs retries five times around botocore's five: a store that hangs costs 31 minutes. Here botocore and s3fs
  try once, and `reader.with_retries` is the one place that tries again.
* `cat` and `get` read in parallel ranges and have returned files with holes of zeros at the right length.
  Here one GET reads one object from start to end.
* aiohttp follows redirects to any host. Here none is followed, and neither is botocore's own region redirect.
* s3fs puts the server's text into its exceptions, and servers echo signatures. Here every text is ours.
"""

from __future__ import annotations

import functools
import os
import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from databom.errors import ConfigError, StorageError
from databom.storage.patience import PATIENCE, Patience
from databom.storage.redact import hide_secrets_in_logs

if TYPE_CHECKING:
    from collections.abc import Mapping

_R2_HOST: Final = ".r2.cloudflarestorage.com"
_JURISDICTIONS: Final = {"": "", "default": "", "eu": ".eu", "fedramp": ".fedramp"}
_MAX_CONNECTIONS: Final = 64


class Settings(Struct, frozen=True):
    """Where requests go and how they are signed; None means botocore's own choice."""

    endpoint: str | None
    region: str | None
    path_style: bool


def settings(
    scheme: str, environ: Mapping[str, str] = os.environ, profile: Mapping[str, str] | None = None
) -> Settings:
    """Resolve the endpoint and region of an `s3` or `r2` location.

    Args:
        scheme: `s3` or `r2`.
        environ: the environment.
        profile: the selected profile of the AWS configuration files, if any.

    Raises:
        ConfigError: `r2` without an endpoint and without a usable `R2_ACCOUNT_ID`.
    """
    endpoint = None
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        endpoint = (
            environ.get("AWS_ENDPOINT_URL_S3")
            or environ.get("AWS_ENDPOINT_URL")
            or (profile or {}).get("endpoint_url")
        )
    if endpoint is None and scheme == "r2":
        endpoint = _r2_endpoint(environ)
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or (profile or {}).get("region")
    if is_cloudflare(endpoint) or (scheme == "r2" and not region):
        region = "auto"
    return Settings(endpoint, region, path_style=endpoint is not None)


def is_cloudflare(endpoint: str | None) -> bool:
    """Whether an endpoint is Cloudflare's own."""
    host = re.sub(r"^[a-z]+://", "", endpoint or "").partition("/")[0].partition(":")[0].lower()
    return host.endswith(_R2_HOST)


def _r2_endpoint(environ: Mapping[str, str]) -> str:
    account = environ.get("R2_ACCOUNT_ID", "")
    jurisdiction = environ.get("R2_JURISDICTION", "").lower()
    if not account:
        raise ConfigError(
            "an r2:// location needs to know the account",
            hint="set R2_ACCOUNT_ID (or AWS_ENDPOINT_URL_S3), AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    # The account becomes part of a host name: nothing in it may end that host name early.
    if not re.fullmatch(r"[A-Za-z0-9]{1,64}", account):
        raise ConfigError(
            "R2_ACCOUNT_ID is not an account id",
            hint="copy the 32 hex digits from the R2 page of the dashboard",
        )
    if jurisdiction not in _JURISDICTIONS:
        raise ConfigError(
            "R2_JURISDICTION is not a jurisdiction of R2", hint="use eu, fedramp, or leave it unset"
        )
    return f"https://{account}{_JURISDICTIONS[jurisdiction]}{_R2_HOST}"


def filesystem(scheme: str, patience: Patience = PATIENCE) -> Any:
    """A new `s3fs.S3FileSystem`, configured for R2 and for not trusting anybody. Nothing connects yet.

    Raises:
        ConfigError: s3fs is missing or too old, the profile does not exist, or `settings` refuses.
    """
    try:
        import s3fs
        from aiobotocore.config import AioConfig
        from aiobotocore.session import AioSession
        from botocore.exceptions import ProfileNotFound
    except ImportError:
        raise ConfigError(
            f"{scheme}:// locations need s3fs, which is not installed", hint="pip install 'databom[s3]'"
        ) from None
    hide_secrets_in_logs()
    session = AioSession()
    session.register("before-call.s3", _no_region_redirect)
    try:
        resolved = settings(scheme, profile=session.get_scoped_config())
    except ProfileNotFound as error:
        raise ConfigError(
            "AWS_PROFILE names a profile that the AWS configuration files do not have",
            hint="check AWS_PROFILE, or unset it and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from error
    config = {
        "signature_version": "s3v4",
        "s3": {"addressing_style": "path" if resolved.path_style else "auto"},
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "connect_timeout": patience.connect,
        "read_timeout": patience.idle,
        "max_pool_connections": _MAX_CONNECTIONS,
        "http_session_cls": _session_without_redirects(),
    }
    try:
        AioConfig(**config)
    except (TypeError, ValueError):
        raise ConfigError(
            "the installed aiobotocore is too old for databom", hint="pip install -U 'databom[s3]'"
        ) from None
    # Everything is said here: fsspec's configuration files and variables fill in only what is left out.
    fs = s3fs.S3FileSystem(
        anon=False,
        key=None,
        secret=None,
        token=None,
        use_ssl=True,
        endpoint_url=resolved.endpoint,
        client_kwargs={"region_name": resolved.region} if resolved.region else {},
        config_kwargs=config,
        s3_additional_kwargs={},
        requester_pays=False,
        version_aware=False,
        session=session,
        fixed_upload_size=True,
        max_concurrency=1,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    fs.retries = 1
    return fs


def _no_region_redirect(params: dict[str, Any], **_: object) -> None:
    """Tell botocore that the region redirect has happened: the store's answer must not choose the host."""
    params.setdefault("context", {}).setdefault("s3_redirect", {})["redirected"] = True


@functools.cache
def _session_without_redirects() -> type:
    from aiobotocore.httpsession import AIOHTTPSession

    class Unredirected:
        """An aiohttp session whose every request says allow_redirects=False; its default is to follow ten."""

        def __init__(self, session: Any) -> None:
            self._session = session

        async def request(self, *args: Any, **kwargs: Any) -> Any:
            return await self._session.request(*args, **{**kwargs, "allow_redirects": False})

    class Session(AIOHTTPSession):  # type: ignore[misc]
        async def _get_session(self, proxy_url: str | None) -> Any:
            return Unredirected(await super()._get_session(proxy_url))

        async def send(self, request: Any) -> Any:
            response = await super().send(request)
            # If an aiobotocore to come stops calling _get_session, this fails closed.
            if response.raw.history:
                raise StorageError("a redirect was followed although databom forbids it")
            return response

    return Session
