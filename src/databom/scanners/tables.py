"""The cells of Parquet and Arrow files: texts with the name of their column, and the files that cells hold."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from databom.scanners.protocol import Data, Unreadable

PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.file"
ROWS = 1024
"""Rows that are read at a time."""
MAX_DEPTH = 16


def is_table(media_type: str) -> bool:
    """Whether it is a table that can be read here."""
    return media_type in (PARQUET, ARROW) and find_spec("pyarrow") is not None


def cells(data: Data, media_type: str) -> Iterator[tuple[str, str | bytes | int]]:
    """(column, value) of every cell that is a text, bytes or a whole number, and of what the file says of itself.

    Raises:
        Unreadable: it is damaged.
    """
    try:
        for number, batch in enumerate(_batches(data, media_type)):
            if number == 0:
                yield from _about(batch.schema)
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                for value in column.to_pylist():
                    yield from _values(name, value, 0)
    except Unreadable:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("pyarrow") and not isinstance(error, (OSError, ValueError)):
            raise
        raise Unreadable("a table that cannot be read") from None


def _about(schema: Any) -> Iterator[tuple[str, str]]:
    """The names of the columns, and what its makers wrote into the schema."""
    yield from (("", name) for name in schema.names)
    for value in (schema.metadata or {}).values():
        yield "", value.decode("utf-8", "replace")


def _batches(data: Data, media_type: str) -> Iterator[Any]:
    import pyarrow as pa

    source = pa.BufferReader(pa.py_buffer(data)) if not isinstance(data, bytes) else io.BytesIO(data)
    if media_type == ARROW:
        with pa.ipc.open_file(source) as reader:
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        return
    from pyarrow.parquet import ParquetFile

    with ParquetFile(source) as file:
        yield from file.iter_batches(ROWS)


def _values(name: str, value: object, depth: int) -> Iterator[tuple[str, str | bytes | int]]:
    if depth > MAX_DEPTH:
        raise Unreadable("a table nested too deeply")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column with gaps
    if isinstance(value, (str, bytes)) or (isinstance(value, int) and not isinstance(value, bool)):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _values(str(key), inner, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _values(name, inner, depth + 1)
