"""I15: MLflow, DVC or git is not there: everything that needs none of them works, the rest says what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.house import House

WITHOUT = (
    "import sys\nfor name in ('mlflow', 'dvc'):\n    sys.modules[name] = None\n"
    "import databom, databom.mlflow, databom.dvc\n"
    "from databom.cli import main\nmain()\n"
)


def alone(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command where neither MLflow nor DVC can be imported, and no program is on the path."""
    nothing = house.base / "nothing"
    nothing.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments], cwd=house.project, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": str(nothing), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
    )  # fmt: skip


@pytest.fixture
def pinned(house: House) -> House:
    house.synced()
    return house


@pytest.mark.parametrize(
    "command",
    [
        "check",
        "verify pets",
        "sync pets",
        "bom",
        "log verify",
        "log show",
        "exec pets -- /bin/true",
        "doctor",
    ],
)
def test_i15_what_needs_no_host_works_without(pinned: House, command: str) -> None:
    done = alone(pinned, *command.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("gate models:/cats/1", 3, "pip install 'databom[mlflow]'"),
        ("explain models:/cats/1", 3, "pip install 'databom[mlflow]'"),
        ("bom --run 00000000000000000000000000000000", 3, "pip install 'databom[mlflow]'"),
        ("log verify --run 00000000000000000000000000000000", 3, "pip install 'databom[mlflow]'"),
        ("check --base main", 2, "git"),
    ],
)
def test_i15_what_needs_one_says_so(pinned: House, command: str, code: int, said: str) -> None:
    done = alone(pinned, *command.split())
    assert (done.returncode, said in done.stderr) == (code, True), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(pinned.project, "mlflow.db").exists()


def test_i15_a_training_leaves_its_receipt_without_any(pinned: House) -> None:
    program = WITHOUT.replace(
        "from databom.cli import main\nmain()\n",
        "with databom.training('x') as run:\n    run.metrics['m'] = 1\nprint(run.receipt)\n",
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=pinned.project, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()
    assert pinned.ok("log", "show").out.count(" trained ") == 1
