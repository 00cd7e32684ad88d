"""Score a file of foreign replies: every row to the output, in order, with its verdict; the counts come back.

Nothing is at the output's name until all rows are there.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from pipeline.errors import BadRecipe, Stop
from pipeline.foreign.in_order import Workers, in_order
from pipeline.foreign.replies import ReplyFields, as_text, at, has, names_of, problem_of
from pipeline.foreign.reply_files import (
    Chunk,
    ParquetRows,
    chunks,
    format_of,
    lines_to_parquet,
    open_lines,
    parquet_schema,
    whole,
)
from pipeline.foreign.reply_lines import BEFORE, is_several, merged
from pipeline.foreign.scorer import ADDED, Scored, rows_of
from pipeline.scores.judgements import Judgements

_LOOKED_AT, _MOST_NAMES, _LONGEST_ID = 16, 40, 80
_TYPES = {"verdict": pa.string(), "found": pa.string(), "why": pa.string()}


def check_fields(path: str, fields: ReplyFields, *, asked: frozenset[str], replace: bool) -> None:
    """Raise BadRecipe when the first rows lack reply, answer, or what was `asked` for by name, or have our names twice.

    Raises Stop when the file can't be read or has no rows.
    """
    rows = _first_rows(path)
    for option in ("reply", "answer", *sorted(asked - {"reply", "answer"})):
        name = getattr(fields, option)
        if not any(has(row, name) for row in rows):
            there = list(dict.fromkeys(name for row in rows for name in names_of(row)))
            more = ", ..." if len(there) > _MOST_NAMES else ""
            listed = ", ".join(there[:_MOST_NAMES]) + more
            raise BadRecipe(f"{path} has no field {name!r} (--{option}-field); its fields are {listed}")
    both = [name for name in ADDED if any(name in row and f"{name}{BEFORE}" in row for row in rows)]
    if both and not replace:
        raise BadRecipe(f"{path} has {both[0]} and {both[0]}{BEFORE} already; --overwrite-columns replaces the first")


def score_file(
    path: str,
    out: str,
    fields: ReplyFields,
    workers: Workers,
    show: Callable[[Judgements], None],
    *,
    replace: bool = False,
) -> Judgements:
    """Write the rows of `path` with their verdicts to `out`. `show` is called as it goes; `replace` as the workers."""
    judgements = Judgements()
    columnar = format_of(path) == format_of(out) == "parquet"
    with closing(in_order(chunks(path, sent=_sent(path, fields) if columnar else None), workers)) as judged:
        counted = _counted(judged, judgements, show)
        with whole(out) as beside:
            if columnar:
                assert beside is not None
                several = is_several(parquet_schema(path), fields.reply)
                _write_columns(path, beside, counted, several=several, replace=replace)
            elif format_of(out) == "parquet":
                assert beside is not None
                _write_by_lines(beside, counted)
            else:
                with open_lines(beside, out) as sink:
                    for _, scored in counted:
                        sink.write(scored.lines)
    return judgements


def called(path: str, fields: ReplyFields, problem: int) -> str:
    """What a person calls a problem of the file: by the id of its first row, or that row's number, from 1.

    The file is read again for it: ids are not kept while it is scored.
    """
    columnar = format_of(path) == "parquet"
    with closing(chunks(path, sent=_sent(path, fields) if columnar else None)) as found:
        for chunk in found:
            for number, row in enumerate(rows_of(chunk), start=chunk.first):
                if problem_of(row, fields, number=number) == problem:
                    named = as_text(at(row, fields.id))
                    return f"row {number + 1}" if named is None else f"id {named[:_LONGEST_ID]!r}"
    raise Stop(f"{path} was changed while it was scored")


def _first_rows(path: str) -> list[dict[str, object]]:
    if format_of(path) == "parquet":
        parquet_schema(path)
    with closing(chunks(path)) as found:
        first = [row for chunk in itertools.islice(found, _LOOKED_AT) for row in rows_of(chunk)]
    if not first:
        raise Stop(f"{path} holds no rows")
    return first


def _sent(path: str, fields: ReplyFields) -> tuple[str, ...]:
    """The columns that judging needs: by their whole name, or the part before the first dot."""
    wanted = {getattr(fields, name) for name in ("prompt", "reply", "answer", "kind", "finish", "id", "tokens")}
    heads = wanted | {name.split(".")[0] for name in wanted}
    return tuple(name for name in parquet_schema(path).names if name in heads)


def _counted(
    judged: Iterator[tuple[Chunk, Scored]], judgements: Judgements, show: Callable[[Judgements], None]
) -> Iterator[tuple[Chunk, Scored]]:
    for chunk, scored in judged:
        yield chunk, scored
        judgements.add(scored.judgements)
        show(judgements)


def _write_columns(
    path: str, beside: Path, judged: Iterator[tuple[Chunk, Scored]], *, several: bool, replace: bool
) -> None:
    """Add three columns to a Parquet file; its own keep types and order, those named as ours under another name."""
    schema = parquet_schema(path)
    kept = [name for name in schema.names if name not in ADDED or not replace]
    own = [schema.field(name).with_name(f"{name}{BEFORE}" if name in ADDED else name) for name in kept]
    types = {name: pa.list_(found) if several else found for name, found in _TYPES.items()}
    full = pa.schema([*own, *types.items()], metadata=schema.metadata)
    with ParquetRows(beside, full) as rows:
        for chunk, scored in judged:
            assert chunk.batch is not None
            added = [pa.array(_alike(scored.columns[name], several), found) for name, found in types.items()]
            rows.write(pa.RecordBatch.from_arrays([*chunk.batch.select(kept).columns, *added], schema=full))


def _alike(values: list[object], several: bool) -> list[object]:
    """A row whose list of replies is null has one verdict; in a column of lists it is a list of one."""
    return [value if isinstance(value, list) else [value] for value in values] if several else values


def _write_by_lines(beside: Path, judged: Iterator[tuple[Chunk, Scored]]) -> None:
    """JSON rows as Parquet: the types are known when the last row was seen, so lines are written first."""
    lines = beside.with_name(f"{beside.name}.jsonl")
    schema = pa.schema([])
    try:
        with lines.open("wb") as sink:
            for _, scored in judged:
                assert scored.schema is not None
                schema = merged(schema, scored.schema)
                sink.write(scored.lines)
        as_text = frozenset(field.name for field in schema if field.type == pa.binary())
        plain = pa.schema([(field.name, _written(field, as_text)) for field in schema])
        lines_to_parquet(lines, beside, plain, as_text)
    finally:
        lines.unlink(missing_ok=True)


def _written(field: pa.Field, as_text: frozenset[str]) -> pa.DataType:
    empty = field.name in ADDED and field.type == pa.null()
    return pa.string() if empty or field.name in as_text else field.type
