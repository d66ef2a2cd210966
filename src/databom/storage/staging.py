"""Putting verified files into a tree: whole, durable, never over anything, never through a link.

The procedure, which `publish_all` follows (attacks.md 4d: 40 times cheaper than flushing each file):

1. Bytes go to random names in `<root>/.databom-partial/` (0700), opened `O_EXCL`, mode 0644 whatever the
   umask.
2. One `syncfs` flushes the whole batch (or one `fsync` a file where there is no such call).
3. Parent directories are made and opened one level at a time, never through a symlink.
4. Each file gets its name by `link`, which fails if the name is taken, and loses its temporary one.
5. The directories touched are flushed.

A process killed anywhere leaves the old state or the new for each file, and at most temporary files, which
`sweep` removes. The caller holds the project's lock (`files.exclusive`): two stagings of one tree must not
sweep each other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from threading import Lock
from typing import TYPE_CHECKING, Self

from databom.errors import FullError, MissingError, StorageError, UnsafeFileError
from databom.storage import posix
from databom.storage.aside import move_new
from databom.storage.directories import (
    enter,
    flush_directory,
    make_directories,
    refused,
    require_ours,
    way_to,
)
from databom.storage.files import make_private_dir
from databom.storage.posix import no_name, storage_error
from databom.storage.tree import require_plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PARTIAL = ".databom-partial"
"""The directory of unfinished files, in the tree's root so that a rename never crosses file systems."""

_OURS = re.compile(r"[0-9a-f]{32}\.part")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FLUSH_EACH = 8
"""Up to this many directories are flushed one by one; beyond, one syncfs is cheaper."""


class TempFile:
    """One unfinished file. `shown` says where it is; `size` how many bytes it has."""

    __slots__ = ("_fd", "_staging", "name", "shown", "size")

    def __init__(self, staging: Staging, name: str, descriptor: int, shown: str) -> None:
        self._staging = staging
        self.name = name
        self._fd = descriptor
        self.shown = shown
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`.

        Raises:
            FullError: no space left; the file is removed.
            StorageError: the disk did not take it; the file is removed.
        """
        rest = memoryview(data)
        try:
            while rest:
                done = os.write(self._fd, rest)
                self.size += done
                rest = rest[done:]
        except OSError as error:
            self.discard()
            raise storage_error(error, self.shown, "write") from error

    def room(self) -> int:
        """Bytes that can still be written here: free space less 5 %."""
        return self._staging.available()

    def close(self) -> None:
        """No more writing; the file stays staged.

        Raises:
            FullError: the quota was found exceeded only now (network file systems); the file is removed.
        """
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            try:
                os.close(descriptor)
            except OSError as error:
                self.discard()
                raise storage_error(error, self.shown, "write") from error

    def discard(self) -> None:
        """Remove it, whatever state it is in; a second call does nothing."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            posix.close(descriptor)
        self._staging._forget(self)  # noqa: SLF001  # one class in two halves


class Staging:
    """A tree's workshop. Leaving the `with` block removes what was not published, also after Ctrl-C.

    Nothing is made before `create`; `root` and its parents are made then (0755). Several threads may create
    and write temporary files, one thread a file; everything else is for one thread.

    The root's last name must not be a symlink. With `beneath` (the project) no name below that may be one
    either: a repository from elsewhere could hold a link that leads our writes out of it.
    """

    def __init__(self, root: Path, *, beneath: Path | None = None) -> None:
        self.root = root
        self._beneath = beneath if beneath is not None and root.is_relative_to(beneath) else None
        self.shown = os.fspath(root)
        self._root_fd = -1
        self._partial_fd = -1
        self._staged: dict[str, TempFile] = {}
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was not published, and the workshop if it is empty."""
        for temp in list(self._staged.values()):
            temp.discard()
        if self._partial_fd >= 0:
            posix.close(self._partial_fd)
            self._partial_fd = -1
            with contextlib.suppress(OSError):  # not empty: something there is not ours
                os.rmdir(PARTIAL, dir_fd=self._root_fd)
        if self._root_fd >= 0:
            posix.close(self._root_fd)
            self._root_fd = -1

    # --- space -------------------------------------------------------------------------------

    def available(self) -> int:
        """Bytes we may still use here: free space less 5 %. Asked of the nearest directory that exists.

        Raises:
            StorageError: the file system does not say.
        """
        place = self.root
        while True:
            try:
                status = os.statvfs(place)
            except FileNotFoundError as error:
                if place == place.parent:
                    raise storage_error(error, self.shown, "measure the free space of") from error
                place = place.absolute().parent
            except ValueError as error:
                raise no_name(self.shown, "measure the free space of") from error
            except OSError as error:
                raise storage_error(error, self.shown, "measure the free space of") from error
            else:
                return status.f_bavail * status.f_frsize * 95 // 100

    def require(self, needed: int) -> None:
        """Refuse before the first byte when `needed` bytes do not fit.

        Raises:
            FullError: free space less 5 % is not enough; says how much is missing.
        """
        available = self.available()
        if needed > available:
            raise FullError(
                f"{self.shown} needs {needed:,} bytes, and {available:,} may be used (free space less 5 %)",
                where=self.shown,
                hint=f"free {needed - available:,} bytes, or put the data elsewhere with --path",
            )

    # --- writing -----------------------------------------------------------------------------

    def create(self) -> TempFile:
        """A new empty staged file.

        Raises:
            FullError: no space left, not even for a name.
            UnsafeFileError: the root or the workshop is a symlink, or another user's.
            StorageError: it cannot be made.
        """
        with self._lock:
            partial = self._partial()
        name = f"{os.urandom(16).hex()}.part"
        shown = f"{self.shown}/{PARTIAL}/{name}"
        try:
            descriptor = os.open(name, _NEW, 0o600, dir_fd=partial)
            temp = self._staged[name] = TempFile(self, name, descriptor, shown)
            os.fchmod(descriptor, 0o644)
        except OSError as error:
            raise storage_error(error, shown, "create") from error
        return temp

    def publish(self, temp: TempFile, path: str) -> None:
        """As `publish_all`, for one file."""
        self.publish_all([(temp, path)])

    def publish_all(self, pairs: Sequence[tuple[TempFile, str]]) -> None:
        """Give staged files their names: durably, and never over anything that is there.

        When this returns, every file and its name survive a power cut. When it raises, files already named
        stay and the others stay staged; directories made for nothing are removed again.

        Raises:
            UnsafeFileError: a directory on the way is a symlink or no directory.
            FullError: no space left.
            StorageError: a name is taken (says so), or the disk failed: then nothing unnamed may be relied
                on.
        """
        groups: dict[str, list[tuple[TempFile, str]]] = {}
        for temp, path in pairs:
            require_plain(path)
            temp.close()
            above, _, name = path.rpartition("/")
            groups.setdefault(above, []).append((temp, name))
        whole = self._flush_files([temp for temp, _ in pairs]) and len(groups) > _FLUSH_EACH
        made: list[str] = []
        root = self._open_root(make=True)
        try:
            for above in sorted(groups):
                with way_to(root, above, self.shown, made=made, flush=not whole) as directory:
                    for temp, name in groups[above]:
                        self._name(temp, directory, name, f"{self.shown}/{above}{'/' if above else ''}{name}")
                    if not whole:
                        flush_directory(directory)
            if whole:
                posix.syncfs(self._partial_fd)
        except BaseException as error:
            self.remove_empty(made)
            if isinstance(error, OSError):
                raise storage_error(error, self.shown, "publish into") from error
            raise

    def _flush_files(self, temps: Sequence[TempFile]) -> bool:
        """Step 2; True when the whole file system was flushed at once."""
        if not temps:
            return False
        try:
            if len(temps) > 1 and posix.syncfs(self._partial()):
                return True
            for temp in temps:
                descriptor = os.open(
                    temp.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._partial()
                )
                try:
                    os.fsync(descriptor)
                finally:
                    posix.close(descriptor)
        except OSError as error:
            # Never flushed again: the kernel may have dropped the pages, and would then say "done".
            for temp in temps:
                temp.discard()
            raise storage_error(error, f"{self.shown}/{PARTIAL}", "flush") from error
        return False

    def _name(self, temp: TempFile, directory: int, name: str, shown: str) -> None:
        """Step 4 for one file."""
        try:
            posix.name_new(temp.name, name, self._partial_fd, directory)
        except FileExistsError as error:
            raise StorageError(
                f"{shown} already exists: nothing was overwritten",
                where=shown,
                hint="see what it is and move it away, then run the same command again",
            ) from error
        except OSError as error:
            raise storage_error(error, shown, "publish") from error
        temp.discard()

    def _forget(self, temp: TempFile) -> None:
        if self._staged.pop(temp.name, None) is not None:
            with contextlib.suppress(OSError):
                os.unlink(temp.name, dir_fd=self._partial_fd)

    # --- directories -------------------------------------------------------------------------

    def _open_root(self, *, make: bool) -> int:
        if self._root_fd < 0:
            try:
                if self._beneath is not None:
                    self._root_fd = self._open_beneath(self._beneath, make=make)
                else:
                    if make:
                        make_directories(self.root)
                    self._root_fd = os.open(self.root, posix.LISTING)
            except ValueError as error:
                raise no_name(self.shown, "open the directory") from error
            except OSError as error:
                raise refused(error, self.root, None, self.shown) from error
        return self._root_fd

    def _open_beneath(self, place: Path, *, make: bool) -> int:
        current = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in self.root.relative_to(place).parts:
                place /= name
                below, _ = enter(current, name, os.fspath(place), make=make, flush=True)
                posix.close(current)
                current = below
        except BaseException:
            posix.close(current)
            raise
        return current

    def _partial(self, *, make: bool = True) -> int:
        """The workshop: a real directory of ours that nobody else can enter."""
        if self._partial_fd < 0:
            root, shown = self._open_root(make=make), f"{self.shown}/{PARTIAL}"
            try:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(PARTIAL, 0o700, dir_fd=root)
                descriptor = os.open(PARTIAL, posix.LISTING, dir_fd=root)
            except OSError as error:
                raise refused(error, PARTIAL, root, shown) from error
            try:
                status = os.fstat(descriptor)
                require_ours(status, shown)
                os.fchmod(descriptor, 0o700)
            except OSError as error:
                posix.close(descriptor)
                raise storage_error(error, shown, "close to others") from error
            except UnsafeFileError:
                posix.close(descriptor)
                raise
            self._partial_fd = descriptor
        return self._partial_fd

    def remove_empty(self, directories: Sequence[str]) -> None:
        """Remove those of the directories below the root that are empty, the last one first; others stay.

        An empty directory in a tree is a finding: one that was made for nothing, or has lost all it held, goes.
        """
        if not directories:
            return
        self._open_root(make=False)
        for path in reversed(directories):
            above, _, name = path.rpartition("/")
            with (
                contextlib.suppress(OSError, StorageError),
                way_to(self._root_fd, above, self.shown) as directory,
            ):
                os.rmdir(name, dir_fd=directory)

    # --- leftovers and bad files -------------------------------------------------------------

    def sweep(self) -> int:
        """Remove what dead runs left; answers how many files. Touches only names this module makes.

        Raises:
            UnsafeFileError: the workshop is a symlink or another user's.
            StorageError: it cannot be read.
        """
        try:
            partial = self._partial(make=False)
        except MissingError:
            return 0
        removed = 0
        try:
            for name in os.listdir(partial):  # noqa: PTH208  # of a descriptor
                if name not in self._staged and _OURS.fullmatch(name):
                    os.unlink(name, dir_fd=partial)
                    removed += 1
        except OSError as error:
            raise storage_error(error, f"{self.shown}/{PARTIAL}", "sweep") from error
        return removed

    def set_aside(self, temp: TempFile, target: Path) -> Path:
        """Move a staged file out of the workshop to `target`, with a number behind it if that name is taken.

        For bytes that must not be published and must not be lost. Its folders are made; answers the new
        place.

        Raises:
            StorageError: it cannot be moved; it is removed when the workshop is left.
        """
        temp.close()
        try:
            make_directories(target.parent)
            place = move_new(self._partial_fd, temp.name, target)
        except OSError as error:
            raise storage_error(error, temp.shown, "set aside") from error
        self._staged.pop(temp.name, None)
        return place

    def move_out(self, path: str, destination_dir: Path, *, name: str | None = None) -> Path:
        """Set aside what stands at `path`, unchanged and unfollowed: a file, link, FIFO, socket or directory.

        Where a directory on the way is not one (a link, a file), that is what is moved. It becomes `name` in
        `destination_dir` (0700), by default its own relative path there; if that is taken, a number is added.
        Answers the new place.

        Raises:
            MissingError: nothing is there.
            StorageError: it cannot be moved; it is still where it was.
        """
        require_plain(path)
        shown = f"{self.shown}/{path}"
        names = path.split("/")
        directory = self._open_root(make=False)
        try:
            directory = os.dup(directory)
        except OSError as error:
            raise storage_error(error, shown, "set aside") from error
        try:
            depth = 0
            while depth < len(names) - 1:
                try:
                    below = os.open(names[depth], posix.LISTING, dir_fd=directory)
                except OSError as error:
                    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                        break
                    raise
                posix.close(directory)
                directory, depth = below, depth + 1
            target = destination_dir / (name or "/".join(names[: depth + 1]))
            make_private_dir(destination_dir)
            make_directories(target.parent)
            return move_new(directory, names[depth], target)
        except OSError as error:
            raise storage_error(error, shown, "set aside") from error
        finally:
            posix.close(directory)
