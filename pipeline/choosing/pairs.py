"""Preference pairs: a correct and a wrong trace of the same problem and generation."""

import numpy as np
import pyarrow as pa

from pipeline.choose import Pairs
from pipeline.choosing.bounds import Bools
from pipeline.choosing.order import Ints, codes, turns


def pairs_of(pool: pa.Table, chosen: Bools, rejectable: Bools, rank: Ints, settings: Pairs | None) -> Ints:
    """Rows (chosen, rejected) of the pool, which is in the seed's order; only problems of the training split.

    A problem's first correct trace (`rank`: its turn in its problem) goes with its first wrong one, and so on.
    """
    if settings is None:
        return np.zeros((0, 2), dtype=np.int64)
    right = chosen if settings.chosen == "dataset" else ~rejectable
    train = ~np.asarray(pool["validation"].combine_chunks().to_numpy(zero_copy_only=False), dtype=np.bool_)
    ids, generations = codes(pool["id"]), codes(pool["generation"])
    problem = ids * (int(generations.max(initial=0)) + 1) + generations
    keys = []
    for rows in (np.flatnonzero(right & train), np.flatnonzero(rejectable & train)):
        turn = turns(problem[rows], np.lexsort((rank[rows],)))
        few = turn < settings.per_problem
        keys.append((rows[few], problem[rows][few] * settings.per_problem + turn[few]))
    (goods, good_keys), (bads, bad_keys) = keys
    _, good, bad = np.intersect1d(good_keys, bad_keys, assume_unique=True, return_indices=True)
    pairs = np.stack([goods[good], bads[bad]], axis=1)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]
