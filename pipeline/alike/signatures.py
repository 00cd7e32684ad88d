"""Pairs of rows whose sketches are alike: all pairs of a small group, LSH over MinHash signatures in a large one.

Sketches are flat: row n's sorted 32-bit hashes are `values[starts[n] : starts[n + 1]]`. Groups lie one after another.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.alike.near import LONGEST_SKETCH, NearSettings

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
    """Rows' sketches, and how many different numbers each has."""

    values: Array
    starts: Array
    numbers: Array

    def similarity(self, a: Array, b: Array, *, settings: NearSettings) -> Array:
        """The Jaccard similarity of each pair of rows (a[n], b[n]), each shared number weighted."""
        parts = [slice(at, at + _PAIRS_AT_ONCE) for at in range(0, len(a), _PAIRS_AT_ONCE)]
        found = [self._of_some(a[part], b[part], settings.number_weight) for part in parts]
        return np.concatenate(found) if found else np.empty(0)

    def _of_some(self, a: Array, b: Array, weight: int) -> Array:
        # Of a long text the smallest hashes are known, up to the largest of them: so far two sketches are comparable.
        limit = np.minimum(self._limit(a), self._limit(b))
        (left, left_pair), (right, right_pair) = (self._hashes(rows, limit) for rows in (a, b))
        packed = np.concatenate([left_pair << 32 | left, right_pair << 32 | right])
        packed.sort()
        shared = np.bincount(packed[:-1][packed[1:] == packed[:-1]] >> 32, minlength=len(a))
        either = np.bincount(packed >> 32, minlength=len(a)) - shared
        extra = weight * self.numbers[a]
        return (shared + extra) / np.maximum(either + extra, 1)

    def _limit(self, rows: Array) -> Array:
        ends = self.starts[rows + 1]
        cut = ends - self.starts[rows] == LONGEST_SKETCH
        return np.where(cut, self.values[np.maximum(ends - 1, 0)], np.iinfo(np.uint32).max).astype(np.int64)

    def _hashes(self, rows: Array, limit: Array) -> tuple[Array, Array]:
        """The hashes of some rows one after another, each with the place of its row."""
        index, sizes = _flat(self.starts, rows)
        pair = np.repeat(np.arange(len(rows)), sizes)
        values = self.values[index].astype(np.int64)
        known = values <= limit[pair]
        return values[known], pair[known]


def all_pairs(starts: Array, sizes: Array) -> tuple[Array, Array]:
    """Every pair of rows of groups that begin at `starts` and have `sizes` rows; the smaller row first."""
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for size in np.unique(sizes):
        a, b = np.triu_indices(size, 1)
        begins = starts[sizes == size][:, None]
        firsts.append((begins + a).ravel())
        seconds.append((begins + b).ravel())
    return np.concatenate(firsts), np.concatenate(seconds)


def likely_pairs(sketches: Sketches, rows: Array, groups: Array, *, settings: NearSettings) -> tuple[Array, Array]:
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
            alike = (signed[a] == signed[b]).mean(axis=1)
            # The share of numbers is not in the signature: what the exact comparison may add is left room.
            extra = settings.number_weight * sketches.numbers[rows[a]]
            size = np.minimum(_sizes(sketches, rows[a]), _sizes(sketches, rows[b]))
            near = (alike * size + extra) / np.maximum(size + extra, 1) >= settings.similarity - _SLACK
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


def _sizes(sketches: Sketches, rows: Array) -> Array:
    sizes: Array = sketches.starts[rows + 1] - sketches.starts[rows]
    return sizes


def _flat(starts: Array, rows: Array) -> tuple[Array, Array]:
    """Where the hashes of some rows lie, one row after another, and how many each has."""
    sizes = starts[rows + 1] - starts[rows]
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(starts[rows] - before, sizes), sizes
