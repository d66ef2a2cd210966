"""Copies of the process where the process, its user or the system is not as one would like it to be."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from support.forked import HEAD, run

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="copies are made where the kernel counts threads"
)

# --- who else waits for children -----------------------------------------------------------------

REAPED_BY_OTHERS = [
    "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    """
def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]: pass
    except ChildProcessError: pass
signal.signal(signal.SIGCHLD, reap)
""",
]


@pytest.mark.parametrize("host", REAPED_BY_OTHERS)
def test_a_host_that_takes_the_exit_status(host: str) -> None:
    code = f"""
{host}
shared = share(500, lambda n, _: [n])
with Aside(lambda: os.getpid() != me, bool) as aside:
    by_a_copy = aside.answer()
nobody_left()
with Copies(5, blocked, list[int], 3, seen.append), Aside(blocked, int):
    pass
nobody_left()
print(json.dumps([shared, by_a_copy]))
"""
    assert run(code) == [[[n, [n]] for n in range(500)], True]


def test_an_answer_whose_copy_was_reaped_by_another() -> None:
    code = """
with Aside(lambda: os.getpid() != me, bool) as aside, Aside(lambda: 7, int):
    os.waitpid(-1, 0), os.waitpid(-1, 0)
    print(json.dumps(aside.answer()))
"""
    assert run(code) is True


def test_a_process_id_that_is_no_longer_ours_is_not_killed() -> None:
    """Here it is made out to be this process's own, which must live to tell."""
    code = """
kill = os.kill
gone = None
os.kill = lambda child, how: kill(me if child == gone else child, how)
with Copies(5, blocked, list[int], 1, seen.append):
    with Aside(lambda: 7, int) as aside:
        gone = born[-1]
        os.waitpid(gone, 0)
nobody_left()
print(json.dumps("alive"))
"""
    assert run(code) == "alive"


def test_an_error_with_one_copy_leaves_no_other() -> None:
    code = """
with Copies(5, blocked, list[int], 3, seen.append):
    os.kill(born[0], signal.SIGKILL)
    os.waitpid(born[0], 0)
nobody_left()
print(json.dumps("nobody"))
"""
    assert run(code) == "nobody"


# --- a parent that is gone -----------------------------------------------------------------------


def test_a_copy_does_not_outlive_a_parent_that_was_killed() -> None:
    """Whatever else its parent has begun goes on for: here, an answer looked for aside, and another that is."""
    mine, theirs = os.pipe()  # the other end of `mine` is held by the copies that are to end, and nobody else
    waits, held = os.pipe()
    code = f"""
def tell(n, meter):
    while True: meter(1 << 30)
def wait():
    os.close({theirs})
    os.read({waits}, 1)
os.close({held})
with Aside(wait, int), Copies(5, tell, list[int], 2, seen.append), Aside(wait, int):
    os.kill(me, signal.SIGKILL)
"""
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + code], pass_fds=[theirs, waits, held], stdout=null, stderr=null
    )
    try:
        os.close(theirs)
        os.close(waits)
        assert process.wait(60) == -9
        ended, _, _ = select.select([mine], [], [], 30)
        assert ended == [mine]
    finally:
        os.close(held)
        os.close(mine)


# --- a system at its limits ----------------------------------------------------------------------


def test_pipes_of_one_page() -> None:
    """All that Linux gives a user who has many pipes."""
    code = """
pipe2 = os.pipe2
def small(flags):
    out, into = pipe2(flags)
    assert fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 1) == os.sysconf("SC_PAGESIZE")
    return out, into
os.pipe2 = small
signal.alarm(30)
print(json.dumps(share(9_000, lambda n, _: [n])))
"""
    assert run(code) == [[n, [n]] for n in range(9_000)]


def test_the_first_tasks_are_shared_however_many_there_are() -> None:
    """They are the longest; each of the first three ends only while another process does the next."""
    code = """
done = [os.pipe() for _ in range(3)]
def work(n, meter):
    if n in (0, 1): os.read(done[n + 1][0], 1)
    if n in (1, 2): os.write(done[n][1], b"x")
    return [n]
signal.alarm(30)
print(json.dumps(len(share(30_000, work))))
"""
    assert run(code) == 30_000


def test_more_open_files_than_select_knows() -> None:
    code = """
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, most))
while os.dup(0) < 1100: pass
print(json.dumps(share(10, lambda n, _: [n])))
"""
    assert run(code) == [[n, [n]] for n in range(10)]


def test_a_copy_that_does_not_die_is_not_waited_for() -> None:
    """As one does that reads from a dead mount; once it has ended, nothing is left of it."""
    code = """
forking.PATIENCE_SECONDS = 0.01
kill, os.kill = os.kill, lambda *_: None
signal.alarm(30)
with Copies(5, blocked, list[int], 2, seen.append), Aside(blocked, int):
    stuck = tuple(born)
os.kill = kill
alive = [os.waitpid(child, os.WNOHANG)[0] for child in stuck]
os.write(never[1], b"xxx")
for child in stuck:
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it is a zombie now
share(5, lambda n, _: [n])
print(json.dumps([alive, open_files()]))
"""
    alive, files = run(code)
    assert alive == [0, 0, 0]
    assert files == run("print(json.dumps(open_files()))")


# --- signals -------------------------------------------------------------------------------------

SIGNALS = [
    ("SIGINT", "signal.default_int_handler", "KeyboardInterrupt"),
    ("SIGTERM", "lambda *_: sys.exit('SIGTERM')", "SystemExit"),
    ("SIGALRM", "lambda *_: 1 / 0", "ZeroDivisionError"),
]
DOES = {
    "copies": "Copies(50, lambda n, _: [n], list[int], 2, seen.append)",
    "aside": "Aside(lambda: 50, int)",
}


@pytest.mark.parametrize("what", DOES)
@pytest.mark.parametrize(("name", "handler", "error"), SIGNALS)
def test_a_signal_right_after_the_fork_loses_no_copy(what: str, name: str, handler: str, error: str) -> None:
    code = f"""
files, fork = open_files(), os.fork
def signalled():
    child = fork()
    if child: signal.raise_signal(signal.{name})
    return child
os.fork = signalled
signal.signal(signal.{name}, {handler})
try:
    with {DOES[what]}:
        heard = "too late"
except {error} as error:
    heard = type(error).__name__
nobody_left()
print(json.dumps([heard, open_files() - files, len(signal.pthread_sigmask(signal.SIG_BLOCK, ()))]))
"""
    assert run(code) == [error, 0, 0]


@pytest.mark.parametrize("what", DOES)
@pytest.mark.parametrize(("name", "handler", "error"), SIGNALS)
def test_a_signal_for_a_copy_that_has_just_begun(what: str, name: str, handler: str, error: str) -> None:
    """It ends the copy, and does not have it go on as if it were its parent."""
    code = f"""
fork = os.fork
def signalled():
    child = fork()
    if not child: signal.raise_signal(signal.{name})
    return child
os.fork = signalled
signal.signal(signal.{name}, {handler})
try:
    with {DOES[what]} as all_of_us:
        found = all_of_us.answer() if {what!r} == "aside" else len(list(all_of_us.results()))
except {error}:
    found = "here"
if os.getpid() != me:
    os.write(2, b"the copy came out of its block")
    os.kill(me, signal.SIGKILL)
nobody_left()
print(json.dumps(found))
"""
    assert run(code) == 50


def test_copies_listen_to_the_signals_their_parent_listens_to() -> None:
    code = """
def mask(*_):
    return sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
with Aside(mask, list[int]) as aside:
    print(json.dumps([mask() == [signal.SIGUSR2], aside.answer() == mask()]))
"""
    assert run(code) == [True, True]


# --- an answer that is not whole -----------------------------------------------------------------


def test_an_answer_cut_short_is_no_answer() -> None:
    code = """
write, who = forking._write, lambda: [os.getpid(), "a text", [1, 2]]
found = []
for cut in range(15):
    forking._write = lambda into, data: write(into, data[: len(data) - cut])
    with Aside(who, tuple[int, str, list[int]]) as aside:
        found.append(aside.answer()[0] == me)
print(json.dumps(found))
"""
    assert run(code) == [False] + [True] * 14
