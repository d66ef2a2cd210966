"""The page of figures holds what was measured, and anybody can measure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from docs.transcripts import ROOT


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_page_is_what_the_results_say() -> None:
    done = bench("--check")
    assert done.returncode == 0, done.stderr or "run: python -m benchmarks page"


@pytest.mark.slow
def test_a_small_run_measures_and_writes_its_page(tmp_path: Path) -> None:
    small = ("--scale", "0.002", "--runs", "1", "--work", tmp_path / "work", "--out", tmp_path)
    done = bench(
        "local",
        "startup",
        "memory",
        "--loads",
        "W3",
        "--only",
        "databom",
        "--files",
        "3",
        "--mib",
        "1",
        "--objects",
        *small,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    names = [one["name"] for one in results["local"]["W3"]["results"]]
    assert names == ["databom verify", "databom, hashing alone"]
    assert all(one["skipped"] is None for one in results["local"]["W3"]["results"])
    page = (tmp_path / "performance.md").read_text()
    assert "| databom verify |" in page
    assert "scaled by 0.002" in page
