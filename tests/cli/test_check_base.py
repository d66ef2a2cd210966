"""`databom check --base REF`: a branch cannot quietly change who is believed, what is demanded, or what was seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from databom.model.config import parse_config
from databom.model.digest import sha256
from databom.tasks import new_key, trust_add
from support.house import Answer, House

ROOT = "provenance/trust.json"
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs the git program")


def git(folder: Path, *arguments: str | Path) -> str:
    """Git as a person would run it here, whatever this machine's own configuration says."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always",
         "-C", str(folder), *map(str, arguments)],
        env={**environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit(folder: Path, message: str = "x") -> str:
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def branch(house: House) -> House:
    """A project with one pin on `main`, its data there, and a branch to work on."""
    house.synced()
    git(house.project, "init", "-q", "-b", "main")
    commit(house.project)
    git(house.project, "switch", "-q", "-c", "work")
    return house


def check(house: House, *options: str | Path, base: str = "main") -> Answer:
    return house.json("check", "--base", base, *options)


def changes(answer: Answer) -> dict[str, Any]:
    """The report about the project, which has no name."""
    [report] = [one for one in answer.report["reports"] if one["subject"]["name"] is None]
    return report


def found(answer: Answer, code: str) -> dict[str, Any]:
    [finding] = [one for one in answer.findings if one["code"] == code]
    return finding


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def edit_lock(house: House, change: Any) -> None:
    path = house.project / "databom.lock"
    lock = json.loads(path.read_text())
    change(lock)
    path.write_text(json.dumps(lock, indent=2) + "\n")


def without_the_log(house: House) -> None:
    """As in a clone of somebody else."""
    for name in ("log", "checkpoints", "keys"):
        shutil.rmtree(house.project / ".databom" / name)


def widen(house: House) -> str:
    """A key more in the project's root; its new digest."""
    new_key(house.base / "other.key")
    trust_add(house.base / "other.key.pub", marketplace="other", datasets=["*"], project=house.project)
    return sha256((house.project / ROOT).read_bytes())


# --- nothing changed ------------------------------------------------------------------------------------


def test_nothing_changed_is_a_pass_and_one_report_more(branch: House) -> None:
    answer = check(branch)
    assert answer.code == 0
    assert [one["subject"]["name"] for one in answer.report["reports"]] == ["pets", None]
    assert changes(answer)["findings"] == []
    assert "1 of 1 pin holds; changes since main: pass: pass" in answer.err
    assert "changes since main" in branch.ok("check", "--base", "main").out
    git(branch.project, "switch", "-q", "--detach", "HEAD")
    assert check(branch).code == 0


# --- the trust root -------------------------------------------------------------------------------------


def test_a_root_swapped_with_all_data_signed_anew_by_the_attacker(branch: House) -> None:
    """Everything verifies on the branch, and the answer is no."""
    new_key(branch.base / "evil.key")
    root = json.loads((branch.project / ROOT).read_text())
    root["keys"], root["roles"] = {}, {}
    (branch.project / ROOT).write_text(json.dumps(root))
    trust_add(
        branch.base / "evil.key.pub", marketplace="human-native", datasets=["*"], project=branch.project
    )
    branch.key = branch.base / "evil.key"
    manifest = branch.release({"images/cat1.jpg": b"poison\n"}, version="2", folder="evil")
    shutil.rmtree(branch.data)
    edit_lock(branch, lambda lock: lock.update(pins={}, seen={}))
    branch.ok("add", manifest, "--name", "pets")
    branch.ok("sync", "pets")
    commit(branch.project, "harmless")
    assert branch.json("check").code == 0
    answer = check(branch)
    assert answer.code == 1
    assert {"trust.changed", "release.rollback"} <= answer.blocking


def test_a_changed_root_is_approved_by_its_own_digest_only(branch: House) -> None:
    old = sha256((branch.project / ROOT).read_bytes())
    new = widen(branch)
    answer = check(branch)  # not committed: the work tree is what is compared
    assert (answer.code, answer.blocking) == (1, {"trust.changed"})
    finding = found(answer, "trust.changed")
    assert old in finding["expected"]
    assert new in finding["found"]
    assert new in finding["do"]
    commit(branch.project)
    assert check(branch).code == 1
    assert check(branch, "--trust-digest", old).blocking == {"trust.changed"}
    answer = check(branch, "--trust-digest", new)
    assert (answer.code, found(answer, "trust.changed")["severity"]) == (0, "info")


def test_a_space_more_is_another_root(branch: House) -> None:
    path = branch.project / ROOT
    path.write_bytes(path.read_bytes() + b"\n")
    finding = found(check(branch), "trust.changed")
    assert finding["severity"] == "block"
    assert "the same in other bytes" in finding["what"]


def test_another_file_is_another_root_whatever_is_in_it(branch: House) -> None:
    shutil.copy(branch.project / ROOT, branch.project / "provenance" / "root.json")
    edit(branch.project / "databom.toml", ROOT, "provenance/root.json")
    answer = check(branch)
    assert answer.blocking == {"trust.changed"}
    assert "names another file" in found(answer, "trust.changed")["what"]


def test_a_proper_rotation_says_so_and_waits_for_approval(branch: House) -> None:
    key, other = branch.base / "root.key", branch.base / "next.key"
    for one in (key, other):
        new_key(one)
    trust_add(f"{key}.pub", role="root", project=branch.project)
    git(branch.project, "switch", "-q", "main")
    commit(branch.project)
    git(branch.project, "switch", "-q", "-C", "work")
    draft = branch.base / "next.json"
    branch.ok("trust", "draft", draft)
    branch.ok("trust", "sign", draft, "--key", key)
    branch.ok("trust", "update", draft)
    commit(branch.project)
    finding = found(check(branch), "trust.changed")
    assert finding["severity"] == "block"
    assert "the next version, signed by enough root keys" in finding["what"]
    # Back to version 1 on a later branch, and the lock made to forget that there was another.
    git(branch.project, "switch", "-q", "-c", "back")
    git(branch.project, "checkout", "-q", "main", "--", ROOT, "databom.lock")
    assert {"trust.changed", "trust.rollback"} <= check(branch, base="work").blocking


# --- the policy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('payment = "declared"', 'payment = "off"', "policy.payment"),
        ('attribution = "warn"', 'attribution = "off"', "policy.attribution"),
        ("commercial = true", "commercial = false", "use.commercial"),
        ('purpose = "train"', 'purpose = "evaluate"', "use.purpose"),
        ('auto = "full"', 'auto = "tags"', "mlflow.auto"),
        ('location = ".databom/log"', 'location = "elsewhere"', "log.location"),
    ],
)
def test_a_weaker_policy_blocks_until_its_digest_is_named(
    branch: House, old: str, new: str, key: str
) -> None:
    edit(branch.project / "databom.toml", old, new)
    if key == "log.location":
        shutil.move(branch.project / ".databom" / "log", branch.project / "elsewhere")
    answer = check(branch)
    finding = found(answer, "policy.weakened")
    assert (answer.blocking, finding["subject"]) == ({"policy.weakened"}, key)
    digest = finding["do"].split()[-1]
    assert check(branch, "--policy-digest", digest).code == 0
    assert check(branch, "--policy-digest", "sha256:" + "0" * 64).code == 1


def test_the_digest_of_a_policy_approves_nothing_that_it_does_not_cover(branch: House) -> None:
    edit(branch.project / "databom.toml", 'auto = "full"', 'auto = "off"')
    policy = parse_config((branch.project / "databom.toml").read_bytes()).policy_digest
    assert check(branch, "--policy-digest", policy).blocking == {"policy.weakened"}


def test_a_stronger_policy_is_silent(branch: House) -> None:
    path = branch.project / "databom.toml"
    edit(path, 'payment = "declared"', 'payment = "signed"')
    edit(path, 'personal_data = "off"', 'personal_data = "warn"')
    edit(path, 'mode = "observe"', 'mode = "enforce"')
    assert "policy.weakened" not in check(branch).codes


def test_a_base_whose_policy_cannot_be_read_vouches_for_nothing(branch: House) -> None:
    path = branch.project / "databom.toml"
    good = path.read_bytes()
    path.write_text("[policy\n")
    base = commit(branch.project)
    path.write_bytes(good)
    answer = check(branch, base=base)
    assert answer.blocking == {"policy.weakened", "trust.changed"}
    trust = sha256((branch.project / ROOT).read_bytes())
    digest = found(answer, "policy.weakened")["do"].split()[-1]
    assert check(branch, "--trust-digest", trust, "--policy-digest", digest, base=base).code == 0


def test_the_first_introduction_is_a_change_too(house: House) -> None:
    """Also when the project only moved to another folder of the repository, away from what was reviewed."""
    house.synced()
    git(house.project, "init", "-q", "-b", "main")
    git(house.project, "commit", "-q", "--allow-empty", "-m", "empty")
    answer = check(house)
    assert answer.blocking == {"policy.weakened", "trust.changed"}
    assert "new" in found(answer, "trust.changed")["what"]


# --- pins and the memory ----------------------------------------------------------------------------------


def test_no_pins_left_is_still_no_answer(branch: House) -> None:
    edit_lock(branch, lambda lock: lock.update(pins={}))
    answer = branch.cli("check", "--base", "main")
    assert answer.code == 2
    assert "it had pets" in answer.err


@pytest.fixture
def ordered(house: House) -> House:
    """Two releases in order, the newer one pinned on `main`."""
    house.init()
    first = house.release({"old.bin": b"old"}, "--sequence", "1", version="1", folder="v1")
    house.ok("add", first, "--name", "pets")
    second = house.release({"new.bin": b"new"}, "--sequence", "2", version="2", folder="v2")
    house.ok("update", "pets", second)
    house.ok("sync", "pets")
    git(house.project, "init", "-q", "-b", "main")
    commit(house.project)
    git(house.project, "switch", "-q", "-c", "work")
    return house


def test_a_pin_that_goes_back_needs_the_record_of_the_flag(ordered: House) -> None:
    older = ordered.market / "v1" / "manifest.json"
    # By hand: the memory is made to forget in a clone without the log, so that nothing on the branch says no.
    without_the_log(ordered)
    edit_lock(ordered, lambda lock: lock.update(seen={}))
    ordered.ok("update", "pets", older)
    ordered.ok("sync", "pets")
    assert ordered.json("check").code == 0
    answer = check(ordered)
    assert answer.blocking == {"release.rollback"}
    [pin] = [one for one in answer.report["reports"] if one["subject"]["name"] == "pets"]
    assert "release.rollback" in {one["code"] for one in pin["findings"]}
    # By the flag: said, and not refused.
    git(ordered.project, "checkout", "-q", "main", "--", ".")
    ordered.ok("update", "pets", older, "--allow-rollback")
    ordered.ok("sync", "pets")
    answer = check(ordered)
    assert answer.code == 0
    warned = [one for one in answer.findings if one["code"] == "release.rollback"]
    assert warned
    assert all(one["severity"] == "warn" and "recorded as allowed" in one["what"] for one in warned)
    # What was recorded and reviewed once is no excuse for the next time.
    newer = ordered.market / "v2" / "manifest.json"
    ordered.ok("update", "pets", newer)
    ordered.ok("sync", "pets")
    base = commit(ordered.project)
    edit_lock(ordered, lambda lock: lock["seen"]["hn-pets"].update(sequence=1))
    assert check(ordered, base=base).blocking == {"release.rollback"}


def test_a_pin_that_is_gone_is_named_and_a_new_name_is_none(ordered: House) -> None:
    edit_lock(ordered, lambda lock: lock["pins"].update(again=lock["pins"]["pets"]))
    provenance = ordered.project / "provenance" / "manifests"
    for suffix in (".json", ".json.dsse"):
        if (provenance / f"pets{suffix}").exists():
            shutil.copy(provenance / f"pets{suffix}", provenance / f"again{suffix}")
    base = commit(ordered.project)
    edit_lock(ordered, lambda lock: lock["pins"].pop("pets"))
    answer = check(ordered, base=base)
    finding = found(answer, "coverage.unpinned")
    assert (answer.code, finding["severity"], finding["subject"]) == (0, "warn", "pets")
    assert check(ordered, "--strict", base=base).code == 1
    # Against `main`, which knows only `pets`, the pin has a new name.
    assert "coverage.unpinned" not in check(ordered).codes


@pytest.mark.parametrize("what", ["release", "sequence", "dataset"])
def test_history_that_was_cut_blocks(ordered: House, what: str) -> None:
    def cut(lock: dict[str, Any]) -> None:
        seen = lock["seen"]["hn-pets"]
        if what == "release":
            del seen["releases"]["1"]
        elif what == "sequence":
            seen["sequence"] = 1
        else:
            del lock["seen"]["hn-pets"]

    edit_lock(ordered, cut)
    assert ordered.json("check").code == 0
    assert check(ordered).blocking == {"release.rollback"}


def test_other_content_under_a_known_release(ordered: House) -> None:
    """The lock of the branch claims that nothing changed; the manifest itself is asked."""
    shutil.rmtree(ordered.market / "v2")
    other = ordered.release({"new.bin": b"poison"}, "--sequence", "2", version="2", folder="v2")
    lock = json.loads((ordered.project / "databom.lock").read_text())
    without_the_log(ordered)  # a clone without the log, which would say no
    edit_lock(ordered, lambda lock: lock.update(seen={}, pins={}))
    ordered.ok("add", other, "--name", "pets")
    edit_lock(ordered, lambda now: now.update(seen=lock["seen"]))
    shutil.rmtree(ordered.data)
    ordered.ok("sync", "pets")
    assert ordered.json("check").code == 0
    assert check(ordered).blocking == {"release.equivocation"}


def test_forwards_is_silent(ordered: House) -> None:
    third = ordered.release({"newer.bin": b"newer"}, "--sequence", "3", version="3", folder="v3")
    ordered.ok("update", "pets", third)
    ordered.ok("sync", "pets")
    answer = check(ordered)
    assert answer.code == 0
    assert changes(answer)["findings"] == []


# --- git ------------------------------------------------------------------------------------------------


def test_a_project_in_a_subfolder(house: House) -> None:
    house.synced()
    git(house.base, "init", "-q", "-b", "main")
    commit(house.base)
    git(house.base, "switch", "-q", "-c", "work")
    assert check(house).code == 0
    new = widen(house)
    assert check(house).blocking == {"trust.changed"}
    assert check(house, "--trust-digest", new).code == 0


def test_main_that_went_on_is_no_change_of_the_branch(branch: House) -> None:
    git(branch.project, "switch", "-q", "main")
    widen(branch)
    commit(branch.project)
    git(branch.project, "switch", "-q", "work")
    assert check(branch).code == 0


@pytest.mark.parametrize(
    "ref", ["--upload-pack=touch owned", "-h", "--all", "", "nowhere", "main..work", "a\nb"]
)
def test_a_ref_that_is_none_is_usage_and_runs_nothing(branch: House, ref: str) -> None:
    answer = branch.cli("check", f"--base={ref}")
    assert answer.code == 2, answer.out
    assert not (branch.project / "owned").exists()


def test_a_tag_may_not_take_the_place_of_the_branch(branch: House) -> None:
    """Whoever may push a tag `origin/main` would otherwise choose what their branch is compared with."""
    git(branch.project, "update-ref", "refs/remotes/origin/main", "main")
    widen(branch)
    commit(branch.project)
    assert check(branch, base="origin/main").blocking == {"trust.changed"}
    git(branch.project, "tag", "origin/main")
    answer = branch.cli("check", "--base", "origin/main")
    assert answer.code == 2
    assert "ambiguous" in answer.err
    assert check(branch, base="refs/remotes/origin/main").blocking == {"trust.changed"}


def test_a_repository_inside_the_repository_is_not_asked(branch: House) -> None:
    """Git would take a bare repository that lies in the project's folder for the project's own."""
    evil = branch.base / "evil.git"
    git(branch.base, "clone", "-q", "--bare", branch.project, evil)
    folder = branch.project / "sub"
    shutil.copytree(branch.project, folder, ignore=shutil.ignore_patterns(".git"))
    for name in ("HEAD", "objects", "refs", "packed-refs", "config"):
        source = evil / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        elif source.exists():
            shutil.copy(source, folder / name)
    edit(folder / "config", "bare = true", "bare = false\n\tworktree = .")
    answer = branch.cli("check", "--base", "main", cwd=folder)
    assert answer.code == 2
    assert "git" in answer.err


def test_a_clone_that_is_too_shallow_says_what_to_do(branch: House, tmp_path: Path) -> None:
    commit(branch.project, "on the branch")
    git(branch.project, "switch", "-q", "main")
    commit(branch.project, "on main")
    clone = tmp_path / "clone"
    url = branch.project.as_uri()
    git(tmp_path, "clone", "-q", "--depth", "1", "--no-single-branch", "-b", "work", url, clone)
    answer = branch.cli("check", "--base", "origin/main", cwd=clone)
    assert answer.code == 2
    assert "shallow" in answer.err
    assert "fetch-depth: 0" in answer.err


def test_what_git_is_told_by_the_environment_does_not_count(
    branch: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    widen(branch)
    other = tmp_path / "other"
    shutil.copytree(branch.project, other)
    commit(other)
    git(other, "branch", "-f", "main")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    assert check(branch).blocking == {"trust.changed"}


def test_outside_git_and_without_a_base(house: House) -> None:
    house.synced()
    answer = house.cli("check", "--base", "main")
    assert answer.code == 2
    assert "git work tree" in answer.err
    assert house.cli("check", "--policy-digest", "sha256:" + "0" * 64).code == 2
    assert house.cli("check", "--base", "main", "--policy-digest", "md5:0").code == 2
    assert house.cli("check", "--trust-digest", "").code == 2  # a variable of CI that is not set
    root = sha256((house.project / ROOT).read_bytes())
    assert house.json("check", "--trust-digest", root).code == 0
    assert house.json("check", "--trust-digest", "sha256:" + "0" * 64).blocking == {"trust.changed"}
