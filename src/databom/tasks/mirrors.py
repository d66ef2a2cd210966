"""Where things are in a mirror, and how its assets are read. See docs/adr/0012-mirror.md.

    <mirror>/sha256/ab/<64 hex>                     an asset, by the SHA-256 of its bytes
    <mirror>/releases/<64 hex>/manifest.json        a release, by its manifest's SHA-256: bytes as received, stored
    <mirror>/releases/<64 hex>/manifest.json.dsse   last, with the signature and its time stamps beside it
    <mirror>/releases/<64 hex>/manifest.json.dsse.tsr

The shards of a large release are at `<mirror>/releases/<64 hex>/` and their uri.

So a mirror describes itself: whoever has a trust root can verify or pin `<mirror>/releases/…/manifest.json` like any
other manifest. That its assets are by digest is recognized by the folder's name being the manifest's own digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from databom.errors import ConfigError, InputError, StorageError
from databom.model.digest import hex_of
from databom.model.digest import sha256 as digest_of
from databom.model.finding import Finding, Severity, findings_of
from databom.model.manifest import Asset, Manifest
from databom.model.shards import check_bytes, is_relative
from databom.storage.keyed import KeyedReader
from databom.storage.location import Location, parse_location
from databom.storage.reader import Reader, open_reader, read_optional_document
from databom.tasks.project import Project
from databom.tasks.receiving import ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX, Received, kept

RELEASES = "releases"
MANIFEST = "manifest.json"


def asset_key(sha256: str) -> str:
    """Where the bytes with this SHA-256 (64 hex digits) are."""
    return f"sha256/{sha256[:2]}/{sha256}"


def release_key(digest: str) -> str:
    """Where the release is whose manifest has this digest (`sha256:<hex>`)."""
    return f"{RELEASES}/{hex_of(digest)}"


def documents(received: Received, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """A release's documents by their keys, the manifest last: where it is, all is.

    The shards that the manifest expects beside itself are among them; those with an address of their own stay there.

    Raises:
        InputError, StorageError: a kept shard is not what it was, or cannot be read.
    """
    folder = release_key(manifest.digest)
    for shard in manifest.index:
        if is_relative(shard) and received.shards is not None:
            raw = received.shards(shard)
            check_bytes(raw, shard)
            yield f"{folder}/{shard.uri}", raw
    found = (
        (TIMESTAMPS_SUFFIX, received.timestamps),
        (ENVELOPE_SUFFIX, received.envelope),
        ("", received.manifest),
    )
    for suffix, document in found:
        if document is not None:
            yield f"{folder}/{MANIFEST}{suffix}", document


def mirror_of(root: Location, digest: str) -> Location | None:
    """The mirror whose release folder `root` is, for the manifest with this digest; None where it is none."""
    folder = root.parent if root.path.endswith("/") else root
    if folder.name != hex_of(digest) or folder.parent.name != RELEASES:
        return None
    return folder.parent.parent


class Source(NamedTuple):
    """One place to read a release's assets from."""

    reader: Reader
    location: Location
    is_mirror: bool

    def place_of(self, asset: Asset) -> str:
        """Where an asset's bytes are, for a message."""
        return (
            f"{self.location.shown.rstrip('/')}/{asset_key(asset.sha256) if self.is_mirror else asset.path}"
        )

    def told(self, what: str, asset: Asset) -> str:
        """What a comparison found, naming the object where its name is not the asset's."""
        return f"{what}; they were read from {self.place_of(asset)}" if self.is_mirror else what

    @property
    def shown(self) -> str:
        """The root for a message of comparison; empty where `told` says more."""
        return "" if self.is_mirror else self.reader.shown


def from_mirror(mirror: Location, manifest: Manifest) -> Source:
    """A mirror's objects as the assets of a release. Connects only when the first is opened."""
    keys = {asset.path: asset_key(asset.sha256) for asset in manifest.assets}
    return Source(KeyedReader(open_reader(mirror), keys), mirror, is_mirror=True)


def from_root(root: Location, manifest: Manifest, *, name: str | None, marketplace: str | None) -> Source:
    """The assets of a release at their root, which may be a release's folder in a mirror.

    Arguments as for `databom.storage.reader.open_reader`.
    """
    mirror = mirror_of(root, manifest.digest)
    if mirror is not None:
        return from_mirror(mirror, manifest)
    return Source(open_reader(root, name=name, marketplace=marketplace), root, is_mirror=False)


def remembered(place: Project, name: str) -> Location | None:
    """The mirror that `databom.lock` knows for a pin, None where it knows none.

    Raises:
        InputError: the lock holds something that databom would never have written.
    """
    known = place.lock.mirrors.get(name)
    return None if known is None else parse_location(known.location, from_document=True)


def required(place: Project, name: str) -> Location:
    """As `remembered`, for those who asked for the mirror.

    Raises:
        ConfigError: the pin has no mirror.
    """
    found = remembered(place, name)
    if found is None:
        raise ConfigError(
            f"no mirror is known for the pin {name!r}",
            hint=f"`databom mirror {name} s3://BUCKET/PREFIX` makes one; another's is verified by its manifest, "
            "`databom verify s3://BUCKET/PREFIX/releases/…/manifest.json`",
        )
    return found


def sources(place: Project, name: str, manifest: Manifest) -> list[Source]:
    """Where a pin's assets can be had, the first choice first: the team's mirror, then the marketplace."""
    pin = place.pin(name)
    root = from_root(place.source(pin.root), manifest, name=name, marketplace=pin.marketplace)
    mirror = remembered(place, name)
    return [root] if mirror is None else [from_mirror(mirror, manifest), root]


def check_documents(place: Project, name: str, manifest: Manifest) -> list[Finding]:
    """Whether the documents of a pin in its mirror are, byte for byte, those that are kept here.

    Raises:
        ConfigError: the pin has no mirror.
        InputError: the lock holds something that databom would never have written.
        InputError, StorageError: the kept documents cannot be read, or are not what they were.
    """
    mirror, received = required(place, name), kept(place, name)
    findings: list[Finding] = []
    for key, raw in documents(received, manifest) if received is not None else ():
        where = mirror.join(key)
        try:
            found: bytes | None = read_optional_document(where, limit=len(raw))
        except (InputError, StorageError) as error:
            if isinstance(error, StorageError):
                findings += findings_of(error)
                continue
            found = b""  # longer than what is kept, which is all there is to say
        if found == raw:
            continue
        findings.append(
            Finding(
                "integrity.missing" if found is None else "mirror.conflict",
                Severity.BLOCK,
                where.shown,
                "the mirror does not have this document of the release"
                if found is None
                else "the mirror holds another document than the one that is kept here",
                expected=digest_of(raw),
                found="no object"
                if found is None
                else digest_of(found)
                if found
                else f"more than {len(raw):,} bytes",
                do=f"databom mirror {name} {mirror.shown}"
                if found is None
                else "find out who wrote it; nothing is read from it but by those who verify by its address",
            )
        )
    return findings
