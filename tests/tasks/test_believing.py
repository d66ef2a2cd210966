"""Which trust root is in force, and when its file is not to be relied on (B16, L01, L02)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databom.errors import ConfigError
from databom.model.digest import sha256
from databom.model.lock import SeenRoot
from databom.tasks import Project, init, new_key, trust_add
from databom.tasks.believing import Believed, load_trust
from databom.tasks.rootfile import digests_in_force

HERE = "provenance/trust.json"


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """These tests are about modes, so whoever runs them has no say in those."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A project whose root trusts one marketplace."""
    folder = tmp_path / "team"
    init(folder)
    new_key(tmp_path / "market.key")
    trust_add(tmp_path / "market.key.pub", marketplace="m", datasets=["*"], project=folder)
    return folder


@pytest.fixture
def other(tmp_path: Path, team: Path) -> Path:
    """Another trust root, outside the project: the same keys in another spelling."""
    folder = tmp_path / "elsewhere"
    folder.mkdir(mode=0o755)
    path = folder / "trust.json"
    path.write_text(json.dumps(json.loads((team / HERE).read_text())))
    return path


def look(
    team: Path | None, trust: Path | None = None, digest: str | None = None, **environ: str | Path
) -> Believed:
    return load_trust(
        Project.load(team) if team else None,
        trust,
        digest,
        environ={"XDG_CONFIG_HOME": "/nowhere", **{key: str(value) for key, value in environ.items()}},
    )


def said(believed: Believed) -> list[tuple[str, str]]:
    return [(one.code, one.severity.value) for one in believed.findings]


# --- which one --------------------------------------------------------------------------------------


def test_the_repositorys_own_is_in_force_and_needs_no_words(team: Path) -> None:
    found = look(team)
    assert found.digest == sha256((team / HERE).read_bytes())
    assert (found.findings, found.also) == ((), None)


def test_the_option_comes_before_the_variable_and_the_variable_before_the_repository(
    team: Path, other: Path
) -> None:
    third = other.with_name("third.json")
    third.write_bytes(other.read_bytes() + b"\n")
    by_variable = look(team, DATABOM_TRUST=other)
    assert by_variable.digest == sha256(other.read_bytes())
    assert said(by_variable) == [("trust.override", "warn")]
    assert "DATABOM_TRUST names it" in by_variable.findings[0].what
    by_option = look(team, third, DATABOM_TRUST=other)
    assert by_option.digest == sha256(third.read_bytes())
    assert said(by_option) == [("trust.override", "warn")]
    assert "--trust names it" in by_option.findings[0].what


def test_naming_the_repositorys_own_names_no_other(team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(team)
    for believed in (look(team, Path(HERE)), look(team, DATABOM_TRUST=team / HERE)):
        assert believed.findings == ()


def test_without_a_project_the_variable_is_told_and_the_option_is_not(team: Path, other: Path) -> None:
    assert said(look(None, other)) == []
    assert said(look(None, DATABOM_TRUST=other)) == [("trust.override", "warn")]
    with pytest.raises(ConfigError, match="nobody is believed"):
        look(None)


def test_an_empty_variable_is_not_set(team: Path) -> None:
    assert look(team, DATABOM_TRUST="").findings == ()


def test_l01_a_root_in_the_working_directory_is_never_picked_up(
    other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(other.parent)
    with pytest.raises(ConfigError, match="nobody is believed"):
        look(None)


def test_a_pinned_digest(team: Path) -> None:
    digest = sha256((team / HERE).read_bytes())
    assert look(team, digest=digest).findings == ()
    assert said(look(team, digest="sha256:" + "0" * 64)) == [("trust.changed", "block")]
    for bad in ("", digest[7:], digest.upper(), digest[:-1], f"{digest}\n", "sha512:" + "0" * 64):
        with pytest.raises(ConfigError, match="is no digest"):
            look(team, digest=bad)


# --- the user's own ---------------------------------------------------------------------------------


def users_own(base: Path, raw: bytes) -> Path:
    path = base / "databom" / "trust.json"
    path.parent.mkdir(parents=True, mode=0o755)
    path.write_bytes(raw)
    return path


def test_the_users_own_root_stands_beside_the_one_in_force(team: Path, other: Path, tmp_path: Path) -> None:
    own = users_own(tmp_path / "config", other.read_bytes())
    found = look(team, XDG_CONFIG_HOME=tmp_path / "config")
    assert found.digest == sha256((team / HERE).read_bytes())
    assert found.also is not None
    assert found.also.digest == sha256(own.read_bytes())
    assert said(found) == [("trust.override", "warn")]
    assert "only refuse more" in found.findings[0].what


def test_a_relative_configuration_folder_counts_as_unset(
    team: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users_own(tmp_path / "config", other.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert look(team, XDG_CONFIG_HOME="config").also is None
    users_own(tmp_path / "home" / ".config", other.read_bytes())
    assert look(team, XDG_CONFIG_HOME="config").also is not None


def test_a_broken_root_of_the_user_is_not_skipped(team: Path, other: Path, tmp_path: Path) -> None:
    own = users_own(tmp_path / "config", other.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="is not a trust root"):
        look(team, XDG_CONFIG_HOME=tmp_path / "config")
    own.unlink()
    own.symlink_to(other)
    with pytest.raises(ConfigError, match="symbolic link"):
        look(team, XDG_CONFIG_HOME=tmp_path / "config")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a file away")
def test_the_users_own_root_belongs_to_the_user(team: Path, other: Path, tmp_path: Path) -> None:
    own = users_own(tmp_path / "config", other.read_bytes())
    os.chown(own, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to another user"):
        look(team, XDG_CONFIG_HOME=tmp_path / "config")


# --- B16: what is no trust root ------------------------------------------------------------------------


def absent(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half_written(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.rename(path.with_name("real.json"))
    path.symlink_to("real.json")


def a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def too_long(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" " * 5_000_000)


def another_document(path: Path) -> None:
    path.write_text('{"keys": {}}')


FAULTS = [absent, empty, half_written, a_folder, a_pipe, a_link, a_loop, too_long, another_document]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("whose", ["repository", "option", "variable"])
def test_b16_what_is_no_trust_root_is_a_configuration_error(
    team: Path, other: Path, fault: Callable[[Path], None], whose: str
) -> None:
    path = team / HERE if whose == "repository" else other
    fault(path)
    with pytest.raises(ConfigError, match="trust root") as refused:
        look(
            team,
            path if whose == "option" else None,
            **({"DATABOM_TRUST": path} if whose == "variable" else {}),
        )
    assert refused.value.exit_code == 2
    assert path.name in str(refused.value)


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_b16_an_unreadable_root(team: Path) -> None:
    (team / HERE).chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        look(team)


def test_b16_an_empty_root_trusts_nobody(tmp_path: Path) -> None:
    init(tmp_path / "new")
    found = look(tmp_path / "new")
    assert found.root is not None
    assert found.root.candidates("hn-pets", None) == []


# --- B16: who else may write it ------------------------------------------------------------------------

MODES = [
    (0o644, 0o755, None),
    (0o600, 0o700, None),
    (0o664, 0o755, "a group"),
    (0o646, 0o755, "everybody"),
    (0o644, 0o775, "a group"),
    (0o644, 0o777, "everybody"),
    (0o666, 0o777, "everybody"),
]


@pytest.mark.parametrize(("file", "folder", "who"), MODES)
@pytest.mark.parametrize("place", ["work tree", "no git", "elsewhere", "user", "git's own folder"])
def test_b16_others_may_not_write_it(
    team: Path, other: Path, tmp_path: Path, file: int, folder: int, who: str | None, place: str
) -> None:
    if place != "no git":
        (team / ".git").mkdir()
    environ: dict[str, Path] = {}
    path = team / HERE
    if place == "elsewhere":
        path = environ["DATABOM_TRUST"] = other
    elif place == "user":
        path = users_own(tmp_path / "config", other.read_bytes())
        environ["XDG_CONFIG_HOME"] = tmp_path / "config"
    elif place == "git's own folder":
        path = environ["DATABOM_TRUST"] = team / ".git" / "trust.json"
        path.write_bytes(other.read_bytes())
    path.chmod(file)
    path.parent.chmod(folder)
    found = look(team, **environ)
    doubts = [one for one in found.findings if one.code == "trust.writable"]
    if who is None:
        assert doubts == []
        assert found.root is not None
        return
    [doubt] = doubts
    assert doubt.what.startswith(who)
    assert "chmod go-w" in (doubt.do or "")
    blocks = place != "work tree"
    assert doubt.severity.value == ("block" if blocks else "warn")
    assert (found.root is None) == blocks


def test_b16_a_sticky_folder_keeps_names_to_their_owners(team: Path, other: Path) -> None:
    other.parent.chmod(0o1777)
    assert said(look(team, other)) == [("trust.override", "warn")]
    other.chmod(0o666)
    assert ("trust.writable", "block") in said(look(team, other))


# --- B17: versions never go back --------------------------------------------------------------------------


def remember(team: Path, version: int, digest: str) -> None:
    place = Project.load(team)
    place.save_lock(place.lock.with_trust(SeenRoot(version=version, digest=digest)))


def test_b17_an_older_root_is_a_rollback(team: Path) -> None:
    remember(team, 2, "sha256:" + "1" * 64)
    found = look(team)
    assert said(found) == [("trust.rollback", "block")]
    assert "version 2" in (found.findings[0].expected or "")
    with pytest.raises(ConfigError):
        digests_in_force(Project.load(team), environ={"XDG_CONFIG_HOME": "/nowhere"})


def test_b17_another_root_under_the_accepted_version(team: Path) -> None:
    remember(team, 1, "sha256:" + "1" * 64)
    assert said(look(team)) == [("trust.rollback", "block")]


def test_the_accepted_root_itself_and_another_roots_version(team: Path, other: Path) -> None:
    remember(team, 1, sha256((team / HERE).read_bytes()))
    assert said(look(team)) == []
    remember(team, 2, "sha256:" + "1" * 64)
    assert said(look(team, other)) == [("trust.override", "warn")]


# --- what a run compares with -------------------------------------------------------------------------------


def test_the_digests_in_force_are_those_a_verification_would_use(
    team: Path, other: Path, tmp_path: Path
) -> None:
    place = Project.load(team)
    none = {"XDG_CONFIG_HOME": "/nowhere"}
    assert digests_in_force(place, environ=none) == (sha256((team / HERE).read_bytes()),)
    assert digests_in_force(place, environ={**none, "DATABOM_TRUST": str(other)}) == (
        sha256(other.read_bytes()),
    )
    users_own(tmp_path / "config", other.read_bytes())
    assert digests_in_force(place, environ={"XDG_CONFIG_HOME": str(tmp_path / "config")}) == (
        sha256((team / HERE).read_bytes()),
        sha256(other.read_bytes()),
    )
