"""How a task tells whoever waits how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by long tasks from one thread; the command line draws a bar, the default does nothing."""

    def start(self, name: str, *, assets: int, size: int | None) -> None:
        """A pass over `assets` assets of `size` bytes (None: unknown) begins."""

    def update(self, assets: int, size: int) -> None:
        """So many assets and bytes of the pass are done."""

    def stop(self) -> None:
        """The pass is over."""


class Silent:
    """Says nothing."""

    def start(self, name: str, *, assets: int, size: int | None) -> None:
        """Ignore."""

    def update(self, assets: int, size: int) -> None:
        """Ignore."""

    def stop(self) -> None:
        """Ignore."""
