"""safetensors: a length, a JSON header, and the tensors' bytes without a gap."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

from databom.checks.weights.forms import CHUNK
from databom.errors import InputError
from databom.model import strictjson

MAX_HEADER_BYTES = 16 * 1024 * 1024


class _Tensor(NamedTuple):
    begin: int
    end: int
    dtype: str
    shape: tuple[int, ...]
    name: str


def listed(file: BinaryIO, head: bytes) -> dict[str, str] | None:
    """The tensors by what they are called in a listing, with their digests; None where it is no such file."""
    length = int.from_bytes(head[:8], "little")
    if len(head) < 10 or not 2 <= length <= MAX_HEADER_BYTES or head[8:9] != b"{":
        return None
    size = file.seek(0, 2) - 8 - length
    if size < 0:
        return None
    file.seek(8)
    try:
        # The header may be padded with spaces, so that the tensors begin at a multiple of eight.
        header = strictjson.loads(
            file.read(length).rstrip(b" "), prefix="weights", limit=length, floats=False
        )
        tensors = _tensors(header, size)
    except (InputError, ValueError, TypeError, KeyError):
        return None
    lines = {}
    for tensor in tensors:
        file.seek(8 + length + tensor.begin)
        shape = ",".join(map(str, tensor.shape))
        digest = _digest(file, tensor.end - tensor.begin)
        if digest is None:
            return None
        lines[f"{tensor.dtype} [{shape}] {tensor.name}"] = digest
    return lines


def _tensors(header: dict[str, Any], size: int) -> list[_Tensor]:
    """The tensors in the order of their bytes.

    Raises:
        ValueError, TypeError, KeyError: the header says something else than where tensors are.
    """
    found = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        (begin, end), dtype, shape = entry["data_offsets"], entry["dtype"], entry["shape"]
        if set(entry) != {"data_offsets", "dtype", "shape"} or not isinstance(dtype, str) or " " in dtype:
            raise ValueError
        if not all(type(one) is int and one >= 0 for one in (begin, end, *shape)):
            raise ValueError
        found.append(_Tensor(begin, end, dtype, tuple(shape), name))
    found.sort()
    ends = [0, *(tensor.end for tensor in found)]
    if [tensor.begin for tensor in found] != ends[:-1] or ends[-1] != size:
        raise ValueError
    if any(later < earlier for earlier, later in pairwise(ends)):
        raise ValueError
    return found


def _digest(file: BinaryIO, length: int) -> str | None:
    state = hashlib.sha256()
    while length:
        data = file.read(min(CHUNK, length))
        if not data:
            return None
        state.update(data)
        length -= len(data)
    return state.hexdigest()
