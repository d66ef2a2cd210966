"""Whose word the log takes while the trust root in force is not the one that this project accepted last (B17)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.house import House

ROOT = "provenance/trust.json"


class Moved:
    """A project whose log a second key goes on with; version 2 of the trust root no longer lists the first."""

    def __init__(
        self, house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.house, self._monkeypatch, self._caplog = house, monkeypatch, caplog
        self.file = house.project / ROOT
        self.new = house.base / "log-2.pem"
        house.pinned()
        house.ok("key", "new", house.base / "ann.key")
        house.ok("trust", "add", house.base / "ann.key.pub", "--role", "root")
        house.ok("trust", "add", house.base / "ann.key.pub", "--role", "steward")
        house.ok("key", "new", self.new)
        house.ok("trust", "add", f"{self.new}.pub", "--role", "log")
        self.sign_with(self.new)
        house.ok("sync", "pets")
        self.old = self.file.read_bytes()
        self.accept("next.json", remove=house.project / ".databom/keys/log.pem")

    def accept(self, name: str, *, remove: Path | None = None) -> None:
        """The next version of the root, signed and accepted."""
        draft = self.drafted(name, remove=remove)
        self.house.ok("trust", "update", draft)

    def drafted(self, name: str, *, remove: Path | None = None) -> Path:
        house, draft = self.house, self.house.base / name
        house.ok("trust", "draft", draft)
        if remove is not None:
            house.ok("trust", "remove", house.ok("key", "id", remove).out.strip(), "--draft", draft)
        house.ok("trust", "sign", draft, "--key", house.base / "ann.key")
        return draft

    def sign_with(self, key: Path | None) -> None:
        """The key that this clone signs the log with; None is the one that `init` made."""
        if key is None:
            self._monkeypatch.delenv("DATABOM_LOG_KEY")
        else:
            self._monkeypatch.setenv("DATABOM_LOG_KEY", str(key))

    def refused_sync(self) -> str:
        """What `sync` warns of when the trust root is not the one that was accepted."""
        self._caplog.clear()
        answer = self.house.json("sync", "pets")
        assert answer.code == 1
        assert answer.blocking & {"trust.rollback", "trust.changed"}
        return self._caplog.text

    def verified(self) -> list[str]:
        """The verdicts that the log has, under the root that is accepted."""
        shown = json.loads(self.house.ok("log", "show", "--format", "json").out)
        return [one["entry"]["verdict"] for one in shown if one["kind"] == "verified"]


@pytest.fixture
def moved(house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Moved:
    return Moved(house, monkeypatch, caplog)


def test_b17_a_withdrawn_key_writes_nothing_while_an_old_root_is_back(moved: Moved) -> None:
    """What it signed would be believed by nobody once the newer root is restored: the log would have ended there."""
    newest = moved.file.read_bytes()
    moved.file.write_bytes(moved.old)
    moved.sign_with(None)
    before = (moved.house.project / "provenance/checkpoint").read_bytes()
    moved.refused_sync()
    assert (moved.house.project / "provenance/checkpoint").read_bytes() == before
    moved.file.write_bytes(newest)
    assert moved.house.json("log", "verify").code == 0
    moved.sign_with(moved.new)
    moved.house.ok("sync", "pets")
    assert moved.house.json("log", "verify").code == 0


def test_b17_a_refusal_is_recorded_by_the_key_that_the_newest_root_believes(moved: Moved) -> None:
    """Whoever puts an old root back cannot silence the log with it."""
    newest = moved.file.read_bytes()
    moved.file.write_bytes(moved.old)
    assert "could not be written" not in moved.refused_sync()
    moved.file.write_bytes(newest)
    assert moved.verified() == ["pass", "fail"]
    assert moved.house.json("log", "verify").code == 0


def test_b17_a_root_that_nobody_accepted_lets_no_new_key_speak(moved: Moved) -> None:
    """Here the newer root lists a third key; whoever put it there could have listed any."""
    house, newest = moved.house, moved.file.read_bytes()
    third = house.base / "log-3.pem"
    house.ok("key", "new", third)
    draft = house.base / "third.json"
    house.ok("trust", "draft", draft)
    house.ok("trust", "add", f"{third}.pub", "--role", "log", "--draft", draft)
    house.ok("trust", "sign", draft, "--key", house.base / "ann.key")
    moved.file.write_bytes(draft.read_bytes())
    moved.sign_with(third)
    assert "could not be written" in moved.refused_sync()
    moved.sign_with(moved.new)
    assert "could not be written" not in moved.refused_sync()
    moved.file.write_bytes(newest)
    assert moved.verified() == ["pass", "fail"]


def test_b17_a_clone_that_never_had_the_newest_root_writes_nothing_and_says_so(moved: Moved) -> None:
    newest = moved.file.read_bytes()
    kept = moved.house.project / ".databom/trust.json"
    for bad in (None, b"{}", moved.old):
        kept.unlink(missing_ok=True)
        if bad is not None:
            kept.write_bytes(bad)
        moved.file.write_bytes(moved.old)
        said = moved.refused_sync()
        assert "could not be written" in said
        assert "restore the newer one" in said
        moved.file.write_bytes(newest)
        assert moved.verified() == ["pass"]
    moved.house.ok("sync", "pets")  # where the accepted root is in force, the next event keeps it
    assert kept.read_bytes() == newest


def test_b17_nobody_approves_for_the_project_by_an_old_root(moved: Moved) -> None:
    """As of a pin: a steward who was withdrawn since would be in the log as one who approved."""
    house = moved.house
    (house.project / ".dvc").mkdir()
    (house.project / "raw.csv").write_text("a\n")
    (house.project / "dvc.yaml").write_text("stages: {train: {cmd: train, deps: [raw.csv]}}\n")
    arguments = ("approve", "--key", house.base / "ann.key", "--role", "steward", "--reason", "x")
    newest = moved.file.read_bytes()
    moved.file.write_bytes(moved.old)
    answer = house.json(*arguments, "--expires", "30")
    assert (answer.code, answer.blocking) == (1, {"trust.rollback"})
    assert not (house.project / "provenance/evidence/@project").exists()
    moved.file.write_bytes(newest)
    house.ok(*arguments, "--expires", "30")
