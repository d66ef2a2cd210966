"""Data that a DVC pipeline reads and no pin covers, in real DVC projects, as DVC itself wrote their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.dvcteam import Team
from support.house import Answer

pytestmark = pytest.mark.dvc
WHY = ("--reason", "bought on paper", "--expires", "30")


def write(team: Team, path: str, text: str = "x\n") -> Path:
    file = team.project / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def stage(team: Team, name: str, *deps: str, outs: str = "", more: str = "") -> None:
    """One more stage at the end of dvc.yaml."""
    lines = [f"    {name}:", f"        cmd: python {name}.py", "        deps:"]
    lines += [f"            - {dep}" for dep in deps]
    lines += ["        outs:", f"            - {outs}"] if outs else []
    path = team.project / "dvc.yaml"
    path.write_text(path.read_text() + "\n".join(lines) + "\n" + more)


def commit(team: Team) -> None:
    team.run("git", "add", "-A")
    team.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x")


def policy(team: Team, old: str, new: str) -> None:
    path = team.project / "databom.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def unpinned(answer: Answer) -> dict[str | None, str]:
    return {one["subject"]: one["severity"] for one in answer.findings if one["code"] == "coverage.unpinned"}


@pytest.fixture
def pinned(team: Team) -> Team:
    team.manifest = team.house.pinned()
    team.house.ok("sync")
    commit(team)
    return team


def test_what_a_pin_covers_git_tracks_or_a_stage_makes_is_no_finding(pinned: Team) -> None:
    write(pinned, "params.yaml", "a: 1\n")
    write(pinned, "src/model.py")
    write(pinned, "src/__pycache__/model.pyc")
    stage(
        pinned,
        "evaluate",
        "model.txt",
        "params.yaml",
        "src",
        "data/pets/images",
        "evaluate.py",
        outs="scores.csv",
    )
    stage(pinned, "plot", "scores.csv", "plot.py")
    write(pinned, "notes.json", "{}")
    commit(pinned)
    stage(pinned, "last", "notes.json", ".")
    answer = pinned.house.json("check")
    assert answer.code == 0
    assert unpinned(answer) == {}
    *_, about = answer.report["reports"]
    assert about["subject"] == {"name": None, "release": None, "manifest": None, "tree": None}
    assert "data that DVC reads: pass" in answer.err


def test_what_nobody_accounts_for_is_told_by_path_and_by_whom(pinned: Team) -> None:
    write(pinned, "data/raw/scraped.csv")
    write(pinned, "data/README.md")
    pinned.dvc("add", "-q", "data/raw")
    commit(pinned)
    stage(pinned, "one", "data/raw", "s3://bucket/key?X-Amz-Signature=secret", "../elsewhere.csv")
    stage(pinned, "two", "data")
    answer = pinned.house.json("check")
    assert answer.code == 0
    found = unpinned(answer)
    assert set(found.values()) == {"warn"}
    assert {"data/raw", "../elsewhere.csv"} < set(found)
    assert "secret" not in answer.out
    [raw] = [one for one in answer.findings if one["subject"] == "data/raw"]
    assert "the stage one reads it; the stage two reads it" in raw["what"]
    assert pinned.house.json("check", "--strict").code == 1
    assert pinned.house.json("verify").code == 0  # verifying does not ask
    # In a fresh clone the data is not there, and the answer is the same.
    for file in (pinned.project / "data/raw").iterdir():
        file.unlink()
    (pinned.project / "data/raw").rmdir()
    assert unpinned(pinned.house.json("check")) == found


def test_the_policy_decides(pinned: Team) -> None:
    write(pinned, "data/raw.csv")
    write(pinned, "ours/a.csv")
    pinned.dvc("add", "-q", "data/raw.csv", "ours/a.csv")
    stage(pinned, "one", "data/raw.csv", "ours/a.csv", "ours")
    assert set(unpinned(pinned.house.json("check"))) == {"data/raw.csv", "ours/a.csv"}
    policy(pinned, "own = []", 'own = ["ours/*"]')
    assert set(unpinned(pinned.house.json("check"))) == {"data/raw.csv"}
    policy(pinned, 'coverage = "warn"', 'coverage = "require"')
    answer = pinned.house.json("check")
    assert (answer.code, unpinned(answer)) == (1, {"data/raw.csv": "block"})
    policy(pinned, 'coverage = "require"', 'coverage = "off"')
    answer = pinned.house.json("check")
    assert answer.code == 0
    assert len(answer.report["reports"]) == 1


def test_what_dvc_imported_comes_from_elsewhere(pinned: Team) -> None:
    source = pinned.house.base / "source.csv"
    source.write_text("a\n")
    pinned.dvc("import-url", "-q", str(source), "data/fetched.csv")
    [(subject, weight)] = unpinned(pinned.house.json("check")).items()
    assert (subject, weight) == ("data/fetched.csv", "warn")


def test_stages_in_other_folders_and_with_templates(pinned: Team) -> None:
    write(
        pinned, "sub/dvc.yaml", "stages:\n  prep:\n    cmd: 'true'\n    wdir: ..\n    deps: [data/raw.csv]\n"
    )
    write(pinned, "sub/more/dvc.yaml", "stages:\n  prep:\n    cmd: 'true'\n    deps: [raw.bin]\n")
    write(pinned, "data/raw.csv")
    more = (
        "    each:\n        foreach: [a, b]\n        do:\n            cmd: 'true'\n"
        "            deps: ['data/${item}.bin']\n"
    )
    stage(pinned, "one", "train.py", more=more)
    write(pinned, "data/a.bin")
    write(pinned, "data/b.bin")
    found = unpinned(pinned.house.json("check"))
    assert set(found) == {"data/raw.csv", "sub/more/raw.bin", "dvc.yaml"}  # the stage `each` never ran
    write(pinned, "one.py", "")
    pinned.dvc("repro", "each")
    assert set(unpinned(pinned.house.json("check"))) == {
        "data/raw.csv",
        "sub/more/raw.bin",
        "data/a.bin",
        "data/b.bin",
    }


def test_a_file_that_cannot_be_read_is_told(pinned: Team) -> None:
    write(pinned, "sub/dvc.yaml", "stages: [")
    assert set(unpinned(pinned.house.json("check"))) == {"sub/dvc.yaml"}


def test_a_link_in_git_is_judged_by_where_it_leads(pinned: Team) -> None:
    third = write(pinned, "outside/third.csv")
    (pinned.project / "link.csv").symlink_to(third)
    (pinned.project / "pets").symlink_to(pinned.project / "data/pets")
    write(pinned, ".gitignore", "/outside\n/.databom\n")
    pinned.run("git", "add", "link.csv", "pets", "-f")
    stage(pinned, "one", "link.csv", "pets")
    assert set(unpinned(pinned.house.json("check"))) == {"outside/third.csv"}


def approval(team: Team) -> Any:
    key = team.house.base / "steward.pem"
    team.house.ok("key", "new", key)
    team.house.ok("trust", "add", f"{key}.pub", "--role", "steward")
    return team.house.json("approve", "--key", key, "--role", "steward", *WHY)


def test_a_steward_accepts_data_without_a_pin(pinned: Team) -> None:
    write(pinned, "data/raw.csv")
    pinned.dvc("add", "-q", "data/raw.csv")
    stage(pinned, "one", "data/raw.csv")
    policy(pinned, 'coverage = "warn"', 'coverage = "require"')
    assert pinned.house.json("check").code == 1
    assert "coverage.unpinned:data/raw.csv" in pinned.house.ok("approve").out
    assert approval(pinned).code == 0
    answer = pinned.house.json("check")
    assert answer.code == 0
    *_, about = answer.report["reports"]
    assert about["approvals"][0]["settles"] == [{"code": "coverage.unpinned", "subject": "data/raw.csv"}]
    # Only what was named, and only under this policy.
    write(pinned, "data/more.csv")
    pinned.dvc("add", "-q", "data/more.csv")
    stage(pinned, "two", "data/more.csv")
    assert pinned.house.json("check").blocking == {"coverage.unpinned"}
    policy(pinned, "own = []", 'own = ["data/more.csv"]')
    answer = pinned.house.json("check")
    assert answer.blocking == {"coverage.unpinned"}


def test_a_broken_approval_of_the_project_blocks(pinned: Team) -> None:
    write(pinned, "data/raw.csv")
    stage(pinned, "one", "data/raw.csv")
    assert approval(pinned).code == 0
    [file] = (pinned.project / "provenance/evidence/@project").iterdir()
    file.write_text(file.read_text().replace('"payload": "ey', '"payload": "ex'))
    assert pinned.house.json("check").code == 1


def test_without_git_what_is_no_code_is_data(team: Team) -> None:
    import shutil

    shutil.rmtree(team.project / ".git")
    team.house.pinned()
    team.house.ok("sync")
    write(team, "table.csv")
    stage(team, "one", "table.csv", "one.py")
    assert set(unpinned(team.house.json("check"))) == {"table.csv"}
