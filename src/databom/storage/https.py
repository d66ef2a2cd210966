"""https, by urllib3 (docs/adr/0003): the transport for marketplaces and plain web servers.

What it promises: certificates are always verified; bytes are never decompressed; assets follow no redirect,
documents at most three, to the same origin only; a server can neither hang nor drip a reader to death, not
even inside a TLS handshake, a header or a chunk frame; a token goes to the origin it is meant for and is
dropped on a redirect; the query of a presigned URL appears in no message.

Name resolution is the system's. That a name may point to a private address is accepted: whoever answers must
hold a certificate for that name, and only digests decide whether the bytes are right.
"""

from __future__ import annotations

import netrc
import os
import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urljoin, urlsplit

from databom.errors import ConfigError, DeniedError, InputError, MissingError, StorageError, UnreachableError
from databom.storage.answers import busy, encoded, redirected, unexpected
from databom.storage.headers import kept
from databom.storage.location import Location, parse_location
from databom.storage.reader import PATIENCE, Pace, Patience, RemoteReader, truncated
from databom.storage.redact import hide_secrets_in_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import urllib3

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_PRESIGNED: Final = re.compile(r"(?i)(^|&)(x-amz-signature|x-goog-signature|signature|sig)=")


class HttpsReader(RemoteReader):
    """Reads objects below `https://host/path`. Connections are kept and shared by threads."""

    def __init__(
        self,
        root: Location,
        *,
        name: str | None = None,
        marketplace: str | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        super().__init__(root, patience)
        self._names = tuple(n for n in (name, marketplace) if n)
        self._reset()

    def _reset(self) -> None:
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._pid = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_names": self._names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _pool(self, proxy: str | None) -> urllib3.PoolManager:
        # A socket shared with a forked parent would mix two TLS streams.
        if self._pid != os.getpid():
            self._reset()
            self._pid = os.getpid()
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = new_pool(proxy, self._patience)
            return self._pools[proxy]

    def _open(self, location: Location, redirects: int) -> HttpsStream:
        origin = location.host
        headers = authorization(location, self._names)
        for _ in range(redirects + 1):
            response = self._request(location, headers)
            if response.status not in _REDIRECTS:
                return _answer(response, location, self._patience)
            target = response.headers.get("Location", "")
            response.close()
            if redirects == 0:
                raise redirected(location.shown)
            location = _follow(location, target, origin)
            headers = {}
        raise redirected(location.shown)

    def _request(self, location: Location, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        url = f"https://{location.host}{location.path}"
        if location.secret_query:
            url += f"?{location.secret_query}"
        failure: Exception
        try:
            return self._pool(proxy_for(location.host)).urlopen(
                "GET",
                url,
                headers={"Accept-Encoding": "identity", "User-Agent": "databom", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except Exception as error:  # noqa: BLE001  # translated, all of it
            failure = translate(error, location.shown)
        # Outside the handler: urllib3's exceptions hold the URL, and are not chained to ours.
        raise failure


class HttpsStream:
    """The body of one response, read as it comes and never decoded."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, length: int | None, where: str, patience: Patience
    ) -> None:
        self._response = response
        self.length = length
        self._where = where
        self._patience = patience
        self._pace = Pace(patience, where)
        self._done = 0

    @property
    def headers(self) -> dict[str, str]:
        """What may be kept of the answer's headers."""
        return kept(self._response.headers)

    def read(self, n: int, /) -> bytes:
        """At least one and at most `n` bytes; `b""` at the end; see `Stream.read`."""
        if n == 0 or (self.length is not None and self._done >= self.length):
            return b""
        start = time.monotonic()
        data = bytearray()
        failure: Exception | None = None
        try:
            # The idle time-out restarts with every byte; the watchdog ends a drip inside a record or a frame.
            with _watchdog(lambda: self._response, self._patience.idle + 1):
                while len(data) < n and time.monotonic() - start < 1:
                    piece = self._response.read1(n - len(data))
                    if not piece:
                        break
                    data += piece
        except Exception as error:  # noqa: BLE001  # translated, all of it
            failure = _broken(error, self._where, self._done + len(data), self.length)
        if failure is not None:
            raise failure
        self._pace.add(time.monotonic() - start, len(data))
        self._done += len(data)
        if not data and self.length is not None:
            raise truncated(self._where, self._done, self.length)
        return bytes(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A body read to its end has given its connection back; any other takes its connection with it.
        self._response.close()


def _answer(response: urllib3.BaseHTTPResponse, location: Location, patience: Patience) -> HttpsStream:
    """The stream of a 200, or the error any other status stands for."""
    where, status, headers = location.shown, response.status, response.headers
    if status == 200:
        coding = headers.get("Content-Encoding", "identity").strip().lower()
        if coding in {"", "identity"}:
            return HttpsStream(response, _length(headers), where, patience)
    response.close()
    if status == 200:
        raise encoded(where)
    if status in {404, 410}:
        raise MissingError(f"{where}: no such object (HTTP {status})", where=where, hint="check the location")
    # R2 answers 400 to an expired presigned URL; the others answer 403.
    if status in {401, 403, 407} or (status == 400 and _is_presigned(location)):
        raise DeniedError(
            f"{where}: the server denied access (HTTP {status})", where=where, hint=_hint(location)
        )
    if status in _BUSY:
        raise busy(where, f"HTTP {status}", headers.get("Retry-After"))
    raise unexpected(where, status)


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    return int(text) if not chunked and re.fullmatch(r"[0-9]{1,18}", text) else None


def _follow(location: Location, target: str, origin: str) -> Location:
    """Where a redirect leads, if that is the same origin by https."""
    url = f"https://{location.host}{location.path}"
    try:
        # One slash more or less makes another host: only what parses as a location of ours is compared.
        following = parse_location(urljoin(url, target.partition("#")[0]), from_document=True)
    except (InputError, ValueError):
        raise redirected(location.shown) from None
    if following.scheme != "https" or following.host != origin:
        raise redirected(location.shown)
    return following


# --- credentials -----------------------------------------------------------------------------------


def token_variable(name: str) -> str:
    """The environment variable for `name`: `DATABOM_TOKEN_` and the name in upper case, others as `_`."""
    return "DATABOM_TOKEN_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def authorization(
    location: Location, names: tuple[str, ...] = (), environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The Authorization header for `location`, or none.

    Looked up in this order: `DATABOM_TOKEN_<NAME>` for each of `names` and for the host, then netrc (the file
    that `NETRC` names, else `~/.netrc`; entries for this very host only, since `default` would hand a
    password to anybody). A presigned URL gets none: it carries its own, and S3 refuses two.

    Raises:
        ConfigError: a token cannot be sent as a header, or the netrc file cannot be read.
    """
    if _is_presigned(location):
        return {}
    host = _hostname(location)
    for variable in map(token_variable, (*names, host)):
        token = environ.get(variable)
        if token:
            if not re.fullmatch(r"[\x21-\x7e]+", token):
                raise ConfigError(f"{variable} holds blanks or characters that no header may carry")
            return {"Authorization": f"Bearer {token}"}
    entry = _netrc_entry(host, environ)
    if entry is None:
        return {}
    from urllib3.util import make_headers

    return {"Authorization": make_headers(basic_auth=f"{entry[0]}:{entry[1]}")["authorization"]}


def _netrc_entry(host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    named = environ.get("NETRC")
    path = Path(named) if named else Path("~/.netrc").expanduser()
    if not named and not path.is_file():
        return None
    try:
        entry = netrc.netrc(str(path)).hosts.get(host)
    except (OSError, netrc.NetrcParseError, UnicodeError):
        # The parser's message repeats the word it stumbled over, which may be a password.
        raise ConfigError(
            f"{path} cannot be read as a netrc file", hint="check its syntax, owner and mode (0600)"
        ) from None
    return (entry[0], entry[2]) if entry else None


def _is_presigned(location: Location) -> bool:
    return bool(location.secret_query and _PRESIGNED.search(location.secret_query))


def _hostname(location: Location) -> str:
    return urlsplit(f"https://{location.host}").hostname or ""


def _hint(location: Location) -> str:
    if location.secret_query:
        return "the URL has a query: if it is a presigned one it may have expired, ask for a fresh one"
    host = _hostname(location)
    variable = token_variable(host)
    return (
        f"set DATABOM_TOKEN_<NAME> (NAME: the pin, the marketplace id) or {variable}, or add {host} to netrc"
    )


# --- connections -----------------------------------------------------------------------------------


def proxy_for(host: str) -> str | None:
    """The proxy the environment names for https requests to `host`, honouring `NO_PROXY`."""
    from urllib.request import getproxies, proxy_bypass

    proxy = getproxies().get("https")
    return None if not proxy or proxy_bypass(host) else proxy


def new_pool(proxy: str | None, patience: Patience) -> urllib3.PoolManager:
    """Connections that verify certificates, follow nothing, and end in time."""
    import urllib3
    from urllib3.connection import HTTPSConnection
    from urllib3.connectionpool import HTTPSConnectionPool

    hide_secrets_in_logs()

    class Connection(HTTPSConnection):
        """A connection whose handshake and headers end in time, however slowly each byte comes."""

        def connect(self) -> None:
            with _watchdog(lambda: self, patience.connect + patience.idle):
                super().connect()

        def getresponse(self) -> Any:
            with _watchdog(lambda: self, patience.idle + 1):
                return super().getresponse()

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    options: dict[str, Any] = {
        # The default context verifies chain and host name, and reads SSL_CERT_FILE and SSL_CERT_DIR.
        "ssl_context": ssl.create_default_context(),
        "timeout": urllib3.Timeout(connect=patience.connect, read=patience.idle),
        "maxsize": 32,
        "retries": False,
    }
    pool = urllib3.PoolManager(**options) if proxy is None else _proxy_pool(proxy, options)
    pool.pool_classes_by_scheme = {"https": Pool}
    return pool


def _proxy_pool(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    import urllib3
    from urllib3.util import make_headers, parse_url

    refusal = ConfigError(
        "HTTPS_PROXY does not name a proxy databom can use",
        hint="use http://host:port, or list the host in NO_PROXY",
    )
    try:
        url = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except urllib3.exceptions.HTTPError:
        raise refusal from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise refusal
    headers = make_headers(proxy_basic_auth=url.auth) if url.auth else {}
    address = f"{url.scheme}://{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"
    return urllib3.ProxyManager(address, proxy_headers=headers, **options)


@contextmanager
def _watchdog(holder: Callable[[], Any], seconds: float) -> Iterator[None]:
    """Shut the connection's socket down unless the block ends within `seconds`.

    Raises:
        TimeoutError: it did not. http.client takes the sudden end of the headers, or of a body without length,
            for a proper one: silence after a bite would be a short answer that looks whole.
    """
    bitten = threading.Event()

    def bite() -> None:
        bitten.set()
        held = holder()
        connection = getattr(held, "connection", held)
        sock = getattr(connection, "sock", None)
        if sock is not None:
            with suppress(OSError):
                # Not SSLSocket.shutdown: it takes the TLS object away under the thread that is reading.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, bite)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if bitten.is_set():
        raise TimeoutError


def translate(error: Exception, where: str) -> Exception:
    """What urllib3 raised before there was an answer; its text holds the URL and is not repeated."""
    from urllib3 import exceptions as u3

    if isinstance(error, (ConfigError, StorageError)):
        return error
    inner = error.original_error if isinstance(error, u3.ProxyError) else error
    if isinstance(inner, (u3.SSLError, ssl.SSLError)):
        reason = next(
            (a.verify_message for a in (inner, *inner.args) if isinstance(a, ssl.SSLCertVerificationError)),
            None,
        )
        return StorageError(
            f"{where}: no trustworthy TLS connection" + (f" ({reason})" if reason else ""),
            where=where,
            hint="if a private authority signed it, name its certificates in SSL_CERT_FILE",
        )
    if isinstance(error, u3.ProxyError):
        return UnreachableError(
            f"{where}: the proxy of HTTPS_PROXY did not connect us",
            where=where,
            hint="check HTTPS_PROXY and NO_PROXY",
        )
    if isinstance(error, u3.TimeoutError) and not isinstance(error, u3.NewConnectionError):
        what = "did not answer in time"
    elif isinstance(error, (u3.NewConnectionError, OSError)):
        what = "could not be reached"
    else:
        what = "closed the connection or did not speak HTTP"
    return UnreachableError(
        f"{where}: the server {what} ({type(error).__name__})",
        where=where,
        hint="check the network and the host's name",
    )


def _broken(error: Exception, where: str, done: int, length: int | None) -> Exception:
    """What urllib3 raised while a body was read."""
    from http.client import IncompleteRead

    causes = (error, *error.args)
    if any(isinstance(cause, IncompleteRead) for cause in causes):
        return truncated(where, done, length)
    return UnreachableError(
        f"{where}: the connection failed after {done} bytes ({type(error).__name__})",
        where=where,
        hint="run this again; finished assets are kept",
    )
