"""Parquet shards as lines of JSON: one row an asset, one column a member; one set of rules holds for both forms.

Only what a manifest can say is taken: text, whole numbers, lists of text, and a struct with `sha256`. The file's own
claims about rows and sizes are looked at before a page is decompressed, and rows come in small batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from databom.errors import ConfigError, InputError, Problem
from databom.model.claims import MAX_SHARD_BYTES
from databom.model.text import printable

if TYPE_CHECKING:
    from databom.model.claims import Shard

MEDIA_TYPE: Final = "application/vnd.apache.parquet"
BATCH_ROWS = 4_096
MAX_COLUMNS = 100

_ASK = "ask the publisher for a corrected release"


def as_lines(raw: bytes, shard: Shard, where: str) -> bytes:
    """The rows of a Parquet file as NDJSON; a null is an absent member.

    Raises:
        InputError: `manifest.syntax` for what is no Parquet file, `.schema` for rows or columns that are not the
            index's or an asset's, `.limit` for a file that grows too large.
        ConfigError: the extra `parquet` is not installed.
    """
    pa, opened = _pyarrow()
    lines: list[bytes] = []
    length = 0
    try:
        file = opened(pa.BufferReader(raw))
        _check_shape(file, shard, where, pa)
        for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            more = [msgspec.json.encode(_without_nulls(row)) for row in batch.to_pylist()]
            length += sum(map(len, more)) + len(more)
            _check_length(length, where)
            lines += more
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  # the library's own, of many kinds, about bytes it did not make
        what = f"the shard cannot be read as Parquet ({type(error).__name__})"
        found = printable(raw[:16].decode("utf-8", "backslashreplace"))
        raise InputError(Problem("manifest.syntax", where, what, "a Parquet file", found, _ASK)) from None
    return b"".join([line + b"\n" for line in lines])


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def write(assets: list[dict[str, Any]]) -> bytes:
    """A Parquet file that lists these assets; `as_lines` gives them back.

    Raises:
        ConfigError: the extra `parquet` is not installed.
    """
    pa, _ = _pyarrow()
    from pyarrow import parquet

    schema = pa.schema({"path": pa.string(), "sha256": pa.string(), "size": pa.int64()})
    sink = pa.BufferOutputStream()
    # Digests do not repeat, and paths in order share their beginnings.
    parquet.write_table(
        pa.Table.from_pylist(assets, schema=schema),
        sink,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"path": "DELTA_BYTE_ARRAY"},
        store_schema=False,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _check_shape(file: Any, shard: Shard, where: str, pa: Any) -> None:
    found = file.metadata
    if found.num_rows != shard.count:
        what = "the shard lists another number of assets than the manifest says"
        raise InputError(
            Problem("manifest.schema", where, what, f"{shard.count:,}", f"{found.num_rows:,}", _ASK)
        )
    _check_length(sum(found.row_group(at).total_byte_size for at in range(found.num_row_groups)), where)
    types = pa.types
    schema = file.schema_arrow
    if len(schema.names) > MAX_COLUMNS or len(set(schema.names)) != len(schema.names):
        what = f"the shard has {len(schema.names)} columns, or two of one name"
        raise InputError(
            Problem("manifest.schema", where, what, f"at most {MAX_COLUMNS}, each once", do=_ASK)
        )
    for field in schema:
        kind = field.type
        held = kind.value_type if types.is_list(kind) or types.is_large_list(kind) else kind
        held = held.field(0).type if types.is_struct(held) and held.num_fields == 1 else held
        if not (types.is_string(held) or types.is_large_string(held) or types.is_integer(held)):
            what = f"the column {printable(field.name, 60)} is of a type that no member of an asset has"
            expected = "text, whole numbers, lists of text, or a struct with sha256"
            raise InputError(
                Problem("manifest.schema", where, what, expected, printable(str(kind), 80), _ASK)
            )


def _check_length(length: int, where: str) -> None:
    if length > MAX_SHARD_BYTES:
        what = "the shard is too large once it is decompressed"
        expected = f"at most {MAX_SHARD_BYTES:,} bytes"
        raise InputError(Problem("manifest.limit", where, what, expected, f"at least {length:,}", _ASK))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            "this release lists its assets in Parquet, which needs pyarrow",
            hint="pip install 'databom[parquet]'",
        ) from None
    return pa, parquet.ParquetFile
