"""The project a reader copies, played by hand as its README says."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from support.dvcteam import Team

pytestmark = [pytest.mark.dvc, pytest.mark.mlflow]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dvc-project"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_training_script_never_mentions_us() -> None:
    text = (EXAMPLE / "train.py").read_text()
    assert "databom" not in text
    assert sum("mlflow." in line for line in text.splitlines()) <= 5


def test_the_folder_is_small_and_holds_only_sources() -> None:
    # It is packed into the wheel as it stands.
    files = {
        path.relative_to(EXAMPLE).as_posix(): path.stat().st_size
        for path in EXAMPLE.rglob("*")
        if path.is_file()
    }
    sources = {name: size for name, size in files.items() if "__pycache__" not in name}
    assert set(sources) == {
        ".gitignore",
        "README.md",
        "dvc.yaml",
        "make_release.py",
        "params.yaml",
        "train.py",
    }
    assert sum(sources.values()) < 16_000


def test_the_release_is_the_real_data_without_loss(team: Team) -> None:
    pytest.importorskip("sklearn")
    from PIL import Image
    from sklearn.datasets import load_digits

    shutil.copy(EXAMPLE / "make_release.py", team.project)
    for folder in ("one", "two"):
        team.run(sys.executable, "make_release.py", folder)
    one, two = (
        {p.name: digest(p) for p in (team.project / f).rglob("*") if p.is_file()} for f in ("one", "two")
    )
    assert one == two
    assert len(one) == 1797 + 2
    assert "CC BY 4.0" in (team.project / "one/ATTRIBUTION.md").read_text()
    rows = (team.project / "one/labels.csv").read_text().splitlines()[1:]
    digits = load_digits()
    for row, pixels, label in list(zip(rows, digits.images, digits.target, strict=True))[::97]:
        name, _, stated = row.partition(",")
        assert int(stated) == label
        image = Image.open(team.project / "one" / name)
        counts = [round(value * 16 / 255) for value in image.tobytes()]
        assert counts == pixels.astype(int).ravel().tolist()


@pytest.mark.slow
def test_the_readme(team: Team) -> None:
    """Every command of the README, but for the browser at its end; then what it says happens after a changed byte."""
    pytest.importorskip("sklearn")
    shutil.rmtree(team.project)
    shutil.copytree(EXAMPLE, team.project, ignore=shutil.ignore_patterns("__pycache__"))
    block = re.search(r"```sh\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert block is not None
    script = block[1].replace("\\\n", " ")
    lines = [part for line in script.splitlines() for part in line.split(" && ") if part and part[0] != "#"]
    assert lines.pop().startswith("mlflow ui")
    for line in lines:
        command = shlex.split(line)
        if command[0] == "dvc":
            command = [sys.executable, "-m", *command]
        team.run(*command)

    metrics = json.loads((team.project / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.95
    with sqlite3.connect(team.project / "mlflow.db") as db:
        logged = dict(db.execute("select key, value from metrics").fetchall())
        assert db.execute("select status from runs").fetchall() == [("FINISHED",)]
    assert logged == metrics
    assert "didn't change, skipping" in team.dvc("repro")
    left = team.run("git", "status", "--short", "-uall")
    for private in ("data/digits", "mlflow.db", "mlruns", "model.joblib", "marketplace/", ".databom/"):
        assert private not in left

    model = digest(team.project / "model.joblib")
    team.dvc("repro", "-f", "-s", "train")
    assert digest(team.project / "model.joblib") == model  # the same data and seed give the same model

    picture = team.project / "data/digits/images/0007.png"
    picture.write_bytes(picture.read_bytes()[:-1] + b"\0")
    out = team.dvc("repro", expect=255)
    assert "integrity.mismatch" in out
    assert "Running stage 'train'" not in out
