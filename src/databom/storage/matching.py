"""Many small files against their digests, in one loop: what a file costs here, a release costs a million times.

What is certain is settled at once: a regular file with one name, read in one call, whose bytes have the digest they
should have. No second look is needed for it: whatever happened meanwhile, these bytes were right. Everything else (a
mismatch, a link, something that is no file, an error) is left to the careful way (`TreeBatch.open`), from its start.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from stat import S_ISREG
from typing import NamedTuple, Protocol

from databom.errors import StorageError
from databom.storage.localfile import is_settled
from databom.storage.tree import NO_FILES, OPEN_FILE, TreeBatch


class Matched(NamedTuple):
    """What comparing gave.

    `size`: bytes of the files that are right. `careful`: positions of all others. `looks`: (position, stat result) of
    the right ones that nobody had open for writing, where that was asked.
    """

    size: int
    careful: list[int]
    looks: list[tuple[int, os.stat_result]]


class Declared(Protocol):
    """What a file below a root should be."""

    @property
    def path(self) -> str:
        """Relative to the root."""

    @property
    def size(self) -> int | None:
        """Bytes; None where that is not known."""

    @property
    def sha256(self) -> str:
        """In lower-case hex."""


def match_small(
    batch: TreeBatch, files: Sequence[Declared], most: int, *, settle: int | None = None
) -> Matched:
    """Read and compare files of at most `most` bytes.

    Args:
        batch: the tree.
        files: what to compare, best in path order.
        most: bytes; longer files are left to the careful way.
        settle: of files of more bytes than this the kernel is asked whether somebody has them open for writing.
    """
    size, careful, looks = 0, [], []
    above, directory = None, -1
    sha, look, read, close = hashlib.sha256, os.fstat, os.read, os.close
    for at, file in enumerate(files):
        parent, _, name = file.path.rpartition("/")
        if name in NO_FILES:  # nobody need have checked the list
            careful.append(at)
            continue
        try:
            if parent != above:
                above, directory = None, batch.directory(parent)
                above = parent
            descriptor = os.open(name, OPEN_FILE, dir_fd=directory)
        except (OSError, ValueError, StorageError):
            careful.append(at)
            continue
        try:
            status = look(descriptor)
            length = status.st_size
            if length <= most and status.st_nlink == 1 and S_ISREG(status.st_mode):
                settled = settle is not None and length > settle and is_settled(descriptor)
                data = read(descriptor, length + 1)
                whole = len(data) == length and ((declared := file.size) is None or declared == length)
                if whole and sha(data).hexdigest() == file.sha256:
                    size += length
                    if settled:
                        looks.append((at, status))
                    continue
            careful.append(at)
        except OSError:
            careful.append(at)
        finally:
            try:  # noqa: SIM105  # as `posix.close`, without the call
                close(descriptor)
            except OSError:
                pass
    return Matched(size, careful, looks)
