"""Taking registered versions of models out of use: a mark that says why, and no alias that leads to them.

Nothing is deleted. MLflow has no lock on a version: `models:/NAME/VERSION` can still be loaded by whoever names it, and
whoever may write to the registry can undo it. What the aliases were stays in a tag of the version.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from databom.errors import PluginError
from databom.hosts.tracked import TrackedVersion
from databom.hosts.tracking import bounded, configured_client, shown_uri
from databom.model.text import printable

T = TypeVar("T")
REVOKED_TAG = "databom.revoked"
"""Of a version: the digests of the revoked manifests that its run used, with commas."""
ALIASES_TAG = "databom.revoked.aliases"
"""Of a version: the aliases that were taken away, with commas."""


class Freezer:
    """The model registry that is configured. Its methods raise PluginError where it does not answer or refuses.

    Raises:
        PluginError: MLflow is not installed, or no server is configured.
    """

    def __init__(self) -> None:
        self._client = configured_client()

    def _call(self, what: str, call: Callable[[], T]) -> T:
        try:
            return bounded(self._client, call)
        except Exception as error:  # noqa: BLE001  # MLflow raises whatever its store raises, secrets included
            raise PluginError(
                f"{what} ({type(error).__name__}) at {shown_uri(str(self._client.tracking_uri))}",
                hint="check MLFLOW_TRACKING_URI and who may write to the registry",
            ) from None

    def is_frozen(self, version: TrackedVersion, manifest: str) -> bool:
        """Whether the version is marked for this manifest, and no alias leads to it."""
        return not version.aliases and manifest in _listed(self._tags(version).get(REVOKED_TAG))

    def freeze(self, version: TrackedVersion, manifest: str) -> tuple[str, ...]:
        """Mark the version, note its aliases there, then take them away. Done twice, it is as done once.

        An alias that leads to another version meanwhile is left alone: MLflow would take it away from any.

        Returns:
            The aliases that were taken away.
        """
        tags = self._tags(version)
        marks = {
            ALIASES_TAG: {*_listed(tags.get(ALIASES_TAG)), *version.aliases},
            REVOKED_TAG: {*_listed(tags.get(REVOKED_TAG)), manifest},
        }
        for key, values in marks.items():
            if values and values != {*_listed(tags.get(key))}:
                self._mark(version, key, ",".join(sorted(values)))
        now = self._aliases(version.name) if version.aliases else {}
        taken = tuple(alias for alias in version.aliases if now.get(alias) == version.version)
        for alias in taken:
            self._call(
                f"the alias {printable(alias)} of {printable(version.name)} cannot be taken away",
                partial(self._client.delete_registered_model_alias, version.name, alias),
            )
        return taken

    def _aliases(self, name: str) -> dict[str, str]:
        def aliases() -> Any:
            return self._client.get_registered_model(name).aliases

        found = self._call(f"the aliases of {printable(name)} cannot be read", aliases)
        return {str(alias): str(of) for alias, of in dict(found or {}).items()}

    def _mark(self, version: TrackedVersion, key: str, value: str) -> None:
        self._call(
            "the version cannot be marked",
            lambda: self._client.set_model_version_tag(version.name, version.version, key, value),
        )

    def _tags(self, version: TrackedVersion) -> dict[str, str]:
        def tags() -> Any:
            return self._client.get_model_version(version.name, version.version).tags

        return dict(self._call("the version cannot be read", tags))


def _listed(text: str | None) -> list[str]:
    return [one for one in (text or "").split(",") if one]
