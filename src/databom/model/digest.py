"""Digests: always `sha256:<64 lower-case hex>` as text, so the algorithm is never guessed.

`tree_digest` is in-toto's `dirHash1` (the Go module hash in hex): it binds names and contents, and needs
nothing but the manifest. As if by this shell command, run inside the asset root:

    find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum

More precisely: for each asset, in the order of its path's UTF-8 bytes, the line `<sha256 hex>`, two spaces,
the path, one line feed; the tree digest is the SHA-256 of those lines. No assets give the digest of no bytes.
"""

from __future__ import annotations

import hashlib
import re
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_BATCH = 10_000


def sha256(data: bytes) -> str:
    """The digest of some bytes: `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether a text is `sha256:` and 64 lower-case hex digits."""
    return _DIGEST.fullmatch(text) is not None


def hex_of(digest: str) -> str:
    """The 64 hex digits of a `sha256:<hex>` digest.

    Raises:
        ValueError: any other algorithm or length, an upper-case or non-ASCII digit, surrounding space.
    """
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError("a digest is sha256: and 64 lower-case hex digits")
    return match[1]


class TreeDigest:
    """A tree digest in the making, of pairs that come in order."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Take the next (path, sha256 hex) pairs, in code-point order of their paths."""
        ordered = iter(pairs)
        # Whole batches of lines: a million updates of 100 bytes each take three times as long.
        while batch := list(islice(ordered, _BATCH)):
            self._state.update("".join([f"{digest}  {path}\n" for path, digest in batch]).encode())

    def digest(self) -> str:
        """The digest of what came so far, as `sha256:<hex>`."""
        return "sha256:" + self._state.hexdigest()


def tree_digest(pairs: Iterable[tuple[str, str]], *, is_sorted: bool = False) -> str:
    """The `dirHash1` over (path, sha256 hex) pairs, as `sha256:<hex>`. Their order does not matter.

    `is_sorted` says that they come in code-point order of their paths, which is byte order of UTF-8, and
    saves a copy of a million pairs. A path with a line feed could make two trees share a digest: `paths`
    refuses such paths first.
    """
    tree = TreeDigest()
    tree.add(pairs if is_sorted else sorted(pairs, key=itemgetter(0)))
    return tree.digest()
