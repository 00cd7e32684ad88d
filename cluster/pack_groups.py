"""What one task of a packing does: count a file's rows, pack a group of rows, or pack what the groups left over.

A group's mark is written after its files, so that a packing that was cut off goes on with the groups that lack theirs.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.models import tokenizer_of
from pipeline.alike.match import leaked
from pipeline.alike.overlap import Index
from pipeline.conversations import NEEDED, Messages, conversations
from pipeline.errors import Stop
from pipeline.pack import Document, Refused, Tokenizer, Window, best_fit, encode_turns, together, turn
from pipeline.row_groups import runs
from pipeline.settings import Settings
from pipeline.store import Store

WINDOW_SCHEMA = pa.schema(
    [
        pa.field("ids", pa.list_(pa.int32())),
        pa.field("lengths", pa.list_(pa.int32())),
        pa.field("prompts", pa.list_(pa.int32())),
        pa.field("examples", pa.list_(pa.string())),
        pa.field("num_labels", pa.int64()),
        pa.field("num_tokens", pa.int64()),
    ]
)
LEFT_OUT_SCHEMA = pa.schema(
    [("example", pa.string()), ("reason", pa.string()), ("num_tokens", pa.int64()), ("why", pa.string())]
)
_FILE_TOKENS, _FILE_WINDOWS = 1 << 23, 1024
_HANDED_ON = 64
TOO_LONG = "too_long"


Kept = tuple[str, Document]
Left = tuple[str, str, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Packing:
    """What is packed, and how; plain values that travel to the tasks."""

    store: Store
    folder: str
    work: str
    """The folder of what lies between the tasks; it is deleted at the end."""
    source: Store
    place: str
    """The folder of the rows in `source`."""
    split: Literal["train", "validation"]
    generations: tuple[str, ...]
    model: str
    window: int
    too_long: Literal["drop", "truncate"]
    seed: int
    held_out: Index | None = None
    """What must not be trained on; none where that was seen to before."""

    def rows_file(self, name: str) -> str:
        """A file of rows, in `source`."""
        return f"{self.place}/{name}" if self.place else name


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are packed together: of each file those from the first to before the end of those that are wanted."""

    number: int
    parts: tuple[tuple[str, int, int], ...]
    alone: bool
    """Whether there is no other group that could take what fills no window."""


class Counted(Settings):
    """What a file of the source has."""

    name: str
    wanted: int
    generations: tuple[str, ...]


class Mark(Settings):
    """What a group gave."""

    files: tuple[str, ...] = ()
    """Its files of windows."""
    windows: tuple[int, ...] = ()
    """How many windows each of them has."""
    num_tokens: tuple[int, ...] = ()
    """Tokens of each window."""
    num_labels: tuple[int, ...] = ()
    """Trained tokens of each window."""
    examples: int = 0
    """How many examples are in its windows."""
    truncated: int = 0
    """How many examples were cut."""
    longest: int = 0
    """Tokens of the longest example that stays, after any cut."""
    left_out: dict[str, int] = {}
    """How many examples were left out, by reason."""
    rest: int = 0
    """How many windows it hands on, as they are not full."""
    pad_id: int = 0
    """The token for padding."""


def count(what: Packing, name: str) -> Counted:
    """How many rows of a file are wanted. Raises Stop for a file with other columns."""
    file = what.rows_file(name)
    columns = what.source.columns(file)
    for needed in ("messages", *(["generation"] if what.generations else [])):
        if needed not in columns:
            raise Stop(f"{what.source.address(file)} has no column `{needed}`; {NEEDED}")
    if not what.generations:
        return Counted(name=name, wanted=what.source.rows(file), generations=())
    column = what.source.read_columns(file, ["generation"])["generation"]
    there = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
    return Counted(name=name, wanted=pc.sum(_wanted(what, column)).as_py() or 0, generations=tuple(there))


def pack_group(what: Packing, group: Group) -> None:
    """Write a group's files of windows, what it hands on, what it leaves out, and last its mark."""
    tokenizer = open_tokenizer(what.model)
    kept, left, truncated = _settled(what, group, tokenizer)
    bins = _bins(what, kept)
    full, rest = (bins, []) if group.alone else _apart(kept, bins)
    if rest:
        tables = [_table([kept[number] for number in held]) for held in rest]
        what.store.write_batches(_rest(what, group.number), tables)
    what.store.write_table(f"{what.work}/left_out/{group.number:05d}.parquet", _left_table(left))
    found = Mark(
        truncated=truncated,
        longest=max((len(document.ids) for _, document in kept), default=0),
        left_out=dict(sorted(Counter(reason for _, reason, *_ in left).items())),
        rest=len(rest),
        pad_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )
    _write(what, group.number, kept, full, found)


def pack_rest(what: Packing, number: int, groups: Sequence[int]) -> None:
    """Pack anew what some groups handed on, as the group of that number."""
    kept: list[Kept] = []
    for group in groups:
        for window in range(_mark(what, group).rest):
            held = to_window(what.store.read_batch(_rest(what, group), window))
            kept += zip(held.examples, held.documents, strict=True)
    _write(what, number, kept, _bins(what, kept), Mark())


def marks(what: Packing) -> list[Mark]:
    """What the groups gave, in the order of their numbers."""
    return [_mark(what, number) for number in sorted(done(what))]


def done(what: Packing) -> set[int]:
    """The numbers of the groups that are done."""
    return {int(name.removesuffix(".json")) for name in what.store.names(f"{what.work}/marks", ".json")}


def to_window(table: pa.Table) -> Window:
    """The window of one record batch."""
    ids, lengths, prompts = (_flat(table[name]) for name in ("ids", "lengths", "prompts"))
    return Window(ids=ids, lengths=lengths, prompts=prompts, examples=tuple(table["examples"][0].as_py()))


@lru_cache(maxsize=1)
def open_tokenizer(model: str) -> Any:
    """A model's tokenizer, opened once a process. Raises Stop when it can't be opened, or has no chat template."""
    tokenizer = tokenizer_of(model)
    if not tokenizer.chat_template:
        raise Stop(f"model {model} has no chat template: take its chat variant, or add one to its tokenizer")
    return tokenizer


def _settled(what: Packing, group: Group, tokenizer: Any) -> tuple[list[Kept], list[Left], int]:
    """A group's examples that are packed, those that are left out and why, and how many were cut."""
    kept: list[Kept] = []
    left: list[Left] = []
    truncated = 0
    for rows in _rows(what, group):
        examples, held = _allowed(what, *rows, left)
        for example, document in _encoded(examples, held, tokenizer, left):
            cut = document.cut(what.window) if what.too_long == "truncate" else document
            if len(cut.ids) > what.window:
                left.append((example, TOO_LONG, len(cut.ids), None))
            elif cut.num_labels < 1:
                left.append((example, "nothing_trained", len(document.ids), None))
            else:
                truncated += len(cut.ids) < len(document.ids)
                kept.append((example, cut))
    return kept, left, truncated


def _allowed(
    what: Packing, examples: Sequence[str], held: Sequence[Messages], left: list[Left]
) -> tuple[list[str], list[Messages]]:
    """The examples that hold no held-out problem."""
    if what.held_out is None:
        return list(examples), list(held)
    kept: list[tuple[str, Messages]] = []
    for example, messages, found in zip(examples, held, leaked(held, index=what.held_out), strict=True):
        if found is None:
            kept.append((example, messages))
        else:
            reason, why = found
            left.append((example, reason, None, why))
    return [example for example, _ in kept], [messages for _, messages in kept]


def _encoded(examples: Sequence[str], held: Sequence[Messages], tokenizer: Tokenizer, left: list[Left]) -> list[Kept]:
    turns = []
    for example, messages in zip(examples, held, strict=True):
        if not messages[-1]["content"].strip():
            left.append((example, "empty_reply", None, None))
            continue
        try:
            turns.append((example, turn(messages, tokenizer)))
        except Refused:
            left.append((example, "template_refuses", None, None))
    documents = encode_turns([said for _, said in turns], tokenizer)
    return [(example, document) for (example, _), document in zip(turns, documents, strict=True)]


def _rows(what: Packing, group: Group) -> Iterator[tuple[list[str], list[Messages]]]:
    """The names and the messages of a group's rows, in parts of bounded size."""
    for name, first, end in group.parts:
        file = what.rows_file(name)
        rows = np.arange(first, end)
        if what.generations:
            column = what.source.read_columns(file, ["generation"])["generation"]
            rows = np.flatnonzero(_wanted(what, column))[first:end]
        for part in what.source.read_parts(file, rows):
            mine, rows = rows[: len(part)], rows[len(part) :]
            yield conversations(part, address=what.source.address(file), name=name, rows=mine.tolist())


def _wanted(what: Packing, column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=pa.array(what.generations, column.type))


def _bins(what: Packing, kept: Sequence[Kept]) -> list[list[int]]:
    return best_fit([len(document.ids) for _, document in kept], window=what.window)


def _apart(kept: Sequence[Kept], bins: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Bins to write, and the thinnest: every group has some, and together they are worth packing anew."""
    fill = [sum(len(kept[number][1].ids) for number in held) for held in bins]
    order = sorted(range(len(bins)), key=lambda n: (-fill[n], n))
    full = len(bins) - math.ceil(len(bins) / _HANDED_ON)
    return [bins[number] for number in sorted(order[:full])], [bins[number] for number in order[full:]]


def _write(what: Packing, number: int, kept: Sequence[Kept], bins: list[list[int]], found: Mark) -> None:
    """Write windows in an order drawn from the seed, in files of bounded size, and the mark."""
    Random(f"{what.seed}:{number}").shuffle(bins)
    num_tokens = [sum(len(kept[n][1].ids) for n in held) for held in bins]
    # Also bounded in windows: to read one, the places of all in its file are read.
    files = runs(np.maximum(num_tokens, _FILE_TOKENS // _FILE_WINDOWS), most=_FILE_TOKENS) if bins else []
    names, num_labels = [], []
    for part, (start, end) in enumerate(files):
        tables = [_table([kept[n] for n in held]) for held in bins[start:end]]
        names.append(f"windows-{number:05d}-{part:03d}.arrow")
        num_labels += [table["num_labels"][0].as_py() for table in tables]
        what.store.write_batches(f"{what.folder}/{names[-1]}", tables)
    mark = found.model_copy(
        update={
            "files": tuple(names),
            "windows": tuple(end - start for start, end in files),
            "num_tokens": tuple(num_tokens),
            "num_labels": tuple(num_labels),
            "examples": sum(map(len, bins)),
        }
    )
    what.store.write_json(f"{what.work}/marks/{number:05d}.json", mark.model_dump())


def _table(kept: Sequence[Kept]) -> pa.Table:
    window = together([document for _, document in kept], [example for example, _ in kept])
    held = {name: _list(getattr(window, name), pa.int32()) for name in ("ids", "lengths", "prompts")}
    examples = _list(window.examples, pa.string())
    counts = {"num_labels": [window.num_labels], "num_tokens": [len(window.ids)]}
    return pa.table({**held, "examples": examples, **counts}, schema=WINDOW_SCHEMA)


def _list(values: Any, kind: pa.DataType) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), pa.array(values, kind))


def _flat(column: pa.ChunkedArray) -> Any:
    return np.asarray(column.combine_chunks().flatten())


def _left_table(left: Sequence[Left]) -> pa.Table:
    columns = zip(*left, strict=True) if left else ((),) * len(LEFT_OUT_SCHEMA)
    return pa.table(dict(zip(LEFT_OUT_SCHEMA.names, columns, strict=True)), schema=LEFT_OUT_SCHEMA)


def _rest(what: Packing, number: int) -> str:
    return f"{what.work}/rest/{number:05d}.arrow"


def _mark(what: Packing, number: int) -> Mark:
    return Mark.model_validate(what.store.read_json(f"{what.work}/marks/{number:05d}.json"))
