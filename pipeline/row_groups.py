"""Parquet in row groups of bounded size, so that a file of any length is written and read a part at a time.

Where a file is cut follows from its rows alone: the same rows make the same file, in whatever parts they came.
"""

import functools
import operator
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Ints = npt.NDArray[np.int64]

PART_BYTES = 1 << 24
"""The most bytes of a row group or a part before compression; one row may have more."""
_READ_BYTES = 1 << 20
_SMALL_BYTES = 1 << 18
_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def runs(sizes: npt.ArrayLike, *, most: int) -> list[tuple[int, int]]:
    """The first and the end of each run of items whose sizes sum to at most `most`; an item that is larger is alone."""
    ends = np.cumsum(np.asarray(sizes, dtype=np.int64))
    found, start = [], 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        end = max(int(np.searchsorted(ends, before + most, side="right")), start + 1)
        found.append((start, end))
        start = end
    return found


def row_bytes(table: pa.Table) -> Ints:
    """The bytes of each row's texts and numbers; never more in all than `table.nbytes`, however it lies in memory."""
    sizes = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        if column.num_chunks:
            sizes += np.concatenate([_value_bytes(chunk) for chunk in column.chunks])
    return sizes


class GroupWriter:
    """Tables of one schema into one Parquet file (zstd; a small one in what is quick to set up)."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None
        self._held: pa.Table | None = None

    def __enter__(self) -> "GroupWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._held is not None:
            self._write(self._held, small=self._writer is None)
        if self._writer is not None:
            self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Add rows at the end."""
        held = table if self._held is None else pa.concat_tables([self._held, table])
        if held.nbytes > PART_BYTES:
            # Of the last run it is not known yet whether the next row belongs to it.
            *full, (last, _) = runs(row_bytes(held), most=PART_BYTES)
            for start, end in full:
                self._write(held.slice(start, end - start))
            held = held.slice(last)
        self._held = held

    def _write(self, table: pa.Table, *, small: bool = False) -> None:
        # In one piece: where a table lies in several, pages would end with them.
        table = table.combine_chunks()
        if self._writer is None:
            quick = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
            options = quick if small and table.nbytes < _SMALL_BYTES else {"compression": "zstd"}
            self._writer = pq.ParquetWriter(self._sink, table.schema, **options)
        self._writer.write_table(table)


def parts(source: pa.NativeFile, rows: Ints | None = None) -> Iterator[pa.Table]:
    """The rows of a file in their order, about PART_BYTES at a time; of `rows`, sorted numbers, only those.

    Row groups that have none of `rows` are not read. There is at least one part, be it empty.
    """
    file, first, empty = _opened(source), 0, True
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        mine = None if rows is None else rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + count)]
        if mine is None or len(mine):
            for part in _group(file, group, None if mine is None else mine - first):
                empty = False
                yield part
        first += count
    if empty:
        yield file.schema_arrow.empty_table()


def _opened(source: pa.NativeFile) -> pq.ParquetFile:
    told = pq.read_metadata(source)
    large = any(told.row_group(group).total_byte_size > 2 * PART_BYTES for group in range(told.num_row_groups))
    # A row group is fetched as a whole, which is quick from afar; of a large one some pages of a column at a time.
    return pq.ParquetFile(source, metadata=told, pre_buffer=not large, buffer_size=_READ_BYTES if large else 0)


def _group(file: pq.ParquetFile, group: int, rows: Ints | None) -> Iterator[pa.Table]:
    """A row group that others wrote may be of any size: it is read in parts by the average size of its rows."""
    told, first = file.metadata.row_group(group), 0
    at_once = max(1, told.num_rows // max(1, round(told.total_byte_size / PART_BYTES)))
    for batch in file.iter_batches(batch_size=at_once, row_groups=[group]):
        part = pa.Table.from_batches([batch])
        if rows is not None:
            mine = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(part))]
            part = part.take(pa.array(mine - first))
        first += len(batch)
        if len(part):
            yield part
        if rows is not None and first > rows[-1]:
            return


def _value_bytes(values: pa.Array) -> Any:
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        before = np.concatenate(([0], np.cumsum(_value_bytes(values.flatten()))))
        ends = np.cumsum(_filled(pc.list_value_length(values)))
        return np.diff(before[np.concatenate(([0], ends))])
    if pa.types.is_struct(values.type):
        inner = (_value_bytes(field) for field in values.flatten())
        return functools.reduce(operator.add, inner, np.zeros(len(values), dtype=np.int64))
    if pa.types.is_primitive(values.type):
        return np.full(len(values), values.type.bit_width // 8, dtype=np.int64)
    if values.type in _TEXTS:
        return _filled(pc.binary_length(values))
    return np.zeros(len(values), dtype=np.int64)


def _filled(lengths: pa.Array) -> Ints:
    return np.asarray(lengths.fill_null(0), dtype=np.int64)
