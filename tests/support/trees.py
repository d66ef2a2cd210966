"""Small real trees and their manifests; readers that serve from memory and misbehave on demand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from databom.errors import DeniedError, MissingError, StorageError, TruncatedError, UnreachableError
from databom.model.manifest import Manifest, read_manifest
from databom.storage import posix
from databom.storage.reader import with_retries


def plant(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return root


def manifest_of(files: Mapping[str, bytes], *, sizes: bool = True) -> Manifest:
    """The manifest of a release that holds exactly these files."""
    assets = []
    for path, data in files.items():
        asset: dict[str, object] = {"path": path, "sha256": hashlib.sha256(data).hexdigest()}
        if sizes:
            asset["size"] = len(data)
        assets.append(asset)
    value = {"dataset_id": "d", "version": "1", "license": {"spdx": "CC-BY-4.0"}, "assets": assets}
    return read_manifest(json.dumps(value).encode())


ERRORS: dict[str, type[StorageError]] = {
    "missing": MissingError,
    "denied": DeniedError,
    "unreachable": UnreachableError,
}


class MemoryStream:
    """Bytes in chunks of a few sizes, as networks give them; may end early, never end, or lie about its length."""

    def __init__(self, data: bytes, length: int | None, fault: str | None) -> None:
        self._data = data
        self._at = 0
        self._fault = fault
        self.length = length
        self.served = 0

    def read(self, n: int, /) -> bytes:
        if self._fault == "endless":
            self.served += n
            return bytes(n)
        part = self._data[self._at : self._at + max(1, min(n, 1 + self._at % 977))]
        self._at += len(part)
        self.served += len(part)
        if not part and self._fault == "truncated":

            def short() -> bytes:
                raise TruncatedError("the body ended early", where="memory")

            return with_retries(short, attempts=1)
        return part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass


@dataclass
class MemoryReader:
    """A store in memory.

    `faults` maps a path to a word of `ERRORS`, or to `truncated` (the body ends early), `endless`, `liar` (another
    length is announced), `silent` (none is) or `exit` (the process dies). `opened` lists what was asked for.
    """

    files: dict[str, bytes]
    faults: dict[str, str] = field(default_factory=dict)
    shown: str = "memory://store"
    opened: list[str] = field(default_factory=list)

    def open(self, path: str, /) -> MemoryStream:
        # One attempt, and its failure is final: whoever reads needs no patience with a store that never recovers.
        return with_retries(lambda: self._open(path), attempts=1)

    def _open(self, path: str) -> MemoryStream:
        self.opened.append(path)
        fault = self.faults.get(path)
        if fault == "exit":
            os._exit(1)
        if fault in ERRORS:
            raise ERRORS[fault](f"cannot open {self.shown}/{path}: {fault}", where=f"{self.shown}/{path}")
        if path not in self.files:
            raise MissingError(f"{self.shown}/{path} does not exist", where=f"{self.shown}/{path}")
        data = self.files[path]
        length = {"silent": None, "endless": None, "liar": len(data) + 3}.get(fault or "", len(data))
        return MemoryStream(data, length, fault)


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail instead of hanging: for calls that a FIFO or device could block for ever."""

    def late(*_: object) -> None:
        raise AssertionError(f"still blocked after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to open everything: what a user without permissions sees."""
    if os.geteuid() != 0:
        yield
        return
    posix.has_openat2()  # imports what nobody may not read
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def snapshot(root: Path) -> dict[str, tuple[int, bytes | str | None]]:
    """Everything below `root`, unfollowed: mode and content, to show that nothing was touched."""
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder, name)
            status = path.lstat()
            content: bytes | str | None = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_bytes()
            found[os.fspath(path.relative_to(root))] = (status.st_mode, content)
    return found
