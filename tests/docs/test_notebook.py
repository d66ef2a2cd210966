"""The example notebook runs, and what it shows is a table and the real bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from docs.transcripts import ROOT, environ

NOTEBOOK = ROOT / "docs" / "notebooks" / "verify.ipynb"


def _outputs(cell: Any, kind: str) -> str:
    texts = []
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        texts.append(data.get(kind, "") if data else output.get("text", "") if kind == "text/plain" else "")
    return "".join(texts)


@pytest.mark.slow
def test_the_notebook_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environ(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DATABOM_PROJECT", raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    book = nbformat.read(NOTEBOOK, as_version=4)
    # In memory: what a run prints holds digests that differ each time, and does not belong into git.
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    added, synced, verified, opened, changed, refused = _code(book)
    # Pinning and syncing judge, and what is permitted needs no words; verifying says that it does not judge.
    for cell in (added, synced, verified):
        assert ">pass</b>" in _outputs(cell, "text/html")
    for cell in (added, synced):
        assert "<table>" not in _outputs(cell, "text/html")
    assert "license.not-judged" in _outputs(verified, "text/html")
    assert "sepal length (cm)" in _outputs(opened, "text/html")
    assert ">fail</b>" in _outputs(changed, "text/html")
    assert "integrity.mismatch" in _outputs(changed, "text/html")
    assert "integrity.mismatch" in _outputs(refused, "text/plain")


def _code(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_the_notebook_is_kept_without_outputs() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in _code(book))
