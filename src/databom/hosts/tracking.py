"""MLflow's client: the few calls databom makes to a tracking server, in plain data.

Which calls, and why these (facts-mlflow.md 3 and 5): one `log_inputs` for all datasets, one `log_batch` for all tags,
one upload for all files, which most stores take one by one. Artifacts go straight to the repository that the run's
`artifact_uri` names, which saves the look-up of the run that `log_artifact` would do first. Nothing in `Tracking`
bounds time: MLflow retries for minutes by settings that belong to the whole process, so whoever calls it does it from a
thread of its own. What only reads (`run_tags`, `run_artifacts`, `model_page`) gives up after a minute.

MLflow's exceptions pass through unchanged; their texts may hold a password and must never be repeated.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct, field

from databom.errors import ConfigError, DatabomError, PluginError
from databom.model.text import printable
from databom.storage.patience import within
from databom.storage.redact import redact

T = TypeVar("T")

CONTEXT_TAG = "mlflow.data.context"
MAX_INPUT_TAG_CHARS = 500
GONE = "RESOURCE_DOES_NOT_EXIST"
READ_SECONDS = 60.0
"""What a server has to answer what is asked of it, in all."""
_BRIEF = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "DATABRICKS_RUNTIME_VERSION")
_LOGGED_URI = re.compile(r"models:/m-[0-9a-f]{32}")
_MODEL_URI = re.compile(r"models:/([^/@]+)(?:/([0-9]+)|@([^/@]+))")
_RUN_URI = re.compile(r"runs:/([A-Za-z0-9_-]+)(?:/.*)?")


class Dataset(Struct, frozen=True):
    """One dataset input of a run, as MLflow stores it."""

    name: str
    digest: str
    """At most 36 characters; MLflow refuses more."""
    source_type: str
    source: str
    """JSON."""
    profile: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    """Per run. The rest is per dataset, and whoever logs a name and digest first has written it for good."""


class Tracking:
    """A tracking server as one client sees it."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def uri(self) -> str:
        """Where the client tracks to; may hold a password."""
        return str(self._client.tracking_uri)

    def log_inputs(self, run_id: str, datasets: Sequence[Dataset]) -> None:
        """Log dataset inputs; ones the run already has are kept as they are. One call."""
        from mlflow.entities import Dataset as Entity
        from mlflow.entities import DatasetInput, InputTag

        self._client.log_inputs(
            run_id,
            [
                DatasetInput(
                    Entity(one.name, one.digest, one.source_type, one.source, profile=one.profile),
                    [InputTag(key, value) for key, value in one.tags.items()],
                )
                for one in datasets
            ],
        )

    def tag(self, run_id: str, name: str) -> str | None:
        """A run's tag, as the server has it now. One call."""
        value = self._client.get_run(run_id).data.tags.get(name)
        return value if isinstance(value, str) else None

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, replacing those of the same name. One call up to 100 tags, one more for each further 100."""
        from mlflow.entities import RunTag

        items = list(tags.items())
        for start in range(0, len(items), 100):
            batch = [RunTag(key, value) for key, value in items[start : start + 100]]
            self._client.log_batch(run_id, tags=batch, synchronous=True)

    def put(self, run_id: str, artifact_uri: str | None, files: Mapping[str, bytes]) -> None:
        """Write artifacts, replacing those of the same path.

        Args:
            run_id: the run.
            artifact_uri: where the run keeps its artifacts, when known; else MLflow looks it up.
            files: contents by POSIX path below the run's artifacts.
        """
        repository = artifact_repository(artifact_uri, self.uri)
        # Not TemporaryDirectory: at the interpreter's end that one is removed under a thread that still uploads.
        folder = tempfile.mkdtemp(prefix="databom-")
        try:
            for path, data in files.items():
                local = Path(folder, path)
                local.parent.mkdir(parents=True, exist_ok=True)
                local.write_bytes(data)
            to, upload = ((run_id,), self._client) if repository is None else ((), repository)
            try:
                upload.log_artifacts(*to, folder)
            except RuntimeError:  # stores that upload with a pool cannot while the interpreter shuts down
                for path in files:
                    upload.log_artifact(*to, f"{folder}/{path}", path.rpartition("/")[0] or None)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add_to_page(self, name: str, version: str, write: Callable[[str], str | None]) -> bool:
        """Rewrite a registered version's description by `write`; False where that has no room. Two calls, or one.

        Whoever writes to the page between the two loses what they wrote: MLflow has no conditional write.
        """
        page = self._client.get_model_version(name, version).description or ""
        new = write(page)
        if new is not None and new != page:
            self._client.update_model_version(name, version, description=new)
        return new is not None

    def put_to_model(self, model_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Write files into a folder of a logged model's artifacts (MLflow 3), replacing those of the same name."""
        place = Path(tempfile.mkdtemp(prefix="databom-"))
        try:
            for name, data in files.items():
                (place / name).write_bytes(data)
            self._client.log_model_artifacts(model_id, str(place), folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def tag_versions(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of every registered version of the run's models."""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", run_id):
            return
        for one in self._client.search_model_versions(f"run_id = '{run_id}'"):
            self._client.set_model_version_tag(one.name, one.version, key, value)

    def restore_status(self, run_id: str, status: str) -> None:
        """Put a run's status back as it was, keeping its end time."""
        self._client.update_run(run_id, status=status)


def artifact_repository(artifact_uri: str | None, tracking_uri: str) -> Any:
    """MLflow's way to the artifacts at a URI; None where the client's own way is to be taken.

    Databricks adds a profile to the URI in the client.
    """
    if not artifact_uri or tracking_uri.startswith("databricks") or artifact_uri.startswith("dbfs:"):
        return None
    try:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    except ImportError:
        return None
    try:
        return get_artifact_repository(artifact_uri, tracking_uri=tracking_uri)
    except TypeError:  # MLflow 2 takes the URI alone
        return get_artifact_repository(artifact_uri)


def is_gone(error: BaseException) -> bool:
    """Whether MLflow says that what was asked about does not exist (a deleted run, say)."""
    return getattr(error, "error_code", None) == GONE


def default_client() -> Any:
    """A client of the tracking server that is configured now."""
    from mlflow.tracking.client import MlflowClient

    return MlflowClient()


def be_brief() -> None:
    """Have MLflow give up soon and draw no bars, in a process of our own; what the user has set stays.

    Else the interpreter waits at its end for transfers that nobody waits for any more.
    """
    for name, value in _BRIEF.items():
        os.environ.setdefault(name, value)


def run_tags(run_id: str) -> dict[str, str]:
    """The tags of a run, as the configured tracking server gives them: an answer to look at, not to believe.

    Raises:
        PluginError: MLflow is not installed, or the run cannot be had.
    """
    client = configured_client()
    try:
        tags: Mapping[str, str] = bounded(client, lambda: client.get_run(run_id).data.tags)
    except Exception as error:  # noqa: BLE001  # MLflow raises whatever its store raises, secrets included
        raise PluginError(
            f"the run cannot be read from {shown_uri(str(client.tracking_uri))} ({type(error).__name__})",
            hint="check the run's id and MLFLOW_TRACKING_URI",
        ) from None
    return dict(tags)


def run_artifacts(run_id: str, folder: str, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Files of a run's artifacts, as the configured tracking server gives them: something to look at, not to believe.

    Args:
        run_id: the run.
        folder: where they are below its artifacts.
        limits: the names that are wanted, and the most bytes of each; the first one has to be there.

    Raises:
        PluginError: MLflow is not installed, or the first one cannot be had.
    """
    client = configured_client()
    try:
        found = bounded(client, lambda: _downloaded(client, run_id, folder, limits))
    except Exception as error:  # noqa: BLE001  # MLflow raises whatever its store raises, secrets included
        raise _no_artifact(client, next(iter(limits)), type(error).__name__) from None
    if next(iter(limits)) not in found:
        raise _no_artifact(client, next(iter(limits)), "it is not there, or too long")
    return found


def _downloaded(client: Any, run_id: str, folder: str, limits: Mapping[str, int]) -> dict[str, bytes]:
    """The files that the server lists with a size within the limit, as far as they keep to it."""
    from databom.storage.files import read_bounded

    listed = {one.path: one.file_size for one in client.list_artifacts(run_id, folder) if not one.is_dir}
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="databom-", ignore_cleanup_errors=True) as place:
        for name, limit in limits.items():
            path = f"{folder}/{name}"
            if path in listed and (listed[path] or 0) <= limit:
                with contextlib.suppress(DatabomError):
                    found[name] = read_bounded(Path(client.download_artifacts(run_id, path, place)), limit)
    return found


def _no_artifact(client: Any, name: str, why: str) -> PluginError:
    return PluginError(
        f"{name} of the run cannot be read from {shown_uri(str(client.tracking_uri))} ({why})",
        hint="check the run's id and MLFLOW_TRACKING_URI",
    )


class ModelPage(Struct, frozen=True):
    """What a model registry says of a model: an answer to look at, not to believe."""

    shown: str
    """Which one: `models:/<name>/<version>`, or `runs:/<run>`."""
    run_id: str | None
    """The run it says that it is from."""
    description: str | None
    """Its page; None where it is no registered version, and has none."""


def model_page(uri: str) -> ModelPage:
    """The page of `models:/NAME/VERSION` or `models:/NAME@ALIAS`; of `runs:/RUN_ID` and `models:/m-ID`, the run alone.

    Raises:
        ConfigError: another form of URI.
        PluginError: MLflow is not installed, or there is no such model, or it cannot be had.
    """
    if match := _RUN_URI.fullmatch(uri):
        return ModelPage(f"runs:/{match[1]}", match[1], None)
    match = _MODEL_URI.fullmatch(uri)
    is_logged = _LOGGED_URI.fullmatch(uri) is not None
    if match is None and not is_logged:
        raise ConfigError(
            f"{printable(redact(uri))} names no registered version and no run",
            hint="use models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID or runs:/RUN_ID; `latest` is another one "
            "tomorrow",
        )
    client = configured_client()

    def ask() -> ModelPage:
        if match is None:
            return ModelPage(uri, _run_of(client, uri), None)
        name, version, alias = match.groups()
        found = (
            client.get_model_version(name, version)
            if version
            else client.get_model_version_by_alias(name, alias)
        )
        shown = f"models:/{printable(name)}/{printable(str(found.version))}"
        return ModelPage(
            shown, found.run_id or _run_of(client, str(found.source)) or None, found.description or ""
        )

    try:
        return bounded(client, ask)
    except Exception as error:  # noqa: BLE001  # MLflow raises whatever its store raises, secrets included
        raise PluginError(
            f"{printable(uri)} cannot be read from {shown_uri(str(client.tracking_uri))} ({type(error).__name__})",
            hint="check the name, the version and MLFLOW_TRACKING_URI or MLFLOW_REGISTRY_URI",
        ) from None


def _run_of(client: Any, source: str) -> str | None:
    """The run of a version that names none itself: some registrations leave it out."""
    if match := _RUN_URI.fullmatch(source):
        return match[1]
    model = source.removeprefix("models:/")
    if model == source or not model.startswith("m-") or not hasattr(client, "get_logged_model"):
        return None
    return str(client.get_logged_model(model).source_run_id or "") or None


def bounded(client: Any, call: Callable[[], T]) -> T:
    """What a call to the tracking server answers, within `READ_SECONDS`.

    Raises:
        UnreachableError: it took longer.
        Exception: whatever MLflow raises.
    """
    return within(call, READ_SECONDS, shown_uri(str(client.tracking_uri)))


def is_configured() -> bool:
    """Whether anybody named a tracking server, in the environment or in this process, or keeps a store here."""
    module = sys.modules.get("mlflow.tracking")
    return (
        any(os.environ.get(name) for name in _VARIABLES)
        or (module is not None and bool(module.is_tracking_uri_set()))
        or any(Path(name).exists() for name in ("mlflow.db", "mlruns"))
    )


def configured_client() -> Any:
    """A client of the tracking server that somebody named.

    Raises:
        PluginError: nobody did, or MLflow is not installed.
    """
    from databom.storage.redact import hide_secrets_in_logs

    try:
        import mlflow.tracking  # noqa: F401
    except ImportError as error:
        raise PluginError(
            "MLflow is not installed in this environment", hint="pip install 'databom[mlflow]'"
        ) from error
    if not is_configured():  # MLflow would make a store of its own in the working directory
        raise PluginError("no tracking server is configured", hint="set MLFLOW_TRACKING_URI")
    hide_secrets_in_logs()  # MLflow lets urllib3 warn about every retry, with the URI's query
    return default_client()


def shown_uri(uri: str) -> str:
    """A tracking URI without user, password and query, for messages and files."""
    try:
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(a tracking server)"
    if not parts.scheme:
        return parts.path
    return f"{parts.scheme}://{host}{parts.path}"


def input_sources(datasets: object) -> list[str]:
    """Where datasets say they come from (`mlflow.entities.DatasetInput`s): paths and URLs; none for most.

    Only what names a file: a Hugging Face dataset has a `path` too, which is a name on its hub.
    """
    found = []
    for one in datasets if isinstance(datasets, (list, tuple)) else ():
        dataset = getattr(one, "dataset", None)
        kind = str(getattr(dataset, "source_type", ""))
        try:
            source = json.loads(getattr(dataset, "source", ""))
        except (TypeError, ValueError, RecursionError):
            continue
        if not isinstance(source, dict):
            continue
        keys = ("uri",) if kind.startswith("hugging") else ("uri", "url", "path")
        found += [source[key] for key in keys if isinstance(source.get(key), str)]
    return found
