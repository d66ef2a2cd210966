"""`databom demo`: the README's first command, played whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.house import databom

pytestmark = pytest.mark.slow


def test_the_whole_story(tmp_path: Path) -> None:
    done = databom(
        "demo", "story", cwd=tmp_path, timeout=600, DATABOM_PROJECT="", DVC_SITE_CACHE_DIR=str(tmp_path)
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "standing in for R2" in told
    assert told.count("refused, as it must be") == 3
    assert "integrity.mismatch     images/0007.png" in told
    assert "databom.verdict              pass" in told
    assert "databom.digits.use           stage" in told

    project = tmp_path / "story"
    report = json.loads((project / "provenance/reports/digits.json").read_text())
    assert (report["verdict"], report["checked"], report["failed"]) == ("pass", 1799, 0)
    assert json.loads((project / "bom.cdx.json").read_text())["specVersion"] == "1.6"
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=project, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert not [
        path for path in tracked if path.startswith(("marketplace/", ".databom/", "mlruns/", "data/digits/"))
    ]

    # What it leaves behind is a project to play with, without the server too.
    assert databom("check", cwd=project).returncode == 0
    again = databom("demo", "story", cwd=tmp_path)
    assert again.returncode == 2
    assert "is not empty" in again.stderr
    _the_marketplace_can_be_started_again(project)


def _the_marketplace_can_be_started_again(project: Path) -> None:
    (project / "data/digits/images/0003.png").unlink()
    assert databom("sync", "digits", cwd=project).returncode == 2  # nobody said where r2:// is
    server = subprocess.Popen(
        [sys.executable, "-m", "databom", "demo", "--serve", "."],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(5)]
        environ = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if "=" in line)
        assert databom("sync", "digits", cwd=project, **environ).returncode == 0
    finally:
        server.send_signal(signal.SIGTERM)  # a background job of a shell may ignore SIGINT
        assert server.wait(timeout=60) == 143
