"""Events: what an entry of a project's log says.

An entry is either the RFC 8785 bytes of an event, or the bytes of a signed receipt (`trained`), as they are:

    {"_type":"urn:databom:event:v1","event":"pinned","manifest":"sha256:…","name":"pets","release":"hn-pets@1",…}

The package ships a JSON Schema for each kind (`databom/log/schemas/<kind>.json`). Writers write only what fits them, as
the classes below and `databom.model.incidents` see to; readers take whatever is there: a kind or a member that this
release does not know is kept and shown, since a later release wrote it. Times are the writer's own claim; the order is
that of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import asdict

from databom.errors import ConfigError, InputError
from databom.model import incidents, strictjson, times
from databom.model.digest import sha256
from databom.trust import dsse
from databom.trust.jcs import canonical

EVENT_TYPE = "urn:databom:event:v1"
MAX_EVENT_BYTES = 60_000
"""Longer lists are left to a document that the event names by its digest."""
_PROVENANCE = "https://slsa.dev/provenance/v1"


def format_event(document: Mapping[str, Any]) -> bytes:
    """The bytes of an event: what `databom.model.incidents.event` makes is one, too.

    Raises:
        ConfigError: they are too many; name a document by its digest instead.
    """
    raw = canonical({**_plain(document), "_type": EVENT_TYPE})
    if len(raw) > MAX_EVENT_BYTES:
        raise ConfigError(f"an event has at most {MAX_EVENT_BYTES:,} bytes, this one has {len(raw):,}")
    return raw


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened to one pinned release."""

    kind: ClassVar[str]
    name: str
    """The pin."""
    release: str
    """`<dataset id>@<version>`."""
    manifest: str
    """`sha256:<hex>` of the manifest's bytes."""

    def entry(self, when: datetime) -> bytes:
        """The bytes that go into the log.

        Raises:
            ConfigError: they are too many; name a document by its digest instead.
        """
        members = {name: value for name, value in asdict(self).items() if value is not None}
        return format_event({"event": self.kind, "time": times.format(when), **members})


class Pinned(Event, frozen=True, kw_only=True):
    """`add` and `update`: the project committed itself to a release."""

    kind: ClassVar[str] = "pinned"
    tree: str
    source: str
    """Where the manifest came from, without a query."""
    keyids: tuple[str, ...]
    """Whose signatures were believed."""
    trust: str
    """The digest of the trust root that said so."""
    sequence: int | None = None
    issued_at: str | None = None
    content: str | None = None
    """As `databom.model.lock.SeenRelease` describes it; `core` too."""
    core: str | None = None
    rollback: bool = False
    """Whether it is no newer release, and `--allow-rollback` said that this is meant."""


class Verified(Event, frozen=True, kw_only=True):
    """`sync`: every byte was looked at, and judged."""

    kind: ClassVar[str] = "verified"
    tree: str
    verdict: str
    trust: str
    policy: str
    assets: int
    bytes: int
    failed: int
    report: str
    """The digest of the report."""
    refetched: bool = False


class Scanned(Event, frozen=True, kw_only=True):
    """Scanners looked for personal data."""

    kind: ClassVar[str] = "scanned"
    scanners: tuple[Mapping[str, Any], ...]
    """Each with `name`, `version` and the number of `assets` it looked at."""
    found: int
    """In how many assets something was found."""
    report: str | None = None


class Paid(Event, frozen=True, kw_only=True):
    """A receipt for a payment was attached."""

    kind: ClassVar[str] = "paid"
    evidence: str
    """The digest of the signed statement."""
    transaction_id: str
    model: str | None = None
    value: str | None = None
    """A decimal number."""
    currency: str | None = None
    payer: str | None = None


class Approved(Event, frozen=True, kw_only=True):
    """Somebody accepted what a check alone cannot."""

    kind: ClassVar[str] = "approved"
    evidence: str
    codes: tuple[str, ...]
    """The findings that were accepted."""
    roles: tuple[str, ...]
    keyids: tuple[str, ...]


class Revoked(Event, frozen=True, kw_only=True):
    """The license of the release was taken back, by a notice that whoever may has signed."""

    kind: ClassVar[str] = "revoked"
    evidence: str
    """The digest of the notice."""
    issued_at: str
    """As the notice says."""
    keyids: tuple[str, ...]
    """Whose signatures were believed."""
    claimed: bool = False
    """Whether the license was given as irrevocable: then the notice is a claim, and nothing is refused for it."""


class Refused(Event, frozen=True, kw_only=True):
    """Somebody handed in a notice of revocation about the release that does not hold."""

    kind: ClassVar[str] = "notice-refused"
    evidence: str
    """The digest of what was handed in."""
    code: str
    """Of the finding that says why."""


class Frozen(Event, frozen=True, kw_only=True):
    """A registered version of a model whose run used a revoked release was marked, and its aliases are taken away.

    It is told before that is done: what the aliases were is known whatever happens then.
    """

    kind: ClassVar[str] = "frozen"
    evidence: str
    """The digest of the notice."""
    model: str
    """`models:/NAME/VERSION`."""
    run: str
    aliases: tuple[str, ...]


KINDS: tuple[type[Event], ...] = (Pinned, Verified, Scanned, Paid, Approved, Revoked, Refused, Frozen)
KNOWN = frozenset({*(kind.kind for kind in KINDS), incidents.OPENED, incidents.CLOSED, "trained"})
"""What an entry may be, as far as this release knows."""


def _plain(value: Any) -> Any:
    """Tuples as the lists that JSON has."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


class Entry(Struct, frozen=True):
    """An entry as it was read: of a kind we know or not, and never refused."""

    index: int
    digest: str
    kind: str | None
    """None where the entry does not say."""
    time: str | None
    """As the entry claims."""
    document: Any
    """What it says; its bytes as text where it is no JSON."""

    @property
    def is_known(self) -> bool:
        """Whether this release knows the kind."""
        return self.kind in KNOWN


def read_entry(index: int, raw: bytes) -> Entry:
    """What an entry says."""
    digest = sha256(raw)
    try:
        document = strictjson.loads(raw, prefix="log", limit=len(raw))
    except InputError:
        return Entry(index, digest, None, None, raw.decode("utf-8", "backslashreplace"))
    if not isinstance(document, dict):
        return Entry(index, digest, None, None, document)
    if "payloadType" in document:
        return _receipt(index, digest, raw, document)
    kind, time = document.get("event"), document.get("time")
    is_event = document.get("_type") == EVENT_TYPE and isinstance(kind, str)
    return Entry(index, digest, kind if is_event else None, time if isinstance(time, str) else None, document)


def _receipt(index: int, digest: str, raw: bytes, document: dict[str, Any]) -> Entry:
    try:
        envelope = dsse.parse_envelope(raw)
        statement = strictjson.loads(envelope.payload, prefix="log", limit=len(raw))
        kind = "trained" if statement["predicateType"] == _PROVENANCE else str(statement["predicateType"])
    except (InputError, KeyError, TypeError):
        return Entry(index, digest, None, None, document)
    predicate = statement.get("predicate")
    details = predicate.get("runDetails") if isinstance(predicate, dict) else None
    metadata = details.get("metadata") if isinstance(details, dict) else None
    time = metadata.get("finishedOn") if isinstance(metadata, dict) else None
    return Entry(index, digest, kind, time if isinstance(time, str) else None, statement)
