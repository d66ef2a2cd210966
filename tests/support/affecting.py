"""`databom affected` and `revoke` in tests: releases of a simulated marketplace, and runs that use them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import databom
from databom.testing.simulator import Release
from support.explained import alone
from support.house import Answer, House
from support.payments import Team

__all__ = ["alone", "ask", "asset", "digest", "move", "pin", "releases", "runs", "team", "train"]

DATA = {"a.txt": b"a", "b.txt": b"bb"}


@pytest.fixture
def team(house: House, alone: None, monkeypatch: pytest.MonkeyPatch) -> Team:
    """A team with keys of its own for receipts and for its log, that believes somebody about revocations."""
    found = Team(house)
    for role in ("log", "receipt", "revocation"):
        raw = found.sim.trust_role(role, role)
    (house.project / "provenance/trust.json").write_bytes(raw)
    monkeypatch.setenv("DATABOM_LOG_KEY", found.sim.key("log").pem().decode())
    monkeypatch.setenv("DATABOM_RECEIPT_KEY_PEM", found.sim.key("receipt").pem().decode())
    return found


def pin(team: Team, name: str, files: Mapping[str, bytes] = DATA, **members: Any) -> Release:
    """Publish a release of these files, pin it, fetch it."""
    release = team.sim.publish(files, **members)
    manifest = team.sim.write(release.documents(), team.house.market / f"{name}-{release.version}")
    team.house.ok("add", manifest, "--name", name, "--no-dvc")
    team.house.ok("sync", name)
    return release


def move(team: Team, name: str, files: Mapping[str, bytes], **members: Any) -> Release:
    """Publish a newer release, and move the pin to it."""
    release = team.sim.publish(files, **members)
    manifest = team.sim.write(release.documents(), team.house.market / f"{name}-{release.version}")
    team.house.ok("update", name, manifest)
    team.house.ok("sync", name)
    return release


def train(*names: str, made: Mapping[str, bytes] | None = None) -> str:
    """A run that declares these pins and leaves these files; what it is called."""
    made = {"model.bin": b"weights"} if made is None else made
    process = sys.modules.get("databom.tasks.use")
    if process is not None:  # what an earlier run of this process read or declared, this one did not
        process.__dict__["_declared"].clear()
        process.__dict__["_read"].clear()
    with databom.training("train") as run:
        if names:
            databom.use(*names)
        for name, data in made.items():
            Path(name).write_bytes(data)
            run.produced(name)
    return f"databom:{run.id}"


def ask(team: Team, target: str, *extra: str | Path) -> Answer:
    """`databom affected TARGET --format json`."""
    return team.house.json("affected", target, *extra)


def runs(answer: Answer) -> dict[str, str]:
    """The uses by run."""
    return {one["run"]: one["use"] for one in answer.report["runs"]}


def releases(answer: Answer) -> dict[str, list[str]]:
    """The reasons by release."""
    return {one["release"]: one["because"] for one in answer.report["releases"]}


def asset(path: str, data: bytes, **members: Any) -> dict[str, Any]:
    """An asset as a manifest lists it."""
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), **members}


def digest(data: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
