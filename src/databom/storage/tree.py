"""Reading a local tree without ever being led out of it.

Every name is resolved from a descriptor of the tree's root: directories by openat2(2) with `RESOLVE_BENEATH`,
`NO_SYMLINKS` and `NO_MAGICLINKS` (or, on kernels without it, one `O_NOFOLLOW` open a level, with the same
answers), the last name with `O_NOFOLLOW` and `O_NONBLOCK`. What was opened is then looked at: anything but a
regular file is `UnsafeFileError`, so a FIFO cannot make us wait and a link cannot make us read `/etc/shadow`.

One kind of symlink is allowed, when a cache is named: DVC's `cache.type = symlink` puts links into the tree
that lead to regular files of its cache. The link is read, not followed; its target is taken as a path beneath
the cache and opened there by the same rules.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, Self

from databom.errors import MissingError, StorageError, UnsafeFileError
from databom.storage import posix
from databom.storage.localfile import (
    FileStat,
    Kind,
    LocalStream,
    SmallFile,
    file_stat,
    is_same,
    is_settled,
    kind_of,
)
from databom.storage.posix import no_name, storage_error
from databom.storage.refusals import not_plain, require_plain, root_refused, unsafe

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileStat", "Kind", "LocalStream", "LocalTree", "SmallFile", "TreeBatch", "require_plain"]

MAX_WALK_DEPTH = 64
MAX_WALK_PATH_BYTES = 1024
"""No manifest path is deeper or longer, so a directory beyond this is reported by `walk` and not entered."""

OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY
"""Flags that open a regular file and wait for, or follow, nothing else."""
NO_FILES = frozenset({"", ".", ".."})
"""Last names that stand for a directory, which may be above the tree."""
_REPLACED = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EXDEV})
"""A name stands for something else than a moment ago: a link, a file, or (EXDEV, openat2's last look) a directory
that was moved out of the tree while it was being opened."""


class LocalTree:
    """A directory whose files are read safely; every path is relative, POSIX, and never leads out.

    The root is opened at the first use and kept: one object sees one tree, even if another directory takes
    its name meanwhile. Safe to use from threads; pickles as its paths. Links into `cache_root` (DVC's cache)
    may be read.

    `kernel` chooses the way names are resolved: openat2 (True), the portable walk (False), or whichever this
    machine has (None). Both give the same answers.
    """

    def __init__(self, root: Path, *, cache_root: Path | None = None, kernel: bool | None = None) -> None:
        self.root = _absolute(root)
        self.cache_root = None if cache_root is None else _absolute(cache_root)
        self.shown = os.fspath(root)
        self._kernel = kernel
        self._handles: dict[str, int] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.root, self.cache_root, self._kernel, self.shown))

    def close(self) -> None:
        """Let go of the root; the next use opens it anew."""
        with self._lock:
            while self._handles:
                posix.close(self._handles.popitem()[1])

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # half-made, or at the interpreter's end
            self.close()

    def check_root(self) -> None:
        """Open the root, so that trouble with the tree as a whole is told once and not once a file.

        Raises:
            MissingError: there is no such directory.
            UnsafeFileError: it is a symlink or no directory.
            StorageError: it cannot be entered.
        """
        self._root()

    def open(self, path: str, /) -> LocalStream:
        """Open one file for reading. Never blocks, never follows a link (but into `cache_root`).

        Raises:
            MissingError: there is no such file.
            UnsafeFileError: a symlink, FIFO, socket, device or directory is in its place or on the way to it.
            StorageError: it cannot be opened.
        """
        with self.batch() as batch:
            return batch.open(path)

    def batch(self) -> TreeBatch:
        """A reader for files of the same few directories: keeps the last directory open. For one thread."""
        return TreeBatch(self)

    def in_cache(self, md5: str, key: FileStat) -> bool:
        """Whether the file with this key is the very one DVC's cache keeps under this MD5."""
        if self.cache_root is None:
            return False
        name = f"files/md5/{md5[:2]}/{md5[2:]}"
        try:
            status = os.stat(name, dir_fd=self._cache(), follow_symlinks=False)
        except (OSError, StorageError):
            return False
        return (status.st_dev, status.st_ino) == (key.dev, key.ino)

    def walk(self) -> Iterator[tuple[str, Kind]]:
        """Every entry but directories that hold something: (path relative to the root, kind), in no order.

        Never follows a link; keeps one directory open, and the names of those still to be read. Names that
        are not UTF-8 come with surrogate escapes. A directory that vanishes meanwhile is passed over.

        Raises:
            StorageError: the root cannot be read, or the disk stopped answering.
        """
        waiting = [""]
        while waiting:
            yield from self.entries(waiting.pop(), waiting)

    def entries(
        self, path: str, waiting: list[str], files: list[str] | None = None
    ) -> Iterator[tuple[str, Kind]]:
        """What `walk` says of one directory (`""` is the root); the directories in it are put on `waiting`.

        Where there is a list for regular files, they are put on it instead: that is much quicker.

        Raises:
            StorageError: as `walk`.
        """
        shown = f"{self.shown}/{path}" if path else self.shown
        try:
            directory = self._descend(self._root(), path or ".", posix.LISTING)
        except OSError as error:
            if path and error.errno in {errno.EACCES, errno.EPERM}:
                yield path, Kind.UNREADABLE
            elif path and error.errno in _REPLACED:  # since its name was read
                yield path, self._culprit(self._root(), path)[1] or Kind.SYMLINK
            elif not path or error.errno != errno.ENOENT:
                raise storage_error(error, shown, "read") from error
            return
        try:
            yield from _entries(directory, path, waiting, files)
        except OSError as error:
            raise storage_error(error, shown, "read") from error
        finally:
            posix.close(directory)

    # --- resolving ---------------------------------------------------------------------------

    def _root(self) -> int:
        return self._handles.get("root") or self._open_handle("root", self.root)

    def _cache(self) -> int:
        assert self.cache_root is not None
        # Where the cache is, is configuration: links on the way to it are the user's own.
        return self._handles.get("cache") or self._open_handle("cache", _real(self.cache_root))

    def _open_handle(self, name: str, path: Path) -> int:
        with self._lock:
            if name not in self._handles:
                shown = self.shown if name == "root" else os.fspath(path)
                try:
                    self._handles[name] = os.open(path, posix.DIRECTORY)
                except ValueError as error:
                    raise no_name(shown, "open the directory") from error
                except OSError as error:
                    raise root_refused(path, shown, error) from error
            return self._handles[name]

    def _descend(self, root: int, path: str, flags: int) -> int:
        """Open a directory beneath `root`: by the kernel's own rules, or one level at a time."""
        if "/" not in path:  # nothing is on the way
            return os.open(path, flags, dir_fd=root)
        if posix.has_openat2() if self._kernel is None else self._kernel:
            return posix.openat2(root, path, flags)
        current = root
        names = path.split("/")
        try:
            for depth, name in enumerate(names, start=1):
                below = os.open(name, flags if depth == len(names) else posix.DIRECTORY, dir_fd=current)
                if current != root:
                    posix.close(current)
                current = below
        except BaseException:
            if current != root:
                posix.close(current)
            raise
        return current

    def _culprit(self, root: int, path: str) -> tuple[str, Kind | None]:
        """The first name on the way that is no directory, and what it is: for the message of a refusal."""
        names = path.split("/")
        for depth in range(1, len(names) + 1):
            try:
                parent = self._descend(root, "/".join(names[: depth - 1]) or ".", posix.DIRECTORY)
                try:
                    kind = kind_of(os.stat(names[depth - 1], dir_fd=parent, follow_symlinks=False).st_mode)
                finally:
                    posix.close(parent)
            except OSError:
                break
            if kind is not None:
                return "/".join(names[:depth]), kind
        return path, None


class TreeBatch:
    """Opens files of one tree, keeping the last directory open between calls. For one thread."""

    def __init__(self, tree: LocalTree) -> None:
        self._tree = tree
        self._parent: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._forget()

    def open(self, path: str, /) -> LocalStream:
        """As `LocalTree.open`."""
        descriptor, opened, linked = self._open(path)
        return LocalStream(descriptor, opened, linked, f"{self._tree.shown}/{path}")

    def directory(self, path: str, /) -> int:
        """A descriptor of a directory of the tree, "" for its root; valid until the next call, never closed by callers.

        Raises:
            OSError: a link, a file or nothing is in its place or on the way to it.
            StorageError: the root cannot be opened, or the path is no plain one.
        """
        root = self._tree._root()
        if not path:
            return root
        require_plain(path)
        return self._directory(root, path)

    def look(self, path: str, /) -> os.stat_result | None:
        """What stands at a path, never followed to somewhere else; None where nothing can be looked at."""
        parent, _, name = path.rpartition("/")
        if name in NO_FILES:
            return None
        try:
            return os.stat(name, dir_fd=self.directory(parent), follow_symlinks=False)
        except (OSError, ValueError, StorageError):
            return None

    def size_hint(self, path: str) -> int:
        """About how long a file is, to plan by; 0 when unknown. Promises nothing."""
        status = self.look(path)
        return 0 if status is None else status.st_size

    def read_small(self, path: str, most: int, *, settle: int | None = None) -> SmallFile | None:
        """A file of at most `most` bytes in one read; None when it is longer (nothing was read then).

        The same refusals as `open`, at half the cost: no stream is made. Of a file of more than `settle` bytes the
        kernel is asked whether somebody has it open for writing.

        Raises:
            StorageError: as `LocalTree.open`, or the disk did not answer.
        """
        parent, _, name = path.rpartition("/")
        if self._parent is None or self._parent[0] != parent:
            return self._read_small(path, most, settle)
        try:
            # The usual case, five system calls and little else. What is unusual goes the careful way, from the start.
            descriptor = os.open(name, OPEN_FILE, dir_fd=self._parent[1])
        except (OSError, ValueError):
            return self._read_small(path, most, settle)
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            if S_ISREG(status.st_mode) and status.st_nlink == 1 and size <= most:
                settled = settle is not None and size > settle and is_settled(descriptor)
                data = os.read(descriptor, size + 1)
                return SmallFile(data, file_stat(status), is_same(status, os.fstat(descriptor)), 0, settled)
        except OSError as error:
            raise storage_error(error, f"{self._tree.shown}/{path}", "read") from error
        finally:
            posix.close(descriptor)
        return self._read_small(path, most, settle)

    def _read_small(self, path: str, most: int, settle: int | None) -> SmallFile | None:
        descriptor, opened, linked = self._open(path)
        try:
            if opened.size > most:
                return None
            settled = settle is not None and opened.size > settle and is_settled(descriptor)
            data = os.read(descriptor, opened.size + 1)
            return SmallFile(data, opened, file_stat(os.fstat(descriptor)) == opened, linked, settled)
        except OSError as error:
            raise storage_error(error, f"{self._tree.shown}/{path}", "read") from error
        finally:
            posix.close(descriptor)

    # One class in two halves: the batch resolves by the tree's own rules.
    # ruff: noqa: SLF001

    def _open(self, path: str) -> tuple[int, FileStat, int]:
        """The descriptor of a regular file, its key, and the number of its names if it has several."""
        tree = self._tree
        parent, _, name = path.rpartition("/")
        root = tree._root()
        require_plain(path)
        from_cache = False
        try:
            directory = self._directory(root, parent) if parent else root
            try:
                descriptor = os.open(name, OPEN_FILE, dir_fd=directory)
            except OSError as error:
                if error.errno != errno.ELOOP or tree.cache_root is None:
                    raise
                descriptor, from_cache = self._open_link(directory, name, path), True
        except UnicodeEncodeError as error:  # a lone surrogate: no name of this file system can hold it
            raise not_plain(path) from error
        except OSError as error:
            raise self._refused(error, root, path) from error
        try:
            status = os.fstat(descriptor)
        except OSError as error:
            posix.close(descriptor)
            raise storage_error(error, f"{tree.shown}/{path}", "look at") from error
        if not S_ISREG(status.st_mode):
            posix.close(descriptor)
            raise unsafe(f"{tree.shown}/{path}", "it", kind_of(status.st_mode))
        linked = status.st_nlink if status.st_nlink > 1 and not from_cache else 0
        return descriptor, file_stat(status), linked

    def _directory(self, root: int, parent: str) -> int:
        if self._parent is None or self._parent[0] != parent:
            self._forget()
            self._parent = (parent, self._tree._descend(root, parent, posix.DIRECTORY))
        return self._parent[1]

    def _forget(self) -> None:
        if self._parent is not None:
            descriptor, self._parent = self._parent[1], None
            posix.close(descriptor)

    def _open_link(self, directory: int, name: str, path: str) -> int:
        """Open what a link leads to, if that is beneath the cache; the link itself is never followed."""
        tree = self._tree
        assert tree.cache_root is not None
        target = os.readlink(name, dir_fd=directory)
        goal = Path(os.path.normpath(_real(tree.root) / PurePosixPath(path).parent / target))
        for cache in (tree.cache_root, _real(tree.cache_root)):
            if goal.is_relative_to(cache) and goal != cache:
                beneath = goal.relative_to(cache)
                break
        else:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        holder = tree._descend(tree._cache(), os.fspath(beneath.parent), posix.DIRECTORY)
        try:
            return os.open(beneath.name, OPEN_FILE, dir_fd=holder)
        finally:
            posix.close(holder)

    def _refused(self, error: OSError, root: int, path: str) -> StorageError:
        """The refusal in words: which name on the way is what."""
        shown = f"{self._tree.shown}/{path}"
        if error.errno not in _REPLACED | {errno.ENXIO}:
            return storage_error(error, shown, "open")
        prefix, kind = self._tree._culprit(root, path)
        whole = kind is None or (kind is Kind.FILE and prefix == path)
        if whole and error.errno in _REPLACED:  # by the second look everything is back in its place
            return UnsafeFileError(
                f"cannot open {shown}: something replaces a directory on the way", where=shown
            )
        if kind is None:
            return storage_error(error, shown, "open")
        if kind is Kind.FILE and prefix != path:
            return MissingError(f"cannot open {shown}: {prefix} is a file, not a directory", where=shown)
        return unsafe(shown, "it" if prefix == path else prefix, kind)


def _entries(
    directory: int, path: str, waiting: list[str], files: list[str] | None
) -> Iterator[tuple[str, Kind]]:
    """The entries of one open directory; directories to be read are put on `waiting`."""
    empty = True
    with os.scandir(directory) as entries:
        for entry in entries:
            empty = False
            below = f"{path}/{entry.name}" if path else entry.name
            if entry.is_file(follow_symlinks=False):
                if files is None:
                    yield below, Kind.FILE
                else:
                    files.append(below)
            elif entry.is_dir(follow_symlinks=False):
                if below.count("/") >= MAX_WALK_DEPTH or len(os.fsencode(below)) > MAX_WALK_PATH_BYTES:
                    yield below, Kind.DEEP
                else:
                    waiting.append(below)
            elif entry.is_symlink():
                yield below, Kind.SYMLINK
            else:
                with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                    yield below, kind_of(entry.stat(follow_symlinks=False).st_mode) or Kind.DEVICE
    if empty and path:
        yield path, Kind.EMPTY


def _absolute(path: Path) -> Path:
    """From the working directory, text unchanged: `link/..` means what the kernel says it means."""
    return Path.cwd() / path


def _real(path: Path) -> Path:
    """Without links. `Path.resolve` raises `RuntimeError` for a loop; this leaves that to the open."""
    return Path(os.path.realpath(path))


def _rebuild(root: Path, cache_root: Path | None, kernel: bool | None, shown: str) -> LocalTree:
    tree = LocalTree(root, cache_root=cache_root, kernel=kernel)
    tree.shown = shown
    return tree
