"""The one engine: every byte read, every problem told, the same report by any executor in any order."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from databom.checks import engine, measuring
from databom.checks.engine import BATCH_FILES, GIVE_UP_AFTER, WINDOW, plan
from databom.checks.integrity import (
    MOST_LISTED,
    Integrity,
    Outcome,
    check_integrity,
    check_objects,
    check_outcomes,
    check_unlisted,
    compare,
    measure,
    measure_all,
)
from databom.checks.measuring import SMALL_BYTES
from databom.errors import PluginError, StorageError, UnreachableError
from databom.model import listings
from databom.model.finding import Report, Severity, Subject, Verdict
from databom.model.listings import Encoded, likely
from databom.model.manifest import Asset
from databom.storage.hashing import EMPTY_SHA256
from databom.storage.tree import FileStat, LocalTree
from support.trees import MemoryReader, as_nobody, manifest_of, plant, within

FILES = {
    "a.txt": b"small",
    "empty": b"",
    "d/edge": b"e" * SMALL_BYTES,
    "d/over": b"o" * (SMALL_BYTES + 1),
    "d/big": bytes(range(256)) * 12_000,
}


NO = "0" * 64
"""A digest that nothing has."""


class Now(Executor):
    """Runs at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Shuffled(Executor):
    """Holds everything back until it is nudged, then runs what it has in an order of its own."""

    def __init__(self, seed: int) -> None:
        self._held: list[Callable[[], None]] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                future.set_result(fn(*args, **kwargs))

        with self._lock:
            self._held.append(run)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work)
                self._thread.start()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._held:
                    self._thread = None
                    return
                run = self._held.pop(self._random.randrange(len(self._held)))
            run()


@pytest.fixture
def tree(tmp_path: Path) -> LocalTree:
    return LocalTree(plant(tmp_path / "tree", FILES))


class Walked(Encoded):
    """A long list that says how often somebody has walked over all of it."""

    walks = 0

    def parts(self) -> Iterator[tuple[Asset, ...]]:
        self.walks += 1
        return super().parts()


def codes(answer: Integrity) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.subject) for finding in answer.findings]


# --- right ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("md5", [True, False])
def test_a_good_tree_has_no_findings(tree: LocalTree, sizes: bool, md5: bool) -> None:
    answer = check_integrity(manifest_of(FILES, sizes=sizes), tree, md5=md5, outcomes=True)
    assert answer.findings == ()
    assert answer.summary.checked == answer.summary.assets == len(FILES)
    assert (answer.summary.bytes, answer.summary.failed) == (sum(map(len, FILES.values())), 0)
    for outcome in answer.outcomes:
        data = FILES[outcome.path]
        status = (tree.root / outcome.path).stat()
        assert outcome == Outcome(
            outcome.path,
            len(data),
            hashlib.sha256(data).hexdigest(),
            hashlib.md5(data).hexdigest() if md5 else None,
            FileStat(status.st_dev, status.st_ino, len(data), status.st_mtime_ns, status.st_ctime_ns),
        )
    assert [outcome.path for outcome in answer.outcomes] == sorted(FILES)


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("fault", [None, "silent"])
def test_a_good_store_has_no_findings(sizes: bool, fault: str | None) -> None:
    reader = MemoryReader(FILES, dict.fromkeys(FILES, fault) if fault else {})
    answer = check_integrity(manifest_of(FILES, sizes=sizes), reader, md5=True, outcomes=True)
    assert answer.findings == ()
    assert [(o.size, o.md5, o.stat) for o in answer.outcomes] == [
        (len(FILES[path]), hashlib.md5(FILES[path]).hexdigest(), None) for path in sorted(FILES)
    ]


# --- wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(path for path, data in FILES.items() if data))
def test_one_flipped_bit_is_found(tree: LocalTree, path: str) -> None:
    """With the size and the modification time as they were: E01, E02, E11."""
    at = tree.root / path
    before = at.stat()
    for position in {0, len(FILES[path]) // 2, len(FILES[path]) - 1}:
        bad = bytearray(FILES[path])
        bad[position] ^= 0x10
        with at.open("r+b") as file:  # in place: the same inode
            file.write(bad)
        os.utime(at, ns=(before.st_atime_ns, before.st_mtime_ns))
        (finding,) = check_integrity(manifest_of(FILES), tree).findings
        assert (finding.code, finding.severity, finding.subject) == (
            "integrity.mismatch",
            Severity.BLOCK,
            path,
        )
        assert finding.expected == f"sha256:{hashlib.sha256(FILES[path]).hexdigest()}"
        assert finding.found == f"sha256:{hashlib.sha256(bytes(bad)).hexdigest()}"
        assert f"{len(bad):,} byte" in finding.what
        assert os.fspath(tree.root) in finding.what
        assert finding.do


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize(
    ("found", "code"),
    [
        (b"", "integrity.size"),
        (b"contenT", "integrity.mismatch"),
        (b"conten", "integrity.size"),
        (b"content!", "integrity.size"),
        (b"content" * 100_000, "integrity.size"),
    ],
)
def test_sizes_both_ways(tmp_path: Path, sizes: bool, found: bytes, code: str) -> None:
    manifest = manifest_of({"x": b"content"}, sizes=sizes)
    if not sizes and found:
        code = "integrity.mismatch"
    reader = MemoryReader({"x": found})
    silent = MemoryReader({"x": found}, {"x": "silent"})
    for source in (LocalTree(plant(tmp_path / "t", {"x": found})), reader, silent):
        (finding,) = check_integrity(manifest, source).findings
        assert (finding.code, finding.severity, finding.subject) == (code, Severity.BLOCK, "x")
        if code == "integrity.size" and sizes:
            assert finding.expected == "7 bytes"
            known = f"{len(found):,} byte{'' if len(found) == 1 else 's'}"
            assert finding.found == ("more than 7 bytes" if source is silent and len(found) > 7 else known)
        if not found:
            assert "empty where bytes are due" in finding.what


def test_every_digit_of_a_digest_counts() -> None:
    digest = hashlib.sha256(b"content").hexdigest()
    asset = Asset(path="x", sha256=digest, size=7)
    assert compare(asset, Outcome("x", 7, digest)) is None
    for position in range(64):
        other = digest[:position] + ("0" if digest[position] != "0" else "1") + digest[position + 1 :]
        assert compare(asset, Outcome("x", 7, other)) is not None


def test_an_empty_asset_is_legal_only_with_its_digest(tmp_path: Path) -> None:
    tree = LocalTree(plant(tmp_path / "t", {"x": b""}))
    assert check_integrity(manifest_of({"x": b""}), tree).findings == ()
    empty_but_full = Asset(path="x", sha256=EMPTY_SHA256, size=None)
    assert compare(empty_but_full, Outcome("x", 1, "0" * 64)) is not None
    lying = Asset(path="x", sha256="0" * 64, size=0)
    problem = compare(lying, Outcome("x", 0, EMPTY_SHA256))
    assert problem is not None
    assert problem.code == "integrity.size"


def test_a_store_that_lies_about_the_length() -> None:
    (finding,) = check_integrity(
        manifest_of({"x": b"content"}), MemoryReader({"x": b"content"}, {"x": "liar"})
    ).findings
    assert (finding.code, finding.found) == ("integrity.size", "10 bytes")


def test_an_endless_body_is_cut_at_the_declared_size() -> None:
    reader = MemoryReader({}, {"x": "endless"})
    reader.files["x"] = b""
    manifest = manifest_of({"x": b"c" * 2_000_000})
    with within(20):
        (finding,) = check_integrity(manifest, reader).findings
    assert (finding.code, finding.found) == ("integrity.size", "more than 2,000,000 bytes")


def test_an_endless_body_without_a_size_is_cut_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MAX_UNSIZED_ASSET", 3_000_000)
    reader = MemoryReader({"x": b""}, {"x": "endless"})
    with within(20):
        (finding,) = check_integrity(manifest_of({"x": b"c"}, sizes=False), reader).findings
    assert (finding.code, finding.found) == ("integrity.size", "at least 3,000,001 bytes")
    assert "gives no size" in finding.what


def test_every_problem_is_told(tree: LocalTree, tmp_path: Path) -> None:
    files = dict(FILES)
    root = tree.root
    (root / "a.txt").unlink()
    (root / "empty").unlink()
    (root / "empty").symlink_to("/etc/passwd")
    (root / "d/edge").write_bytes(b"E" * SMALL_BYTES)
    (root / "d/big").write_bytes(b"short")
    (root / "d/over").unlink()
    os.mkfifo(root / "d/over")
    with within(10):
        answer = check_integrity(manifest_of(files), tree)
    assert codes(answer) == [
        ("integrity.missing", "a.txt"),
        ("integrity.size", "d/big"),
        ("integrity.mismatch", "d/edge"),
        ("integrity.unsafe-file", "d/over"),
        ("integrity.unsafe-file", "empty"),
    ]
    assert (answer.summary.checked, answer.summary.failed, answer.summary.bytes) == (2, 5, SMALL_BYTES)
    assert Report(Subject(), answer.findings).verdict is Verdict.FAIL


def test_what_could_not_be_answered_hides_nothing() -> None:
    files = {name: name.encode() for name in ("bad", "denied", "good", "gone", "lost", "short")}
    manifest = manifest_of(files)
    reader = MemoryReader(
        {**files, "bad": b"BAD"},
        {"denied": "denied", "gone": "missing", "lost": "unreachable", "short": "truncated"},
    )
    answer = check_integrity(manifest, reader)
    assert codes(answer) == [
        ("integrity.mismatch", "bad"),
        ("storage.denied", "denied"),
        ("integrity.missing", "gone"),
        ("storage.unreachable", "lost"),
        ("storage.truncated", "short"),
    ]
    assert (answer.summary.checked, answer.summary.failed) == (2, 2)
    assert Report(Subject(), answer.findings).verdict is Verdict.FAIL
    only = check_integrity(manifest_of({"lost": b"lost"}), reader)
    assert Report(Subject(), only.findings).verdict is Verdict.UNANSWERED


def test_a_file_we_may_not_read(tree: LocalTree) -> None:
    (tree.root / "a.txt").chmod(0)
    tree.check_root()
    with as_nobody():
        answer = check_integrity(manifest_of(FILES), tree)
    assert codes(answer) == [("storage.denied", "a.txt")]


def test_paths_from_documents_are_safe_to_print(tmp_path: Path) -> None:
    asset = Asset(path="a\x1b[31m\u202eb", sha256="0" * 64)
    (outcome,) = measure(LocalTree(tmp_path), [Asset(asset.path, asset.sha256)]).outcomes
    problem = compare(asset, outcome, "where\x07")
    assert problem is not None
    assert "".join(part or "" for part in problem).isprintable()
    problem = compare(asset, Outcome(asset.path, 3, "1" * 64), "where\x07")
    assert problem is not None
    assert "".join(part or "" for part in problem).isprintable()


# --- the whole tree is not there -------------------------------------------------------------------


def test_a_root_that_is_not_there_is_one_finding(tmp_path: Path) -> None:
    manifest = manifest_of(FILES)
    answer = check_integrity(manifest, LocalTree(tmp_path / "no"))
    assert codes(answer) == [("integrity.missing", f"{tmp_path}/no")]
    assert (answer.summary.assets, answer.summary.failed) == (len(FILES), len(FILES))


def test_a_root_that_is_a_link_is_one_finding(tree: LocalTree, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree.root)
    (finding,) = check_integrity(manifest_of(FILES), LocalTree(tmp_path / "link")).findings
    assert finding.code == "integrity.unsafe-file"
    assert finding.do is not None
    assert "--path" in finding.do


def test_a_root_that_cannot_be_entered_is_unanswered(tree: LocalTree) -> None:
    tree.root.parent.chmod(0)
    try:
        with as_nobody():
            answer = check_integrity(manifest_of(FILES), tree)
    finally:
        tree.root.parent.chmod(0o755)
    assert [code for code, _ in codes(answer)] == ["storage.denied"]
    assert answer.summary.failed == 0


def test_an_asset_without_an_outcome_never_passes() -> None:
    manifest = manifest_of(FILES)
    answer = check_outcomes(manifest, [])
    assert codes(answer) == [("integrity.missing", path) for path in sorted(FILES)]
    assert Report(Subject(), answer.findings).verdict is Verdict.FAIL


# --- files that change while they are read (E04) -----------------------------------------------------


@pytest.mark.parametrize("how", ["in place", "same bytes", "longer", "shorter", "chmod"])
def test_a_file_changed_once_while_it_is_read_is_read_again(tmp_path: Path, how: str) -> None:
    length = 3_000_000
    tree = LocalTree(plant(tmp_path / "t", {"x": b"a" * length}))
    at = tree.root / "x"
    calls = 0

    def change(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            _rewrite(at, how, length)

    (outcome,) = measure(tree, [Asset("x", NO)], meter=change).outcomes
    data = at.read_bytes()
    assert (outcome.error, outcome.size, outcome.sha256) == (
        None,
        len(data),
        hashlib.sha256(data).hexdigest(),
    )


@pytest.mark.parametrize("how", ["in place", "same bytes", "longer", "shorter", "chmod"])
def test_a_file_that_keeps_changing_is_said_to(tmp_path: Path, how: str) -> None:
    data = b"a" * 3_000_000
    tree = LocalTree(plant(tmp_path / "t", {"x": data}))
    (outcome,) = measure(
        tree, [Asset("x", NO)], meter=lambda _: _rewrite(tree.root / "x", how, len(data))
    ).outcomes
    assert outcome.error is not None
    assert outcome.error.code == "integrity.changed"
    assert (outcome.sha256, outcome.stat) == (None, None)
    answer = check_outcomes(manifest_of({"x": data}), [outcome])
    assert codes(answer) == [("integrity.changed", "x")]
    assert (answer.summary.checked, answer.summary.failed) == (0, 1)


def _rewrite(at: Path, how: str, length: int) -> None:
    if how == "chmod":
        at.chmod(0o600 if at.stat().st_mode & 0o777 == 0o644 else 0o644)
    elif how == "longer":
        with at.open("ab") as file:
            file.write(b"more")
    elif how == "shorter":
        os.truncate(at, at.stat().st_size - 1000)
    else:
        times = at.stat()
        with at.open("r+b") as file:
            file.write((b"a" if how == "same bytes" else b"b") * length)
        os.utime(at, ns=(times.st_atime_ns, times.st_mtime_ns))  # the change time tells all the same


WRITER = """
import sys
with open(sys.argv[1], "r+b", buffering=0) as file:
    print("writing", flush=True)
    while True:
        for letter in (b"a", b"b"):
            file.seek(0)
            for _ in range(0, int(sys.argv[2]), 1000):
                file.write(letter * 1000)
"""


@pytest.mark.parametrize("length", [60_000, 200_000])
def test_a_writer_that_never_stops_is_never_believed(tmp_path: Path, length: int) -> None:
    """Another process overwrites the file with two contents in turn; what passes is one of them, whole."""
    tree = LocalTree(plant(tmp_path / "t", {"x": b"a" * length}))
    good = [Asset(path="x", sha256=hashlib.sha256(c * length).hexdigest(), size=length) for c in (b"a", b"b")]
    command = [sys.executable, "-c", WRITER, os.fspath(tree.root / "x"), str(length)]
    with within(60), subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        changed = 0
        try:
            while changed < 5:
                (outcome,) = measure(tree, [Asset("x", NO, length)]).outcomes
                if outcome.error is not None:
                    assert outcome.error.code == "integrity.changed"
                    assert all(compare(asset, outcome) is outcome.error for asset in good)
                    changed += 1
        finally:
            writer.kill()


def test_a_file_replaced_by_a_rename_is_read_anew(tmp_path: Path) -> None:
    tree = LocalTree(plant(tmp_path / "t", {"x": b"a" * 3_000_000, "next": b"b" * 3_000_000}))

    def replace(_: int) -> None:
        if (tree.root / "next").exists():
            (tree.root / "next").rename(tree.root / "x")

    (outcome,) = measure(tree, [Asset("x", NO)], meter=replace).outcomes
    assert outcome.sha256 == hashlib.sha256(b"b" * 3_000_000).hexdigest()


# --- any executor, any order -------------------------------------------------------------------------


def executors(seed: int) -> Iterator[Executor | None]:
    yield None
    yield Now()
    yield Shuffled(seed)
    with ThreadPoolExecutor(3) as pool:
        yield pool


_STATES = st.sampled_from(
    ["good", "good", "good", "flipped", "longer", "shorter", "gone", "link", "denied", "unreachable"]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), local=st.booleans(), sizes=st.booleans(), seed=st.integers(0, 99))
def test_the_report_does_not_depend_on_the_executor(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, local: bool, sizes: bool, seed: int
) -> None:
    count = data.draw(st.integers(1, 40))
    lengths = data.draw(
        st.lists(
            st.sampled_from([0, 1, 100, SMALL_BYTES, SMALL_BYTES + 1, 200_000]),
            min_size=count,
            max_size=count,
        )
    )
    files = {f"d{i % 5}/{i}": random.Random(i).randbytes(length) for i, length in enumerate(lengths)}
    found, faults = dict(files), {}
    for path, good in files.items():
        state = data.draw(_STATES)
        if state == "flipped" and good:
            found[path] = bytes([good[0] ^ 1]) + good[1:]
        elif state == "longer":
            found[path] += b"!"
        elif state == "shorter":
            found[path] = good[:-1]
        elif state in {"gone", "link"}:
            del found[path]
            if state == "link":
                faults[path] = "link"
        elif state in {"denied", "unreachable"} and not local:
            faults[path] = state
    reader: LocalTree | MemoryReader
    if local:
        reader = LocalTree(plant(tmp_path_factory.mktemp("any"), found))
        for path in faults:
            (reader.root / path).parent.mkdir(parents=True, exist_ok=True)
            (reader.root / path).symlink_to("/etc/passwd")
    else:
        reader = MemoryReader(found, {path: fault for path, fault in faults.items() if fault != "link"})
    manifest = manifest_of(files, sizes=sizes)
    answers = [check_integrity(manifest, reader, executor=executor, md5=True) for executor in executors(seed)]
    assert all(answer == answers[0] for answer in answers)
    texts = {Report(Subject(), answer.findings, answer.summary).to_json() for answer in answers}
    assert len(texts) == 1
    bad = {path for path in files if found.get(path) != files[path] or path in faults}
    assert {finding.subject for finding in answers[0].findings} == bad
    assert answers[0].summary.assets == count


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_other_processes_give_the_same_answer(tree: LocalTree, start: str) -> None:
    (tree.root / "a.txt").write_bytes(b"SMALL")
    manifest = manifest_of(FILES)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(start)) as pool:
        assert check_integrity(manifest, tree, executor=pool) == check_integrity(manifest, tree)
        reader = MemoryReader(FILES)
        assert check_integrity(manifest, reader, executor=pool) == check_integrity(
            manifest, MemoryReader(FILES)
        )


def test_a_worker_that_dies_is_not_an_answer() -> None:
    reader = MemoryReader(FILES, {"d/big": "exit"})
    with ProcessPoolExecutor(1) as pool, pytest.raises(PluginError, match="ProcessPoolExecutor") as caught:
        check_integrity(manifest_of(FILES), reader, executor=pool)
    assert caught.value.hint


def test_an_executor_that_is_closed_is_not_an_answer(tree: LocalTree) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(PluginError, match="shutdown"):
        check_integrity(manifest_of(FILES), tree, executor=pool)


def test_work_in_flight_is_bounded() -> None:
    """However many assets: no more than the window is handed out before something comes back."""
    held: list[tuple[Future[list[Outcome]], list[Outcome]]] = []
    most = 0

    class Hoarder(Now):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            nonlocal most
            future: Future[Any] = Future()
            held.append((future, fn(*args, **kwargs)))
            most = max(most, len(held))
            if len(held) == WINDOW or len(reader.opened) == len(files):
                while held:
                    ready, result = held.pop()
                    ready.set_result(result)
            return future

    files = {f"{i}": b"x" for i in range(WINDOW * 4)}
    reader = MemoryReader(files)
    outcomes = list(measure_all(manifest_of(files).assets, reader, executor=Hoarder()))
    assert most == WINDOW
    assert len(outcomes) == len(files)


# --- planning --------------------------------------------------------------------------------------


def test_small_files_share_batches_and_large_ones_come_longest_first(tmp_path: Path) -> None:
    lengths = {f"s{i:04}": 10 for i in range(600)} | {"big": 900_000, "bigger": 1_000_000}
    assets = [Asset(path=path, sha256="0" * 64, size=size) for path, size in lengths.items()]
    work = plan(assets, LocalTree(tmp_path))
    assert [(asset.path, asset.size) for [asset] in work.single] == [("bigger", 1_000_000), ("big", 900_000)]
    assert [len(batch) for batch in work.small] == [BATCH_FILES, BATCH_FILES, 600 - 2 * BATCH_FILES]
    assert work.size == 1_900_000
    edge = [Asset(path=f"{i:04}", sha256="0" * 64, size=SMALL_BYTES + i) for i in range(2)]
    assert [
        len(batches)
        for batches in (plan(edge, LocalTree(tmp_path)).small, plan(edge, LocalTree(tmp_path)).single)
    ] == [1, 1]
    remote = plan(assets, MemoryReader({}))
    assert (len(remote.single), remote.small) == (602, [])


def test_files_of_undeclared_size_are_planned_by_what_is_there(tree: LocalTree) -> None:
    work = plan(manifest_of(FILES, sizes=False).assets, tree)
    assert [[(asset.path, asset.size) for asset in batch] for batch in work.single] == [
        [("d/big", None)],
        [("d/over", None)],
    ]
    assert [[asset.path for asset in batch] for batch in work.small] == [["a.txt", "d/edge", "empty"]]


# --- progress, and stopping --------------------------------------------------------------------------


@pytest.mark.parametrize("executor", [None, Now()], ids=["own", "foreign"])
def test_progress_only_grows_and_ends_at_the_end(tree: LocalTree, executor: Executor | None) -> None:
    for reader in (tree, MemoryReader(FILES)):
        told: list[tuple[int, int]] = []

        def progress(*now: int, told: list[Any] = told) -> None:
            told.append(now)

        check_integrity(manifest_of(FILES), reader, executor=executor, progress=progress)
        assert told == sorted(told)
        assert told[-1] == (len(FILES), sum(map(len, FILES.values())))


def test_a_long_file_shows_progress_before_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_TICK_SECONDS", 0.001)
    reader = MemoryReader({"x": b""}, {"x": "endless"})
    told: list[tuple[int, int]] = []
    check_integrity(manifest_of({"x": b"x" * 50_000_000}), reader, progress=lambda *now: told.append(now))
    assert any(assets == 0 and size > 0 for assets, size in told)


def test_an_interrupt_stops_the_threads(tmp_path: Path) -> None:
    """Ctrl-C while endless bodies are read: the call ends, and so do its threads."""
    files = {f"{i}": b"" for i in range(20)}
    reader = MemoryReader(files, dict.fromkeys(files, "endless"))
    manifest = manifest_of(dict.fromkeys(files, b"x"), sizes=False)

    def interrupt(_assets: int, _size: int) -> None:
        raise KeyboardInterrupt

    with within(30), pytest.raises(KeyboardInterrupt):
        check_integrity(manifest, reader, progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("databom")]


def test_closing_the_outcomes_stops_the_work() -> None:
    files = {f"{i}": b"x" for i in range(1000)}
    reader = MemoryReader(files)
    outcomes = measure_all(manifest_of(files).assets, reader, executor=Now())
    next(outcomes)
    outcomes.close()
    assert len(reader.opened) <= WINDOW + 1


def test_memory_does_not_grow_with_a_file(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(200 << 20)
    tree = LocalTree(tmp_path)
    tracemalloc.start()
    measure(tree, [Asset("sparse", NO, 200 << 20)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


# --- a store that does not answer ----------------------------------------------------------------------


def test_a_dead_store_is_given_up_and_told_once() -> None:
    files = {f"{i:05}": b"x" for i in range(3000)}
    reader = MemoryReader(files, dict.fromkeys(files, "unreachable"))
    answer = check_integrity(manifest_of(files), reader, outcomes=True)
    (finding,) = answer.findings
    assert (finding.code, finding.subject, finding.severity) == (
        "storage.unreachable",
        reader.shown,
        Severity.BLOCK,
    )
    assert "none of 3,000 assets could be read" in finding.what
    assert "unreachable" in finding.what
    assert len(reader.opened) < GIVE_UP_AFTER + 2 * WINDOW
    assert len(answer.outcomes) == 3000
    assert (answer.summary.checked, answer.summary.failed) == (0, 0)
    assert Report(Subject(), answer.findings).verdict is Verdict.UNANSWERED


def test_a_store_that_dies_half_way_keeps_its_answers() -> None:
    files = {f"{i:05}": b"x" for i in range(3000)}
    reader = MemoryReader({**files, "00003": b"y"}, {path: "unreachable" for path in files if path > "01000"})
    answer = check_integrity(manifest_of(files), reader, executor=Now())
    found = [code for code, _ in codes(answer)]
    assert found.count("integrity.mismatch") == 1
    assert found.count("storage.unreachable") == MOST_LISTED + 1
    rest = next(finding for finding in answer.findings if finding.subject is None)
    assert rest.what == f"{1999 - MOST_LISTED:,} more assets could not be read"
    assert answer.summary.checked == 1001
    assert len(reader.opened) < 1001 + GIVE_UP_AFTER + 2 * WINDOW


def test_a_few_dead_assets_among_many_do_not_stop_the_rest() -> None:
    files = {f"{i:05}": b"x" for i in range(500)}
    dead = {path for path in files if int(path) % 9 == 0}
    answer = check_integrity(manifest_of(files), MemoryReader(files, dict.fromkeys(dead, "unreachable")))
    assert {subject for _, subject in codes(answer)} == dead
    assert answer.summary.checked == 500 - len(dead)


def test_a_body_that_breaks_once_is_read_again() -> None:
    class Flaky(MemoryReader):
        def open(self, path: str, /) -> Any:
            if self.opened.count(path) == 0:
                self.opened.append(path)
                raise UnreachableError("reset by peer", where=path)
            return super().open(path)

    reader = Flaky(FILES)
    assert check_integrity(manifest_of(FILES), reader).findings == ()
    assert len(reader.opened) == 2 * len(FILES)


def test_a_denied_bucket_is_told_once() -> None:
    files = {f"{i:05}": b"x" for i in range(300)}
    answer = check_integrity(manifest_of(files), MemoryReader(files, dict.fromkeys(files, "denied")))
    assert codes(answer) == [("storage.denied", "memory://store")]


def test_an_error_that_is_not_about_storage_comes_through() -> None:
    class Broken(MemoryReader):
        def open(self, path: str, /) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check_integrity(manifest_of(FILES), Broken(FILES))


# --- what nobody listed --------------------------------------------------------------------------------


def test_nothing_unlisted(tree: LocalTree) -> None:
    assert check_unlisted(FILES, tree) == []
    assert check_unlisted(FILES, LocalTree(tree.root / "no")) == []


def test_only_exact_paths_are_allowed(tree: LocalTree) -> None:
    plant(
        tree.root,
        {"manifest.json": b"", "manifest.json.dsse": b"", "d/manifest.json": b"", "manifest.jsonl": b""},
    )
    allow = frozenset({"manifest.json", "manifest.json.dsse"})
    assert [f.subject for f in check_unlisted(iter(FILES), tree, allow=allow)] == [
        "d/manifest.json",
        "manifest.jsonl",
    ]


def test_many_unlisted_entries_are_counted(tree: LocalTree) -> None:
    plant(tree.root, {f"x/{i:04}": b"" for i in range(MOST_LISTED + 37)})
    findings = check_unlisted(FILES, tree)
    assert [f.subject for f in findings] == [*(f"x/{i:04}" for i in range(MOST_LISTED)), None]
    assert findings[-1].what == "37 more entries are not in the manifest"
    assert {f.severity for f in findings} == {Severity.BLOCK}


def test_a_directory_emptied_of_its_assets_is_not_unlisted(tree: LocalTree) -> None:
    for path in ("d/edge", "d/over", "d/big"):
        (tree.root / path).unlink()
    assert check_unlisted(FILES, tree) == []
    (tree.root / "e").mkdir()
    assert [f.subject for f in check_unlisted(FILES, tree)] == ["e"]


def test_a_directory_that_cannot_be_listed_is_unanswered(tree: LocalTree) -> None:
    (tree.root / "d").chmod(0o311)
    tree.check_root()
    try:
        with as_nobody():
            (finding,) = check_unlisted(FILES, tree)
    finally:
        (tree.root / "d").chmod(0o755)
    assert (finding.code, finding.subject) == ("storage.denied", "d")


def test_a_link_for_a_root_is_an_error(tree: LocalTree, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree.root)
    with pytest.raises(StorageError, match="symbolic link"):
        check_unlisted(FILES, LocalTree(tmp_path / "link"))


def test_names_that_are_not_utf8_are_unlisted_and_printable(tree: LocalTree) -> None:
    Path(os.fsdecode(os.fsencode(tree.root) + b"/\xff\x1b[2J")).write_bytes(b"")
    (finding,) = check_unlisted(FILES, tree)
    assert finding.subject == "\\udcff\\x1b[2J"


def test_objects_beside_a_release_are_a_warning() -> None:
    found = check_objects(["a"], ["a", "z", "b", "m"], frozenset({"m"}))
    assert [(f.subject, f.severity, f.code) for f in found] == [
        ("b", Severity.WARN, "integrity.unlisted"),
        ("z", Severity.WARN, "integrity.unlisted"),
    ]
    many = check_objects([], [f"{i:04}" for i in range(MOST_LISTED + 5)], frozenset())
    assert len(many) == MOST_LISTED + 1
    assert many[-1].what == "5 more objects are not in the manifest"


@pytest.mark.parametrize("wrong", [["0001.txt"], ["0001.txt", "0700.txt"], []])
def test_a_doubt_decodes_no_more_of_a_long_list_than_its_own_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[str]
) -> None:
    """A table of all assets would be hundreds of bytes for each of them, for one file that does not match."""
    monkeypatch.setattr(listings, "FEW", 10)
    monkeypatch.setattr(listings, "PART", 32)
    files = {f"{number:04}.txt": b"%d" % number for number in range(800)}
    plain = manifest_of(files)
    text = msgspec.json.encode([{"path": a.path, "sha256": a.sha256, "size": a.size} for a in plain.assets])
    encoded = likely(msgspec.Raw(text))
    assert isinstance(encoded, Encoded)
    long = Walked(msgspec.Raw(text), encoded._starts, is_verbatim=True)
    long.length = len(files)
    tree = LocalTree(plant(tmp_path / "tree", {**files, **dict.fromkeys(wrong, b"?")}))
    answer = check_integrity(replace(plain, assets=long), tree)
    assert answer == check_integrity(plain, tree)
    assert [finding.subject for finding in answer.findings] == wrong
    assert long.walks == 0
