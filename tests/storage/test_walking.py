"""A walk in the order of the paths, and lines that are sorted on disk."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from databom.storage.spill import Spill
from databom.storage.tree import Kind, LocalTree
from databom.storage.walking import walk_in_order
from support.trees import plant

NAMES = ["a", "a-b", "a.b", "a0", "A", "é", "\U0001f600", "\ue000", "z"]


def test_a_walk_in_order_finds_what_a_walk_finds(tmp_path: Path) -> None:
    plant(
        tmp_path, {f"{one}/{two}/f-{three}": b"" for one in NAMES for two in NAMES[:4] for three in NAMES[:3]}
    )
    plant(tmp_path, {f"{one}.txt": b"" for one in NAMES})
    (tmp_path / "a" / "empty").mkdir()
    (tmp_path / "link").symlink_to("a")
    tree = LocalTree(tmp_path)
    found = [(path, kind) for run, kind in walk_in_order(tree) for path in run]
    assert sorted(found) == sorted(tree.walk())
    files = [path for path, kind in found if kind is Kind.FILE]
    assert files == sorted(files, key=str.encode)


def test_what_is_no_directory_any_more_is_passed_over(tmp_path: Path) -> None:
    plant(tmp_path, {"a/x": b"", "b/x": b"", "c": b""})
    tree = LocalTree(tmp_path)
    walk = walk_in_order(tree)
    assert next(walk) == (["a/x"], Kind.FILE)
    (tmp_path / "b/x").unlink()
    (tmp_path / "b").rmdir()
    assert list(walk) == [(["c"], Kind.FILE)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=9)), max_size=6)
)
def test_runs_come_out_merged(runs: list[list[str]]) -> None:
    lines = [sorted(text.encode() for text in run) for run in runs]
    with Spill() as spill:
        for run in lines:
            spill.add(run)
        assert list(spill.merged()) == sorted(line for run in lines for line in run)


def test_a_long_run_is_read_in_blocks() -> None:
    lines = [b"%09d" % n * 20 for n in range(20_000)]
    with Spill() as spill:
        spill.add(lines[::2])
        spill.add(lines[1::2])
        assert list(spill.merged()) == lines
