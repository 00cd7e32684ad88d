"""What a shard gives to the data set, in parts of bounded size: examples, and preference pairs, each in order.

Which rows they are and their order follow from small columns; texts are read for one part at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.choosing.example import examples, pairs
from pipeline.record import Trace, from_table
from pipeline.row_groups import PART_BYTES, Ints, row_bytes, runs
from pipeline.store import Store

TOLD = ("id", "source", "generation", "draw", "ledger_key", "verdict")
ORDER = [(name, "ascending") for name in ("id", "generation", "draw")]
"""How a shard's files are sorted."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of traces, what was judged of each (candidates), their columns TOLD and their sizes, bytes."""

    store: Store
    name: str
    judged: pa.Table
    told: pa.Table
    sizes: Ints

    def traces(self, rows: Ints) -> list[Trace]:
        """The traces of some rows, in their order."""
        there, places = np.unique(rows, return_inverse=True)
        found = pa.concat_tables(self.store.read_parts(self.name, there))
        traces = from_table(found, Trace)
        return [traces[place] for place in places.tolist()]


def read_shard(store: Store, name: str, judged: pa.Table) -> Shard:
    """What is known of a file of traces without its texts."""
    told, sizes = [], []
    for part in store.read_parts(name):
        told.append(part.select(TOLD))
        sizes.append(row_bytes(part))
    return Shard(store, name, judged, pa.concat_tables(told), np.concatenate(sizes))


def example_parts(shard: Shard, rows: Ints, templates: Mapping[str, str]) -> Iterator[pa.Table]:
    """The examples of some rows, in the order of their problems, generations and draws."""
    ordered = rows[np.asarray(pc.sort_indices(shard.told.take(pa.array(rows)), ORDER))]
    for start, end in runs(shard.sizes[ordered], most=PART_BYTES):
        part = ordered[start:end]
        tokens, agreement = (shard.judged[name].take(part).to_pylist() for name in ("student_tokens", "agreement"))
        yield examples(shard.traces(part), student_tokens=tokens, agreement=agreement, templates=templates)


def pair_parts(shard: Shard, sides: Sequence[Sequence[int]], templates: Mapping[str, str]) -> Iterator[pa.Table]:
    """The preference pairs of (right, wrong) rows, in the order of their problems, generations and right draws."""
    rows = np.array(sides, dtype=np.int64)
    rows = rows[np.asarray(pc.sort_indices(shard.told.take(pa.array(rows[:, 0])), ORDER))]
    for start, end in runs(shard.sizes[rows].sum(axis=1), most=PART_BYTES):
        part = rows[start:end].ravel()
        traces, tokens = shard.traces(part), shard.judged["student_tokens"].take(part).to_pylist()
        yield pairs(
            list(zip(traces[::2], traces[1::2], strict=True)),
            student_tokens=list(zip(tokens[::2], tokens[1::2], strict=True)),
            templates=templates,
        )
