"""A log in a bucket: many writers, no lock, conditional writes alone, at the pace of R2."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from databom.checks.log import audit
from databom.errors import ConfigError, DatabomError
from databom.log.appending import Log
from databom.log.checkpoint import Speakers, cosign
from databom.log.merkle import leaf_hash
from databom.log.reading import LogReader
from databom.log.tiles import Edge
from databom.log.witnessing import attach
from databom.storage.location import Location, parse_location
from databom.storage.shelf import open_shelf, open_writable_shelf
from databom.storage.shelf_s3 import BucketShelf
from databom.trust.keys import PrivateKey
from support.faultproxy import FaultProxy, hang_up, lost_ack, s3_error
from support.fixtures_r2 import CALM, FaultyBucket, aws_environ
from support.tlog import NOW, ORIGIN, append_in_groups

pytestmark = pytest.mark.s3
FULL = bool(os.environ.get("DATABOM_TORTURE"))
KEY = PrivateKey.generate()


@dataclass
class BucketLog:
    location: Location
    key: PrivateKey

    @property
    def speakers(self) -> Speakers:
        return Speakers.by_keys([self.key.public])

    def writer(self) -> Log:
        return Log(BucketShelf(self.location, CALM), ORIGIN, [self.key], self.speakers)

    def reader(self) -> LogReader:
        return LogReader.open(open_shelf(self.location), self.speakers, ORIGIN, now=NOW)

    def entries(self) -> list[bytes]:
        reader = self.reader()
        assert audit(reader, {}, self.speakers).findings == ()
        return [entry for _, entry in reader.entries(0, reader.size)]


@pytest.fixture
def paced(r2_bucket: Location, s3_server: object, clean_environ: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The façade as strict as R2 about the pace of writes; the environment leads there."""
    from support.faultproxy import forward
    from support.r2facade import r2

    with FaultProxy(r2(forward(s3_server.endpoint), write_every=1.0)) as proxy:  # type: ignore[attr-defined]
        aws_environ(clean_environ, s3_server, proxy.url)  # type: ignore[arg-type]
        yield proxy


def test_a_log_in_a_bucket_is_the_log_in_a_directory(
    r2_bucket: Location, client: str, tmp_path: object
) -> None:
    log = BucketLog(r2_bucket, KEY)
    writer = log.writer()
    assert writer.append([b"one", b"two"]) == range(2)
    assert writer.append([b"%d" % number for number in range(300)]) == range(2, 302)
    assert log.writer().append([b"by another"]) == range(302, 303)
    entries = [b"one", b"two", *(b"%d" % number for number in range(300)), b"by another"]
    assert log.entries() == entries
    here = Log(open_writable_shelf(parse_location(str(tmp_path))), ORIGIN, [KEY], log.speakers)
    here.append(entries)
    assert here.checkpoint == log.reader().opened.raw
    entry, proof = log.reader().prove(300)
    assert proof.holds_for(entry)


def test_a_cosignature_stays_until_the_log_grows(r2_bucket: Location) -> None:
    log, witness = BucketLog(r2_bucket, KEY), PrivateKey.generate()
    log.writer().append([b"one"])
    text = log.reader().opened.note.text
    line = cosign(text, "w", witness, NOW)
    shelf = open_writable_shelf(r2_bucket)
    assert attach(shelf, line, text)
    assert attach(shelf, line, text)
    assert log.reader().opened.note.lines[1:] == (line,)
    log.writer().append([b"two"])
    assert not attach(shelf, line, text)
    assert len(log.reader().opened.note.lines) == 1


def test_threads_with_logs_of_their_own_race_for_each_place(paced: FaultProxy, r2_bucket: Location) -> None:
    """Two Log objects share nothing but the bucket, as two machines do."""
    log, failures = BucketLog(r2_bucket, KEY), []

    def work(name: int) -> None:
        try:
            writer = log.writer()
            for number in range(3):
                (index,) = writer.append([b"%d-%d" % (name, number)])
                assert log.reader().entry(index) == b"%d-%d" % (name, number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(log.entries()) == sorted(b"%d-%d" % (name, n) for name in range(4) for n in range(3))


def test_g10_many_processes_one_history_in_a_bucket(paced: FaultProxy, r2_bucket: Location) -> None:
    """8 × 1,000 with DATABOM_TORTURE, 3 × 60 without."""
    processes, count, group = (8, 1000, 50) if FULL else (3, 60, 20)
    context = multiprocessing.get_context("spawn")
    arguments = (r2_bucket.stored, KEY.pem())
    workers = [
        context.Process(target=append_in_groups, args=(*arguments, name, count, group))
        for name in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * processes
    log = BucketLog(r2_bucket, KEY)
    entries = log.entries()
    assert sorted(entries) == sorted(b"%d-%d" % (name, n) for name in range(processes) for n in range(count))
    assert log.reader().edge() == Edge().grown([leaf_hash(entry) for entry in entries])[0]


@pytest.mark.parametrize("where", ["/.state/staged/", "/tile/0/", "/tile/entries/", "/checkpoint"])
@pytest.mark.parametrize(
    "fault", [lost_ack, hang_up, s3_error(503, "ServiceUnavailable"), s3_error(429, "TooManyRequests")]
)
def test_h09_an_answer_that_is_lost_once(faulty_bucket: FaultyBucket, where: str, fault: object) -> None:
    log = BucketLog(faulty_bucket.location, KEY)
    log.writer().append([b"one"])
    faulty_bucket.proxy.rule(where, fault, times=1, method="PUT")  # type: ignore[arg-type]
    assert log.writer().append([b"two"]) == range(1, 2)
    assert log.entries() == [b"one", b"two"]


@pytest.mark.parametrize("where", ["/.state/staged/", "/tile/0/", "/tile/entries/"])
def test_h08_a_writer_that_gives_up_is_finished_by_the_next(faulty_bucket: FaultyBucket, where: str) -> None:
    log = BucketLog(faulty_bucket.location, KEY)
    log.writer().append([b"one"])
    faulty_bucket.proxy.rule(where, s3_error(403, "AccessDenied"), method="PUT", asked=False)
    with pytest.raises(DatabomError, match="denied"):
        log.writer().append([b"two"])
    assert log.entries() == [b"one"]
    faulty_bucket.proxy.clear()
    landed = where != "/.state/staged/"
    assert log.writer().append([b"three"]) == (range(2, 3) if landed else range(1, 2))
    assert log.entries() == ([b"one", b"two", b"three"] if landed else [b"one", b"three"])


def test_https_is_only_read(r2_bucket: Location) -> None:
    with pytest.raises(ConfigError, match="can only be read"):
        open_writable_shelf(parse_location("https://log.example/"))
