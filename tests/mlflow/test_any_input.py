"""Whatever comes in through this door, out comes an answer or one of databom's own errors; a hook raises nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import databom.mlflow
from databom.errors import DatabomError

pytestmark = [pytest.mark.mlflow, pytest.mark.usefixtures("door")]

CALM = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FILES = (
    *("databom.toml", "databom.lock", "provenance/trust.json", "provenance/manifests/pack.json"),
    *(".databom/last/pack.stat", ".databom/last/pack.json"),
)
words = st.text(max_size=30) | st.sampled_from(
    ["", "sha256:" + "0" * 64, "\0", "\ud800", "OBSERVE", "x" * 5000]
)


@CALM
@given(word=words, other=words)
def test_whatever_words_are_typed(word: str, other: str) -> None:
    with contextlib.suppress(DatabomError):
        databom.mlflow.autolog(mode=word)  # type: ignore[arg-type]
    with contextlib.suppress(DatabomError):
        databom.mlflow.DatabomSource.from_dict({"manifest": word, other: word}).load()


@CALM
@given(name=st.sampled_from(FILES), raw=st.binary(max_size=200), cut=st.none() | st.integers(0, 3000))
def test_whatever_a_projects_file_holds(
    name: str,
    raw: bytes,
    cut: int | None,
    make_project: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    project = tmp_path / "team"
    if not project.exists():
        make_project(project)
    monkeypatch.chdir(project)
    manifest = json.loads((project / "databom.lock").read_bytes())["pins"]["pack"]["manifest"]
    path = project / name
    before = path.read_bytes()
    path.write_bytes(raw if cut is None else before[:cut] + raw + before[cut + len(raw) :])
    try:
        context = databom.mlflow.RunContext()
        assert context.in_context() in {True, False}
        tags = context.tags()
        assert all(isinstance(text, str) for pair in tags.items() for text in pair)
        assert tags.get("databom.verdict") != "pass"
        with contextlib.suppress(DatabomError):
            databom.mlflow.DatabomSource.from_dict({"manifest": manifest}).load()
    finally:
        path.write_bytes(before)
