"""The figures of a choice, for its summary and the data set's card."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.choose import ChooseSettings
from pipeline.choosing.order import Ints
from pipeline.choosing.select import Selection

_BY = {
    "generations": "generation",
    "sources": "source",
    "subjects": "subject",
    "levels": "level",
    "licences": "licence",
}
_NONE = "not said"
_SHORTEST_BIN = 64


@dataclass
class Figures:
    """What became of all traces."""

    dropped: Counter[str] = field(default_factory=Counter)
    counts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The keys of summary/choose.json, but for seconds."""
        figures = {key: self.counts[key] for key in ("examples", "tokens")}
        return figures | {"dropped": dict(sorted(self.dropped.items()))} | self.counts


def figures_of(selection: Selection, *, dropped: Counter[str], settings: ChooseSettings) -> Figures:
    """Count a selection; `dropped` counts the traces that never were in its pool."""
    chosen = selection.pool.filter(pa.array(selection.chosen))
    numbers, times = np.unique(selection.reason[selection.reason >= 0], return_counts=True)
    by_reason: Counter[str] = Counter(dropped)
    for number, count in zip(numbers.tolist(), times.tolist(), strict=True):
        by_reason[selection.reasons[number][0]] += count
    lengths = np.asarray(chosen["student_tokens"], dtype=np.int64)
    held_back = int(pc.sum(chosen["validation"]).as_py() or 0)
    counts: dict[str, Any] = {
        "examples": chosen.num_rows,
        "tokens": int(pc.sum(chosen["tokens"]).as_py() or 0),
        "student_tokens": int(lengths.sum()),
        "splits": {"train": chosen.num_rows - held_back, "validation": held_back},
        "problems": pc.count_distinct(chosen["id"]).as_py(),
        "clusters": pc.count_distinct(chosen["cluster"]).as_py(),
        **{name: _counted(chosen[column]) for name, column in _BY.items()},
        "pass_rates": _pass_rates(chosen["pass_rate"]),
        "lengths": _lengths(lengths),
    }
    if settings.pairs is not None:
        counts["pairs"] = len(selection.pairs)
    if settings.target.tokens is not None:
        counts["tokens_below_target"] = settings.target.tokens - int(lengths.sum())
    if selection.shortfalls:
        counts["short"] = {one.what: {"wanted": one.wanted, "got": one.got} for one in selection.shortfalls}
    return Figures(by_reason, counts)


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    """How many rows have each value, the most frequent first."""
    found = column.cast(pa.string()).value_counts().to_pylist()
    ordered = sorted(found, key=lambda line: (-line["counts"], line["values"] or ""))
    return {line["values"] if line["values"] is not None else _NONE: line["counts"] for line in ordered}


def _pass_rates(column: pa.ChunkedArray) -> dict[str, int]:
    """Rows by tenths of their problem's pass rate; the last tenth holds 1. Empty where none was measured."""
    rates = np.asarray(column.drop_null(), dtype=np.float64)
    # Nine of ten is a tenth of its own, though 0.9 is no exact number.
    tenths = np.minimum(np.floor(rates * 10 + 1e-9).astype(np.int64), 9)
    numbers, times = np.unique(tenths, return_counts=True)
    found = {
        f"{n / 10:.1f}-{(n + 1) / 10:.1f}": count for n, count in zip(numbers.tolist(), times.tolist(), strict=True)
    }
    return found | ({_NONE: column.null_count} if found and column.null_count else {})


def _lengths(lengths: Ints) -> dict[str, int]:
    """Rows by student tokens: below 64, 128, 256, ..."""
    bins = np.ceil(np.log2(np.maximum(lengths + 1, _SHORTEST_BIN))).astype(np.int64)
    numbers, times = np.unique(bins, return_counts=True)
    return {f"below {1 << n}": count for n, count in zip(numbers.tolist(), times.tolist(), strict=True)}
