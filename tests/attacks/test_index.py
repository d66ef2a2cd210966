"""INDEX.md is true: each required case has folders or tests that show it, and each that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from attacks import run

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^\| (?P<id>[A-Z]\d\d) \| (?P<folders>[^|]*) \| (?P<tests>[^|]*) \|$", re.MULTILINE)
LATER = {"L08"}
GROUPS = {
    "A": 15,
    "B": 18,
    "C": 9,
    "D": 17,
    "E": 12,
    "G": 14,
    "H": 14,
    "I": 16,
    "J": 6,
    "K": 7,
    "L": 8,
    "M": 10,
}


def rows() -> dict[str, tuple[list[str], list[str]]]:
    text = (run.HERE / "INDEX.md").read_text(encoding="utf-8")
    found = [
        (row["id"], re.findall(r"`([^`]+)`", row["folders"]), re.findall(r"`([^`]+)`", row["tests"]))
        for row in LINE.finditer(text)
    ]
    assert len(found) == len({one[0] for one in found})
    return {number: (folders, tests) for number, folders, tests in found}


def test_every_required_case_is_shown() -> None:
    required = {
        f"{group}{number:02}" for group, count in GROUPS.items() for number in range(1, count + 1)
    } - LATER
    shown = rows()
    assert shown.keys() == required
    assert not [number for number, (folders, tests) in shown.items() if not folders and not tests]


def test_every_folder_and_test_that_is_named_exists() -> None:
    names = [folder.name for folder in run.folders()]
    indexed = set()
    for number, (folders, tests) in rows().items():
        for pattern in folders:
            assert pattern == f"{number.lower()}_*"
            assert any(name.startswith(pattern[:-1]) for name in names), pattern
            indexed.add(number)
        for test in tests:
            path, _, function = test.partition("::")
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test
    assert {run.load(folder)["id"] for folder in run.folders()} == indexed
