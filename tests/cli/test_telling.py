"""Who is told of an incident, and that being told changes nothing."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from databom.errors import ConfigError
from databom.tasks import telling
from databom.tasks.user_config import user_config
from support import faultproxy as faults
from support.faultproxy import FaultProxy, RawServer, black_hole
from support.fixtures_r2 import Web
from support.house import House, databom

CAT = "images/cat1.jpg"
CANARY = "T0CANARY/B0CANARY/s3cr3t"


def configure(house: House, text: str) -> Path:
    path = house.base / "config/databom/config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text(text)
    path.chmod(0o644)
    return path


def program(house: House, body: str) -> Path:
    path = house.base / "hook"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def command(*parts: str | Path) -> str:
    return f"[incidents]\ncommand = {json.dumps([str(part) for part in parts])}\n"


def mismatch(house: House) -> tuple[int, str]:
    """What `sync` says of a changed file, without what differs every time."""
    (house.data / CAT).write_bytes(b"a bat\n")
    answer = house.cli("sync", "pets", "--format", "json")
    findings = [(one["code"], one["subject"], one["expected"]) for one in answer.findings]
    return answer.code, f"{answer.report['verdict']} {findings}"


def warnings(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)


def test_a_program_is_told_on_its_standard_input(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.synced()
    got = house.base / "got.json"
    # Arguments are arguments: no shell looks at them.
    hook = program(house, f'cat > {got}; echo "$1" > {got}.arg; pwd > {got}.cwd; echo noise; echo noise >&2')
    configure(house, command(hook, "; touch /tmp/x $(id)"))
    assert mismatch(house)[0] == 1
    notice = json.loads(got.read_text())
    assert (notice["event"], notice["count"]) == ("incident-opened", 1)
    assert notice["project"] == house.project.name
    assert notice["machine"] == socket.gethostname()
    (incident,) = notice["incidents"]
    assert (incident["path"], incident["name"], incident["state"]) == (CAT, "pets", "open")
    assert CAT in notice["text"]
    assert Path(f"{got}.arg").read_text() == "; touch /tmp/x $(id)\n"
    assert Path(f"{got}.cwd").read_text() == "/\n"
    assert warnings(caplog) == ""

    house.ok("sync", "pets", "--refetch")
    house.ok("incident", "close", incident["incident"], "--reason", "an editor")
    notice = json.loads(got.read_text())
    assert notice["event"] == "incident-closed"
    assert notice["incidents"][0]["reason"] == "an editor"


def test_many_at_once_are_one_notice(house: House) -> None:
    files = {f"{number:03}.txt": b"%d\n" % number for number in range(130)}
    house.init()
    house.ok("add", house.release(files), "--name", "pets")
    house.ok("sync")
    got = house.base / "got"
    configure(house, command(program(house, f"cat >> {got}")))
    for path in house.data.iterdir():
        path.write_bytes(b"x")
    assert house.cli("sync").code == 1
    (line,) = got.read_text().splitlines()
    notice = json.loads(line)
    assert (notice["count"], len(notice["incidents"])) == (130, 100)
    assert "130 assets of pets" in notice["text"]


def test_a_hook_may_ask_the_project(house: House) -> None:
    import sys

    house.synced()
    got = house.base / "got"
    hook = program(house, f"{sys.executable} -m databom sync pets --project {house.project} -q > {got} 2>&1")
    configure(house, command(hook))
    assert mismatch(house)[0] == 1
    assert "did not match on" in got.read_text()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 3", "answered 3"),
        ("kill -9 $$", "answered -9"),
        ("sleep 600 & sleep 600", "ended"),
        ("exec 0<&-; exit 0", ""),
        (None, "cannot be run"),
    ],
)
def test_a_hook_changes_nothing(
    house: House,
    body: str | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house.synced()
    without = mismatch(house)
    house.ok("sync", "--refetch")
    monkeypatch.setattr(telling, "SECONDS", 1.0 if body and "600" in body else 30.0)
    configure(house, command(program(house, body) if body else house.base / "nothing"))
    assert mismatch(house) == without
    told = warnings(caplog)
    assert said in told
    assert bool(told) == bool(said)


def test_the_warning_is_on_stderr(house: House) -> None:
    house.synced()
    configure(house, command("/bin/false"))
    (house.data / CAT).write_bytes(b"a bat\n")
    done = databom("sync", "pets", "--format", "json", cwd=house.project)
    assert done.returncode == 1
    assert json.loads(done.stdout)["verdict"] == "fail"
    assert "the team was not told of an incident: the command false answered 1" in done.stderr
    assert done.stderr.strip().splitlines()[-1].endswith("fail")


def test_a_repository_names_no_program(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """K, L: what a clone brings along is never run."""
    house.synced()
    ran = house.base / "ran"
    hook = program(house, f"touch {ran}")
    policy = house.project / "databom.toml"
    text = policy.read_text()
    policy.write_text(f"{text}\n{command(hook)}")
    assert house.cli("sync").code == 2
    policy.write_text(text)
    for name in ("config.toml", "databom/config.toml", ".config/databom/config.toml"):
        (house.project / name).parent.mkdir(parents=True, exist_ok=True)
        (house.project / name).write_text(command(hook))
    monkeypatch.setenv("XDG_CONFIG_HOME", ".")  # relative: as if it were not set
    monkeypatch.setenv("HOME", str(house.base / "home"))
    assert mismatch(house)[0] == 1
    monkeypatch.setenv("DATABOM_CONFIG", "config.toml")
    house.ok("sync", "--refetch")
    assert mismatch(house)[0] == 1
    assert not ran.exists()


def test_the_variable_names_another_file(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.synced()
    got = house.base / "got"
    other = house.base / "other.toml"
    other.write_text(command(program(house, f"cat > {got}")))
    other.chmod(0o600)
    monkeypatch.setenv("DATABOM_CONFIG", str(other))
    assert mismatch(house)[0] == 1
    assert got.exists()
    assert "of incidents it tells" in house.cli("doctor").out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[incident]\n", "did you mean 'incidents'?"),
        ("[incidents]\ncomand = []\n", "did you mean 'command'?"),
        ("incidents = 7\n", "must be a table"),
        ("[incidents]\ncommand = 'rm -rf /'\n", "must be a list of strings"),
        ("[incidents]\ncommand = ['']\n", "names no program"),
        ("[incidents]\ncommand = ['./hook']\n", "absolute path"),
        ("[incidents]\ncommand = ['../hook']\n", "absolute path"),
        (f"[incidents]\nwebhook = 'http://example.org/{CANARY}'\n", "must be an https:// address"),
        (f"[incidents]\nwebhook = 'https://me:pw@example.org/{CANARY}'\n", "must be an https:// address"),
        (f"[incidents]\nwebhook = 'https://exa mple/{CANARY}'\n", "must be an https:// address"),
        (f"[incidents]\nwebhook = 'https://[/{CANARY}'\n", "must be an https:// address"),
        ("[incidents\n", "is not TOML"),
        ("x" * 70_000, "too long"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told_and_changes_nothing(
    house: House, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    house.synced()
    without = mismatch(house)
    house.ok("sync", "--refetch")
    configure(house, text)
    assert mismatch(house) == without
    assert said in warnings(caplog)
    doctor = house.ok("doctor").out
    assert said in doctor
    assert CANARY not in warnings(caplog) + doctor


@pytest.mark.parametrize("loose", ["file", "folder", "target", "owner"])
def test_only_what_nobody_else_can_write_is_followed(house: House, loose: str) -> None:
    path = configure(house, command("/bin/true"))
    assert user_config().command == ("/bin/true",)
    if loose == "file":
        path.chmod(0o664)
    elif loose == "folder":
        path.parent.chmod(0o777)
    elif loose == "owner":
        if os.getuid() != 0:
            pytest.skip("needs root to give a file away")
        os.chown(path, 12345, 12345)
    else:
        real = house.base / "open" / "real.toml"
        real.parent.mkdir()
        path.rename(real)
        path.symlink_to(real)
        assert user_config().command == ("/bin/true",)  # a link of the user's own is followed
        real.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="is not followed"):
        user_config()


def test_a_configuration_that_is_no_file(house: House) -> None:
    path = configure(house, "")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        user_config()
    path.unlink()
    assert user_config().path is None


# --- the webhook -------------------------------------------------------------------------------------


def webhook(house: House, url: str) -> None:
    configure(house, f"[incidents]\nwebhook = {json.dumps(url)}\n")


def posted(proxy: FaultProxy) -> dict[str, Any]:
    (request,) = proxy.requests
    assert request.method == "POST"
    assert request.header("Content-Type") == "application/json"
    value: dict[str, Any] = json.loads(request.body)
    return value


def test_an_address_is_told(house: House, web: Web, caplog: pytest.LogCaptureFixture) -> None:
    house.synced()
    web.put(f"/services/{CANARY}", b"ok")
    webhook(house, f"{web.proxy.url}/services/{CANARY}?token={CANARY}")
    assert mismatch(house)[0] == 1
    notice = posted(web.proxy)
    assert web.proxy.requests[0].path == f"/services/{CANARY}"
    assert notice["incidents"][0]["path"] == CAT
    assert notice["text"].startswith("databom: ")
    assert warnings(caplog) == ""
    assert CANARY not in house.ok("doctor").out


def test_an_address_that_fails_is_a_warning_without_its_secret(
    house: House, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    house.synced()
    without = mismatch(house)
    for fault in (
        faults.status(500, CANARY.encode()),
        faults.hang_up,
        faults.redirect(f"{web.proxy.url}/other/{CANARY}"),
        faults.redirect("http://127.0.0.1:9/evil", 302),
    ):
        house.ok("sync", "--refetch")
        web.proxy.clear()
        web.proxy.requests.clear()
        web.proxy.rule("/services", fault)
        webhook(house, f"{web.proxy.url}/services/{CANARY}")
        caplog.clear()
        assert mismatch(house) == without
        assert len(web.proxy.requests) == 1  # not tried again, nothing followed
        told = warnings(caplog)
        assert "the webhook at" in told
        assert "CANARY" not in told


def test_an_address_that_says_nothing_is_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.synced()
    monkeypatch.setattr(telling, "SECONDS", 0.5)
    with RawServer(black_hole) as server:
        webhook(house, f"https://127.0.0.1:{server.port}/{CANARY}")
        assert mismatch(house)[0] == 1
    assert "no answer within" in warnings(caplog)
    assert "CANARY" not in warnings(caplog)


def test_a_certificate_nobody_vouches_for_gets_nothing(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    from support.tls import Authority

    house.synced()
    folder = house.base / "unknown"
    folder.mkdir()
    with FaultProxy(faults.static({}), tls=Authority(folder).context()) as proxy:
        webhook(house, f"{proxy.url}/{CANARY}")
        assert mismatch(house)[0] == 1
        assert proxy.requests == []
    assert "no trustworthy TLS connection" in warnings(caplog)


def test_both_are_told(house: House, web: Web) -> None:
    house.synced()
    got = house.base / "got"
    web.put("/hook", b"")
    hook = program(house, f"cat > {got}")
    path = configure(house, f"{command(hook)}webhook = {json.dumps(web.proxy.url + '/hook')}\n")
    assert path.stat().st_mode & stat.S_IWOTH == 0
    assert mismatch(house)[0] == 1
    assert json.loads(got.read_text()) == posted(web.proxy)
