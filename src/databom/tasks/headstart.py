"""Reading that begins while the manifest is still being judged (docs/adr/0026-head-start.md).

Nothing is believed sooner: what the copies of this process find is looked at only once the manifest is believed and
turned out to list just these assets. Else it is thrown away, unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

from databom.checks.engine import Begun
from databom.checks.forking import may_fork
from databom.checks.measuring import SMALL_BYTES
from databom.checks.recalling import is_worth_it
from databom.errors import DatabomError
from databom.model.listings import Encoded, Listing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from databom.model.manifest import Asset, Manifest
    from databom.storage.hashcache import HashCache
    from databom.storage.tree import LocalTree


MOST_BYTES = 32 * 1024 * 1024
"""A longer list is not decoded while it is being checked: both would be in memory at the same time."""


class HeadStart:
    """Called with assets, it begins to read them, and with None it stops; a context manager that leaves nothing behind.

    Args:
        tree: the local folder they should be in.
        cache: what is remembered of the tree, if it may be asked. Where that is anything, there may be little to read,
            and reading waits until it is known what.
    """

    def __init__(self, tree: LocalTree, cache: HashCache | None) -> None:
        self.tree = tree
        self._cache = cache
        self._begun: Begun | None = None

    def __call__(self, assets: Sequence[Asset] | None) -> None:
        """Begin, if that can be done aside."""
        self._stop()
        if assets is None or not may_fork() or self._is_too_much(assets):
            return
        # Assets that cannot be read from the manifest, a root that is not there: whoever asks in earnest says so.
        try:
            if self._cache is None:
                self._begun = Begun(assets, self.tree, memory=False)
            elif next(self._cache.rows(), None) is None:
                memory = isinstance(assets, Listing) or is_worth_it(assets, self.tree)
                self._begun = Begun(assets, self.tree, memory=memory)
        except (DatabomError, msgspec.MsgspecError):
            self._begun = None

    def _is_too_much(self, assets: Sequence[Asset]) -> bool:
        if not isinstance(assets, Encoded) or assets.size <= MOST_BYTES:
            return False
        return self._cache is not None or assets.small_parts(SMALL_BYTES) is None

    def of(self, manifest: Manifest) -> Begun | None:
        """What has begun, if it is what the manifest lists; else it stops."""
        if self._begun is not None and self._begun.assets is not manifest.assets:
            self._stop()
        return self._begun

    def _stop(self) -> None:
        if self._begun is not None:
            self._begun.close()
            self._begun = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop()
