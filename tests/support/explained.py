"""`databom explain` in tests: a run to ask about, and its answer by line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import databom
from support.house import House


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, rank or server of whoever runs the tests."""
    for name in [
        one for one in os.environ if one.startswith(("DATABOM_", "MLFLOW_")) or one.endswith("RANK")
    ]:
        if name != "DATABOM_CACHE":
            monkeypatch.delenv(name)


def git(house: House, *args: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    done = subprocess.run(["git", *who, *args], cwd=house.project, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def committed(house: House) -> str:
    """All of the project in git but what the training makes; the commit."""
    git(house, "init", "-q")
    with (house.project / ".gitignore").open("a") as file:
        file.write("data/\nmodel.bin\n")
    git(house, "add", "-A")
    git(house, "commit", "-q", "-m", "one")
    return git(house, "rev-parse", "HEAD")


def trained(name: str = "pets", **params: str) -> Any:
    with databom.training(name) as run:
        asset = next(iter(Path("data", name).rglob("*.*"))).relative_to(f"data/{name}")
        with databom.open(name, asset.as_posix()) as file:
            file.read()
        run.params.update(params)
        Path("model.bin").write_bytes(b"weights")
        run.produced("model.bin")
    return run


def explained(house: House, target: str) -> dict[str, Any]:
    answer = house.json("explain", target)
    assert answer.code == 0, answer.err
    found: dict[str, Any] = answer.report
    return found


def lines(answer: dict[str, Any], question: str | None = None) -> dict[str, tuple[str, str, str]]:
    return {
        one["about"]: (one["answer"], one["strength"], one["evidence"])
        for one in answer["lines"]
        if question in (None, one["question"])
    }


def strengths(answer: dict[str, Any], question: str | None = None) -> dict[str, str]:
    return {about: strength for about, (_, strength, _) in lines(answer, question).items()}


def own_key(house: House, monkeypatch: pytest.MonkeyPatch, *roles: str) -> None:
    """Keys for receipts and for the log (or for these roles alone) that are no development keys."""
    for role in roles or ("receipt", "log"):
        key = house.base / f"{role}.pem"
        house.ok("key", "new", key)
        house.ok("trust", "add", f"{key}.pub", "--role", role)
        monkeypatch.setenv(f"DATABOM_{role.upper()}_KEY", str(key))


def many_pins(house: House, monkeypatch: pytest.MonkeyPatch, count: int = 130) -> Any:
    """A run of so many pins that the list of them moved out of its receipt."""
    house.init()
    own_key(house, monkeypatch)
    release = house.release()
    names = [f"{'pets' * 20}-{number}" for number in range(count)]
    for name in names:
        house.ok("add", release, "--name", name, "--no-dvc")
    with databom.training("train") as run:
        pass
    return run
