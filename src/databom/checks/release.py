"""Is this the release that was asked for, and is it still the newest truth about it?

Against expiry (a freeze), mix-and-match (an answer for X when Y was asked), rollback and equivocation. The last
two need a memory: `databom.lock` keeps, per dataset, what was seen. Version strings are never ordered; the
order is `sequence`, else `issued_at`, else a person (TUF's rollback rule, with our fall-backs).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

from databom.model import times
from databom.model.finding import Finding, Severity
from databom.model.lock import Lock, Pin, Seen, SeenRelease
from databom.model.manifest import Manifest
from databom.model.text import printable


def check_clock(lock: Lock, now: datetime) -> Iterator[Finding]:
    """`release.clock` (warn): this machine's clock is behind what the project has already written down.

    A clock set back gives a manifest and a key past their end a second life, and only our own memory can tell.
    """
    dates = [date for seen in lock.seen.values() for one in seen.releases.values() for date in _dates(one)]
    latest = max(dates, default=None)
    if latest is not None and now + times.CLOCK_SKEW < latest:
        yield Finding(
            "release.clock",
            Severity.WARN,
            "databom.lock",
            "this machine's clock is behind a time that databom.lock has recorded: what has expired may look current",
            expected=f"{times.format(latest)} or later",
            found=times.format(now),
            do="set the clock; if it is right, find out whose clock was ahead when the lock was written",
        )


def _dates(one: SeenRelease) -> Iterator[datetime]:
    for text in (one.first_seen, one.fetched_at):
        with contextlib.suppress(ValueError):  # not what databom writes: it says nothing
            yield times.parse(text)


def check_expiry(manifest: Manifest, now: datetime) -> Iterator[Finding]:
    """`release.expired` (block) once `expires_at` has come."""
    if manifest.expires_at is not None and manifest.expires_at <= now:
        yield Finding(
            "release.expired",
            Severity.BLOCK,
            manifest.release,
            "the release has expired: its publisher no longer stands by this manifest",
            expected=f"expires_at after {times.format(now)}",
            found=times.format(manifest.expires_at),
            do="ask the marketplace for a renewed manifest and pin that one",
        )


def check_pin(manifest: Manifest, pin: Pin) -> Iterator[Finding]:
    """`release.mismatch` (block) when the manifest at hand is not, byte for byte, the one that was pinned."""
    pairs = (
        (manifest.release, pin.release, "release"),
        (manifest.digest, pin.manifest, "manifest digest"),
        (manifest.tree, pin.tree, "tree digest"),
        # What the lock repeats for its readers must be what was signed: run tags are made from it.
        (manifest.dataset_id, pin.dataset_id, "dataset id"),
        (manifest.version, pin.version, "version"),
        (manifest.creator_id, pin.creator_id, "creator"),
        (manifest.license.spdx, pin.license, "license"),
        (stated_payment(manifest), pin.payment, "payment"),
        (manifest.sequence, pin.sequence, "sequence"),
        (times.format(manifest.issued_at) if manifest.issued_at else None, pin.issued_at, "issue date"),
    )
    for found, expected, what in pairs:
        if found != expected:
            yield Finding(
                "release.mismatch",
                Severity.BLOCK,
                pin.release,
                f"the manifest is not the one that was pinned: another {what}",
                expected=printable(str(expected)),
                found=printable(str(found)),
                do="restore databom.lock and the kept manifest from git (or take the newer one by `databom update`)",
            )
            return


def pin_of(
    manifest: Manifest,
    *,
    source: str,
    root: str,
    path: str,
    keyids: tuple[str, ...] = (),
    marketplace: str | None = None,
) -> Pin:
    """The pin that commits to this manifest, as `check_pin` compares it."""
    return Pin(
        release=manifest.release,
        dataset_id=manifest.dataset_id,
        version=manifest.version,
        manifest=manifest.digest,
        tree=manifest.tree,
        source=source,
        root=root,
        path=path,
        keyids=keyids,
        marketplace=marketplace,
        sequence=manifest.sequence,
        issued_at=times.format(manifest.issued_at) if manifest.issued_at else None,
        license=manifest.license.spdx,
        creator_id=manifest.creator_id,
        payment=stated_payment(manifest),
    )


def stated_payment(manifest: Manifest) -> str:
    """`<model>:<transaction_id>`, or `none`: how pins and run tags write a payment."""
    payment = manifest.payment
    return f"{payment.model}:{payment.transaction_id or 'none'}" if payment else "none"


def check_history(
    manifest: Manifest, content: str, core: str, seen: Seen | None, *, asked: bool = False
) -> Iterator[Finding]:
    """`release.equivocation`, `.rollback` (block), `.reissued`, `manifest.respelled` (info) against memory.

    `content` and `core` are the digests that `databom.model.lock.SeenRelease` describes. A pin moves only to what is
    newer; where one is only `asked` about a release, what is older is a rollback, and what cannot be told is not.
    """
    if seen is None:
        return
    if (known := seen.releases.get(manifest.version)) is not None:
        # A release seen before may be pinned again only while nothing newer was seen.
        yield from _check_order(manifest, seen, known=True, asked=asked)
        if known.manifest == manifest.digest:
            return
        if known.content == content:
            yield Finding(
                "manifest.respelled",
                Severity.INFO,
                manifest.release,
                "the same content in other bytes than those seen before",
                expected=known.manifest,
                found=manifest.digest,
            )
            return
        if known.core == core:
            yield Finding(
                "release.reissued",
                Severity.INFO,
                manifest.release,
                "a re-issue: only payment or dates differ from the release seen before",
                expected=known.manifest,
                found=manifest.digest,
            )
            return
        yield Finding(
            "release.equivocation",
            Severity.BLOCK,
            manifest.release,
            f"two different contents are signed under one name; the first was seen on {known.first_seen}",
            expected=known.content,
            found=content,
            do="keep both manifests and ask the marketplace which one it stands by",
        )
        return
    yield from _check_order(manifest, seen, known=False, asked=asked)


def _check_order(manifest: Manifest, seen: Seen, *, known: bool, asked: bool) -> Iterator[Finding]:
    """`release.rollback`, unless the manifest is newer than all that was seen, or `known` and the newest itself."""
    known = asked or (known and seen.newest in (None, manifest.version))
    if seen.sequence is not None and manifest.sequence is not None:
        name, newest, found = "sequence", str(seen.sequence), str(manifest.sequence)
        goes_back = manifest.sequence < seen.sequence + (not known)
    elif seen.issued_at is not None and manifest.issued_at is not None:
        name, newest, found = "issued_at", seen.issued_at, times.format(manifest.issued_at)
        newest_date = times.parse(seen.issued_at)
        issued = manifest.issued_at.replace(microsecond=0)  # as the lock keeps it
        goes_back = issued < newest_date or (issued == newest_date and not known)
    else:
        name, newest, found = "order", "a sequence or issued_at on both", "none to compare"
        goes_back = not known or (not asked and seen.newest is None and len(seen.releases) > 1)
    if goes_back:
        yield Finding(
            "release.rollback",
            Severity.BLOCK,
            manifest.release,
            f"not newer than what this project has already seen of {printable(manifest.dataset_id)}, by {name}",
            expected=f"after {newest}" if name != "order" else newest,
            found=found,
            do="ask the marketplace for its newest release; to pin this one all the same: databom update NAME MANIFEST "
            "--allow-rollback (where no pin is left: databom add MANIFEST --allow-rollback)",
        )
