"""The files that problems are read from, JSONL and Parquet, in slices that a cluster reads side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pipeline.errors import Stop

SLICE_ROWS = 100_000
_BLOCK_BYTES = 1 << 22
_BATCH_ROWS = 1000
_NEWLINE = 10


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of one source: rows start..stop of a file (a JSONL file's lines), a Hub data set or a generator."""

    path: str
    start: int
    stop: int | None
    place: int = 0
    """Where it begins: a JSONL file's byte, or a Parquet file's row group."""
    version: str = ""
    """The commit of a stored Hub data set, or a hash of its folder's files; empty for all that is not stored."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row in the place of which there is something that can't be read, and why."""

    why: str


def jsonl_slices(path: str, *, rows: int = SLICE_ROWS, limit: int | None = None) -> list[Slice]:
    """A JSONL file in parts of so many lines, by where their first bytes are; nothing is parsed.

    With a limit the parts end with the line of that row: lines that are empty are no rows.
    """
    if limit is not None:
        return _limited(path, rows, limit)
    starts, lines, at = [0], 0, 0
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == _NEWLINE)
            starts += [at + int(ends[n]) + 1 for n in range(rows - 1 - lines % rows, len(ends), rows)]
            lines += len(ends)
            at += len(block)
    starts = starts[:1] + [start for start in starts[1:] if start < at]
    return [
        Slice(path, number * rows, (number + 1) * rows if start != starts[-1] else None, start)
        for number, start in enumerate(starts)
    ]


def _limited(path: str, rows: int, limit: int) -> list[Slice]:
    starts, held, at, lines = [0], 0, 0, 0
    with Path(path).open("rb") as file:
        for line in file:
            if lines and lines % rows == 0:
                starts.append(at)
            at += len(line)
            lines += 1
            held += bool(line.strip())
            if held == limit:
                break
    return [Slice(path, number * rows, min((number + 1) * rows, lines), start) for number, start in enumerate(starts)]


def parquet_slices(path: str, *, rows: int = SLICE_ROWS, limit: int | None = None) -> list[Slice]:
    """A Parquet file, or its first rows, in parts of whole row groups, each of about so many rows or one group."""
    with _parquet(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    end = sum(sizes) if limit is None else min(limit, sum(sizes))
    parts, first, start, held = [], 0, 0, 0
    for group, size in enumerate(sizes):
        held += size
        if held >= rows or start + held >= end:
            parts.append(Slice(path, start, min(start + held, end), first))
            first, start, held = group + 1, start + held, 0
        if start >= end:
            break
    return parts or [Slice(path, 0, 0)]


def jsonl_rows(part: Slice) -> Iterator[dict[str, Any] | Unreadable]:
    """The objects of a slice, empty lines left out; what is no object comes as Unreadable."""
    count = None if part.stop is None else part.stop - part.start
    with Path(part.path).open("rb") as lines:
        lines.seek(part.place)
        for number, line in enumerate(lines):
            if number == count:
                return
            if line.strip():
                yield _object(line, f"{part.path} line {part.start + number + 1}")


def parquet_rows(part: Slice) -> Iterator[dict[str, Any] | Unreadable]:
    """The rows of a slice; one with a text that is not UTF-8 comes as Unreadable."""
    left = None if part.stop is None else part.stop - part.start
    with _parquet(part.path) as file:
        groups = range(part.place, file.num_row_groups)
        try:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=groups):
                for row in _rows(batch, part.path):
                    if left == 0:
                        return
                    left = None if left is None else left - 1
                    yield row
        except (OSError, pa.ArrowException) as error:
            raise _no_parquet(part.path, error) from error


def jsonl_count(path: str) -> int:
    """The lines of a file that are not empty."""
    with Path(path).open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def parquet_count(path: str) -> int:
    """The rows of a file, from its footer."""
    with _parquet(path) as file:
        return int(file.metadata.num_rows)


def file_content(path: str) -> bytes:
    """The hash of what a file holds; it is kept, and made anew when size or time of change are others."""
    found = Path(path).stat()
    return _content(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1024)
def _content(path: str, size: int, changed_ns: int) -> bytes:
    digest = xxhash.xxh3_128()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.digest()


def _parquet(path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise _no_parquet(path, error) from error


def _no_parquet(path: str, error: Exception) -> Stop:
    return Stop(f"{path} can't be read as Parquet: {str(error).splitlines()[0]}")


def _object(line: bytes, where: str) -> dict[str, Any] | Unreadable:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Unreadable(f"{where} is not JSON ({error})")
    return row if isinstance(row, dict) else Unreadable(f"{where} is {type(row).__name__}, not an object with fields")


def _rows(batch: pa.RecordBatch, path: str) -> list[dict[str, Any]] | list[dict[str, Any] | Unreadable]:
    try:
        return batch.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        # Parquet does not check its texts: one bad byte must not hide its neighbours.
        return [_row(batch.slice(number, 1), path) for number in range(batch.num_rows)]


def _row(one: pa.RecordBatch, path: str) -> dict[str, Any] | Unreadable:
    try:
        row: dict[str, Any] = one.to_pylist()[0]
    except UnicodeDecodeError as error:
        return Unreadable(f"{path} has a text that is not UTF-8 ({error.reason} {error.object[error.start :][:4]!r})")
    return row
