"""`databom.open()`: the bytes of one asset, proven before the first is handed out."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from datetime import datetime
from pathlib import Path
from typing import IO, cast

from databom.checks.integrity import compare
from databom.errors import ConfigError, MissingError, StorageError
from databom.model.finding import Finding, Report, Severity, Subject, Verdict
from databom.model.manifest import Asset
from databom.storage.hashing import MAX_UNSIZED_ASSET, Measured, hash_stream
from databom.storage.reader import Reader, with_retries
from databom.storage.tree import LocalTree
from databom.tasks import mirrors, use
from databom.tasks.believing import load_trust
from databom.tasks.judging import judge_pin
from databom.tasks.mirrors import Source
from databom.tasks.project import Project

SPOOL_BYTES = 64 * 1024 * 1024
"""An asset up to this size is handed out from memory, a larger one from an unlinked temporary file."""


def open_asset(
    name: str, path: str, *, project: Path | str | None = None, now: datetime | None = None
) -> IO[bytes]:
    """Open one asset of a pin for reading. Reads it whole, and returns it only if it matches the pin.

    The local file is read where there is one, else the asset is fetched from the team's mirror, or from the
    pin's source. What is returned is a private copy: nobody can change it afterwards. The pin counts as `read` by this
    process's runs.

    Raises:
        CheckFailed: the manifest is not believed, or the bytes do not match; carries the report.
        ConfigError: no project, no such pin, or no such asset in its manifest.
        StorageError: the bytes could not be had.
    """
    place = Project.load(project)
    pin = place.pin(name)
    judged = judge_pin(place, name, load_trust(place), now=now)
    report = judged.report(name)
    manifest = judged.manifest
    if manifest is None or report.verdict is not Verdict.PASS:
        report.require()
        raise AssertionError("require() returned from a report that does not pass")
    asset = next((one for one in manifest.assets if one.path == path), None)
    if asset is None:
        raise ConfigError(
            f"{pin.release} has no asset {path!r}", hint="the manifest lists the assets there are"
        )
    folder = place.data_path(pin)
    try:
        copy, measured = _copy(LocalTree(folder), asset)
    except MissingError:
        copy, measured = _fetched(mirrors.sources(place, name, manifest), asset)
    problem = compare(asset, measured)
    if problem is not None:
        copy.close()
        failed = Finding.of(problem, Severity.BLOCK)
        Report(
            Subject(name, pin.release, pin.manifest, pin.tree),
            (failed,),
            trust=report.trust,
            policy=report.policy,
        ).require()
    use.opened(name)
    copy.seek(0)
    return copy


def _fetched(sources: list[Source], asset: Asset) -> tuple[IO[bytes], Measured]:
    *before, last = (source.reader for source in sources)
    for reader in before:
        # Whatever keeps the mirror from giving it, the marketplace may; wrong bytes are given, and refused above.
        with contextlib.suppress(StorageError, ConfigError):
            return with_retries(functools.partial(_copy, reader, asset))
    return with_retries(functools.partial(_copy, last, asset))


class _Spool:
    """A sink for `hash_stream`."""

    def __init__(self) -> None:
        self.file = cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))  # noqa: SIM115

    def write(self, data: memoryview) -> None:
        self.file.write(data)


def _copy(reader: Reader, asset: Asset) -> tuple[IO[bytes], Measured]:
    spool = _Spool()
    stop = asset.size if asset.size is not None else MAX_UNSIZED_ASSET
    try:
        with reader.open(asset.path) as stream:
            measured = hash_stream(stream, stop, sinks=[spool])
    except BaseException:
        spool.file.close()
        raise
    return spool.file, measured
