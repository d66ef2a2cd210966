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


class Meter:
    """Adds the assets hashed on disk and the assets fetched for one bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._disk = (0, 0)
        self._net = (0, 0)

    def measured(self, assets: int, size: int) -> None:
        """So many were hashed on disk, in all."""
        self._disk = (assets, size)
        self._tell()

    def fetched(self, size: int) -> None:
        """One more was fetched."""
        self._net = (self._net[0] + 1, self._net[1] + size)
        self._tell()

    def _tell(self) -> None:
        # An asset that is missing on disk was "measured" at no cost; count it when it has come.
        self._progress.update(
            max(self._disk[0] * bool(self._disk[1]), self._net[0]), self._disk[1] + self._net[1]
        )
