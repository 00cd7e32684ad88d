"""Pairs of rows whose sketches are alike: all pairs of a small group, LSH over MinHash signatures in a large one.

Sketches are flat: row n's sorted 32-bit hashes are `values[starts[n] : starts[n + 1]]`. Groups lie one after another.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.alike.near import LONGEST_SKETCH

Array = np.ndarray[Any, np.dtype[Any]]

SMALL_GROUP = 64
"""Rows of a group in which every pair is compared."""

BANDS, BAND_ROWS = 42, 3
"""Of two rows with a Jaccard similarity s, a band brings together s^3; one of 42 does so for 93% at s = 0.4."""

NEIGHBOURS = 4
"""Rows that one band compares a row with at most, however many have the same band."""

_SEED = 1
_SLACK = 0.15
_SIGNED_AT_ONCE = 4096
_PAIRS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Sketches:
    """Rows' sketches, what each hash weighs in its row's group, and the similarity that each row asks for."""

    values: Array
    weights: Array
    starts: Array
    wanted: Array

    def similarity(self, a: Array, b: Array) -> Array:
        """The weighted Jaccard similarity of each pair of rows (a[n], b[n]) of one group."""
        parts = [slice(at, at + _PAIRS_AT_ONCE) for at in range(0, len(a), _PAIRS_AT_ONCE)]
        found = [self._of_some(a[part], b[part]) for part in parts]
        return np.concatenate(found) if found else np.empty(0)

    def _of_some(self, a: Array, b: Array) -> Array:
        # Of a long text the smallest hashes are known, up to the largest of them: so far two sketches are comparable.
        limit = np.minimum(self._limit(a), self._limit(b))
        left, right = (self._hashes(rows, limit) for rows in (a, b))
        packed, weights = (np.concatenate(both) for both in zip(left, right, strict=True))
        order = np.argsort(packed)
        packed, weights = packed[order], weights[order]
        twice = np.append(packed[1:] == packed[:-1], False)[: len(packed)]
        either = np.bincount(packed[~twice] >> 32, weights[~twice], minlength=len(a))
        shared = np.bincount(packed[twice] >> 32, weights[twice], minlength=len(a))
        similarity: Array = shared / np.maximum(either, 1e-9)
        return similarity

    def _limit(self, rows: Array) -> Array:
        ends = self.starts[rows + 1]
        cut = ends - self.starts[rows] == LONGEST_SKETCH
        return np.where(cut, self.values[np.maximum(ends - 1, 0)], np.iinfo(np.uint32).max).astype(np.int64)

    def _hashes(self, rows: Array, limit: Array) -> tuple[Array, Array]:
        """The hashes of some rows one after another, above each its row's place, and their weights."""
        index, sizes = _flat(self.starts, rows)
        pair = np.repeat(np.arange(len(rows)), sizes)
        values = self.values[index].astype(np.int64)
        known = values <= limit[pair]
        return (pair << 32 | values)[known], self.weights[index][known]


def all_pairs(starts: Array, sizes: Array) -> tuple[Array, Array]:
    """Every pair of rows of groups that begin at `starts` and have `sizes` rows; the smaller row first."""
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for size in np.unique(sizes):
        a, b = np.triu_indices(size, 1)
        begins = starts[sizes == size][:, None]
        firsts.append((begins + a).ravel())
        seconds.append((begins + b).ravel())
    return np.concatenate(firsts), np.concatenate(seconds)


def likely_pairs(sketches: Sketches, rows: Array, groups: Array) -> tuple[Array, Array]:
    """Pairs of `rows` of one group that share a band of their MinHash signatures, and seem alike by all of it.

    LSH: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4. Rows that share a band with thousands are
    compared with a few of them, those that are next to them by their next band too.
    """
    signed = _signatures(sketches, rows)
    found = np.empty(0, np.int64)
    for band in range(BANDS):
        hashed = [_band(signed, (band + more) % BANDS) for more in (0, 1)]
        order = np.lexsort((hashed[1], hashed[0], groups))
        for step in range(1, NEIGHBOURS + 1):
            a, b = order[:-step], order[step:]
            same = (hashed[0][a] == hashed[0][b]) & (groups[a] == groups[b])
            a, b = a[same], b[same]
            near = (signed[a] == signed[b]).mean(axis=1) >= sketches.wanted[rows[a]] - _SLACK
            a, b = a[near], b[near]
            found = np.union1d(found, np.minimum(a, b) * len(rows) + np.maximum(a, b))
    return rows[found // max(len(rows), 1)], rows[found % max(len(rows), 1)]


def _signatures(sketches: Sketches, rows: Array) -> Array:
    """The MinHash signatures of some rows, (rows, BANDS * BAND_ROWS) of uint32."""
    from rensa import RMinHash

    signed = np.empty((len(rows), BANDS * BAND_ROWS), np.uint32)
    for at in range(0, len(rows), _SIGNED_AT_ONCE):
        index, sizes = _flat(sketches.starts, rows[at : at + _SIGNED_AT_ONCE])
        offsets = np.append(0, np.cumsum(sizes)).astype(np.uint64)
        # rensa takes its input's bits as they are: spread 32 of them over 64.
        hashes = sketches.values[index].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, signed.shape[1], _SEED)
        signed[at : at + _SIGNED_AT_ONCE] = matrix.to_rows()
    return signed


def _band(signed: Array, band: int) -> Array:
    part = signed[:, band * BAND_ROWS : (band + 1) * BAND_ROWS].astype(np.uint64)
    mixed = np.zeros(len(signed), np.uint64)
    for column in part.T:
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _flat(starts: Array, rows: Array) -> tuple[Array, Array]:
    """Where the hashes of some rows lie, one row after another, and how many each has."""
    sizes = starts[rows + 1] - starts[rows]
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(starts[rows] - before, sizes), sizes
