"""What does the store itself say it holds, and is that what the manifest signs? No byte is read.

This is the store's statement, never a verification: a store may be wrong, or lie, about what it would hand out. So a
difference is a "no" in the store's own words, and agreement is `integrity.unanswered`: nothing was checked here.

Compared are the size, and the SHA-256 where the store has computed one over the whole object. An ETag is opaque, and
the checksum of a multipart upload is one over checksums: neither is ever compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from databom.checks.engine import GIVE_UP_AFTER, NOT_TRIED, REMOTE_THREADS, Progress
from databom.checks.integrity import Integrity
from databom.checks.measuring import problem_of, shown_path
from databom.errors import Problem, StorageError
from databom.model.finding import Finding, Summary
from databom.model.text import printable

if TYPE_CHECKING:
    from databom.model.manifest import Asset, Manifest
    from databom.storage.s3 import Statement

_CHUNK = 512
_ASK = "ask whoever runs the store; databom verify without --fast reads the bytes themselves"


class Store(Protocol):
    """What can be asked about an object without reading it."""

    @property
    def shown(self) -> str:
        """The root, as text that holds no secret."""

    def stat(self, path: str, /) -> Statement:
        """What the store recorded about the object at `path`."""


def check_statement(manifest: Manifest, store: Store, *, progress: Progress | None = None) -> Integrity:
    """Compare what the store recorded with what the manifest signs; `summary.checked` is 0 whatever comes out.

    Args:
        manifest: what is expected.
        store: whom to ask, one request an asset.
        progress: called in this thread with (assets done, 0).
    """
    assets = sorted(manifest.assets, key=lambda asset: asset.path)
    problems: list[Problem] = []
    agreed = digests = 0
    for done, (asset, said) in enumerate(_asked(assets, store), 1):
        problem, digest = (said, False) if isinstance(said, Problem) else _differs(asset, said, store.shown)
        if problem is not None:
            problems.append(problem)
        elif digest or asset.size is not None:
            agreed += 1
            digests += digest
        if progress is not None:
            progress(done, 0)
    failed = sum(not problem.code.startswith("storage.") for problem in problems)
    told = Problem(
        "integrity.unanswered",
        printable(store.shown, 400),
        f"the store's own record agrees for {agreed:,} of {len(assets):,} asset{'' if len(assets) == 1 else 's'} "
        f"({digests:,} with a SHA-256); no byte was read: this is the store's statement, not a verification",
        do="leave out --fast to read and verify every byte",
    )
    findings = tuple(Finding.of(problem) for problem in (*problems, told))
    return Integrity(findings, Summary(assets=len(assets), failed=failed))


def _asked(assets: Sequence[Asset], store: Store) -> Iterator[tuple[Asset, Statement | Problem]]:
    """Each asset with the store's statement or why there is none, in order; gives a store up that stopped answering."""

    def one(asset: Asset) -> Statement | Problem:
        try:
            return store.stat(asset.path)
        except StorageError as error:
            return problem_of(error, asset.path)

    silent = 0
    left = iter(assets)
    with ThreadPoolExecutor(REMOTE_THREADS, thread_name_prefix="databom") as pool:
        while chunk := list(islice(left, _CHUNK)):
            for asset, said in zip(chunk, pool.map(one, chunk), strict=True):
                is_silent = isinstance(said, Problem) and said.code == "storage.unreachable"
                silent = silent + 1 if is_silent else 0
                yield asset, said
            if silent >= GIVE_UP_AFTER:
                break
    for asset in left:
        yield asset, Problem("storage.unreachable", shown_path(asset.path), NOT_TRIED)


def _differs(asset: Asset, said: Statement, where: str) -> tuple[Problem | None, bool]:
    """How the statement differs, if it does, and whether a SHA-256 was compared."""
    subject = shown_path(asset.path)
    at = f"{printable(where, 400).rstrip('/')}/{subject}"
    if asset.size is not None and said.size != asset.size:
        what = f"the store says that {at} has another size than the manifest signs (no byte was read)"
        return Problem("integrity.size", subject, what, _bytes(asset.size), _bytes(said.size), _ASK), False
    if said.sha256 is not None and said.sha256 != asset.sha256:
        what = f"the store says that {at} has another SHA-256 than the manifest signs (no byte was read)"
        found = f"sha256:{said.sha256}"
        return Problem("integrity.mismatch", subject, what, f"sha256:{asset.sha256}", found, _ASK), True
    return None, said.sha256 is not None


def _bytes(count: int) -> str:
    return f"{count:,} byte{'' if count == 1 else 's'}"
