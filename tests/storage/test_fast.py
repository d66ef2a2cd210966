"""obstore goes to the same place as the same user as s3fs would, with the same limits, or it does not go at all."""

from __future__ import annotations

import hashlib
import pickle
import sys
from datetime import timedelta
from operator import attrgetter
from pathlib import Path

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.checks.engine import BATCH_OBJECTS, plan
from databom.checks.measuring import SMALL_BYTES, measure
from databom.errors import (
    ConfigError,
    DatabomError,
    DeniedError,
    MissingError,
    StorageError,
    UnreachableError,
)
from databom.model.manifest import Asset
from databom.storage import fast, fastclient
from databom.storage.fast import FastReader, FastStream
from databom.storage.location import Location, parse_location
from databom.storage.reader import FsspecReader, open_reader
from databom.storage.s3 import S3Stream, put_object
from support import faultproxy as faults
from support.faultproxy import FaultProxy, answer, static
from support.fixtures_r2 import CALM
from support.tls import Authority

pytestmark = pytest.mark.s3

R2 = "https://abc123.r2.cloudflarestorage.com"
DATA = hashlib.sha256(b"data").hexdigest()
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAC4N4RYC4N4RY", "AWS_SECRET_ACCESS_KEY": "c4n4ry-secret"}
NO_FILES = {"AWS_CONFIG_FILE": "/nowhere/config", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials"}


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


# --- where it goes, and where only s3fs goes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "environ", "expected"),
    [
        ("r2", {"R2_ACCOUNT_ID": "abc123"}, (R2, "auto")),
        ("r2", {"R2_ACCOUNT_ID": "abc123", "R2_JURISDICTION": "eu"},
         ("https://abc123.eu.r2.cloudflarestorage.com", "auto")),
        ("s3", {"AWS_ENDPOINT_URL_S3": "http://a:1"}, ("http://a:1", "us-east-1")),
        ("s3", {"AWS_ENDPOINT_URL": "http://a:1/", "AWS_REGION": "here"}, ("http://a:1/", "here")),
        ("s3", {"AWS_REGION": "eu-west-1"}, ("https://s3.eu-west-1.amazonaws.com", "eu-west-1")),
        ("s3", {"AWS_ENDPOINT_URL_S3": "http://a", "AWS_CA_BUNDLE": "/x.pem"}, ("http://a", "us-east-1")),
        ("s3", {"AWS_ENDPOINT_URL_S3": "https://a", "AWS_CA_BUNDLE": "/x.pem", "SSL_CERT_FILE": "/y/../x.pem"},
         ("https://a", "us-east-1")),
    ],
)  # fmt: skip
def test_it_goes_where_s3fs_would(
    clean_environ: pytest.MonkeyPatch, scheme: str, environ: dict[str, str], expected: tuple[str, str]
) -> None:
    place = fastclient.access(scheme, {**KEYS, **NO_FILES, **environ})
    assert place is not None
    assert (place.endpoint, place.region) == expected
    assert place.keys().key == KEYS["AWS_ACCESS_KEY_ID"]


@pytest.mark.parametrize(
    "environ",
    [
        {},  # no region: botocore knows where to ask
        {"AWS_REGION": "cn-north-1"},
        {"AWS_REGION": "us-gov-west-1"},
        {"AWS_REGION": "eu-west-1", "AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "TRUE"},
        {"AWS_ENDPOINT_URL_S3": "https://a", "AWS_CA_BUNDLE": "/x.pem"},
        {"AWS_ENDPOINT_URL_S3": "https://a/below"},
        {"AWS_ENDPOINT_URL_S3": "https://user:c4n4ry@a"},
        {"AWS_ENDPOINT_URL_S3": "https://a?query"},
        {"AWS_ENDPOINT_URL_S3": "https://a:port"},
        {"AWS_ENDPOINT_URL_S3": "https://[::1]:1"},
        {"AWS_ENDPOINT_URL_S3": "not a url"},
        {"AWS_ENDPOINT_URL_S3": "ftp://a"},
    ],
)
def test_what_it_cannot_be_told_is_left_to_s3fs(
    clean_environ: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    assert fastclient.access("s3", {**KEYS, **NO_FILES, **environ}) is None


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_left_to_s3fs(clean_environ: pytest.MonkeyPatch, variable: str) -> None:
    clean_environ.setenv(variable, "http://127.0.0.1:9")
    environ = {**KEYS, **NO_FILES, "AWS_ENDPOINT_URL_S3": "http://store.example"}
    assert fastclient.access("s3", environ) is None
    clean_environ.setenv("NO_PROXY", "store.example")
    assert fastclient.access("s3", environ) is not None


def test_credentials_of_a_helper_are_found_by_botocore_and_asked_before_each_request(
    clean_environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`credential_process` that hands out other keys each time, already old: as SSO and roles do, only faster."""
    helper = tmp_path / "helper.py"
    helper.write_text(
        "import json, pathlib\n"
        "count = pathlib.Path(__file__).with_suffix('.count')\n"
        "n = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(n))\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'KEY{n}', 'SecretAccessKey': 's', 'SessionToken': f't{n}',"
        " 'Expiration': '2000-01-01T00:00:00Z' if n == 1 else '2100-01-01T00:00:00Z'}))\n"
    )
    (tmp_path / "config").write_text(
        f"[profile team]\ncredential_process = {sys.executable} {helper}\nregion = auto\n"
    )
    clean_environ.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    clean_environ.setenv("AWS_PROFILE", "team")
    # A leftover of other credentials must not be sent along with these.
    clean_environ.setenv("AWS_SESSION_TOKEN", "left-over")
    with FaultProxy(lambda _: answer(200, b"data")) as proxy:
        clean_environ.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        reader = open_reader(parse_location("s3://bucket"), patience=CALM)
        for _ in range(2):
            with reader.open("x") as stream:
                assert isinstance(stream, FastStream)
                assert stream.read(9) == b"data"
        sent = [(r.header("Authorization"), r.header("X-Amz-Security-Token")) for r in proxy.requests]
    assert [token for _, token in sent] == ["t2", "t2"]
    assert all("Credential=KEY2/" in (header or "") for header, _ in sent)


def test_refreshed_credentials_are_used(clean_environ: pytest.MonkeyPatch) -> None:
    with FaultProxy(lambda _: answer(200, b"data")) as proxy:
        point_at(clean_environ, proxy.url)
        reader = FastReader(parse_location("s3://bucket"), CALM)
        with reader.open("x"):
            pass
        assert reader._place is not None
        reader._place._source = fastclient.Keys("FRESH", "s", "token")
        with reader.open("x"):
            pass
        assert "Credential=FRESH/" in (proxy.requests[-1].header("Authorization") or "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT", "http://127.0.0.1:1"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
        ("AWS_UNSIGNED_PAYLOAD", "true"),
        ("AWS_S3_EXPRESS", "true"),
        ("AWS_REQUEST_PAYER", "true"),
        ("AWS_PROXY_URL", "http://127.0.0.1:1"),
        ("AWS_SESSION_TOKEN", ""),
        ("AWS_BUCKET", "other"),
        ("AWS_ACCESS_KEY", "other"),
    ],
)
def test_no_variable_of_its_own_changes_what_it_sends(
    clean_environ: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Never silently anonymous, never elsewhere."""
    with FaultProxy(static({"/bucket/x": b"data"})) as proxy:
        point_at(clean_environ, proxy.url)
        clean_environ.setenv(name, value)
        with open_reader(parse_location("s3://bucket"), patience=CALM).open("x") as stream:
            assert isinstance(stream, FastStream)
            assert stream.read(9) == b"data"
        (request,) = proxy.requests
    assert f"Credential={KEYS['AWS_ACCESS_KEY_ID']}/" in (request.header("Authorization") or "")
    assert {name for name, _ in request.headers} == {
        "accept", "accept-encoding", "authorization", "host", "user-agent", "x-amz-content-sha256", "x-amz-date",
    }  # fmt: skip


def test_an_ignored_endpoint_stays_ignored(clean_environ: pytest.MonkeyPatch) -> None:
    environ = {
        **KEYS, **NO_FILES, "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    }  # fmt: skip
    place = fastclient.access("s3", environ)
    assert place is not None
    clean_environ.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    store = fastclient.store("bucket", place, place.keys(), CALM)
    url = obstore.sign(store, "GET", "x", timedelta(seconds=1))
    assert url.startswith("https://s3.eu-west-1.amazonaws.com/bucket/x?")


# --- what it hands over to s3fs --------------------------------------------------------------------------


def test_buckets_are_read_by_obstore_where_it_is_installed(
    client: str, bucket: Location, clean_environ: pytest.MonkeyPatch
) -> None:
    put_object(bucket.join("x"), b"data")
    with open_reader(bucket).open("x") as stream:
        assert isinstance(stream, FastStream if client == "obstore" else S3Stream)
        assert stream.read(9) == b"data"


def test_a_forked_child_reads_by_s3fs_and_a_spawned_one_by_obstore(bucket: Location) -> None:
    import concurrent.futures
    import multiprocessing

    put_object(bucket.join("x"), b"data")
    reader = FastReader(bucket)
    assert measure(reader, [Asset("x", DATA, 4)]).outcomes[0].sha256 == DATA
    for method, forked in (("fork", True), ("spawn", False)):
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
            assert pool.submit(measure, reader, [Asset("x", DATA, 4)]).result(60).outcomes[0].sha256 == DATA
            assert pool.submit(fast._is_forked).result(60) is forked


@pytest.mark.parametrize("key", ["a//b", "/a", "a/"])
def test_a_key_that_obstore_would_change_is_read_by_s3fs(clean_environ: pytest.MonkeyPatch, key: str) -> None:
    with FaultProxy(lambda request: answer(200, request.path.encode())) as proxy:
        point_at(clean_environ, proxy.url)
        reader = FastReader(parse_location("s3://bucket"), CALM)
        with reader.open_location(Location("s3", "bucket", key), redirects=0) as stream:
            assert stream.read(99) == f"/bucket/{key}".encode()


@given(
    name=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, blacklist_categories=["Cs", "Cc"]))
)
def test_every_key_is_asked_for_as_it_is(name: str) -> None:
    if any(part in {"", ".", ".."} for part in name.split("/")):
        return
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, ECHO.url)
        patch.setenv("AWS_CONFIG_FILE", "/nowhere")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        with open_reader(parse_location("s3://bucket/a b"), patience=CALM).open(name) as stream:
            assert stream.read(1 << 20) == f"/bucket/a b/{name}".encode()


ECHO = FaultProxy(lambda request: answer(200, request.path.encode()))


def test_without_s3fs_it_reads_and_says_what_is_missing_where_it_cannot(
    clean_environ: pytest.MonkeyPatch, bucket: Location
) -> None:
    put_object(bucket.join("x"), b"data")
    clean_environ.setitem(sys.modules, "s3fs", None)
    with open_reader(bucket).open("x") as stream:
        assert stream.read(9) == b"data"
    with pytest.raises(MissingError):
        open_reader(bucket).open("y")
    with pytest.raises(ConfigError, match="s3fs"):
        list(FastReader(bucket).walk())


def test_a_fsspec_filesystem_that_somebody_brings_is_a_reader_still(bucket: Location) -> None:
    import s3fs

    put_object(bucket.join("x"), b"data")
    reader = FsspecReader(s3fs.S3FileSystem(skip_instance_cache=True), f"{bucket.host}/{bucket.path}")
    assert measure(reader, [Asset("x", DATA, 4)]).outcomes[0].sha256 == DATA


# --- what it says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (faults.s3_error(404, "NoSuchKey"), MissingError, "HTTP 404, NoSuchKey"),
        (faults.s3_error(404, "NoSuchBucket"), MissingError, "HTTP 404, NoSuchBucket"),
        (faults.s3_error(403, "SignatureDoesNotMatch"), DeniedError, "HTTP 403, SignatureDoesNotMatch"),
        (faults.s3_error(401, "Unauthorized"), DeniedError, "HTTP 401, Unauthorized"),
        (faults.s3_error(400, "ExpiredRequest"), DeniedError, "expired"),
        (faults.s3_error(400, "AuthorizationHeaderMalformed"), DeniedError, "wrong region"),
        (faults.s3_error(403, "C4n4ry"), DeniedError, "HTTP 403)"),
        (faults.s3_error(429, "TooManyRequests"), UnreachableError, "HTTP 429, TooManyRequests"),
        (faults.s3_error(503, "SlowDown"), UnreachableError, "HTTP 503, SlowDown"),
        (faults.s3_error(501, "NotImplemented"), StorageError, "unexpected answer"),
        (faults.s3_error(418, "C4n4ry"), StorageError, "HTTP 418"),
        (faults.s3_error(409, "C4n4ry"), StorageError, "HTTP 409"),
        (faults.s3_error(412, "C4n4ry"), StorageError, "HTTP 412"),
        (faults.status(304), StorageError, "redirect"),
        (faults.status(301), StorageError, "redirect"),
        (faults.redirect("https://localhost:1/x"), StorageError, "redirect"),
        (faults.hang_up, UnreachableError, "reached"),
    ],
)
def test_every_answer_has_its_error_and_no_text_of_the_server(
    clean_environ: pytest.MonkeyPatch, fault: faults.Fault, kind: type[DatabomError], says: str
) -> None:
    with FaultProxy(static({"/bucket/x": b"data"})) as proxy:
        proxy.rule("/x", fault)
        point_at(clean_environ, proxy.url)
        with pytest.raises(kind, match=None) as caught:
            FastReader(parse_location("s3://bucket"), CALM).open("x")
    assert says in str(caught.value)
    assert "s3://bucket/x" in str(caught.value)
    assert "n4ry" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__cause__ is None
    assert not isinstance(caught.value.__context__, Exception) or isinstance(
        caught.value.__context__, DatabomError
    )


@pytest.mark.parametrize(
    "path",
    [
        "x status: 404,",
        "x<Code>NoSuchKey</Code>",
        "x\n    status: 404,\n  127.0.0.1:0,\n<Code>NoSuchKey</Code>",
    ],
)
def test_a_path_cannot_speak_for_the_store(clean_environ: pytest.MonkeyPatch, path: str) -> None:
    with FaultProxy(static({})) as proxy:
        proxy.rule("/x", faults.s3_error(503, "SlowDown"))
        point_at(clean_environ, proxy.url)
        with pytest.raises(UnreachableError, match=r"HTTP 503, SlowDown"):
            FastReader(parse_location("s3://bucket"), CALM).open(path)


def test_a_panic_of_rust_is_an_error_of_ours(
    clean_environ: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    panic = type("PanicException", (BaseException,), {})

    def explode(*_: object) -> None:
        raise panic("c4n4ry")

    monkeypatch.setattr(obstore, "get", explode)
    point_at(clean_environ, "http://127.0.0.1:1")
    with pytest.raises(UnreachableError) as caught:
        FastReader(parse_location("s3://bucket"), CALM).open("x")
    assert "c4n4ry" not in str(caught.value)


def test_ctrl_c_is_nobodys_error(clean_environ: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(obstore, "get", interrupt)
    point_at(clean_environ, "http://127.0.0.1:1")
    with pytest.raises(KeyboardInterrupt):
        FastReader(parse_location("s3://bucket"), CALM).open("x")


def test_neither_a_reader_nor_its_parts_show_or_carry_a_key(clean_environ: pytest.MonkeyPatch) -> None:
    with FaultProxy(static({"/bucket/x": b"data"})) as proxy:
        point_at(clean_environ, proxy.url)
        reader = FastReader(parse_location("s3://bucket"), CALM)
        with reader.open("x"):
            pass
    assert reader._store is not None
    assert b"c4n4ry" not in pickle.dumps(reader)
    shown = repr([reader, reader._keys, reader._place, reader._store])
    assert "c4n4ry" not in shown
    assert "C4N4RY" not in shown


# --- F18 -------------------------------------------------------------------------------------------------


def test_f18_it_verifies_certificates(
    clean_environ: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    cases = [
        (authority.context(), False, False),
        (authority.context("elsewhere.example"), True, False),
        (authority.context(expired=True), True, False),
        (authority.context(), True, True),
    ]
    for context, trusted, good in cases:
        with FaultProxy(static({"/bucket/x": b"data"}), tls=context) as proxy:
            point_at(clean_environ, proxy.url)
            for name in ("AWS_ALLOW_INVALID_CERTIFICATES", "AWS_ALLOW_HTTP", "PYTHONHTTPSVERIFY"):
                clean_environ.setenv(name, "0" if name.startswith("P") else "true")
            clean_environ.delenv("SSL_CERT_DIR", raising=False)
            clean_environ.setenv("SSL_CERT_FILE", str(authority.bundle if trusted else other.bundle))
            reader = FastReader(parse_location("s3://bucket"), CALM)
            if good:
                with reader.open("x") as stream:
                    assert isinstance(stream, FastStream)
                    assert stream.read(9) == b"data"
            else:
                with pytest.raises(StorageError, match="certificate"):
                    reader.open("x")
                assert proxy.requests == []


def test_f08_https_is_never_left_for_http(
    clean_environ: pytest.MonkeyPatch, trusted: Authority, s3_server: object
) -> None:
    clean_environ.delenv("AWS_CA_BUNDLE")
    with (
        FaultProxy(static({"/x": b"stolen"})) as sink,
        FaultProxy(static({}), tls=trusted.context()) as proxy,
    ):
        point_at(clean_environ, proxy.url)
        proxy.rule("/bucket/x", faults.redirect(sink.url.replace("127.0.0.1", "localhost") + "/x"))
        with pytest.raises(StorageError, match="redirect"):
            FastReader(parse_location("s3://bucket"), CALM).open("x")
        assert sink.connections == 0


# --- batches -----------------------------------------------------------------------------------------------


class _Remote:
    shown = "s3://bucket"
    parallel = 4

    def open(self, path: str, /) -> FastStream:
        raise AssertionError


@given(
    st.lists(st.none() | st.integers(0, 3 * SMALL_BYTES), max_size=400),
)
def test_every_asset_is_in_one_batch_and_large_ones_are_alone(sizes: list[int | None]) -> None:
    assets = [Asset(path=f"a{i}", sha256="0" * 64, size=size) for i, size in enumerate(sizes)]
    work = plan(assets, _Remote())
    assert work.small == []
    by_path = attrgetter("path")
    assert sorted((asset for batch in work.single for asset in batch), key=by_path) == sorted(
        assets, key=by_path
    )
    for batch in work.single:
        assert len(batch) <= BATCH_OBJECTS
        assert len(batch) == 1 or all(a.size is not None and a.size <= SMALL_BYTES for a in batch)
    few = sum(size is not None and size <= SMALL_BYTES for size in sizes) < 8 * _Remote.parallel
    assert not few or all(len(batch) == 1 for batch in work.single)
