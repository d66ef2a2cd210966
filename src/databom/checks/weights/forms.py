"""What a file is by its first bytes, and the digest that goes with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

CHUNK = 1024 * 1024
PICKLE, HDF5, ZIP = b"\x80", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_PICKLE_PROTOCOLS = frozenset(range(2, 6))
_GZIP, _ZLIB = b"\x1f\x8b", frozenset({b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"})
"""How joblib's compressed pickles begin."""


class Weights(NamedTuple):
    """A weights digest."""

    digest: str
    """`sha256:<hex>`."""
    form: str
    opaque: tuple[str, ...] = ()
    """Files that were hashed byte for byte though the same weights may have other bytes."""

    @property
    def hex(self) -> str:
        """The digest's 64 hex digits."""
        return self.digest.removeprefix("sha256:")


def weights_of_file(file: BinaryIO, name: str = "file") -> Weights:
    """The weights digest of one open, seekable file; `name` is what `opaque` calls it.

    Raises:
        OSError: it cannot be read. Nothing else is raised, whatever the bytes.
    """
    from databom.checks.weights import tensors, zips

    file.seek(0)
    head = file.read(16)
    if head.startswith(ZIP):
        found = zips.listed(file)
        if found is not None:
            return Weights(listing(found.form, found.lines), found.form)
        return _bytes(file, "bytes", name, opaque=True)
    tensor_lines = tensors.listed(file, head)
    if tensor_lines is not None:
        return Weights(listing("safetensors", tensor_lines), "safetensors")
    is_pickle = head[:1] == PICKLE and head[1:2] and head[1] in _PICKLE_PROTOCOLS
    if is_pickle or head.startswith(_GZIP) or head[:2] in _ZLIB:
        return _bytes(file, "pickle" if is_pickle else "bytes", name, opaque=True)
    is_hdf5 = head.startswith(HDF5)
    return _bytes(file, "hdf5" if is_hdf5 else "bytes", name, opaque=is_hdf5)


def listing(form: str, lines: Mapping[str, str]) -> str:
    """The digest over entries, each `name: hex`; see the package's first page."""
    state = hashlib.sha256(f"databom weights v1 {form}\n".encode())
    # A file's name on disk may be no UTF-8: its bytes are what they were.
    entries = ((name.encode("utf-8", "surrogateescape"), digest) for name, digest in lines.items())
    for name, digest in sorted(entries):
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        mark = b"\\" if escaped != name else b""
        state.update(mark + digest.encode() + b"  " + escaped + b"\n")
    return f"sha256:{state.hexdigest()}"


def _bytes(file: BinaryIO, form: str, name: str, *, opaque: bool) -> Weights:
    file.seek(0)
    state = hashlib.sha256()
    while data := file.read(CHUNK):
        state.update(data)
    return Weights(f"sha256:{state.hexdigest()}", form, (name,) if opaque else ())
