"""Makes the vectors of this folder with `openssl ts`: run once, its output is committed.

    PYTHONPATH=tests python tests/vectors/rfc3161/make.py

A root and a TSA that are valid for a century, a second root and TSA that nobody trusts, a manifest with its
envelope, and tokens over the envelope's one signature, which is by the Ed25519 key made of 32 bytes 0x01. The
tokens carry the time at which this ran (openssl asks the clock): tests put key windows around `time.txt`.
The private keys are thrown away.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from pathlib import Path

from rfc3161_client import decode_timestamp_response

from trust.making import A, detached, full

HERE = Path(__file__).parent
DAYS = "36500"
CONFIG = """
[tsa]
default_tsa = own
[own]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
[ts]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""


def run(folder: Path, *command: str) -> None:
    subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / "serial").write_text("01\n")
    (folder / "c").write_text(CONFIG)
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run(folder, "req", "-x509", *new, "-keyout", "root.key", "-out", "root.pem", "-days", DAYS,
        "-subj", f"/CN={name} root", "-config", "/dev/null", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    run(folder, "req", "-new", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", f"/CN={name} TSA",
        "-config", "/dev/null")  # fmt: skip
    run(folder, "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
        "-days", DAYS, "-extfile", "c", "-extensions", "ts", "-out", "tsa.pem")  # fmt: skip


def stamp(folder: Path, data: bytes, out: Path) -> None:
    (folder / "data").write_bytes(data)
    run(folder, "ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "q")
    run(folder, "ts", "-reply", "-config", "c", "-section", "own", "-queryfile", "q", "-out", str(out))


def main() -> None:
    raw, envelope = detached(full(), A)
    (HERE / "manifest.json").write_bytes(raw)
    (HERE / "manifest.json.dsse").write_bytes(envelope)
    signature = base64.b64decode(json.loads(envelope)["signatures"][0]["sig"])
    with tempfile.TemporaryDirectory() as temporary:
        good, stranger = Path(temporary, "good"), Path(temporary, "stranger")
        authority(good, "Example")
        authority(stranger, "Stranger")
        (HERE / "root.pem").write_bytes((good / "root.pem").read_bytes())
        (HERE / "stranger.pem").write_bytes((stranger / "root.pem").read_bytes())
        stamp(good, signature, HERE / "good.tsr")
        bare = ("-in", str(HERE / "good.tsr"), "-token_out", "-out", str(HERE / "good.token"))
        run(good, "ts", "-reply", *bare)
        made = decode_timestamp_response((HERE / "good.tsr").read_bytes()).tst_info.gen_time
        (HERE / "time.txt").write_text(f"{made.isoformat()}\n")
        stamp(good, b"another signature", HERE / "other.tsr")
        stamp(stranger, signature, HERE / "stranger.tsr")


if __name__ == "__main__":
    main()
