"""Project files: whole or not at all, bounded, one writer at a time, and no foreign exception."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databom.errors import (
    DatabomError,
    DeniedError,
    FullError,
    InputError,
    MissingError,
    StorageError,
    UnsafeFileError,
)
from databom.storage.files import (
    exclusive,
    make_private_dir,
    read_bounded,
    sync_directory,
    write_atomic,
    write_new,
)
from support.trees import as_nobody, plant, snapshot, within

SRC = Path(__file__).parents[2] / "src"


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a program of our own in another process, with a pipe each way."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.fspath(SRC)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


# --- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_reads_up_to_the_limit(tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * size)
    assert read_bounded(tmp_path / "f", 1000) == b"x" * size


def test_reads_more_than_one_chunk(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "f").write_bytes(data)
    assert read_bounded(tmp_path / "f", 3_000_000) == data


@pytest.mark.parametrize("size", [1001, 5_000_000])
def test_a_file_over_the_limit_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * size)
    with pytest.raises(InputError) as caught:
        read_bounded(tmp_path / "f", 1000, prefix="lock")
    (problem,) = caught.value.problems
    assert (problem.code, problem.expected) == ("lock.limit", "at most 1,000 bytes")


def test_an_endless_file_is_cut(tmp_path: Path) -> None:
    """A sparse file of a terabyte costs one read, not a terabyte."""
    with (tmp_path / "f").open("wb") as file:
        file.truncate(1 << 40)
    with within(5), pytest.raises(InputError):
        read_bounded(tmp_path / "f", 1000)


def test_a_link_the_user_named_is_followed(tmp_path: Path) -> None:
    plant(tmp_path, {"real": b"data"})
    (tmp_path / "link").symlink_to("real")
    assert read_bounded(tmp_path / "link", 10) == b"data"


@pytest.mark.parametrize("kind", ["FIFO", "directory", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    at = tmp_path / "odd"
    with socket.socket(socket.AF_UNIX) as server, within(5):
        if kind == "FIFO":
            os.mkfifo(at)
        elif kind == "directory":
            at.mkdir()
        elif kind == "socket":
            server.bind(os.fspath(at))
        else:
            at = Path("/dev/zero")
        with pytest.raises(UnsafeFileError, match=kind):
            read_bounded(at, 1000)


@pytest.mark.parametrize("name", ["no", "no/such", "f/below", "nul\0", "\ud800"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    plant(tmp_path, {"f": b""})
    with pytest.raises(MissingError):
        read_bounded(tmp_path / name, 10)


def test_what_we_may_not_read(tmp_path: Path) -> None:
    plant(tmp_path, {"f": b"secret"})
    (tmp_path / "f").chmod(0)
    with as_nobody(), pytest.raises(DeniedError) as caught:
        read_bounded(tmp_path / "f", 10)
    assert caught.value.hint


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=300), data=st.binary(max_size=50))
def test_no_name_raises_anything_foreign(tmp_path: Path, name: str, data: bytes) -> None:
    """Whatever the name: ours or nothing. (Absolute and upward names stay below by the join's own text.)"""
    path = tmp_path / f"d{name.replace('/', '_')}"
    with contextlib.suppress(DatabomError):
        write_atomic(path, data)
        assert read_bounded(path, 50) == data
        path.unlink()
    with contextlib.suppress(DatabomError):
        read_bounded(path, 50)
    with contextlib.suppress(DatabomError):
        make_private_dir(path)
        path.rmdir()
    with contextlib.suppress(DatabomError), exclusive(path):
        pass


# --- writing ---------------------------------------------------------------------------------------


def test_writes_a_new_file_and_its_directories(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "a/b/f", b"data")
    finally:
        os.umask(before)
    assert snapshot(tmp_path) == {
        "a": (0o040755, None),
        "a/b": (0o040755, None),
        "a/b/f": (0o100644, b"data"),
    }


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    plant(tmp_path, {"f": b"old"})
    (tmp_path / "f").chmod(mode)
    write_atomic(tmp_path / "f", b"new", mode=0o644)
    assert snapshot(tmp_path) == {"f": (0o100000 | mode, b"new")}


@pytest.mark.parametrize(
    ("mode", "umask", "expected"), [(0o600, 0, 0o600), (0o644, 0o077, 0o600), (0o644, 0o022, 0o644)]
)
def test_a_new_file_gets_its_mode_less_the_umask(
    tmp_path: Path, mode: int, umask: int, expected: int
) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "f", b"x", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == expected


@pytest.mark.parametrize("kind", ["symlink", "dangling", "directory", "fifo"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, kind: str) -> None:
    plant(tmp_path, {"victim": b"victim"})
    at = tmp_path / "f"
    {
        "symlink": lambda: at.symlink_to("victim"),
        "dangling": lambda: at.symlink_to("new-victim"),
        "directory": at.mkdir,
        "fifo": lambda: os.mkfifo(at),
    }[kind]()
    before = snapshot(tmp_path)
    with within(5), pytest.raises(UnsafeFileError, match="will not replace"):
        write_atomic(at, b"data")
    assert snapshot(tmp_path) == before


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    plant(tmp_path, {"f": b"file"})
    with pytest.raises(StorageError):
        write_atomic(tmp_path / "f/below", b"x")
    assert snapshot(tmp_path) == {"f": (0o100644, b"file")}


def test_a_name_that_is_none(tmp_path: Path) -> None:
    for name in ("nul\0", "\ud800"):
        with pytest.raises(MissingError):
            write_atomic(tmp_path / name, b"x")
        with pytest.raises(StorageError):
            make_private_dir(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_we_may_not_write(tmp_path: Path) -> None:
    plant(tmp_path / "d", {"f": b"old"})
    (tmp_path / "d").chmod(0o555)
    with as_nobody(), pytest.raises(DeniedError):
        write_atomic(tmp_path / "d/f", b"new")
    (tmp_path / "d").chmod(0o755)
    assert (tmp_path / "d/f").read_bytes() == b"old"


def test_a_new_file_is_never_written_over_another(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_new(tmp_path / "keys/k.pub", b"public", mode=0o644)
        write_new(tmp_path / "keys/k", b"secret", mode=0o600)
    finally:
        os.umask(before)
    (tmp_path / "keys/link").symlink_to("elsewhere")
    found = snapshot(tmp_path)
    assert found["keys/k"] == (0o100600, b"secret")
    assert found["keys/k.pub"] == (0o100644, b"public")
    for name in ("k", "link"):
        with pytest.raises(StorageError, match=f"{name} exists and is not overwritten"):
            write_new(tmp_path / "keys" / name, b"new")
    with pytest.raises(MissingError):
        write_new(tmp_path / "nul\0", b"new")
    with pytest.raises(StorageError):
        write_new(tmp_path / "keys/k/below", b"new")
    assert snapshot(tmp_path) == found


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("cannot mount tmpfs here")
    try:
        write_atomic(disk / "f", b"old")
        with pytest.raises(FullError) as caught:
            write_atomic(disk / "f", b"n" * 1_000_000)
        assert caught.value.where == f"{disk}/f"
        assert snapshot(disk) == {"f": (0o100644, b"old")}
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_readers_see_the_old_or_the_new(tmp_path: Path) -> None:
    """A reader that never stops, while two contents of different lengths take turns."""
    contents = {b"a" * 10, b"b" * 200_000}
    path = tmp_path / "f"
    write_atomic(path, b"a" * 10)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(read_bounded(path, 300_000))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(100):
        for data in contents:
            write_atomic(path, data)
    done.set()
    thread.join()
    assert seen <= contents
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_kill_nine_while_writing(tmp_path: Path) -> None:
    """Killed at moments that differ: the file is always one of the two, and the next write works."""
    program = """
        import sys
        from pathlib import Path
        from databom.storage.files import write_atomic
        while True:
            for data in (b"a" * 100, b"b" * 300_000):
                write_atomic(Path(sys.argv[1]), data)
                print("written", flush=True)
    """
    path = tmp_path / "f"
    for attempt in range(6):
        process = python(program, path)
        assert process.stdout is not None
        for _ in range(1 + 5 * attempt):
            process.stdout.readline()
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        assert read_bounded(path, 400_000) in {b"a" * 100, b"b" * 300_000}
        write_atomic(path, b"after")
        assert read_bounded(path, 10) == b"after"


def test_flushing_a_directory(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    with pytest.raises(MissingError):
        sync_directory(tmp_path / "no")


# --- private directories ---------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_private_directory_is_ours_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private_dir(tmp_path / "a/.databom")
        make_private_dir(tmp_path / "a/.databom")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a/.databom").stat().st_mode) == 0o700


def test_an_open_directory_is_closed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o777)
    make_private_dir(tmp_path / "d")
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["file", "symlink", "dangling"])
def test_a_private_directory_is_no_link(tmp_path: Path, kind: str) -> None:
    (tmp_path / "real").mkdir(mode=0o755)
    if kind == "file":
        (tmp_path / "d").touch()
    else:
        (tmp_path / "d").symlink_to("real" if kind == "symlink" else "nowhere")
    with pytest.raises(UnsafeFileError, match="not a directory"):
        make_private_dir(tmp_path / "d")
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o755


def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / "d").mkdir(mode=0o700)
    os.chown(tmp_path / "d", 65534, 65534)
    with pytest.raises(UnsafeFileError, match="belongs to user 65534"):
        make_private_dir(tmp_path / "d")


# --- the lock --------------------------------------------------------------------------------------

HOLDER = """
    import sys
    from pathlib import Path
    from databom.storage.files import exclusive
    with exclusive(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
"""


def test_one_at_a_time_and_the_holder_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = python(HOLDER, lock)
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(StorageError, match=rf"process {holder.pid} on ") as caught,
        exclusive(lock, patience=0),
    ):
        raise AssertionError("two hold the lock")
    assert caught.value.hint
    told: list[str] = []

    def waiting(who: str) -> None:
        told.append(who)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()

    with exclusive(lock, waiting=waiting):
        assert told == [f"process {holder.pid} on {socket.gethostname()}"]
    assert holder.wait() == 0
    holder.communicate()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = python(HOLDER, lock)
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.wait()
    holder.communicate()
    with exclusive(lock, waiting=lambda who: pytest.fail(f"waits for {who}, who is dead"), patience=0):
        pass


def test_a_stopped_holder_is_named_in_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = python(HOLDER, lock)
    assert holder.stdout is not None
    holder.stdout.readline()
    os.kill(holder.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StorageError, match=f"process {holder.pid}"), exclusive(lock, patience=0.1):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with exclusive(tmp_path / "lock"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_forked_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A data loader's workers outlive the step that forked them; the lock must not."""
    lock = tmp_path / "lock"
    reader, writer = os.pipe()
    with exclusive(lock):
        worker = os.fork()
        if not worker:
            os.close(writer)
            os.read(reader, 1)  # lives until the parent lets go
            os._exit(0)
    with exclusive(lock, patience=0):
        pass
    os.close(writer)
    os.close(reader)
    assert os.waitpid(worker, 0)[1] == 0


def test_a_killed_holder_leaves_no_lock_with_its_workers(tmp_path: Path) -> None:
    program = """
        import os, sys
        from pathlib import Path
        from databom.storage.files import exclusive
        with exclusive(Path(sys.argv[1])):
            if not os.fork():
                print("forked", os.getpid(), flush=True)
                sys.stdin.readline()
                os._exit(0)
            os.wait()
    """
    holder = python(program, tmp_path / "lock")
    assert holder.stdout is not None
    assert holder.stdout.readline().startswith("forked")
    holder.kill()
    holder.wait()
    with exclusive(tmp_path / "lock", patience=0):
        pass
    holder.communicate("\n")  # the worker lived until now


def test_a_child_that_leaves_the_block_closes_nothing_of_its_own(tmp_path: Path) -> None:
    """In the child the lock's descriptor is gone and its number may be another file's by now."""
    worker = None
    with contextlib.suppress(SystemExit), exclusive(tmp_path / "lock"):
        worker = os.fork()
        if not worker:
            held = os.open(tmp_path / "mine", os.O_CREAT | os.O_RDWR)  # takes the number the lock had
    if not worker:
        try:
            os.write(held, b"still open")
        finally:
            os._exit(0)
    assert os.waitpid(worker, 0)[1] == 0
    assert (tmp_path / "mine").read_bytes() == b"still open"


def test_the_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), exclusive(tmp_path / "lock"):
            raise error
    with exclusive(tmp_path / "lock", patience=0):
        pass


def test_a_lock_file_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    for name in ("dir", "link", "no/such", "nul\0"):
        with within(5), pytest.raises(StorageError), exclusive(tmp_path / name):
            raise AssertionError("locked")
    assert not (tmp_path / "elsewhere").exists()


def test_what_somebody_wrote_into_the_lock_is_not_repeated(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock):
        lock.write_bytes(b"process \x1b[31mred\n")
        with pytest.raises(StorageError, match="another process holds"), exclusive(lock, patience=0):
            pass
