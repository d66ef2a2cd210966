"""Group F of the attack catalogue: what stores, proxies and networks do, through both remote readers.

Every fault is served by a real server on loopback to the real clients. Only where silence is the fault does
`HASTE` shorten the time limits, so that the wait ends soon; nothing here asserts a duration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from databom.checks.integrity import Integrity, check_integrity
from databom.errors import (
    DeniedError,
    InputError,
    MissingError,
    StorageError,
    TruncatedError,
    UnreachableError,
)
from databom.model.manifest import Manifest, read_manifest
from databom.storage.location import Location, parse_location
from databom.storage.reader import (
    CHUNK,
    Patience,
    Reader,
    open_reader,
    read_document,
    read_optional_document,
    with_retries,
)
from support import faultproxy as faults
from support.faultproxy import Fault, FaultProxy, RawServer, black_hole, drip_handshake
from support.fixtures_r2 import CALM, HASTE, FaultyBucket, use_client
from support.tls import Authority

pytestmark = pytest.mark.s3

BODY = bytes(range(256)) * 2_000  # 512,000 bytes


@dataclass
class Remote:
    """A root on a server that can lie, over S3 or https."""

    root: Location
    proxy: FaultProxy
    put: Callable[[str, bytes], None]
    client: str

    def reader(self, patience: Patience = CALM) -> Reader:
        return open_reader(self.root, patience=patience)

    def gets(self, path: str = "") -> int:
        return sum(r.method == "GET" and r.path.endswith(path) for r in self.proxy.requests)


@pytest.fixture(params=["obstore", "s3fs", "https"])
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Remote:
    if request.param != "https":
        use_client(request.param, monkeypatch)
        bucket = request.getfixturevalue("faulty_bucket")
        return Remote(bucket.location, bucket.proxy, bucket.put, request.param)
    web = request.getfixturevalue("web")
    return Remote(web.location("/rel"), web.proxy, lambda path, body: web.put(f"/rel/{path}", body), "https")


def read(reader: Reader, path: str) -> bytes:
    with reader.open(path) as stream:
        return b"".join(iter(lambda: stream.read(CHUNK), b""))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest_of(bodies: dict[str, bytes], *, sizes: bool = True) -> Manifest:
    assets = [
        {"path": path, "sha256": sha256(body)} | ({"size": len(body)} if sizes else {})
        for path, body in bodies.items()
    ]
    document = {
        "dataset_id": "d",
        "version": "1",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0"},
        "assets": assets,
    }
    return read_manifest(json.dumps(document).encode())


def check(
    remote: Remote, bodies: dict[str, bytes], *, sizes: bool = True, patience: Patience = CALM
) -> Integrity:
    return check_integrity(manifest_of(bodies, sizes=sizes), remote.reader(patience), outcomes=True)


def codes(integrity: Integrity) -> dict[str | None, str]:
    return {finding.subject: finding.code for finding in integrity.findings}


# --- F01: the connection ends early -----------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 100_000, len(BODY) - 1])
def test_f01_a_body_that_ends_early_is_truncated(remote: Remote, at: int) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.truncate(at))
    with pytest.raises(TruncatedError, match=f"{len(BODY)} bytes announced") as caught:
        read(remote.reader(), "x")
    assert caught.value.retryable
    assert caught.value.code == "storage.truncated"


@pytest.mark.parametrize("fault", [faults.truncate(100_000), faults.reset(100_000), faults.chunked(cut=True)])
def test_f01_and_read_again_from_the_start_it_is_right(remote: Remote, fault: Fault) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", fault, times=2)
    reader = remote.reader()
    assert with_retries(lambda: read(reader, "x"), attempts=3, pause=0.01) == BODY
    assert remote.gets("/x") == 3


def test_f01_a_reset_connection_is_unreachable(remote: Remote) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.reset(100_000))
    with pytest.raises((UnreachableError, TruncatedError)) as caught:
        read(remote.reader(), "x")
    assert caught.value.retryable


def test_f01_a_chunked_body_without_its_last_chunk_is_truncated(remote: Remote) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.chunked(cut=True))
    with pytest.raises(TruncatedError):
        read(remote.reader(), "x")


def test_f01_a_server_that_hangs_up_without_an_answer_is_tried_three_times(remote: Remote) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.hang_up)
    with pytest.raises(UnreachableError):
        read(remote.reader(), "x")
    assert remote.proxy.count("/x") >= CALM.attempts


def test_f01_documents_are_read_again_by_themselves(remote: Remote) -> None:
    remote.put("m.json", b"{}" * 1000)
    remote.proxy.rule("m.json", faults.truncate(5), times=2)
    assert read_document(remote.root.join("m.json"), limit=2000, patience=CALM) == b"{}" * 1000


# --- F02, F04, F05: the body is another one -----------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [faults.short_length(1), faults.no_length(1), faults.replace(BODY[:-1]), faults.replace(b"")]
)
@pytest.mark.parametrize("sizes", [True, False])
def test_f02_a_clean_end_that_comes_early_is_not_a_pass(remote: Remote, fault: Fault, sizes: bool) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", fault)
    integrity = check(remote, {"x": BODY}, sizes=sizes)
    assert codes(integrity)["x"] in {"integrity.size", "integrity.mismatch"}


def test_f02_no_length_at_all_is_fine_if_the_bytes_are(remote: Remote) -> None:
    remote.put("x", BODY)
    remote.put("y", BODY)
    remote.proxy.rule("/x", faults.no_length())
    remote.proxy.rule("/y", faults.chunked())
    reader = remote.reader()
    for path in ("x", "y"):
        with reader.open(path) as stream:
            assert stream.length is None
        assert read(reader, path) == BODY
    assert check(remote, {"x": BODY, "y": BODY}).findings == ()


@pytest.mark.parametrize("at", [0, 1000, len(BODY) - 1])
def test_f02_one_bit_is_enough(remote: Remote, at: int) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.flip(at))
    assert codes(check(remote, {"x": BODY})) == {"x": "integrity.mismatch"}


@pytest.mark.parametrize("fault", [faults.replace(bytes(len(BODY))), faults.replace(BODY[::-1])])
def test_f04_one_request_reads_one_version_and_the_digest_decides(remote: Remote, fault: Fault) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.truncate(100_000), times=1)
    remote.proxy.rule("/x", fault)
    reader = remote.reader()
    # Broken after 100,000 bytes of the old object, then overwritten: the new one is read whole, never appended.
    data = with_retries(lambda: read(reader, "x"), attempts=2, pause=0.01)
    assert len(data) == len(BODY)
    assert data[:100_000] != BODY[:100_000]
    assert codes(check(remote, {"x": BODY})) == {"x": "integrity.mismatch"}
    assert all(request.header("Range") is None for request in remote.proxy.requests)


@pytest.mark.parametrize("fault", [faults.oversize(), faults.oversize(bytes(10**6))])
@pytest.mark.parametrize("sizes", [True, False])
def test_f05_a_longer_body_is_not_a_pass(remote: Remote, fault: Fault, sizes: bool) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", fault)
    assert codes(check(remote, {"x": BODY}, sizes=sizes))["x"] in {"integrity.size", "integrity.mismatch"}


def test_f05_an_endless_body_is_cut_at_the_declared_size(remote: Remote) -> None:
    sent = 0

    def endless(_: faults.Request, given: faults.Answer, wire: faults.Wire) -> None:
        nonlocal sent
        wire.head(given.with_header("Content-Length", None).with_header("Connection", "close"))
        while sent < 1 << 30:
            wire.write(bytes(1 << 16))
            sent += 1 << 16

    remote.put("x", BODY)
    remote.proxy.rule("/x", endless)
    assert codes(check(remote, {"x": BODY})) == {"x": "integrity.size"}
    # What the kernel's and the client's buffers took before we hung up, and no more.
    assert sent < 64 << 20


@pytest.mark.parametrize("fault", [faults.oversize(), faults.endless(1 << 28)])
def test_f05_a_document_is_cut_at_its_limit(remote: Remote, fault: Fault) -> None:
    remote.put("m.json", b"{}")
    remote.proxy.rule("m.json", fault)
    with pytest.raises(InputError) as caught:
        read_document(remote.root.join("m.json"), limit=2, patience=CALM)
    assert caught.value.problems[0].code == "manifest.limit"
    # An answer, not a failure: nothing to try again. Only what obstore refuses to hand over is asked of s3fs.
    assert remote.gets("m.json") <= (2 if remote.client == "obstore" else 1)


# --- F03: Range ------------------------------------------------------------------------------------------


def test_f03_a_partial_answer_nobody_asked_for_is_refused(remote: Remote) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.status(206, BODY[:10], [("Content-Range", f"bytes 0-9/{len(BODY)}")]))
    if remote.client == "obstore":  # which does not tell the status; the digest decides
        assert codes(check(remote, {"x": BODY})) == {"x": "integrity.size"}
        assert codes(check(remote, {"x": BODY}, sizes=False)) == {"x": "integrity.mismatch"}
        return
    with pytest.raises(StorageError, match="HTTP 206"):
        read(remote.reader(), "x")


def test_f03_no_range_is_ever_asked_for(remote: Remote) -> None:
    """So a store that ignores Range has nothing to ignore, and no part can end up in the wrong place."""
    remote.put("big", BODY * 20)
    assert check(remote, {"big": BODY * 20}).findings == ()
    assert all(request.header("Range") is None for request in remote.proxy.requests)


# --- F06: too slow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.stall(),
        faults.stall(0),
        faults.stall(100_000),
        faults.drip(),
        faults.drip_headers(),
        faults.drip_chunk_size(),
    ],
    ids=["no answer", "headers only", "part of the body", "drip", "drip in headers", "drip in chunk size"],
)
def test_f06_silence_and_drip_are_given_up(remote: Remote, fault: Fault) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", fault)
    with pytest.raises(UnreachableError) as caught:
        read(remote.reader(HASTE), "x")
    assert caught.value.retryable
    assert remote.gets("/x") <= HASTE.attempts


@pytest.mark.parametrize("client", ["obstore", "s3fs", "https"])
@pytest.mark.parametrize("talk", [black_hole, drip_handshake])
def test_f06_a_server_that_only_accepts_is_given_up(
    clean_environ: pytest.MonkeyPatch, client: str, talk: Callable[..., None]
) -> None:
    use_client(client, clean_environ)
    with RawServer(talk) as server:
        clean_environ.setenv("AWS_ENDPOINT_URL_S3", f"https://127.0.0.1:{server.port}")
        clean_environ.setenv("AWS_ACCESS_KEY_ID", "k")
        clean_environ.setenv("AWS_SECRET_ACCESS_KEY", "s")
        root = "s3://bucket" if client != "https" else f"https://127.0.0.1:{server.port}"
        brief = Patience(connect=0.5, idle=0.5, budget=2.0, pause=0.01)
        reader = open_reader(parse_location(root), patience=brief)
        with pytest.raises(UnreachableError):
            reader.open("x")
        assert 1 <= server.connections <= brief.attempts


def test_f06_a_dead_store_is_given_up_once_and_not_once_per_asset(remote: Remote) -> None:
    remote.proxy.rule("/dead", faults.status(503))
    remote.put("alive", BODY)
    reader = remote.reader()
    for i in range(20):
        with pytest.raises(UnreachableError):
            reader.open(f"dead{i}")
    assert remote.proxy.count("/dead") == 3 * CALM.attempts
    with pytest.raises(UnreachableError, match="not tried"):
        reader.open("alive")
    assert read(remote.reader(), "alive") == BODY  # a new reader asks afresh


def test_f06_one_answer_closes_the_case(remote: Remote) -> None:
    remote.proxy.rule("/dead", faults.status(503))
    reader = remote.reader()
    for i in range(6):
        with pytest.raises(UnreachableError, match="busy"):
            reader.open(f"dead{i}")
        with pytest.raises(MissingError):
            reader.open(f"absent{i}")


def test_f06_a_document_has_a_deadline_of_its_own(remote: Remote) -> None:
    """However well it keeps its pace: nobody waits for a manifest all day."""
    remote.put("m.json", BODY)
    remote.proxy.rule("m.json", faults.drip())
    brief = Patience(connect=5.0, idle=5.0, least_rate=0, document=0.1, attempts=1)
    with pytest.raises(UnreachableError, match="not complete"):
        read_document(remote.root.join("m.json"), limit=len(BODY), patience=brief)


# --- F07: encodings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, bytes(16 << 20)], ids=["gzip", "bomb"])
def test_f07_an_encoded_body_is_refused_and_never_inflated(remote: Remote, body: bytes | None) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.gzipped(body))
    for attempt in (
        lambda: read(remote.reader(), "x"),
        lambda: read_document(remote.root.join("x"), limit=10**9),
    ):
        with pytest.raises(StorageError, match="Content-Encoding") as caught:
            attempt()
        assert not caught.value.retryable
    assert {r.header("Accept-Encoding") for r in remote.proxy.requests if r.method == "GET"} == {"identity"}


def test_f07_gzip_without_saying_so_is_just_other_bytes(remote: Remote) -> None:
    def silent(request: faults.Request, given: faults.Answer, wire: faults.Wire) -> None:
        import gzip

        wire.send(given.with_body(gzip.compress(given.body)))

    remote.put("x", BODY)
    remote.proxy.rule("/x", silent)
    assert codes(check(remote, {"x": BODY})) == {"x": "integrity.size"}


# --- F08: redirects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["{sink}/x", "file:///etc/hostname", "http://127.0.0.1:1/x"])
def test_f08_no_redirect_is_followed_and_nobody_else_is_asked(remote: Remote, code: int, target: str) -> None:
    remote.put("x", BODY)
    remote.proxy.clear()
    with FaultProxy(faults.static({"/x": b"stolen"})) as sink:
        remote.proxy.rule("/x", faults.redirect(target.format(sink=sink.url), code))
        with pytest.raises(StorageError, match="redirect") as caught:
            read(remote.reader(), "x")
        assert sink.requests == []
        assert sink.connections == 0
    assert not isinstance(caught.value, UnreachableError)
    assert [request.path.rpartition("/")[2] for request in remote.proxy.requests] == ["x"]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_f08_a_redirect_within_the_same_host_gains_nothing(remote: Remote, code: int) -> None:
    """obstore cannot be told not to follow one (docs/adr/0011): the signature is of another path, the bytes are."""
    remote.put("x", BODY)
    remote.put("other", BODY)
    remote.proxy.clear()
    prefix = "/rel" if remote.client == "https" else f"/{remote.root.host}/{remote.root.path}"
    remote.proxy.rule("/x", faults.redirect(f"{prefix}/other", code))
    integrity = check(remote, {"x": BODY})
    assert integrity.summary.checked == 0
    assert codes(integrity) == {
        "x": "storage.denied" if remote.client == "obstore" else "storage.unreachable"
    }
    assert len(remote.proxy.requests) == (2 if remote.client == "obstore" else 1)


def test_f08_not_even_a_documents_redirect_on_s3(remote: Remote) -> None:
    remote.put("m.json", b"{}")
    with FaultProxy(faults.static({"/m.json": b"{}"})) as sink:
        remote.proxy.rule("m.json", faults.redirect(sink.url + "/m.json"))
        with pytest.raises(StorageError, match="redirect"):
            read_document(remote.root.join("m.json"), limit=9)
        assert sink.connections == 0


@pytest.mark.parametrize(
    ("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")]
)
def test_f08_s3_cannot_choose_another_region(
    client: str, faulty_bucket: FaultyBucket, status: int, code: str
) -> None:
    faulty_bucket.put("x", BODY)
    xml = f"<Error><Code>{code}</Code><Region>evil</Region><Endpoint>evil.example</Endpoint></Error>"
    region = [("x-amz-bucket-region", "eu-west-1")]
    faulty_bucket.proxy.rule("/x", faults.status(status, xml.encode(), region))
    with pytest.raises(StorageError):
        read(open_reader(faulty_bucket.location, patience=CALM), "x")
    assert len(faulty_bucket.proxy.requests) == 1


# --- F09: asset paths are never URLs --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["file:/etc/hostname", "simplecache::file:", "data:x", "s3:bucket", "http:x"]
)
def test_f09_a_path_that_looks_like_a_url_is_a_name(remote: Remote, path: str) -> None:
    remote.put(path, BODY)
    assert read(remote.reader(), path) == BODY


# --- F10: names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["obstore", "s3fs", "https"])
def test_f10_a_name_that_leads_to_a_private_address_needs_its_certificate(
    client: str, trusted: Authority, clean_environ: pytest.MonkeyPatch
) -> None:
    """Rebinding moves a name to another server; without a certificate for that very name nothing is sent to it."""
    use_client(client, clean_environ)
    if client == "obstore":
        clean_environ.delenv("AWS_CA_BUNDLE")  # it goes by SSL_CERT_FILE, which names the same
    with FaultProxy(faults.static({"/bucket/x": BODY}), tls=trusted.context("data.example")) as proxy:
        clean_environ.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        clean_environ.setenv("AWS_ACCESS_KEY_ID", "k")
        clean_environ.setenv("AWS_SECRET_ACCESS_KEY", "s")
        root = "s3://bucket" if client != "https" else proxy.url + "/bucket"
        with pytest.raises(StorageError, match=r"TLS") as caught:
            open_reader(parse_location(root), patience=CALM).open("x")
        assert not caught.value.retryable
        assert proxy.requests == []


# --- F11: busy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.s3_error(429, "TooManyRequests"),
        faults.s3_error(503, "SlowDown", headers=[("Retry-After", "0")]),
        faults.s3_error(500, "InternalError"),
        faults.status(502, b"<html>Bad gateway</html>"),
    ],
    ids=["429", "503", "500", "502"],
)
def test_f11_a_busy_store_is_asked_again_within_bounds(remote: Remote, fault: Fault) -> None:
    remote.put("x", BODY)
    remote.proxy.clear()
    remote.proxy.rule("/x", fault, times=2)
    reader = remote.reader()
    assert read(reader, "x") == BODY
    assert remote.gets("/x") == 3
    remote.proxy.clear()
    remote.proxy.rule("/x", fault)
    with pytest.raises(UnreachableError, match="busy"):
        read(reader, "x")
    assert remote.gets("/x") == CALM.attempts


def test_f11_a_retry_after_beyond_all_patience_ends_it_at_once(remote: Remote) -> None:
    remote.put("x", BODY)
    remote.proxy.clear()
    remote.proxy.rule("/x", faults.s3_error(503, "SlowDown", headers=[("Retry-After", "3600")]))
    with pytest.raises(UnreachableError):
        read(remote.reader(), "x")
    # obstore does not tell the header: then the pauses are our own, and as many as ever.
    assert remote.gets("/x") == (CALM.attempts if remote.client == "obstore" else 1)


# --- F12, F13: denied, missing ----------------------------------------------------------------------------


def test_f12_a_token_that_dies_midway_keeps_what_was_finished(remote: Remote) -> None:
    bodies = {f"a{i:02}": BODY[: 1000 + i] for i in range(20)}
    for path, body in bodies.items():
        remote.put(path, body)
    remote.proxy.clear()
    remote.proxy.rule("/a", faults.s3_error(403, "AccessDenied"), after=7)
    integrity = check(remote, bodies)
    assert integrity.summary.checked == 7
    assert [outcome.sha256 for outcome in integrity.outcomes].count(None) == 13
    assert {finding.code for finding in integrity.findings} == {"storage.denied"}
    assert remote.gets() == 20  # a refusal is an answer: none was asked for twice


def test_f13_all_missing_assets_are_told_in_one_pass(remote: Remote) -> None:
    bodies = {f"a{i:02}": BODY[: 1000 + i] for i in range(12)}
    for path, body in bodies.items():
        if path not in {"a03", "a07", "a11"}:
            remote.put(path, body)
    integrity = check(remote, bodies)
    assert codes(integrity) == dict.fromkeys(("a03", "a07", "a11"), "integrity.missing")
    with pytest.raises(MissingError) as caught:
        remote.reader().open("a03")
    assert caught.value.code == "storage.missing"


def test_an_envelope_is_missing_denied_or_there(remote: Remote) -> None:
    manifest = remote.root.join("m.json")
    remote.put("m.json", b"{}")
    assert read_optional_document(manifest.sibling(".dsse"), limit=9, patience=CALM) is None
    remote.proxy.rule(".dsse", faults.s3_error(403, "AccessDenied"))
    with pytest.raises(DeniedError) as caught:
        read_optional_document(manifest.sibling(".dsse"), limit=9, patience=CALM)
    # A bucket that may not be listed answers 403 for what does not exist: the hint says so.
    assert ("list the bucket" in str(caught.value.hint)) == remote.root.is_bucket


def test_denied_and_missing_are_told_apart(remote: Remote) -> None:
    remote.put("x", BODY)
    remote.proxy.rule("/x", faults.s3_error(403, "AccessDenied"))
    with pytest.raises(DeniedError):
        remote.reader().open("x")
    with pytest.raises(MissingError):
        remote.reader().open("y")


# --- F14, F17: what is cached, what is claimed ---------------------------------------------------------------


def test_f14_a_change_in_the_store_is_seen_at_once(remote: Remote) -> None:
    remote.put("x", BODY)
    reader = remote.reader()
    assert read(reader, "x") == BODY
    remote.put("x", BODY[::-1])
    assert read(reader, "x") == BODY[::-1]
    with pytest.raises(MissingError):
        reader.open("y")
    remote.put("y", BODY)
    assert read(reader, "y") == BODY


@pytest.mark.parametrize("etag", ['"d41d8cd98f00b204e9800998ecf8427e"', '"abc-3"', "W/weak", "", '"'])
def test_f17_an_etag_says_nothing(remote: Remote, etag: str) -> None:
    def lying(_: faults.Request, given: faults.Answer, wire: faults.Wire) -> None:
        wire.send(given.with_header("ETag", etag).with_header("x-amz-checksum-sha256", "AAAA"))

    remote.put("x", BODY)
    remote.proxy.rule("/x", lying)
    assert check(remote, {"x": BODY}).findings == ()


# --- the group's sizes ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 5 << 20, 60 << 20])
def test_every_size_survives_and_every_misbehavior_is_seen(remote: Remote, size: int) -> None:
    body = (BODY * (size // len(BODY) + 1))[:size]
    remote.put("x", body)
    assert check(remote, {"x": body}).findings == ()
    lies: list[Fault] = [faults.oversize(), faults.stall(size // 2), faults.status(404)]
    if size:
        lies += [
            faults.truncate(size // 2),
            faults.short_length(1),
            faults.no_length(1),
            faults.flip(size // 2),
        ]
    for lie in lies:
        remote.proxy.clear()
        remote.proxy.rule("/x", lie)
        assert check(remote, {"x": body}, patience=HASTE).findings != () or (size == 0 and lie is lies[1])
