"""From sketches with one key to clusters: who stays, and what is like it.

A cluster is a star: each of its rows is like the one that stays. Of A like B and B like C, with C unlike A, A takes B
and C stays beside them: likeness is never passed on. A row that fell out as a benchmark's takes all that is like it
before any other does; its cluster is its own, and nothing of it stays.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.alike.near import NearSettings, ranks
from pipeline.alike.signatures import SMALL_GROUP, Sketches, all_pairs, likely_pairs

Array = np.ndarray[Any, np.dtype[Any]]

MEMBERS = pa.schema(
    [("id", pa.binary(16)), ("shard", pa.int32()), ("keeper", pa.binary(16)), ("similarity", pa.float64())]
)
"""One row a problem in a cluster of two or more; the keeper's own similarity is 1."""


def clusters(table: pa.Table, *, settings: NearSettings) -> pa.Table:
    """The members of the clusters among sketches, in order of id; whatever the order of the sketches."""
    table = _several(table)
    order = np.lexsort((ranks(table), table["key"].to_numpy()))
    table = table.take(pa.array(order)).combine_chunks()
    rank = ranks(table)
    key = table["key"].to_numpy()
    a, b, similarity = _edges(_sketches(table), _bounds(key), settings)
    # What is like a benchmark's row must be found beside it, not beside another row that took it first.
    first = np.where(table["dropped"].to_numpy(), rank - len(rank), rank)
    rows, keepers, similar = _stars(first, a, b, similarity)
    ids = table["id"].combine_chunks() if len(table) else pa.array([], pa.binary(16))
    members = pa.table(
        [ids.take(pa.array(rows)), table["shard"].take(pa.array(rows)), ids.take(pa.array(keepers)), pa.array(similar)],
        schema=MEMBERS,
    )
    return members.sort_by("id")


def _several(table: pa.Table) -> pa.Table:
    """Those sketches whose key is not the only one of its kind."""
    _, place, counts = np.unique(table["key"].to_numpy(), return_inverse=True, return_counts=True)
    return table.filter(pa.array(counts[place] > 1))


def _sketches(table: pa.Table) -> Sketches:
    column = table["sketch"].combine_chunks()
    if not len(column):
        return Sketches(np.empty(0, np.uint32), np.zeros(1, np.int64), np.empty(0, np.int64))
    row = np.repeat(np.arange(len(column)), np.diff(column.offsets.to_numpy()))
    packed = np.unique(row << 32 | column.values.to_numpy())
    starts = np.append(0, np.cumsum(np.bincount(packed >> 32, minlength=len(column))))
    return Sketches(packed.astype(np.uint32), starts, table["numbers"].to_numpy().astype(np.int64))


def _bounds(key: Array) -> Array:
    """Where each run of equal keys begins, and the end of all."""
    begins = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.empty(0, np.int64)
    return np.append(begins, len(key))


def _edges(sketches: Sketches, bounds: Array, settings: NearSettings) -> tuple[Array, Array, Array]:
    """The pairs of rows that are alike, and how much."""
    starts, sizes = bounds[:-1], np.diff(bounds)
    small = sizes <= SMALL_GROUP
    found = [_alike(sketches, *all_pairs(starts[small], sizes[small]), settings)]
    if not small.all():
        group = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.flatnonzero(~small[group])
        edges = _alike(sketches, *likely_pairs(sketches, rows, group[rows], settings=settings), settings)
        # LSH misses some: in what hangs together and is small, every pair is compared after all.
        label = components(len(group), edges[0], edges[1])
        order = np.argsort(label, kind="stable")
        runs = _bounds(label[order])
        few = (np.diff(runs) > 1) & (np.diff(runs) <= SMALL_GROUP)
        a, b = all_pairs(runs[:-1][few], np.diff(runs)[few])
        closed = _alike(sketches, order[a], order[b], settings)
        loose = ~np.isin(label[edges[0]], label[order[runs[:-1][few]]])
        found += [closed, tuple(part[loose] for part in edges)]
    a, b, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return a, b, similarity


def _alike(sketches: Sketches, a: Array, b: Array, settings: NearSettings) -> tuple[Array, Array, Array]:
    similarity = sketches.similarity(a, b, settings=settings)
    enough = similarity >= settings.similarity
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
