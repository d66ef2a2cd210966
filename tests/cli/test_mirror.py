"""`databom mirror`: a release in a bucket of the team's own, and everything that may be there already."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import databom
from databom.errors import ConfigError
from databom.hosts.seaweed import SeaweedFS
from databom.storage.location import Location, parse_location
from databom.storage.s3 import S3Reader
from support import faultproxy as faults
from support.faultproxy import FaultProxy, forward
from support.fixtures_r2 import FaultyBucket, aws_environ
from support.house import FILES, House
from support.r2facade import r2

pytestmark = pytest.mark.s3

TWINS = {**FILES, "images/cat2.jpg": FILES["images/cat1.jpg"]}


def key_of(data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return f"sha256/{digest[:2]}/{digest}"


def in_it(mirror: Location) -> set[str]:
    """The keys of a mirror."""
    return {path for path, _ in S3Reader(mirror).walk()}


def puts(proxy: FaultProxy) -> list[str]:
    return [request.path for request in proxy.requests if request.method == "PUT"]


@pytest.fixture
def synced(house: House) -> House:
    """A project whose pin `pets` is synced from a folder."""
    house.init()
    house.ok("add", house.release(TWINS, "--sequence", "1"), "--name", "pets")
    house.ok("sync", "pets")
    return house


def release_of(house: House) -> str:
    pin = json.loads((house.project / "databom.lock").read_text())["pins"]["pets"]
    return f"releases/{pin['manifest'].removeprefix('sha256:')}"


# --- the way without incident ----------------------------------------------------------------------------


def test_a_release_is_copied_under_its_digests_and_remembered(
    synced: House, faulty_bucket: FaultyBucket
) -> None:
    mirror, proxy = faulty_bucket.location, faulty_bucket.proxy
    pins = json.loads((synced.project / "databom.lock").read_text())["pins"]
    answer = synced.json("mirror", "pets", str(mirror))
    assert answer.code == 0, answer.out
    assert {request.method for request in proxy.requests} == {"PUT"}
    folder = release_of(synced)
    documents = {f"{folder}/manifest.json", f"{folder}/manifest.json.dsse"}
    assert in_it(mirror) == {key_of(data) for data in TWINS.values()} | documents
    assert puts(proxy)[-1].endswith("/manifest.json")  # where it is, all is
    [stored] = [f for f in answer.findings if f["code"] == "mirror.stored"]
    assert stored["subject"] == f"{mirror}/{folder}/manifest.json"
    assert stored["what"].startswith("5 objects stored")  # of four files two are the same
    assert answer.report["summary"]["checked"] == 4
    lock = json.loads((synced.project / "databom.lock").read_text())
    assert lock["mirrors"] == {"pets": {"location": str(mirror), "manifest": pins["pets"]["manifest"]}}
    assert lock["pins"] == pins  # what DVC watches has not changed
    assert answer.err.endswith(": pass\n")
    assert not list((synced.project / ".databom/mirrored").iterdir())
    assert not list((synced.project / ".databom/mirror").iterdir())


def test_the_shards_of_a_large_release_go_with_it(house: House, faulty_bucket: FaultyBucket) -> None:
    """Whoever reads the mirror by its address needs nothing else, and a shard that is not right is told."""
    mirror = faulty_bucket.location
    house.init()
    house.ok("add", house.release(TWINS, "--sequence", "1", "--shard", "2"), "--name", "pets")
    house.ok("sync", "pets")
    assert house.json("mirror", "pets", str(mirror)).code == 0
    folder = release_of(house)
    shards = {path for path in in_it(mirror) if path.startswith(f"{folder}/manifest.index/")}
    assert len(shards) == 2
    address = f"{mirror}/{folder}/manifest.json"
    answer = house.json("verify", address, "--trust", house.project / "provenance/trust.json", cwd=house.base)
    assert (answer.code, answer.report["summary"]["checked"]) == (0, 4)
    assert house.json("verify", "pets", "--mirror").code == 0
    S3Reader(mirror).put(min(shards), b"{}\n")
    assert house.json("verify", "pets", "--mirror").blocking == {"mirror.conflict"}


def test_text_says_whether_it_is_locked_and_how_to_lock_it(synced: House, bucket: Location) -> None:
    told = synced.ok("mirror", "pets", str(bucket))
    assert "WARN   mirror.lock" in told.out
    assert "aws s3api put-object-lock-configuration --bucket databom-tests" in told.out
    assert synced.json("mirror", "pets", str(bucket), "--strict").code == 1


def test_at_r2_the_lock_is_unknown_and_the_command_is_wranglers(
    synced: House, faulty_bucket: FaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = faulty_bucket.location
    told = synced.ok("mirror", "pets", f"{mirror}/")
    assert "lock: whether these objects are locked is not known" in told.err
    command = (
        f"npx wrangler r2 bucket lock add databom-tests --name databom-{mirror.path} --prefix {mirror.path}/ "
        "--retention-indefinite"
    )
    assert f"  do: {command}\n" in told.err
    monkeypatch.setenv("R2_JURISDICTION", "eu")
    assert synced.json("mirror", "pets", str(mirror), "--strict").code == 0
    [lock] = [f for f in synced.json("mirror", "pets", str(mirror)).findings if f["code"] == "mirror.lock"]
    assert (lock["found"], lock["do"]) == ("unknown", f"{command} --jurisdiction eu")


def test_what_is_not_here_comes_from_the_marketplace(house: House, faulty_bucket: FaultyBucket) -> None:
    house.init()
    house.ok("add", house.release(), "--name", "pets")
    assert house.json("mirror", "pets", str(faulty_bucket.location)).code == 0
    assert len(in_it(faulty_bucket.location)) == len(FILES) + 2
    assert not house.data.exists()


def test_a_large_file_goes_up_in_parts_and_is_read_back_whole(
    house: House, faulty_bucket: FaultyBucket
) -> None:
    big = os.urandom(11 * 1024 * 1024)
    house.init()
    house.ok("add", house.release({"big.bin": big}), "--name", "pets")
    part = 5 * 1024 * 1024
    mirrored = databom.mirror("pets", str(faulty_bucket.location), single_put=part, part=part)
    assert mirrored.verdict.value == "pass", mirrored.findings
    asked = [(r.method, len(r.body)) for r in faulty_bucket.proxy.requests if key_of(big) in r.path]
    assert [size for method, size in asked if method == "PUT"] == [part, part, len(big) - 2 * part]
    assert asked[0] == ("GET", 0)  # parts are not sent to find out that something is there
    assert asked[-1] == ("GET", 0)
    house.ok("verify", "pets", "--mirror")


def test_a_large_file_that_is_not_what_was_sent_is_no_pass(house: House, faulty_bucket: FaultyBucket) -> None:
    big = os.urandom(6 * 1024 * 1024)
    house.init()
    house.ok("add", house.release({"big.bin": big}), "--name", "pets")
    faulty_bucket.proxy.rule(key_of(big), faults.flip(17), method="GET", after=1)
    part = 5 * 1024 * 1024
    mirrored = databom.mirror("pets", str(faulty_bucket.location), single_put=part, part=part)
    assert [f.code for f in mirrored.blocking] == ["mirror.conflict"]
    kept = next((house.project / ".databom/quarantine/pets").glob("*/asset/big.bin"))
    assert kept.stat().st_size == len(big)


def test_credentials_that_may_only_put_are_enough_and_what_they_cannot_know_is_said(
    synced: House, s3_server: SeaweedFS, bucket: Location, clean_environ: pytest.MonkeyPatch
) -> None:
    mirror = parse_location(f"r2://{bucket.host}/{bucket.path}")
    only = frozenset({"PutObject"})
    with FaultProxy(r2(forward(s3_server.endpoint), actions=only)) as proxy:
        aws_environ(clean_environ, s3_server, proxy.url)
        assert synced.json("mirror", "pets", str(mirror)).code == 0
        assert {request.method for request in proxy.requests} == {"PUT"}
        again = synced.json("mirror", "pets", str(mirror))
    assert again.code == 3
    assert again.blocking == {"storage.denied"}
    finding = next(f for f in again.findings if f["subject"] == "images/dog1.jpg")
    assert f"{mirror}/{key_of(FILES['images/dog1.jpg'])} is there already" in finding["what"]
    assert "not confirmed" in finding["what"]
    assert "GetObject" in finding["do"]
    assert finding["expected"] == f"sha256:{hashlib.sha256(FILES['images/dog1.jpg']).hexdigest()}"


# --- nothing wrong gets in -------------------------------------------------------------------------------


def test_a_changed_local_file_is_told_and_the_marketplaces_is_copied(
    synced: House, faulty_bucket: FaultyBucket
) -> None:
    (synced.data / "images/dog1.jpg").write_bytes(b"a dog, LONGER\n")
    answer = synced.json("mirror", "pets", str(faulty_bucket.location))
    assert answer.code == 0
    [doubt] = [f for f in answer.findings if f["severity"] == "warn" and f["code"].startswith("integrity.")]
    assert (doubt["code"], doubt["subject"]) == ("integrity.mismatch", "images/dog1.jpg")
    assert key_of(FILES["images/dog1.jpg"]) in in_it(faulty_bucket.location)
    assert key_of(b"a dog, LONGER\n") not in in_it(faulty_bucket.location)


def test_bytes_that_match_nowhere_are_evidence_and_nothing_is_stored_for_them(
    house: House, faulty_bucket: FaultyBucket
) -> None:
    manifest = house.pinned()
    (manifest.parent / "images/dog1.jpg").write_bytes(b"a dog, LONGER\n")
    for _ in range(2):  # nobody has decided: not fetched again
        answer = house.json("mirror", "pets", str(faulty_bucket.location))
        assert (answer.code, answer.blocking) == (1, {"integrity.mismatch"})
    keys = in_it(faulty_bucket.location)
    assert keys == {key_of(FILES["images/cat1.jpg"]), key_of(b"")}  # and no document says that all is there
    [kept] = (house.project / ".databom/quarantine/pets").glob("*/asset/images/dog1.jpg")
    assert kept.read_bytes() == b"a dog, LONGER\n"
    assert "mirrors" not in json.loads((house.project / "databom.lock").read_text())


def test_a_refused_release_is_not_copied(synced: House, faulty_bucket: FaultyBucket) -> None:
    (synced.project / "provenance/manifests/pets.json").write_bytes(b"{}")
    answer = synced.json("mirror", "pets", str(faulty_bucket.location))
    assert answer.code == 1
    assert faulty_bucket.proxy.requests == []


@pytest.mark.parametrize("what", ["asset", "manifest", "envelope"])
def test_f15_other_bytes_that_are_there_stay_and_are_kept_as_evidence(
    synced: House, faulty_bucket: FaultyBucket, what: str
) -> None:
    folder = release_of(synced)
    key, code_path = {
        "asset": (key_of(FILES["images/dog1.jpg"]), "images/dog1.jpg"),
        "manifest": (f"{folder}/manifest.json", f"{folder}/manifest.json"),
        "envelope": (f"{folder}/manifest.json.dsse", f"{folder}/manifest.json.dsse"),
    }[what]
    theirs = b"a dog, LONGER\n"
    faulty_bucket.put(key, theirs)
    for _ in range(2):
        answer = synced.json("mirror", "pets", str(faulty_bucket.location))
        assert (answer.code, answer.blocking) == (1, {"mirror.conflict"})
        [finding] = [f for f in answer.findings if f["code"] == "mirror.conflict"]
        assert finding["subject"] == code_path
        assert "nothing was overwritten" in finding["what"] or "nobody has decided" in finding["what"]
        assert "mirror to another prefix" in finding["do"]
    [kept] = (synced.project / ".databom/quarantine/pets").glob(f"*/asset/{code_path}")
    assert kept.read_bytes() == theirs
    assert "mirrors" not in json.loads((synced.project / "databom.lock").read_text())
    stored = S3Reader(faulty_bucket.location).open(key)
    assert stored.read(100) == theirs


# --- trouble on the way ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (faults.lost_ack, True),
        (faults.s3_error(503, "SlowDown"), False),
        (faults.s3_error(429, "TooManyRequests"), False),
        (faults.s3_error(409, "ConditionalRequestConflict"), False),
        (faults.s3_error(409, "ConditionalRequestConflict"), True),
    ],
    ids=["lost-ack", "503", "429", "409-refused", "409-stored"],
)
def test_trouble_that_passes(
    synced: House, faulty_bucket: FaultyBucket, fault: faults.Fault, asked: bool
) -> None:
    faulty_bucket.proxy.rule("/", fault, method="PUT", times=3, asked=asked)
    answer = synced.json("mirror", "pets", str(faulty_bucket.location))
    assert answer.code == 0, answer.out
    assert synced.json("verify", "pets", "--mirror").code == 0


def test_a_store_that_refuses_is_could_not_answer(synced: House, faulty_bucket: FaultyBucket) -> None:
    faulty_bucket.proxy.rule("/", faults.s3_error(403, "AccessDenied"), asked=False)
    answer = synced.json("mirror", "pets", str(faulty_bucket.location))
    assert (answer.code, answer.blocking) == (3, {"storage.denied"})
    assert len(faulty_bucket.proxy.requests) == 3  # one for each digest: a refusal is not asked again
    faulty_bucket.proxy.clear()
    faulty_bucket.proxy.rule("/", faults.s3_error(404, "NoSuchBucket"), asked=False)
    answer = synced.json("mirror", "pets", str(faulty_bucket.location))
    assert (answer.code, answer.blocking) == (3, {"storage.missing"})


def test_a_store_that_refuses_many_is_not_asked_for_all(house: House, faulty_bucket: FaultyBucket) -> None:
    house.init()
    house.ok("add", house.release({f"{n:03}": f"{n}".encode() for n in range(100)}), "--name", "pets")
    faulty_bucket.proxy.rule("/", faults.s3_error(403, "AccessDenied"), asked=False)
    answer = house.json("mirror", "pets", str(faulty_bucket.location))
    assert answer.code == 3
    assert len(faulty_bucket.proxy.requests) < 50
    assert any("not tried" in f["what"] for f in answer.findings)


def test_two_writers_at_once_both_succeed(synced: House, faulty_bucket: FaultyBucket, tmp_path: Path) -> None:
    """Two clones of one project; the second meets what the first has stored a moment ago, at every object."""
    clone = tmp_path / "clone"
    subprocess.run(["cp", "-r", synced.project, clone], check=True)
    gate = threading.Barrier(2, timeout=60)

    def together(_: faults.Request, given: faults.Answer, wire: faults.Wire) -> None:
        gate.wait()  # neither is answered before both have asked
        wire.send(given)

    faulty_bucket.proxy.rule(key_of(FILES["images/cat1.jpg"]), together, method="PUT", times=2)
    commands = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "databom",
                "mirror",
                "pets",
                str(faulty_bucket.location),
                "--format",
                "json",
            ],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for folder in (synced.project, clone)
    ]
    for command in commands:
        out, err = command.communicate(timeout=120)
        assert command.returncode == 0, out + err
    assert len(in_it(faulty_bucket.location)) == 5
    synced.ok("verify", "pets", "--mirror")


def test_a_run_that_was_killed_goes_on_where_it_was(house: House, faulty_bucket: FaultyBucket) -> None:
    files = {f"{number:02}": bytes([number]) * 1000 for number in range(30)}
    house.init()
    house.ok("add", house.release(files), "--name", "pets")
    proxy = faulty_bucket.proxy
    stopped = threading.Event()

    def hold(request: faults.Request, given: faults.Answer, wire: faults.Wire) -> None:
        stopped.set()
        wire.wait()

    proxy.rule("/", hold, method="PUT", after=20, asked=False)
    command = subprocess.Popen(
        [sys.executable, "-m", "databom", "mirror", "pets", str(faulty_bucket.location)], cwd=house.project
    )
    assert stopped.wait(60)
    command.send_signal(signal.SIGKILL)
    command.wait()
    there = in_it(faulty_bucket.location)
    assert 0 < len(there) < 30
    proxy.clear()
    answer = house.json("mirror", "pets", str(faulty_bucket.location))
    assert answer.code == 0, answer.out
    # Sent again is at most what was under way when the process died: acknowledged, and not yet written down.
    again = {path.rpartition("/")[2] for path in puts(proxy)} & {key.rpartition("/")[2] for key in there}
    assert len(again) <= 16
    assert len(set(puts(proxy))) <= 30 - len(there) + len(again) + 2
    [stored] = [f for f in answer.findings if f["code"] == "mirror.stored"]
    assert "stored by an earlier run that was interrupted" in stored["what"]
    house.ok("verify", "pets", "--mirror")


def test_an_old_journal_is_not_believed(house: House, faulty_bucket: FaultyBucket) -> None:
    house.pinned()
    rule = faulty_bucket.proxy.rule("/releases/", faults.s3_error(403, "AccessDenied"), asked=False)
    assert house.json("mirror", "pets", str(faulty_bucket.location)).code == 3
    [journal] = (house.project / ".databom/mirrored").iterdir()
    assert len(journal.read_text().split()) == 3
    journal.write_bytes(journal.read_bytes() + b"sha256/aa/torn")
    rule.times = 0
    os.utime(journal, (1_700_000_000, 1_700_000_000))
    faulty_bucket.proxy.requests.clear()
    assert house.json("mirror", "pets", str(faulty_bucket.location)).code == 0
    assert [r.method for r in faulty_bucket.proxy.requests].count("GET") == 5  # all were asked for
    assert len(set(puts(faulty_bucket.proxy))) == 2


def test_mirrored_again_nothing_is_sent(synced: House, faulty_bucket: FaultyBucket) -> None:
    synced.ok("mirror", "pets", str(faulty_bucket.location))
    lock = (synced.project / "databom.lock").read_bytes()
    faulty_bucket.proxy.clear()
    answer = synced.json("mirror", "pets", str(faulty_bucket.location))
    assert answer.code == 0
    assert puts(faulty_bucket.proxy) == []
    [stored] = [f for f in answer.findings if f["code"] == "mirror.stored"]
    assert stored["what"].startswith("0 objects stored (0 bytes); 5 there already, read back and the same")
    assert (synced.project / "databom.lock").read_bytes() == lock


def test_what_a_colleague_has_mirrored_is_found_out_after_one_object(
    house: House, faulty_bucket: FaultyBucket, tmp_path: Path
) -> None:
    """The lock of this clone knows no mirror yet; what is there is read, and not sent a hundred times."""
    house.init()
    house.ok("add", house.release({f"{n:03}": f"{n}".encode() for n in range(100)}), "--name", "pets")
    clone = tmp_path / "clone"
    subprocess.run(["cp", "-r", house.project, clone], check=True)
    house.ok("mirror", "pets", str(faulty_bucket.location))
    faulty_bucket.proxy.clear()
    answer = house.json("mirror", "pets", str(faulty_bucket.location), cwd=clone)
    assert answer.code == 0, answer.out
    assert len(puts(faulty_bucket.proxy)) < 50
    assert json.loads((clone / "databom.lock").read_text())["mirrors"]


# --- usage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["data/mirror", "https://host/x", "ftp://host/x", "s3://b?x=1"])
def test_a_mirror_is_a_bucket(synced: House, url: str) -> None:
    answer = synced.cli("mirror", "pets", url)
    assert answer.code == 2
    assert "s3://" in answer.err


def test_an_unknown_pin_and_a_pin_without_a_mirror(synced: House, bucket: Location) -> None:
    assert synced.cli("mirror", "cats", str(bucket)).code == 2
    answer = synced.cli("verify", "pets", "--mirror")
    assert answer.code == 2
    assert "databom mirror pets s3://BUCKET/PREFIX" in answer.err
    for more in (["--root", "x"], ["--oms"]):
        assert synced.cli("verify", "pets", "--mirror", *more).code == 2
    with pytest.raises(ConfigError, match="--mirror is for pins"):
        databom.verify("x/manifest.json", mirror=True)


# --- using it --------------------------------------------------------------------------------------------


@pytest.fixture
def mirrored(synced: House, faulty_bucket: FaultyBucket) -> Callable[[], None]:
    """The project of `synced`, mirrored; the call takes the local data away."""
    synced.ok("mirror", "pets", str(faulty_bucket.location))
    faulty_bucket.proxy.clear()

    def forget() -> None:
        subprocess.run(["rm", "-rf", synced.data], check=True)

    return forget


def test_sync_prefers_the_mirror(
    synced: House, mirrored: Callable[[], None], faulty_bucket: FaultyBucket
) -> None:
    mirrored()
    subprocess.run(["rm", "-rf", synced.market], check=True)  # the marketplace is gone
    assert synced.json("sync", "pets").code == 0
    assert {name: (synced.data / name).read_bytes() for name in TWINS} == TWINS
    assert all("/sha256/" in request.path for request in faulty_bucket.proxy.requests)


@pytest.mark.parametrize(
    "fault",
    [faults.s3_error(404, "NoSuchKey"), faults.s3_error(403, "AccessDenied"), faults.truncate(3)],
    ids=["missing", "denied", "truncated"],
)
def test_sync_falls_back_to_the_marketplace(
    synced: House,
    mirrored: Callable[[], None],
    faulty_bucket: FaultyBucket,
    fault: faults.Fault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = (synced.project / "provenance/reports/pets.json").read_bytes()
    mirrored()
    faulty_bucket.proxy.rule(key_of(FILES["images/dog1.jpg"]), fault)
    assert synced.json("sync", "pets").code == 0
    assert (synced.data / "images/dog1.jpg").read_bytes() == FILES["images/dog1.jpg"]
    assert "1 of 4 assets were not to be had from the mirror" in caplog.text
    # The stage's report is the same wherever the bytes came from.
    assert (synced.project / "provenance/reports/pets.json").read_bytes() == before


def test_the_engine_reads_a_mirror_on_any_executor(synced: House, mirrored: Callable[[], None]) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        report = databom.verify("pets", mirror=True, executor=pool)
    assert report.to_json() == databom.verify("pets", mirror=True).to_json()
    assert (report.verdict.value, report.summary.checked) == ("pass", 4)


def test_sync_on_a_machine_that_is_not_set_up_for_the_mirror(
    synced: House, mirrored: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored()
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    assert synced.json("sync", "pets").code == 0


def test_a_bad_byte_in_the_mirror_is_evidence_until_somebody_decides(
    synced: House, mirrored: Callable[[], None], faulty_bucket: FaultyBucket
) -> None:
    mirrored()
    key = key_of(FILES["images/dog1.jpg"])
    faulty_bucket.proxy.rule(key, faults.flip(3))
    for _ in range(2):
        answer = synced.json("sync", "pets")
        assert (answer.code, answer.blocking) == (1, {"integrity.mismatch"})
    [case] = (synced.project / ".databom/quarantine/pets").iterdir()
    assert json.loads((case / "record.json").read_text())["source"] == f"{faulty_bucket.location}/{key}"
    assert (case / "asset/images/dog1.jpg").stat().st_size == len(FILES["images/dog1.jpg"])
    remote = synced.json("verify", "pets", "--mirror")
    assert (remote.code, remote.blocking) == (1, {"integrity.mismatch"})
    [finding] = [f for f in remote.findings if f["code"] == "integrity.mismatch"]
    assert f"{faulty_bucket.location}/{key}" in finding["what"]
    faulty_bucket.proxy.requests.clear()
    assert synced.json("sync", "pets", "--refetch").code == 0  # from the marketplace
    assert not any(key in request.path for request in faulty_bucket.proxy.requests)


def test_open_reads_from_the_mirror_or_the_marketplace(
    synced: House, mirrored: Callable[[], None], faulty_bucket: FaultyBucket
) -> None:
    mirrored()
    with databom.open("pets", "images/dog1.jpg") as file:
        assert file.read() == FILES["images/dog1.jpg"]
    assert len(faulty_bucket.proxy.requests) == 1
    faulty_bucket.proxy.rule("/", faults.s3_error(404, "NoSuchKey"))
    with databom.open("pets", "images/dog1.jpg") as file:
        assert file.read() == FILES["images/dog1.jpg"]


def test_anybody_with_the_trust_root_verifies_pins_and_syncs_a_mirror(
    synced: House,
    mirrored: Callable[[], None],
    faulty_bucket: FaultyBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = f"{faulty_bucket.location}/{release_of(synced)}/manifest.json"
    trust = synced.project / "provenance/trust.json"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    answer = synced.json("verify", address, "--trust", trust, "--full", cwd=elsewhere)
    assert answer.code == 0, answer.out
    assert answer.report["summary"]["checked"] == 4
    # Another team pins it from there.
    other = tmp_path / "other"
    other.mkdir()
    synced.ok("init", cwd=other)
    (other / "provenance/trust.json").write_bytes(trust.read_bytes())
    synced.ok("add", address, "--name", "pets", cwd=other)
    assert synced.json("sync", "pets", cwd=other).code == 0
    assert (other / "data/pets/images/dog1.jpg").read_bytes() == FILES["images/dog1.jpg"]
    faulty_bucket.proxy.rule(key_of(FILES["images/dog1.jpg"]), faults.flip(0))
    remote = synced.json("verify", address, "--trust", trust, cwd=elsewhere)
    assert (remote.code, remote.blocking) == (1, {"integrity.mismatch"})


def test_a_mirror_that_was_copied_to_a_disk_is_still_one(
    synced: House, mirrored: Callable[[], None], faulty_bucket: FaultyBucket, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    reader = S3Reader(faulty_bucket.location)
    for key, _ in list(reader.walk()):
        (copy / key).parent.mkdir(parents=True, exist_ok=True)
        (copy / key).write_bytes(reader.open(key).read(1 << 20))
    manifest = copy / release_of(synced) / "manifest.json"
    assert synced.json("verify", manifest).code == 0
    (copy / key_of(b"")).write_bytes(b"x")
    assert synced.json("verify", manifest).code == 1


@pytest.mark.parametrize("suffix", ["", ".dsse"])
def test_verify_mirror_compares_the_documents(
    synced: House, mirrored: Callable[[], None], faulty_bucket: FaultyBucket, suffix: str
) -> None:
    key = f"{release_of(synced)}/manifest.json{suffix}"
    ending = faulty_bucket.proxy.rule(f"{key}", faults.replace(b"{}"))
    assert synced.json("verify", "pets", "--mirror").blocking == {"mirror.conflict"}
    ending.fault = faults.s3_error(404, "NoSuchKey")
    answer = synced.json("verify", "pets", "--mirror")
    assert (answer.code, answer.blocking) == (1, {"integrity.missing"})
    ending.fault = faults.oversize(b"!" * 100)
    assert synced.json("verify", "pets", "--mirror").blocking == {"mirror.conflict"}


def test_after_an_update_the_mirror_gives_what_it_has_and_takes_what_is_new(
    synced: House, mirrored: Callable[[], None], faulty_bucket: FaultyBucket
) -> None:
    new = synced.release({**TWINS, "new.txt": b"new"}, "--sequence", "2", version="2", folder="v2")
    synced.ok("update", "pets", new)
    mirrored()
    assert synced.json("sync", "pets").code == 0
    assert (synced.data / "new.txt").read_bytes() == b"new"
    faulty_bucket.proxy.clear()
    assert synced.json("mirror", "pets", str(faulty_bucket.location)).code == 0
    assert len(set(puts(faulty_bucket.proxy))) == 3  # the new file, the manifest and its envelope
    assert synced.json("verify", "pets", "--mirror").code == 0
