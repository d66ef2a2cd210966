"""`databom reproduce`: the same weights come out, or it says why not; and the user's checkout is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import databom
from databom.model.digest import sha256
from support.house import Answer, House
from support.receipts import logged, statement_of

TRAIN = """\
import json, os, sys, zipfile
from pathlib import Path
import databom

params = json.loads(Path("params.json").read_text())
with databom.training("pets") as run:
    run.config("params.json")
    run.params.update(params, arguments=" ".join(sys.argv[1:]))
    with databom.open("pets", "images/cat1.jpg") as file:
        weights = file.read() * params["depth"] + " ".join(sys.argv[1:]).encode()
    if params.get("random"):
        weights += os.urandom(8)
    with zipfile.ZipFile("model.zip", "w") as archive:  # has the time in it
        stamp = (2020 + os.getpid() % 60, 1 + os.getpid() % 12, 1, 0, 0, 2 * (os.getpid() % 29))
        archive.writestr(zipfile.ZipInfo("weights", stamp), weights)
    run.produced("model.zip")
    exec(params.get("then", ""))
print("TRAINED", run.id)
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, rank or server of whoever runs the tests; commits have an author."""
    for name in [
        one for one in os.environ if one.startswith(("DATABOM_", "MLFLOW_", "GIT_")) or one.endswith("RANK")
    ]:
        if name != "DATABOM_CACHE":
            monkeypatch.delenv(name)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b.example")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go, so that one that is left behind is seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def git(house: House, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=house.project, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(house: House) -> str:
    git(house, "add", "-A")
    git(house, "commit", "-q", "-m", "one")
    return git(house, "rev-parse", "HEAD")


def project(house: House, **params: Any) -> str:
    """A project that is whole in git; its commit."""
    house.synced()
    (house.project / "train.py").write_text(TRAIN)
    (house.project / "params.json").write_text(json.dumps({"depth": 3, **params}))
    git(house, "init", "-q")
    with (house.project / ".gitignore").open("a") as file:
        file.write("/data/\n/model.zip\n")
    return commit(house)


def train(house: House, *arguments: str, script: str = "train.py") -> str:
    """Train in a process of its own; the run's id."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=house.project, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout.split()[-1]


def everything(house: House) -> dict[str, str]:
    """Every file of the user's checkout and of git, by digest; where links lead."""
    found = {}
    for path in sorted(house.project.rglob("*")):
        name = path.relative_to(house.project).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def subjects(answer: Answer, code: str = "rerun.unanswered") -> set[str]:
    return {one["subject"] for one in answer.findings if one["code"] == code}


def refused(house: House, *args: str | Path) -> Answer:
    """A `reproduce --yes` that runs nothing and changes nothing."""
    before = everything(house)
    answer = house.json("reproduce", *args, "--yes")
    assert "TRAINED" not in answer.out + answer.err
    assert answer.code in {1, 3}, answer.err
    assert answer.report["ran"] is False
    assert not answer.report["outputs"]
    assert everything(house) == before
    return answer


# --- it is reproduced ---------------------------------------------------------------------------------


def test_the_same_weights_come_out(house: House, temporary: Path) -> None:
    ident = project(house)
    run = train(house, "--name", "x")
    # From here on the user works on something else, and has not committed it.
    (house.project / "train.py").write_text("raise SystemExit('the wrong one')\n")
    (house.project / "staged.txt").write_text("1")
    git(house, "add", "staged.txt")
    git(house, "stash", "-q", "--keep-index")
    (house.project / "params.json").write_text("{}")
    before = everything(house)

    answer = house.json("reproduce", run)
    assert (answer.code, subjects(answer)) == (3, {"--yes"})
    assert answer.report["ran"] is False
    assert answer.report["plan"]["command"] == "python train.py --name x"
    assert answer.report["plan"]["commit"] == ident
    assert everything(house) == before

    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.out + answer.err
    assert "TRAINED" in answer.err
    assert answer.err.index("python train.py --name x") < answer.err.index("TRAINED")
    report = answer.report
    (output,) = report["outputs"]
    assert output["same"] == {"file": False, "weights": True}
    assert output["expected"]["file"] != output["found"]["file"]
    assert answer.codes == {"receipt.development", "rerun.bytes"}
    assert report["again"].startswith("databom:")
    assert report["again"] != report["run"] == f"databom:{run}"
    assert answer.err.strip().endswith("1 of 1 model with the same weights, 0 with the same bytes: pass")
    assert everything(house) == before
    assert len(logged(house.project)) == 1
    assert list(temporary.iterdir()) == []
    assert git(house, "worktree", "list").count("\n") == 0


def test_from_python(house: House, temporary: Path) -> None:
    project(house)
    run = train(house)
    plan = databom.reproduce(run)
    assert (plan.verdict, plan.ran) == ("unanswered", False)
    with open(house.base / "output", "wb") as output:
        shown: list[str] = []
        answer = databom.reproduce(
            run, yes=True, output=output, shown=lambda one: shown.append(one.plan.shown if one.plan else "")
        )
    assert shown == ["python train.py"]
    assert answer.require().verdict == "pass"
    assert b"TRAINED" in (house.base / "output").read_bytes()
    assert list(temporary.iterdir()) == []


def test_a_receipt_by_its_file(house: House) -> None:
    project(house)
    train(house)
    (receipt,) = (house.project / ".databom/receipts/runs").rglob("receipt.dsse.json")
    answer = house.json("reproduce", receipt, "--yes")
    assert answer.code == 0, answer.err
    assert "rerun.unlogged" not in answer.codes
    elsewhere = house.base / "receipt.json"
    elsewhere.write_bytes(receipt.read_bytes())
    assert "rerun.unlogged" not in house.json("reproduce", elsewhere).codes, "the log has it"
    (house.project / ".databom/log").rename(house.base / "log")
    (house.project / ".databom/checkpoints").rename(house.base / "checkpoints")
    (house.project / "provenance/checkpoint").unlink(missing_ok=True)
    assert "rerun.unlogged" not in house.json("reproduce", receipt).codes, "its proof is beside it"
    (house.project / ".databom/receipts").rename(house.base / "receipts")
    assert "rerun.unlogged" in house.json("reproduce", elsewhere).codes


def test_the_log_shows_which_run_to_ask_for(house: House) -> None:
    project(house)
    run = train(house)
    (line,) = (line for line in house.ok("log", "show").out.splitlines() if "trained" in line)
    assert f"  databom:{run}  sha256:" in line


def test_a_place_for_the_work_tree(house: House) -> None:
    ident = project(house)
    run = train(house)
    place = house.base / "again"
    answer = house.json("reproduce", run, "--yes", "--keep", place)
    assert answer.code == 0, answer.err
    assert answer.report["kept"] == str(place)
    assert (place / "model.zip").is_file()
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=place, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ident
    again = house.cli("reproduce", run, "--yes", "--keep", place)
    assert (again.code, "is not empty" in again.err) == (2, True)


def test_arguments_are_arguments(house: House) -> None:
    project(house)
    hard = ("; touch pwned", "$(touch pwned)", "`touch pwned`", "a  b", "*", "'", "&&", "", "--x=|y")
    run = train(house, *hard)
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.out + answer.err
    assert "'; touch pwned'" in answer.report["plan"]["command"]
    assert not list(house.base.rglob("pwned"))


def test_the_release_of_the_run_and_not_todays(house: House) -> None:
    project(house)
    run = train(house)
    house.ok(
        "update",
        "pets",
        house.release({"images/cat1.jpg": b"new"}, version="2", folder="v2"),
        "--allow-rollback",
    )
    house.ok("sync", "pets")
    commit(house)
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.out + answer.err
    assert [one["release"] for one in answer.report["plan"]["pins"]] == ["hn-pets@1"]


def test_a_project_below_its_repository(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.synced()
    folder = house.project / "scripts"
    folder.mkdir()
    (house.project / "in put.txt").write_text("weights")
    (folder / "go.py").write_text(
        "import sys, databom\nfrom pathlib import Path\n"
        "with databom.training('pets') as run:\n"
        "    Path('m.bin').write_text(Path(sys.argv[1]).read_text())\n    run.produced('m.bin')\nprint(run.id)\n"
    )
    (house.project / ".gitignore").write_text("/data/\n/scripts/m.bin\n.databom/\n")
    monkeypatch.setattr(house, "project", house.base)
    (house.base / ".gitignore").write_text("/*.key*\n/config/\n/market/\n")
    git(house, "init", "-q")
    commit(house)
    done = subprocess.run(
        [sys.executable, "go.py", str(folder.parent / "in put.txt")],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = house.json("reproduce", done.stdout.strip(), "--yes", "--project", folder.parent)
    assert answer.code == 0, answer.out + answer.err
    plan = answer.report["plan"]
    assert (plan["folder"], plan["cwd"]) == ("project", "scripts")
    assert plan["command"] == "python scripts/go.py '../in put.txt'"
    assert answer.report["outputs"][0]["same"] == {"file": True, "weights": True}


def test_the_code_of_the_commit_and_not_todays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    (house.project / "lib").mkdir()
    module = house.project / "lib" / "ours.py"
    module.write_text("VALUE = b'then'\n")
    project(house, then="import ours; Path('b.bin').write_bytes(ours.VALUE); run.produced('b.bin')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(module.parent), os.environ.get("PYTHONPATH", ""))))
    run = train(house)
    module.write_text("VALUE = b'now'\n")
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.out + answer.err


# --- it is not reproduced -------------------------------------------------------------------------------


def test_another_model_comes_out(house: House, temporary: Path) -> None:
    project(house, random=True)
    answer = house.json("reproduce", train(house), "--yes")
    assert (answer.code, answer.blocking) == (1, {"rerun.differs"})
    (finding,) = (one for one in answer.findings if one["code"] == "rerun.differs")
    assert finding["subject"] == "model.zip"
    output = answer.report["outputs"][0]
    assert finding["expected"] == f"weights {output['expected']['weights']}"
    assert finding["found"] == f"weights {output['found']['weights']}"
    assert output["same"] == {"file": False, "weights": False}
    assert list(temporary.iterdir()) == []


def test_a_model_is_not_made(house: House) -> None:
    project(
        house, then="p = Path('more.bin'); 'AGAIN' in os.environ or (p.write_bytes(b'x'), run.produced(p))"
    )
    run = train(house)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGAIN", "1")
        answer = house.json("reproduce", run, "--yes")
    assert (answer.code, answer.blocking) == (1, {"rerun.missing"})
    assert subjects(answer, "rerun.missing") == {"more.bin"}


def test_a_program_that_fails_answers_nothing(house: House, temporary: Path) -> None:
    project(house, then="'AGAIN' in os.environ and sys.exit(7)")
    run = train(house)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGAIN", "1")
        answer = house.json("reproduce", run, "--yes")
    assert (answer.code, subjects(answer)) == (3, {"command"})
    assert answer.findings[-1]["found"] == "exit 7"
    assert answer.report["ran"] is True
    assert list(temporary.iterdir()) == []


# --- what is said before anything is run ------------------------------------------------------------------


def test_a_dirty_tree_is_said_and_its_commit_is_run(house: House) -> None:
    project(house)
    (house.project / "params.json").write_text('{"depth": 4}')
    run = train(house)
    digest = next(one for one in statement_of(logged(house.project)[0])["predicate"]["buildDefinition"]
                  ["resolvedDependencies"] if one["name"] == "code")["annotations"]["diff"]  # fmt: skip
    (house.project / "params.json").write_text('{"depth": 3}')
    answer = house.json("reproduce", run)
    assert answer.codes >= {"rerun.dirty", "rerun.config"}
    said = {one["code"]: one for one in answer.findings}
    assert digest in said["rerun.dirty"]["found"]
    assert said["rerun.config"]["subject"] == "params.json"
    assert said["rerun.config"]["expected"] == sha256(b'{"depth": 4}')
    assert said["rerun.config"]["found"] == sha256(b'{"depth": 3}')
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 1
    assert answer.blocking == {"rerun.differs"}
    assert subjects(answer, "rerun.config") == {"params.json", "params"}


def test_another_environment_is_a_warning_with_both_digests(house: House) -> None:
    project(house)
    info = house.base / "more" / "extra-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(info.parent), os.environ.get("PYTHONPATH", ""))))
        run = train(house)
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.out
    (finding,) = (one for one in answer.findings if one["code"] == "rerun.environment")
    assert finding["severity"] == "warn"
    noted = next(one for one in statement_of(logged(house.project)[0])["predicate"]["buildDefinition"]
                 ["resolvedDependencies"] if one["name"] == "environment")["digest"]["sha256"]  # fmt: skip
    assert finding["expected"] == f"sha256:{noted}" != finding["found"]


def test_with_strict_a_warning_is_in_the_way(house: House) -> None:
    project(house)
    answer = refused(house, train(house), "--strict")
    assert (answer.code, answer.blocking) == (1, {"receipt.development"})


def test_the_commit_pins_another_release(house: House) -> None:
    project(house)
    house.ok(
        "update",
        "pets",
        house.release({"images/cat1.jpg": b"new"}, version="2", folder="v2"),
        "--allow-rollback",
    )
    house.ok("sync", "pets")
    answer = refused(house, train(house))
    assert (answer.code, answer.blocking) == (1, {"release.mismatch"})
    (finding,) = (one for one in answer.findings if one["code"] == "release.mismatch")
    assert finding["expected"].startswith("hn-pets@2, sha256:")
    assert finding["found"].startswith("hn-pets@1, sha256:")


def test_other_bytes_behind_the_same_release(house: House, temporary: Path) -> None:
    project(house)
    run = train(house)
    (house.market / "v1/images/cat1.jpg").write_bytes(b"b cat\n")
    (house.data / "images/cat1.jpg").unlink()
    answer = refused(house, run)
    assert answer.code == 1
    assert "integrity.mismatch" in answer.blocking
    assert "TRAINED" not in answer.err
    assert list(temporary.iterdir()) == []


def test_a_release_that_is_gone(house: House) -> None:
    project(house)
    run = train(house)
    house.market.rename(house.base / "closed")
    before = everything(house)
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.out + "it is here, and every byte was verified"
    assert everything(house) == before
    (house.data / "images/cat1.jpg").write_bytes(b"b cat\n")
    answer = refused(house, run)
    assert answer.code == 1
    assert "integrity.missing" in answer.blocking
    assert (house.data / "images/cat1.jpg").read_bytes() == b"b cat\n"
    (house.base / "closed").rename(house.market)
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.out + "bad bytes here are not brought: it is fetched"


def test_links_and_pipes_are_not_brought(house: House) -> None:
    project(house)
    run = train(house)
    for name in ("images/cat1.jpg", "images/dog1.jpg"):
        (house.data / name).unlink()
    (house.base / "elsewhere").write_bytes(b"a cat\n")
    (house.data / "images/cat1.jpg").symlink_to(house.base / "elsewhere")
    os.mkfifo(house.data / "images/dog1.jpg")
    assert house.json("reproduce", run, "--yes").code == 0


def test_a_release_that_is_refused_today(house: House) -> None:
    project(house)
    run = train(house)
    trust = house.project / "provenance/trust.json"
    value = json.loads(trust.read_text())
    value["roles"]["marketplace"] = {}
    trust.write_text(json.dumps(value))
    answer = refused(house, run)
    assert (answer.code, answer.blocking) == (1, {"signature.untrusted"})


def test_a_commit_that_is_not_here(house: House) -> None:
    first = project(house)
    run = train(house)
    (house.project / ".git").rename(house.base / "git")
    git(house, "init", "-q")
    commit(house)
    answer = refused(house, run)
    assert (answer.code, subjects(answer)) == (3, {"code"})
    assert first in {one["expected"] for one in answer.findings}


@pytest.mark.parametrize("arguments", [("--token", "secret"), ("/etc/hostname",), ("a\u200bb",)])
def test_a_command_that_is_not_told_whole(house: House, arguments: tuple[str, ...]) -> None:
    project(house)
    answer = refused(house, train(house, *arguments))
    assert (answer.code, subjects(answer)) == (3, {"command"})
    assert "secret" not in answer.out


def test_a_run_that_failed_has_no_result(house: House) -> None:
    project(house, then="sys.exit(3)")
    subprocess.run([sys.executable, "train.py"], cwd=house.project, check=False, timeout=120)
    (receipt,) = (house.project / ".databom/receipts/runs").rglob("receipt.dsse.json")
    answer = refused(house, receipt)
    assert (answer.code, subjects(answer)) == (3, {"run"})


def test_what_is_no_run_and_no_receipt(house: House) -> None:
    project(house)
    assert house.cli("reproduce", "no run!").code == 2
    assert house.cli("reproduce", "f" * 32, "--yes").code == 3
    assert house.cli("reproduce", "./gone.json", "--yes").code == 3
    (house.base / "x.json").write_bytes(b"{}")
    answer = refused(house, house.base / "x.json")
    assert (answer.code, answer.blocking) == (1, {"receipt.invalid"})


# --- a receipt that nobody who may has signed ----------------------------------------------------------------


def forged(house: House, *, key: str | None, **external: Any) -> bytes:
    """The run's receipt with another command: signed by `key`, or with the signature of the true one."""
    from databom.bom.receipt import encode
    from databom.tasks.keyring import read_private_key
    from databom.trust import dsse

    (path,) = (house.project / ".databom/receipts/runs").rglob("receipt.dsse.json")
    raw = path.read_bytes()
    statement = statement_of(raw)
    statement["predicate"]["buildDefinition"]["externalParameters"] |= external
    payload = encode(statement)
    if key is not None:
        signer = read_private_key(house.base / key)
        return dsse.format_envelope(dsse.sign("application/vnd.in-toto+json", payload, [signer]))
    envelope = dsse.parse_envelope(raw)
    value = json.loads(raw)
    import base64

    value["payload"] = base64.b64encode(payload).decode()
    assert envelope.signatures
    return json.dumps(value).encode()


@pytest.mark.parametrize("key", ["stranger.pem", None])
def test_nothing_is_run_for_a_forged_receipt(house: House, key: str | None) -> None:
    project(house)
    train(house)
    house.ok("key", "new", house.base / "stranger.pem")
    raw = forged(house, key=key, command=["python", "train.py", "--evil"])
    (house.base / "forged.json").write_bytes(raw)
    answer = refused(house, house.base / "forged.json")
    assert answer.code == 1
    assert answer.blocking == {"receipt.unsigned" if key else "receipt.invalid"}
    assert answer.report["plan"] is None
    assert "evil" not in answer.out + answer.err


def test_a_forged_receipt_in_the_folder_of_the_true_one(house: House) -> None:
    project(house)
    run = train(house)
    house.ok("key", "new", house.base / "stranger.pem")
    (path,) = (house.project / ".databom/receipts/runs").rglob("receipt.dsse.json")
    path.write_bytes(forged(house, key="stranger.pem", command=["python", "train.py", "--evil"]))
    assert house.json("reproduce", run).report["plan"]["command"] == "python train.py", (
        "the log has the true one"
    )
    (house.project / ".databom/log").rename(house.base / "log")
    (house.project / ".databom/checkpoints").rename(house.base / "checkpoints")
    (house.project / "provenance/checkpoint").unlink(missing_ok=True)
    answer = house.cli("reproduce", run, "--yes")
    assert answer.code == 3
    assert "receipt.unsigned" in answer.err
    assert "TRAINED" not in answer.err


@pytest.mark.parametrize(
    "external",
    [
        {"command": ["sh", "-c", "touch pwned"]},
        {"command": ["python", "-c", "open('pwned', 'w')"]},
        {"command": ["python", "-Ic", "open('pwned', 'w')"]},
        {"command": ["python", "../train.py"]},
        {"command": ["python", "/bin/true"]},
        {"command": ["python", "-m", "os;x"]},
        {"command": ["python", ".git/hooks/x.py"]},
        {"command": ["python"]},
        {"command": "python train.py"},
        {"command": None},
        {"command": ["python", "train.py"], "folder": "../.."},
        {"stage": "train; touch pwned"},
        {"stage": "--help"},
        {"stage": "../dvc.yaml:train"},
        {"stage": "train", "stageFile": "/etc/passwd"},
    ],
    ids=str,
)
def test_a_trusted_key_names_a_script_a_module_or_a_stage(house: House, external: dict[str, Any]) -> None:
    project(house)
    train(house)
    house.ok("key", "new", house.base / "own.pem")
    house.ok("trust", "add", house.base / "own.pem.pub", "--role", "receipt")
    (house.base / "odd.json").write_bytes(forged(house, key="own.pem", **external))
    answer = refused(house, house.base / "odd.json")
    assert (answer.code, subjects(answer)) == (3, {"command"})
    assert not list(house.base.rglob("pwned"))


# --- what the second run gets, and how it ends ----------------------------------------------------------------


def test_it_speaks_for_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no tracking server, no run to resume, no hook of the repository."""
    project(
        house, then="print('HAS', {k: v for k, v in os.environ.items() if k[:7] in ('DATABOM', 'MLFLOW_')})"
    )
    hook = house.project / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\ntouch pwned\n")
    hook.chmod(0o755)
    run = train(house)
    for name in ("DATABOM_RECEIPT_KEY", "DATABOM_LOG_KEY", "MLFLOW_RUN_ID", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "the-teams")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://the-teams.example")
    answer = house.json("reproduce", run, "--yes")
    assert answer.code == 0, answer.err
    told = next(line for line in answer.err.splitlines() if line.startswith("HAS"))
    assert "the-teams" not in told
    assert "sqlite:////" in told
    assert not list(house.base.rglob("pwned"))
    answer = house.json("reproduce", run, "--yes", "--tracking-uri", "http://mine.example")
    assert "'MLFLOW_TRACKING_URI': 'http://mine.example'" in answer.err


HANG = (
    "'AGAIN' in os.environ and (os.fork() or True) "
    "and (open(f'{os.environ[\"AGAIN\"]}/{os.getpid()}', 'x').close() or __import__('time').sleep(900))"
)
"""Two processes that leave their ids in a folder and do nothing for long."""


def test_its_time_is_over(house: House, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(house, then=HANG)
    run = train(house)
    (house.base / "again").mkdir()
    monkeypatch.setenv("AGAIN", str(house.base / "again"))
    answer = house.json("reproduce", run, "--yes", "--timeout", "5")
    assert (answer.code, subjects(answer)) == (3, {"command"})
    assert answer.findings[-1]["found"] == "its time was over"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_nothing(house: House, sent: signal.Signals, code: int) -> None:
    project(house, then=HANG)
    run = train(house)
    folder, again = house.base / "temporary", house.base / "again"
    folder.mkdir()
    again.mkdir()
    before = everything(house)
    process = subprocess.Popen(
        # A background job of a shell ignores Ctrl-C, and so would all it starts.
        ["env", "--default-signal=INT", sys.executable, "-m", "databom", "reproduce", run, "--yes"],
        cwd=house.project, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={**os.environ, "AGAIN": str(again), "TMPDIR": str(folder)},
    )  # fmt: skip
    end = time.monotonic() + 120
    while len(list(again.iterdir())) < 2 and process.poll() is None and time.monotonic() < end:
        os.sched_yield()
    children = [int(one.name) for one in again.iterdir()]
    assert len(children) == 2
    process.send_signal(sent)
    process.wait(timeout=60)
    assert process.returncode == code
    assert list(folder.iterdir()) == []
    assert everything(house) == before
    deadline = time.monotonic() + 30
    while any(map(_lives, children)) and time.monotonic() < deadline:
        os.sched_yield()
    assert not [child for child in children if _lives(child)]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
