"""`databom verify --fast`: what the bucket says about itself, and that this is never taken for a verification."""

from __future__ import annotations

from dataclasses import replace

import boto3
import pytest
from botocore.config import Config

from databom.storage.s3 import S3Reader
from support import faultproxy as faults
from support.fixtures_r2 import FaultyBucket, Web
from support.house import FILES, Answer, House

pytestmark = pytest.mark.s3

ASSET = "images/cat1.jpg"


@pytest.fixture
def pinned(client: str, house: House, faulty_bucket: FaultyBucket) -> FaultyBucket:
    """A release in the bucket, each object stored with its SHA-256, pinned as `pets`."""
    house.init()
    manifest = house.release()
    for path in manifest.parent.rglob("*"):
        if path.is_file():
            faulty_bucket.put(path.relative_to(manifest.parent).as_posix(), path.read_bytes())
    house.ok("add", f"{faulty_bucket.location}/manifest.json", "--name", "pets")
    faulty_bucket.proxy.clear()
    return faulty_bucket


def fast(house: House, bucket: FaultyBucket, *more: str) -> Answer:
    return house.json("verify", "pets", "--root", str(bucket.location), "--fast", *more)


def plain_put(bucket: FaultyBucket, path: str, body: bytes) -> None:
    """As most tools store it: without a checksum."""
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    store = boto3.client("s3", region_name="auto", config=config)
    store.put_object(Bucket=bucket.location.host, Key=f"{bucket.location.path}/{path}", Body=body)
    store.close()


def test_agreement_is_the_stores_statement_and_never_a_pass(house: House, pinned: FaultyBucket) -> None:
    answer = house.json("verify", "pets", "--root", str(pinned.location), "--fast")
    assert (answer.code, answer.report["verdict"]) == (3, "unanswered")
    assert answer.report["summary"] == {"assets": len(FILES), "bytes": 0, "checked": 0, "failed": 0}
    (finding,) = [f for f in answer.findings if f["code"].startswith(("integrity.", "storage."))]
    assert finding["code"] == "integrity.unanswered"
    count = len(FILES)
    assert f"agrees for {count} of {count} assets ({count} with a SHA-256)" in finding["what"]
    assert "not a verification" in finding["what"]
    assert {r.method for r in pinned.proxy.requests} == {"HEAD"}
    assert len(pinned.proxy.requests) == count
    assert house.json("verify", "pets", "--root", str(pinned.location), "--fast", "--strict").code == 3
    named = house.json("verify", f"{pinned.location}/manifest.json", "--fast")
    assert (named.code, named.report["summary"]["checked"]) == (3, 0)


def test_a_store_that_would_hand_out_other_bytes_is_not_noticed(house: House, pinned: FaultyBucket) -> None:
    """The reason why agreement is no pass."""
    pinned.proxy.rule(ASSET, faults.flip(0))
    assert fast(house, pinned).code == 3
    assert house.json("verify", "pets", "--root", str(pinned.location)).code == 1


def test_another_object_differs_in_the_stores_own_words(house: House, pinned: FaultyBucket) -> None:
    pinned.put(ASSET, FILES[ASSET][::-1])
    answer = fast(house, pinned)
    assert (answer.code, answer.report["verdict"]) == (1, "fail")
    (finding,) = [f for f in answer.findings if f["code"] == "integrity.mismatch"]
    assert finding["subject"] == ASSET
    assert finding["what"].startswith("the store says")
    assert "no byte was read" in finding["what"]
    assert answer.report["summary"] == {"assets": len(FILES), "bytes": 0, "checked": 0, "failed": 1}
    pinned.put(ASSET, FILES[ASSET] + b"!")
    answer = fast(house, pinned)
    (finding,) = [f for f in answer.findings if f["code"] == "integrity.size"]
    assert (answer.code, finding["found"]) == (1, f"{len(FILES[ASSET]) + 1:,} bytes")


def test_without_a_checksum_only_the_size_is_compared_and_that_is_told(
    house: House, pinned: FaultyBucket
) -> None:
    plain_put(pinned, ASSET, FILES[ASSET][::-1])  # same size, other bytes
    answer = fast(house, pinned)
    count = len(FILES)
    assert answer.code == 3
    assert f"agrees for {count} of {count} assets ({count - 1} with a SHA-256)" in answer.out


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"d41d8cd98f00b204e9800998ecf8427e"'},
        {"ETag": '"d41d8cd98f00b204e9800998ecf8427e-3"'},
        {"x-amz-checksum-type": "COMPOSITE", "x-amz-checksum-sha256": "A" * 43 + "=-2"},
        {"x-amz-checksum-type": "COMPOSITE", "x-amz-checksum-sha256": "A" * 43 + "="},
        {"x-amz-checksum-type": None, "x-amz-checksum-sha256": "A" * 43 + "=-1"},
        {"x-amz-checksum-sha256": "AAAA"},
        {"x-amz-checksum-sha256": "no base64"},
        {"x-amz-checksum-sha256": None, "x-amz-checksum-sha1": "AAAA"},
    ],
)
def test_f17_etags_and_checksums_of_parts_are_never_compared(
    house: House, pinned: FaultyBucket, headers: dict[str, str | None]
) -> None:
    def claim(_: faults.Request, given: faults.Answer, wire: faults.Wire) -> None:
        for name, value in headers.items():
            given = given.with_header(name, value)
        wire.send(replace(given, head=True))

    pinned.proxy.rule(ASSET, claim)
    answer = fast(house, pinned)
    assert answer.code == 3
    assert "integrity.mismatch" not in answer.codes


def test_a_multipart_object_has_no_digest_of_its_own(house: House, pinned: FaultyBucket) -> None:
    store = boto3.client("s3", region_name="auto", config=Config(s3={"addressing_style": "path"}))
    where = {"Bucket": pinned.location.host, "Key": f"{pinned.location.path}/{ASSET}"}
    upload = store.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    part = store.upload_part(
        **where, UploadId=upload, PartNumber=1, Body=FILES[ASSET], ChecksumAlgorithm="SHA256"
    )
    done = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}
    store.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": [done]})
    store.close()
    answer = fast(house, pinned)
    assert answer.code == 3
    assert f"({len(FILES) - 1} with a SHA-256)" in answer.out


def test_what_is_missing_or_denied_is_told_beside_it(house: House, pinned: FaultyBucket) -> None:
    pinned.proxy.rule(ASSET, faults.status(404))
    answer = fast(house, pinned)
    assert (answer.code, answer.report["summary"]["failed"]) == (1, 1)
    assert {"integrity.missing", "integrity.unanswered"} <= set(answer.codes)
    pinned.proxy.clear()
    pinned.proxy.rule("/", faults.status(403))
    answer = fast(house, pinned)
    assert answer.code == 3
    assert "storage.denied" in answer.codes
    assert "agrees for 0 of" in answer.out


def test_a_store_that_is_gone_is_given_up(house: House, pinned: FaultyBucket) -> None:
    pinned.proxy.stop()
    answer = fast(house, pinned)
    assert (answer.code, answer.report["summary"]["checked"]) == (3, 0)
    assert "storage.unreachable" in answer.codes


def test_where_no_bucket_is_asked_it_is_wrong_usage(house: House, web: Web) -> None:
    manifest = house.pinned()
    for command in (
        ["verify", "pets", "--fast"],
        ["verify", "--fast"],
        ["verify", str(manifest), "--fast"],
        ["verify", "pets", "--root", str(manifest.parent), "--fast"],
        ["verify", "pets", "--root", web.proxy.url + "/rel", "--fast"],
        ["verify", "pets", "--root", "s3://bucket/rel", "--fast", "--full"],
        ["verify", "pets", "--root", "s3://bucket/rel", "--fast", "--leases"],
    ):
        answer = house.cli(*command)
        assert answer.code == 2, command
        assert "--fast" in answer.err
    assert web.proxy.requests == []


def test_a_statement_needs_no_read(faulty_bucket: FaultyBucket) -> None:
    faulty_bucket.put("x", b"data")
    faulty_bucket.proxy.clear()
    said = S3Reader(faulty_bucket.location).stat("x")
    assert said.size == 4
    (request,) = faulty_bucket.proxy.requests
    assert (request.method, request.header("x-amz-checksum-mode")) == ("HEAD", "ENABLED")
