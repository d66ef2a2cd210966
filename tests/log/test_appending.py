"""Appending: gapless, in one history, whole or not at all, whatever fails and whoever else writes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.checks.log import audit
from databom.errors import ConfigError, InputError, StorageError
from databom.log.appending import MAX_ENTRIES, Log, Staged
from databom.log.checkpoint import Checkpoint, Speakers, parse_checkpoint, sign_checkpoint
from databom.log.merkle import leaf_hash, root_of
from databom.log.note import ED25519, format_vkey, parse_note, sign_note
from databom.log.reading import LogReader
from databom.log.tiles import MAX_ENTRY, Edge
from databom.log.tlogproof import parse_proof
from databom.storage.location import parse_location
from databom.storage.shelf import open_shelf, open_writable_shelf
from databom.trust.keys import PrivateKey
from databom.trust.root import TrustedKey
from support.tlog import (
    NOW,
    ORIGIN,
    FaultyShelf,
    SmallLog,
    append_one_by_one,
    outsider_checks_proof,
    outsider_opens,
)

FULL = bool(os.environ.get("DATABOM_TORTURE"))
"""As many processes and entries as the promise says, rather than a sample."""


def code_of(error: pytest.ExceptionInfo[InputError]) -> str:
    (problem,) = error.value.problems
    return problem.code


@pytest.fixture
def small(tmp_path: Path) -> SmallLog:
    return SmallLog(tmp_path / "log")


def test_entries_stand_where_append_says_and_an_outsider_agrees(small: SmallLog) -> None:
    assert small.append(b"a", b"", b"c" * MAX_ENTRY) == range(3)
    assert small.append() == range(3, 3)
    assert small.append(b"a") == range(3, 4)
    assert small.entries() == [b"a", b"", b"c" * MAX_ENTRY, b"a"]
    vkey = format_vkey(ORIGIN, ED25519, small.key.public)
    origin, size, root = outsider_opens((small.folder / "checkpoint").read_bytes(), vkey)
    assert (origin, size, root) == (ORIGIN, 4, root_of(map(leaf_hash, small.entries())))
    for index, entry in enumerate(small.entries()):
        found, proof = small.reader().prove(index)
        assert found == entry
        assert outsider_checks_proof(bytes(proof), entry, vkey)
        assert not outsider_checks_proof(bytes(proof), entry + b"x", vkey)


@settings(max_examples=8)
@given(steps=st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_any_steps_give_the_same_log(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    folder = tmp_path_factory.mktemp("logs")
    key = PrivateKey.generate()
    entries = [b"%d" % number for number in range(sum(steps))]
    slow, fast = SmallLog(folder / "slow", key), SmallLog(folder / "fast", key)
    writer, done = slow.writer(), 0
    for count in steps:
        assert writer.append(entries[done : done + count]) == range(done, done + count)
        done += count
    fast.append(*entries)
    if entries:
        whole = fast.files()
        assert {name: slow.files()[name] for name in whole} == whole
        assert slow.entries() == entries


def test_partial_files_go_once_the_full_one_is_there(small: SmallLog) -> None:
    writer = small.writer()
    writer.append([b"%d" % number for number in range(250)])
    for number in range(250, 258):
        writer.append([b"%d" % number])
    names = set(small.files())
    assert {
        "tile/0/000",
        "tile/entries/000",
        "tile/0/001.p/2",
        "tile/entries/001.p/2",
        "tile/1/000.p/1",
    } <= names
    assert not any(name.startswith(("tile/0/000.p", "tile/entries/000.p")) for name in names)
    assert small.reader().begins_with(
        Checkpoint(ORIGIN, 100, root_of([leaf_hash(b"%d" % n) for n in range(100)]))
    )


def test_what_cannot_be_an_entry(small: SmallLog) -> None:
    with pytest.raises(ConfigError, match="65,535"):
        small.append(bytes(MAX_ENTRY + 1))
    with pytest.raises(ConfigError, match="16,384"):
        small.append(*[b""] * (MAX_ENTRIES + 1))
    assert not small.folder.exists()


def test_a_stranger_cannot_write(small: SmallLog) -> None:
    stranger, shelf = PrivateKey.generate(), open_writable_shelf(parse_location(str(small.folder)))
    with pytest.raises(ConfigError, match="role `log`"):
        Log(shelf, ORIGIN, [stranger], small.speakers)
    with pytest.raises(ConfigError, match="role `log`"):
        Log(shelf, ORIGIN, [small.key], Speakers(small.speakers.log, threshold=2))
    for name in ("", "a b", "a+b"):
        with pytest.raises(ConfigError, match="cannot be called"):
            Log(shelf, name, [small.key], small.speakers)


def test_two_keys_may_have_to_sign_and_a_new_key_takes_over(small: SmallLog) -> None:
    """H11: a log outlives its key; both sign while one hands over to the other."""
    new = PrivateKey.generate()
    small.append(b"by the old key")
    both = Speakers.by_keys([small.key.public, new.public])
    shelf = open_writable_shelf(parse_location(str(small.folder)))
    Log(shelf, ORIGIN, [small.key, new], both).append([b"by both"])
    assert small.entries() == [b"by the old key", b"by both"]
    # The old key's time is over: the new one goes on from what both have signed.
    over = Speakers(
        {
            small.key.public.keyid: TrustedKey(small.key.public, None, NOW),
            new.public.keyid: TrustedKey(new.public),
        }
    )
    Log(shelf, ORIGIN, [new], over).append([b"by the new key"])
    small.key, small.speakers = new, over
    assert small.entries() == [b"by the old key", b"by both", b"by the new key"]


# --- what is there is not what it was ------------------------------------------------------------------


def test_h03_a_log_that_was_cut_is_not_continued(small: SmallLog) -> None:
    small.append(b"one")
    old = (small.folder / "checkpoint").read_bytes()
    small.append(b"two")
    stated = small.reader().checkpoint
    (small.folder / "checkpoint").write_bytes(old)
    with pytest.raises(InputError) as caught:
        small.writer(anchors=[stated]).append([b"three"])
    assert code_of(caught) == "log.rolled-back"
    (small.folder / "checkpoint").unlink()
    with pytest.raises(InputError) as caught:
        small.writer(anchors=[stated]).append([b"three"])
    assert code_of(caught) == "log.rolled-back"
    # The other half: whoever kept nothing cannot see it from the log alone, but other bytes under a name it can.
    with pytest.raises(InputError) as caught:
        small.append(b"another one")
    assert code_of(caught) == "log.corrupt"


def test_h04_a_log_that_was_rewritten_with_its_own_key_is_not_continued(
    small: SmallLog, tmp_path: Path
) -> None:
    small.append(b"one", b"two")
    stated = small.reader().checkpoint
    rewritten = SmallLog(tmp_path / "rewritten", small.key)
    rewritten.append(b"one", b"three", b"four")
    assert rewritten.entries()
    with pytest.raises(InputError) as caught:
        rewritten.writer(anchors=[stated]).append([b"five"])
    assert code_of(caught) == "log.forked"
    (problem,) = caught.value.problems
    assert str(stated) in (problem.expected or "")
    assert "3 entries" in (problem.found or "")


def test_a_writer_remembers_while_it_lives(small: SmallLog) -> None:
    writer = small.writer()
    writer.append([b"one"])
    old = (small.folder / "checkpoint").read_bytes()
    writer.append([b"two"])
    (small.folder / "checkpoint").write_bytes(old)
    with pytest.raises(InputError) as caught:
        writer.append([b"three"])
    assert code_of(caught) == "log.rolled-back"


def test_a_checkpoint_of_a_stranger_is_not_continued(small: SmallLog) -> None:
    small.append(b"one")
    stated = small.reader().checkpoint
    (small.folder / "checkpoint").write_bytes(sign_checkpoint(stated, [PrivateKey.generate()]))
    with pytest.raises(InputError) as caught:
        small.append(b"two")
    assert code_of(caught) == "signature.untrusted"


def test_a_claim_of_a_stranger_is_not_finished(small: SmallLog) -> None:
    small.append(b"one")
    head = small.reader().edge()
    claim = Staged(ORIGIN, head.size, head.root(), (b"put into our mouth",))
    folder = small.folder / ".state" / "staged"
    good = claim.signed([small.key])
    for bad in (
        claim.signed([PrivateKey.generate()]),
        good[:-1] + b"X",
        good + b"\0\1x",
        Staged("other.example", head.size, head.root(), (b"x",)).signed([small.key]),
        Staged(ORIGIN, head.size, bytes(32), (b"x",)).signed([small.key]),
        Staged(ORIGIN, 5, head.root(), (b"x",)).signed([small.key]),
        b"",
        b"garbage",
    ):
        (folder / "1").write_bytes(bad)
        with pytest.raises(InputError) as caught:
            small.append(b"two")
        assert code_of(caught) == "log.corrupt"
        assert small.entries() == [b"one"]
    (folder / "1").write_bytes(good)
    assert small.append(b"two") == range(2, 3)
    assert small.entries() == [b"one", b"put into our mouth", b"two"]
    assert list(folder.iterdir()) == []


def test_an_edge_that_was_changed_is_not_built_on(small: SmallLog) -> None:
    small.append(b"one", b"two")
    path = small.folder / "tile" / "0" / "000.p" / "2"
    path.write_bytes(b"x" * 64)
    with pytest.raises(InputError) as caught:
        small.append(b"three")
    assert code_of(caught) == "log.corrupt"


def test_an_append_flushes_what_no_power_cut_may_take_and_no_more(
    small: SmallLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.append(b"one")
    flushed: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append(path.relative_to(small.folder).as_posix())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    head = small.reader().edge()
    claim = Staged(ORIGIN, head.size, head.root(), (b"left by a kill",))
    (small.folder / claim.name).write_bytes(claim.signed([small.key]))
    small.append()
    assert small.reader().size == 1  # nobody wanted anything
    small.append(b"two")
    # Its claim first, then ours.
    assert [name for name in flushed if not name.startswith(".state/coming/")] == [
        ".state/staged",
        "tile/entries/000.p",
        ".",
        ".state/staged",
        "tile/entries/000.p",
        ".",
    ]
    flushed.clear()
    small.append(b"three")
    # The claim, the bundle, the checkpoint: each before its name, each name before the next step.
    assert [name for name in flushed if not name.startswith(".state/coming/")] == [
        ".state/staged",
        "tile/entries/000.p",
        ".",
    ]
    assert len(flushed) == 6


@pytest.mark.parametrize("left", [None, b"", b"cut", bytes(64)])
def test_g02_a_partial_tile_that_a_power_cut_took_is_computed_again(
    small: SmallLog, left: bytes | None
) -> None:
    small.append(b"one", b"two")
    path = small.folder / "tile" / "0" / "000.p" / "2"
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    assert small.entries() == [b"one", b"two"]
    assert audit(small.reader(), {}, small.speakers).findings == ()
    assert small.append(b"three") == range(2, 3)
    assert len((path.parent / "3").read_bytes()) == 96


@pytest.mark.parametrize("left", [b"", b"cut", None])
def test_g02_the_next_writer_replaces_what_a_power_cut_tore(small: SmallLog, left: bytes | None) -> None:
    small.append(b"one")
    head = small.reader().edge()
    claim = Staged(ORIGIN, head.size, head.root(), (b"two",))
    (small.folder / claim.name).write_bytes(claim.signed([small.key]))
    tile = small.folder / "tile" / "0" / "000.p" / "2"
    whole = head.grown([leaf_hash(b"two")])[1][0].file[1]
    tile.write_bytes(whole[:40] + bytes(24) if left is None else left and whole[:5])
    assert small.append(b"three") == range(2, 3)
    assert tile.read_bytes() == whole
    (tile.parent / "4").write_bytes(b"another's")
    with pytest.raises(InputError) as caught:
        small.append(b"four")
    assert code_of(caught) == "log.corrupt"


def test_the_last_entries_are_not_copied_on_unseen(small: SmallLog) -> None:
    small.append(b"one", b"two")
    path = small.folder / "tile" / "entries" / "000.p" / "2"
    path.write_bytes(path.read_bytes().replace(b"two", b"six"))
    with pytest.raises(InputError) as caught:
        small.append(b"three")
    assert code_of(caught) == "log.corrupt"


# --- failures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("before", [0, 3, 255, 256])
def test_h08_h09_a_write_that_fails_done_or_not(tmp_path: Path, before: int, after: bool) -> None:
    """At every step of a commit: the entries are there whole or not at all, and the next writer goes on."""
    for fail_at in range(1, 20):
        small = SmallLog(tmp_path / f"{fail_at}")
        old = [b"%d" % number for number in range(before)]
        small.append(*old)
        shelf = FaultyShelf(small.folder, fail_at, after=after)
        log = Log(shelf, ORIGIN, [small.key], small.speakers)
        new = [b"new one", b"new two"]
        try:
            log.append(new)
        except StorageError:
            failed = True
        else:
            failed = False
        acknowledged = [] if failed else new
        assert small.append(b"later").start in ({before, before + 2} if failed else {before + 2})
        found = small.entries()
        assert found[:before] == old
        assert found[-1] == b"later"
        assert found[before:-1] in ([], new)
        assert set(acknowledged) <= set(found)
        # Whoever was told nothing finds out, without reading what was before.
        assert small.reader().find(b"new two", since=before) == (
            before + 1 if len(found) > before + 1 else None
        )
        if not failed:
            assert fail_at > 4
            return
        # The same writer goes on, too.
        assert log.append([b"last"]) == range(len(found), len(found) + 1)
    pytest.fail("no commit got through")


def test_g13_a_commit_that_is_interrupted_is_not_made_twice(tmp_path: Path) -> None:
    for fail_at in range(1, 6):
        small = SmallLog(tmp_path / f"{fail_at}")
        shelf = FaultyShelf(small.folder, fail_at, after=True, error=KeyboardInterrupt)
        log = Log(shelf, ORIGIN, [small.key], small.speakers)
        with pytest.raises(KeyboardInterrupt):
            log.append([b"one", b"two"])
        assert log.append([b"later"]) == range(2, 3)
        assert small.entries() == [b"one", b"two", b"later"]


def test_find_reads_the_newest_first_and_stops(small: SmallLog) -> None:
    small.append(*[b"%d" % (number % 300) for number in range(600)])
    reader = small.reader()
    assert reader.find(b"7") == 307
    assert reader.find(b"7", since=307) == 307
    assert reader.find(b"7", since=308) is None
    assert reader.find(b"nothing") is None
    assert small.writer().append([]) == range(600, 600)
    (small.folder / "tile" / "0" / "000").unlink()
    assert small.reader().find(b"7", since=308) is None


# --- many writers ----------------------------------------------------------------------------------------


def test_threads_are_committed_together(small: SmallLog) -> None:
    writer, found = small.writer(), []
    gate = threading.Barrier(8)

    def work(name: int) -> None:
        gate.wait()
        for number in range(20):
            (index,) = writer.append([b"%d-%d" % (name, number)])
            found.append((index, b"%d-%d" % (name, number)))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = small.entries()
    assert len(entries) == 160
    assert sorted(found) == list(enumerate(entries))


def test_more_than_one_commit_may_be_waiting(small: SmallLog) -> None:
    """Three threads with 12,000 entries each: no two fit into one commit, and each gets what is its own."""
    writer, found = small.writer(), {}
    gate = threading.Barrier(3)

    def work(name: int) -> None:
        gate.wait()
        found[name] = writer.append([b"%d" % name] * 12_000)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = small.entries()
    assert len(entries) == 36_000
    for name, indexes in found.items():
        assert {entries[index] for index in indexes} == {b"%d" % name}


def test_a_failure_reaches_everybody_whom_it_concerns(small: SmallLog) -> None:
    writer = small.writer()
    writer.append([b"one"])
    (small.folder / "checkpoint").write_bytes(b"garbage")
    failures = []

    def work() -> None:
        try:
            writer.append([b"two"])
        except InputError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 4


def test_g10_many_processes_one_history(small: SmallLog) -> None:
    """8 × 1,000 with DATABOM_TORTURE, 4 × 25 without."""
    processes, count = (8, 1000) if FULL else (4, 25)
    context = multiprocessing.get_context("spawn")
    arguments = (str(small.folder), small.key.pem())
    workers = [
        context.Process(target=append_one_by_one, args=(*arguments, name, count)) for name in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * processes
    entries = small.entries()
    assert sorted(entries) == sorted(b"%d-%d" % (name, n) for name in range(processes) for n in range(count))
    for name in range(processes):
        mine = [entry for entry in entries if entry.startswith(b"%d-" % name)]
        assert mine == [b"%d-%d" % (name, number) for number in range(count)]
    assert small.reader().edge() == Edge().grown([leaf_hash(entry) for entry in entries])[0]


def test_g12_a_forked_child_goes_on(small: SmallLog) -> None:
    writer = small.writer()
    writer.append([b"parent"])
    with writer._turn, writer._queue:  # as if another thread held them at the fork
        child = os.fork()
        if child == 0:
            try:
                writer.append([b"child"])
            finally:
                os._exit(0)
    os.waitpid(child, 0)
    writer.append([b"parent again"])
    assert small.entries() == [b"parent", b"child", b"parent again"]


# --- other releases --------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parents[1] / "vectors" / "log-v1"


def golden(tmp_path: Path) -> Log:
    """A copy of the log that the first release wrote, and a writer for it."""
    shutil.copytree(GOLDEN / "log", tmp_path / "log")
    key = PrivateKey.from_pem((GOLDEN / "log.pem").read_bytes())
    shelf = open_writable_shelf(parse_location(str(tmp_path / "log")))
    return Log(shelf, "log.example/golden", [key], Speakers.by_keys([key.public]))


def test_h10_what_the_first_release_wrote_is_read_and_continued(tmp_path: Path) -> None:
    writer = golden(tmp_path)
    assert writer.append([b"later"]) == range(261, 262)
    key = PrivateKey.from_pem((GOLDEN / "log.pem").read_bytes())
    speakers = Speakers.by_keys([key.public])
    reader = LogReader.open(
        open_shelf(parse_location(str(tmp_path / "log"))), speakers, "log.example/golden", now=NOW
    )
    assert audit(reader, {}, speakers).findings == ()
    entries = [entry for _, entry in reader.entries(0, reader.size)]
    assert entries == [*(b"entry %d" % number for number in range(260)), b"claimed", b"later"]
    proof = parse_proof((GOLDEN / "entry-7.tlog-proof").read_bytes())
    assert proof.holds_for(b"entry 7")
    assert reader.begins_with(parse_checkpoint(parse_note(proof.checkpoint).text))


def test_h10_what_a_later_release_claims_is_left_to_it(tmp_path: Path) -> None:
    writer = golden(tmp_path)
    key = PrivateKey.from_pem((GOLDEN / "log.pem").read_bytes())
    claim = tmp_path / "log" / ".state" / "staged" / "260"
    later = sign_note("databom.log/staged/v2\nsomething\n", "log.example/golden", [key])
    claim.write_bytes(bytes(later) + b"\n")
    with pytest.raises(ConfigError, match="another version"):
        writer.append([b"later"])
    assert claim.exists()
