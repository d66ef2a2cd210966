"""`databom.lock`: the pins, and what this project has seen of each dataset.

The file is JSON in the subset that YAML 1.1 reads alike, for three readers: our own strict one, DVC's params
reader (`dvc params diff` shows a pin's change), and the MLflow provider, which may import only the standard
library. `pins` is deterministic; everything volatile lives in `seen`, outside what DVC watches.
See docs/adr/0002-lock-is-json.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from databom.errors import ConfigError, InputError, Problem
from databom.model import strictjson, times
from databom.model.text import printable

LOCK_VERSION = 1
MAX_LOCK_BYTES = 16 * 1024 * 1024
PIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}\Z")
"""DVC separates the keys of its params with dots, so a name has none."""


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The commitment of a project to one release."""

    release: str
    """`dataset_id@version`."""
    dataset_id: str
    version: str
    manifest: str
    """SHA-256 of the manifest's bytes as received, `sha256:<hex>`."""
    tree: str
    """in-toto `dirHash1` over the assets, `sha256:<hex>`."""
    source: str
    """Where the manifest came from: a URL without its query, or a path relative to the project."""
    root: str
    """Where the assets are fetched from, written like `source`."""
    path: str
    """Where the assets live locally: a POSIX path relative to the project, or absolute."""
    keyids: tuple[str, ...]
    """The trusted keys that signed, sorted."""
    marketplace: str | None = None
    sequence: int | None = None
    issued_at: str | None = None
    license: str | None = None
    creator_id: str | None = None
    payment: str = "none"
    """`<model>:<transaction_id>`, or `none`."""


class SeenRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One release of a dataset as we first met it."""

    manifest: str
    content: str
    """Content digest: RFC 8785 bytes without `signature`; the same in every spelling."""
    core: str
    """Like `content`, without `payment`, `issued_at` and `expires_at`: the same in every re-issue."""
    first_seen: str
    fetched_at: str


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What this project has seen of one dataset: our own claim, against rollback and equivocation."""

    sequence: int | None = None
    issued_at: str | None = None
    newest: str | None = None
    """The version that was accepted as the newest; None in a lock written before this was kept."""
    releases: dict[str, SeenRelease] = msgspec.field(default_factory=dict)
    """By version string; version strings are never ordered."""
    notes: tuple[str, ...] = ()
    """Recorded exceptions a person asked for: `--refetch`, `--allow-rollback`."""


class SeenRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The highest version of the trust root that this project has accepted; versions never go back."""

    version: Annotated[int, msgspec.Meta(ge=1)]
    digest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class Mirror(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The team's own copy of a pin's release. Outside `pins`: where bytes come from decides nothing about them."""

    location: Annotated[str, msgspec.Meta(pattern=r"^(s3|r2)://[^/]")]
    """The bucket and the prefix."""
    manifest: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    """The release that is complete there, by its manifest's digest."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    pins: dict[str, Pin]
    seen: dict[str, Seen] = msgspec.field(default_factory=dict)
    trust: SeenRoot | None = None
    mirrors: dict[str, Mirror] = msgspec.field(default_factory=dict)


def _frozen() -> Mapping[str, Pin]:
    return MappingProxyType({})


def _frozen_seen() -> Mapping[str, Seen]:
    return MappingProxyType({})


def _frozen_mirrors() -> Mapping[str, Mirror]:
    return MappingProxyType({})


class Lock(Struct, frozen=True):
    """The parsed lock. Changing it gives a new one."""

    pins: Mapping[str, Pin] = field(default_factory=_frozen)
    seen: Mapping[str, Seen] = field(default_factory=_frozen_seen)
    trust: SeenRoot | None = None
    """None until `databom trust update` has accepted a root."""
    mirrors: Mapping[str, Mirror] = field(default_factory=_frozen_mirrors)
    """By pin; see docs/adr/0012-mirror.md."""

    def with_pin(self, name: str, pin: Pin) -> Lock:
        """This lock with `name` pinned to `pin`."""
        return replace(self, pins=MappingProxyType({**self.pins, name: pin}))

    def with_seen(self, dataset_id: str, seen: Seen) -> Lock:
        """This lock with what was seen of a dataset replaced."""
        return replace(self, seen=MappingProxyType({**self.seen, dataset_id: seen}))

    def with_trust(self, trust: SeenRoot) -> Lock:
        """This lock with the accepted trust root replaced."""
        return replace(self, trust=trust)

    def with_mirror(self, name: str, mirror: Mirror) -> Lock:
        """This lock with the mirror of `name` replaced."""
        return replace(self, mirrors=MappingProxyType({**self.mirrors, name: mirror}))


def parse_lock(raw: bytes) -> Lock:
    """Read a lock strictly.

    Raises:
        InputError: `lock.syntax` or `lock.schema`, with the JSON pointer.
    """
    value = strictjson.loads(raw, prefix="lock", limit=MAX_LOCK_BYTES)
    try:
        file = msgspec.convert(value, _File)
    except msgspec.ValidationError as error:
        raise InputError(
            Problem("lock.schema", None, f"databom.lock is not a lock: {error}", do="restore it from git")
        ) from None
    if file.version != LOCK_VERSION:
        raise InputError(
            Problem(
                "lock.schema",
                "/version",
                "this release of databom reads version 1 of databom.lock",
                expected=str(LOCK_VERSION),
                found=str(file.version),
                do="upgrade databom",
            )
        )
    for table, names in (("pins", file.pins), ("mirrors", file.mirrors)):
        for name in names:
            if not PIN_NAME.match(name):
                raise InputError(
                    Problem(
                        "lock.schema", f"/{table}/{name!r}", "not a pin's name", expected=PIN_NAME.pattern
                    )
                )
    _check_dates(file)
    return Lock(
        MappingProxyType(file.pins),
        MappingProxyType(file.seen),
        file.trust,
        MappingProxyType(file.mirrors),
    )


def _check_dates(file: _File) -> None:
    """Dates decide what is newer, so one that is none is no lock."""
    dates = {f"/pins/{name}/issued_at": pin.issued_at for name, pin in file.pins.items()}
    dates |= {f"/seen/{name}/issued_at": seen.issued_at for name, seen in file.seen.items()}
    for where, date in dates.items():
        try:
            if date is not None:
                times.parse(date)
        except ValueError as error:
            raise InputError(
                Problem("lock.schema", printable(where), f"not a date: {error}", do="restore it from git")
            ) from None


def format_lock(lock: Lock) -> bytes:
    """The lock as bytes: sorted keys, two-space indent, UTF-8 unescaped, a final newline."""
    value: dict[str, object] = {
        "version": LOCK_VERSION,
        "pins": {name: msgspec.to_builtins(lock.pins[name]) for name in sorted(lock.pins)},
        "seen": {key: _seen(lock.seen[key]) for key in sorted(lock.seen)},
    }
    if lock.trust is not None:
        value["trust"] = msgspec.to_builtins(lock.trust)
    if lock.mirrors:
        value["mirrors"] = {name: msgspec.to_builtins(lock.mirrors[name]) for name in sorted(lock.mirrors)}
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _seen(seen: Seen) -> object:
    value = msgspec.to_builtins(seen)
    value["releases"] = dict(sorted(value["releases"].items()))
    return value


def pin_name(dataset_id: str) -> str:
    """The default name of a pin: the dataset id with every other character replaced by `-`, cut to 100."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", dataset_id)[:100].lstrip("-")
    return name or "dataset"


def check_pin_name(name: str) -> str:
    """Return `name` when a pin may be called so.

    Raises:
        ConfigError: it may not; says which characters may be used.
    """
    if not PIN_NAME.match(name):
        raise ConfigError(
            f"{name!r} cannot name a pin",
            hint="use up to 100 letters, digits, '_' and '-', not starting with '-'",
        )
    return name
