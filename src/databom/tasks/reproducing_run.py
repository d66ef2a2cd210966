"""Running it again: a commit of its own, its releases fetched and verified, its command, and what that made.

The program runs with the user's rights, as it did the first time; what is kept from it is what would make it speak for
the team. It gets no key that signs receipts or the log, so that nothing of the second run enters either, and a local
MLflow store unless another one is named. It is given its arguments as they are, without a shell; DVC runs what the
commit's `dvc.yaml` says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from databom.errors import StorageError
from databom.hosts import dvc_state
from databom.model.config import MAX_CONFIG_BYTES
from databom.model.manifest import Asset
from databom.model.reproduction import Plan
from databom.storage import files
from databom.tasks.inside import leads_out
from databom.tasks.project import Project
from databom.tasks.reproducing_plan import OPTION, below_top
from databom.tasks.rootfile import read_root, root_in_force

KEPT_BACK = (
    *("DATABOM_RECEIPT_KEY", "DATABOM_RECEIPT_KEY_PEM", "DATABOM_LOG_KEY"),
    *("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_REGISTRY_URI"),
    *("DVC_STAGE", "DVC_ROOT", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX"),
)
"""Variables that would sign, resume the first run, or lead back to the user's own work tree."""
_CACHE = "databom-first-cache"
_CHUNK = 1024 * 1024
GRACE_SECONDS = 10.0
"""How long a program may take to end when it is asked to."""


def environment(
    top: Path, tree: Path, project: Path, tracking_uri: str | None, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What the second run finds in its environment.

    Folders that modules are imported from, and that are the user's own code, become those of the work tree: else an
    editable installation would run today's code for that of the commit.

    Args:
        top: the user's work tree.
        tree: the one of the commit.
        project: the project in it.
        tracking_uri: where MLflow tracks to, by default a store in the work tree.
        environ: what there is.
    """
    kept = {name: value for name, value in environ.items() if name not in KEPT_BACK}
    programs = os.fspath(Path(sys.executable).parent)
    own = [new for one in sys.path[1:] if (new := _moved(one, top, tree)) is not None]
    given = [_moved(one, top, tree) or one for one in kept.get("PYTHONPATH", "").split(os.pathsep) if one]
    found = {
        **kept,
        "PATH": f"{programs}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "PWD": os.fspath(project),
        "DATABOM_PROJECT": os.fspath(project),
        "MLFLOW_TRACKING_URI": tracking_uri or f"sqlite:///{project}/mlflow.db",
    }
    if paths := list(dict.fromkeys((*own, *given))):
        found["PYTHONPATH"] = os.pathsep.join(paths)
    if trust := kept.get("DATABOM_TRUST"):
        found["DATABOM_TRUST"] = os.fspath(Path(trust).absolute())
    return found


def _moved(folder: str, top: Path, tree: Path) -> str | None:
    """A folder of the user's work tree as the commit has it; None for any other."""
    below = below_top(folder, top)
    return os.fspath(tree / below) if below is not None and (tree / below).is_dir() else None


def forget_state(project: Path) -> None:
    """Remove what a commit brings of `.databom`, which is one clone's own.

    Endings of runs, keys, the memory of what was hashed, and the places where data may go: no commit may say these.

    Raises:
        StorageError: it cannot be removed.
    """
    state = project / ".databom"
    with files.translated(state, "remove"):
        if state.is_dir() and not state.is_symlink():
            shutil.rmtree(state)
        else:
            state.unlink(missing_ok=True)


def folder_of(plan: Plan, project: Path) -> Path:
    """Where the command is run: a folder that the commit does not have, such as one for outputs, is made.

    Raises:
        StorageError: it cannot be made.
    """
    folder = project / plan.cwd
    with files.translated(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def believe_as_today(place: Project, project: Path) -> None:
    """Give the work tree the trust root that is in force: that of the commit may be over, or believe too much.

    Raises:
        ConfigError: there is none, or the work tree is no project.
        StorageError: it cannot be written.
    """
    raw = read_root(root_in_force(place, environ={}).path)
    path = Project.load(project).trust_path
    if not path.is_file() or path.read_bytes() != raw:
        files.write_atomic(path, raw)


def bring(place: Project, project: Path, name: str, assets: Iterable[Asset]) -> None:
    """Copy what the user's clone has of a release into the work tree, as far as it is what was signed.

    Nothing is taken on trust: `sync` reads every byte again, and fetches what this does not bring.

    Raises:
        ConfigError: the work tree is no project, or has no such pin.
        StorageError: it cannot be written.
    """
    path = Project.load(project).pin(name).path
    here, there = place.root / path, project / path
    for asset in assets:
        if os.path.lexists(there / asset.path) or leads_out(project, there / asset.path) is not None:
            continue  # `sync` says what there is to say of it
        with files.translated(there / asset.path, "write"):
            _copy(here / asset.path, there / asset.path, asset)


def _copy(source: Path, target: Path, asset: Asset) -> None:
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or asset.size not in (None, status.st_size):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        state = hashlib.sha256()
        with open(target, "xb") as copy:
            while data := file.read(_CHUNK):
                state.update(data)
                copy.write(data)
    if state.hexdigest() != asset.sha256:
        target.unlink()


def command_of(plan: Plan, project: Path) -> list[str]:
    """The arguments of the new process."""
    argv = list(plan.argv)
    if plan.stage is None:
        at = next(number for number, one in enumerate(argv) if OPTION.match(one) is None)
        if argv[at] != "-m":
            argv[at] = os.fspath(project / argv[at])
    return [sys.executable, *argv]


def fill_dvc(
    place: Project, tree: Path, project: Path, env: Mapping[str, str], seconds: float | None
) -> None:
    """Bring what `dvc add` has put under DVC: out of the cache of the user's clone, else its remote.

    What it does not get, DVC will say itself.

    Caches and settings of the user's clone are read and never written: the work tree has a cache of its own.

    Raises:
        StorageError: the work tree cannot be given one.
    """
    root, new = dvc_state.dvc_root(place.root), dvc_state.dvc_root(project)
    if root is None or new is None or not new.is_relative_to(tree) or (new / ".dvc").is_symlink():
        return
    local = root / ".dvc" / "config.local"
    if local.is_file():
        files.write_atomic(
            new / ".dvc" / "config.local", files.read_bounded(local, MAX_CONFIG_BYTES), mode=0o600
        )
    cache = dvc_state.cache_root(place.root)
    dvc = (sys.executable, "-m", "dvc")
    # Whatever the team's settings say: into a shared cache the second run's outputs would go, too.
    own = os.fspath(new / ".dvc" / "cache")
    if run((*dvc, "config", "--local", "-q", "cache.dir", own), new, env, seconds, subprocess.DEVNULL) != 0:
        raise StorageError(
            "DVC cannot be given a cache of its own in the work tree",
            hint="`dvc config --list` in this project shows what is wrong with its settings",
        )
    sources = sorted(
        os.fspath(path.relative_to(new))
        for path in new.rglob("*.dvc")
        if path.is_file() and not path.relative_to(new).parts[0].startswith(".")
    )
    if not sources:
        return
    attempts: list[tuple[str, ...]] = [("pull", "-q", "--", *sources)]
    if cache is not None and cache.is_dir():
        name = ("remote", "add", "--local", "-q", "-f", _CACHE, os.fspath(cache))
        attempts = [name, ("pull", "-q", "-r", _CACHE, "--", *sources), *attempts]
    for attempt in attempts:
        done = run((*dvc, *attempt), new, env, seconds, subprocess.DEVNULL)
        if done == 0 and attempt[0] == "pull":
            return


def run(
    argv: tuple[str, ...] | list[str],
    folder: Path,
    env: Mapping[str, str],
    seconds: float | None,
    output: IO[bytes] | int,
) -> int | None:
    """The exit code of a program, which is the first of a session of its own; None where its time was over.

    However this is left, the program and whatever it started in its session have ended.

    Raises:
        StorageError: it cannot be started.
    """
    try:
        process = subprocess.Popen(  # noqa: S603  # no shell; what a believed receipt names
            argv,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise StorageError(f"the command cannot be started ({reason})") from error
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            _tell(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
        _tell(process.pid, signal.SIGKILL)
        process.wait()


def _tell(group: int, what: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.killpg(group, what)
