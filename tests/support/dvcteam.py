"""A team's DVC project around a pinned release, and real `dvc` commands in it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.house import House

TRAIN = """\
from pathlib import Path
sizes = {path.name: path.stat().st_size for path in sorted(Path("data/pets").rglob("*")) if path.is_file()}
Path("model.txt").write_text(repr(sizes))
with open("trained.log", "a") as log:
    log.write("trained\\n")
print("TRAINED")
"""
PIPELINE = """\
stages:
    train:   # ours
        cmd: databom exec pets -- python train.py
        deps:
            - train.py
            - data/pets
            - provenance/reports/pets.json
        outs:
            - model.txt
"""


@dataclass
class Team:
    """One project with DVC, and `databom` and `python` on its PATH."""

    house: House
    env: dict[str, str]
    manifest: Path = Path()
    """The release at the marketplace, once it is pinned."""

    @property
    def project(self) -> Path:
        return self.house.project

    def run(self, *command: str, expect: int = 0) -> str:
        """Run a command in the project; its whole output."""
        done = subprocess.run(
            command, cwd=self.project, env=self.env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dvc(self, *args: str, expect: int = 0) -> str:
        """Run `dvc ARGS`."""
        return self.run(sys.executable, "-m", "dvc", *args, expect=expect)

    @property
    def trained(self) -> int:
        """How often the training really ran."""
        log = self.project / "trained.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def refused(self, *args: str, expect: int = 255) -> str:
        """`dvc repro ARGS` that must not train; its output. 255 is DVC's own exit code for any failing stage."""
        before = self.trained
        out = self.dvc("repro", *args, expect=expect)
        assert self.trained == before
        assert "TRAINED" not in out
        return out


@pytest.fixture
def team(house: House, tmp_path: Path) -> Team:
    """A project with git and DVC and a train stage; nothing pinned yet."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, arguments in (("databom", "-m databom"), ("python", "")):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        script.chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
    }
    env.pop("DATABOM_PROJECT", None)
    team = Team(house, env)
    team.run("git", "init", "-q")
    team.dvc("init", "-q")
    (team.project / "dvc.yaml").write_text(PIPELINE)
    (team.project / "train.py").write_text(TRAIN)
    return team
