"""Files of replies: read in chunks of bounded size, written whole or not at all. JSON Lines (also gzipped) or Parquet.

JSON Lines stay bytes here: whoever judges a chunk parses it, so that reading a file keeps many processes busy.
"""

import contextlib
import gzip
import os
import sys
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadRecipe, Stop
from pipeline.foreign.reply_lines import parse

Format = Literal["jsonl", "parquet"]
STDOUT = "-"
_ROWS, _BYTES = 256, 1 << 20
_FIRST_ROWS, _GROWTH = 16, 64
_GROUP_ROWS, _GROUP_BYTES = 1 << 16, 32 << 20
_JSONL = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file, in order: lines with their numbers, or a batch. `first` counts rows from 0.

    Of a batch only the columns `sent` travel to the process that judges; None means all.
    """

    path: str
    first: int
    lines: list[tuple[int, bytes]]
    batch: pa.RecordBatch | None = None
    sent: tuple[str, ...] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by Arrow's stream format: a pickled slice would take its whole parent along."""
        if self.batch is None:
            return Chunk, (self.path, self.first, self.lines)
        sink, batch = pa.BufferOutputStream(), self.batch.select(self.sent or self.batch.schema.names)
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        return _unpickled, (self.path, self.first, sink.getvalue().to_pybytes())

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return self.batch.nbytes if self.batch is not None else sum(len(line) for _, line in self.lines)


def _unpickled(path: str, first: int, stream: bytes) -> Chunk:
    with pa.ipc.open_stream(stream) as batches:
        return Chunk(path, first, [], batches.read_next_batch())


def format_of(path: str) -> Format:
    """What a file is by the end of its name. Raises BadRecipe for any other."""
    if path == STDOUT or path.lower().endswith(_JSONL):
        return "jsonl"
    if path.lower().endswith(".parquet"):
        return "parquet"
    raise BadRecipe(f"{path} ends in none of {', '.join(_JSONL)}, .parquet: the name tells how to read or write it")


def check_paths(path: str, out: str) -> None:
    """Raise BadRecipe when a file can't be read from here to there."""
    format_of(path), format_of(out)
    if not Path(path).exists():
        raise BadRecipe(f"{path} is not there")
    if Path(path).is_dir():
        raise BadRecipe(f"{path} is a folder; name one file")
    if out == STDOUT:
        return
    if not Path(out).absolute().parent.is_dir():
        raise BadRecipe(f"{out} can't be written: the folder {Path(out).absolute().parent} is not there")
    if Path(out).is_dir():
        raise BadRecipe(f"{out} is a folder; name a file")
    if Path(out).exists() and Path(out).samefile(path):
        raise BadRecipe(f"{out} is the file that is read; write to another")


def chunks(path: str, *, sent: tuple[str, ...] | None = None) -> Generator[Chunk, None, None]:
    """The rows of a file; `sent` as in Chunk. Raises Stop when it can't be read."""
    found = _parquet_chunks(path, sent) if format_of(path) == "parquet" else _line_chunks(path)
    try:
        yield from found
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise Stop(f"{path} can't be read: {reason}") from error


def parquet_schema(path: str) -> pa.Schema:
    """The columns of a Parquet file. Raises Stop when it can't be read or two columns have the same name."""
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise Stop(f"{path} can't be read as Parquet: {(str(error).splitlines() or [''])[0][:300]}") from error
    if len(set(schema.names)) < len(schema.names):
        raise Stop(f"{path} has several columns of the same name: {', '.join(schema.names)[:300]}")
    return schema


def _line_chunks(path: str) -> Iterator[Chunk]:
    opened: Any = gzip.open if path.lower().endswith(".gz") else open
    first, size, lines = 0, 0, list[tuple[int, bytes]]()
    with opened(path, "rb") as source:
        for number, line in enumerate(source, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            lines.append((number, line))
            size += len(line)
            if len(lines) >= _rows_at(first) or size >= _BYTES:
                yield Chunk(path, first, lines)
                first, size, lines = first + len(lines), 0, []
    if lines:
        yield Chunk(path, first, lines)


def _parquet_chunks(path: str, sent: tuple[str, ...] | None) -> Iterator[Chunk]:
    first = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            most = max(1, batch.num_rows * _BYTES // max(1, batch.nbytes))
            at = 0
            while at < batch.num_rows:
                part = batch.slice(at, min(most, _rows_at(first)))
                yield Chunk(path, first, [], part, sent)
                at, first = at + part.num_rows, first + part.num_rows


def _rows_at(row: int) -> int:
    """Rows of a chunk: few at first, so that a small file keeps many processes busy too."""
    return min(_ROWS, max(_FIRST_ROWS, row // _GROWTH))


@contextlib.contextmanager
def whole(out: str) -> Iterator[Path | None]:
    """A file beside `out` that takes its place when the block ends well and goes when it does not; None for stdout."""
    if out == STDOUT:
        yield None
        return
    beside = Path(f"{out}.tmp")
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(out)
    except OSError as error:
        raise Stop(f"can't write {out}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def open_lines(beside: Path | None, out: str) -> contextlib.AbstractContextManager[IO[bytes] | gzip.GzipFile]:
    """Where lines are written: a file, gzipped by the name of `out`, or standard output."""
    if beside is None:
        return contextlib.nullcontext(sys.stdout.buffer)
    if out.lower().endswith(".gz"):
        return gzip.open(beside, "wb", compresslevel=3)
    return beside.open("wb")


class ParquetRows:
    """Batches into a Parquet file, in row groups of a size that reads well."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._batches: list[pa.RecordBatch] = []
        self._size = 0

    def __enter__(self) -> "ParquetRows":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows at the end."""
        self._batches.append(batch)
        self._size += batch.nbytes
        if self._size >= _GROUP_BYTES or sum(part.num_rows for part in self._batches) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._batches:
            table = pa.Table.from_batches(self._batches)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._batches, self._size = [], 0


def lines_to_parquet(lines: Path, path: Path, schema: pa.Schema, written_as_text: frozenset[str]) -> None:
    """JSON Lines as Parquet. Columns in `written_as_text` have values of several types: strings stay, others are JSON.

    Raises Stop that names a column that does not fit.
    """
    with lines.open("rb") as source, ParquetRows(path, schema) as rows:
        held: list[dict[str, Any]] = []
        for line in source:
            held.append(parse(line))
            if len(held) >= _ROWS:
                rows.write(_batch(held, schema, written_as_text))
                held = []
        if held:
            rows.write(_batch(held, schema, written_as_text))


def _batch(rows: list[dict[str, Any]], schema: pa.Schema, written_as_text: frozenset[str]) -> pa.RecordBatch:
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if field.name in written_as_text:
            values = [_plain(value) for value in values]
        try:
            columns.append(pa.array(values, field.type))
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise Stop(f"field {field.name!r} does not fit into Parquet ({error}): write .jsonl instead") from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
