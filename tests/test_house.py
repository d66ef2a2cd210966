"""The house itself: what an import costs, what is public, how large a file may grow."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import databom
import databom.tasks

SOURCE = Path(databom.__file__).parent
HEAVY = (
    *("dvc", "mlflow", "s3fs", "obstore", "boto3", "botocore", "aiobotocore", "pandas", "numpy"),
    *("jsonschema", "fsspec", "rich", "ruamel", "urllib3", "cryptography", "click", "msgspec"),
)


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_databom_imports_nothing_heavy() -> None:
    loaded = modules_after("import databom")
    assert loaded.isdisjoint(HEAVY), loaded.intersection(HEAVY)


def test_the_mlflow_door_imports_only_the_standard_library() -> None:
    loaded = modules_after("import databom.mlflow")
    assert loaded.isdisjoint(HEAVY), loaded.intersection(HEAVY)


def test_the_command_line_starts_light() -> None:
    loaded = modules_after("import databom.cli")
    assert loaded.isdisjoint(set(HEAVY) - {"click"}), loaded.intersection(HEAVY)


def test_values_are_structs() -> None:
    """A frozen dataclass takes fifty times as long to define; its `replace` fails on structs, unseen by mypy."""
    trusted = {"place.py"}  # the MLflow door imports only the standard library
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name in trusted or "@dataclass(frozen" not in text, path
        assert not re.search(
            r"^from dataclasses import .*replace|dataclasses\.replace", text, re.MULTILINE
        ), path


def test_importing_changes_nothing_in_the_process() -> None:
    """L06: no handlers, no working directory, no threads, no environment."""
    code = (
        "import logging, os, sys, threading\n"
        "before = (os.getcwd(), dict(os.environ), list(logging.root.handlers), threading.active_count())\n"
        "import databom, databom.tasks, databom.mlflow\n"
        "after = (os.getcwd(), dict(os.environ), list(logging.root.handlers), threading.active_count())\n"
        "assert before == after\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", [databom, databom.tasks])
def test_every_public_name_is_there_and_says_what_it_promises(package: object) -> None:
    for name in package.__all__:
        value = getattr(package, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError):
        _ = package.no_such_name


@pytest.mark.parametrize("package", [databom, databom.tasks])
def test_no_public_name_is_a_module_of_the_package(package: Any) -> None:
    """Whichever was imported first would be what the name stands for."""
    modules = {one.name for one in pkgutil.iter_modules(package.__path__)}
    assert modules & set(package.__all__) == set()


def test_every_module_imports_and_has_a_front_page() -> None:
    """In a process of its own: other tests rely on MLflow not being imported by the way."""
    names = []
    for path in SOURCE.rglob("*.py"):
        if path.name != "__main__.py" and "demo_project" not in path.parts:
            parts = path.relative_to(SOURCE.parent).with_suffix("").parts
            names.append(".".join(part for part in parts if part != "__init__"))
    code = (
        f"import importlib\nfor name in {names!r}:\n    assert importlib.import_module(name).__doc__, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_hold_one_idea_each() -> None:
    long = {p.name: n for p in SOURCE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 450}
    assert not long


def test_no_switch_turns_verification_off() -> None:
    """L02, L05: nothing reads such a variable, nothing runs what a document says."""
    text = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    for word in ("pickle.load", "yaml.load(", "shell=True", "eval(", "exec(c", "verify=False", "CERT_NONE"):
        assert word not in text, word
    for variable in ("SKIP", "NO_VERIFY", "INSECURE", "DISABLE_VERIFICATION"):
        assert f"DATABOM_{variable}" not in text
