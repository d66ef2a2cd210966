"""Reading that begins while the manifest is still being judged (docs/adr/0026-head-start.md).

Nothing is believed sooner: what the copies of this process find is looked at only once the manifest is believed and
turned out to list just these assets. Else it is thrown away, unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

from databom.checks.engine import Begun
from databom.checks.forking import may_fork
from databom.errors import DatabomError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from databom.model.manifest import Asset, Manifest
    from databom.storage.hashcache import HashCache
    from databom.storage.tree import LocalTree


class HeadStart:
    """Called with assets, it begins to read them; a context manager that leaves no reading behind.

    Args:
        tree: the local folder they should be in; None makes this do nothing.
        leases: whether each file is to be held against writers.
        cache: what is remembered of the tree. Where that is anything, there may be little to read, and reading waits
            until it is known what.
    """

    def __init__(
        self, tree: LocalTree | None, *, leases: bool = False, cache: HashCache | None = None
    ) -> None:
        self.tree = tree
        self._leases = leases
        self._cache = cache
        self._begun: Begun | None = None

    def __call__(self, assets: Sequence[Asset]) -> None:
        """Begin, if that can be done aside."""
        if self.tree is None or self._begun is not None or not may_fork():
            return
        if self._cache is not None and next(self._cache.rows(), None) is not None:
            return
        # Assets that cannot be read from the manifest, a root that is not there: whoever asks in earnest says so.
        try:
            self._begun = Begun(assets, self.tree, leases=self._leases, memory=self._cache is not None)
        except (DatabomError, msgspec.MsgspecError):
            self._begun = None

    def of(self, manifest: Manifest) -> Begun | None:
        """What has begun, if it is what the manifest lists."""
        begun = self._begun
        return begun if begun is not None and begun.assets is manifest.assets else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._begun is not None:
            self._begun.close()
