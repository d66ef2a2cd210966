"""Every example of the README and the documentation happens as it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.transcripts import ROOT, matches, play, steps

PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.parent.name != "_snippets" and steps(page.read_text(encoding="utf-8"))
]


@pytest.mark.slow
@pytest.mark.dvc
@pytest.mark.mlflow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path) -> None:
    unexplained = None
    for step, printed, code in play(page, tmp_path):
        where = f"{page.name}, line {step.block.start}:\n$ {step.text}\n"
        if step.expected is not None:
            shown = "\n".join(step.expected)
            assert matches(step.expected, printed), (
                f"{where}--- the page says\n{shown}\n--- it prints\n{printed}"
            )
        if step.kind == "python":
            assert code == 0, f"{where}{printed}"
        assert unexplained is None or step.text == "echo $?", (
            f"exit {unexplained[1]}, not shown:\n{unexplained[0]}"
        )
        unexplained = (where, code) if code and step.kind == "command" else None
    assert unexplained is None, f"exit {unexplained[1]}, not shown:\n{unexplained[0]}"


def test_every_page_of_a_role_has_examples() -> None:
    played = {page.stem for page in PAGES}
    assert {"README", "data-scientists", "mlops", "data-stewards", "ci", "marketplaces", "auditors"} <= played


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (["a", "b"], "a\nb\n", True),
        (["a"], "a\nb\n", False),
        (["a", "…"], "a\nb\nc\n", True),
        (["…", "c"], "a\nb\nc\n", True),
        (["x … z"], "x y z\n", True),
        (["x … z"], "x y\nz\n", False),
        ([], "", True),
        ([], "a\n", False),
        (["…"], "", True),
        (["a.c"], "abc\n", False),
        (["a", ""], "a\n\n", True),
    ],
)
def test_a_transcript_is_the_whole_output(expected: list[str], printed: str, same: bool) -> None:
    assert matches(tuple(expected), printed) is same


def test_a_page_is_read_as_it_is_written() -> None:
    page = "\n".join(
        (
            "??? note",
            "    ```console",
            "    $ echo one \\",
            "        two",
            "    one two",
            "    $ false",
            "    ```",
            '```python title="train.py"',
            "x = 1",
            "```",
            "```python",
            "print(2)",
            "```",
            '```text title="prints"',
            "2",
            "```",
            "```json",
            "{}",
            "```",
        )
    )
    found = steps(page)
    assert [step.kind for step in found] == ["command", "command", "file", "python"]
    assert found[0].text == "echo one \\\n    two"
    assert found[0].expected == ("one two",)
    assert found[1].expected == ()
    assert (found[2].file, found[2].text) == ("train.py", "x = 1\n")
    assert found[3].expected == ("2",)
