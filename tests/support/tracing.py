"""Programs of ours in a process apart, one of whose system calls fails, or kills it: SQLite's method, with strace."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}

READY = """
import os, select
from databom.errors import DatabomError
from databom.storage import posix

def say(*words):  # by a call that no test makes fail
    os.writev(1, [" ".join(map(str, words)).encode() + b"\\n"])

def ready():
    posix.has_openat2(), posix._libc()
    print("ready", flush=True)
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    waiting.poll()

def leave():
    posix._libc()._exit(0)
"""
"""Before every program: it loads what it needs, calls `ready`, does its work, says what came of it, and leaves."""


def start(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    """A program that talks by stdout until it ends or is killed."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)


def traced(program: str, *arguments: object, inject: str | None) -> tuple[str, int]:
    """What a program said after `ready`, and its exit code (negative: the signal that ended it).

    `inject` is strace's, as `fsync:error=EIO:when=3`; only calls after `ready` count. Skips where strace may not trace.
    """
    code = READY + textwrap.dedent(program)
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()
        tracer = None
        if inject:
            command = ["strace", "-f", "-o", "/dev/null", "-p", str(child.pid)]
            command += ["-e", f"trace={inject.split(':')[0]}", "-e", f"inject={inject}"]
            tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            if "attached" not in line:
                child.kill()
                tracer.communicate()
                pytest.skip(f"strace may not attach here: {line.strip()[:100]}")
        out, err = child.communicate("go\n")
        if tracer is not None:
            tracer.communicate()
        assert "Traceback" not in err, err
        return out, child.returncode
