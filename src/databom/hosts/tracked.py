"""A run as its tracking server shows it afterwards: tags, and files by digest.

Something to hold against a receipt, and nothing to believe. Files are fetched one at a time, hashed and removed again,
and only under names that the caller has from elsewhere: what a server lists is compared, never opened.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from databom.errors import DatabomError, PluginError
from databom.hosts.tracking import artifact_repository, bounded, configured_client, is_gone, shown_uri
from databom.model.text import printable
from databom.storage.files import read_bounded

T = TypeVar("T")
MAX_LISTED = 200_000
MAX_RUNS = 10_000
"""Runs that are looked at for one tag, the newest."""
_PAGE = 1_000


class TrackedRun(Struct, frozen=True):
    """A run, as it is shown now."""

    run_id: str
    tags: Mapping[str, str]
    is_deleted: bool
    artifact_uri: str | None
    status: str = ""


class TrackedVersion(Struct, frozen=True):
    """A registered version of a model, as it is shown now."""

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]


class Tracked:
    """The tracking server that is configured.

    Raises:
        PluginError: MLflow is not installed, or no server is configured.
    """

    def __init__(self) -> None:
        self._client = configured_client()
        self._uri = str(self._client.tracking_uri)
        self.shown = shown_uri(self._uri)
        """Where it is, without a password."""

    def _call(self, call: Callable[[], T]) -> T:
        return bounded(self._client, call)

    def run(self, run_id: str) -> TrackedRun | None:
        """A run; None where the server knows none of this id. A deleted one is one as long as the server keeps it.

        Raises:
            PluginError: it cannot be had.
        """
        try:
            return _shown(self._call(lambda: self._client.get_run(run_id)))
        except Exception as error:  # noqa: BLE001  # MLflow raises whatever its store raises, secrets included
            if is_gone(error):
                return None
            raise _refused("the run cannot be read", self.shown, error) from None

    def runs_with(self, tag: str, value: str | None = None) -> Iterator[TrackedRun]:
        """The newest runs that carry a tag, with a value or any, of all experiments, deleted ones too.

        Raises:
            PluginError: they cannot be had.
        """
        from mlflow.entities import ViewType

        def experiments(at: str | None) -> Any:
            return self._call(lambda: self._client.search_experiments(ViewType.ALL, page_token=at))

        def runs(at: str | None) -> Any:
            is_it = "LIKE '%'" if value is None else f"= '{value}'"
            wanted, order = f"tags.`{tag}` {is_it}", ["attributes.start_time DESC"]
            return self._call(
                lambda: self._client.search_runs(places, wanted, ViewType.ALL, _PAGE, order, at)
            )

        try:
            places = [one.experiment_id for one in _pages(experiments)]
            if places:
                yield from map(_shown, islice(_pages(runs), MAX_RUNS))
        except Exception as error:  # noqa: BLE001
            raise _refused("runs cannot be searched for", self.shown, error) from None

    def versions_of(self, run_ids: Collection[str]) -> Iterator[TrackedVersion]:
        """The registered versions of some runs: those that name them, or lie in them, and copies of those.

        Every version of the registry is looked at: one search cannot ask for all of that.

        Raises:
            PluginError: they cannot be had.
        """

        def versions(at: str | None) -> Any:
            return self._call(lambda: self._client.search_model_versions(max_results=_PAGE, page_token=at))

        if not run_ids:
            return
        try:
            found = _of_runs(_pages(versions), frozenset(run_ids))
            # A search leaves out the aliases; the model has them.
            models = {name: self._model(name) for name in sorted({str(one.name) for one, _ in found})}
        except Exception as error:  # noqa: BLE001
            raise _refused("registered models cannot be searched for", self.shown, error) from None
        for one, run_id in found:
            version, aliases = str(one.version), dict(models[str(one.name)].aliases or {})
            named = tuple(sorted(str(alias) for alias, of in aliases.items() if str(of) == version))
            yield TrackedVersion(str(one.name), version, run_id, named)

    def _model(self, name: str) -> Any:
        return self._call(lambda: self._client.get_registered_model(name))

    def of_run(self, run: TrackedRun) -> Artifacts:
        """The artifacts of a run.

        Raises:
            PluginError: they cannot be had.
        """
        return self._artifacts(run.artifact_uri)

    def of_model(self, model_id: str) -> Artifacts | None:
        """The files of a logged model (MLflow 3); None where there is no such model.

        Raises:
            PluginError: they cannot be had.
        """
        try:
            model = self._call(lambda: self._client.get_logged_model(model_id))
        except Exception as error:  # noqa: BLE001
            if is_gone(error):
                return None
            raise _refused("a logged model cannot be read", self.shown, error) from None
        return self._artifacts(str(model.artifact_location))

    def _artifacts(self, uri: str | None) -> Artifacts:
        try:
            repository = artifact_repository(uri, self._uri)
        except Exception as error:  # noqa: BLE001
            raise _refused("artifacts cannot be read", self.shown, error) from None
        if repository is None:
            raise PluginError(
                f"artifacts at {self.shown} are read by its own tools alone",
                hint="download them, and compare their digests with those of the receipt",
            )
        return Artifacts(repository, self.shown, self._call)


class Artifacts:
    """Files of one run or model. Its methods raise PluginError where the store does not answer."""

    def __init__(self, repository: Any, shown: str, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._repository = repository
        self._call = call
        self._shown = shown
        self._folders: dict[str, dict[str, bool]] = {}

    def has(self, path: str) -> bool:
        """Whether there is a file of this name."""
        return self._listed(path.rpartition("/")[0]).get(path) is False

    def below(self, folder: str = "") -> Iterator[str]:
        """All files below a folder, as the server names them."""
        waiting, seen = [folder], {folder}
        while waiting:
            for path, is_folder in self._listed(waiting.pop()).items():
                if not is_folder:
                    yield path
                elif path not in seen:
                    seen.add(path)
                    waiting.append(path)

    def digest(self, path: str) -> str | None:
        """The SHA-256 of a file in hex; None where there is none."""
        if not self.has(path):
            return None
        with self._fetched(path) as place, open(place, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def read(self, path: str, limit: int) -> bytes | None:
        """A file; None where there is none, or where it is longer than `limit`."""
        if not self.has(path):
            return None
        with self._fetched(path) as place:
            return read_bounded(place, limit) if place.stat().st_size <= limit else None

    def _listed(self, folder: str) -> dict[str, bool]:
        if folder not in self._folders:
            try:
                entries = self._call(lambda: self._repository.list_artifacts(folder or None))
                found = {one.path: bool(one.is_dir) for one in entries}
            except Exception as error:  # noqa: BLE001
                if not is_gone(error):
                    raise _refused("artifacts cannot be listed", self._shown, error) from None
                found = {}
            if sum(map(len, self._folders.values())) + len(found) > MAX_LISTED:
                raise PluginError(f"{self._shown} lists more than {MAX_LISTED:,} artifacts")
            self._folders[folder] = found
        return self._folders[folder]

    @contextmanager
    def _fetched(self, path: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="databom-", ignore_cleanup_errors=True) as place:
            try:  # as long as it takes: a model may be large, and MLflow gives up on a server that sends nothing
                local = Path(self._repository.download_artifacts(path, place))
            except Exception as error:  # noqa: BLE001
                raise _refused(f"{printable(path)} cannot be read", self._shown, error) from None
            if not local.is_file() or not local.resolve().is_relative_to(Path(place).resolve()):
                raise PluginError(f"{printable(path)} is no file at {self._shown}")
            yield local


def _refused(what: str, shown: str, error: Exception) -> PluginError:
    """MLflow's error as ours. Its own words may hold a password, and are not repeated."""
    if isinstance(error, DatabomError):
        return PluginError(str(error), hint=error.hint)
    return PluginError(
        f"{what} from {shown} ({type(error).__name__})", hint="check MLFLOW_TRACKING_URI, or try again"
    )


def _shown(run: Any) -> TrackedRun:
    tags = {str(key): str(value) for key, value in run.data.tags.items()}
    uri = run.info.artifact_uri
    is_deleted, status = run.info.lifecycle_stage != "active", str(run.info.status)
    return TrackedRun(str(run.info.run_id), tags, is_deleted, str(uri) if uri else None, status)


def _of_runs(versions: Iterable[Any], run_ids: frozenset[str]) -> list[tuple[Any, str]]:
    """The versions that are of one of these runs, each with that run."""
    found: list[tuple[Any, str]] = []
    copies: dict[str, list[Any]] = {}
    for one in versions:
        source = str(one.source or "")
        run = next((part for part in (str(one.run_id or ""), *source.split("/")) if part in run_ids), None)
        if run is not None:
            found.append((one, run))
        elif source.startswith("models:/"):
            copies.setdefault(source, []).append(one)
    for one, run in found:  # it grows: of a copy there may be copies
        found += [(copy, run) for copy in copies.pop(f"models:/{one.name}/{one.version}", ())]
    return found


def _pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return
