"""Progress bars for work that takes longer than a second; silent where stderr is not a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DRAW_EVERY_SECONDS = 0.1


class Bars:
    """A `databom.tasks.progress.Progress` that draws with rich."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._next_draw = 0.0

    def start(self, name: str, *, assets: int, size: int | None) -> None:
        """Begin a bar; transient, so nothing is left of it in the scrollback."""
        if not self._enabled:
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}/{task.fields[assets]}"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,  # its thread would keep the hashing from forking (databom.checks.forking)
        )
        self._progress.start()
        self._task = self._progress.add_task(name, total=size, done=0, assets=assets)

    def update(self, assets: int, size: int) -> None:
        """Move the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=size, done=assets)
            now = time.monotonic()
            if now >= self._next_draw:
                self._progress.refresh()
                self._next_draw = now + DRAW_EVERY_SECONDS

    def stop(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
