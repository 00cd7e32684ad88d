"""The rows and their Parquet schemas. A row grows to the right: Problem -> Trace -> Example.

A step adds columns and edits none behind it; what falls out keeps its row with `drop` set.
"""

import dataclasses
import functools
import operator
import types
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import xxhash

Row = TypeVar("Row")

Kind = Literal["math", "text", "choice", "code", "gym", "judge"]
"""How an answer is compared: by value, as normalised text, as one letter, by running its tests, by reasoning-gym's own
scorer, or by asking a model."""

KINDS = frozenset(get_args(Kind))

_ARROW: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem with its known answer. `id` is the hash of its prompt; `drop` is a rule's name or None.

    `row`, `subject` and `level` are the source's own words for it. `raw_prompt` and `raw_answer` are the source's texts
    where normalising changed them, else None. `cluster` is the id that all problems which say the same share; None
    until problems were compared. `pass_rate` is the share of correct draws of the model that its difficulty was
    measured with, of `pass_draws`.
    """

    id: str
    source: str
    kind: str
    prompt: str
    answer: str
    solution: str
    licence: str
    row: str | None = None
    subject: str | None = None
    level: str | None = None
    raw_prompt: str | None = None
    raw_answer: str | None = None
    cluster: str | None = None
    pass_rate: float | None = None
    pass_draws: int | None = None
    drop: str | None
    drop_why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One draw for one problem, with what it cost and how it was judged.

    Token counts are the engine's own; `seconds` is the time of the call that was answered; `cost_usd` is
    that call's bill. `drop` is set when the engine gave no reply (its verdict is then None). `vote` numbers the classes
    of equal answers among a problem's draws of one generation, blind to the gold answer; None without an answer.
    `judged` is what an LLM judge made of it, where one was asked; `judge_usd` is the judge's bill, which the first of
    several traces with one question bears.
    """

    id: str
    source: str
    kind: str
    prompt: str
    answer: str
    solution: str
    licence: str
    row: str | None = None
    subject: str | None = None
    level: str | None = None
    cluster: str | None = None
    pass_rate: float | None = None
    pass_draws: int | None = None
    generation: str
    engine: str
    draw: int
    ledger_key: str
    messages: str
    thought: str
    reply: str
    finish_reason: str
    prompt_tokens: int
    thought_tokens: int
    reply_tokens: int
    cost_usd: float
    seconds: float
    verdict: str | None
    found: str | None
    why: str | None
    drop: str | None
    vote: int | None = None
    judged: str | None = None
    judge_usd: float = 0.0


def problem_id(prompt: str) -> str:
    """32 hex digits: the same for prompts that differ only in Unicode form or white space."""
    text = " ".join(unicodedata.normalize("NFC", prompt).split())
    return xxhash.xxh3_128_hexdigest(text.encode())


def shard_of(identifier: str, *, shards: int) -> int:
    """The shard that holds every row of this problem."""
    return int(identifier, 16) % shards


@functools.cache
def schema_of(row: type) -> pa.Schema:
    """The Arrow schema of a row type: its annotations, in order."""
    hints = get_type_hints(row)
    return pa.schema([_field(f.name, hints[f.name]) for f in dataclasses.fields(row)])


def to_table(rows: Iterable[Any], row: type) -> pa.Table:
    """An Arrow table with one line for each row."""
    schema = schema_of(row)
    columns = list(zip(*map(operator.attrgetter(*schema.names), rows), strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def from_table(table: pa.Table, row: type[Row]) -> list[Row]:
    """The rows of a table that `to_table` made; further columns are left out, and missing ones take their defaults."""
    fields = dataclasses.fields(row)  # type: ignore[arg-type]
    there = set(table.column_names)
    names = [f.name for f in fields if f.name in there or f.default is dataclasses.MISSING]
    return [row(**line) for line in table.select(names).to_pylist()]


def _field(name: str, hint: Any) -> pa.Field:
    if get_origin(hint) in (Union, types.UnionType):
        inner = next(arg for arg in get_args(hint) if arg is not type(None))
        return pa.field(name, _ARROW[inner])
    return pa.field(name, _ARROW[hint], nullable=False)
