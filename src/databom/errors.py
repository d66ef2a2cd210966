"""Every error databom raises, on one screen.

An exception means *could not answer*; "the answer is no" is a `databom.model.finding.Finding`.
The bridge between the two is `Problem`: a refusal in words, without a severity. `InputError` carries the
problems of a document that is not what it claims, and whoever builds a report turns them into findings.

The command line maps these to exit codes: `CheckFailed` 1, `ConfigError` 2, everything else 3.
A refused document (`InputError`) becomes a finding, hence exit 1, wherever a report can be made.
"""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One refusal in words: what is wrong, where, expected, found, and what to do next."""

    code: str
    """Dotted `room.problem`, stable: tests and CI rely on it (`manifest.schema`, `storage.denied`, …)."""
    subject: str | None
    """A JSON pointer, an asset path, a keyid or a URL without its query."""
    what: str
    expected: str | None = None
    found: str | None = None
    do: str | None = None


class DatabomError(Exception):
    """Anything databom raises on purpose. `hint` says what to do next; str() never holds a secret."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


# --- could not use what the user gave us -------------------------------------------------------


class ConfigError(DatabomError):
    """Usage or configuration is wrong: no project, unknown key, unknown name, unreadable key file."""

    exit_code = 2


# --- the document is not what it claims (becomes findings) -------------------------------------


class InputError(DatabomError):
    """A document was refused: malformed, over a limit, against its schema, unsafe, or of an unknown version."""

    exit_code = 1

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise ValueError("an InputError names at least one problem")
        first = problems[0]
        where = f" at {first.subject}" if first.subject else ""
        super().__init__(f"{first.code}{where}: {first.what}", hint=first.do)
        self.problems = problems


# --- could not read or write -------------------------------------------------------------------


class StorageError(DatabomError):
    """A file or bucket could not be read or written.

    A local file's own exception is `__cause__`; a remote store's is not kept: its text may hold a signature.
    `code` is a finding code of the `storage.` room; `where` a location without its query; `retryable` says
    whether the same call may succeed later without anyone changing anything.
    """

    code = "storage.unreachable"
    retryable = False

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.where = where


class DeniedError(StorageError):
    """401, 403, expired credentials, or a file the user may not open."""

    code = "storage.denied"


class MissingError(StorageError):
    """The store answered, and says there is no such object."""

    code = "storage.missing"


class UnreachableError(StorageError):
    """No usable answer: refused connection, time-out, 5xx or 429 after the last retry, broken protocol."""

    code = "storage.unreachable"
    retryable = True


class TruncatedError(StorageError):
    """The body ended before the length its own store announced."""

    code = "storage.truncated"
    retryable = True


class FullError(StorageError):
    """No space left where we write."""

    code = "storage.full"


class UnsafeFileError(StorageError):
    """A local name is a symlink, a device, a FIFO, a directory, or leads out of its tree. Never followed."""

    code = "integrity.unsafe-file"


# --- the rest ------------------------------------------------------------------------------------


class PluginError(DatabomError):
    """A host or plugin broke its contract: dvc, mlflow, a signer, a scanner. Names it and its version."""


class CheckFailed(DatabomError):  # noqa: N818  # reads as the outcome it is: report.require() -> CheckFailed
    """Raised only by `Report.require()`. Carries the report."""

    exit_code = 1

    def __init__(self, message: str, report: object) -> None:
        super().__init__(message, hint="print(error.report) shows every finding")
        self.report = report
