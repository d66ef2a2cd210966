"""Where a run starts: found cheaply, owned by the user, and never a reason for `import mlflow` to fail or wait."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databom.mlflow import RunContext, place

pytestmark = pytest.mark.mlflow


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Any:
    from databom.mlflow import warn

    monkeypatch.delenv("DATABOM_PROJECT", raising=False)
    warn._said.clear()
    yield
    place._known.clear()
    warn._said.clear()


def test_the_nearest_project_above(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    found = place.find()
    assert found is not None
    assert (found.root, set(found.pins), found.auto, found.mode) == (
        str(project),
        {"pack"},
        "full",
        "observe",
    )


def test_a_nearer_project_without_pins_hides_one_above(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its policy is another one: a run in it must not carry pins that this policy never judged."""
    below = project / "sub"
    below.mkdir()
    (below / "databom.toml").write_text("[use]\n[policy]\n")
    monkeypatch.chdir(below)
    assert place.find() is None


def test_the_named_project_wins(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place.find() is None
    monkeypatch.setenv("DATABOM_PROJECT", str(project))
    found = place.find()
    assert found is not None
    assert found.root == str(project)


def test_a_named_project_that_is_none_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABOM_PROJECT", str(tmp_path))
    assert place.find() is None
    assert place.find() is None
    assert caplog.text.count("there is no databom.toml") == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX owners")
@pytest.mark.parametrize("file", ["databom.toml", "databom.lock"])
def test_what_belongs_to_somebody_else_is_not_followed(
    file: str, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    monkeypatch.chdir(project)
    os.chown(project / file, 12345, -1)
    assert place.find() is None
    assert f"{file} belongs to another user" in caplog.text


def test_roots_files_and_ones_own_are_followed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = (project / "databom.toml").stat().st_uid
    monkeypatch.chdir(project)
    monkeypatch.setattr(os, "getuid", lambda: owner)
    assert place.find() is not None
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert (place.find() is not None) == (owner == 0)


@pytest.mark.parametrize("file", ["databom.toml", "databom.lock"])
def test_special_files_make_nobody_wait(file: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / file).unlink()
    os.mkfifo(project / file)
    assert place.find() is None
    (project / file).unlink()
    (project / file).mkdir()
    assert place.find() is None


def test_the_working_directory_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert place.find() is None
    assert RunContext().in_context() is False


def test_a_change_is_seen_and_no_change_reads_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    first = place.find()
    assert place.find() is first
    path = project / "databom.toml"
    path.write_text(path.read_text().replace('mode = "observe"', 'mode = "enforce"'))
    second = place.find()
    assert second is not None
    assert second.mode == "enforce"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(lock=st.binary(max_size=200), config=st.binary(max_size=200))
def test_whatever_the_files_hold_nothing_is_raised(
    lock: bytes, config: bytes, tmp_path: Path, metadata: Path
) -> None:
    (tmp_path / "databom.toml").write_bytes(config)
    (tmp_path / "databom.lock").write_bytes(lock)
    place._known.clear()
    found = place.find({"DATABOM_PROJECT": str(tmp_path)})
    assert found is None or (found.auto in ("full", "tags", "off") and found.mode in ("observe", "enforce"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(value=json_values, pins=json_values)
def test_whatever_shape_the_lock_has_nothing_is_raised(value: Any, pins: Any, tmp_path: Path) -> None:
    (tmp_path / "databom.toml").write_text("[use]\n[policy]\n")
    for document in (value, {"pins": pins}, {"pins": {"pack": pins}}):
        (tmp_path / "databom.lock").write_text(json.dumps(document))
        place._known.clear()
        found = place.find({"DATABOM_PROJECT": str(tmp_path)})
        assert found is None or found.problem or all(isinstance(pin, dict) for pin in found.pins.values())


def test_files_that_are_too_long_are_not_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr(place, "MAX_LOCK_BYTES", 10)
    monkeypatch.setattr(place, "MAX_CONFIG_BYTES", 10)
    found = place.find()
    assert found is not None
    assert found.problem
    assert (found.auto, found.mode) == ("full", "observe")


def test_a_provider_never_raises_and_costs_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    provider = RunContext()
    assert provider.in_context() is False
    assert provider.tags() == {}

    def broken(*_arguments: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(place, "find", broken)
    assert RunContext().in_context() is False
    assert provider.tags() == {}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [('mode = "enforce"', "enforce"), ('  mode="enforce" # now', "enforce"), ('mode = "observe"', "observe")],
)
def test_a_typo_elsewhere_in_the_policy_opens_no_gate(
    mode: str, expected: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    path = project / "databom.toml"
    path.write_text(path.read_text().replace('mode = "observe"', mode) + "\n[policy\n")
    found = place.find()
    assert found is not None
    assert found.mode == expected
