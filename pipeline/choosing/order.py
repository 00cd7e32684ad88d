"""Who comes first: the order of all candidates by the seed, by turns of groups, and by how alike problems are.

Everything here is sorting: linear but for a logarithm, and blind to the order in which rows arrive.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.choose import ChooseSettings
from pipeline.choosing.sketch import SKETCH

Ints = npt.NDArray[np.int64]


def by_seed(pool: pa.Table) -> pa.Table:
    """The candidates in the order that the seed gives; equal places are settled by what a trace is."""
    keys = pool.select(["place", "id", "generation", "draw"])
    # Arrow sorts no dictionaries.
    keys = keys.set_column(2, "generation", keys["generation"].cast(pa.string()))
    return pool.take(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))


def codes(column: pa.ChunkedArray) -> Ints:
    """A number for each value of a column, the same for equal values; null is a value too."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int64)


def problem_turns(pool: pa.Table, settings: ChooseSettings) -> Ints:
    """Which turn a trace has among those of its problem and generation: 0 is the first, by `order`."""
    draws = np.asarray(pool["draw"], dtype=np.int64)
    tokens = np.asarray(pool["student_tokens"], dtype=np.int64)
    rows = np.arange(pool.num_rows)
    keys = {"draw": draws, "shortest": tokens, "longest": -tokens, "seeded": rows}[settings.order]
    # Stable, so what is equal in tokens goes by its draw.
    return turns(_pairs(codes(pool["id"]), codes(pool["generation"])), np.lexsort((draws, keys)))


def turns(groups: Ints, order: Ints) -> Ints:
    """How many of its own group come before each in an order."""
    ordered = groups[order]
    together = np.argsort(ordered, kind="stable")
    grouped = ordered[together]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(grouped) else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.r_[starts, len(grouped)])
    found = np.empty(len(groups), dtype=np.int64)
    found[order[together]] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return found


def preferred(pool: pa.Table, *, problem_turn: Ints, cells: Ints, settings: ChooseSettings) -> Ints:
    """The candidates in the order in which they are taken: each problem's first trace, then each one's second, ...

    `pool` is in the seed's order, which decides what all else leaves open. `apart` puts first, of those of one turn,
    the problems that are least like the ones before them. `spread` lets its groups take turns within each of `cells`.
    """
    keys: Sequence[Ints] = (problem_turn,)
    if settings.variety.apart:
        keys = (_likeness(pool, np.lexsort((problem_turn,))), problem_turn)
    order: Ints = np.lexsort(keys)
    for name in reversed(settings.variety.spread):
        turn = turns(_pairs(cells, codes(pool[name])), order)
        order = order[np.argsort(turn[order], kind="stable")]
    return order


def _likeness(pool: pa.Table, order: Ints) -> Ints:
    """How alike each problem is to all that come before it in an order: the sum of the Jaccard similarities of their
    phrases, times SKETCH, as MinHash estimates it.

    The number of earlier candidates that share a minimum estimates that sum at once, so that no two problems are ever
    compared: one sort for each number of the sketch.
    """
    packed = b"".join(value or bytes(4 * SKETCH) for value in pool["sketch"].to_pylist())
    minima = np.frombuffer(packed, dtype="<u4").reshape(-1, SKETCH)
    total = np.zeros(pool.num_rows, dtype=np.int64)
    for number in range(SKETCH):
        total += turns(minima[:, number].astype(np.int64), order)
    return total


def _pairs(one: Ints, other: Ints) -> Ints:
    return (one + 1) * (int(other.max(initial=0)) + 2) + other + 1
