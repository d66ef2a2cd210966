"""Seeding DVC's state: real `dvc repro`s that then read no data, and every way it may not work."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from databom.hosts.dvc_state import cache_root, dvc_root, in_dvc_project, seed
from databom.hosts.dvc_yaml import StageSpec, upsert_stage

pytestmark = pytest.mark.dvc
FILES = {f"part{i}/{i}.bin": bytes([i]) * (1000 + i) for i in range(6)}

# Stands where `databom sync` will: writes the data, its report, and what the test asks for into DVC's state.
INGEST = """
import hashlib, json, os, sys
from pathlib import Path
from databom.hosts.dvc_state import seed
rows = []
for path, size in json.loads(os.environ["FILES"]).items():
    target = Path("data/faces") / path
    target.parent.mkdir(parents=True, exist_ok=True)
    data = bytes([int(target.stem)]) * size
    target.write_bytes(data)
    claimed = b"a lie" if os.environ["SEED"] == "lie" else b""
    rows.append((target, hashlib.md5(claimed + data).hexdigest()))
if os.environ["SEED"] != "no":
    assert seed(Path("."), rows), "not seeded"
Path("provenance/reports").mkdir(parents=True, exist_ok=True)
Path("provenance/reports/faces.json").write_text('{"verdict": "pass"}')
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    commands = tmp_path / "bin"
    commands.mkdir()
    script = commands / "databom"
    script.write_text(f"#!{sys.executable}\n{INGEST}")
    script.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
        "DVC_NO_ANALYTICS": "1",
        "FILES": json.dumps({path: len(data) for path, data in FILES.items()}),
        "SEED": "yes",
    }


def run(command: list[str], cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def dvc(*args: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *args]


@pytest.fixture(params=["root", "git-subdirectory", "dvc-subdirectory"])
def project(request: pytest.FixtureRequest, tmp_path: Path, env: dict[str, str]) -> Path:
    """A project where it may lie: the repository, a DVC root below git, a folder below a DVC root."""
    top = tmp_path / "repo"
    top.mkdir()
    run(["git", "init", "-q"], top, env)
    root = top if request.param == "root" else top / "team" / "faces"
    root.mkdir(parents=True, exist_ok=True)
    if request.param == "git-subdirectory":
        run(dvc("init", "-q", "--subdir"), root, env)
    else:
        run(dvc("init", "-q"), top, env)
    (root / "provenance/manifests").mkdir(parents=True)
    (root / "provenance/trust.json").write_text("{}")
    (root / "provenance/manifests/faces.json").write_text("{}")
    (root / "provenance/evidence/faces").mkdir(parents=True)
    (root / "provenance/evidence/faces/README.md").write_text("")
    (root / "databom.lock").write_text(
        '{"version": 1, "pins": {"faces": {"manifest": "sha256:aa"}}, "seen": {}}'
    )
    (root / "databom.toml").write_text('[use]\npurpose = "train"\n[policy]\npayment = "off"\n')
    spec = StageSpec(pin="faces", path="data/faces", has_envelope=False)
    (root / "dvc.yaml").write_text(upsert_stage(None, spec))
    return root


def tree_md5(lie: bytes = b"") -> str:
    """What DVC writes for a folder: the MD5 of its listing (facts: dvc_data/hashfile/tree.py)."""
    rows = [
        {"md5": hashlib.md5(lie + data).hexdigest(), "relpath": path} for path, data in sorted(FILES.items())
    ]
    return hashlib.md5(json.dumps(rows, sort_keys=True).encode()).hexdigest() + ".dir"


@pytest.mark.parametrize(("how", "lie"), [("no", b""), ("yes", b""), ("lie", b"a lie")])
def test_dvc_takes_our_word(project: Path, env: dict[str, str], how: str, lie: bytes) -> None:
    # Seeded with MD5s of something else, dvc.lock holds them: so DVC did not look at the data itself.
    run(dvc("repro", "-q"), project, {**env, "SEED": how})
    assert tree_md5(lie) in (project / "dvc.lock").read_text()
    assert "didn't change, skipping" in run(dvc("repro"), project, env)


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.skipif(not can_trace(), reason="strace cannot run here")
@pytest.mark.parametrize("project", ["root"], indirect=True)
@pytest.mark.parametrize(("how", "opened"), [("no", len(FILES)), ("yes", 0)])
def test_dvc_opens_no_data_file(
    project: Path, env: dict[str, str], tmp_path: Path, how: str, opened: int
) -> None:
    log = tmp_path / "trace"
    trace = ["strace", "-f", "-o", str(log), "-e", "trace=open,openat"]
    run([*trace, *dvc("repro", "-q")], project, {**env, "SEED": how})
    lines = [line for line in log.read_text().splitlines() if ".bin" in line]
    assert sum("O_WRONLY" in line for line in lines) == len(
        FILES
    )  # the stage's own writing: the trace sees it
    assert sum("O_RDONLY" in line for line in lines) == opened


@pytest.mark.parametrize("project", ["root"], indirect=True)
def test_a_seeded_file_that_changes_is_seen(project: Path, env: dict[str, str]) -> None:
    run(dvc("repro", "-q"), project, env)
    (project / "data/faces/part1/1.bin").write_bytes(b"other")
    assert "changed outs" in run(dvc("status"), project, env)
    assert "Running stage" in run(dvc("repro"), project, env)


@pytest.mark.parametrize("project", ["root"], indirect=True)
def test_a_project_reached_through_a_link(project: Path, env: dict[str, str], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(project)
    data = link / "data/faces/x"
    data.parent.mkdir(parents=True)
    data.write_bytes(b"x")
    lie = hashlib.md5(b"lie").hexdigest()
    code = (
        f"from pathlib import Path; from databom.hosts.dvc_state import seed;"
        f"print(seed(Path({str(link)!r}), [(Path({str(data)!r}), {lie!r})]))"
    )
    assert run([sys.executable, "-c", code], tmp_path, env).strip() == "True"
    (project / "provenance/reports").mkdir()
    (project / "provenance/reports/faces.json").write_text("{}")
    run(dvc("commit", "-q", "-f"), project, env)
    row = json.dumps([{"md5": lie, "relpath": "x"}]).encode()
    assert hashlib.md5(row).hexdigest() in (project / "dvc.lock").read_text()


def test_nothing_to_seed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert seed(tmp_path, [(tmp_path / "x", "0" * 32)]) is False
    assert seed(tmp_path / "absent", []) is False
    assert capfd.readouterr() == ("", "")


def test_rows_that_fail_do_no_harm(tmp_path: Path, env: dict[str, str]) -> None:
    run(["git", "init", "-q"], tmp_path, env)
    run(dvc("init", "-q"), tmp_path, env)
    code = (
        "from pathlib import Path; from databom.hosts.dvc_state import seed\n"
        "def rows():\n    yield Path('nothing-there'), '0' * 32\n    raise OSError('disk gone')\n"
        "print(seed(Path('.'), rows()), seed(Path('.'), [(Path('nothing-there'), '0' * 32)]))"
    )
    assert run([sys.executable, "-c", code], tmp_path, env).split()[0] == "False"


STANDINS = {
    "without a state": "class Repo:\n    def __init__(self, root): raise RuntimeError('changed')\n",
    "with the older call": (
        "class State:\n    def save(self, path, fs, hash_info): print('saved', path, hash_info.value)\n"
        "class Repo:\n    state, fs = State(), None\n    def __init__(self, root): pass\n"
        "    def __enter__(self): return self\n    def __exit__(self, *a): pass\n"
    ),
}


@pytest.mark.parametrize(
    ("standin", "answer"), [("without a state", "False"), ("with the older call", "True")]
)
def test_another_dvc(tmp_path: Path, standin: str, answer: str) -> None:
    # dvc 3.50 has no save_many, and the store is due to change: small stand-ins of the same shape.
    files = {
        "dvc/__init__.py": "",
        "dvc/repo.py": STANDINS[standin],
        "dvc_data/__init__.py": "",
        "dvc_data/hashfile/__init__.py": "",
        "dvc_data/hashfile/hash_info.py": (
            "class HashInfo:\n    def __init__(self, name, value): self.value = value\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from pathlib import Path\n"
        "from databom.hosts.dvc_state import seed; print(seed(Path('.'), [(Path('x'), 'aa')]))"
    )
    out = run([sys.executable, "-c", code], tmp_path, dict(os.environ))
    assert out.strip().endswith(answer)
    assert ("saved" in out) == (answer == "True")


def test_without_dvc(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['dvc'] = None; from pathlib import Path\n"
        "from databom.hosts.dvc_state import seed; print(seed(Path('.'), []))"
    )
    assert run([sys.executable, "-c", code], tmp_path, dict(os.environ)).strip() == "False"


def test_importing_the_room_imports_no_host() -> None:
    code = (
        "import sys, databom.hosts.dvc_yaml, databom.hosts.dvc_state\n"
        "print([m for m in ('dvc', 'dvc_data', 'ruamel', 'ruamel.yaml') if m in sys.modules])"
    )
    assert run([sys.executable, "-c", code], Path.cwd(), dict(os.environ)).strip() == "[]"


# --- where DVC keeps things --------------------------------------------------------------------------------


def test_where_the_cache_is(tmp_path: Path) -> None:
    assert cache_root(tmp_path) is None
    assert not in_dvc_project(tmp_path)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / ".dvc").mkdir()
    assert dvc_root(inner) == tmp_path
    assert in_dvc_project(inner)
    assert cache_root(inner) == tmp_path / ".dvc/cache"
    config = tmp_path / ".dvc/config"
    config.write_text(
        "[core]\n    remote = r2\n['remote \"r2\"']\n    url = s3://b\n[cache]\n    dir = ../../shared\n"
    )
    assert cache_root(inner) == tmp_path.parent / "shared"
    (tmp_path / ".dvc/config.local").write_text('[cache]\n    dir = "/mnt/dvc, cache"\n')
    assert cache_root(inner) == Path("/mnt/dvc, cache")
    (tmp_path / ".dvc/config.local").write_text("[cache]\n    dir = ~/dvc\n")
    assert cache_root(inner) == Path.home() / "dvc"
    (tmp_path / ".dvc/config.local").write_text("[cache]\n    dir = ~nobody-of-that-name/dvc\n")
    assert cache_root(inner) == tmp_path / ".dvc/cache"


@pytest.mark.parametrize(
    "broken", [b"not a config", b"[cache]\n[cache\n", b"\xff\xfe", b"[cache]\ndir\n", b"[cache]\ndir =\n"]
)
def test_a_broken_config_means_the_default(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_bytes(broken)
    assert cache_root(tmp_path) == tmp_path / ".dvc/cache"


def test_the_cache_dvc_itself_uses(tmp_path: Path, env: dict[str, str]) -> None:
    run(["git", "init", "-q"], tmp_path, env)
    run(dvc("init", "-q"), tmp_path, env)
    for args, level in (("elsewhere", "--project"), ("../nearby cache", "--local")):
        run(dvc("cache", "dir", level, args), tmp_path, env)
        said = run(dvc("cache", "dir"), tmp_path, env).strip()
        assert cache_root(tmp_path) == Path(os.path.normpath(said))
