"""What is remembered between runs: found again, never believed against the bytes, and nobody else's to write."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databom.checks import recalling, streaming
from databom.checks.engine import Begun, survey
from databom.checks.integrity import Integrity, check_integrity, remembering
from databom.checks.streaming import check_all
from databom.model import listings as listing
from databom.model.finding import Report, Subject, Verdict
from databom.storage import hashcache, machine
from databom.storage.hashcache import MAGIC, HashCache
from databom.storage.localfile import file_stat
from databom.storage.tree import LocalTree
from support.trees import as_nobody, manifest_of, plant

SIZE = hashcache.LEAST_BYTES + 1
FILES = {f"d{n % 3}/{n:03}": bytes([n]) * SIZE for n in range(40)} | {"big": b"b" * 300_000, "tiny": b"t"}
REMEMBERED = len(FILES) - 1
"""All but the tiny one."""


@pytest.fixture(autouse=True)
def _worth_it_and_not_racy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small trees of files that were written a moment ago: the two things that are not remembered."""
    monkeypatch.setattr(recalling, "WORTH_FILES", 1)
    monkeypatch.setattr(recalling, "RACY_NS", 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree", FILES)


@pytest.fixture
def cache(root: Path, tmp_path: Path) -> HashCache:
    return HashCache(root, tmp_path / "cache")


@pytest.fixture
def rows(tmp_path: Path, cache: HashCache, root: Path) -> Path:
    """The file that holds the rows of a tree that was verified once."""
    assert check(root, cache).summary.hashed == len(FILES)
    [path] = (tmp_path / "cache/hashes").glob("*.rows")
    return path


def check(
    root: Path, cache: HashCache | None, files: dict[str, bytes] = FILES, *, md5: bool = False
) -> Integrity:
    manifest, tree = manifest_of(files), LocalTree(root)
    with remembering(manifest.assets, tree, cache, md5=md5) as memory:
        return check_integrity(manifest, tree, memory=memory, md5=md5, outcomes=md5)


def is_forgotten(root: Path, cache: HashCache) -> bool:
    """Whether the next run reads everything, and passes."""
    answer = check(root, cache)
    assert answer.findings == ()
    return answer.summary.unchanged == 0 and answer.summary.hashed == len(FILES)


# --- remembered -------------------------------------------------------------------------------------


def test_the_second_time_nearly_nothing_is_read(root: Path, cache: HashCache) -> None:
    first, second = check(root, cache), check(root, cache)
    assert first.findings == second.findings == ()
    assert (first.summary.hashed, first.summary.unchanged) == (len(FILES), 0)
    # The tiny file, and a sample of one.
    assert (second.summary.hashed, second.summary.unchanged) == (2, REMEMBERED - 1)
    assert first.summary.bytes == second.summary.bytes == sum(map(len, FILES.values()))
    assert first.summary.checked == second.summary.checked == len(FILES)


def test_what_was_written_since_reading_began_is_not_remembered(root: Path, cache: HashCache) -> None:
    """Reading may begin long before anybody asks what to remember: it is the reading that a change must precede."""
    manifest, tree = manifest_of(FILES), LocalTree(root)
    begun = Begun(manifest.assets, tree, memory=True)
    while (root / "big").stat().st_ctime_ns <= begun.started_ns:  # the file system's clock ticks more slowly
        (root / "big").touch()
    findings, _ = check_all(manifest, tree, cache=cache, begun=begun)
    assert findings == ()
    assert {path for path, _ in cache.rows()} == FILES.keys() - {"tiny", "big"}


def test_without_a_cache_everything_is_read(root: Path, rows: Path) -> None:
    assert check(root, None).summary.hashed == len(FILES)


def test_the_sample_is_another_each_time(root: Path, cache: HashCache, rows: Path) -> None:
    os.unlink(root / "tiny")
    files = {path: data for path, data in FILES.items() if path != "tiny"}
    read = set()
    for _ in range(60):
        assets = manifest_of(files).assets
        memory = recalling.Memory(assets, LocalTree(root), cache, md5=False)
        read |= {asset.path for asset in memory.left(assets)}
        assert memory.left(assets) == memory.sampled(assets)
    assert len(read) > 5


def test_a_huge_file_is_sampled_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalling, "SAMPLE_BYTES", 100)
    taken = sum(bool(recalling._sample([0], lambda _: 1000)) for _ in range(2000))
    assert 100 < taken < 350
    assert recalling._sample([0], lambda _: 100) == [0]


def test_an_md5_that_was_not_computed_is_read_for(root: Path, cache: HashCache, rows: Path) -> None:
    with_md5 = check(root, cache, md5=True)
    assert with_md5.summary.unchanged == 0
    again = check(root, cache, md5=True)
    assert again.summary.unchanged == REMEMBERED - 1
    assert {o.path: o.md5 for o in again.outcomes} == {
        path: hashlib.md5(data).hexdigest() for path, data in FILES.items()
    }
    assert [o.stat for o in again.outcomes] == [o.stat for o in with_md5.outcomes]


def test_a_run_that_is_cut_short_remembers_what_it_read(root: Path, cache: HashCache) -> None:
    class Enough(Exception):
        pass

    def stop(assets: int, _size: int) -> None:
        if assets >= 3:
            raise Enough

    files = {f"big{n}": b"b" * 300_000 for n in range(9)}
    plant(root, files)
    with pytest.raises(Enough):
        check_all(manifest_of(files), LocalTree(root), cache=cache, progress=stop)
    assert check(root, cache, files).summary.unchanged == 3 - 1  # one is the sample


def test_two_trees_do_not_mix(root: Path, cache: HashCache, rows: Path, tmp_path: Path) -> None:
    other = plant(tmp_path / "other", FILES)
    assert is_forgotten(other, HashCache(other, tmp_path / "cache"))
    assert check(root, cache).summary.unchanged == REMEMBERED - 1


def test_small_work_is_not_remembered(
    root: Path, cache: HashCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recalling, "WORTH_FILES", 2_000)
    check(root, cache)
    assert not (tmp_path / "cache").exists()


# --- in rounds -----------------------------------------------------------------------------------------


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that is checked in rounds, its list decoded in parts."""
    monkeypatch.setattr(streaming, "MANY", 10)
    monkeypatch.setattr(streaming, "ROUND", 7)
    monkeypatch.setattr(listing, "PART", 4)
    monkeypatch.setattr(listing, "FEW", 4)


@pytest.mark.parametrize("shuffled", [False, True])
def test_rounds_remember_as_one_run_does(root: Path, cache: HashCache, rounds: None, shuffled: bool) -> None:
    files = dict(sorted(FILES.items(), key=lambda pair: pair[1][:1] * shuffled))
    for expected in ((len(FILES), 0), (2, REMEMBERED - 1), (2, REMEMBERED - 1)):
        findings, summary = check_all(manifest_of(files), LocalTree(root), cache=cache)
        assert findings == ()
        assert (summary.hashed, summary.unchanged) == expected
        assert (summary.checked, summary.bytes) == (len(FILES), sum(map(len, FILES.values())))
    assert [path for path, _ in cache.rows()] == sorted(FILES.keys() - {"tiny"})
    (root / "d1/001").write_bytes(b"x" * SIZE)
    (root / "tiny").unlink()
    findings, summary = check_all(manifest_of(files), LocalTree(root), cache=cache)
    assert {one.subject: one.code for one in findings} == {
        "d1/001": "integrity.mismatch",
        "tiny": "integrity.missing",
    }
    assert summary.failed == 2


def test_a_sample_that_lies_makes_all_rounds_read(
    root: Path, cache: HashCache, rows: Path, rounds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(root, cache, "d1/001")
    monkeypatch.setattr(recalling, "_sample", lambda known, _size: known[15:16])
    findings, summary = check_all(manifest_of(FILES), LocalTree(root), cache=cache)
    assert [(one.code, one.subject) for one in findings] == [("integrity.mismatch", "d1/001")]
    assert (summary.hashed, summary.unchanged) == (len(FILES), 0)


# --- found: E01, E02 ----------------------------------------------------------------------------------


def in_place(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


def by_mmap(path: Path, data: bytes) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:] = data


def by_hard_link(path: Path, data: bytes) -> None:
    outside = path.parents[2] / "outside"
    os.link(path, outside)
    in_place(outside, data)
    outside.unlink()


def by_rename(path: Path, data: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(data)
    other.replace(path)


@pytest.mark.parametrize("tamper", [in_place, by_mmap, by_hard_link, by_rename])
def test_e01_e02_same_size_and_restored_mtime(
    root: Path, cache: HashCache, rows: Path, tamper: Callable[[Path, bytes], None]
) -> None:
    victim = root / "d1/001"
    before = victim.stat()
    tamper(victim, b"x" * SIZE)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (victim.stat().st_size, victim.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    for _ in range(2):  # bad news is never remembered
        [finding] = check(root, cache).findings
        assert (finding.code, finding.subject) == ("integrity.mismatch", "d1/001")


def test_a_file_that_is_gone_or_a_link_or_shared_is_found(
    root: Path, cache: HashCache, rows: Path, tmp_path: Path
) -> None:
    (root / "d0/000").unlink()
    shutil.move(root / "d1/001", tmp_path / "moved")
    (root / "d1/001").symlink_to(tmp_path / "moved")
    os.link(root / "d2/002", tmp_path / "link")
    found = {finding.subject: finding.code for finding in check(root, cache).findings}
    assert found == {
        "d0/000": "integrity.missing",
        "d1/001": "integrity.unsafe-file",
        "d2/002": "integrity.unsafe-file",
    }


def test_another_release_in_the_same_place_is_compared_with_its_own_manifest(
    root: Path, cache: HashCache, rows: Path
) -> None:
    newer = {**FILES, "d1/001": b"n" * SIZE}
    [finding] = check(root, cache, newer).findings
    assert (finding.code, finding.subject) == ("integrity.mismatch", "d1/001")


# --- not recorded: E03, E07 ---------------------------------------------------------------------------


@pytest.fixture
def mapped(root: Path) -> Iterator[mmap.mmap]:
    """A file that somebody maps writable and has written to: later writes leave its times as they are."""
    with (root / "d1/001").open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:] = FILES["d1/001"]
        yield view


def test_e03_a_mapping_that_was_dirty_before(root: Path, cache: HashCache, mapped: mmap.mmap) -> None:
    assert check(root, cache).findings == ()
    before = (root / "d1/001").stat()
    mapped[:] = b"x" * SIZE
    after = (root / "d1/001").stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    [finding] = check(root, cache).findings
    assert (finding.code, finding.subject) == ("integrity.mismatch", "d1/001")


def test_e03_strict_refuses_a_file_that_is_open_for_writing(root: Path, mapped: mmap.mmap) -> None:
    answer = check_integrity(manifest_of(FILES), LocalTree(root), leases=True)
    [finding] = answer.findings
    assert (finding.code, finding.subject) == ("integrity.changed", "d1/001")
    assert "open for writing" in finding.what
    assert answer.summary.hashed == len(FILES) - 1


def test_strict_passes_where_nobody_writes(root: Path) -> None:
    answer = check_integrity(manifest_of(FILES), LocalTree(root), leases=True)
    assert (answer.findings, answer.summary.hashed) == ((), len(FILES))


def test_strict_without_leases_cannot_answer(root: Path) -> None:
    """Another user's files can have none."""
    tree = LocalTree(root)
    tree.check_root()
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    with as_nobody():
        answer = check_integrity(manifest_of(FILES), tree, leases=True)
    assert {finding.code for finding in answer.findings} == {"integrity.unanswered"}
    assert (answer.summary.checked, answer.summary.hashed) == (0, 0)
    assert Report(Subject(), answer.findings).verdict is Verdict.UNANSWERED


def test_a_writer_who_comes_during_the_lease_does_not_end_this_process(root: Path) -> None:
    """The kernel tells the lease's holder by a signal, whose default would be its death."""
    code = """
import os, sys, threading
from databom.storage import posix
descriptor = os.open(sys.argv[1], os.O_RDONLY)
assert posix.lease(descriptor, hold=True)
try:
    os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
except BlockingIOError:
    print("kept out", posix.lease_is_held(descriptor))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(root / "big")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "kept out False\n"), done.stderr


def test_e07_a_file_written_a_moment_ago_is_not_remembered(
    root: Path, cache: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recalling, "RACY_NS", 3600 * 10**9)
    check(root, cache)
    assert is_forgotten(root, cache)


# --- not believed: E06, E08 ---------------------------------------------------------------------------


def forge(root: Path, cache: HashCache, victim: str) -> None:
    """Write to a file, and make its row fit."""
    real = [(path, hashcache.unpack_row(row)) for path, row in cache.rows()]
    (root / victim).write_bytes(b"x" * SIZE)
    key = file_stat((root / victim).stat())
    cache.keep(
        (path, hashcache.pack_row(row._replace(key=key) if path == victim else row)) for path, row in real
    )


def edit(rows: Path, at: int) -> None:
    data = bytearray(rows.read_bytes())
    data[at] ^= 1
    rows.write_bytes(data)


@pytest.mark.parametrize("at", [0, len(MAGIC), len(MAGIC) + 4, len(MAGIC) + 40, -1, -60])
def test_e06_a_row_that_was_edited_is_no_row(root: Path, cache: HashCache, rows: Path, at: int) -> None:
    edit(rows, at)
    assert is_forgotten(root, cache)


@pytest.mark.parametrize("keep", [0, 5, len(MAGIC), len(MAGIC) + 20, 500, -1])
def test_a_torn_file_is_no_file(root: Path, cache: HashCache, rows: Path, keep: int) -> None:
    rows.write_bytes(rows.read_bytes()[:keep])
    assert is_forgotten(root, cache)


def test_e06_another_key(root: Path, cache: HashCache, rows: Path) -> None:
    rows.with_name("key").write_bytes(bytes(32))
    assert is_forgotten(root, cache)


def test_e06_a_key_that_others_can_read(root: Path, cache: HashCache, rows: Path) -> None:
    rows.with_name("key").chmod(0o644)
    assert check(root, cache).summary.unchanged == 0


def test_e06_a_key_that_is_a_link(root: Path, cache: HashCache, rows: Path, tmp_path: Path) -> None:
    key = rows.with_name("key")
    shutil.move(key, tmp_path / "key")
    key.symlink_to(tmp_path / "key")
    assert check(root, cache).summary.unchanged == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a folder away")
def test_e06_another_users_cache(root: Path, cache: HashCache, rows: Path) -> None:
    os.chown(rows.parent, 12345, 12345)
    check(root, cache)
    assert check(root, cache).summary.unchanged == 0


def test_e06_copied_from_another_machine(
    root: Path, cache: HashCache, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashcache, "machine", lambda: "another")
    assert machine.machine() != "another"
    assert is_forgotten(root, cache)


def test_e06_rows_of_another_tree(root: Path, cache: HashCache, rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(root, other)
    theirs = HashCache(other, tmp_path / "cache")
    check(other, theirs)
    [path] = {*rows.parent.glob("*.rows")} - {rows}
    path.write_bytes(rows.read_bytes())
    assert is_forgotten(other, theirs)


def test_e08_a_forged_ctime_is_found_by_the_sample(
    root: Path, cache: HashCache, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root can give a file back all its times. Here the row is made to fit instead: the same thing to us."""
    forge(root, cache, "d1/001")
    monkeypatch.setattr(recalling, "_sample", lambda known, _size: known[:1])
    assert check(root, cache).findings == ()  # this sample missed it: what is promised is no more than that
    monkeypatch.setattr(recalling, "_sample", lambda known, _size: known[15:16])
    at = sorted(FILES).index("d1/001")
    assert at == 15
    answer = check(root, cache)
    assert [(f.code, f.subject) for f in answer.findings] == [("integrity.mismatch", "d1/001")]
    assert (answer.summary.hashed, answer.summary.unchanged) == (len(FILES), 0)
    assert check(root, cache).summary.unchanged == 0  # and nothing of it is left


def test_e08_a_row_that_lies_is_the_end_of_all_rows_also_of_a_run_that_is_cut_short(
    root: Path, cache: HashCache, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(root, cache, "d1/001")
    monkeypatch.setattr(recalling, "_sample", lambda known, _size: known[15:16])
    manifest, tree = manifest_of(FILES), LocalTree(root)
    with remembering(manifest.assets, tree, cache) as memory:
        reading = survey(manifest.assets, tree, memory=memory)
        while "d1/001" not in {outcome.path for outcome in next(reading)[1].outcomes}:
            pass
        reading.close()
    assert check(root, cache).summary.unchanged == 0


def test_a_cache_that_cannot_be_written_costs_nobody(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = HashCache(root, tmp_path / "file")
    assert is_forgotten(root, cache)
    assert is_forgotten(root, cache)
    cache.forget()
