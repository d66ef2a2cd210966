"""`databom add` and `databom.dvc.register_stage`, in projects that use DVC and in projects that do not."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import databom.dvc
from databom.errors import ConfigError
from support.dvcteam import PIPELINE, Team
from support.house import House

pytestmark = pytest.mark.dvc


def changed(before: bytes, after: bytes) -> list[str]:
    """The lines of `before` that `after` lacks."""
    diff = difflib.ndiff(before.decode().split("\n"), after.decode().split("\n"))
    return [line for line in diff if line.startswith("- ")]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_add_only_adds_lines(team: Team, newline: str) -> None:
    before = PIPELINE.replace("\n", newline).encode()
    (team.project / "dvc.yaml").write_bytes(before)
    team.house.pinned()
    after = (team.project / "dvc.yaml").read_bytes()
    assert changed(before, after) == []
    assert after.count(newline.encode()) == after.count(b"\n")
    assert team.dvc("stage", "list", "--name-only").split() == ["train", "databom-pets"]
    assert (team.project / "data/.gitignore").read_text() == "/pets\n"


def test_register_again_changes_nothing(team: Team) -> None:
    team.house.pinned()
    texts = {
        path: path.read_bytes() for path in (team.project / "dvc.yaml", team.project / "data/.gitignore")
    }
    times = {path: path.stat().st_mtime_ns for path in texts}
    databom.dvc.register_stage("pets", project=team.project)
    assert {path: path.read_bytes() for path in texts} == texts
    assert {path: path.stat().st_mtime_ns for path in texts} == times


def test_register_what_was_taken_out(team: Team) -> None:
    team.house.pinned("--no-dvc")
    path = team.project / "dvc.yaml"
    assert path.read_text() == PIPELINE
    databom.dvc.register_stage("pets")  # the project around the working directory
    assert "databom-pets" in path.read_text()
    assert team.dvc("status", "databom-pets")  # DVC reads it


def test_register_without_dvc(house: House) -> None:
    house.pinned()
    assert not (house.project / "dvc.yaml").exists()
    with pytest.raises(ConfigError, match="not a DVC project"):
        databom.dvc.register_stage("pets", house.project)
    with pytest.raises(ConfigError, match="no pin is called 'cats'"):
        databom.dvc.register_stage("cats", house.project)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages:\n  databom-pets:\n    cmd: mine\n", "not written by databom"),
        ("stages:\n  fetch:\n    cmd: x\n    outs: [data/pets]\n", "already writes data/pets"),
        ("stages: [\n", "dvc.yaml, line"),
        ("<<<<<<< ours\nstages: {}\n=======\n>>>>>>> theirs\n", "merge conflict"),
        ("stages:\n  \udc80: x\n", "not UTF-8"),
    ],
)
def test_a_dvc_yaml_that_cannot_be_edited_stops_add_before_it_writes(
    team: Team, text: str, words: str
) -> None:
    (team.project / "dvc.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    team.house.init()
    manifest = team.house.release()
    answer = team.house.cli("add", manifest, "--name", "pets")
    assert (answer.code, words in answer.err) == (2, True), answer.err
    assert (team.project / "dvc.yaml").read_bytes() == text.encode("utf-8", "surrogateescape")
    assert not (team.project / "databom.lock").exists()
    assert not (team.project / "provenance/manifests").exists()


def test_words_of_a_manifest_are_no_templates(team: Team) -> None:
    team.house.init()
    place = team.house.release().parent
    (place / "manifest.json").unlink()
    team.house.ok(
        *(
            "publish",
            place,
            "--dataset-id",
            "hn-${pets}",
            "--version",
            "${v}",
            "--license",
            "LicenseRef-${x}",
        ),
        *("--creator", "${creator: [", "--key", team.house.key),
    )
    answer = team.house.json("add", place / "manifest.json", "--name", "pets")
    # No license has such a name: the policy refuses the release, which is pinned and registered all the same.
    assert (answer.code, answer.blocking) == (1, {"license.unknown"})
    assert team.dvc("stage", "list", "--name-only").split() == ["train", "databom-pets"]


def test_the_door_imports_nothing_heavy() -> None:
    code = (
        "import sys, databom.dvc\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('dvc', 'ruamel', 'msgspec', 'fsspec')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"


def test_a_dvc_project_below_a_git_root(house: House, team: Team, tmp_path: Path) -> None:
    # team's git root is house.project; here is another DVC root below it.
    below = house.project / "ml" / "pets"
    below.mkdir(parents=True)
    team.run(sys.executable, "-m", "dvc", "--cd", str(below), "init", "-q", "--subdir")
    house.ok("init", cwd=below)
    house.ok("key", "new", house.key)
    house.ok(
        *("trust", "add", f"{house.key}.pub", "--marketplace", "hn", "--datasets", "hn-*"),
        cwd=below,
    )
    house.ok("add", house.release(), "--name", "pets", cwd=below)
    assert "databom sync pets" in (below / "dvc.yaml").read_text()
    out = team.run(sys.executable, "-m", "dvc", "--cd", str(below), "repro")
    assert "Running stage 'databom-pets'" in out
    assert (below / "data/pets/images/cat1.jpg").exists()
    assert "ml/pets/data/pets" not in team.run("git", "status", "--short", "-uall").replace("\\", "/")
