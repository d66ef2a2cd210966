"""K05: a private key that others can read, that is in git, or whose text is on a command line, signs nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from databom.tasks import keyring
from support.house import House

COMMANDS: dict[str, Callable[[House, str], tuple[str | Path, ...]]] = {
    "publish": lambda house, key: (
        *("publish", house.market, "--dataset-id", "hn-pets", "--version", "2", "--license", "CC-BY-4.0"),
        *("--creator", "creator:alice", "--key", key, "-o", house.base / "out.json"),
    ),
    "sign": lambda house, key: ("sign", house.market / "manifest.json", "--key", key),
    "approve": lambda _house, key: (
        *("approve", "pets", "--key", key, "--role", "legal", "--reason", "x", "--expires", "30"),
    ),
    "redact": lambda house, key: ("redact", "pets", "--key", key, "-o", house.base / "redacted"),
    "trust-sign": lambda house, key: ("trust", "sign", house.project / "provenance/trust.json", "--key", key),
    "witness": lambda _house, key: ("log", "witness", "--key", key),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_k05_a_key_that_is_no_secret_signs_nothing(house: House, command: str) -> None:
    house.synced()
    key = house.project / "mine.key"
    house.ok("key", "new", key)
    arguments = COMMANDS[command](house, str(key))
    before = {path: path.read_bytes() for path in house.base.rglob("*") if path.is_file()}
    for mode in (0o644, 0o640, 0o604):
        key.chmod(mode)
        answer = house.cli(*arguments)
        assert (answer.code, "not only its owner's" in answer.err) == (2, True), answer.err
        assert "chmod 600" in answer.err
    key.chmod(0o600)
    subprocess.run(["git", "init", "-q"], cwd=house.project, check=True)
    subprocess.run(["git", "add", "-f", "mine.key"], cwd=house.project, check=True)
    answer = house.cli(*arguments)
    assert (answer.code, "in every clone" in answer.err) == (2, True), answer.err
    answer = house.cli(*COMMANDS[command](house, key.read_text()))
    assert (answer.code, "the text of a private key was given" in answer.err) == (2, True), answer.err
    secret = key.read_text().splitlines()[1]
    assert secret not in answer.out + answer.err
    after = {path: path.read_bytes() for path in before}
    assert after == before


def test_k05_neither_does_the_logs(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = house.pinned()
    for own in (house.project / ".databom/keys/log.pem", house.base / "named.pem"):
        if own.name == "named.pem":
            own.write_bytes((house.project / ".databom/keys/log.pem").read_bytes())
            monkeypatch.setenv("DATABOM_LOG_KEY", str(own))
        own.chmod(0o644)
        answer = house.cli("add", manifest, "--name", f"more-{own.stem}")
        assert answer.code == 0, "the log never changes a command's answer"
        assert "not only its owner's" in caplog.text
        caplog.clear()
        own.chmod(0o600)
    house.ok("log", "verify")


def test_k05_a_new_key_is_its_owners_whatever_the_umask(house: House) -> None:
    import os

    old = os.umask(0)
    try:
        house.ok("key", "new", house.base / "new.key")
        house.ok("init")
    finally:
        os.umask(old)
    made = [house.base / "new.key", *(house.project / ".databom/keys").iterdir()]
    assert {oct(path.stat().st_mode & 0o777) for path in made if path.suffix != ".pub"} == {"0o600"}
    assert (house.project / ".databom").stat().st_mode & 0o777 == 0o700


def test_a_key_is_looked_at_again_when_its_file_changes(house: House) -> None:
    house.ok("key", "new", house.base / "a.key")
    first = keyring.read_private_key(house.base / "a.key")
    assert keyring.read_private_key(house.base / "a.key") is first
    (house.base / "a.key").unlink()
    house.ok("key", "new", house.base / "b.key")
    (house.base / "b.key").rename(house.base / "a.key")
    assert keyring.read_private_key(house.base / "a.key").public.keyid != first.public.keyid


# --- K04 ---------------------------------------------------------------------------------------------------


def test_k04_a_traceback_of_anothers_error_is_redacted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from databom.tasks import checking

    def broken(*_arguments: object, **_named: object) -> None:
        raise ValueError("GET https://user:CANARY@host/x?X-Amz-Signature=CANARY failed; password=CANARY")

    house.synced()
    monkeypatch.setattr(checking, "check", broken)
    answer = house.cli("check")
    assert (answer.code, "internal error" in answer.err, "ValueError" in answer.err) == (3, True, True)
    assert "CANARY" not in answer.err
