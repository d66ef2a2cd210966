"""Programs that fork, run in a process of their own: the one that runs the tests has threads, and does not fork."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

HEAD = """
import fcntl, json, os, resource, signal, sys, time
from databom.checks import forking
from databom.checks.forking import Aside, Copies, may_fork
me, seen, born = os.getpid(), [], []
assert may_fork()
def share(tasks, work, copies=2):
    with Copies(tasks, work, list[int], copies, seen.append) as all_of_us:
        found = sorted(all_of_us.results())
    nobody_left()
    return found
def nobody_left():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    raise AssertionError("a copy was left behind")
def open_files():
    return len(os.listdir("/proc/self/fd"))
def blocked(*_):
    os.read(never[0], 1)
never = os.pipe()
def noted(fork=os.fork):
    born.append(fork())
    return born[-1]
os.fork = noted
"""
"""`seen` is what `share` was told of, `born` every process id that a fork gave; `blocked` is work that ends by a signal
only, or by a byte in `never`."""


def run(code: str) -> Any:
    """What the program printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
