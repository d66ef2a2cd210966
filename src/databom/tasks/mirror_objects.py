"""One object of a mirror: stored once, and read back where only reading back shows what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from databom.checks.integrity import problem_of
from databom.errors import DeniedError, FullError, MissingError, Problem, StorageError
from databom.model.manifest import Asset
from databom.storage.hashing import Measured, copy_verified
from databom.storage.headers import NONE, headers_of
from databom.storage.location import Location
from databom.storage.reader import with_retries
from databom.storage.s3upload import S3Writer, Stored
from databom.storage.staging import Staging, TempFile
from databom.tasks.mirrors import asset_key

CONFLICT = "mirror.conflict"


class Wanted(NamedTuple):
    """Bytes that belong under one key; `subject` is what findings about them are about."""

    key: str
    sha256: str
    size: int | None
    subject: str


class Done(NamedTuple):
    """What became of one object. `evidence` holds bytes that did not match, to be set aside with `problem`."""

    object: Wanted
    stored: Stored | None = None
    """`TAKEN`: by an earlier run. None: it was there already, was read back, and is the same."""
    size: int = 0
    problem: Problem | None = None
    evidence: TempFile | None = None
    measured: Measured | None = None
    source: str = ""
    doubt: Problem | None = None
    """What is wrong with the pin's own file, whose place the marketplace's took."""
    headers: Mapping[str, str] = NONE
    """Of the answer whose bytes are the evidence."""


def wanted_of(asset: Asset) -> Wanted:
    """An asset's object."""
    return Wanted(asset_key(asset.sha256), asset.sha256, asset.size, asset.path)


@dataclass(slots=True)
class Objects:
    """The objects of one mirror. Safe to use from threads.

    `ask_first` is whether it pays to look before sending: once something of ours was there it does, and once the store
    does not let us look it does not.
    """

    writer: S3Writer
    mirror: Location
    staging: Staging
    ask_first: bool

    def look(self, wanted: Wanted) -> Done | None:
        """What is under the key now; None when nothing is, or when nobody will say.

        Raises:
            FullError: no room to keep what was read.
        """
        try:
            return self._read_back(wanted)
        except FullError:
            raise
        except DeniedError:
            self.ask_first = False
        except StorageError:
            pass  # storing will be answered, or say why not
        return None

    def store(self, wanted: Wanted, data: bytes | Path, size: int) -> Done:
        """Store bytes that have been verified, where nothing is yet; what is there already is compared.

        Raises:
            FullError: no room to keep what was read back.
        """
        try:
            stored = self.writer.store(wanted.key, data, wanted.sha256)
        except MissingError as error:
            # The bucket is not there, which says nothing about the asset.
            return Done(wanted, problem=problem_of(error, wanted.subject)._replace(code=error.code))
        except StorageError as error:
            return Done(wanted, problem=problem_of(error, wanted.subject))
        if stored is Stored.NEW:
            return Done(wanted, stored, size)
        try:
            there = self._read_back(wanted)
        except FullError:
            raise
        except StorageError as error:
            return Done(wanted, problem=self._unconfirmed(wanted, stored, error))
        if stored is Stored.UNPROVEN:
            return there._replace(stored=stored, size=size)
        self.ask_first = True
        return there

    def _read_back(self, wanted: Wanted) -> Done:
        def attempt() -> tuple[TempFile, Measured, bool, Mapping[str, str]]:
            with self.writer.open(wanted.key) as stream:
                temp = self.staging.create()
                measured, matches = copy_verified(stream, temp, wanted.sha256, wanted.size)
                return temp, measured, matches, NONE if matches else headers_of(stream)

        temp, measured, matches, headers = with_retries(attempt)
        if matches:
            temp.discard()
            return Done(wanted, size=measured.size)
        shown = self._shown(wanted)
        problem = Problem(
            CONFLICT,
            wanted.subject,
            f"{shown} holds other bytes than belong there; nothing was overwritten",
            f"sha256:{wanted.sha256}",
            f"sha256:{measured.sha256}" if measured.complete else f"more than {wanted.size:,} bytes",
            "find out who wrote it; then mirror to another prefix, or have the bucket's owner remove that object",
        )
        return Done(wanted, problem=problem, evidence=temp, measured=measured, source=shown, headers=headers)

    def _unconfirmed(self, wanted: Wanted, stored: Stored, error: StorageError) -> Problem:
        """The store holds something that could not be read: neither a yes nor a no."""
        shown = self._shown(wanted)
        what = f"{shown} is there already, and could not be read"
        if stored is Stored.UNPROVEN:
            what = f"{shown} was put together from parts, and could not be read back"
        elif isinstance(error, MissingError):
            what = f"{shown} could not be stored because it is there, and not be read because it is not"
        denied = isinstance(error, DeniedError)
        return Problem(
            "storage.denied" if denied else "storage.unreachable",
            wanted.subject,
            f"{what}: that it holds these bytes is not confirmed ({error})",
            f"sha256:{wanted.sha256}",
            "not read",
            f"run it again with credentials that may read (GetObject) below {self.mirror.shown}"
            if denied
            else error.hint or "run it again",
        )

    def _shown(self, wanted: Wanted) -> str:
        return self.mirror.join(wanted.key).shown
