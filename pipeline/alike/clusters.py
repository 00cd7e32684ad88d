"""From sketches with one key to clusters: who stays, and what is like it.

A cluster is a star: each of its rows is like the one that stays. Of A like B and B like C, with C unlike A, A takes B
and C stays beside them: likeness is never passed on. A row that fell out as a benchmark's takes all that is like it
before any other does; its cluster is its own, and nothing of it stays.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alike.near import NearSettings, ranks
from pipeline.alike.said import changes
from pipeline.alike.signatures import SMALL_GROUP, Sketches, all_pairs, likely_pairs

Array = np.ndarray[Any, np.dtype[Any]]

MEMBERS = pa.schema(
    [
        ("id", pa.binary(16)),
        ("shard", pa.int32()),
        ("keeper", pa.binary(16)),
        ("beside", pa.binary(16)),
        ("similarity", pa.float64()),
    ]
)
"""One row a problem in a cluster of two or more; the keeper's own similarity is 1. `beside` is the keeper where it fell
out as a benchmark's, so that nothing of the cluster stays."""

_LEAST_ROWS = 1000
"""Rows that a set is taken to have at least when words are weighed: in a few, nothing is known to be common."""
_MANY, _MANY_WITH_NUMBERS = 8, 32
"""Rows of one key from which on a template is looked for: with up to two different numbers, and with more."""
_FLOOR = 1e-6
"""What a hash that all have still weighs: texts that are the same are alike in any company."""


def clusters(table: pa.Table, *, settings: NearSettings) -> pa.Table:
    """The members of the clusters among all sketches of some keys, by id; whatever the order of the sketches."""
    common = _counted(table)
    table = _several(table)
    order = np.lexsort((ranks(table), table["key"].to_numpy()))
    table = table.take(pa.array(order)).combine_chunks()
    dropped = table["dropped"].to_numpy()
    # What is like a benchmark's row must be found beside it, not beside another row that took it first.
    first = ranks(table) - len(table) * dropped
    bounds = _bounds(table["key"].to_numpy())
    rows, keepers, similar = _stars(first, *_edges(_sketches(table, common, bounds, settings), bounds))
    ids = table["id"].combine_chunks() if len(table) else pa.array([], pa.binary(16))
    kept = ids.take(pa.array(keepers))
    beside = pc.if_else(pa.array(dropped[keepers]), kept, pa.scalar(None, kept.type))
    columns = [ids.take(pa.array(rows)), table["shard"].take(pa.array(rows)), kept, beside, pa.array(similar)]
    return pa.table(columns, schema=MEMBERS).sort_by("id")


@dataclass(frozen=True, slots=True)
class _Common:
    """How many of `rows` rows have a hash: of the n-th smallest, `counts[n]`."""

    hashes: Array
    counts: Array
    rows: int

    def rarity(self, values: Array) -> Array:
        """The inverse document frequency of hashes, 1 for what one row has and 0 for what all have."""
        of = max(self.rows, _LEAST_ROWS)
        counts = self.counts[np.searchsorted(self.hashes, values)]
        rare: Array = np.maximum(1 - np.log(counts) / np.log(of), 0)
        return rare


def _counted(table: pa.Table) -> _Common:
    hashes, counts = np.unique(pc.list_flatten(table["sketch"]).to_numpy(), return_counts=True)
    return _Common(hashes, counts, len(table))


def _several(table: pa.Table) -> pa.Table:
    """Those sketches whose key is not the only one of its kind."""
    _, place, counts = np.unique(table["key"].to_numpy(), return_inverse=True, return_counts=True)
    return table.filter(pa.array(counts[place] > 1))


def _sketches(table: pa.Table, common: _Common, bounds: Array, settings: NearSettings) -> Sketches:
    """The sketches without repeated hashes, each hash weighted by how rare it is."""
    column = table["sketch"].combine_chunks()
    row = np.repeat(np.arange(len(table)), np.diff(column.offsets.to_numpy())) if len(table) else np.empty(0, np.int64)
    packed = np.sort(row << 32 | pc.list_flatten(table["sketch"]).to_numpy().astype(np.int64))
    packed = packed[changes(packed)]
    row, values = packed >> 32, packed.astype(np.uint32)
    starts = np.append(0, np.cumsum(np.bincount(row, minlength=len(table))))
    numbers = np.minimum(table["numbers"].to_numpy(), len(settings.similarity) - 1)
    # What all of a template have in common is no likeness: where many rows have one key, rare is what few of them have.
    group = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    many = np.diff(bounds) >= np.where(numbers[bounds[:-1]] < len(settings.similarity) - 1, _MANY, _MANY_WITH_NUMBERS)
    weights = common.rarity(values) * _local(group[row] << 32 | values, np.diff(bounds)[group[row]], many[group[row]])
    return Sketches(values, weights + _FLOOR, starts, np.array(settings.similarity)[numbers])


def _local(packed: Array, sizes: Array, many: Array) -> Array:
    """How rare each hash is in its group: 1 for what two rows have, 0 for what all have; 1 where not `many` are."""
    weights = np.ones(len(packed))
    _, place, counts = np.unique(packed[many], return_inverse=True, return_counts=True)
    sizes = sizes[many]
    weights[many] = np.clip(np.log(sizes / counts[place]) / np.log(sizes / 2.5), 0, 1)
    return weights


def _bounds(key: Array) -> Array:
    """Where each run of equal keys begins, and the end of all."""
    return np.append(np.flatnonzero(changes(key)), len(key))


def _edges(sketches: Sketches, bounds: Array) -> tuple[Array, Array, Array]:
    """The pairs of rows that are alike, and how much."""
    starts, sizes = bounds[:-1], np.diff(bounds)
    small = sizes <= SMALL_GROUP
    found: list[tuple[Array, ...]] = [_alike(sketches, *all_pairs(starts[small], sizes[small]))]
    if not small.all():
        group = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.flatnonzero(~small[group])
        edges = _alike(sketches, *likely_pairs(sketches, rows, group[rows]))
        # LSH misses some: in what hangs together and is small, every pair is compared after all.
        label = components(len(group), edges[0], edges[1])
        order = np.argsort(label, kind="stable")
        runs = _bounds(label[order])
        few = (np.diff(runs) > 1) & (np.diff(runs) <= SMALL_GROUP)
        a, b = all_pairs(runs[:-1][few], np.diff(runs)[few])
        loose = ~np.isin(label[edges[0]], label[order[runs[:-1][few]]])
        found += [_alike(sketches, order[a], order[b]), tuple(part[loose] for part in edges)]
    a, b, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return a, b, similarity


def _alike(sketches: Sketches, a: Array, b: Array) -> tuple[Array, Array, Array]:
    similarity = sketches.similarity(a, b)
    enough = similarity >= sketches.wanted[a] - 1e-9
    return a[enough], b[enough], similarity[enough]


def components(count: int, a: Array, b: Array) -> Array:
    """For each of `count` rows the smallest row that it hangs together with by the pairs (a[n], b[n])."""
    label = np.arange(count)
    while True:
        low = np.minimum(label[a], label[b])
        further = label.copy()
        for rows in (a, b, label[a], label[b]):
            np.minimum.at(further, rows, low)
        further = further[further]
        if (further == label).all():
            return label
        label = further


def _stars(first: Array, a: Array, b: Array, similarity: Array) -> tuple[Array, Array, Array]:
    """Rows that are in a cluster, each with its keeper and its similarity to it.

    In the order of `first`, each row that is not taken yet takes the rows like it that are not.
    """
    beside: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for one, other, alike in zip(a.tolist(), b.tolist(), similarity.tolist(), strict=True):
        beside[one].append((other, alike))
        beside[other].append((one, alike))
    keeper: dict[int, tuple[int, float]] = {}
    for row in sorted(beside, key=first.__getitem__):
        if row in keeper:
            continue
        taken = [(other, alike) for other, alike in beside[row] if other not in keeper]
        if taken:
            keeper[row] = (row, 1.0)
            keeper.update((other, (row, alike)) for other, alike in taken)
    rows = np.array(list(keeper), np.int64)
    keepers = np.array([kept for kept, _ in keeper.values()], np.int64)
    return rows, keepers, np.array([alike for _, alike in keeper.values()], np.float64)
