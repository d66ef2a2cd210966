"""A marketplace and a team in a temporary folder: the smallest real ones.

`cli()` runs the real entry point in this process (fast); tests of signals and start-up use subprocesses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FILES = {"images/cat1.jpg": b"a cat\n", "images/dog1.jpg": b"a dog, longer\n", "empty.bin": b""}


@dataclass
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """stdout as JSON."""
        return json.loads(self.out)

    @property
    def codes(self) -> set[str]:
        """The finding codes of a JSON report."""
        return {finding["code"] for finding in self.findings}

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of a JSON report, of all its reports if there are several."""
        value = self.report
        return [f for one in value.get("reports", [value]) for f in one["findings"]]

    @property
    def blocking(self) -> set[str]:
        """The codes of the findings that are neither information nor warnings."""
        return {finding["code"] for finding in self.findings if finding["severity"] == "block"}


class House:
    """A project folder, a marketplace folder, and the command line."""

    def __init__(
        self, base: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.base = base
        self.project = base / "project"
        self.market = base / "market"
        self.key = base / "market.key"
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self.project.mkdir()
        monkeypatch.chdir(self.project)
        monkeypatch.delenv("DATABOM_PROJECT", raising=False)
        monkeypatch.delenv("DATABOM_TRUST", raising=False)
        monkeypatch.delenv("DATABOM_CONFIG", raising=False)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(base / "config"))

    def cli(self, *args: str | Path, cwd: Path | None = None) -> Answer:
        """Run `databom ARGS` in this process, in the project's folder."""
        from databom.cli import main

        self._capfd.readouterr()
        with self._monkeypatch.context() as patch:
            patch.chdir(cwd or self.project)
            patch.setattr(sys, "argv", ["databom", *map(str, args)])
            with pytest.raises(SystemExit) as stop:
                main()
        out, err = self._capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Answer(stop.value.code, out, err)

    def ok(self, *args: str | Path, cwd: Path | None = None) -> Answer:
        """Run a command that must exit 0."""
        answer = self.cli(*args, cwd=cwd)
        assert answer.code == 0, answer.out + answer.err
        return answer

    def json(self, *args: str | Path, cwd: Path | None = None) -> Answer:
        """Run a command with `--format json`, and hold its three voices against each other."""
        answer = self.cli(*args, "--format", "json", cwd=cwd)
        if answer.out.startswith("{") and "verdict" in answer.report:
            verdict = answer.report["verdict"]
            assert answer.code == {"pass": 0, "fail": 1, "unanswered": 3}[verdict], answer.out
            last = answer.err.strip().splitlines()[-1]
            assert last.endswith((verdict, "fetches its assets")), last
        return answer

    def init(self) -> None:
        """`databom init`, a marketplace key, and trust in it for `hn-*`."""
        self.ok("init")
        self.ok("key", "new", self.key)
        self.ok("trust", "add", f"{self.key}.pub", "--marketplace", "human-native", "--datasets", "hn-*")

    def release(
        self, files: Mapping[str, bytes] = FILES, *extra: str, version: str = "1", folder: str = "v1"
    ) -> Path:
        """A signed release in the marketplace's folder; the path of its manifest."""
        place = self.market / folder
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        self.ok(
            *("publish", place, "--dataset-id", "hn-pets", "--version", version, "--license", "CC-BY-4.0"),
            *("--creator", "creator:alice", "--key", self.key, *extra),
        )
        return place / "manifest.json"

    def pinned(self, *extra: str) -> Path:
        """A project with the release pinned as `pets`; the path of its manifest at the marketplace."""
        self.init()
        manifest = self.release()
        self.ok("add", manifest, "--name", "pets", *extra)
        return manifest

    def synced(self) -> Path:
        """The same, with its assets fetched and verified."""
        manifest = self.pinned()
        self.ok("sync", "pets")
        return manifest

    @property
    def data(self) -> Path:
        """Where the pin's assets live."""
        return self.project / "data" / "pets"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> House:
    """An empty project folder with the command line beside it."""
    return House(tmp_path, monkeypatch, capfd)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails is asked again as often as ever, with the shortest of the pauses that chance may choose."""
    from databom.storage.patience import with_retries

    assert with_retries.__kwdefaults__["jitter"]
    monkeypatch.setitem(with_retries.__kwdefaults__, "jitter", lambda: 0.01)


def databom(
    *args: str | Path, cwd: Path, timeout: float = 120, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run `databom` as a process of its own."""
    env = {**os.environ, **environ}
    return subprocess.run(
        [sys.executable, "-m", "databom", *map(str, args)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
