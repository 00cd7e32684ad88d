"""From sketches with one key to clusters: who stays, and what is like it.

A cluster is a star: each of its rows is like the one that stays. Of A like B and B like C, with C unlike A, A takes B
and C stays beside them: likeness is never passed on. A row that fell out as a benchmark's takes all that is like it
before any other does; its cluster is its own, and nothing of it stays.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alike.gathered import Gathered, arranged, blocks, gathered, weighed
from pipeline.alike.near import SKETCHES, NearSettings, ranks
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

_MANY, _MANY_WITH_NUMBERS = 8, 32
"""Rows of one key from which on a template is looked for: with up to two different numbers, and with more."""
_PAIRS_AT_ONCE = 1 << 20
_ENOUGH_ALIKE = 32
"""Earlier rows that a row of a large group is found to be like, after which it is compared only with rows that are like
none before them: those stay, and one of them may be a benchmark's."""

_SURELY_FOUND = 0.85
"""The similarity from which on no pair is missed for sharing no band: one in 10^17 is."""

Stars = tuple[Array, Array, Array]
"""Rows that are in a cluster, each with its keeper and its similarity to it."""


def clusters(tables: Iterable[pa.Table], *, settings: NearSettings) -> pa.Table:
    """The members of the clusters among all sketches of some keys, by id; whatever the order of the sketches."""
    found = gathered(tables, SKETCHES)
    several = _several(found.rows["key"].to_numpy())
    table = found.rows.take(pa.array(several))
    dropped = table["dropped"].to_numpy()
    # What is like a benchmark's row must be found beside it, not beside another row that took it first.
    first = ranks(table) - len(table) * dropped
    order = np.lexsort((first, table["key"].to_numpy()))
    table = table.take(pa.array(order)).combine_chunks()
    bounds = _bounds(table["key"].to_numpy())
    sketches = _sketches(found, several[order], table, bounds, settings)
    rows, keepers, similar = _all_stars(sketches, bounds, table["dropped"].to_numpy())
    ids = table["id"].combine_chunks() if len(table) else pa.array([], pa.binary(16))
    kept = ids.take(pa.array(keepers))
    beside = pc.if_else(table["dropped"].take(pa.array(keepers)), kept, pa.scalar(None, kept.type))
    columns = [ids.take(pa.array(rows)), table["shard"].take(pa.array(rows)), kept, beside, pa.array(similar)]
    return pa.table(columns, schema=MEMBERS).sort_by("id")


def _several(keys: Array) -> Array:
    """The places of those keys that are not the only one of their kind."""
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[place] > 1)


def _sketches(found: Gathered, rows: Array, table: pa.Table, bounds: Array, settings: NearSettings) -> Sketches:
    """The sketches of some rows, each hash weighted by how rare it is; `table` is what is short of these rows."""
    values, starts = arranged(found, rows)
    numbers = np.minimum(table["numbers"].to_numpy(), len(settings.similarity) - 1)
    # What all of a template have in common is no likeness: where many rows have one key, rare is what few of them have.
    sizes = np.diff(bounds)
    many = sizes >= np.where(numbers[bounds[:-1]] < len(settings.similarity) - 1, _MANY, _MANY_WITH_NUMBERS)
    # But many rewordings of a benchmark's problem are no template: with its numbers and its answer they are its copies.
    dropped = np.append(0, np.cumsum(table["dropped"].to_numpy()))
    many &= (numbers[bounds[:-1]] == 0) | (dropped[bounds[1:]] == dropped[bounds[:-1]])
    weights = weighed(values, starts[bounds[1:]], sizes * many, found)
    return Sketches(values, weights, starts, np.array(settings.similarity)[numbers])


def _bounds(key: Array) -> Array:
    """Where each run of equal keys begins, and the end of all."""
    return np.append(np.flatnonzero(changes(key)), len(key))


def _all_stars(sketches: Sketches, bounds: Array, dropped: Array) -> Stars:
    """The stars of all groups: of small ones by every pair, of large ones by the likely pairs.

    `dropped` says which rows are a benchmark's; they come first in their group, and all others are compared with them.
    """
    starts, sizes = bounds[:-1], np.diff(bounds)
    small = sizes <= SMALL_GROUP
    rows = np.arange(bounds[-1])
    found = _small_stars(sketches, rows, starts[small], sizes[small])
    if not small.all():
        group = np.repeat(np.arange(len(sizes)), sizes)
        large = rows[~small[group]]
        held_out = np.flatnonzero(dropped & ~small[group] & (sketches.wanted < _SURELY_FOUND))
        beside = _alike_later(sketches, held_out, bounds[group[held_out] + 1])
        edges = _likely(sketches, large, group[large], beside)
        # LSH misses some: in what hangs together and is small, every pair is compared after all.
        label = components(len(rows), edges[0], edges[1])
        order = np.argsort(label, kind="stable")
        runs = _bounds(label[order])
        few = (np.diff(runs) > 1) & (np.diff(runs) <= SMALL_GROUP)
        found += _small_stars(sketches, order, runs[:-1][few], np.diff(runs)[few])
        loose = ~np.isin(label[edges[0]], label[order[runs[:-1][few]]])
        found.append(_stars(*(part[loose] for part in edges)))
    rows, keepers, similar = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, keepers, similar


def _small_stars(sketches: Sketches, order: Array, starts: Array, sizes: Array) -> list[Stars]:
    """The stars of small groups: of the rows `order[starts[n]]` and so on, `sizes[n]` of them, by every pair."""
    found = [_stars(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for block in blocks(sizes * (sizes - 1) // 2, _PAIRS_AT_ONCE):
        a, b = all_pairs(starts[block], sizes[block])
        found.append(_stars(*_alike(sketches, order[a], order[b])))
    return found


def _alike_later(sketches: Sketches, rows: Array, ends: Array) -> tuple[Array, Array, Array]:
    """The pairs of each row with those after it, up to its end, that are alike, and how much."""
    found = [_alike(sketches, rows[:0], rows[:0])]
    for row, end in zip(rows.tolist(), ends.tolist(), strict=True):
        found.append(_alike(sketches, np.full(end - row - 1, row), np.arange(row + 1, end)))
    a, b, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return a, b, similarity


def _likely(
    sketches: Sketches, rows: Array, groups: Array, known: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """The likely pairs that are alike, and how much; a row that is like many before it is compared with few more.

    `known` are pairs that were found before.
    """
    found = [known]
    before = np.bincount(known[1], minlength=len(sketches.starts) - 1)
    for a, b in likely_pairs(sketches, rows, groups):
        few = (before[b] < _ENOUGH_ALIKE) | (before[a] == 0)
        found.append(_alike(sketches, a[few], b[few]))
        before += np.bincount(found[-1][1], minlength=len(before))
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


def _stars(earlier: Array, later: Array, similarity: Array) -> Stars:
    """From pairs of rows that are alike: in the order of rows, each that is not taken takes the rows that are not."""
    order = np.lexsort((earlier, later))
    taken: set[int] = set()
    chosen: list[int] = []
    for at in range(0, len(order), _PAIRS_AT_ONCE):
        part = order[at : at + _PAIRS_AT_ONCE]
        # All pairs in which `one` comes later have been seen, so it is known whether it is taken.
        for pair, one, other in zip(part.tolist(), earlier[part].tolist(), later[part].tolist(), strict=True):
            if other not in taken and one not in taken:
                taken.add(other)
                chosen.append(pair)
    taking = np.array(chosen, np.int64)
    keepers = np.unique(earlier[taking])
    rows, kept = np.append(keepers, later[taking]), np.append(keepers, earlier[taking])
    return rows, kept, np.append(np.ones(len(keepers)), similarity[taking])
