"""`databom log witness`: sign the checkpoint of a log that continues everything this witness saw of it.

The witness needs no project: it reads any log, and keeps what it saw in a file of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from databom.errors import ConfigError, InputError
from databom.log.checkpoint import Speakers
from databom.log.note import ED25519, is_name, parse_vkey
from databom.log.reading import LogReader
from databom.log.witnessing import (
    MAX_STATE_BYTES,
    attach,
    format_state,
    parse_state,
    require_signable,
    witness,
)
from databom.model import times
from databom.model.finding import Finding, Report, Subject, findings_of
from databom.storage import files
from databom.storage.location import parse_location
from databom.storage.shelf import open_shelf, open_writable_shelf
from databom.tasks.keyring import read_private_key
from databom.tasks.log_reading import Asked
from databom.tasks.project import read_optional, typed
from databom.trust.keys import PrivateKey


class Witnessed(Struct, frozen=True):
    """One log, and the cosignature of its checkpoint; None where it was refused."""

    report: Report
    location: str
    size: int | None = None
    line: str | None = None
    attached: bool = False


def log_witness(
    *locations: str,
    key: Path | str,
    state: Path | str,
    name: str | None = None,
    vkeys: Sequence[str] = (),
    attach_: bool = False,
    trust: Path | str | None = None,
    project: Path | str | None = None,
    now: datetime | None = None,
) -> list[Witnessed]:
    """Cosign the newest checkpoint of each log, where it continues what was cosigned before.

    What is signed is remembered first. The first checkpoint ever seen of a log is taken as it is.

    Args:
        locations: the logs; none means the project's own.
        key: the witness's private key.
        state: the file with what this witness saw; made where there is none.
        name: the witness's name in its signature lines; by default made from its key.
        vkeys: whose signatures of a log count, instead of the trust root's role `log`.
        attach_: put the cosignature under the log's own checkpoint.
        trust: another trust root.
        project: the project.
        now: when it is.

    Raises:
        ConfigError: the key is one of the log's own, or cannot be used; nobody is said to speak for the log.
        StorageError: a log cannot be read, or the state cannot be written.
    """
    when = times.or_now(now)
    signer = read_private_key(key)
    called = name or f"databom.witness/{signer.public.keyid[:8]}"
    if not is_name(called):
        raise ConfigError(f"a witness cannot be called {called!r}", hint="no blanks and no `+`")
    done = []
    for location in locations or (None,):
        asked = _asked(location, vkeys, Path(trust) if trust is not None else None, project, when)
        if signer.public.keyid in asked.speakers.log:
            raise ConfigError(
                "this key signs the log: nobody is his own witness", hint="databom key new WITNESS.pem"
            )
        done.append(_one(asked, signer, called, Path(state), attach_, when))
    return done


def _asked(
    location: str | None, vkeys: Sequence[str], trust: Path | None, project: Path | str | None, now: datetime
) -> Asked:
    if not vkeys:
        return Asked.of(location, trust, project, now)
    if location is None:
        raise ConfigError("--vkey says who speaks for a log, and no LOCATION says which")
    read = [parse_vkey(text) for text in vkeys]
    origins = {origin for origin, _, _ in read}
    if len(origins) > 1 or any(kind != ED25519 for _, kind, _ in read):
        raise ConfigError(
            "these vkeys are not of one log", hint="give the keys of the log that LOCATION names"
        )
    return Asked(parse_location(typed(location)), origins.pop(), Speakers.by_keys(key for _, _, key in read))


def _one(asked: Asked, signer: PrivateKey, name: str, state: Path, attach_: bool, now: datetime) -> Witnessed:
    where = asked.location.stored
    findings: list[Finding] = list(asked.findings)
    reader = None
    try:
        reader = LogReader.open(
            open_shelf(asked.location), asked.speakers, asked.origin, now=now, known=asked.known
        )
        reader.edge()
        origin = reader.checkpoint.origin
        files.make_folder(state.absolute().parent)
        with files.exclusive(state.with_name(f"{state.name}.lock")):
            raw = read_optional(state, MAX_STATE_BYTES)
            seen = parse_state(raw) if raw is not None else {}
            require_signable(reader, seen)
            report = Report(Subject(name=origin), tuple(findings), trust=asked.trust)
            if report.blocking:
                return Witnessed(report, where, reader.size)
            files.write_atomic(state, format_state({**seen, origin: reader.checkpoint}), mode=0o600)
    except InputError as error:
        findings += findings_of(error)
        subject = Subject(name=reader.checkpoint.origin if reader else asked.origin)
        return Witnessed(Report(subject, tuple(findings), trust=asked.trust), where)
    line = witness(reader, name, signer, now)
    put = attach_ and attach(open_writable_shelf(asked.location), line, reader.opened.note.text)
    return Witnessed(report, where, reader.size, str(line).rstrip("\n"), put)
