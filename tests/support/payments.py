"""A team that pays: a project, a marketplace simulator whose receipts it believes, and a seller who speaks x402."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from databom.testing import MarketplaceSimulator
from databom.testing.simulator import Release
from support.house import Answer, House

NOW = datetime.now(UTC).replace(microsecond=0)
FILES = {"a.txt": b"a", "b.txt": b"bb"}
PAID = {"model": "one-time", "transaction_id": "txn_sim-pets_1", "payee": "creator:simulated"}


class Team:
    """A `House` whose marketplace is the simulator."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.sim = MarketplaceSimulator("payments", now=NOW)
        self.sim.trust_role("payment", "payment")
        house.ok("init")
        (house.project / "provenance/trust.json").write_bytes(self.sim.trust_root())

    def policy(self, **values: str) -> None:
        """Change keys of `[policy]`."""
        path = self.house.project / "databom.toml"
        lines = path.read_text().splitlines()
        for key, value in values.items():
            at = next(i for i, line in enumerate(lines) if line.startswith(f"{key} ="))
            lines[at] = f"{key} = {json.dumps(value)}"
        path.write_text("\n".join(lines) + "\n")

    def pin(self, name: str = "pets", *, code: int = 0, payment: Any = None, **members: Any) -> Release:
        """Publish a release that states this payment (None: none), and pin it."""
        members |= {} if payment is None else {"payment": payment}
        release = self.sim.publish(FILES, **members)
        manifest = self.sim.write(
            release.documents(), self.house.market / f"{release.dataset_id}-{release.version}"
        )
        answer = self.house.json("add", manifest, "--name", name)
        assert answer.code == code, answer.out
        return release

    def repin(self, release: Release, name: str, **location: str) -> None:
        """Say in the lock where a pin came from, as if it had been fetched there."""
        path = self.house.project / "databom.lock"
        lock = json.loads(path.read_text())
        lock["pins"][name] |= location
        path.write_text(json.dumps(lock, indent=2))

    def attach(self, raw: bytes, name: str = "pets", file: str = "receipt") -> Answer:
        """`databom attach` of these bytes."""
        path = self.house.base / file
        path.write_bytes(raw)
        return self.house.json("attach", name, path)

    def check(self) -> Answer:
        """`databom check`, with the assets fetched."""
        self.house.cli("sync")
        return self.house.json("check")

    def payment(self) -> dict[str, str]:
        """What `check` says of payment: severity by code."""
        return {f["code"]: f["severity"] for f in self.check().findings if f["code"].startswith("payment.")}

    def kept(self, name: str = "pets") -> list[str]:
        """Names of the evidence that is kept."""
        folder = self.house.project / "provenance/evidence" / name
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def keep(self, raw: bytes, file: str, name: str = "pets") -> Path:
        """Put a file where evidence is, as whoever may commit can."""
        folder = self.house.project / "provenance/evidence" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(raw)
        return folder / file


@pytest.fixture
def team(house: House) -> Team:
    """A project that believes the simulator's marketplace and its receipts."""
    return Team(house)
