"""What reading one asset gave."""

from __future__ import annotations

from typing import NamedTuple

from databom.errors import Problem
from databom.storage.localfile import FileStat


class Outcome(NamedTuple):
    """What reading one asset gave.

    `size` is what was found: a minimum unless `complete`. Digests are bare hex; None when they could not be
    had or were not needed (the size already differs). `stat` is a local file's key, the same before and after
    reading. `foreign_links` is the number of names the file has, when it has others than DVC's cache gave it,
    else 0.

    `settled`: nobody had the file open for writing when it was looked at first, as the kernel says. `remembered`: it
    was not read; it has the key it had when its bytes were hashed (`databom.checks.recalling`).
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    stat: FileStat | None = None
    error: Problem | None = None
    complete: bool = True
    foreign_links: int = 0
    settled: bool = False
    remembered: bool = False
