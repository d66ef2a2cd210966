"""Several databoms in one project at once, and places that cannot be written: attacks.md G07 to G09, C07 and H11."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

import databom
from databom.errors import InputError
from databom.log.events import Pinned
from databom.tasks.project import Project
from databom.tasks.remembering import remember
from support.house import House
from support.mounts import mounted
from support.receipts import logged

__all__ = ["mounted"]

DIGEST = "sha256:" + "ab" * 32
EVENT = Pinned(
    name="x",
    release="x@1",
    manifest=DIGEST,
    tree=DIGEST,
    source="https://m.example/m",
    keyids=(),
    trust=DIGEST,
)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABOM_LOG_KEY", "DATABOM_RECEIPT_KEY", "RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def run(house: House, *args: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "databom", *map(str, args)]
    return subprocess.Popen(
        command, cwd=house.project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def files(number: int) -> dict[str, bytes]:
    """Half of them the same in every release."""
    return {f"part/{at:03}.bin": b"%d-%d" % (number * (at % 2), at) * 4000 for at in range(120)}


def releases(house: House) -> list[Path]:
    return [
        house.release(files(number), "--sequence", str(number), version=str(number), folder=f"v{number}")
        for number in (1, 2)
    ]


def test_g08_two_versions_into_one_tree(house: House) -> None:
    """Whoever comes second waits; afterwards the tree is of the release that the pin names, all of it."""
    house.init()
    one, two = releases(house)
    house.ok("add", one, "--name", "pets")
    for _ in range(3):
        first, second, third = (
            run(house, "sync", "pets", "-q"),
            run(house, "update", "pets", two, "--allow-rollback", "-q"),
            run(house, "sync", "pets", "-q"),
        )
        said = [process.communicate(timeout=120)[1] for process in (first, second, third)]
        assert [process.returncode for process in (first, second, third)] == [0, 0, 0], said
        house.ok("sync", "pets")
        number = int(json.loads((house.project / "databom.lock").read_text())["pins"]["pets"]["version"])
        assert number == (2 if two.parent.name == "v2" else 1)
        assert {
            p.relative_to(house.data).as_posix(): p.read_bytes() for p in house.data.rglob("*.bin")
        } == files(number)
        one, two = two, one
    house.ok("log", "verify")


def test_g09_verify_while_a_sync_replaces_the_files(house: House) -> None:
    """What passes is a whole generation; a mixture is a no that names files, never an error of ours."""
    house.init()
    one, two = releases(house)
    house.ok("add", one, "--name", "pets")
    house.ok("sync", "pets")
    verdicts = set()
    for manifest in (two, one, two):
        house.ok("update", "pets", manifest, "--allow-rollback")
        syncing = run(house, "sync", "pets", "-q")
        while syncing.poll() is None:
            answer = house.json("verify", "pets", "--full")
            verdicts.add(answer.report["verdict"])
            assert "internal error" not in answer.err
            assert answer.report["subject"]["release"] == f"hn-pets@{manifest.parent.name[1:]}"
            assert {code.partition(".")[0] for code in answer.blocking} <= {"integrity"}
            if answer.report["verdict"] == "pass":
                assert answer.report["summary"]["checked"] == 120
        assert syncing.wait() == 0, syncing.communicate()
        assert house.json("verify", "pets", "--full").report["verdict"] == "pass"
    assert "fail" in verdicts


@pytest.mark.parametrize("mounted", ["bind"], indirect=True)
def test_g07_a_log_that_cannot_be_written(
    mounted: Path, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """The command's answer stands, what is there is read and holds, and afterwards it just goes on."""
    house.init()
    toml = house.project / "databom.toml"
    toml.write_text(toml.read_text().replace('".databom/log"', json.dumps(str(mounted / "log"))))
    house.ok("add", house.release(), "--name", "pets")
    subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
    house.ok("sync", "pets")
    assert "Read-only file system" in caplog.text
    house.ok("log", "verify")
    subprocess.run(["mount", "-o", "remount,bind,rw", mounted], check=True)
    house.ok("sync", "pets")
    assert [one["kind"] for one in house.json("log", "show").report] == ["pinned", "verified"]


# --- C07: a receipt of another run -----------------------------------------------------------------------------


def test_c07_a_receipt_belongs_to_its_run_and_its_data(house: House) -> None:
    """Copied into another run it is refused, also where that one has none; logged again it stays that of the first."""
    house.synced()
    for name in ("first", "second"):
        with databom.training(name) as run_:
            Path(f"{name}.bin").write_bytes(name.encode())
            run_.produced(f"{name}.bin")
            run_.params["of"] = name
        if name == "first":
            first = run_
    assert first.receipt is not None
    assert run_.receipt is not None
    stolen = first.receipt.read_bytes()
    for path in run_.receipt.parent.iterdir():
        if path.name.startswith("receipt"):
            shutil.copy(first.receipt.parent / path.name, path)
    own = next(raw for raw in logged(house.project) if raw != stolen)
    answer = house.json("explain", run_.id)
    assert (answer.code, answer.report["run"]) == (0, f"databom:{run_.id}")
    assert answer.report["receipt"] != databom_digest(stolen)
    assert answer.report["receipt"] == databom_digest(own)
    # Without its own in the log, the copy is no receipt of this run.
    shutil.rmtree(house.project / ".databom" / "log")
    shutil.rmtree(house.project / ".databom" / "checkpoints")
    (house.project / "provenance" / "checkpoint").unlink()
    answer = house.cli("explain", run_.id, "--format", "json")
    assert databom_digest(stolen) not in answer.out
    # Put into the log a second time, it still speaks for the run it was made for, and the log shows it twice.
    from databom.tasks.remembering import remember_entries

    remember_entries(Project.load(house.project), [stolen, stolen])
    answer = house.cli("explain", run_.id, "--format", "json")
    assert databom_digest(stolen) not in answer.out
    assert house.json("explain", first.id).report["receipt"] == databom_digest(stolen)
    assert [one["digest"] for one in house.json("log", "show").report] == [databom_digest(stolen)] * 2


def databom_digest(raw: bytes) -> str:
    from databom.model.digest import sha256

    return sha256(raw)


# --- H11: the log's key ----------------------------------------------------------------------------------------


def test_h11_the_logs_key_is_rotated(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new key signs the same history while both may; then the old one's time is over."""
    house.synced()
    house.ok("key", "new", house.base / "new.pem")
    monkeypatch.setenv("DATABOM_LOG_KEY", str(house.base / "new.pem"))
    assert house.cli("log", "verify").code == 0
    remember_refused(house, "role `log`")
    house.ok("trust", "add", house.base / "new.pem.pub", "--role", "log")
    remember(Project.load(house.project), EVENT)
    path = house.project / "provenance" / "trust.json"
    trust = json.loads(path.read_text())
    old = next(keyid for keyid in trust["roles"]["log"]["keyids"] if trust["keys"][keyid].get("development"))
    trust["keys"][old]["valid_until"] = "2026-01-01T00:00:00Z"
    path.write_text(json.dumps(trust))
    remember(Project.load(house.project), EVENT)
    assert house.json("log", "verify").report["log"]["size"] == 4
    monkeypatch.delenv("DATABOM_LOG_KEY")
    remember_refused(house, "outside its validity")
    assert house.json("log", "verify").report["log"]["size"] == 4


def remember_refused(house: House, why: str) -> None:
    from databom.errors import ConfigError

    with pytest.raises(ConfigError, match=why):
        remember(Project.load(house.project), EVENT)


def test_h11_a_second_writer_with_the_same_key_is_found(house: House) -> None:
    """Two hosts, one key, one origin, a log each: git brings the one's checkpoint to the other."""
    house.pinned()
    other = shutil.copytree(house.project, house.base / "other")
    remember(Project.load(house.project), EVENT)
    remember(Project.load(other), replace(EVENT, name="y"))
    for place, elsewhere in ((house.project, other), (other, house.project)):
        house.ok("log", "verify", "--project", place)
        theirs = (elsewhere / "provenance" / "checkpoint").read_bytes()
        (house.base / "theirs").write_bytes(theirs)
        answer = house.json("log", "verify", "--checkpoint", house.base / "theirs", "--project", place)
        assert (answer.code, answer.blocking) == (1, {"log.forked"})
    (other / "provenance" / "checkpoint").write_bytes(
        (house.project / "provenance" / "checkpoint").read_bytes()
    )
    for answer in (house.json("log", "verify", "--project", other), house.json("check", "--project", other)):
        assert (answer.code, "log.forked" in answer.blocking) == (1, True)
    with pytest.raises(InputError, match=r"log\.forked"):
        remember(Project.load(other), EVENT)
