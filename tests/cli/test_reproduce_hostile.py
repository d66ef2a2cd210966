"""`databom reproduce` on commits and receipts that were made to deceive it, or are only odd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.test_reproduce import alone, commit, everything, forged, git, project, refused, subjects, train
from support.house import House

__all__ = ["alone"]


def with_own_key(house: House, **external: Any) -> Path:
    """A receipt that says another thing, signed by a key that may: what whoever has that key could make."""
    house.ok("key", "new", house.base / "own.pem")
    house.ok("trust", "add", house.base / "own.pem.pub", "--role", "receipt")
    path = house.base / "odd.json"
    path.write_bytes(forged(house, key="own.pem", **external))
    return path


# --- who may sign receipts has no shell ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["python", "-m", "timeit", "-n1", "open('pwned', 'w')"],
        ["python", "-m", "pdb", "-c", "!open('pwned', 'w')", "train.py"],
        ["python", "-m", "pip", "install", "x"],
        ["python", "-I", "-m", "lib.ours"],
        ["python", "-P", "-m", "lib.ours"],
        ["python", "-m", "lib.gone"],
        ["python", "-m", "lib"],
    ],
    ids=" ".join,
)
def test_a_module_that_is_not_of_the_commit(house: House, command: list[str]) -> None:
    (house.project / "lib").mkdir()
    (house.project / "lib" / "ours.py").write_text("open('pwned', 'w')\n")
    project(house)
    train(house)
    answer = refused(house, with_own_key(house, command=command))
    assert (answer.code, subjects(answer)) == (3, {"command"})
    assert not list(house.base.rglob("pwned"))


@pytest.mark.parametrize("form", ["a module", "a package", "on the path"])
def test_a_module_of_the_commit(house: House, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    project(house)
    if form == "a module":
        path, name = house.project / "jobs" / "fit.py", "jobs.fit"
    elif form == "a package":
        path, name = house.project / "jobs" / "__main__.py", "jobs"
    else:
        path, name = house.project / "src" / "jobs" / "fit.py", "jobs.fit"
        paths = (str(house.project / "src"), os.environ.get("PYTHONPATH", ""))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    path.parent.mkdir(parents=True)
    path.write_bytes((house.project / "train.py").read_bytes())
    commit(house)
    done = subprocess.run(
        [sys.executable, "-m", name], cwd=house.project, capture_output=True, text=True, check=True
    )
    path.write_text("raise SystemExit('the wrong one')\n")
    answer = house.json("reproduce", done.stdout.split()[-1], "--yes")
    assert answer.code == 0, answer.out + answer.err
    assert answer.report["plan"]["command"] == f"python -m {name}"


# --- a commit brings no state of databom ----------------------------------------------------------------------


def test_a_committed_ending_is_no_second_run(house: House) -> None:
    """Else a pass could be had without a model that can be made again."""
    project(house, random=True, then="'AGAIN' in os.environ and sys.exit(0)")
    train(house)
    # What a first run leaves where nobody can sign: `git add --force` brings it into every clone.
    (house.project / ".databom/keys/receipt.pem").rename(house.base / "receipt.pem")
    run = train(house)
    (ending,) = (house.project / ".databom/receipts/pending").glob("*.json")
    told = ending.read_bytes()
    (house.base / "receipt.pem").rename(house.project / ".databom/keys/receipt.pem")
    house.ok("log", "flush")
    ending.write_bytes(told)
    (house.project / "train.py").write_text("print('nothing is made')\n")
    git(house, "add", "--force", ending.relative_to(house.project).as_posix())
    ident = commit(house)
    ending.unlink()
    (path,) = (
        one
        for one in (house.project / ".databom/receipts/runs").rglob("receipt.dsse.json")
        if run in str(one)
    )
    house.ok("key", "new", house.base / "own.pem")
    house.ok("trust", "add", house.base / "own.pem.pub", "--role", "receipt")
    (house.base / "odd.json").write_bytes(at_commit(house, path, ident))
    answer = house.json("reproduce", house.base / "odd.json", "--yes")
    assert (answer.code, subjects(answer)) == (3, {"models"}), answer.out
    assert answer.report["ran"] is True


def at_commit(house: House, path: Path, ident: str) -> bytes:
    """A receipt with another commit."""
    from databom.bom.receipt import encode
    from databom.tasks.keyring import read_private_key
    from databom.trust import dsse
    from support.receipts import statement_of

    statement = statement_of(path.read_bytes())
    for one in statement["predicate"]["buildDefinition"]["resolvedDependencies"]:
        if one["name"] == "code":
            one["digest"] = {"gitCommit": ident}
    signer = read_private_key(house.base / "own.pem")
    return dsse.format_envelope(dsse.sign("application/vnd.in-toto+json", encode(statement), [signer]))


# --- links: today's checkout has no say, and nothing is written through one -----------------------------------


def test_a_folder_that_is_a_link_today(house: House) -> None:
    (house.project / "jobs").mkdir()
    project(house)
    (house.project / "jobs" / "fit.py").write_bytes((house.project / "train.py").read_bytes())
    commit(house)
    run = train(house, script="jobs/fit.py")
    (house.project / "jobs").rename(house.base / "jobs")
    (house.project / "jobs").symlink_to(house.base / "jobs")
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.out + answer.err


def test_data_behind_a_link_of_the_commit(house: House) -> None:
    project(house)
    big = house.base / "big"
    house.data.parent.rename(big)
    (house.project / "data").symlink_to(big)
    (house.project / ".gitignore").write_text("/model.zip\n/.databom/\n")
    commit(house)
    run = train(house)
    (big / "pets/images/cat1.jpg").unlink()
    house.data.parent.unlink()
    house.data.mkdir(parents=True)
    (house.data / "images").mkdir()
    (house.data / "images/cat1.jpg").write_bytes(b"a cat\n")
    before = sorted(big.rglob("*"))
    answer = house.json("reproduce", run, "--yes")
    assert answer.code in {1, 3}
    assert answer.report["ran"] is False
    assert answer.blocking, answer.err
    assert sorted(big.rglob("*")) == before


def test_a_folder_of_the_command_that_the_commit_does_not_have(house: House) -> None:
    """One for outputs, which git ignores."""
    project(house)
    (house.project / "train.py").write_text(
        "import databom\nfrom pathlib import Path\n"
        "with databom.training('pets') as run:\n"
        "    Path('m.bin').write_text('weights')\n    run.produced('m.bin')\nprint(run.id)\n"
    )
    with (house.project / ".gitignore").open("a") as file:
        file.write("/out/\n")
    (house.project / "out").mkdir()
    commit(house)
    done = subprocess.run(
        [sys.executable, "../train.py"], cwd=house.project / "out", capture_output=True, text=True, check=True
    )
    answer = house.json("reproduce", done.stdout.split()[-1], "--yes")
    assert answer.code == 0, answer.out + answer.err
    assert answer.report["plan"]["cwd"] == "out"


def test_a_folder_of_the_command_that_leads_out(house: House) -> None:
    project(house)
    (house.base / "outside").mkdir()
    (house.project / "out").symlink_to(house.base / "outside")
    commit(house)
    train(house)
    answer = house.json("reproduce", with_own_key(house, folder="out"), "--yes")
    assert (answer.code, subjects(answer)) == (3, {"command"})
    assert answer.report["ran"] is False


# --- what is around it ------------------------------------------------------------------------------------------


def test_a_program_that_removes_its_own_work_tree(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tidied up afterwards is what was made, and not the folder that it was made in."""
    then = "'AGAIN' in os.environ and __import__('shutil').rmtree(os.path.dirname(os.getcwd()))"
    folder = house.base / "temporary"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    project(house, then=then)
    run = train(house)
    monkeypatch.setenv("AGAIN", "1")
    before = everything(house)
    assert house.cli("reproduce", run, "--yes").code == 3
    assert folder.stat().st_mode & 0o777 == 0o755
    assert list(folder.iterdir()) == []
    assert everything(house) == before


def test_an_expired_trust_root_runs_nothing(house: House) -> None:
    project(house)
    run = train(house)
    trust = house.project / "provenance/trust.json"
    value = json.loads(trust.read_text())
    value["expires"] = "2020-01-01T00:00:00Z"
    trust.write_text(json.dumps(value))
    answer = house.cli("reproduce", run, "--yes")
    assert answer.code in {1, 2, 3}
    assert "TRAINED" not in answer.err


def test_data_that_is_in_git(house: House) -> None:
    project(house)
    (house.project / ".gitignore").write_text("/model.zip\n/.databom/\n")
    commit(house)
    run = train(house)
    assert house.json("reproduce", run, "--yes").code == 0
    (house.data / "images/cat1.jpg").write_bytes(b"b cat\n")
    commit(house)
    (house.data / "images/cat1.jpg").write_bytes(b"a cat\n")
    answer = refused(house, train(house))
    assert "integrity.mismatch" in answer.blocking


def test_the_fetching_speaks_for_nobody_either(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the key of a log that is shared, and an incident in the work tree."""
    project(house)
    run = train(house)
    key = house.project / ".databom/keys/log.pem"
    shared = house.base / "shared"
    (house.project / ".databom/log").rename(shared)
    config = house.project / "databom.toml"
    config.write_text(config.read_text().replace('location = ".databom/log"', f'location = "{shared}"'))
    monkeypatch.setenv("DATABOM_LOG_KEY", str(key))
    commit(house)
    run = train(house)
    before = (shared / "checkpoint").read_bytes()
    assert house.json("reproduce", run, "--yes").code == 0
    assert (shared / "checkpoint").read_bytes() == before
    (house.market / "v1/images/cat1.jpg").write_bytes(b"b cat\n")
    (house.data / "images/cat1.jpg").unlink()
    assert house.cli("reproduce", run, "--yes").code == 1
    assert (shared / "checkpoint").read_bytes() == before
