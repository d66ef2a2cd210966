"""Bad input gets a clear error and loses nothing; exit codes are the four of the interface."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.house import House, databom


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "command", [["sync"], ["verify", "x"], ["check"], ["add", "./m.json"], ["bom"], ["exec", "--", "true"]]
)
def test_no_project(house: House, command: list[str]) -> None:
    answer = house.cli(*command)
    assert answer.code == 2
    assert "no databom.toml in" in answer.err
    assert "databom init" in answer.err


@pytest.mark.parametrize(
    "command",
    [
        ["sync"],
        ["add", "./m.json"],
        ["update", "x"],
        ["trust", "update", "./m.json"],
    ],
)
@pytest.mark.parametrize("there", [True, False], ids=["a folder", "no folder"])
def test_what_is_no_project_gets_nothing_written(house: House, command: list[str], there: bool) -> None:
    (house.project / "m.json").write_text("{}")
    elsewhere = house.base / "elsewhere"
    if there:
        elsewhere.mkdir()
    answer = house.cli(*command, "--project", elsewhere)
    assert answer.code == 2
    assert f"no databom.toml in {elsewhere}" in answer.err
    assert elsewhere.exists() == there
    assert not there or not list(elsewhere.iterdir())


@pytest.mark.parametrize("command", [["sync"], ["verify"], ["check"], ["bom"], ["exec", "--", "true"]])
def test_no_pins(house: House, command: list[str]) -> None:
    house.init()
    answer = house.cli(*command)
    assert answer.code == 2
    assert "has no pins" in answer.err


@pytest.mark.parametrize(
    "command", [["sync", "cats"], ["verify", "cats"], ["bom", "cats"], ["exec", "cats", "--", "true"]]
)
def test_an_unknown_name(house: House, command: list[str]) -> None:
    house.pinned()
    answer = house.cli(*command)
    assert answer.code == 2
    assert "no pin is called 'cats'; pins are: pets" in answer.err


def test_unreadable_keys(house: House) -> None:
    house.ok("init")
    bad = house.base / "bad.key"
    for data in (b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        bad.write_bytes(data)
        answer = house.cli("key", "id", bad)
        assert answer.code == 2, answer
        assert "AAAA" not in answer.err
    assert house.cli("key", "id", house.base / "none").code == 2
    house.ok("key", "new", house.key)
    before = house.key.read_bytes()
    assert house.cli("key", "new", house.key).code == 2  # never overwritten
    assert house.key.read_bytes() == before
    assert house.key.stat().st_mode & 0o777 == 0o600
    answer = house.cli("trust", "add", house.key, "--marketplace", "m", "--datasets", "*")
    assert answer.code == 2
    assert "private key" in answer.err


@pytest.mark.parametrize(
    ("data", "code", "part"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "manifest.syntax", "HTML"),
        (b"", "manifest.syntax", "empty"),
        (b'{"dataset_id": "hn-x"', "manifest.syntax", ""),
        (b'{"dataset_id": "hn-x"}', "manifest.schema", "version"),
        (b"\xef\xbb\xbf{}", "manifest.syntax", "byte order mark"),
        (b'{"a": 1, "\\u0061": 2}', "manifest.syntax", "repeated"),
        (b"[" * 100_000, "manifest.limit", "32"),
    ],
)
def test_documents_that_are_no_manifests(house: House, data: bytes, code: str, part: str) -> None:
    house.init()
    path = house.base / "m.json"
    path.write_bytes(data)
    before = snapshot(house.project)
    answer = house.json("add", path)
    assert answer.code == 1
    assert code in answer.blocking
    assert part.lower() in answer.out.lower()
    after = snapshot(house.project)
    for files in (before, after):
        files.pop(".databom/project.lock", None)
    assert after == before


def test_a_manifest_that_is_not_there_could_not_be_had(house: House) -> None:
    house.init()
    answer = house.json("add", house.base / "nothing.json")
    assert (answer.code, answer.report["verdict"]) == (3, "unanswered")
    assert answer.codes == {"storage.missing"}


@pytest.mark.parametrize(
    "location",
    [
        "http://x/m.json",
        "file:///etc/m.json",
        "ftp://x/m.json",
        "simplecache::s3://b/m.json",
        "https://u:secret@h/m.json",
    ],
)
def test_other_schemes_are_refused(house: House, location: str) -> None:
    house.init()
    answer = house.cli("add", location)
    assert answer.code == 2
    assert "secret" not in answer.err


def test_configuration_mistakes(house: House) -> None:
    house.pinned()
    toml = house.project / "databom.toml"
    good = toml.read_text()
    toml.write_text(good.replace("payment =", "paymnet ="))
    answer = house.cli("check")
    assert answer.code == 2
    assert "did you mean 'payment'" in answer.err
    toml.write_text("[use]\n")
    assert house.cli("check").code == 2
    toml.write_text(good)
    (house.project / "databom.lock").write_text("<<<<<<< HEAD\n{}\n")
    answer = house.cli("check")
    assert answer.code == 2
    assert "merge conflict" in answer.err


def test_a_trust_root_that_is_none(house: House) -> None:
    house.pinned()
    trust = house.project / "provenance/trust.json"
    trust.write_text("{}")
    assert house.cli("verify", "pets").code == 2
    trust.unlink()
    answer = house.cli("verify", "pets")
    assert answer.code == 2
    assert "nobody is believed" in answer.err


def test_init_twice_changes_nothing(house: House) -> None:
    house.init()
    before = snapshot(house.project)
    answer = house.ok("init")
    assert "project already" in answer.out
    assert snapshot(house.project) == before


def test_usage_errors(house: House) -> None:
    for command in (
        ["nonsense"],
        ["verify", "--nonsense"],
        ["exec", "x"],
        ["exec", "x", "--"],
        ["trust", "add"],
        ["publish"],
    ):
        assert house.cli(*command).code == 2, command
    house.init()
    for command in (
        ["trust", "add", f"{house.key}.pub"],
        ["trust", "add", f"{house.key}.pub", "--marketplace", "m"],
        ["trust", "add", f"{house.key}.pub", "--role", "receipt", "--datasets", "*"],
    ):
        assert house.cli(*command).code == 2, command


def test_a_command_that_does_not_exist(house: House) -> None:
    house.synced()
    answer = house.cli("exec", "--", "no-such-command-here")
    assert answer.code == 2
    assert "command not found" in answer.err


def test_a_name_stands_for_one_dataset(house: House) -> None:
    house.pinned()
    place = house.market / "other"
    place.mkdir()
    (place / "a").write_bytes(b"a")
    house.ok(
        "publish",
        place,
        "--dataset-id",
        "hn-other",
        "--version",
        "1",
        "--license",
        "CC0-1.0",
        "--key",
        house.key,
    )
    answer = house.cli("add", place / "manifest.json", "--name", "pets")
    assert answer.code == 2
    assert "--name" in answer.err


def test_publish_refuses_what_would_not_travel(house: House) -> None:
    house.init()
    place = house.market / "bad"
    place.mkdir(parents=True)
    (place / "CON").write_bytes(b"x")
    answer = house.cli(
        "publish", place, "--dataset-id", "d", "--version", "1", "--license", "MIT", "--key", house.key
    )
    assert answer.code == 2
    assert "CON" in answer.err
    assert not (place / "manifest.json").exists()
    (place / "CON").unlink()
    (place / "link").symlink_to("/etc/passwd")
    assert (
        house.cli(
            "publish", place, "--dataset-id", "d", "--version", "1", "--license", "MIT", "--key", house.key
        ).code
        == 2
    )


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_sync_that_is_stopped_repairs_itself(house: House, sent: signal.Signals, code: int) -> None:
    """Stopped at a random moment; the next sync needs no hand work."""
    house.init()
    files = {f"part/{number:04}.bin": os.urandom(20_000) for number in range(400)}
    house.ok("add", house.release(files), "--name", "pets")
    process = subprocess.Popen(
        [sys.executable, "-m", "databom", "sync", "pets", "-q"],
        cwd=house.project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    partial = house.data / ".databom-partial"
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None and not partial.exists():
        pass
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode in (code, 0)
    for path in house.data.rglob("*.bin"):
        assert path.read_bytes() == files[path.relative_to(house.data).as_posix()]
    assert house.json("sync", "pets").code == 0
    assert house.json("verify", "pets").code == 0
    assert not partial.exists()


def test_a_full_disk_is_could_not_answer(house: House) -> None:
    """The limit on file size stands in for a full disk: writing fails half-way through an asset."""
    house.init()
    house.ok("add", house.release({"big.bin": b"x" * 3_000_000, "small": b"s"}), "--name", "pets")
    done = subprocess.run(
        [
            "bash",
            "-c",
            'trap "" XFSZ; ulimit -f 1024; exec "$0" -m databom sync pets --format json',
            sys.executable,
        ],
        cwd=house.project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert '"storage.' in done.stdout
    assert not (house.data / "big.bin").exists()
    assert house.json("sync", "pets").code == 0


def test_python_dash_m_and_a_shadowed_folder(house: House) -> None:
    """A project root that holds every file databom writes does not shadow the package."""
    house.synced()
    house.ok("bom", "-o", "bom.cdx.json")
    (house.project / "train.py").write_text("import databom; print(databom.verify('pets').verdict)")
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=house.project, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "pass", done.stderr
    assert databom("--version", cwd=house.project).returncode == 0


def test_a_place_where_no_project_can_be_made(house: House) -> None:
    (house.base / "file").touch()
    answer = house.cli("init", "--project", house.base / "file" / "x")
    assert answer.code == 3
    assert "internal error" not in answer.err
    assert f"cannot make the directory {house.base}/file/x: Not a directory" in answer.err


def test_a_folder_where_the_report_should_be(house: House) -> None:
    house.synced()
    report = house.project / "provenance" / "reports" / "pets.json"
    report.unlink()
    report.mkdir()
    answer = house.cli("sync")
    assert answer.code == 3
    assert "internal error" not in answer.err
    assert f"cannot remove {report}: Is a directory" in answer.err
    report.rmdir()
    house.ok("sync")


def test_doctor_says_what_it_cannot_read(house: House) -> None:
    house.pinned()
    lock = house.project / "databom.lock"
    lock.rename(house.base / "lock")
    lock.mkdir()
    answer = house.ok("doctor")
    assert f"WARN  project {' ' * 20} {lock} is a directory, not a file" in answer.out


def test_one_name_said_twice_is_one_subject(house: House) -> None:
    house.pinned()
    assert house.json("sync", "pets", "pets").report["subject"]["name"] == "pets"
    assert "reports" in house.json("sync").report


def test_the_signing_key_is_never_published(house: House) -> None:
    house.init()
    folder = house.market / "v1"
    folder.mkdir(parents=True)
    (folder / "cat.txt").write_bytes(b"a cat")
    inside = folder / "keys" / "market.key"
    house.ok("key", "new", inside)
    link = house.base / "link"
    link.symlink_to(inside)
    for key in (inside, link):
        answer = house.cli(
            *("publish", folder, "--dataset-id", "hn-x", "--version", "1", "--license", "MIT", "--key", key)
        )
        assert answer.code == 2
        assert f"the private key {key} lies in the folder that would be published" in answer.err
        assert not (folder / "manifest.json").exists()
    inside.rename(house.key)
    house.ok(
        "publish", folder, "--dataset-id", "hn-x", "--version", "1", "--license", "MIT", "--key", house.key
    )


@pytest.mark.parametrize("folder", ["data/pets", "data/pets/images", "data"])
def test_two_pins_in_one_folder(house: House, folder: str) -> None:
    house.synced()
    before = snapshot(house.project)
    other = house.release({"images/cat1.jpg": b"another cat\n"}, "--dataset-id", "hn-more", folder="more")
    answer = house.cli("add", other, "--path", folder)
    assert answer.code == 2
    assert f"{folder} overlaps data/pets, the folder of the pin 'pets'" in answer.err
    assert snapshot(house.project) == {**before, ".databom/project.lock": before[".databom/project.lock"]}


@pytest.mark.parametrize("place", ["s3://bucket", "s3://bucket/", "r2://bucket/prefix/"])
def test_a_bucket_is_no_manifest(house: House, place: str) -> None:
    house.init()
    for command in ("add", "verify"):
        answer = house.cli(command, place)
        assert answer.code == 2
        assert "names no object" in answer.err
        assert "name the manifest itself" in answer.err


def test_a_folder_is_no_manifest(house: House) -> None:
    house.init()
    manifest = house.release()
    answer = house.json("add", manifest.parent)
    assert answer.code in (1, 3)
    assert {one["do"] for one in answer.findings if one["severity"] == "block"} == {"name the file itself"}
