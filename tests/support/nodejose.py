"""Node's `jose`, where it is: `NODE_JOSE` names the folder whose node_modules has it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from databom.trust.keys import PrivateKey

SCRIPT = Path(__file__).parents[1] / "vectors" / "node-jose" / "jws.mjs"


def why_not() -> str | None:
    """Why it cannot be run here, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not Path(os.environ.get("NODE_JOSE", "/nowhere"), "node_modules", "jose").is_dir():
        return "NODE_JOSE names no folder with node_modules/jose"
    return None


def payload_of(manifest: dict[str, Any]) -> bytes:
    """RFC 8785 of a manifest with ASCII names and no floats, without its signature; not by our own code."""
    value = {name: member for name, member in manifest.items() if name != "signature"}
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signing(key: PrivateKey, manifest: dict[str, Any], typ: str | None = None) -> dict[str, Any]:
    """The request to sign a manifest."""
    return {
        "op": "sign",
        "alg": "EdDSA" if key.public.keytype == "ed25519" else "ES256",
        "kid": key.public.keyid,
        "typ": typ,
        "pkcs8": key.pem().decode(),
        "payload": base64.b64encode(payload_of(manifest)).decode(),
    }


def run(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers to these requests."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, SCRIPT.name)  # modules are looked up from where the script lies
        script.write_bytes(SCRIPT.read_bytes())
        Path(folder, "node_modules").symlink_to(Path(os.environ["NODE_JOSE"], "node_modules").absolute())
        done = subprocess.run(
            ["node", str(script)], input=json.dumps(requests).encode(), capture_output=True, check=True
        )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers
