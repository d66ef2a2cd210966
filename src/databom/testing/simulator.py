"""The simulator: keys and a clock from a seed, releases in memory, and the ways a marketplace or mirror goes wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from databom.errors import ConfigError
from databom.model import times
from databom.model.manifest import read_manifest
from databom.model.receipts import PREDICATE_TYPE
from databom.trust import dsse
from databom.trust.keys import PrivateKey
from databom.trust.opening import sign_manifest
from databom.trust.proof import sign_proof
from databom.trust.root import parse_root
from databom.trust.root_editing import add_key, draft, new_root
from databom.trust.rotation import sign_root
from databom.trust.statement import PAYLOAD_TYPE, manifest_statement

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MANIFEST, ENVELOPE = "manifest.json", "manifest.json.dsse"
START = datetime(2026, 1, 1, tzinfo=UTC)
CENTURY = timedelta(days=36_500)
"""How long a simulated trust root holds: tests must not rot."""


class Release(Struct, frozen=True):
    """A signed release: its documents and the bytes of its assets."""

    dataset_id: str
    version: str
    sequence: int
    manifest: bytes
    envelope: bytes | None
    """None when the signature is inside the manifest."""
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """The digest of the manifest's bytes, `sha256:<hex>`."""
        return f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"

    def documents(self, *, files: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
        """What a mirror serves, by path; other `files` stand for a mirror that serves other bytes."""
        served = {MANIFEST: self.manifest, **(self.files if files is None else files)}
        return served if self.envelope is None else {**served, ENVELOPE: self.envelope}


class MarketplaceSimulator:
    """A marketplace in memory.

    Its time stands still until `advance` moves it, and its releases are numbered from 1. Keys have names: `market`
    signs releases, `root` the trust root; any other name gives a key that nobody trusts until `trust_role` says so.
    """

    def __init__(
        self,
        seed: str | int = 0,
        *,
        marketplace: str = "simulated",
        dataset_id: str = "sim-pets",
        datasets: Sequence[str] = ("sim-*",),
        now: datetime = START,
    ) -> None:
        self.seed = str(seed)
        self.marketplace = marketplace
        self.dataset_id = dataset_id
        self.now = now
        """The marketplace's true time."""
        self.skew = timedelta(0)
        """How far the clock that dates its documents is ahead of `now`."""
        self.releases: list[Release] = []
        """Every release so far, forks too, in the order of publishing."""
        raw = new_root(now=now, expires=now + CENTURY)
        raw = add_key(
            raw,
            self.key("market").public,
            role="marketplace",
            marketplace=marketplace,
            datasets=datasets,
            now=now,
        )
        self._roots = [add_key(raw, self.key("root").public, role="root", now=now)]
        self._root_keys = ["root"]

    # --- keys and time

    def key(self, name: str) -> PrivateKey:
        """The Ed25519 key with this name: the same for the same seed, and worth nothing."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        secret = hashlib.sha256(f"databom simulator\0{self.seed}\0{name}".encode()).digest()
        return PrivateKey(Ed25519PrivateKey.from_private_bytes(secret))

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.now += by

    # --- releases

    def publish(
        self,
        files: Mapping[str, bytes],
        *,
        version: str | None = None,
        sequence: int | None = None,
        expires_at: datetime | None = None,
        signers: Sequence[str] = ("market",),
        embed: bool = False,
        **members: Any,
    ) -> Release:
        """Sign a release of these files.

        Args:
            files: the assets' bytes by path; at least one.
            version: by default the sequence as text.
            sequence: by default one more than the highest so far.
            expires_at: when the manifest no longer holds; never by default.
            signers: names of keys, each of which signs the envelope.
            embed: sign inside the manifest instead, with the one signer.
            members: other members of the manifest; they win over what the simulator says itself.

        Raises:
            ConfigError: no signer, or several that are to sign inside.
            InputError: this would be no valid manifest.
        """
        keys = [self.key(name) for name in signers]
        if not keys or (embed and len(keys) > 1):
            raise ConfigError("a release needs a signer, and an embedded signature has exactly one")
        number = max((one.sequence for one in self.releases), default=0) + 1 if sequence is None else sequence
        value: dict[str, Any] = {
            "dataset_id": self.dataset_id,
            "version": version if version is not None else str(number),
            "sequence": number,
            "marketplace_id": self.marketplace,
            "creator_id": "creator:simulated",
            "issued_at": times.format(self.now + self.skew),
            "license": {"type": "commercial", "spdx": "CC-BY-4.0", "revocable": False},
            **({"expires_at": times.format(expires_at)} if expires_at else {}),
            "assets": [
                {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
                for path, data in sorted(files.items())
            ],
            **members,
        }
        raw, envelope = sign_manifest(value, keys[0], embed=embed)
        read = read_manifest(raw)
        if envelope is not None:
            envelope = dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, manifest_statement(read), keys))
        release = Release(read.dataset_id, read.version, number, raw, envelope, dict(files))
        self.releases.append(release)
        return release

    def fork(self, release: Release, files: Mapping[str, bytes], **members: Any) -> Release:
        """Equivocate: sign other contents under the name, version and sequence of a release."""
        name = {"dataset_id": release.dataset_id, **members}
        return self.publish(files, version=release.version, sequence=release.sequence, **name)

    # --- receipts

    def receipt(self, release: Release, *, signers: Sequence[str] = ("payment",), **members: Any) -> bytes:
        """A payment receipt for a release: a signed statement, as `databom attach` takes it.

        Args:
            release: what was paid for.
            signers: names of keys; `trust_role` makes one count.
            members: members of the predicate; they win over what the simulator says itself. None leaves one out.
        """
        value = {
            "model": "one-time",
            "transaction_id": f"txn_{release.dataset_id}_{release.version}",
            "amount": {"value": "120.00", "currency": "USD"},
            "payer": "org:team",
            "payee": "creator:simulated",
            "paid_at": times.format(self.now + self.skew),
            **members,
        }
        predicate = {name: one for name, one in value.items() if one is not None}
        name = f"{release.dataset_id}@{release.version}"
        keys = [self.key(signer) for signer in signers]
        return sign_proof(PREDICATE_TYPE, name, release.digest, predicate, keys)

    # --- what a mirror serves

    def latest(self) -> dict[str, bytes]:
        """The newest release, as an honest mirror serves it."""
        return self._release(-1).documents()

    def rollback(self, steps: int = 1) -> dict[str, bytes]:
        """The release so many places before the newest, all of it validly signed.

        A mirror that freezes serves the same: an old release, and nobody is told that there is a newer one.

        Raises:
            ConfigError: there are not so many releases.
        """
        return self._release(-1 - steps).documents()

    def mixed(self, manifest: Release, files: Release) -> dict[str, bytes]:
        """The manifest of one release with the bytes of another."""
        return manifest.documents(files=files.files)

    def _release(self, index: int) -> Release:
        if not -len(self.releases) <= index < 0:
            raise ConfigError(f"there are {len(self.releases)} releases", hint="publish more of them first")
        return self.releases[index]

    # --- the trust root

    def trust_root(self, version: int | None = None) -> bytes:
        """A version of the trust root as a customer keeps it; by default the newest.

        Raises:
            ConfigError: there is no such version.
        """
        if version is None:
            return self._roots[-1]
        if not 1 <= version <= len(self._roots):
            raise ConfigError(f"there are {len(self._roots)} versions of the trust root, from 1")
        return self._roots[version - 1]

    def trust_role(self, name: str, role: str) -> bytes:
        """Let a key of the simulator act in a role (`payment`, `legal`, …) of version 1; the new bytes of that version.

        Raises:
            ConfigError: the root was rotated already, or there is no such role.
        """
        if len(self._roots) != 1:
            raise ConfigError("the trust root was rotated already: version 1 is not edited any more")
        self._roots = [add_key(self._roots[0], self.key(name).public, role=role, now=self.now)]
        return self._roots[0]

    def rotate(
        self,
        *,
        market: str | None = None,
        root: str | None = None,
        signers: Sequence[str] | None = None,
        expires: datetime | None = None,
    ) -> bytes:
        """Make the next version of the trust root, signed by the old and the new root keys.

        Args:
            market: the name of the key that signs releases from now on; the old one is dropped.
            root: the name of the key that signs trust roots from now on; the old one is dropped.
            signers: names of the root keys that sign, to stage a rotation that must be refused; with these the
                document is handed out, and not remembered as a version.
            expires: when the version no longer holds.
        """
        current = parse_root(self._roots[-1])
        document = json.loads(draft(current, now=self.now))
        document["expires"] = times.format(expires or self.now + CENTURY)
        roles = document["roles"]
        for name, role in ((market, roles["marketplace"][self.marketplace]), (root, roles["root"])):
            if name is not None:
                for keyid in role["keyids"]:
                    del document["keys"][keyid]
                public = self.key(name).public
                document["keys"][public.keyid] = {"keytype": public.keytype, "public": public.pem()}
                role["keyids"] = [public.keyid]
        raw = (json.dumps(document, indent=2) + "\n").encode()
        after = [root] if root is not None else self._root_keys
        chosen = signers if signers is not None else [*self._root_keys, *after]
        signed = sign_root(raw, [self.key(name) for name in dict.fromkeys(chosen)], current=current)
        if signers is None:
            self._roots.append(signed)
            self._root_keys = after
        return signed

    def limit_key(
        self, name: str, *, valid_from: datetime | None = None, valid_until: datetime | None = None
    ) -> bytes:
        """Give a key of the version-1 trust root a window; the new bytes of that version.

        Raises:
            ConfigError: the root was rotated already, or does not hold the key.
        """
        document = json.loads(self._roots[-1]) if len(self._roots) == 1 else {}
        keyid = self.key(name).public.keyid
        if keyid not in document.get("keys", {}):
            raise ConfigError(f"version 1 of the trust root with a key {name} is not in force")
        document["keys"][keyid] |= {
            "valid_from": times.format(valid_from) if valid_from else None,
            "valid_until": times.format(valid_until) if valid_until else None,
        }
        self._roots = [(json.dumps(document, indent=2) + "\n").encode()]
        return self._roots[0]

    # --- handing out

    @staticmethod
    def write(documents: Mapping[str, bytes], folder: Path | str) -> Path:
        """Write documents below a folder; the path of the manifest in it. What is there else stays.

        Raises:
            OSError: the folder cannot be written.
        """
        for path, data in documents.items():
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return Path(folder) / MANIFEST

    def serve(self, documents: Mapping[str, bytes], name: str = "mirror") -> AbstractFileSystem:
        """The documents as an fsspec file system in memory; what it served under this name before is gone."""
        import fsspec

        memory = fsspec.filesystem("memory")
        root = f"/databom-simulator/{hashlib.sha256(self.seed.encode()).hexdigest()[:16]}/{name}"
        if memory.exists(root):
            memory.rm(root, recursive=True)
        for path, data in documents.items():
            memory.pipe_file(f"{root}/{path}", data)
        return fsspec.filesystem("dir", path=root, fs=memory, skip_instance_cache=True)
