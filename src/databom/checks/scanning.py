"""What scanners see in the assets of a release, each digest once, and never again while nothing has changed.

An asset's bytes are read once more for this: hashed, compared with the manifest's digest, and the very same bytes are
handed to the scanners (`databom.checks.scanworker`). So what is said of an asset is said of its digest, whatever stood
in the file when it was verified a moment ago, and it can be remembered by the digest (`databom.storage.answercache`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from databom.checks.scanpool import Pool, failed
from databom.checks.scanworker import Answer, Job, Setup
from databom.errors import PluginError
from databom.scanners import media, registry
from databom.scanners.looking import FAILED, Seen
from databom.scanners.protocol import Identity
from databom.storage.answercache import AnswerCache

if TYPE_CHECKING:
    from databom.model.manifest import Asset
    from databom.storage.tree import LocalTree

MOST_KEPT = 500_000
"""Answers of a dataset that are remembered beyond those of the release at hand: other versions of it have them, too."""
_SEEN = msgspec.msgpack.Decoder(Seen)
Tell = Callable[[int, int], None]
"""Told how many assets and bytes are done."""


@dataclass(slots=True)
class Scan:
    """What became of one pass: who looked, and every asset of which there is something to tell."""

    scanners: tuple[Identity, ...]
    troubles: tuple[str, ...] = ()
    told: list[tuple[Asset, Answer]] = field(default_factory=list)
    looked: Counter[str] = field(default_factory=Counter)
    """Assets each scanner looked at."""
    positive: int = 0
    """Assets in which something was found."""

    def take(self, asset: Asset, answer: Answer) -> None:
        """Count the answer for one asset."""
        seen = answer.seen
        if seen is None or seen.hits or seen.doubts:
            self.told.append((asset, answer))
        if seen is not None:
            self.looked.update(seen.by)
            self.positive += bool(seen.hits)

    def plus(self, other: Scan) -> Scan:
        """Both together."""
        return Scan(
            self.scanners,
            self.troubles,
            [*self.told, *other.told],
            self.looked + other.looked,
            self.positive + other.positive,
        )

    def described(self) -> tuple[dict[str, Any], ...]:
        """The scanners as a report names them, sorted by name."""
        return tuple(
            {
                "name": one.name,
                "version": one.version,
                "model": one.model,
                "settings": one.settings or None,
                "assets": self.looked[one.name],
            }
            for one in sorted(self.scanners)
        )


def scan(
    assets: Sequence[Asset],
    tree: LocalTree,
    *,
    about: str,
    names: tuple[str, ...] = (),
    tell: Tell | None = None,
) -> Scan:
    """Look at every asset that no remembered answer is about.

    Args:
        assets: of a release whose bytes were verified.
        tree: where they are.
        about: the dataset; its answers are remembered together.
        names: scanners beside the built-in ones, as the user named them.
        tell: told how far it is.
    """
    setup = Setup(str(tree.root), None if tree.cache_root is None else str(tree.cache_root), names)
    with Pool(setup) as pool:
        try:
            who, troubles = pool.ready() if names else (registry.built_in(), ())
        except PluginError as error:
            who, troubles = registry.built_in(), (str(error),)
        result = Scan(tuple(who), tuple(troubles))
        cache = AnswerCache(msgspec.msgpack.encode([about, who, troubles]))
        known = cache.rows()
        waiting: dict[str, list[Asset]] = {}
        kept = dict(known) if len(known) <= MOST_KEPT else {}
        done = size = 0
        for asset in assets:
            key = _key(asset)
            row = known.get(key)
            if row is None:
                waiting.setdefault(key, []).append(asset)
                continue
            kept[key] = row
            result.take(asset, Answer(_SEEN.decode(row)))
            done, size = done + 1, size + (asset.size or 0)
        fresh = False
        try:
            for job, answer in pool.answers(map(_job, waiting.values())):
                these = waiting[_key(job)]
                for asset in these:
                    result.take(asset, answer)
                if answer.seen is not None and all(doubt.why != FAILED for doubt in answer.seen.doubts):
                    kept[_key(job)], fresh = msgspec.msgpack.encode(answer.seen), True
                done, size = done + len(these), size + (job.size or 0) * len(these)
                if tell is not None:
                    tell(done, size)
        finally:
            if fresh:
                cache.keep(sorted(kept.items()))
    result.told.sort(key=lambda one: one[0].path)
    return result


def _key(one: Asset | Job) -> str:
    return f"{one.sha256} {media.stated(one.media_type, one.path)}"


def _job(assets: Iterable[Asset]) -> Job:
    asset = next(iter(assets))
    return Job(asset.path, asset.size, asset.sha256, asset.media_type)


__all__ = ["Answer", "Scan", "Tell", "failed", "scan"]
