"""Documents of other formats that stand for a manifest: Croissant, and OpenSSF Model Signing bundles."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from databom.trust.keys import PrivateKey

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "isLiveDataset": "cr:isLiveDataset",
    "md5": "cr:md5",
    "recordSet": "cr:recordSet",
    "sc": "https://schema.org/",
}
"""The members of the standard's context that matter here."""
OMS = "https://model_signing/signature/v1.0"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_object(path: str, data: bytes, **members: Any) -> dict[str, Any]:
    """A FileObject for a file beside the Croissant document."""
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{len(data)} B",
        "encodingFormat": "image/jpeg",
        "sha256": sha256(data),
        **members,
    }


def croissant(files: Mapping[str, bytes], **changes: Any) -> dict[str, Any]:
    """A Croissant 1.1 document that lists these files; a member that changes to None is left out."""
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": "hn-pets",
        "description": "Cats and dogs.",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "url": "https://marketplace.example/hn-pets",
        "license": "https://spdx.org/licenses/CC-BY-4.0",
        "version": "1.0.0",
        "datePublished": "2026-01-10T00:00:00Z",
        "creator": {"@type": "Person", "@id": "creator:alice", "name": "Alice"},
        "distribution": [file_object(path, data) for path, data in files.items()],
        **changes,
    }
    return {name: member for name, member in document.items() if member is not None}


def resources(files: Mapping[str, bytes]) -> list[dict[str, str]]:
    return [
        {"name": name, "digest": sha256(data), "algorithm": "sha256"} for name, data in sorted(files.items())
    ]


def oms_statement(
    files: Mapping[str, bytes], *, name: str = "hn-pets", predicate_type: str = OMS, **changes: Any
) -> dict[str, Any]:
    """The statement of an OMS bundle; `changes` replace members of the predicate."""
    listed = resources(files)
    root = sha256(b"".join(bytes.fromhex(one["digest"]) for one in listed))
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [".git"],
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": predicate_type,
        "predicate": {"resources": listed, "serialization": serialization, **changes},
    }


def oms_bundle(statement: Mapping[str, Any], keys: Sequence[PrivateKey], **material: Any) -> dict[str, Any]:
    """A Sigstore bundle v0.3 around a statement, as model-signing writes one for a key."""
    from databom.trust.dsse import pae

    payload, kind = json.dumps(statement, indent=2).encode(), "application/vnd.in-toto+json"
    message = pae(kind, payload)
    hint = sha256(keys[0].public.pem().encode())
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material or {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [
                {"sig": base64.b64encode(key.sign(message)).decode(), "keyid": ""} for key in keys
            ],
        },
    }
