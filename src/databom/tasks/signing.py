"""`databom sign`: sign a manifest that already exists, beside it. Also a countersignature, or one of a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from databom.errors import ConfigError, InputError, MissingError
from databom.model.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest
from databom.storage import files
from databom.storage.location import parse_location
from databom.tasks.keyring import read_private_key
from databom.tasks.receiving import ENVELOPE_SUFFIX
from databom.tasks.sharding import beside
from databom.trust import dsse
from databom.trust.keys import PrivateKey
from databom.trust.statement import PAYLOAD_TYPE, check_statement, manifest_statement


class Signed(Struct, frozen=True):
    """What stands beside the manifest now. Digests are `sha256:<hex>`, keyids sorted."""

    release: str
    envelope_path: Path
    digest: str
    tree: str
    added: tuple[str, ...]
    """The keys that signed in this call; those that had signed before are left as they are."""
    signatures: int
    """How many signatures the envelope carries."""


def sign(manifest: Path | str, *, keys: Sequence[Path | str]) -> Signed:
    """Sign a manifest (or a Croissant document) as it lies there; its bytes are not touched.

    The envelope is `<manifest>.dsse`. One that is there and about these very bytes gets the signatures added; any
    other is left alone.

    Args:
        manifest: a local file.
        keys: private key files, at least one.

    Raises:
        ConfigError: no keys, no such file, not a manifest that `add` would read, or an envelope about other bytes.
        StorageError: a file cannot be read or written.
    """
    if not keys:
        raise ConfigError("a signature needs a key", hint="pass --key FILE; `databom key new FILE` makes one")
    signers = {key.public.keyid: key for key in map(read_private_key, keys)}
    path = Path(manifest)
    try:
        read = read_manifest(files.read_bounded(path, MAX_MANIFEST_BYTES))
        read = beside(parse_location(str(path.absolute()))).complete(read)
    except MissingError:
        raise ConfigError(f"{path} is not there") from None
    except InputError as error:
        raise ConfigError(
            f"{path} is refused, and what is refused is not signed: {error}", hint=error.hint
        ) from None
    envelope_path = path.with_name(path.name + ENVELOPE_SUFFIX)
    try:
        old = _existing(envelope_path, files.read_bounded(envelope_path, dsse.MAX_ENVELOPE_BYTES), read)
    except MissingError:
        old = None
    envelope, added = _extended(old, read, signers)
    if len(envelope.signatures) > dsse.MAX_SIGNATURES:
        raise ConfigError(f"an envelope carries at most {dsse.MAX_SIGNATURES} signatures")
    text = dsse.format_envelope(envelope)
    if old is None:
        files.write_new(envelope_path, text, mode=0o644)
    elif added:
        files.write_atomic(envelope_path, text)
    return Signed(read.release, envelope_path, read.digest, read.tree, added, len(envelope.signatures))


def _existing(path: Path, raw: bytes, manifest: Manifest) -> dsse.Envelope:
    """The envelope that is there, when it is about this manifest."""
    hint = f"move {path} away if it is not needed any more, then sign again"
    try:
        envelope = dsse.parse_envelope(raw)
    except InputError as error:
        raise ConfigError(f"{path} is not a signature that can be added to: {error}", hint=hint) from None
    problems = check_statement(envelope.payload, manifest)
    if envelope.payload_type != PAYLOAD_TYPE or problems:
        why = problems[0].what if problems else "it was made for another purpose"
        raise ConfigError(f"{path} is not overwritten: {why}", hint=hint)
    return envelope


def _extended(
    old: dsse.Envelope | None, manifest: Manifest, signers: dict[str, PrivateKey]
) -> tuple[dsse.Envelope, tuple[str, ...]]:
    """The envelope with a signature by each signer that has not signed yet, and the ids of those."""
    if old is None:
        fresh = dsse.sign(PAYLOAD_TYPE, manifest_statement(manifest), signers.values())
        return fresh, tuple(sorted(signers))
    known = {keyid: key.public for keyid, key in signers.items()}
    missing = sorted(signers.keys() - dsse.verified_keyids(old, known))
    # The payload stays as it is, whoever wrote it: the earlier signatures cover those bytes.
    more = dsse.sign(old.payload_type, old.payload, [signers[keyid] for keyid in missing])
    return dsse.Envelope(old.payload_type, old.payload, (*old.signatures, *more.signatures)), tuple(missing)
