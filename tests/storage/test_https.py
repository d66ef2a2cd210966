from __future__ import annotations

import base64
import concurrent.futures
import logging
import multiprocessing
import os
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from databom.checks.integrity import measure
from databom.errors import ConfigError, DeniedError, MissingError, StorageError, UnreachableError
from databom.hosts.seaweed import SeaweedFS
from databom.model.manifest import Asset
from databom.storage.https import HttpsReader, authorization, proxy_for, token_variable
from databom.storage.location import Location, parse_location
from databom.storage.reader import CHUNK, open_reader, read_document, read_optional_document
from support.faultproxy import (
    FaultProxy,
    RawServer,
    connect_proxy,
    echo_secrets,
    forward,
    redirect,
    static,
    status,
)
from support.fixtures_r2 import CALM, Web, aws_environ
from support.r2facade import r2
from support.tls import Authority

MIXED = bytes(range(256)) * 12_000


@pytest.mark.parametrize("data", [b"", b"x", MIXED, bytes(CHUNK), bytes(CHUNK + 1)], ids=len)
def test_what_is_served_is_read(web: Web, data: bytes) -> None:
    web.put("/rel/a b/ü?#%2e.bin", data)
    with open_reader(web.location("/rel/")).open("a b/ü?#%2e.bin") as stream:
        assert stream.length == len(data)
        assert b"".join(iter(lambda: stream.read(500_000), b"")) == data
        assert stream.read(1) == b""
        assert stream.read(0) == b""
    (request,) = web.proxy.requests
    assert request.header("Accept-Encoding") == "identity"
    assert request.header("Authorization") is None
    assert request.header("Range") is None


def test_connections_are_kept_and_given_back(web: Web) -> None:
    for i in range(5):
        web.put(f"/rel/{i}", MIXED)
    reader = HttpsReader(web.location("/rel"))
    for i in range(5):
        with reader.open(str(i)) as stream:
            while stream.read(CHUNK):
                pass
    with reader.open("0") as stream:
        stream.read(10)  # left early: this connection cannot be used again
    with reader.open("1") as stream:
        assert len(stream.read(CHUNK)) > 0
    assert web.proxy.connections == 2


def test_threads_share_one_reader(web: Web) -> None:
    for i in range(24):
        web.put(f"/{i}", MIXED[: 50_000 + i])
    reader = open_reader(web.location())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(measure, reader, [Asset(str(i), "0" * 64, 50_000 + i)]) for i in range(24)]
    outcomes = [job.result().outcomes[0] for job in jobs]
    assert all(outcome.complete and outcome.error is None for outcome in outcomes)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_reader_that_has_read_works_in_a_child(web: Web, method: str) -> None:
    web.put("/x", MIXED)
    reader = open_reader(web.location())
    (here,) = measure(reader, [Asset("x", "0" * 64, len(MIXED))]).outcomes
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        (there,) = pool.submit(measure, reader, [Asset("x", "0" * 64, len(MIXED))]).result(60).outcomes
    assert there.sha256 == here.sha256 is not None


# --- answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "requests"),
    [
        (404, MissingError, 1),
        (410, MissingError, 1),
        (401, DeniedError, 1),
        (403, DeniedError, 1),
        (400, StorageError, 1),
        (204, StorageError, 1),
        (206, StorageError, 1),
        (304, StorageError, 1),
        (501, StorageError, 1),
        (429, UnreachableError, 3),
        (500, UnreachableError, 3),
        (502, UnreachableError, 3),
        (503, UnreachableError, 3),
        (504, UnreachableError, 3),
    ],
)
def test_every_status_has_its_error(web: Web, code: int, kind: type[StorageError], requests: int) -> None:
    web.proxy.rule("/x", status(code, b"c4n4ry"))
    with pytest.raises(kind) as caught:
        open_reader(web.location(), patience=CALM).open("x")
    assert type(caught.value) is kind or kind is UnreachableError
    assert f"HTTP {code}" in str(caught.value)
    assert "c4n4ry" not in f"{caught.value} {caught.value.hint}"
    assert len(web.proxy.requests) == requests


def test_denied_names_what_to_set(web: Web) -> None:
    web.proxy.rule("/x", status(403))
    with pytest.raises(DeniedError) as caught:
        open_reader(web.location(), name="hn-imagepack").open("x")
    assert "DATABOM_TOKEN_<NAME>" in str(caught.value.hint)
    assert "DATABOM_TOKEN_LOCALHOST" in str(caught.value.hint)
    assert "netrc" in str(caught.value.hint)


def test_an_optional_document_may_be_absent_but_not_denied(web: Web) -> None:
    manifest = web.location("/rel/m.json")
    web.put("/rel/m.json", b"{}")
    assert read_optional_document(manifest, limit=9) == b"{}"
    assert read_optional_document(manifest.sibling(".dsse"), limit=9) is None
    web.proxy.rule(".dsse", status(403))
    with pytest.raises(DeniedError):
        read_optional_document(manifest.sibling(".dsse"), limit=9)


# --- redirects (F08, K07) ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_f08_assets_follow_no_redirect_at_all(web: Web, code: int) -> None:
    web.put("/y", b"data")
    web.proxy.rule("/x", redirect(web.proxy.url + "/y", code))
    with pytest.raises(StorageError, match="redirect"):
        open_reader(web.location()).open("x")
    assert web.proxy.count("/y") == 0


def test_f08_documents_follow_three_to_the_same_origin_and_lose_their_token(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABOM_TOKEN_LOCALHOST", "t0ken")
    web.put("/c", b"{}")
    web.proxy.rule("/m", redirect(web.proxy.url + "/a"))
    web.proxy.rule("/a", redirect("/b?sig=c4n4ry"))
    web.proxy.rule("/b", redirect("c#part", 302))
    assert read_document(web.location("/m"), limit=9) == b"{}"
    assert [request.target for request in web.proxy.requests] == ["/m", "/a", "/b?sig=c4n4ry", "/c"]
    assert [request.header("Authorization") for request in web.proxy.requests] == [
        "Bearer t0ken",
        None,
        None,
        None,
    ]


def test_f08_the_fourth_redirect_is_refused(web: Web) -> None:
    web.proxy.rule("/", redirect("/again"))
    with pytest.raises(StorageError, match="redirect"):
        read_document(web.location("/m"), limit=9)
    assert len(web.proxy.requests) == 4


@pytest.mark.parametrize(
    "target",
    [
        "http://{host}/y",
        "https://127.0.0.1:{port}/y",
        "https://localhost:1/y",
        "https://localhost.evil.example/y",
        "https://user:pw@{host}/y",
        "//evil.example/y",
        "file:///etc/hostname",
        "data:text/plain,x",
        "ftp://{host}/y",
        "https://[::1/y",
        "javascript:x",
        "",
        "/a\\b",
        "/../../x\x01",
    ],
)
def test_f08_a_redirect_elsewhere_is_refused(web: Web, target: str) -> None:
    web.put("/y", b"{}")
    text = target.format(host=f"localhost:{web.proxy.port}", port=web.proxy.port)
    web.proxy.rule("/m", redirect(text + "?sig=c4n4ry" if target else ""))
    with pytest.raises(StorageError, match="redirect") as caught:
        read_document(web.location("/m"), limit=9, patience=CALM)
    assert "c4n4ry" not in f"{caught.value!r} {caught.value.hint}"
    assert web.proxy.count("/y") == 0


def test_f08_no_other_server_is_contacted(web: Web, trusted: Authority) -> None:
    with FaultProxy(static({"/y": b"{}"}), tls=trusted.context()) as sink:
        web.proxy.rule("/m", redirect(sink.url + "/y"))
        with pytest.raises(StorageError):
            read_document(web.location("/m"), limit=9)
        assert sink.requests == []


# --- credentials --------------------------------------------------------------------------------------


def _sent(location: Location, *names: str, **environ: str) -> str | None:
    return authorization(location, names, environ).get("Authorization")


def test_tokens_are_found_by_pin_marketplace_and_host(tmp_path: Path) -> None:
    here = parse_location("https://data.example:8443/m.json")
    environ = {
        "NETRC": str(tmp_path / "netrc"),
        "DATABOM_TOKEN_HN_IMAGEPACK": "pin",
        "DATABOM_TOKEN_HUMAN_NATIVE": "market",
        "DATABOM_TOKEN_DATA_EXAMPLE": "host",
    }
    (tmp_path / "netrc").write_text("machine data.example login me password pw\n")
    assert _sent(here, "hn-imagepack", "human.native", **environ) == "Bearer pin"
    assert _sent(here, "other", "human.native", **environ) == "Bearer market"
    assert _sent(here, "other", **environ) == "Bearer host"
    del environ["DATABOM_TOKEN_DATA_EXAMPLE"]
    assert _sent(here, "other", **environ) == "Basic " + base64.b64encode(b"me:pw").decode()
    assert token_variable("a.b-c d") == "DATABOM_TOKEN_A_B_C_D"


def test_netrc_speaks_for_the_very_host_only(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(
        "machine other.example login me password pw\ndefault login all password pw\n"
    )
    assert _sent(parse_location("https://data.example/m"), NETRC=str(tmp_path / "netrc")) is None


def test_the_home_netrc_is_used_and_may_be_absent(clean_environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = parse_location("https://data.example/m")
    assert authorization(here) == {}
    (tmp_path / "home").mkdir()
    netrc = tmp_path / "home/.netrc"
    netrc.write_text("machine data.example login me password pw\n")
    netrc.chmod(0o600)
    assert authorization(here)["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("text", ["machine data.example login me c4n4ry c4n4ry\n", None, "\udcff"])
def test_a_netrc_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "netrc").write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError, match="netrc") as caught:
        _sent(parse_location("https://data.example/m"), NETRC=str(tmp_path / "netrc"))
    assert "c4n4ry" not in repr(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("token", ["two words", "a\r\nHost: evil", "ü"])
def test_a_token_no_header_can_carry_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _sent(parse_location("https://data.example/m"), DATABOM_TOKEN_DATA_EXAMPLE=token)
    assert token not in str(caught.value)


@pytest.mark.parametrize("query", ["X-Amz-Signature=a", "a=b&sig=c", "Expires=1&Signature=x"])
def test_a_presigned_url_gets_no_second_credential(query: str) -> None:
    here = parse_location(f"https://data.example/m?{query}")
    assert _sent(here, DATABOM_TOKEN_DATA_EXAMPLE="t") is None
    assert (
        _sent(parse_location("https://data.example/m?design=1"), DATABOM_TOKEN_DATA_EXAMPLE="t") == "Bearer t"
    )


# --- presigned -----------------------------------------------------------------------------------------


@pytest.mark.s3
def test_a_presigned_url_works_and_an_expired_one_is_denied(
    s3_server: SeaweedFS, bucket: Location, trusted: Authority, clean_environ: pytest.MonkeyPatch
) -> None:
    from databom.storage.s3 import put_object

    put_object(bucket.join("m.json"), b"{}")
    with FaultProxy(r2(forward(s3_server.endpoint)), tls=trusted.context()) as proxy:
        aws_environ(clean_environ, s3_server, proxy.url)
        client = boto3.client(
            "s3", region_name="auto", config=Config(s3={"addressing_style": "path"}, signature_version="s3v4")
        )
        wanted = {"Bucket": bucket.host, "Key": f"{bucket.path}/m.json"}
        good = parse_location(client.generate_presigned_url("get_object", wanted, ExpiresIn=60))
        late = parse_location(client.generate_presigned_url("get_object", wanted, ExpiresIn=-60))
        client.close()
        assert read_document(good, limit=9) == b"{}"
        with pytest.raises(DeniedError) as caught:
            read_document(late, limit=9)
        assert "expired" in str(caught.value.hint)
        with pytest.raises(DeniedError):
            read_optional_document(good.sibling(".dsse"), limit=9)  # unsigned: denied, not assumed absent


def test_k01_k02_no_text_holds_a_secret(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABOM_TOKEN_LOCALHOST", "c4n4ry-token")
    query = "?X-Amz-Signature=c4n4ry-sig&X-Amz-Credential=c4n4ry-cred&X-Amz-Security-Token=c4n4ry-sts"
    faults = [
        echo_secrets(403),
        echo_secrets(404),
        echo_secrets(400),
        echo_secrets(500),
        redirect("/y" + query),
    ]
    texts = []
    with caplog.at_level(logging.DEBUG):
        for path, q in (("/presigned", query), ("/token", "")):
            for i, fault in enumerate(faults):
                web.proxy.rule(f"{path}{i}", fault)
                location = web.location(f"{path}{i}{q}")
                with pytest.raises(StorageError) as caught:
                    read_document(location, limit=9, patience=CALM)
                error = caught.value
                texts += [repr(error), str(error), str(error.hint), str(error.where), repr(location)]
                assert error.__cause__ is None
    sent = " ".join(request.target + str(request.header("Authorization")) for request in web.proxy.requests)
    assert "c4n4ry-sts" in sent  # they were really sent
    assert "c4n4ry-token" in sent
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "GET /presigned0" in logged  # and there is a log to search
    assert "c4n4ry" not in logged + "\n".join(texts)


# --- TLS and proxies (F18) --------------------------------------------------------------------------------


def _tls(context_of: Authority, *names: str, expired: bool = False) -> FaultProxy:
    return FaultProxy(static({"/x": b"data"}), tls=context_of.context(*names, expired=expired))


def test_f18_an_unknown_authority_is_refused(clean_environ: pytest.MonkeyPatch, authority: Authority) -> None:
    with _tls(authority) as proxy, pytest.raises(StorageError, match="TLS") as caught:
        open_reader(parse_location(proxy.url)).open("x")
    assert proxy.requests == []
    assert caught.value.retryable is False
    assert "SSL_CERT_FILE" in str(caught.value.hint)


@pytest.mark.parametrize(("names", "expired"), [(("other.example",), False), ((), True)])
def test_f18_a_wrong_name_and_an_expired_certificate_are_refused(
    trusted: Authority, names: tuple[str, ...], expired: bool
) -> None:
    with _tls(trusted, *names, expired=expired) as proxy, pytest.raises(StorageError, match="TLS"):
        open_reader(parse_location(proxy.url)).open("x")
    assert proxy.requests == []


@pytest.mark.parametrize("variable", ["PYTHONHTTPSVERIFY", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_f18_no_variable_switches_verification_off(
    clean_environ: pytest.MonkeyPatch, authority: Authority, variable: str
) -> None:
    clean_environ.setenv(variable, "0" if variable == "PYTHONHTTPSVERIFY" else "")
    with _tls(authority) as proxy, pytest.raises(StorageError, match="TLS"):
        open_reader(parse_location(proxy.url)).open("x")


@pytest.mark.s3
def test_f18_buckets_verify_too(clean_environ: pytest.MonkeyPatch, authority: Authority) -> None:
    clean_environ.setenv("AWS_ACCESS_KEY_ID", "k")
    clean_environ.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with _tls(authority) as proxy:
        clean_environ.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        with pytest.raises(StorageError, match="certificate") as caught:
            open_reader(parse_location("s3://bucket")).open("x")
    assert proxy.requests == []
    assert "AWS_CA_BUNDLE" in str(caught.value.hint)


def test_f18_plain_http_behind_an_https_location_is_refused(trusted: Authority) -> None:
    with FaultProxy(static({"/x": b"data"})) as proxy:
        location = parse_location(f"https://localhost:{proxy.port}")
        with pytest.raises(StorageError):
            open_reader(location, patience=CALM).open("x")
        assert proxy.requests == []


def test_f18_a_proxy_of_the_environment_is_used_and_the_certificate_still_verified(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.put("/x", b"data")
    with RawServer(connect_proxy) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:c4n4ry@127.0.0.1:{proxy.port}")
        with open_reader(web.location()).open("x") as stream:
            assert stream.read(9) == b"data"
        assert proxy.connections == 1
        monkeypatch.setenv("NO_PROXY", "localhost")
        with open_reader(web.location()).open("x") as stream:
            assert stream.read(9) == b"data"
        assert proxy.connections == 1
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(StorageError, match="TLS"):
            open_reader(web.location()).open("x")


@pytest.mark.parametrize(
    ("proxy", "kind"),
    [
        ("socks5://user:c4n4ry@127.0.0.1:1", ConfigError),
        ("http://", ConfigError),
        ("http://[", ConfigError),
        ("http://user:c4n4ry@127.0.0.1:1", UnreachableError),
    ],
)
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(
    web: Web, monkeypatch: pytest.MonkeyPatch, proxy: str, kind: type[Exception]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(kind, match="HTTPS_PROXY") as caught:
        open_reader(web.location(), patience=CALM).open("x")
    assert "c4n4ry" not in f"{caught.value!r} {getattr(caught.value, 'hint', '')}"
    assert proxy_for("localhost") == proxy
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for("localhost") is None


def test_nothing_listens(web: Web) -> None:
    web.proxy.stop()
    with pytest.raises(UnreachableError, match="could not be reached") as caught:
        open_reader(web.location(), patience=CALM).open("x")
    assert caught.value.code == "storage.unreachable"


def test_a_host_that_does_not_exist_is_unreachable(clean_environ: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreachableError):
        open_reader(parse_location("https://databom.invalid"), patience=CALM).open("x")


def test_an_answer_that_is_not_http(trusted: Authority) -> None:
    context = trusted.context()

    def talk(sock: object, over: object) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:  # type: ignore[arg-type]
            tls.recv(1000)
            tls.sendall(b"220 smtp ready\r\n")

    with RawServer(talk) as server, pytest.raises(UnreachableError):
        open_reader(parse_location(f"https://localhost:{server.port}"), patience=CALM).open("x")


def test_an_address_has_a_token_name_too() -> None:
    environ = {"DATABOM_TOKEN___1": "t", "NETRC": os.devnull}
    assert _sent(parse_location("https://[::1]:8443/x"), **environ) == "Bearer t"
