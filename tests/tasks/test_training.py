"""`databom.training`: one receipt for each run, however the run ends, whoever else runs, whatever is away."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import databom
from databom.errors import CheckFailed, ConfigError
from databom.model.digest import sha256
from databom.tasks import verify_receipt
from support.house import House
from support.house import databom as command
from support.receipts import (
    dependencies_of,
    every_file,
    internal_of,
    left_in,
    logged,
    statement_of,
    subjects_of,
)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no rank of whoever runs the tests."""
    for name in [
        name for name in os.environ if name.startswith(("DATABOM_", "SLURM_")) or name.endswith("RANK")
    ]:
        if name != "DATABOM_CACHE":
            monkeypatch.delenv(name)


def blocks(findings: Any) -> list[str]:
    return [one.code for one in findings if one.severity == "block"]


def the_receipt(run: Any, project: Path) -> bytes:
    """The run's receipt, which holds, and is in the log once."""
    assert run.receipt is not None
    raw: bytes = run.receipt.read_bytes()
    assert blocks(verify_receipt(raw, project=project)) == []
    assert logged(project).count(raw) == 1
    assert left_in(project, "open") == left_in(project, "pending") == []
    return raw


def test_a_training_leaves_a_receipt(house: House) -> None:
    house.synced()
    Path("params.yaml").write_text("depth: 3\n")
    with databom.training("pets") as run:
        with databom.open("pets", "images/cat1.jpg") as file:
            file.read()
        run.config("params.yaml")
        run.params["depth"] = 3
        Path("model.bin").write_bytes(b"weights")
        run.produced("model.bin")
        run.metrics["accuracy"] = 0.5
    raw = the_receipt(run, house.project)
    assert run.verdict == "pass"
    statement = statement_of(raw)
    assert statement["subject"] == [{"name": "model.bin", "digest": {"sha256": sha256(b"weights")[7:]}}]
    internal = internal_of(raw)
    assert (internal["status"], internal["verdict"], internal["developmentKey"]) == (
        "completed",
        "pass",
        True,
    )
    assert statement["predicate"]["runDetails"]["metadata"]["invocationId"] == f"databom:{run.id}"
    assert statement["predicate"]["buildDefinition"]["externalParameters"]["name"] == "pets"
    found = dependencies_of(raw)
    pin = json.loads(Path("databom.lock").read_text())["pins"]["pets"]
    assert found["pets"]["uri"] == "dataset:hn-pets@1"
    assert found["pets"]["digest"] == {"sha256": pin["manifest"][7:], "dirHash1": pin["tree"][7:]}
    notes = found["pets"]["annotations"]
    assert (notes["use"], notes["license"], notes["payment"]) == ("read", "CC-BY-4.0", "none")
    assert re.fullmatch(r"2\d{3}-.*Z", notes["fetchedAt"])
    report = Path("provenance/reports/pets.json").read_bytes()
    assert notes["decisionReport"] == sha256(report)
    assert found["config/params.yaml"]["digest"]["sha256"] == sha256(b"depth: 3\n")[7:]
    assert found["trust"]["digest"]["sha256"] == sha256(Path("provenance/trust.json").read_bytes())[7:]
    assert found["policy"]["digest"]["sha256"] == json.loads(report)["policy"][7:]
    # What the receipt names by digest lies beside it.
    beside = run.receipt.parent
    frozen = (beside / "environment.txt").read_bytes()
    assert found["environment"]["digest"]["sha256"] == sha256(frozen)[7:]
    assert b"cryptography==" in frozen
    products = {
        one["name"]: one["digest"]["sha256"] for one in statement["predicate"]["runDetails"]["byproducts"]
    }
    assert products["report.json"] == sha256((beside / "report.json").read_bytes())[7:]
    assert products[f"run/{run.id}.json"] == sha256((beside / "run.json").read_bytes())[7:]
    record = json.loads((beside / "run.json").read_bytes())
    assert (record["params"], record["metrics"]) == ({"depth": "3"}, {"accuracy": 0.5})
    assert (beside / "receipt.tlog-proof").read_text().startswith("c2sp.org/tlog-proof@v1\n")


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        (ValueError("broke"), "failed"),
        (SystemExit(2), "failed"),
        (SystemExit(0), "completed"),
        (KeyboardInterrupt(), "aborted"),
    ],
    ids=["exception", "exit 2", "exit 0", "ctrl-c"],
)
def test_however_it_ends(house: House, leave: BaseException, status: str) -> None:
    house.synced()
    with pytest.raises(type(leave)), databom.training("pets") as run:
        raise leave
    raw = the_receipt(run, house.project)
    assert internal_of(raw)["status"] == status
    assert list(subjects_of(raw)) == [f"run/{run.id}.json"]


def test_a_failed_verification_is_said(house: House) -> None:
    """I04: no word of a pass, before or after."""
    house.synced()
    (house.data / "images/cat1.jpg").write_bytes(b"another cat\n")
    with databom.training("pets") as run:
        pass
    assert run.verdict == internal_of(the_receipt(run, house.project))["verdict"] == "fail"
    assert b'"verdict":"pass"' not in every_file(house.project)


def test_enforce_refuses_before_anything_is_written(house: House) -> None:
    house.synced()
    (house.data / "images/cat1.jpg").unlink()
    with pytest.raises(CheckFailed), databom.training("pets", enforce=True):
        raise AssertionError("entered")
    assert not (house.project / ".databom/receipts").exists()


def test_a_project_without_pins_has_no_receipts(house: House) -> None:
    house.ok("init")
    with pytest.raises(ConfigError, match="no pins"), databom.training("x"):
        pass
    house.synced()
    for name in ("", "a\nb", "x" * 300):
        with pytest.raises(ConfigError, match="training"), databom.training(name):
            pass


def test_a_model_folder_is_one_subject_and_its_files(house: House) -> None:
    import zipfile

    house.synced()
    made = []
    for number in (1, 2):
        folder = Path(f"model{number}")
        folder.mkdir()
        (folder / "MLmodel").write_text(f"run_id: {number}\n")
        with zipfile.ZipFile(folder / "weights.zip", "w", compresslevel=number) as archive:
            archive.writestr(zipfile.ZipInfo("w", (2020 + number, 1, 1, 0, 0, 0)), b"weights")
        with databom.training("pets") as run:
            run.produced(folder)
        made.append(subjects_of(the_receipt(run, house.project)))
    first, second = made[0]["model1"], made[1]["model2"]
    assert set(made[0]) == {"model1", "model1/MLmodel", "model1/weights.zip"}
    assert first["digest"]["dirHash1"] != second["digest"]["dirHash1"]
    assert first["annotations"]["weights"] == second["annotations"]["weights"]
    done = subprocess.run(
        "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum",
        shell=True, cwd="model1", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[0] == first["digest"]["dirHash1"]


def test_what_is_not_there_cannot_be_named(house: House) -> None:
    house.synced()
    with databom.training("pets") as run:
        for say in (run.produced, run.config):
            with pytest.raises(ConfigError, match="gone"):
                say("gone.bin")
        os.mkfifo("pipe")
        with pytest.raises(ConfigError):
            run.produced("pipe")
    assert run.receipt is not None


# --- processes --------------------------------------------------------------------------------------------


def test_runs_in_one_process_have_one_receipt_each(house: House) -> None:
    house.synced()
    runs = []
    for _ in range(2):
        with databom.training("pets") as outer, databom.training("pets, nested") as inner:
            pass
        runs += [outer, inner]
    assert len({one.receipt for one in runs}) == 4
    assert len(logged(house.project)) == 4
    with pytest.raises(ConfigError, match="entered once"), outer:
        pass


@pytest.mark.parametrize(
    ("environ", "writes"),
    [
        ({"RANK": "0"}, True),
        ({"RANK": "1"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"SLURM_PROCID": "3"}, False),
        ({"PMI_RANK": "1"}, False),
        ({"HOROVOD_RANK": "2"}, False),
        ({"RANK": "0", "LOCAL_RANK": "1", "SLURM_PROCID": "3"}, True),
        ({"RANK": ""}, True),
    ],
)
def test_only_the_first_rank_writes(
    house: House, environ: dict[str, str], writes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.synced()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with databom.training("pets") as run:
        Path("m").write_bytes(b"")
        run.produced("m")
    assert (run.receipt is not None) == writes
    assert len(logged(house.project)) == writes


def test_a_forked_child_never_writes(house: House) -> None:
    house.synced()
    with databom.training("pets") as run:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                run.__exit__(None, None, None)
            os._exit(0)
        os.waitpid(child, 0)
        assert len(left_in(house.project, "open")) == 1
    the_receipt(run, house.project)
    assert len(logged(house.project)) == 1


KILLED = """\
import databom, os, signal, sys
with databom.training("pets") as run:
    run.params["a"] = 1
    print(run.id, flush=True)
    if len(sys.argv) > 1:
        os.fork()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(house: House, *arguments: str) -> str:
    done = subprocess.run(  # noqa: PLW1510  # it is killed
        [sys.executable, "-c", KILLED, *arguments],
        cwd=house.project,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()[0]


def test_a_killed_run_is_closed_as_aborted_by_the_next(house: House) -> None:
    """I05, H08."""
    house.synced()
    ids = {killed(house), killed(house, "forks")}
    assert len(left_in(house.project, "open")) == 2
    assert logged(house.project) == []
    answer = house.json("log", "flush")
    assert (answer.code, answer.report["aborted"], answer.report["logged"]) == (0, 2, 2)
    receipts = logged(house.project)
    assert {internal_of(one)["status"] for one in receipts} == {"aborted"}
    named = {statement_of(one)["predicate"]["runDetails"]["metadata"]["invocationId"] for one in receipts}
    assert named == {f"databom:{one}" for one in ids}
    assert all(blocks(verify_receipt(one, project=house.project)) == [] for one in receipts)
    assert dependencies_of(receipts[0])["pets"]["annotations"]["use"] == "present"
    assert left_in(house.project, "open") == left_in(house.project, "pending") == []
    assert house.json("log", "flush").report["logged"] == 0
    assert len(logged(house.project)) == 2


def test_a_run_that_still_runs_is_left_alone(house: House) -> None:
    house.synced()
    code = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "sys.stdin.read()")
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=house.project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert house.json("log", "flush").report["aborted"] == 0
    process.communicate("", timeout=60)
    assert process.returncode == 0
    (receipt,) = logged(house.project)
    assert internal_of(receipt)["status"] == "completed"


CRASH = """\
import os, signal, sys
step = sys.argv[1]
from databom.tasks import intents, receipts, receipt_ledger as ledger
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
if step == "close": receipts.close = die
if step == "closed":
    settle = receipts.settle
    receipts.settle = lambda *a, only=None, **k: die() if only else settle(*a, **k)
if step == "sign": receipts._signed = die
if step == "log": ledger._add = die
if step == "logged":
    real = ledger._add
    def add(*a, **k): real(*a, **k); die()
    ledger._add = add
if step == "proved": receipts._files = die
import databom
with databom.training("pets"): pass
"""


@pytest.mark.parametrize("step", ["close", "closed", "sign", "log", "logged", "proved"])
def test_killed_at_any_step_it_is_finished_once(house: House, step: str) -> None:
    """H08: between intent, closing, signature, log and the end."""
    house.synced()
    done = subprocess.run([sys.executable, "-c", CRASH, step], cwd=house.project, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    for _ in range(2):
        assert house.json("log", "flush").code == 0
    (receipt,) = logged(house.project)
    assert internal_of(receipt)["status"] == ("aborted" if step == "close" else "completed")
    assert left_in(house.project, "open") == left_in(house.project, "pending") == []


def test_processes_side_by_side(house: House) -> None:
    house.synced()
    code = "import databom\nwith databom.training('pets'): pass\n"
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=house.project) for _ in range(4)]
    assert [one.wait(120) for one in processes] == [0] * 4
    assert house.json("log", "flush").code == 0
    receipts = logged(house.project)
    assert len(receipts) == len(set(receipts)) == 4
    assert {internal_of(one)["status"] for one in receipts} == {"completed"}


# --- what is away ------------------------------------------------------------------------------------------


def test_a_log_that_is_away_gets_the_receipt_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.synced()
    key = house.project / ".databom/keys/log.pem"
    key.rename(house.base / "log.pem")
    with databom.training("pets") as run:
        pass
    assert run.receipt is not None, "it is signed"
    assert "databom log flush" in caplog.text
    answer = house.json("log", "flush")
    assert (answer.code, answer.report["logged"]) == (3, 0)
    assert "key" in answer.report["waiting"][0]
    (house.base / "log.pem").rename(key)
    assert house.json("log", "flush").code == 0
    the_receipt(run, house.project)


def test_a_key_that_is_away_signs_later(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.synced()
    key = house.project / ".databom/keys/receipt.pem"
    key.rename(house.base / "receipt.pem")
    with databom.training("pets") as run:
        pass
    assert run.receipt is None
    assert "no key signs" in caplog.text
    assert logged(house.project) == []
    assert house.json("log", "flush").code == 3
    (house.base / "receipt.pem").rename(key)
    assert house.json("log", "flush").code == 0
    (receipt,) = logged(house.project)
    assert internal_of(receipt)["status"] == "completed"


def test_files_of_another_machine_or_hand_are_left_alone(house: House) -> None:
    house.synced()
    ident = killed(house)
    (path,) = left_in(house.project, "open")
    honest = json.loads(path.read_text())
    for forged in (
        {"machine": "0" * 32},
        {"version": 2},
        {"pins": {"pets": {"release": "x", "evil": "y"}}},
        {"id": "../../evil"},
        {"owner": "../x"},
        {"run": 3},
    ):
        path.write_text(json.dumps({**honest, **forged}))
        assert house.json("log", "flush").report["aborted"] == 0
        assert path.exists()
    path.write_text(json.dumps(honest))
    assert house.json("log", "flush").report["aborted"] == 1
    assert (
        ident in statement_of(logged(house.project)[0])["predicate"]["runDetails"]["metadata"]["invocationId"]
    )


def test_a_disk_that_is_full_hurts_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from databom.tasks import receipts

    house.synced()
    monkeypatch.setattr(receipts, "MAX_PENDING", 0)
    with databom.training("pets") as run:
        pass
    assert run.receipt is None
    assert "could not be written" in caplog.text


# --- code and environment -----------------------------------------------------------------------------------


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def code_now(house: House) -> dict[str, Any]:
    from databom.tasks import surroundings

    surroundings._code.clear()
    with databom.training("pets") as run:
        pass
    return dependencies_of(the_receipt(run, house.project))["code"]


def test_the_code_is_a_commit_and_what_differs_from_it(house: House) -> None:
    house.synced()
    git("init", "-q")
    git("remote", "add", "origin", "https://alice:hunter2@git.example/team/pets.git?token=x")
    Path("train.py").write_text("print(1)\n")
    git("add", "train.py", "databom.toml", "databom.lock", ".gitignore", "provenance")
    git("commit", "-qm", "x")
    clean = code_now(house)
    assert clean["digest"] == {"gitCommit": git("rev-parse", "HEAD")}
    assert clean["uri"] == "git+https://git.example/team/pets.git"
    assert clean["annotations"] == {"dirty": False}
    Path("train.py").write_text("print(2)\n")
    changed = code_now(house)
    assert changed["annotations"]["dirty"] is True
    line = f"{sha256(b'print(2)' + bytes([10]))[7:]}  train.py\n"
    assert changed["annotations"]["diff"] == sha256(line.encode())
    Path("new.py").write_text("")
    assert code_now(house)["annotations"]["changed"] == 2
    Path("new.py").unlink()
    Path("train.py").unlink()
    assert code_now(house)["annotations"]["diff"] == sha256(b"gone  train.py\n")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host/x.git", "https://host/x.git"),
        ("https://host/x.git?sig=abc#f", "https://host/x.git"),
        ("git@host:team/x.git", "ssh://host/team/x.git"),
        ("ssh://git@host:22/x.git", "ssh://host:22/x.git"),
        ("/home/alice/x", None),
        ("../x", None),
        ("file:///home/alice/x", None),
        ("https://", None),
    ],
)
def test_a_remote_tells_no_secret(url: str, shown: str | None) -> None:
    from databom.hosts.git import shown_remote

    assert shown_remote(url) == shown


TRAIN = """\
import databom
with databom.training("pets") as run:
    run.params["token"] = "CANARY-param"
    open("/tmp/CANARY-model", "wb").close()
    run.produced("/tmp/CANARY-model")
print(run.receipt)
"""


def test_no_secret_and_no_place_is_in_a_receipt(house: House) -> None:
    """K06: queries, tokens, credentials of a remote, user, absolute paths."""
    house.synced()
    git("init", "-q")
    git("remote", "add", "origin", "https://CANARY-user:CANARY-pass@git.example/x.git?CANARY-query=1")
    Path("train.py").write_text(TRAIN)
    git("add", "train.py")
    git("commit", "-qm", "x")
    secret = [
        "--token",
        "CANARY-1",
        "--api-key=CANARY-2",
        "--url",
        "https://h/x?CANARY=3",
        "/home/CANARY-4/x",
    ]
    done = subprocess.run(
        [sys.executable, str(house.project / "train.py"), "--depth", "3", *secret,
         "--data", str(house.project / "data/pets")],
        cwd=house.base, capture_output=True, text=True, check=True,
        env={**os.environ, "DATABOM_PROJECT": str(house.project), "DATABOM_TOKEN_PETS": "CANARY-5",
             "HOME": "/home/CANARY-home", "USER": "CANARY-name"},
    )  # fmt: skip
    receipt = Path(done.stdout.strip())
    raw = receipt.read_bytes()
    text = json.dumps(statement_of(raw))
    assert "CANARY" not in text.replace("CANARY-model", ""), text
    for word in ("/tmp", str(house.base), "/home", os.path.expanduser("~") + "/"):
        assert word not in text, word
    parameters = statement_of(raw)["predicate"]["buildDefinition"]["externalParameters"]
    hidden = "[hidden]"
    assert parameters["command"] == [
        *("python", "train.py", "--depth", "3", "--token", hidden, f"--api-key={hidden}"),
        *("--url", f"https://h/x?{hidden}", hidden, "--data", "data/pets"),
    ]
    assert parameters["complete"] is False
    assert b"CANARY" not in (receipt.parent / "environment.txt").read_bytes()


def test_a_flush_needs_a_project(tmp_path: Path) -> None:
    assert command("log", "flush", cwd=tmp_path).returncode == 2


def test_nothing_to_flush(house: House) -> None:
    house.synced()
    answer = house.ok("log", "flush")
    assert "0 signed and logged" in answer.out
