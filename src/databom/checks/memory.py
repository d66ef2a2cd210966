"""What a branch forgets: pins that are gone or went back, and releases that the base had seen.

`databom.lock` is this project's own memory against rollback and equivocation, and a branch can edit it. Here it is
held against the lock of a base that was reviewed.
"""

from __future__ import annotations

from collections.abc import Iterator

from databom.checks.release import check_history
from databom.model import times
from databom.model.finding import Finding, Severity
from databom.model.lock import Lock, Pin, Seen
from databom.model.manifest import Manifest
from databom.model.text import printable

_RESTORE = "restore databom.lock from git and pin the release again: databom update NAME MANIFEST"


def rollback_notes(base: Seen | None, head: Seen | None) -> tuple[str, ...]:
    """The notes of `--allow-rollback` about a dataset that the base does not have."""
    known = base.notes if base else ()
    return tuple(
        note
        for note in (head.notes if head else ())
        if note not in known and note.partition(" ")[2].partition(": ")[2].startswith("rollback allowed")
    )


def check_removed(base: Lock, head: Lock) -> Iterator[Finding]:
    """`coverage.unpinned` (warn) for each pin of the base that is gone or stands for another dataset.

    A pin under a new name for the same dataset is a new name and no removal.
    """
    renamed = {pin.dataset_id for name, pin in head.pins.items() if name not in base.pins}
    for name, old in sorted(base.pins.items()):
        new = head.pins.get(name)
        if (new is not None and new.dataset_id == old.dataset_id) or old.dataset_id in renamed:
            continue
        yield Finding(
            "coverage.unpinned",
            Severity.WARN,
            name,
            "this data is not pinned any more: whatever still reads it reads unchecked bytes"
            if new is None
            else "this name stands for another dataset than at the base, whose own is not pinned any more",
            expected=printable(old.release),
            found=printable(new.release) if new else "no pin",
            do="make sure that nothing trains on it, or pin it again: databom add MANIFEST",
        )


def check_moved(
    name: str, manifest: Manifest, content: str, core: str, base: Lock, head: Lock
) -> Iterator[Finding]:
    """Whether a pin may be where it is, by what the base had seen: `release.rollback` and `release.equivocation`.

    Asked of the manifest itself, since what the branch's lock says of it is the branch's own claim. A rollback
    that `--allow-rollback` recorded is a warning that repeats the record. A manifest that the base has pinned too
    may stay.

    Args:
        name: the pin, at the head.
        manifest: what it pins.
        content: digests as `databom.model.lock.SeenRelease` describes them.
        core: the same.
        base: the lock at the base.
        head: the lock as it will be merged.
    """
    pinned = [pin for pin in base.pins.values() if pin.dataset_id == manifest.dataset_id]
    if any(pin.manifest == manifest.digest for pin in pinned):
        return
    seen = _memory(base.seen.get(manifest.dataset_id), pinned)
    notes = rollback_notes(base.seen.get(manifest.dataset_id), head.seen.get(manifest.dataset_id))
    for finding in check_history(manifest, content, core, seen):
        if finding.code == "release.rollback":
            yield _rollback(
                printable(manifest.release),
                f"the pin {name} goes back: the base had seen a newer release, or none that can be compared",
                finding.expected,
                finding.found,
                notes,
            )
        elif finding.severity is Severity.BLOCK:
            yield finding


def _memory(seen: Seen | None, pins: list[Pin]) -> Seen | None:
    """What the base remembers of a dataset; its pins are memory too, where `seen` lacks them."""
    if seen is None and not pins:
        return None
    seen = seen or Seen()
    sequences = [seen.sequence, *(pin.sequence for pin in pins)]
    dates = [seen.issued_at, *(pin.issued_at for pin in pins)]
    return Seen(
        sequence=max((number for number in sequences if number is not None), default=None),
        issued_at=max((date for date in dates if date is not None and _is_time(date)), default=None),
        releases=seen.releases,
    )


def _is_time(text: str) -> bool:
    try:
        times.parse(text)
    except ValueError:  # not what databom writes
        return False
    return True


def check_memory(base: Lock, head: Lock) -> Iterator[Finding]:
    """Whether the branch forgets what the base had seen.

    `release.rollback`: a release, a note or a higher sequence is gone. `release.equivocation`: a release has
    other content. `trust.rollback`: an accepted trust root is forgotten, older, or another one.
    """
    for dataset, old in sorted(base.seen.items()):
        yield from _check_seen(
            dataset, old, head.seen.get(dataset) or Seen(), rollback_notes(old, head.seen.get(dataset))
        )
    known, now = base.trust, head.trust
    if known is None or known == now or (now is not None and now.version > known.version):
        return
    yield Finding(
        "trust.rollback",
        Severity.BLOCK,
        "databom.lock",
        "databom.lock has forgotten which trust root this project accepted",
        expected=f"version {known.version}, {known.digest}",
        found=f"version {now.version}, {now.digest}" if now else "none",
        do="restore the member `trust` of databom.lock from git",
    )


def _check_seen(dataset: str, old: Seen, new: Seen, notes: tuple[str, ...]) -> Iterator[Finding]:
    subject = printable(dataset)
    lost = [
        f"release {printable(version)}" for version in sorted(old.releases) if version not in new.releases
    ]
    lost += [f"note {printable(note)!r}" for note in old.notes if note not in new.notes]
    if lost:
        yield Finding(
            "release.rollback",
            Severity.BLOCK,
            subject,
            "databom.lock has forgotten what this project had seen of the dataset",
            expected=", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else ""),
            found="not there",
            do=_RESTORE,
        )
    for name, before, after, goes_back in (
        ("sequence", old.sequence, new.sequence, _is_less(new.sequence, old.sequence)),
        ("issued_at", old.issued_at, new.issued_at, _is_earlier(new.issued_at, old.issued_at)),
    ):
        if goes_back:
            yield _rollback(
                subject,
                f"databom.lock has forgotten the newest {name} of the dataset",
                printable(str(before)),
                "none" if after is None else printable(str(after)),
                notes,
            )
    for version, known in sorted(old.releases.items()):
        now = new.releases.get(version)
        if now is not None and now.content != known.content and now.core != known.core:
            yield Finding(
                "release.equivocation",
                Severity.BLOCK,
                f"{subject}@{printable(version)}",
                "another content stands under the name of a release that the base had seen",
                expected=known.content,
                found=now.content,
                do="keep both manifests and ask the marketplace which one it stands by",
            )


def _is_less(new: int | None, old: int | None) -> bool:
    return old is not None and (new is None or new < old)


def _is_earlier(new: str | None, old: str | None) -> bool:
    if old is None or new is None:
        return old is not None
    if not (_is_time(new) and _is_time(old)):
        return new != old
    return times.parse(new) < times.parse(old)


def _rollback(
    subject: str, what: str, expected: str | None, found: str | None, notes: tuple[str, ...]
) -> Finding:
    return Finding(
        "release.rollback",
        Severity.WARN if notes else Severity.BLOCK,
        subject,
        f"{what}; recorded as allowed: {printable(notes[-1])}" if notes else what,
        expected=expected,
        found=found,
        do="make sure that this was decided"
        if notes
        else "ask for the newest release; going back is recorded by --allow-rollback of databom update or add",
    )
