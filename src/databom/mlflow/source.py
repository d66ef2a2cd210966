"""What `mlflow.data.get_source` gives for one of our dataset inputs: which release it was, and a way to it."""

from __future__ import annotations

import os
from typing import Any, Self

from mlflow.data.dataset_source import DatasetSource

from databom.tasks.evidence import SOURCE_TYPE

_FIELDS = ("name", "release", "manifest", "tree", "source", "root")


class DatabomSource(DatasetSource):  # type: ignore[misc]  # MLflow is not followed by mypy here
    """A pinned release, as a run's dataset input names it.

    It resolves nothing: no URI scheme is ours to claim, and a release is found by its pin and not by a URI. What is
    read back from a tracking server is anybody's word, so `load` believes none of it but compares it with the project.
    """

    def __init__(self, **fields: str | None) -> None:
        self._fields = {key: fields.get(key) for key in _FIELDS}

    @property
    def manifest(self) -> str | None:
        """The manifest digest, `sha256:<hex>`."""
        return self._fields["manifest"]

    @staticmethod
    def _get_source_type() -> str:
        return SOURCE_TYPE

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:  # noqa: ARG004  # MLflow's signature
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> Self:  # MLflow's signature
        raise NotImplementedError("a release is logged by databom itself, never made from a path or URL")

    def load(self) -> str:
        """The local folder of the release, after every byte in it was verified.

        Raises:
            ConfigError: no project here, or none of its pins is this manifest.
            CheckFailed: the data does not pass; carries the report.
        """
        from databom.errors import ConfigError
        from databom.tasks.gating import gate
        from databom.tasks.project import Project

        project = Project.load()
        for name, pin in project.lock.pins.items():
            if pin.manifest == self.manifest:
                gate(name, project=project).require()
                return os.fspath(project.data_path(pin))
        raise ConfigError(
            f"no pin of {project.root} has the manifest {self.manifest}",
            hint="check out the commit that pinned it, or pin it with `databom add`",
        )

    def to_dict(self) -> dict[str, str | None]:
        """The release, as it is stored with the run."""
        return dict(self._fields)

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> Self:
        """The source a run's dataset input holds; anything that is no text is dropped."""
        return cls(
            **{key: value for key, value in source_dict.items() if key in _FIELDS and isinstance(value, str)}
        )
