"""What a log hands out, as others read it: Go's sumdb where it is, and verifiers written from the texts alone."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from databom.log.checkpoint import cosign
from databom.log.note import ED25519, Note, format_vkey, parse_note
from databom.log.tlogproof import TlogProof
from databom.trust.keys import PrivateKey
from support.tlog import NOW, ORIGIN, SmallLog, outsider_checks_proof, outsider_opens_cosignature

VECTORS = Path(__file__).parents[1] / "vectors"
MODULES = Path(os.environ.get("GO_SUMDB", "/usr/share/gocode"))
"""A GOPATH with golang.org/x/mod in it: Debian's `golang-golang-x-mod-dev`."""
WITNESS = "witness.example/w1"


def raw_of(key: PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    return load_pem_public_key(key.public.pem().encode()).public_bytes(Encoding.Raw, PublicFormat.Raw)


def witnessed(proof: TlogProof, key: PrivateKey) -> bytes:
    note = parse_note(proof.checkpoint)
    both = Note(note.text, (*note.lines, cosign(note.text, WITNESS, key, NOW)))
    return bytes(TlogProof(proof.index, proof.hashes, bytes(both)))


def test_a_cosignature_by_the_text_alone(tmp_path: Path) -> None:
    small, witness, other = SmallLog(tmp_path / "log"), PrivateKey.generate(), PrivateKey.generate()
    small.append(b"a", b"b", b"c")
    proof = witnessed(small.reader().prove(1)[1], witness)
    checkpoint = proof.partition(b"\n\n")[2]
    assert outsider_opens_cosignature(checkpoint, WITNESS, raw_of(witness)) == NOW
    with pytest.raises(InvalidSignature):
        outsider_opens_cosignature(checkpoint, WITNESS, raw_of(other))
    with pytest.raises(InvalidSignature):
        outsider_opens_cosignature(checkpoint.replace(b"\n3\n", b"\n4\n"), WITNESS, raw_of(witness))
    assert outsider_checks_proof(proof, b"b", format_vkey(ORIGIN, ED25519, small.key.public))


@pytest.fixture(scope="session")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of `vectors/go-sumdb`, built."""
    if shutil.which("go") is None or not (MODULES / "src/golang.org/x/mod/sumdb").is_dir():
        pytest.skip("no go, or no golang.org/x/mod below GO_SUMDB")
    folder = tmp_path_factory.mktemp("go")
    environ = {**os.environ, "GO111MODULE": "off", "GOPATH": str(MODULES), "GOCACHE": str(folder / "cache")}
    source = VECTORS / "go-sumdb" / "main.go"
    subprocess.run(["go", "build", "-o", folder / "check", source], env=environ, check=True)
    return folder / "check"


def go_says(check: Path, folder: Path, proof: bytes, entry: bytes, *args: str) -> str:
    (folder / "proof").write_bytes(proof)
    (folder / "entry").write_bytes(entry)
    done = subprocess.run(
        [check, folder / "proof", folder / "entry", *args], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == done.stdout.startswith("OK")
    return done.stdout


def test_go_believes_it(check: Path, tmp_path: Path) -> None:
    small, witness = SmallLog(tmp_path / "log"), PrivateKey.generate()
    small.append(*(b"%d" % number for number in range(300)))
    vkey = format_vkey(ORIGIN, ED25519, small.key.public)
    seen = (WITNESS, base64.b64encode(raw_of(witness)).decode())
    for index in (0, 1, 255, 256, 299):
        entry, proof = small.reader().prove(index)
        assert go_says(check, tmp_path, bytes(proof), entry, vkey) == f"OK {index} of 300\n"
        both = witnessed(proof, witness)
        assert go_says(check, tmp_path, both, entry, vkey, *seen) == f"OK {index} of 300\n"
        assert not go_says(check, tmp_path, bytes(proof), entry, vkey, *seen).startswith("OK")
        assert not go_says(check, tmp_path, bytes(proof), entry + b"x", vkey).startswith("OK")
        wrong = both.replace(b"\n300\n", b"\n301\n")
        assert not go_says(check, tmp_path, wrong, entry, vkey).startswith("OK")


def test_go_believes_the_first_release(check: Path, tmp_path: Path) -> None:
    golden = VECTORS / "log-v1"
    key = PrivateKey.from_pem((golden / "log.pem").read_bytes())
    vkey = format_vkey("log.example/golden", ED25519, key.public)
    proof = (golden / "entry-7.tlog-proof").read_bytes()
    assert go_says(check, tmp_path, proof, b"entry 7", vkey) == "OK 7 of 260\n"
