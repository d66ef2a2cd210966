from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import logging
import multiprocessing
import os
import pickle
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from databom.checks.integrity import measure
from databom.errors import ConfigError, DeniedError, MissingError, StorageError, UnreachableError
from databom.hosts.seaweed import SeaweedFS
from databom.model.manifest import Asset
from databom.storage.location import Location, parse_location
from databom.storage.reader import CHUNK, Reader, open_reader, read_document
from databom.storage.s3 import S3Reader, make_bucket, put_object
from databom.storage.s3client import _session_without_redirects, filesystem, settings
from databom.storage.s3errors import ConflictError, translate
from support.faultproxy import Answer, FaultProxy, Request, answer, redirect, s3_error, static
from support.fixtures_r2 import CALM, FaultyBucket, aws_environ
from support.r2facade import r2
from support.tls import Authority

pytestmark = pytest.mark.s3

MIXED = bytes(range(256)) * 12_000  # 3 MB: three pieces


def digest_of(reader: Reader, path: str) -> str:
    state = hashlib.sha256()
    with reader.open(path) as stream:
        while chunk := stream.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- where requests go -----------------------------------------------------------------------------------

R2 = "https://abc123.r2.cloudflarestorage.com"


@pytest.mark.parametrize(
    ("scheme", "environ", "profile", "expected"),
    [
        ("s3", {}, {}, (None, None, False)),
        ("s3", {"AWS_DEFAULT_REGION": "eu-west-1"}, {}, (None, "eu-west-1", False)),
        ("s3", {"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-1"}, {}, (None, "eu-west-2", False)),
        ("s3", {}, {"region": "eu-west-3"}, (None, "eu-west-3", False)),
        ("s3", {"AWS_ENDPOINT_URL": "http://a:1"}, {}, ("http://a:1", None, True)),
        ("s3", {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"}, {}, ("http://b", None, True)),
        ("s3", {"AWS_ENDPOINT_URL_S3": R2, "AWS_REGION": "eu-west-1"}, {}, (R2, "auto", True)),
        ("s3", {"AWS_ENDPOINT_URL_S3": "http://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, {},
         (None, None, False)),
        ("s3", {"R2_ACCOUNT_ID": "abc123"}, {}, (None, None, False)),
        ("r2", {"R2_ACCOUNT_ID": "abc123"}, {}, (R2, "auto", True)),
        ("r2", {"R2_ACCOUNT_ID": "abc123", "AWS_REGION": "eu-west-1"}, {}, (R2, "auto", True)),
        ("r2", {"R2_ACCOUNT_ID": "abc123", "R2_JURISDICTION": "EU"}, {},
         ("https://abc123.eu.r2.cloudflarestorage.com", "auto", True)),
        ("r2", {"R2_ACCOUNT_ID": "abc123", "R2_JURISDICTION": "fedramp"}, {},
         ("https://abc123.fedramp.r2.cloudflarestorage.com", "auto", True)),
        ("r2", {"R2_ACCOUNT_ID": "abc123", "AWS_ENDPOINT_URL_S3": "http://a"}, {}, ("http://a", "auto", True)),
        ("r2", {"AWS_ENDPOINT_URL": "http://a", "AWS_REGION": "wnam"}, {}, ("http://a", "wnam", True)),
        ("r2", {}, {"endpoint_url": R2, "region": "us-east-1"}, (R2, "auto", True)),
    ],
)  # fmt: skip
def test_endpoint_and_region(
    scheme: str,
    environ: dict[str, str],
    profile: dict[str, str],
    expected: tuple[str | None, str | None, bool],
) -> None:
    found = settings(scheme, environ, profile)
    assert (found.endpoint, found.region, found.path_style) == expected


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "R2_ACCOUNT_ID"),
        ({"R2_ACCOUNT_ID": "evil.example/"}, "R2_ACCOUNT_ID"),
        ({"R2_ACCOUNT_ID": "a@b"}, "R2_ACCOUNT_ID"),
        ({"R2_ACCOUNT_ID": "abc123", "R2_JURISDICTION": "mars"}, "R2_JURISDICTION"),
    ],
)
def test_r2_without_a_usable_account_says_what_to_set(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings("r2", environ, {})
    assert named in f"{caught.value} {caught.value.hint}"
    assert "evil" not in str(caught.value)
    if not environ:
        assert "AWS_ENDPOINT_URL_S3" in str(caught.value.hint)


def test_the_configuration_r2_needs_is_in_force(clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.setenv("R2_ACCOUNT_ID", "abc123")
    # fsspec's own variables would fill in what we leave out: we leave out nothing.
    clean_environ.setenv("FSSPEC_S3_ENDPOINT_URL", "http://evil.example")
    clean_environ.setenv("FSSPEC_S3_ANON", "true")
    fs = filesystem("r2")
    config = fs.config_kwargs
    assert fs.endpoint_url == R2
    assert fs.anon is False
    assert fs.client_kwargs == {"region_name": "auto"}
    assert config["request_checksum_calculation"] == config["response_checksum_validation"] == "when_required"
    assert config["retries"]["total_max_attempts"] == fs.retries == fs.max_concurrency == 1
    assert fs.fixed_upload_size is True
    assert fs.version_aware is False
    assert fs.dircache.use_listings_cache is False
    assert filesystem("r2") is not fs


def test_s3fs_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError) as caught:
        open_reader(parse_location("r2://bucket/x")).open("y")
    assert caught.value.hint == "pip install 'databom[s3]'"


def test_an_aiobotocore_that_cannot_be_told_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    import aiobotocore.config

    def old(**options: object) -> None:
        raise TypeError(f"unexpected keyword argument {next(iter(options))}")

    monkeypatch.setattr(aiobotocore.config, "AioConfig", old)
    with pytest.raises(ConfigError, match="too old"):
        filesystem("s3")


def test_f08_an_aiobotocore_that_goes_another_way_fails_closed(
    clean_environ: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a release to come not ask `_get_session`, its redirects are found afterwards, and refused."""
    from aiobotocore.httpsession import AIOHTTPSession

    with FaultProxy(static({"/elsewhere": b"data"})) as proxy:
        proxy.rule("/bucket/x", redirect("/elsewhere"))
        _point_at(clean_environ, proxy.url)
        monkeypatch.setattr(_session_without_redirects(), "_get_session", AIOHTTPSession._get_session)
        with pytest.raises(StorageError, match="redirect was followed"):
            S3Reader(parse_location("s3://bucket"), CALM).open("x")
        assert proxy.count("/elsewhere") == 1


def test_an_unknown_profile_is_a_configuration_error(client: str, clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match="AWS_PROFILE"):
        open_reader(parse_location("s3://bucket/x")).open("y")


# --- reading and writing -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", MIXED, bytes(CHUNK), bytes(CHUNK + 1)], ids=len)
def test_what_is_put_is_read_back(client: str, r2_bucket: Location, data: bytes, tmp_path: Path) -> None:
    root = r2_bucket.join("a release/ü")
    put_object(root.join("from bytes #?%41.bin"), data)
    (tmp_path / "file").write_bytes(data)
    put_object(root.join("from/file"), tmp_path / "file")
    reader = open_reader(root)
    for path in ("from bytes #?%41.bin", "from/file"):
        with reader.open(path) as stream:
            assert stream.length == len(data)
            assert b"".join(iter(lambda: stream.read(1000_000), b"")) == data
            assert stream.read(1) == b""
    assert sorted(S3Reader(root).walk()) == [("from bytes #?%41.bin", "file"), ("from/file", "file")]
    assert read_document(root.join("from/file"), limit=len(data)) == data


def test_small_reads_give_every_byte_once(client: str, bucket: Location) -> None:
    put_object(bucket.join("x"), MIXED[:100_001])
    with open_reader(bucket).open("x") as stream:
        assert b"".join(iter(lambda: stream.read(7), b"")) == MIXED[:100_001]


def test_one_get_without_range_reads_one_object(client: str, faulty_bucket: FaultyBucket) -> None:
    faulty_bucket.put("big", MIXED * 8)
    faulty_bucket.proxy.clear()
    assert digest_of(open_reader(faulty_bucket.location), "big") == sha256(MIXED * 8)
    (request,) = faulty_bucket.proxy.requests
    assert request.method == "GET"
    assert request.header("Range") is None
    assert request.header("Accept-Encoding") == "identity"


def test_an_object_appears_only_once_if_that_is_asked(r2_bucket: Location) -> None:
    key = r2_bucket.join("once")
    put_object(key, b"first", if_absent=True)
    put_object(key, b"first", if_absent=True)  # an acknowledgement that was lost looks like this
    with pytest.raises(ConflictError):
        put_object(key, b"second", if_absent=True)
    put_object(r2_bucket.join("empty"), b"", if_absent=True)
    with pytest.raises(ConflictError):
        put_object(r2_bucket.join("empty"), b"x", if_absent=True)
    assert read_document(key, limit=10) == b"first"


def test_a_store_that_does_not_keep_what_was_sent_is_told_the_digest(faulty_bucket: FaultyBucket) -> None:
    put_object(faulty_bucket.location.join("x"), b"data")
    (request,) = [r for r in faulty_bucket.proxy.requests if r.method == "PUT" and r.path.endswith("/x")]
    assert request.header("x-amz-checksum-sha256") == _b64(b"data")
    assert request.header("x-amz-sdk-checksum-algorithm") is None


def _b64(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_a_file_too_large_for_one_put_is_refused_before_anything_is_sent(
    faulty_bucket: FaultyBucket, tmp_path: Path
) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(6 * 2**30)  # sparse
    faulty_bucket.proxy.clear()
    with pytest.raises(StorageError, match="larger than one PUT"):
        put_object(faulty_bucket.location.join("huge"), tmp_path / "huge")
    assert faulty_bucket.proxy.requests == []


def test_a_file_that_cannot_be_read_is_said_so(clean_environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(StorageError, match="cannot read"):
            put_object(parse_location("s3://bucket/x"), path)


def test_make_bucket_twice_is_fine_and_a_missing_bucket_is_missing(client: str, bucket: Location) -> None:
    make_bucket(bucket)
    with pytest.raises(MissingError):
        read_document(parse_location("s3://t-not-there/x"), limit=1)
    with pytest.raises(MissingError):
        list(S3Reader(parse_location("s3://t-not-there/x")).walk())


def test_walk_follows_every_page_and_stays_below_its_root(clean_environ: pytest.MonkeyPatch) -> None:
    def pages(request: Request) -> Answer:
        token = "continuation-token=two" in request.query
        keys = ["rel/c"] if token else ["rel/a", "rel/b/ü"]
        more = (
            "<IsTruncated>false</IsTruncated>"
            if token
            else ("<IsTruncated>true</IsTruncated><NextContinuationToken>two</NextContinuationToken>")
        )
        assert "prefix=rel%2F" in request.query
        body = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
        xml = f"<?xml version='1.0'?><ListBucketResult>{more}{body}</ListBucketResult>"
        return answer(200, xml.encode(), [("Content-Type", "application/xml")])

    with FaultProxy(pages) as proxy:
        _point_at(clean_environ, proxy.url)
        assert [path for path, _ in S3Reader(parse_location("s3://bucket/rel/")).walk()] == ["a", "b/ü", "c"]
        assert len(proxy.requests) == 2


def _point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAC4N4RYC4N4RY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "c4n4ry-secret")


# --- what R2 insists on ----------------------------------------------------------------------------------


def test_r2_gets_region_auto_and_path_style(client: str, faulty_bucket: FaultyBucket) -> None:
    put_object(faulty_bucket.location.join("x"), b"data")
    assert read_document(faulty_bucket.location.join("x"), limit=4) == b"data"
    assert [request.method for request in faulty_bucket.proxy.requests] == ["PUT", "GET"]
    for request in faulty_bucket.proxy.requests:
        assert "/auto/s3/aws4_request" in (request.header("Authorization") or "")
        assert request.path.startswith(f"/{faulty_bucket.location.host}")


def test_a_region_r2_does_not_know_is_told_so(
    client: str, faulty_bucket: FaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(DeniedError, match="wrong region") as caught:
        read_document(faulty_bucket.location.join("x"), limit=1)
    assert "AWS_REGION" in str(caught.value.hint)


def test_temporary_credentials_send_their_session_token(
    client: str, clean_environ: pytest.MonkeyPatch
) -> None:
    with FaultProxy(lambda _: answer(200, b"data")) as proxy:
        _point_at(clean_environ, proxy.url)
        clean_environ.setenv("AWS_SESSION_TOKEN", "temporary")
        assert read_document(parse_location("r2://bucket/x"), limit=4) == b"data"
        (request,) = proxy.requests
    assert request.header("X-Amz-Security-Token") == "temporary"
    assert "x-amz-security-token" in (request.header("Authorization") or "")


def test_credentials_may_come_from_a_profile(
    client: str, s3_server: SeaweedFS, bucket: Location, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put_object(bucket.join("x"), b"data")
    environ = s3_server.environ
    (tmp_path / "credentials").write_text(
        f"[team]\naws_access_key_id={environ['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key={environ['AWS_SECRET_ACCESS_KEY']}\n"
    )
    (tmp_path / "config").write_text(f"[profile team]\nendpoint_url={s3_server.endpoint}\nregion=us-east-1\n")
    for name in environ:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "team")
    assert read_document(bucket.join("x"), limit=4) == b"data"
    r2_twin = parse_location(f"r2://{bucket.host}/{bucket.path}/x")
    assert read_document(r2_twin, limit=4) == b"data"


@pytest.fixture
def tls_r2(
    s3_server: SeaweedFS, trusted: Authority, clean_environ: pytest.MonkeyPatch, bucket: Location
) -> FaultProxy:
    """The façade over TLS: where botocore's default checksums become trailers."""
    from support.faultproxy import forward

    proxy = FaultProxy(r2(forward(s3_server.endpoint), locked=("locked/",)), tls=trusted.context())
    aws_environ(clean_environ, s3_server, proxy.url)
    clean_environ.setenv("AWS_CA_BUNDLE", str(trusted.bundle))
    return proxy


def test_f16_s3fs_defaults_fail_on_r2_over_tls_and_ours_do_not(tls_r2: FaultProxy, bucket: Location) -> None:
    import s3fs

    with tls_r2 as proxy:
        theirs = s3fs.S3FileSystem(endpoint_url=proxy.url, skip_instance_cache=True)
        theirs.retries = 1
        with pytest.raises(OSError):  # NotImplementedError of S3 comes as whatever s3fs makes of it
            theirs.pipe_file(f"{bucket.host}/{bucket.path}/x", b"data")
        trailers = {request.header("x-amz-content-sha256") for request in proxy.requests}
        assert "STREAMING-UNSIGNED-PAYLOAD-TRAILER" in trailers
        proxy.clear()
        twin = parse_location(f"r2://{bucket.host}/{bucket.path}/x")
        put_object(twin, b"data")
        assert read_document(twin, limit=4) == b"data"
        kinds = [request.header("x-amz-content-sha256") or "" for request in proxy.requests]
        assert len(kinds) == 2
        assert not any(kind.startswith("STREAMING") for kind in kinds)


def test_the_facade_refuses_what_r2_refuses(s3_server: SeaweedFS, r2_bucket: Location) -> None:
    client = boto3.client(
        "s3",
        region_name="auto",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    name = r2_bucket.host
    key = f"locked/{r2_bucket.path}"
    client.put_object(Bucket=name, Key=key, Body=b"1")
    parts: list[dict[str, object]] = []
    upload = client.create_multipart_upload(Bucket=name, Key="parts")["UploadId"]
    for number, size in enumerate((6 << 20, 5 << 20, 1), 1):
        part = client.upload_part(
            Bucket=name, Key="parts", UploadId=upload, PartNumber=number, Body=bytes(size)
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    refusals = {
        "ObjectLockedByBucketPolicy": lambda: client.put_object(Bucket=name, Key=key, Body=b"2"),
        "NotImplemented": lambda: client.put_bucket_versioning(
            Bucket=name, VersioningConfiguration={"Status": "Enabled"}
        ),
        "InvalidPart": lambda: client.complete_multipart_upload(
            Bucket=name, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
        ),
    }
    for code, call in refusals.items():
        with pytest.raises(client.exceptions.ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == code
    assert "Status" not in client.get_bucket_versioning(Bucket=name)
    client.close()


# --- processes and threads -------------------------------------------------------------------------------


def test_threads_share_one_reader(client: str, bucket: Location) -> None:
    bodies = {f"a{i}": MIXED[: 50_000 + i] for i in range(24)}
    reader = S3Reader(bucket)
    for path, body in bodies.items():
        reader.put(path, body)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        digests = dict(zip(bodies, pool.map(lambda path: digest_of(reader, path), bodies), strict=True))
    assert digests == {path: sha256(body) for path, body in bodies.items()}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_reader_that_has_read_works_in_a_child(client: str, bucket: Location, method: str) -> None:
    put_object(bucket.join("x"), MIXED)
    reader = open_reader(bucket)
    assert digest_of(reader, "x") == sha256(MIXED)
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        (outcome,) = pool.submit(measure, reader, [Asset("x", sha256(MIXED), len(MIXED))]).result(60).outcomes
    assert outcome.sha256 == sha256(MIXED)
    assert digest_of(reader, "x") == sha256(MIXED)


def test_a_forked_child_that_inherits_a_reader_connects_anew(client: str, bucket: Location) -> None:
    put_object(bucket.join("x"), MIXED)
    reader = open_reader(bucket)
    digest_of(reader, "x")
    context = multiprocessing.get_context("fork")
    mine, yours = context.Pipe()
    child = context.Process(target=lambda: yours.send(digest_of(reader, "x")))
    child.start()
    assert mine.poll(60)
    assert mine.recv() == sha256(MIXED)
    child.join(10)


# --- refusals and secrets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", MissingError),
        (404, "NoSuchBucket", MissingError),
        (404, "", MissingError),
        (403, "AccessDenied", DeniedError),
        (403, "SignatureDoesNotMatch", DeniedError),
        (403, "InvalidAccessKeyId", DeniedError),
        (403, "", DeniedError),
        (401, "Unauthorized", DeniedError),
        (400, "ExpiredToken", DeniedError),
        (400, "ExpiredRequest", DeniedError),
        (400, "AuthorizationHeaderMalformed", DeniedError),
        (429, "TooManyRequests", UnreachableError),
        (500, "InternalError", UnreachableError),
        (502, "", UnreachableError),
        (503, "SlowDown", UnreachableError),
        (200, "SlowDown", UnreachableError),
        (501, "NotImplemented", StorageError),
        (418, "Teapot", StorageError),
        (412, "PreconditionFailed", ConflictError),
    ],
)
def test_every_answer_has_its_error(
    clean_environ: pytest.MonkeyPatch, status: int, code: str, kind: type[StorageError]
) -> None:
    from botocore.exceptions import ClientError

    response = {"Error": {"Code": code, "Message": "c4n4ry"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = translate(ClientError(response, "GetObject"), "r2://bucket/x", "r2")  # type: ignore[arg-type]
    assert type(error) is kind or isinstance(error, kind)
    assert isinstance(error, UnreachableError) == (kind is UnreachableError)
    assert "r2://bucket/x" in str(error)
    assert "c4n4ry" not in f"{error} {error.hint}"
    assert "Teapot" not in str(error)
    if isinstance(error, DeniedError):
        assert "AWS_" in str(error.hint)


def test_denied_names_what_to_set(
    client: str, faulty_bucket: FaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty_bucket.put("x", b"data")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(DeniedError) as caught:
        read_document(faulty_bucket.location.join("x"), limit=9)
    assert caught.value.code == "storage.denied"
    hint = str(caught.value.hint)
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "R2_ACCOUNT_ID",
    ):
        assert name in hint


@pytest.mark.parametrize("scheme", ["s3", "r2"])
def test_no_credentials_at_all_is_denied(client: str, clean_environ: pytest.MonkeyPatch, scheme: str) -> None:
    clean_environ.setenv("R2_ACCOUNT_ID", "abc123")
    with pytest.raises(DeniedError, match="no usable credentials") as caught:
        open_reader(parse_location(f"{scheme}://bucket/x")).open("y")
    assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)


@pytest.mark.parametrize("endpoint", ["not a url", "http://", "ftp://x"])
def test_an_endpoint_that_is_none_is_an_error_of_ours(
    client: str, clean_environ: pytest.MonkeyPatch, endpoint: str
) -> None:
    _point_at(clean_environ, endpoint)
    with pytest.raises((ConfigError, StorageError)):
        open_reader(parse_location("s3://bucket/x"), patience=CALM).open("y")


def test_k01_k04_neither_errors_nor_debug_logs_hold_a_secret(
    client: str,
    faulty_bucket: FaultyBucket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from support.faultproxy import echo_secrets

    faulty_bucket.put("x", b"data")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "c4n4ry-token")
    faulty_bucket.proxy.rule("/", echo_secrets())
    reader = open_reader(faulty_bucket.location)
    with caplog.at_level(logging.DEBUG), pytest.raises(DeniedError) as caught:
        reader.open("x")
    (request,) = [r for r in faulty_bucket.proxy.requests if r.header("X-Amz-Security-Token")]
    signature = (request.header("Authorization") or "").rpartition("Signature=")[2]
    assert len(signature) == 64
    logged = "\n".join(record.getMessage() + str(record.exc_info or "") for record in caplog.records)
    assert client == "obstore" or "getobject" in logged.lower()  # s3fs leaves a log to search, obstore none
    told = f"{caught.value!r} {caught.value} {caught.value.hint} {reader!r}"
    for secret in ("c4n4ry-token", signature, os.environ["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in told
        assert secret not in logged
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert b"c4n4ry" not in pickle.dumps(reader)


def test_f12_expired_credentials_are_looked_up_afresh_once(
    client: str, faulty_bucket: FaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty_bucket.put("x", b"data")
    reader = open_reader(faulty_bucket.location)
    proxy = faulty_bucket.proxy
    proxy.clear()
    expired = s3_error(400, "ExpiredToken")
    proxy.rule("/x", expired, times=1)
    with reader.open("x") as stream:
        assert stream.read(9) == b"data"
    assert proxy.count("/x") == 2
    proxy.clear()
    proxy.rule("/x", expired)
    for _ in range(3):
        with pytest.raises(DeniedError, match="expired"):
            reader.open("x")
    assert proxy.count("/x") == 4  # two for the first, one for each that followed
