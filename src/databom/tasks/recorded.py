r"""The stat record: what each asset's file looked like when its bytes were last proven here.

`sync` proves every byte and then notes for each asset its device, inode, size, mtime and ctime. When a run starts,
that note is compared with the tree: five numbers an asset instead of all its bytes. No difference means that nobody
wrote to these files since, short of root's own means (attacks.md 4a); it never means more, so nothing but a run's
`databom.verdict` rests on it, and every gate reads the bytes again.

`.databom/last/<name>.stat` is, as if by a shell command,

    printf 'databom stat record 1\n{"assets":2,...}\n'; then each block: its length in 4 bytes, its zlib data

More precisely: the second line is a JSON object that says what the record is about (manifest, tree, trust root and
policy by digest, the asset root, this machine, how many assets and directories). A block, decompressed, is two 4-byte
numbers (entries, bytes of names), the names joined by NUL, then for each entry five 8-byte integers: dev, ino, size,
mtime_ns, ctime_ns; all little-endian. Assets come first, sorted; then the directories that hold them (size 0), because
a file that was added shows nowhere but in its directory.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from databom.errors import DatabomError
from databom.model.text import printable
from databom.storage import files
from databom.storage.localfile import FileStat, file_stat
from databom.storage.machine import machine
from databom.storage.staging import PARTIAL
from databom.tasks.rootfile import digests_in_force

if TYPE_CHECKING:
    from databom.checks.integrity import Outcome
    from databom.tasks.project import Project

MAGIC = b"databom stat record 1\n"
MAX_HEADER_BYTES = 64 * 1024
MAX_BLOCK_BYTES = 16 * 1024 * 1024
BLOCK_ENTRIES = 1024
FINE_TICK_NS = 20_000_000
"""Longer than the tick of any kernel's file times (10 ms)."""
COARSE_TICK_NS = 2_000_000_000
"""For file systems that keep whole seconds, or every second one."""

_COUNTS = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_STAT = struct.Struct("<QQQqq")


class Comparison(NamedTuple):
    """What comparing gave: `pass`, `fail` or `unverified`, and why not `pass`."""

    verdict: str
    reason: str | None = None


class UnusableError(ValueError):
    """The record is not one we can read. Never leaves this module."""


_Entry = tuple[str, FileStat]


def record_path(project: Project, name: str) -> Path:
    """Where a pin's record is."""
    return project.last_dir / f"{name}.stat"


# --- writing ----------------------------------------------------------------------------------------


def forget(project: Project, name: str) -> None:
    """Remove a pin's record, if there is one: before anything is written to its tree."""
    files.remove(record_path(project, name))


def record(project: Project, name: str, outcomes: Iterable[Outcome]) -> bool:
    """Note how the files of a tree look that has just passed, every asset of it; False when that cannot be done.

    Nothing is noted that might not show a later write: the tree must still be as it was when it was hashed, hold
    nothing else, and be older than the tick of its file system's clock (waits for one tick, 20 ms).

    A record that cannot be made costs a run's verdict, not the caller's success, so nothing is raised for it.
    """
    try:
        forget(project, name)
        root = project.data_path(project.pin(name))
        assets = sorted((outcome.path, outcome.stat) for outcome in outcomes)
        known = [(path, stat) for path, stat in assets if stat is not None]
        if len(known) != len(assets) or not known or not _outlive_the_tick(stat for _, stat in known):
            return False
        directories = _directories(root, [path for path, _ in known], _own(project, name))
        if directories is None or any(_look(root, path) != stat for path, stat in known):
            return False
        header = {
            **_subject(project, name),
            "assets": len(known),
            "directories": len(directories),
        }
        data = b"".join((MAGIC, json.dumps(header).encode() + b"\n", *_blocks([*known, *directories])))
        project.state("last")
        files.write_atomic(record_path(project, name), data, mode=0o600)
    except (DatabomError, OSError, ValueError, struct.error):
        return False
    return True


def _subject(project: Project, name: str) -> dict[str, str]:
    """What a record is about; a record about anything else says nothing."""
    pin = project.pin(name)
    return {
        "name": name,
        "manifest": pin.manifest,
        "tree": pin.tree,
        "trust": " ".join(digests_in_force(project)),
        "policy": project.config.policy_digest,
        "root": os.fspath(project.data_path(pin)),
        "machine": machine(),
    }


def _outlive_the_tick(stats: Iterable[FileStat]) -> bool:
    """Wait until a write that comes now would get a later ctime than any of these (git's "racy" entries)."""
    newest, coarse = 0, True
    for stat in stats:
        newest = max(newest, stat.ctime_ns)
        coarse = coarse and stat.ctime_ns % 1_000_000_000 == 0
    tick = COARSE_TICK_NS if coarse else FINE_TICK_NS
    left = newest + tick - time.time_ns()
    if left > tick:
        return False  # a file from the future, by this machine's clock
    if left > 0:
        time.sleep(left / 1e9)
    return True


def _own(project: Project, name: str) -> frozenset[str]:
    """What may stand in the folder beside the assets: our workshop, and the manifest of what was pinned in place."""
    from databom.tasks.own_files import own_in_folder

    return own_in_folder(project, project.pin(name)) | {PARTIAL}


def _directories(root: Path, paths: Sequence[str], own: frozenset[str]) -> list[_Entry] | None:
    """The directories that hold the assets, as they look now; None when one holds anything else."""
    expected: dict[str, set[str]] = {}
    for path in paths:
        while path:
            parent, _, leaf = path.rpartition("/")
            names = expected.setdefault(parent, set())
            if leaf in names:
                break
            names.add(leaf)
            path = parent  # noqa: PLW2901  # climbs
    entries = []
    for directory, names in sorted(expected.items()):
        before = _look(root, directory)
        if before is None or _listed(root, directory, own) != names:
            return None
        entries.append((directory, before._replace(size=0)))
    return entries


def _blocks(entries: Sequence[_Entry]) -> Iterator[bytes]:
    rest = iter(entries)
    while block := list(islice(rest, BLOCK_ENTRIES)):
        names = "\0".join(path for path, _ in block).encode()
        stats = b"".join(_STAT.pack(*stat) for _, stat in block)
        data = zlib.compress(_COUNTS.pack(len(block), len(names)) + names + stats, 1)
        yield _LENGTH.pack(len(data)) + data


# --- comparing --------------------------------------------------------------------------------------


def compare(
    project: Project, name: str, *, deadline: float | None = None, stop: Callable[[], bool] | None = None
) -> Comparison:
    """Whether a pin's tree is as it was when its bytes were proven here. Reads no asset; never raises for the tree.

    Args:
        project: the project.
        name: the pin.
        deadline: `time.monotonic()` after which it gives up (`unverified`).
        stop: asked now and then; True gives up too.

    Returns:
        `pass`: no change. `fail`: this file changed, is gone, or is new. `unverified`: it cannot be known here, with
        the reason: no record, one of another machine or folder, of another manifest, trust root or policy, or no time.
    """
    try:
        with open(record_path(project, name), "rb") as file:
            header = _header(file)
            reason = _not_about(header, _subject(project, name))
            if reason is not None:
                return Comparison("unverified", reason)
            root, own = project.data_path(project.pin(name)), _own(project, name)
            return _compare(root, own, header, file, _Patience(deadline, stop))
    except FileNotFoundError:
        return Comparison("unverified", "its files were not proven on this machine (no stat record)")
    except (UnusableError, OSError, DatabomError):
        return Comparison("unverified", "the stat record cannot be read; `databom sync` makes a new one")


class _Patience(NamedTuple):
    deadline: float | None
    stop: Callable[[], bool] | None

    @property
    def is_over(self) -> bool:
        return (self.deadline is not None and time.monotonic() > self.deadline) or (
            self.stop is not None and self.stop()
        )


def _compare(
    root: Path, own: frozenset[str], header: Mapping[str, Any], file: BinaryIO, patience: _Patience
) -> Comparison:
    assets, total = header["assets"], header["assets"] + header["directories"]
    done = moved = 0
    for block in _read_blocks(file):
        if patience.is_over:
            return Comparison("unverified", f"looked at {done:,} of {assets:,} assets in the time there was")
        for path, known in block:
            is_asset, done = done < assets, done + 1
            try:
                now = _look(root, path)
            except OSError as error:
                return Comparison(
                    "unverified", f"{printable(path)} cannot be looked at ({type(error).__name__})"
                )
            if now is not None and now == known:
                continue
            if now is None:
                return Comparison("fail", f"{printable(path) or 'the folder'} is gone")
            if is_asset and now[1:] != known[1:]:
                return Comparison("fail", f"{printable(path)} changed since it was verified")
            if now.dev != known.dev:
                moved += 1
            elif (
                not is_asset
                and now[3:] != known[3:]
                and _listed(root, path, own) != _recorded_names(file, path, assets)
            ):
                return Comparison(
                    "fail", f"something was added to or removed from {printable(path) or 'the folder'}"
                )
    if done != total:
        raise UnusableError("entries are missing")
    if moved:
        return Comparison("unverified", "the file system has another device number than when it was verified")
    return Comparison("pass")


def _look(root: Path, path: str) -> FileStat | None:
    """A file's key now; None when there is none. Links are followed: the inode tells whether it is the same file."""
    try:
        return file_stat(os.stat(f"{root}/{path}"))  # noqa: PTH116  # a million times: no Path objects
    except (FileNotFoundError, NotADirectoryError):
        return None


def _listed(root: Path, directory: str, own: frozenset[str]) -> set[str]:
    names = set(os.listdir(f"{root}/{directory}"))  # noqa: PTH208
    return names if directory else names - own


def _recorded_names(file: BinaryIO, directory: str, assets: int) -> set[str]:
    """The names a directory held, from the record's own list; leaves the file where it was."""
    position = file.tell()
    try:
        file.seek(0)
        _header(file)
        prefix = f"{directory}/" if directory else ""
        paths = (path for block in _read_blocks(file) for path, _ in block)
        return {
            path[len(prefix) :].partition("/")[0] for path in islice(paths, assets) if path.startswith(prefix)
        }
    finally:
        file.seek(position)


def _header(file: BinaryIO) -> Mapping[str, Any]:
    if file.read(len(MAGIC)) != MAGIC:
        raise UnusableError("not a stat record")
    try:
        header = json.loads(file.readline(MAX_HEADER_BYTES))
    except (ValueError, RecursionError) as error:
        raise UnusableError("no header") from error
    if not isinstance(header, dict) or type(header.get("assets")) is not int or header["assets"] < 1:
        raise UnusableError("no header")
    if type(header.get("directories")) is not int or header["directories"] < 1:
        raise UnusableError("no header")
    return header


def _not_about(header: Mapping[str, Any], subject: Mapping[str, str]) -> str | None:
    """Why a record says nothing about this pin here, or None."""
    reasons = {
        "machine": "it was verified on another machine",
        "root": "it was verified in another folder",
        "manifest": "what was verified here last is another manifest",
        "tree": "what was verified here last is another tree",
        "trust": "it was verified here by another trust root",
        "policy": "it was verified here by another policy",
        "name": "the stat record is of another pin",
    }
    return next((reason for key, reason in reasons.items() if header.get(key) != subject[key]), None)


def _read_blocks(file: BinaryIO) -> Iterator[list[_Entry]]:
    """The entries, block by block, each bounded before it is believed."""
    while prefix := file.read(_LENGTH.size):
        try:
            length = _LENGTH.unpack(prefix)[0]
            if length > MAX_BLOCK_BYTES:
                raise UnusableError("a block is too long")
            decompressor = zlib.decompressobj()
            data = decompressor.decompress(file.read(length), MAX_BLOCK_BYTES)
            if not decompressor.eof:
                raise UnusableError("a block is cut or too long")
            count, size = _COUNTS.unpack_from(data)
            body = data[_COUNTS.size :]
            names = body[:size].decode().split("\0")
            stats = [FileStat(*fields) for fields in _STAT.iter_unpack(body[size:])]
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise UnusableError("a block is damaged") from error
        if len(names) != count or len(stats) != count:
            raise UnusableError("a block is damaged")
        yield list(zip(names, stats, strict=True))
