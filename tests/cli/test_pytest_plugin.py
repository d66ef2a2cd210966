"""The pytest plugin and the pre-commit hook, as a team's own tools run them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

from support.house import House, databom

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest

@pytest.mark.databom_pins("pets")
def test_marked():
    pass

@pytest.mark.databom_pins
def test_all():
    pass

def test_fixture(databom_pins):
    pin = databom_pins["pets"]
    assert (pin.path / "images/cat1.jpg").read_bytes() == b"a cat\\n"
    assert pin.release == "hn-pets@1" and pin.report.verdict == "pass"
    assert list(databom_pins) == ["pets"] and "other" not in databom_pins

def test_plain():
    pass
"""


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Named, not found by its entry point, so that another installation of databom is not what is tested."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "databom.pytest_plugin", "-p", "no:cacheprovider"]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, *options], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def test_pytest_finds_the_plugin_by_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"databom": "databom.pytest_plugin"}


def test_tests_run_on_data_that_passes_and_on_no_other(house: House) -> None:
    house.synced()
    (house.project / "test_model.py").write_text(TESTS)
    done = pytest_in(house.project, "--strict-markers")
    assert "4 passed" in done.stdout, done.stdout + done.stderr

    (house.data / "images/cat1.jpg").write_bytes(b"a bat\n")
    done = pytest_in(house.project)
    assert done.returncode == 1
    assert "1 failed, 1 passed, 2 errors" in done.stdout
    assert "integrity.mismatch" in done.stdout

    (house.project / "databom.toml").write_text("")
    done = pytest_in(house.project)
    assert "1 passed" in done.stdout
    assert done.returncode == 1


def test_a_name_that_is_no_pin_is_an_error(house: House) -> None:
    house.synced()
    text = 'import pytest\n@pytest.mark.databom_pins("cats")\ndef test_one():\n    pass\n'
    (house.project / "test_model.py").write_text(text)
    done = pytest_in(house.project)
    assert done.returncode == 1
    assert "no pin is called 'cats'; pins are: pets" in done.stdout


def test_without_a_project_a_test_that_asks_fails_in_words(tmp_path: Path) -> None:
    (tmp_path / "test_model.py").write_text(TESTS)
    done = pytest_in(tmp_path)
    assert "1 failed, 1 passed, 2 errors" in done.stdout
    assert "no databom.toml" in done.stdout
    assert "Traceback" not in done.stdout
    assert "project.py" not in done.stdout


def test_a_session_that_asks_nothing_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    ours = {name for name in sys.modules if name.startswith('databom.')}\n"
        "    assert ours <= {'databom._lazy', 'databom.pytest_plugin'}\n"
    )
    done = pytest_in(tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_the_pre_commit_hook_is_a_command_that_works(house: House) -> None:
    [hook] = YAML(typ="safe").load((ROOT / ".pre-commit-hooks.yaml").read_text())
    name, *arguments = shlex.split(hook["entry"])
    assert (name, hook["language"], hook["pass_filenames"]) == ("databom", "system", False)
    house.synced()
    assert databom(*arguments, cwd=house.project).returncode == 0
    (house.data / "images/cat1.jpg").write_bytes(b"a bat\n")
    assert databom(*arguments, cwd=house.project).returncode == 1
