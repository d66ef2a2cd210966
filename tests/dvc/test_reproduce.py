"""`databom reproduce` of DVC stages: the example project, and what DVC keeps for itself."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from support.dvcteam import Team
from support.receipts import logged, statement_of

pytestmark = [pytest.mark.dvc]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dvc-project"

TRAIN = """\
import databom
from pathlib import Path

with databom.training("pets") as run:
    Path("model.txt").write_bytes(Path("prepared.txt").read_bytes() * 2)
    run.produced("model.txt")
with open("trained.log", "a") as log:
    log.write("trained\\n")
print("TRAINED", run.id)
"""
PIPELINE = """\
stages:
    prepare:
        cmd: cat data/pets/images/cat1.jpg raw.txt > prepared.txt
        deps: [data/pets, raw.txt, provenance/reports/pets.json]
        outs: [prepared.txt]
    train:
        cmd: databom exec pets -- python train.py
        deps: [train.py, prepared.txt, data/pets, provenance/reports/pets.json]
        outs: [model.txt]
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, stage or server of whoever runs the tests; commits have an author."""
    for name in [one for one in os.environ if one.startswith(("DATABOM_", "MLFLOW_", "DVC_", "GIT_"))]:
        if name != "DATABOM_CACHE":
            monkeypatch.delenv(name)


@pytest.fixture
def work(team: Team, monkeypatch: pytest.MonkeyPatch) -> Team:
    """The team, whose programs are found by this process, too."""
    for name in ("AUTHOR", "COMMITTER"):
        team.env |= {f"GIT_{name}_NAME": "a", f"GIT_{name}_EMAIL": "a@b.example"}
    for name in ("PATH", "DVC_NO_ANALYTICS", "DVC_SITE_CACHE_DIR"):
        monkeypatch.setenv(name, team.env[name])
    folder = team.house.base / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return team


def commit(team: Team) -> None:
    team.run("git", "add", "-A")
    team.run("git", "commit", "-qm", "x")


def run_of(receipt: bytes) -> str:
    return str(statement_of(receipt)["predicate"]["runDetails"]["metadata"]["invocationId"])


def state(project: Path) -> dict[str, Any]:
    files = (path for path in project.rglob("*") if path.is_file() and not path.is_symlink())
    # DVC's own locks, and the memory of what it has hashed, are touched by whoever looks.
    return {str(path): path.read_bytes() for path in files if ".dvc/tmp" not in str(path)}


def test_the_stage_and_those_before_it_are_run_again(work: Team) -> None:
    project = work.project
    (project / "dvc.yaml").write_text(PIPELINE)
    (project / "train.py").write_text(TRAIN)
    (project / "raw.txt").write_text("only DVC has this\n")
    work.house.pinned()
    work.dvc("add", "-q", "raw.txt")
    (project / ".gitignore").write_text(
        (project / ".gitignore").read_text() + "/trained.log\n/prepared.txt\n/model.txt\n"
    )
    commit(work)
    assert "TRAINED" in work.dvc("repro")
    (receipt,) = logged(project)
    code = next(one for one in statement_of(receipt)["predicate"]["buildDefinition"]["resolvedDependencies"]
                if one["name"] == "code")  # fmt: skip
    assert code["annotations"]["dirty"] is False, "what DVC and databom note of a stage is no code"
    commit(work)
    before = state(project)

    plan = work.house.json("reproduce", run_of(receipt)).report["plan"]
    assert plan["command"] == "dvc repro --force --no-run-cache dvc.yaml:train"
    assert [one["stage"] for one in plan["steps"]] == ["databom-pets", "prepare", "train"]
    assert plan["steps"][-1]["commands"] == ["databom exec pets -- python train.py"]

    answer = work.house.json("reproduce", run_of(receipt), "--yes")
    assert answer.code == 0, answer.out + answer.err
    assert answer.report["outputs"][0]["same"] == {"file": True, "weights": True}
    assert "TRAINED" in answer.err
    assert work.trained == 1
    assert state(project) == before
    assert list((work.house.base / "temporary").iterdir()) == []


def test_a_shared_cache_gets_nothing_of_the_second_run(work: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    project, shared = work.project, work.house.base / "shared"
    (project / "dvc.yaml").write_text(PIPELINE.replace("raw.txt >", "raw.txt $MORE >"))
    (project / "train.py").write_text(TRAIN)
    (project / "raw.txt").write_text("only DVC has this\n")
    work.house.pinned()
    work.dvc("config", "--local", "cache.dir", str(shared))
    work.dvc("add", "-q", "raw.txt")
    (project / ".gitignore").write_text(
        (project / ".gitignore").read_text() + "/trained.log\n/prepared.txt\n/model.txt\n"
    )
    commit(work)
    work.dvc("repro")
    (receipt,) = logged(project)
    before = state(shared)
    monkeypatch.setenv("MORE", "raw.txt")
    answer = work.house.json("reproduce", run_of(receipt), "--yes")
    assert (answer.code, answer.blocking) == (1, {"rerun.differs"}), answer.out + answer.err
    assert state(shared) == before


def test_a_stage_that_the_commit_has_not(work: Team) -> None:
    (work.project / "dvc.yaml").write_text(PIPELINE.replace("raw.txt", "train.py"))
    (work.project / "train.py").write_text(TRAIN)
    work.house.pinned()
    text = (work.project / "dvc.yaml").read_text()
    (work.project / "dvc.yaml").unlink()
    commit(work)
    (work.project / "dvc.yaml").write_text(text)
    work.dvc("repro")
    (receipt,) = logged(work.project)
    answer = work.house.json("reproduce", run_of(receipt), "--yes")
    assert (answer.code, answer.report["ran"]) == (3, False)
    assert "command" in {one["subject"] for one in answer.findings}


@pytest.mark.slow
@pytest.mark.mlflow
def test_the_example_project_reproduces(work: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its README, in git, trained through DVC and MLflow: another run makes the same weights."""
    pytest.importorskip("sklearn")
    project = work.project
    monkeypatch.chdir(project.parent)
    shutil.rmtree(project)
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    readme = (EXAMPLE / "README.md").read_text()
    script = readme[readme.index("```sh\n") + 6 :].partition("```")[0].replace("\\\n", " ")
    for line in script.splitlines():
        for part in line.split(" && "):
            if not part or part.startswith(("#", "mlflow", "dvc repro")):
                continue
            command = shlex.split(part)
            work.dvc(*command[1:]) if command[0] == "dvc" else work.run(*command)
    commit(work)
    work.dvc("repro")
    receipts = logged(project)
    run = run_of(receipts[-1])
    with sqlite3.connect(project / "mlflow.db") as db:
        assert f"mlflow:{db.execute('select run_uuid from runs').fetchone()[0]}" == run
    (project / "train.py").write_text("raise SystemExit('not this one')\n")
    before = state(project)

    answer = work.house.json("reproduce", run.removeprefix("mlflow:"), "--yes")
    assert answer.code == 0, answer.out + answer.err
    models = [one for one in answer.report["outputs"] if one["model"]]
    assert models
    assert {one["same"]["weights"] for one in models} == {True}
    assert {one["same"]["file"] for one in models} == {False}, "MLflow writes ids and times"
    assert answer.report["again"].startswith("mlflow:")
    assert answer.report["again"] != run
    assert "rerun.dirty" not in answer.codes
    assert state(project) == before
    with sqlite3.connect(project / "mlflow.db") as db:
        assert db.execute("select count(*) from runs").fetchone() == (1,)
    assert json.loads((project / "metrics.json").read_text())["accuracy"] > 0.95
    assert list((work.house.base / "temporary").iterdir()) == []
