"""Staging: nothing half-written gets a name, nothing named is lost or replaced, and a full disk says so."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databom.errors import (
    DeniedError,
    FullError,
    MissingError,
    StorageError,
    TruncatedError,
    UnsafeFileError,
)
from databom.storage import posix
from databom.storage.hashing import copy_verified
from databom.storage.staging import PARTIAL, Staging, TempFile
from support.trees import MemoryReader, MemoryStream, as_nobody, plant, snapshot, within

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(params=["modern", "old"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A kernel with openat2, renameat2 and syncfs, and one that knows none of them."""
    if request.param == "old":

        def not_here(*_: object) -> int:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(posix, "_call", not_here)
        posix.has_openat2.cache_clear()
    yield str(request.param)
    posix.has_openat2.cache_clear()


def stage(staging: Staging, data: bytes = b"data") -> TempFile:
    temp = staging.create()
    temp.write(data)
    return temp


def python(program: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """Run a program of our own in a process that may be killed."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.fspath(SRC)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, **options)  # type: ignore[call-overload,no-any-return]


# --- publishing ----------------------------------------------------------------------------------


def test_a_file_gets_its_name_whole(tmp_path: Path, system: str) -> None:
    root = tmp_path / "data/set"
    with Staging(root) as staging:
        assert not root.exists()
        temp = stage(staging, b"one")
        temp.write(memoryview(b" two"))
        assert temp.size == 7
        assert sorted(os.listdir(root)) == [PARTIAL]
        staging.publish(temp, "images/cat.jpg")
    assert snapshot(root) == {"images": (0o040755, None), "images/cat.jpg": (0o100644, b"one two")}
    assert (root / "images/cat.jpg").stat().st_nlink == 1


def test_a_batch_of_many_directories(tmp_path: Path, system: str) -> None:
    files = {f"d{i % 30}/e{i % 3}/{i}": bytes([i]) for i in range(120)}
    with Staging(tmp_path / "set") as staging:
        staging.publish_all([(stage(staging, data), path) for path, data in files.items()])
        staging.publish_all([])
    found = {
        path: content for path, (_, content) in snapshot(tmp_path / "set").items() if content is not None
    }
    assert found == files


def test_many_threads_stage(tmp_path: Path) -> None:
    with Staging(tmp_path / "set") as staging, ThreadPoolExecutor(8) as pool:
        temps = list(pool.map(lambda i: stage(staging, b"%d" % i), range(64)))
        staging.publish_all([(temp, str(i)) for i, temp in enumerate(temps)])
    assert {int(p.name): int(p.read_bytes()) for p in (tmp_path / "set").iterdir()} == {
        i: i for i in range(64)
    }


@pytest.mark.parametrize("kind", ["file", "symlink", "fifo", "directory"])
def test_nothing_is_ever_overwritten(tmp_path: Path, system: str, kind: str) -> None:
    root = plant(tmp_path / "set", {"b/other": b"other"})
    {
        "file": lambda at: at.write_bytes(b"old"),
        "symlink": lambda at: at.symlink_to("nowhere"),
        "fifo": os.mkfifo,
        "directory": Path.mkdir,
    }[kind](root / "b/taken")
    before = snapshot(root)
    with Staging(root) as staging:
        pairs = [(stage(staging), "a/first"), (stage(staging), "b/taken"), (stage(staging), "c/last")]
        with (
            within(5),
            pytest.raises(StorageError, match=r"b/taken already exists: nothing was overwritten") as caught,
        ):
            staging.publish_all(pairs)
        assert caught.value.where == f"{root}/b/taken"
        assert caught.value.hint
        staging.publish(pairs[2][0], "c/last")  # what was not published is still staged
    after = snapshot(root)
    assert {path: after.pop(path)[1] for path in ("a/first", "c/last")} == {
        "a/first": b"data",
        "c/last": b"data",
    }
    del after["a"], after["c"]
    assert after == before


def test_directories_made_for_nothing_are_removed(tmp_path: Path) -> None:
    root = plant(tmp_path / "set", {"taken": b""})
    with Staging(root) as staging:
        with pytest.raises(UnsafeFileError, match="is a file, not a directory"):
            staging.publish_all([(stage(staging), "taken/x/y")])
        with pytest.raises(StorageError, match="too long"):
            staging.publish(stage(staging), "a/b/" + "x" * 256)
    assert list(snapshot(root)) == ["taken"]


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/out", "", "a/", "./a", "a\0b"])
def test_names_that_lead_out_are_refused(tmp_path: Path, path: str) -> None:
    with Staging(tmp_path / "set") as staging:
        with pytest.raises(UnsafeFileError):
            staging.publish(stage(staging), path)
        with pytest.raises(UnsafeFileError):
            staging.move_out(path, tmp_path / "q")
    assert list(snapshot(tmp_path)) == ["set"]


def test_beneath_a_project(tmp_path: Path, system: str) -> None:
    with Staging(tmp_path / "data/set", beneath=tmp_path) as staging:
        staging.publish(stage(staging), "a/b")
    assert (tmp_path / "data/set/a/b").read_bytes() == b"data"
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o755
    with Staging(tmp_path / "elsewhere", beneath=tmp_path / "project") as staging:
        staging.publish(stage(staging), "x")
    with Staging(tmp_path / "no/such", beneath=tmp_path) as staging:
        assert staging.sweep() == 0
    assert not (tmp_path / "no").exists()


def test_somebody_elses_workshop_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / PARTIAL).mkdir()
    os.chown(tmp_path / PARTIAL, 65534, 65534)
    with Staging(tmp_path) as staging:
        with pytest.raises(UnsafeFileError, match="belongs to user 65534"):
            staging.create()
        with pytest.raises(UnsafeFileError, match="belongs to user 65534"):
            staging.sweep()
    assert (tmp_path / PARTIAL).exists()


def test_a_workshop_others_could_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / PARTIAL).mkdir()
    (tmp_path / PARTIAL).chmod(0o777)
    with Staging(tmp_path) as staging:
        staging.create()
        assert (tmp_path / PARTIAL).stat().st_mode & 0o777 == 0o700


def test_a_root_we_may_not_write(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir(mode=0o555)
    with as_nobody(), Staging(tmp_path / "set") as staging, pytest.raises(DeniedError) as caught:
        staging.create()
    assert caught.value.hint


def test_a_published_file_survives_the_failure_of_its_directory_flush(tmp_path: Path) -> None:
    """Every flush fails under strace: typed error, nothing named that was not flushed (attacks.md G05)."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to make a flush fail")
    program = """
        import sys
        from pathlib import Path
        from databom.errors import StorageError
        from databom.storage.staging import Staging
        with Staging(Path(sys.argv[1])) as staging:
            temps = [staging.create() for _ in range(int(sys.argv[2]))]
            for temp in temps:
                temp.write(b"data")
            for attempt in range(2):
                try:
                    staging.publish_all([(temp, str(i)) for i, temp in enumerate(temps)])
                except StorageError as error:
                    print(type(error).__name__, error)
    """
    for call, count in (("fsync", 1), ("syncfs", 3)):
        root = tmp_path / call
        root.mkdir()
        trace = [
            "strace",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:error=EIO:when=1",
        ]
        command = [*trace, sys.executable, "-c", textwrap.dedent(program), os.fspath(root), str(count)]
        environment = {**os.environ, "PYTHONPATH": os.fspath(SRC)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if "strace: " in done.stderr:  # not traced: a container or name space may forbid it
            pytest.skip("strace may not trace here")
        assert done.returncode == 0, done.stderr
        first, second = (
            done.stdout.splitlines()
        )  # what was flushed in vain is gone: a second flush proves nothing
        assert first.startswith("StorageError cannot flush")
        assert "cannot" in second
        assert list(root.iterdir()) == []


def test_without_hard_links_a_rename_that_cannot_replace(tmp_path: Path) -> None:
    """`link` refused as on FAT or some network mounts, by strace: renameat2(RENAME_NOREPLACE) does it."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to take hard links away")
    program = """
        import sys
        from pathlib import Path
        from databom.errors import StorageError
        from databom.storage.staging import Staging
        with Staging(Path(sys.argv[1])) as staging:
            for path in ("a/new", "taken"):
                temp = staging.create()
                temp.write(b"data")
                try:
                    staging.publish(temp, path)
                    print("published")
                except StorageError as error:
                    print(error)
    """
    for calls, expected in (
        (["linkat:error=EPERM"], ["published", "already exists: nothing was overwritten"]),
        (["linkat:error=EPERM", "renameat2:error=EINVAL"], ["Invalid argument", "Invalid argument"]),
    ):
        root = plant(tmp_path / str(len(calls)), {"taken": b"old"})
        inject = [word for call in calls for word in ("-e", f"inject={call}")]
        command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=linkat,renameat2", *inject]
        command += [sys.executable, "-c", textwrap.dedent(program), os.fspath(root)]
        environment = {**os.environ, "PYTHONPATH": os.fspath(SRC)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if "strace: " in done.stderr:  # not traced: a container or name space may forbid it
            pytest.skip("strace may not trace here")
        lines = done.stdout.splitlines()
        assert all(want in line for want, line in zip(expected, lines, strict=True)), done
        assert (root / "taken").read_bytes() == b"old"
        assert not (root / PARTIAL).exists()


# --- the end of a run ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_leaving_removes_what_was_not_published(tmp_path: Path, error: type[BaseException]) -> None:
    def run() -> None:
        with Staging(tmp_path / "set") as staging:
            staging.publish(stage(staging, b"kept"), "kept")
            stage(staging)
            stage(staging).close()
            raise error

    with pytest.raises(error):
        run()
    assert {path: content for path, (_, content) in snapshot(tmp_path / "set").items()} == {"kept": b"kept"}


def test_discarding_twice_and_closing_twice(tmp_path: Path) -> None:
    with Staging(tmp_path / "set") as staging:
        temp = stage(staging)
        temp.close()
        temp.close()
        temp.discard()
        temp.discard()
        with pytest.raises(StorageError):
            temp.write(b"late")
        with pytest.raises(StorageError):
            staging.publish(temp, "x")
        staging.close()
        staging.close()
    assert list((tmp_path / "set").iterdir()) == []


KILLED = """
    import sys, time
    from pathlib import Path
    from databom.storage.staging import Staging
    staging = Staging(Path(sys.argv[1]))
    number = 0
    while True:
        temps = [staging.create() for _ in range(4)]
        for temp in temps:
            temp.write(b"x" * 5000)
        staging.publish_all([(temp, f"d{number}/{i}") for i, temp in enumerate(temps)])
        number += 1
        print(number, flush=True)
"""


def test_kill_nine_leaves_only_what_sweep_removes(tmp_path: Path) -> None:
    """Killed while it works, at moments that differ: what has a name is whole, the rest is swept."""
    for attempt in range(8):
        root = tmp_path / str(attempt)
        process = python(KILLED, root)
        assert process.stdout is not None
        acknowledged = 0
        while acknowledged < 1 + attempt * 3:
            acknowledged = int(process.stdout.readline())
        process.kill()
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        named = {p for p in root.rglob("*") if p.is_file() and PARTIAL not in p.parts}
        assert {root / f"d{n}/{i}" for n in range(acknowledged) for i in range(4)} <= named
        assert {p.read_bytes() for p in named} == {b"x" * 5000}
        with Staging(root) as staging:
            staging.sweep()
            assert staging.sweep() == 0
        assert not (root / PARTIAL).exists()
        assert {p for p in root.rglob("*") if p.is_file()} == named
        assert {p.stat().st_nlink for p in named} == {1}


def test_sweep_touches_only_our_names(tmp_path: Path) -> None:
    ours, other = "0" * 32 + ".part", "notes.txt"
    root = plant(
        tmp_path / "set", {f"{PARTIAL}/{ours}": b"half", f"{PARTIAL}/{other}": b"whose?", "asset": b"a"}
    )
    with Staging(root) as staging:
        kept = stage(staging, b"of this run")
        assert staging.sweep() == 1
        staging.publish(kept, "kept")
    assert sorted(path for path, (_, content) in snapshot(root).items() if content) == [
        f"{PARTIAL}/{other}", "asset", "kept",
    ]  # fmt: skip


def test_sweep_where_there_is_nothing(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "no/where"):
        with Staging(root) as staging:
            assert staging.sweep() == 0
    assert list(tmp_path.iterdir()) == []


def test_sweep_that_cannot(tmp_path: Path) -> None:
    (tmp_path / PARTIAL / ("0" * 32 + ".part")).mkdir(parents=True)
    with Staging(tmp_path) as staging, pytest.raises(StorageError, match="cannot sweep"):
        staging.sweep()


# --- space -----------------------------------------------------------------------------------------


def test_space_is_asked_for_before_the_first_byte(tmp_path: Path) -> None:
    with Staging(tmp_path / "not/made/yet") as staging:
        status = os.statvfs(tmp_path)
        assert staging.available() <= status.f_bavail * status.f_frsize
        staging.require(0)
        staging.require(1)
        with pytest.raises(FullError, match=r"needs 1,\d{3},\d{3},\d{3},\d{3},\d{3},\d{3} bytes") as caught:
            staging.require(10**18 + 10**15)
        assert caught.value.code == "storage.full"
        assert caught.value.hint is not None
        assert "--path" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_no_name() -> None:
    with Staging(Path("nul\0")) as staging:
        with pytest.raises(MissingError):
            staging.create()
        with pytest.raises(MissingError):
            staging.available()
        assert staging.sweep() == 0


def test_space_under_a_file(tmp_path: Path) -> None:
    plant(tmp_path, {"file": b""})
    with pytest.raises(StorageError, match="free space"):
        Staging(tmp_path / "file/set").available()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=64", "none", disk]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount tmpfs here: {made.stderr.decode().strip()[:100]}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_keeps_what_was_published(small_disk: Path) -> None:
    with Staging(small_disk / "set") as staging:
        staging.publish(stage(staging, b"k" * 1_000_000), "kept")
        temp = staging.create()
        with pytest.raises(FullError) as caught:
            temp.write(b"x" * 5_000_000)
        assert "No space left" in str(caught.value)
        assert temp.name in str(caught.value)
        assert caught.value.hint is not None
        assert "free some space" in caught.value.hint
        assert not (small_disk / "set" / PARTIAL / temp.name).exists()
        with pytest.raises(FullError):
            staging.require(3_900_000)
        staging.publish(stage(staging, b"m" * 1_000_000), "more")  # the space is back
    assert sorted(snapshot(small_disk / "set")) == ["kept", "more"]


def test_no_names_left(small_disk: Path) -> None:
    with Staging(small_disk / "set") as staging:
        temps = [stage(staging, b"x")]
        with pytest.raises(FullError):
            temps.extend(staging.create() for _ in range(64))
        assert len(temps) > 50
        with pytest.raises(FullError):
            staging.publish(temps[0], "a/b/c/d")  # directories need names too
    assert list(snapshot(small_disk / "set")) == []


def test_an_asset_of_unknown_size_stops_at_the_room_there_is(small_disk: Path) -> None:
    with Staging(small_disk / "set") as staging:
        temp = staging.create()
        with pytest.raises(FullError, match=r"longer than the [\d,]+ bytes there is room for"):
            copy_verified(MemoryStream(b"", None, "endless"), temp, "0" * 64, None)
        assert list((small_disk / "set" / PARTIAL).iterdir()) == []


def test_a_file_size_limit_is_a_full_disk_too(tmp_path: Path) -> None:
    program = """
        import resource, sys
        from pathlib import Path
        from databom.errors import FullError
        from databom.storage.staging import Staging
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with Staging(Path(sys.argv[1])) as staging:
            temp = staging.create()
            try:
                temp.write(b"x" * 200_000)
            except FullError as error:
                print(error)
    """
    process = python(program, tmp_path / "set")
    assert "File too large" in process.communicate()[0]
    assert list((tmp_path / "set").iterdir()) == []


# --- copying while hashing -------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=5000),
    declared=st.one_of(st.none(), st.integers(0, 5100), st.just("right")),
    right=st.booleans(),
    md5=st.booleans(),
)
def test_a_copy_is_what_it_says(
    tmp_path: Path, data: bytes, declared: int | str | None, right: bool, md5: bool
) -> None:
    size = len(data) if declared == "right" else declared
    assert not isinstance(size, str)
    digest = hashlib.sha256(data).hexdigest()
    stream = MemoryStream(data, None, None)
    with Staging(tmp_path / "set") as staging:
        temp = staging.create()
        got, matches = copy_verified(stream, temp, digest if right else "0" * 64, size, md5=md5)
        written = (tmp_path / "set" / PARTIAL / temp.name).read_bytes()
        assert matches == (right and size in {None, len(data)})
        assert stream.served <= (len(data) if size is None else size + 1)
        assert written == (data if size is None else data[:size])
        assert got.complete == (size is None or len(data) <= size)
        if got.complete:
            assert (got.size, got.sha256) == (len(data), digest)
            assert got.md5 == (hashlib.md5(data).hexdigest() if md5 else None)
        else:
            assert got.size == (size or 0) + 1


def test_an_endless_body_is_cut(tmp_path: Path) -> None:
    stream = MemoryStream(b"", None, "endless")
    with Staging(tmp_path / "set") as staging:
        temp = staging.create()
        got, matches = copy_verified(stream, temp, "0" * 64, 3_000_000)
        assert (got.size, got.complete, matches) == (3_000_001, False, False)
        assert stream.served == 3_000_001
        assert temp.size == 3_000_000
        temp = staging.create()
        got, matches = copy_verified(stream, temp, "0" * 64, None, limit=1000)
        assert (got.size, got.complete, matches, temp.size) == (1001, False, False, 1000)


def test_a_broken_body_leaves_nothing(tmp_path: Path) -> None:
    reader = MemoryReader({"x": b"data" * 1000}, {"x": "truncated"})
    with Staging(tmp_path / "set") as staging:
        with reader.open("x") as stream, pytest.raises(TruncatedError):
            copy_verified(stream, staging.create(), "0" * 64, None)
        assert list((tmp_path / "set" / PARTIAL).iterdir()) == []


def test_a_meter_can_stop_a_copy(tmp_path: Path) -> None:
    counted = []

    def meter(count: int) -> None:
        counted.append(count)
        if len(counted) == 3:
            raise KeyboardInterrupt

    with Staging(tmp_path / "set") as staging:
        with pytest.raises(KeyboardInterrupt):
            copy_verified(MemoryStream(b"", None, "endless"), staging.create(), "0" * 64, 10**9, meter=meter)
        assert list((tmp_path / "set" / PARTIAL).iterdir()) == []
    assert counted == [1 << 20] * 3


# --- setting aside ---------------------------------------------------------------------------------


@pytest.fixture(params=["same", "other"])
def quarantine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A place on the same file system, and one on another."""
    if request.param == "same":
        yield tmp_path / "quarantine"
        return
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write to")
    place = shm / f"databom-test-{os.getpid()}"
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_a_bad_file_is_moved_byte_for_byte(tmp_path: Path, quarantine: Path, system: str) -> None:
    data = os.urandom(2_500_000)
    root = plant(tmp_path / "set", {"images/cat.jpg": data, "images/dog.jpg": b"dog"})
    with Staging(root) as staging:
        moved = staging.move_out("images/cat.jpg", quarantine)
        assert moved == quarantine / "images/cat.jpg"
        plant(root, {"images/cat.jpg": b"second"})
        again = staging.move_out("images/cat.jpg", quarantine)
        assert again == quarantine / "images/cat.jpg.2"
        named = staging.move_out("images/dog.jpg", quarantine / "case", name="asset")
        assert named == quarantine / "case/asset"
        with pytest.raises(MissingError):
            staging.move_out("images/cat.jpg", quarantine)
    assert (moved.read_bytes(), again.read_bytes(), named.read_bytes()) == (data, b"second", b"dog")
    assert quarantine.stat().st_mode & 0o777 == 0o700
    assert list(snapshot(root)) == ["images"]


@pytest.mark.parametrize("kind", ["symlink", "fifo", "socket"])
def test_odd_things_are_moved_as_they_are(tmp_path: Path, quarantine: Path, kind: str, system: str) -> None:
    root = plant(tmp_path / "set", {})
    if kind == "symlink":
        (root / "odd").symlink_to("/etc/passwd")
    else:
        os.mknod(root / "odd", 0o600 | (0o010000 if kind == "fifo" else 0o140000))
    mode = (root / "odd").lstat().st_mode
    with within(5), Staging(root) as staging:
        moved = staging.move_out("odd", quarantine)
    assert moved.lstat().st_mode == mode
    assert kind != "symlink" or os.readlink(moved) == "/etc/passwd"
    assert not os.path.lexists(root / "odd")


def test_a_directory_is_moved_whole_or_not_at_all(tmp_path: Path, quarantine: Path) -> None:
    root = plant(tmp_path / "set", {"asset/inner": b"x"})
    with Staging(root) as staging:
        if quarantine.parent == tmp_path:
            assert (staging.move_out("asset", quarantine) / "inner").read_bytes() == b"x"
        else:
            with pytest.raises(StorageError, match="cannot set aside"):
                staging.move_out("asset", quarantine)
            assert (root / "asset/inner").read_bytes() == b"x"


def test_a_file_in_the_place_of_a_directory_is_what_is_moved(tmp_path: Path) -> None:
    root = plant(tmp_path / "set", {"images": b"a file"})
    with Staging(root) as staging:
        moved = staging.move_out("images/cat.jpg", tmp_path / "quarantine")
        staging.publish(stage(staging), "images/cat.jpg")
    assert moved == tmp_path / "quarantine/images"
    assert moved.read_bytes() == b"a file"


def test_staged_bytes_can_be_kept_as_evidence(tmp_path: Path, system: str) -> None:
    with Staging(tmp_path / "set") as staging:
        kept = [
            staging.set_aside(stage(staging, b"%d" % i), tmp_path / "case/asset/cat.jpg") for i in range(2)
        ]
        gone = stage(staging)
        gone.discard()
        with pytest.raises(StorageError):
            staging.set_aside(gone, tmp_path / "case/asset/x")
    assert [path.name for path in kept] == ["cat.jpg", "cat.jpg.2"]
    assert [path.read_bytes() for path in kept] == [b"0", b"1"]


def test_a_full_quarantine_leaves_the_file_where_it_was(tmp_path: Path, small_disk: Path) -> None:
    root = plant(tmp_path / "set", {"big": b"b" * 6_000_000})
    with Staging(root) as staging, pytest.raises(FullError):
        staging.move_out("big", small_disk / "quarantine")
    assert (root / "big").stat().st_size == 6_000_000
    assert list((small_disk / "quarantine").iterdir()) == []
