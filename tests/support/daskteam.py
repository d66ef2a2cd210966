"""A real Dask cluster of processes on this machine: a scheduler, and workers that may be killed by their process id."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from distributed import Client


class DaskTeam:
    """One scheduler and its workers; a context manager that leaves none behind.

    `protocol` is "tcp" or "tls"; for TLS the environment, and Dask's configuration here, name the certificates.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str] | None = None, *, protocol: str = "tcp"
    ) -> None:
        self._folder = folder
        self._protocol = protocol
        self._environ = {**os.environ, **(environ or {}), "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s"}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._file = folder / "scheduler.json"

    def __enter__(self) -> Self:
        self.scheduler = self._start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--protocol",
            self._protocol,
            "--scheduler-file",
            self._file,
        )
        with Client(scheduler_file=str(self._file), timeout=60, set_as_default=False) as client:
            self.address = client.scheduler.address
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    @property
    def url(self) -> str:
        """For `--executor`."""
        return self.address.replace("tcp://", "dask://").replace("tls://", "dask+tls://")

    def worker(
        self, *, threads: int = 1, environ: Mapping[str, str] | None = None, flags: tuple[str, ...] = ()
    ) -> int:
        """Start a worker, wait until the scheduler knows it, and give its process id."""
        with self.client() as client:
            before = len(client.nthreads())
            process = self._start(
                *("worker", self.address, "--host", "127.0.0.1", "--nthreads", threads),
                *("--protocol", self._protocol),
                *("--no-nanny", "--no-dashboard", "--local-directory", self._folder),
                environ=environ,
                flags=flags,
            )
            client.wait_for_workers(before + 1, timeout=60)
        return process.pid

    def client(self) -> Client:
        """A new client; close it, or use it as a context manager."""
        return Client(self.address, timeout=60, set_as_default=False)

    def _start(
        self,
        what: str,
        *arguments: object,
        environ: Mapping[str, str] | None = None,
        flags: tuple[str, ...] = (),
    ) -> subprocess.Popen[bytes]:
        log = (self._folder / f"{what}-{len(self._processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, *flags, "-m", f"distributed.cli.dask_{what}", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**self._environ, **(environ or {})},
        )
        log.close()
        self._processes.append(process)
        return process
