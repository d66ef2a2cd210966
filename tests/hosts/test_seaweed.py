from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from databom.errors import ConfigError, PluginError
from databom.hosts import seaweed
from databom.hosts.seaweed import find_weed, start_seaweed
from databom.storage.location import parse_location
from databom.storage.reader import read_document
from databom.storage.s3 import make_bucket, put_object

pytestmark = pytest.mark.s3


def test_a_server_keeps_its_objects_over_a_restart_and_reads_nobodys_keys(
    tmp_path: Path, clean_environ: pytest.MonkeyPatch
) -> None:
    clean_environ.setenv("AWS_ACCESS_KEY_ID", "somebody")
    clean_environ.setenv("AWS_SECRET_ACCESS_KEY", "c4n4ry-else")
    key = parse_location("r2://data/rel/x")
    endpoints = set()
    for attempt in (1, 2):
        with start_seaweed(tmp_path / "store") as server:
            for name, value in server.environ.items():
                clean_environ.setenv(name, value)
            assert server.environ["AWS_SECRET_ACCESS_KEY"] not in repr(server)
            if attempt == 1:
                make_bucket(key)
                put_object(key, b"data")
            assert read_document(key, limit=4) == b"data"
            endpoints.add(server.endpoint)
            port = int(server.endpoint.rpartition(":")[2])
            assert _listens(port)
            assert Path(f"/proc/{server.pid}/environ").read_bytes().count(b"c4n4ry") == 0
        assert not _listens(port)
        server.stop()  # once more is fine
    assert len(endpoints) == 2
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from databom.hosts.seaweed import start_seaweed
print(start_seaweed(Path(sys.argv[1])).endpoint, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", script, str(tmp_path / "store")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().rpartition(":")[2])
        assert _listens(port)
        parent.kill()
    wait_until(lambda: not _listens(port))


def test_it_can_be_started_from_a_thread_that_ends(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(start_seaweed, tmp_path / "store").result()
    with server:
        assert _listens(int(server.endpoint.rpartition(":")[2]))


def wait_until(happened: Callable[[], bool], deadline: float = 30.0) -> None:
    end = time.monotonic() + deadline
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without the wheel; the folder is all of PATH."""
    monkeypatch.setattr(seaweed, "WHEEL", "no-such-distribution")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def test_without_seaweedfs_it_says_what_to_install(no_wheel: Path, tmp_path: Path) -> None:
    assert find_weed() is None
    with pytest.raises(ConfigError) as caught:
        start_seaweed(tmp_path / "store")
    assert "pip install" in str(caught.value.hint)
    assert not (tmp_path / "store").exists()


def _fake(folder: Path, script: str) -> None:
    (folder / "weed").write_text(f"#!/bin/sh\necho started >>starts\n{script}\n")
    (folder / "weed").chmod(0o755)


def test_a_program_that_ends_at_once_is_tried_with_other_ports(no_wheel: Path, tmp_path: Path) -> None:
    _fake(no_wheel, "exit 1")
    with pytest.raises(PluginError) as caught:
        start_seaweed(tmp_path / "store")
    assert (tmp_path / "store/starts").read_text().count("started") == 3
    assert "weed.log" in str(caught.value.hint)


def test_a_program_that_never_answers_is_ended_at_the_deadline(no_wheel: Path, tmp_path: Path) -> None:
    _fake(no_wheel, "echo $$ >pid; exec /bin/sleep 600")
    with pytest.raises(PluginError, match="did not start within 1 s"):
        start_seaweed(tmp_path / "store", deadline=1.0)
    assert (tmp_path / "store/starts").read_text().count("started") == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "store/pid").read_text()), 0)
