"""The fast S3 client: obstore, told everything that databom insists on; None where it cannot be told.

obstore (Rust) costs a tenth of the processor time of s3fs per object. It goes to the same server as the same user as
`s3client` would, or not at all: where that cannot be said, `access` answers None and s3fs reads.

Why the defaults of obstore will not do:

* It follows redirects to any host, hands a session token to whoever is there, and has no switch for it. Here every
  host but the endpoint's is behind a proxy that cannot exist (port 0 takes no connections), so that following one
  fails before a packet leaves. What stays possible is a redirect within the endpoint's own host: an answer of the same
  server, in a roundabout way.
* It reads two dozen `AWS_*` variables that no other client knows: `AWS_SKIP_SIGNATURE` makes it anonymous,
  `AWS_ENDPOINT_URL_S3` beats the endpoint it is given. Here everything is said, and credentials come from a function
  that only databom feeds.
* It retries ten times and resumes broken bodies. Here it tries once: `patience.with_retries` is the one place that
  tries again, from the first byte.
* It bounds a whole request to 30 seconds, body included. Here each wait is bounded, and `Pace` watches the body.
"""

from __future__ import annotations

import os
import re
import ssl
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from databom.storage.redact import hide_secrets_in_logs
from databom.storage.s3client import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from databom.storage.patience import Patience

NOWHERE: Final = "127.0.0.1:0"
"""The address of the proxy that cannot exist: an error that names it is a redirect somewhere else."""

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?")
_AWS_REGION: Final = re.compile(r"(af|ap|ca|eu|il|me|mx|sa|us)-(north|south|east|west|central)[a-z]*-[0-9]")
_DAYS: Final = "30 days"


class Keys(Struct, frozen=True):
    """What a request is signed with. Without a repr: it would show them."""

    key: str
    secret: str
    token: str | None

    def __repr__(self) -> str:
        return "<Keys>"


class Access:
    """Where requests go, and as whom: `keys` is asked before each one, so that refreshed credentials are used."""

    def __init__(self, endpoint: str, region: str, source: Keys | Any) -> None:
        self.endpoint = endpoint
        self.region = region
        self._source = source

    def keys(self) -> Keys:
        """The credentials of this moment.

        Raises:
            Exception: botocore's own, when they could not be refreshed; `s3errors.translate` knows them.
        """
        if isinstance(self._source, Keys):
            return self._source
        frozen = self._source.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)


def access(scheme: str, environ: Mapping[str, str] = os.environ) -> Access | None:
    """Resolve `s3` or `r2` as `s3client.filesystem` does; None where only s3fs does it right.

    None is also the answer when there are no credentials or no such profile: the careful client says what to do then.

    Raises:
        ConfigError: as `s3client.settings`.
    """
    profile: Mapping[str, Any] = {}
    source: Keys | Any = None
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret and not _has_files(environ):
        source = Keys(key, secret, environ.get("AWS_SESSION_TOKEN") or None)
    else:
        try:
            source, profile = _from_botocore()
        except Exception:  # noqa: BLE001  # whatever it is, s3fs meets it too, and its words are translated
            return None
    if source is None:
        return None
    resolved = settings(scheme, environ, profile)
    endpoint, region = resolved.endpoint, resolved.region
    if endpoint is None:
        if region is None or not _AWS_REGION.fullmatch(region) or _special(profile, environ):
            return None
        endpoint = f"https://s3.{region}.amazonaws.com"
    if not _is_plain(endpoint) or _has_own_authority(endpoint, profile, environ) or _is_proxied(endpoint):
        return None
    return Access(endpoint, region or "us-east-1", source)


def store(bucket: str, place: Access, keys: Keys, patience: Patience) -> Any:
    """A new `obstore.store.S3Store` for one bucket. Nothing connects yet."""
    from obstore.store import S3Store

    url = urlsplit(place.endpoint)
    credential = {
        "access_key_id": keys.key,
        "secret_access_key": keys.secret,
        "token": keys.token,
        "expires_at": None,
    }
    return S3Store(
        bucket,
        # Both names: a variable of the second would beat the first.
        endpoint=place.endpoint,
        aws_endpoint_url_s3=place.endpoint,
        region=place.region,
        virtual_hosted_style_request=False,
        skip_signature=False,
        unsigned_payload=False,
        request_payer=False,
        s3_express=False,
        credential_provider=lambda: credential,
        client_options={
            "allow_http": url.scheme == "http",
            "allow_invalid_certificates": False,
            "connect_timeout": timedelta(seconds=patience.connect),
            "read_timeout": timedelta(seconds=patience.idle),
            "timeout": _DAYS,
            "default_headers": {"accept-encoding": "identity"},
            "user_agent": "databom",
            "proxy_url": f"http://{NOWHERE}",
            "proxy_excludes": url.hostname or "",
        },
        retry_config={"max_retries": 0, "retry_timeout": timedelta(0)},
    )


def _from_botocore() -> tuple[Any, Mapping[str, Any]]:
    """The credentials and the profile that botocore finds: files, SSO, helpers, roles."""
    from botocore.session import Session

    hide_secrets_in_logs()
    session = Session()
    return session.get_credentials(), session.get_scoped_config()


def _has_files(environ: Mapping[str, str]) -> bool:
    """Whether a profile may have a say. Without one, botocore (a tenth of a second) need not be imported."""
    if environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE"):
        return True
    files = (
        environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    )
    return any(os.path.lexists(Path(name).expanduser()) for name in files)


def _special(profile: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether AWS is asked for endpoints of another kind: FIPS, dual stack, acceleration."""
    names = ("use_fips_endpoint", "use_dualstack_endpoint")
    return "s3" in profile or any(
        str(environ.get(f"AWS_{name.upper()}") or profile.get(name) or "false").lower() != "false"
        for name in names
    )


def _is_plain(endpoint: str) -> bool:
    """Whether an endpoint is scheme, host and port. obstore panics over some that are not."""
    try:
        url = urlsplit(endpoint)
        host, _ = url.hostname or "", url.port
    except ValueError:
        return False
    rest = (url.path.strip("/"), url.query, url.fragment, url.username, url.password)
    return url.scheme in {"http", "https"} and _HOST.fullmatch(host) is not None and not any(rest)


def _has_own_authority(endpoint: str, profile: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether certificates are named that obstore would not go by: it can add some to the system's, not replace them.

    It reads `SSL_CERT_FILE`, which does replace them, so the same file in both is fine.
    """
    named = environ.get("AWS_CA_BUNDLE") or profile.get("ca_bundle")
    if not named or not endpoint.startswith("https:"):
        return False
    usual = environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return not usual or os.path.realpath(named) != os.path.realpath(usual)


def _is_proxied(endpoint: str) -> bool:
    """Whether the environment names a proxy for the endpoint: the place of ours is taken."""
    from urllib.request import getproxies, proxy_bypass

    url = urlsplit(endpoint)
    proxies = getproxies()
    return bool(proxies.get(url.scheme) or proxies.get("all")) and not proxy_bypass(url.hostname or "")
