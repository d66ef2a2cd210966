"""A real MLflow server, a switchboard in front of it that can fail on command, and programs that train."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.programs import FIVE_LINES

WHOLE = 8
"""Artifacts of a run of one signed pin: manifest and envelope, BOM, report, receipt, proof, record, environment."""
REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120
"""Deadline of anything that waits for another process; a test that needs it has failed."""


def forget() -> None:
    """Have databom.mlflow know of no run, project or server in this process."""
    from databom.mlflow import place, runs, switch, warn
    from databom.tasks import use

    runs._after_fork()
    switch._switch = switch._Switch()
    place._known.clear()
    warn._said.clear()
    warn.silence(False)
    use._read.clear()
    use._declared.clear()


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_metadata(folder: Path) -> Path:
    """A folder that, on sys.path, is databom's installation as far as entry points go: those of pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    info = folder / f"databom-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: databom\nVersion: {project['version']}\n")
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in groups[group].items()) for group in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def environment(metadata: Path, **more: str) -> dict[str, str]:
    """The environment of a training program: databom beside MLflow, and nothing said about either."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DATABOM_", "DVC_"))}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY / "src"), str(metadata))),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        **more,
    }


def run_python(
    code: str,
    folder: Path,
    env: Mapping[str, str],
    *,
    python: str = sys.executable,
    arguments: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a program in `folder`, as a user would: from a file, in a process of its own."""
    script = folder / "train.py"
    script.write_text(code)
    return subprocess.run(
        [python, "train.py", *arguments],
        cwd=folder, env=dict(env), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A real `mlflow server` with proxied artifacts; gives its URL."""
    port = free_port()
    log = folder / "server.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
             "--backend-store-uri", f"sqlite:///{folder}/server.db",
             "--artifacts-destination", str(folder / "artifacts"), "--workers", "1"],
            cwd=folder, stdout=output, stderr=output,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a dozen workers that no test needs
            },
            start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/health", process, log)
        _warm_up(url)
        yield url
    finally:
        # It has workers of its own and takes ten seconds to say goodbye; the session holds nothing else.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            threading.Event().wait(0.1)
    raise AssertionError(f"mlflow server did not come up:\n{log.read_text()[-4000:]}")


def _warm_up(url: str) -> None:
    """Ask once for everything that tests ask for: a server imports half of itself with its first requests."""
    from mlflow.entities import Dataset, DatasetInput, RunTag
    from mlflow.tracking import MlflowClient

    client = MlflowClient(url)
    run_id = client.create_run("0").info.run_id
    client.log_inputs(run_id, [DatasetInput(Dataset("warm", "up", "local", "{}"))])
    client.log_batch(run_id, tags=[RunTag("warm", "up")])
    client.log_text(run_id, "warm", "up.txt")
    client.delete_run(run_id)


class Switchboard:
    """An HTTP proxy in front of a tracking server. It counts, and for chosen requests it fails as told.

    `mode` is `pass`, `hang` (accept and never answer), `late` (answer once `released`), `error` (500) or `cut` (close
    without an answer).
    """

    def __init__(self, upstream: str) -> None:
        self.mode = "pass"
        self.chosen: Callable[[str, str], bool] = lambda _method, _path: True
        self.calls: list[tuple[str, str]] = []
        self.released = threading.Event()
        host, port = upstream.removeprefix("http://").split(":")
        board = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                board.calls.append((self.command, self.path))
                if board.mode != "pass" and board.chosen(self.command, self.path):
                    if board.mode in ("hang", "late"):
                        board.released.wait()
                    if board.mode == "error":
                        self.send_error(500)
                    if board.mode != "late":
                        self.close_connection = True
                        return
                connection = http.client.HTTPConnection(host, int(port), timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                connection.request(self.command, self.path, body, {**headers, "Host": f"{host}:{port}"})
                answer = connection.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in (
                        "transfer-encoding",
                        "connection",
                        "content-length",
                        "date",
                        "server",
                    ):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                connection.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on, and cut those that are open."""
        self.mode, self.chosen = "cut", lambda _method, _path: True
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def train_and_deliver(
    code: str,
    folder: Path,
    env: Mapping[str, str],
    *,
    python: str = sys.executable,
    arguments: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a program, and others after it until nothing is spooled.

    A server on a busy machine may need longer than the two seconds a run waits for it; then its evidence is kept and
    comes with a later run, which is as it should be. Any other trouble is an error.
    """
    done = run_python(code, folder, env, python=python, arguments=arguments)
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("databom:")]
    assert not [line for line in ours if "(no answer in time)" not in line], done.stderr
    for _ in range(20):
        if not spooled(folder):
            return done
        run_python(FIVE_LINES, folder, env, python=python)
    raise AssertionError("the spool does not get empty")


def run_id_of(done: subprocess.CompletedProcess[str]) -> str:
    """The run's id that a program printed; MLflow may print more around it."""
    found = re.findall(r"^[0-9a-f]{32}$", done.stdout, re.MULTILINE)
    assert len(found) == 1, done.stdout + done.stderr
    return str(found[0])


def is_evidence(method: str, path: str) -> bool:
    """Whether a request is one that only databom makes in the programs of these tests."""
    return "log-inputs" in path or "/databom/" in path or (method == "POST" and "log-batch" in path)


def databom_tags(run: Any) -> dict[str, str]:
    """The tags of a run that are ours."""
    return {key: value for key, value in run.data.tags.items() if key.startswith("databom.")}


def artifacts(client: Any, run_id: str) -> dict[str, int]:
    """Paths and sizes of a run's artifacts under databom/."""
    found: dict[str, int] = {}
    waiting = ["databom"]
    while waiting:
        for entry in client.list_artifacts(run_id, waiting.pop()):
            if entry.is_dir:
                waiting.append(entry.path)
            else:
                found[entry.path] = entry.file_size
    return found


def spooled(project: Path) -> list[dict[str, Any]]:
    """What is kept for later in a project."""
    return [json.loads(path.read_text()) for path in sorted((project / ".databom" / "spool").glob("*.json"))]
