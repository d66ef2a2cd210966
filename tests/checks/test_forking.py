"""Copies of the process share the work; whatever becomes of them, every answer is there and is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from databom.checks import forking
from support.forked import run
from support.trees import plant

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="copies are made where the kernel counts threads"
)


@pytest.mark.parametrize("tasks", [0, 1, 7, 1024, 1025, 30_000])
def test_every_task_is_done_once(tasks: int) -> None:
    found = run(f"""
before = open_files()
print(json.dumps([share({tasks}, lambda n, _: [n, 0]), open_files() - before]))
""")
    assert found == [[[n, [n, 0]] for n in range(tasks)], 0]


def test_the_copies_work_too() -> None:
    """Each process that has taken a task waits for the others, so nobody can do all of it."""
    code = """
ready, go = os.pipe(), os.pipe()
def work(n, meter):
    if n < 3:
        os.write(ready[1], b"x")
        if os.getpid() == me:
            have = 0
            while have < 3:
                have += len(os.read(ready[0], 3))
            os.write(go[1], b"xxx")
        os.read(go[0], 1)
    return [os.getpid()]
print(json.dumps(len({pid for _, [pid] in share(50, work)})))
"""
    assert run(code) == 3


@pytest.mark.parametrize(
    "trouble",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os._exit(0)",
        "raise ValueError(n)",
        "raise KeyboardInterrupt",
    ],
)
def test_what_a_copy_did_not_answer_for_is_done_here(trouble: str) -> None:
    code = f"""
def work(n, meter):
    if os.getpid() != me:
        {trouble}
    return [n]
print(json.dumps(share(500, work)))
"""
    assert run(code) == [[n, [n]] for n in range(500)]


def test_an_error_of_the_work_is_raised_here() -> None:
    code = """
def work(n, meter):
    if n == 300: raise ValueError("three hundred")
    return [n]
try:
    share(500, work)
except ValueError as error:
    print(json.dumps(str(error)))
"""
    assert run(code) == "three hundred"


def test_no_process_to_be_had() -> None:
    code = """
def refused(): raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = refused
print(json.dumps(share(10, lambda n, _: [n])))
"""
    assert run(code) == [[n, [n]] for n in range(10)]


def test_stopping_early_ends_the_copies() -> None:
    code = """
def work(n, meter):
    if os.getpid() != me: time.sleep(60)
    return [n]
with Copies(100, work, list[int], 2, seen.append) as all_of_us:
    first = next(all_of_us.results())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(json.dumps(first))
"""
    number, result = run(code)  # which one is this process's first depends on how quick the copies are
    assert result == [number]


def test_a_long_task_tells_how_far_it_is() -> None:
    code = """
def work(n, meter):
    for _ in range(10): meter(10 << 20)
    return [n]
share(20, work)
print(json.dumps(sum(seen)))
"""
    assert run(code) == 20 * 10 * (10 << 20)


@pytest.mark.parametrize(
    "trouble",
    [
        "os.pipe2 = refused",
        "os.fork = refused",
        "os.read = refused",
    ],
)
def test_the_system_helps_with_nothing(trouble: str) -> None:
    code = f"""
def refused(*_): raise OSError(5, "Input/output error")
{trouble}
shared = share(10, lambda n, _: [n])
with Aside(lambda: 7, int) as aside:
    print(json.dumps([shared, aside.answer()]))
"""
    assert run(code) == [[[n, [n]] for n in range(10)], 7]


def test_an_answer_that_a_copy_looks_for_meanwhile() -> None:
    code = """
before = open_files()
go = os.pipe()
def work():
    os.read(go[0], 1)
    return [os.getpid() == me, "x" * 1_000_000]
with Aside(work, tuple[bool, str]) as aside:
    os.write(go[1], b"x")
    mine, text = aside.answer()
os.close(go[0]), os.close(go[1])
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(json.dumps([mine, len(text), open_files() - before]))
"""
    assert run(code) == [False, 1_000_000, 0]


@pytest.mark.parametrize(
    "trouble", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)", "raise ValueError"]
)
def test_an_answer_that_a_copy_did_not_give(trouble: str) -> None:
    code = f"""
def work():
    if os.getpid() != me:
        {trouble}
    return 7
with Aside(work, int) as aside:
    print(json.dumps(aside.answer()))
"""
    assert run(code) == 7


def test_an_answer_nobody_waits_for() -> None:
    code = """
try:
    with Aside(lambda: time.sleep(60), int):
        raise ValueError("never mind")
except ValueError as error:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print(json.dumps(str(error)))
"""
    assert run(code) == "never mind"


def test_an_answer_without_a_copy_is_found_at_once() -> None:
    code = """
with Aside(lambda: seen.append(1) or len(seen), int, copied=False) as aside:
    print(json.dumps([len(seen), aside.answer(), aside.answer()]))
"""
    assert run(code) == [1, 1, 1]


def test_a_process_with_threads_does_not_fork() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert not forking.may_fork()
    done.set()
    thread.join()


ASK = """
import sys, threading
from databom.checks.integrity import check_integrity
from databom.checks import forking
from databom.storage.tree import LocalTree
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.trees import manifest_of
if {alone}:
    forking.may_fork = lambda: False
else:
    assert forking.may_fork()
root = Path(sys.argv[1])
files = {{f"d{{i % 7}}/{{i:04}}": b"%d" % i * (i % 90) for i in range(3000)}} | {{"big": b"b" * 5_000_000}}
answer = check_integrity(manifest_of(files), LocalTree(root), md5=True, outcomes=True)
print(answer.findings, answer.summary, answer.outcomes)
"""


def test_the_answer_does_not_depend_on_it(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "t",
        {f"d{i % 7}/{i:04}": b"%d" % i * (i % 90) for i in range(3000)} | {"big": b"b" * 5_000_000},
    )
    (root / "d3/0010").write_bytes(b"other")
    (root / "d4/0018").write_bytes(b"x" * len((root / "d4/0018").read_bytes()))
    (root / "d5/0012").unlink()
    (root / "d6/0020").unlink()
    (root / "d6/0020").symlink_to(root / "big")
    os.link(root / "d0/0007", root / "d0/again")
    os.mkfifo(root / "d1/fifo")
    (root / "d1/0015").unlink()
    os.mkfifo(root / "d1/0015")
    said = [
        subprocess.run(
            [sys.executable, "-c", ASK.format(tests=str(Path(__file__).parents[1]), alone=alone), root],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout
        for alone in (False, True)
    ]
    assert said[0] == said[1]
    for code in ("integrity.mismatch", "integrity.size", "integrity.missing", "integrity.unsafe-file"):
        assert code in said[0]
