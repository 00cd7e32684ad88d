"""What is in a data set, from its files in one pass: counts by column, and how long the examples are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.store import Store

SPLITS = ("train", "validation")
COUNTED = ("source", "licence", "kind", "subject", "level", "generation", "engine", "verdict", "language")
"""Columns whose values are counted; a file may lack some."""
LENGTHS = ("thought", "reply", "both", "student")
PERCENTILES = (1, 10, 25, 50, 75, 90, 99)
BANDS = ((0.0, 0.0), (0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0), (1.0, 1.0))
"""Pass rates from the first (excluded) to the second; the first and the last are exactly 0 and 1."""

_NUMBERS = ("thought_tokens", "reply_tokens", "student_tokens", "cost_usd", "pass_rate")
_IDS = ("problem_id", "cluster")


@dataclass
class Statistics:
    """Figures of all examples. Tokens are as the engine that wrote them counts, but for the length `student`, which is
    of thought and reply together in the student's tokens where the rows say it."""

    splits: dict[str, int] = field(default_factory=dict)
    pairs: int = 0
    problems: int = 0
    clusters: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in COUNTED})
    tokens_by_source: Counter[str] = field(default_factory=Counter)
    without_thought: int = 0
    lengths: dict[str, NDArray[np.int64]] = field(
        default_factory=lambda: {name: np.zeros(0, np.int64) for name in LENGTHS}
    )
    pass_rates: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    cost_usd: float = 0.0

    @property
    def examples(self) -> int:
        """Examples of all splits."""
        return sum(self.splits.values())

    @property
    def tokens(self) -> int:
        """Tokens of all thoughts and replies."""
        return int(self.lengths["both"].sum())

    def percentiles(self, name: str) -> list[int]:
        """How long `thought`, `reply`, `both` or `student` is at each of PERCENTILES; empty where nothing says it."""
        lengths = self.lengths[name]
        return [round(value) for value in np.percentile(lengths, PERCENTILES)] if len(lengths) else []

    def bands(self) -> list[tuple[str, int]]:
        """Examples by the pass rate of their problem; empty where none was measured."""
        rates = self.pass_rates
        if not len(rates):
            return []
        return [(_band(low, high), int(_within(rates, low, high).sum())) for low, high in BANDS]


def statistics(store: Store, folder: str = "dataset") -> Statistics:
    """Read the columns that are counted of every file of a data set, one file at a time."""
    found = Statistics()
    gathered: dict[str, list[pa.Array]] = {name: [] for name in (*_NUMBERS, *_IDS)}
    for split in SPLITS:
        names = [name for name in store.names(folder, ".parquet") if name.startswith(f"{split}-")]
        for name in names:
            table = store.read_columns(f"{folder}/{name}", [*COUNTED, *_NUMBERS, *_IDS])
            found.splits[split] = found.splits.get(split, 0) + store.rows(f"{folder}/{name}")
            _count(table, found)
            for column in gathered.keys() & set(table.column_names):
                values = table[column].combine_chunks()
                gathered[column].append(pc.unique(values) if column in _IDS else values)
    found.pairs = sum(store.rows(name) for name in store.names_below(f"{folder}/preference", ".parquet"))
    _lengths(gathered, found)
    found.problems, found.clusters = (_distinct(gathered[name]) for name in _IDS)
    return found


def _count(table: pa.Table, found: Statistics) -> None:
    for name in COUNTED:
        if name in table.column_names:
            found.counts[name].update(_counted(table[name]))
    if {"source", "thought_tokens", "reply_tokens"} <= set(table.column_names):
        both = pc.add(pc.fill_null(table["thought_tokens"], 0), pc.fill_null(table["reply_tokens"], 0))
        sums = pa.table({"source": table["source"], "tokens": both}).group_by("source").aggregate([("tokens", "sum")])
        tokens = zip(sums["source"].to_pylist(), sums["tokens_sum"].to_pylist(), strict=True)
        found.tokens_by_source.update({str(source): total for source, total in tokens})


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    """Value -> rows; rows without one are left out."""
    counted = pc.value_counts(column).to_pylist()
    return {str(line["values"]): line["counts"] for line in counted if line["values"] is not None}


def _lengths(gathered: Mapping[str, Sequence[pa.Array]], found: Statistics) -> None:
    thought, reply = (_numbers(gathered[name]).astype(np.int64) for name in ("thought_tokens", "reply_tokens"))
    if len(thought) == len(reply):
        found.lengths |= {"thought": thought, "reply": reply, "both": thought + reply}
    told = [pc.drop_null(array) for array in gathered["student_tokens"]]
    found.lengths["student"] = _numbers(told).astype(np.int64)
    found.without_thought = int((thought == 0).sum())
    found.cost_usd = float(_numbers(gathered["cost_usd"]).sum())
    rates = [pc.drop_null(array) for array in gathered["pass_rate"]]
    found.pass_rates = _numbers(rates)


def _numbers(arrays: Sequence[pa.Array]) -> NDArray[np.float64]:
    whole = [pc.fill_null(array, 0).to_numpy(zero_copy_only=False).astype(np.float64) for array in arrays]
    return np.concatenate(whole) if whole else np.zeros(0)


def _distinct(arrays: Sequence[pa.Array]) -> int:
    return int(pc.count_distinct(pa.chunked_array(arrays)).as_py()) if arrays else 0


def _within(rates: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    if low == high:
        return np.equal(rates, low)
    return np.logical_and(rates > low, rates < high if high == 1.0 else rates <= high)


def _band(low: float, high: float) -> str:
    if low == high:
        return f"exactly {low:g}"
    return f"above {low:g}, {'below' if high == 1.0 else 'up to'} {high:g}"
