"""Judge a chunk of foreign rows: parse, take the replies out, verify; what is to be written and counted comes back."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pyarrow as pa

from pipeline.errors import Stop
from pipeline.foreign.replies import Replies, ReplyFields, replies_of
from pipeline.foreign.reply_files import Chunk, Format
from pipeline.foreign.reply_lines import BEFORE, aside, extended, line_of, parse, schema_of
from pipeline.scores.judgements import Judgements
from pipeline.settings import Settings
from pipeline.verdict import Submission, Verdict
from pipeline.verify import Verifier, VerifySettings

ADDED = ("verdict", "found", "why")


class ScoreSettings(Settings):
    """How a file of replies is scored."""

    fields: ReplyFields = ReplyFields()
    """Which field holds what."""
    verify: VerifySettings = VerifySettings()
    """How replies are judged."""
    out: Format = "jsonl"
    """What is written."""
    replace: bool = False
    """Whether fields of the rows that are named as ours are replaced; otherwise they stay as why_before."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A judged chunk: its lines where lines are read or written, its columns to add where both files are Parquet.

    `schema` has the types of the lines when they go into Parquet.
    """

    lines: bytes
    columns: dict[str, list[Any]]
    schema: pa.Schema | None
    judgements: Judgements


class Scorer:
    """Judges chunks; close it (or use it in `with`) to end its verifier."""

    def __init__(self, settings: ScoreSettings) -> None:
        self._settings = settings
        self._verifier = Verifier(settings.verify)

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._verifier.close()

    def score(self, chunk: Chunk) -> Scored:
        """The chunk with its verdicts. Raises Stop that names the file and line of what can't be read."""
        rows = rows_of(chunk)
        if not self._settings.replace:
            _refuse_both(chunk, rows)
        asked = [self._replies(chunk, at, row) for at, row in enumerate(rows)]
        judged = self._judge(asked)
        judgements = Judgements()
        for replies, verdicts in zip(asked, judged, strict=True):
            judgements.count_row(replies, verdicts)
        added = [_fields(replies, verdicts) for replies, verdicts in zip(asked, judged, strict=True)]
        return self._written(chunk, rows, added, judgements)

    def _replies(self, chunk: Chunk, at: int, row: dict[str, Any]) -> Replies:
        exact = chunk.lines[at][1] if chunk.lines else None
        return replies_of(row, self._settings.fields, number=chunk.first + at, exact=exact)

    def _judge(self, asked: list[Replies]) -> list[list[Verdict]]:
        draws = [draw.asked for replies in asked for draw in replies.draws]
        said = iter(self._verifier.verify([one for one in draws if isinstance(one, Submission)]))
        return [
            [next(said) if isinstance(draw.asked, Submission) else draw.asked for draw in replies.draws]
            for replies in asked
        ]

    def _written(
        self, chunk: Chunk, rows: list[dict[str, Any]], added: list[dict[str, Any]], judgements: Judgements
    ) -> Scored:
        if chunk.batch is not None and self._settings.out == "parquet":
            columns = {name: [fields[name] for fields in added] for name in ADDED}
            return Scored(b"", columns, None, judgements)
        if chunk.batch is not None:
            kept = (aside(row, ADDED, replace=self._settings.replace) for row in rows)
            lines = [line_of(row | fields) for row, fields in zip(kept, added, strict=True)]
            return Scored(b"".join(lines), {}, None, judgements)
        lines = [
            extended(line, fields, rewritten=any(name in row for name in ADDED), replace=self._settings.replace)
            for (_, line), row, fields in zip(chunk.lines, rows, added, strict=True)
        ]
        schema = None
        if self._settings.out == "parquet":
            kept = (aside(row, ADDED, replace=self._settings.replace) for row in rows)
            schema = schema_of([row | fields for row, fields in zip(kept, added, strict=True)])
        return Scored(b"".join(lines), {}, schema, judgements)


def rows_of(chunk: Chunk) -> list[dict[str, Any]]:
    """A chunk's rows. Raises Stop that names the line that is no JSON object."""
    if chunk.batch is None:
        return [_row_of(chunk.path, number, line) for number, line in chunk.lines]
    try:
        rows: list[dict[str, Any]] = chunk.batch.to_pylist()
    except UnicodeDecodeError as error:
        last = chunk.first + chunk.batch.num_rows
        raise Stop(f"{chunk.path} rows {chunk.first + 1} to {last}: a text is not UTF-8 ({error})") from error
    return rows


def _row_of(path: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = parse(line)
    except ValueError as error:
        said = str(error).splitlines()[0][:200]
        raise Stop(f"{path} line {number} is not JSON ({said}); mend or remove that line") from error
    if not isinstance(row, dict):
        raise Stop(f"{path} line {number} is a {type(row).__name__}, not an object with fields")
    return row


def _refuse_both(chunk: Chunk, rows: list[dict[str, Any]]) -> None:
    for at, row in enumerate(rows):
        there = [name for name in ADDED if name in row and f"{name}{BEFORE}" in row]
        if there:
            where = f"line {chunk.lines[at][0]}" if chunk.lines else "its schema"
            said = f"{chunk.path} has {there[0]} and {there[0]}{BEFORE} already ({where})"
            raise Stop(f"{said}; --overwrite-columns replaces the first")


def _fields(replies: Replies, verdicts: list[Verdict]) -> dict[str, Any]:
    if replies.several:
        return {name: [getattr(verdict, name) for verdict in verdicts] for name in ADDED}
    return {name: getattr(verdicts[0], name) for name in ADDED}
