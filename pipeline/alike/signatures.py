"""Pairs of rows whose sketches are alike: all pairs of a small group, LSH over MinHash signatures in a large one.

Sketches are flat: row n's sorted 32-bit hashes are `values[starts[n] : starts[n + 1]]`. Groups lie one after another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.alike.gathered import Flat, blocks
from pipeline.alike.near import LONGEST_SKETCH
from pipeline.alike.said import changes

Array = np.ndarray[Any, np.dtype[Any]]

SMALL_GROUP = 64
"""Rows of a group in which every pair is compared."""

BANDS, BAND_ROWS = 42, 3
"""Of two rows with a Jaccard similarity s, a band brings together s^3; one of 42 does so for 93% at s = 0.4."""

NEIGHBOURS = 4
"""Rows behind it, and before it, that one band compares a row with, however many have the same band."""

_SEED = 1
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ALL_KNOWN = (1 << 32) - 1
_SLACK = 0.15
_SIGNED_AT_ONCE = 4096
_HASHES_AT_ONCE = 1 << 17
_PAIRS_AT_ONCE = 1 << 16
_REMEMBERED = 1 << 23
"""Pairs that are known to have been given, so that later bands don't give them again."""


@dataclass(frozen=True, slots=True)
class Sketches:
    """Rows' sketches, what each hash weighs in its row's group, and the similarity that each row asks for."""

    values: Flat
    weights: Flat
    starts: Array
    wanted: Array

    def similarity(self, a: Array, b: Array) -> Array:
        """The weighted Jaccard similarity of each pair of rows (a[n], b[n]) of one group."""
        sizes = np.diff(self.starts)
        found = [np.empty(0)]
        found += [self._of_some(a[part], b[part]) for part in blocks(sizes[a] + sizes[b], _HASHES_AT_ONCE)]
        return np.concatenate(found)

    def _of_some(self, a: Array, b: Array) -> Array:
        packed, weights, limits = zip(*(self._of_side(rows) for rows in (a, b)), strict=True)
        packed, weights, limit = np.concatenate(packed), np.concatenate(weights), np.minimum(*limits)
        # Of a long text the smallest hashes are known, up to the largest of them: so far two sketches are comparable.
        if limit.min(initial=_ALL_KNOWN) < _ALL_KNOWN:
            known = packed & _ALL_KNOWN <= limit[packed >> 32]
            packed, weights = packed[known], weights[known]
        order = np.argsort(packed)
        packed, weights = packed[order], weights[order]
        twice = np.append(packed[1:] == packed[:-1], False)[: len(packed)]
        either = np.bincount(packed[~twice] >> 32, weights[~twice], minlength=len(a))
        shared = np.bincount(packed[twice] >> 32, weights[twice], minlength=len(a))
        similarity: Array = shared / np.maximum(either, 1e-9)
        return similarity

    def _of_side(self, rows: Array) -> tuple[Array, Array, Array]:
        """The hashes of some rows one after another, above each its row's place; their weights; the last hash known."""
        values, sizes = self.values.of_rows(self.starts, rows)
        packed = np.repeat(np.arange(len(rows)), sizes) << 32 | values
        limits = np.full(len(rows), _ALL_KNOWN)
        cut = sizes == LONGEST_SKETCH
        limits[cut] = values[np.cumsum(sizes)[cut] - 1]
        return packed, self.weights.of_rows(self.starts, rows)[0], limits


def all_pairs(starts: Array, sizes: Array) -> tuple[Array, Array]:
    """Every pair of rows of groups that begin at `starts` and have `sizes` rows; the smaller row first."""
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for size in np.unique(sizes):
        a, b = np.triu_indices(size, 1)
        begins = starts[sizes == size][:, None]
        firsts.append((begins + a).ravel())
        seconds.append((begins + b).ravel())
    return np.concatenate(firsts), np.concatenate(seconds)


def likely_pairs(sketches: Sketches, rows: Array, groups: Array) -> Iterator[tuple[Array, Array]]:
    """Pairs of `rows` of one group that share a band of their MinHash signatures, and seem alike by all of it.

    Those of a band at a time, the smaller row first; of very many pairs some come twice. LSH: Leskovec, Rajaraman,
    Ullman, Mining of Massive Datasets, 3.4. Rows that share a band with thousands are compared with a few of them: the
    first of all, and those that are next to them by their next band too.
    """
    signed = _signed(sketches, rows)
    wanted = sketches.wanted[rows] - _SLACK
    before = np.empty(0, np.int64)
    for band in range(BANDS):
        found = _of_band(signed, band, groups, wanted)
        place = np.searchsorted(before, found)
        found = found[np.append(before, -1)[place] != found]
        before = np.sort(np.concatenate([before, found]), kind="stable") if len(before) < _REMEMBERED else found
        yield rows[found // len(rows)], rows[found % len(rows)]


@dataclass(frozen=True, slots=True)
class _Signed:
    """The MinHash signatures of `rows` rows: each band's hashes, band after band, and of each minimum the low 8 bits.

    Eight bits tell how alike two signatures are nearly as well as 32 do: Li, Koenig, b-Bit Minwise Hashing, 2010.
    """

    rows: int
    bands: Flat
    low: Flat

    def band(self, number: int) -> Array:
        """The hashes of a band, one a row."""
        hashes = self.bands.values[number * self.rows : (number + 1) * self.rows].copy()
        self.bands.rest()
        return hashes

    def agreement(self, a: Array, b: Array) -> Array:
        """The share of minima that each pair of rows (a[n], b[n]) has in common."""
        low = self.low.values.reshape(self.rows, BANDS * BAND_ROWS)
        found = [np.empty(0)]
        for at in range(0, len(a), _PAIRS_AT_ONCE):
            part = slice(at, at + _PAIRS_AT_ONCE)
            found.append((low[a[part]] == low[b[part]]).mean(axis=1))
            self.low.rest()
        return np.concatenate(found)


def _of_band(signed: _Signed, band: int, groups: Array, wanted: Array) -> Array:
    """The pairs that a band brings together, smaller * rows + larger, sorted."""
    both, further = signed.band(band) ^ groups.astype(np.uint64) * _SPREAD, signed.band((band + 1) % BANDS)
    order = np.argsort(both)
    twin = both[order[1:]] == both[order[:-1]]
    order = order[np.append(twin, False) | np.append(False, twin)]
    order = order[np.lexsort((order, further[order], both[order]))]
    begins = np.flatnonzero(changes(both[order]))
    heads = np.repeat(np.minimum.reduceat(order, begins), np.diff(np.append(begins, len(order))))
    found = []
    for a, b in [(heads, order), *((order[:-step], order[step:]) for step in range(1, NEIGHBOURS + 1))]:
        same = (both[a] == both[b]) & (a != b)
        a, b = a[same], b[same]
        near = signed.agreement(a, b) >= wanted[a]
        a, b = a[near], b[near]
        found.append(np.minimum(a, b) * signed.rows + np.maximum(a, b))
    return np.unique(np.concatenate(found))


def _signed(sketches: Sketches, rows: Array) -> _Signed:
    from rensa import RMinHash

    bands = Flat.of((np.zeros(len(rows), np.uint64) for _ in range(BANDS)), np.uint64)
    by_band = bands.values.reshape(BANDS, len(rows))

    def low() -> Iterator[Array]:
        for at in range(0, len(rows), _SIGNED_AT_ONCE):
            values, sizes = sketches.values.of_rows(sketches.starts, rows[at : at + _SIGNED_AT_ONCE])
            offsets = np.append(0, np.cumsum(sizes)).astype(np.uint64)
            # rensa takes its input's bits as they are: spread 32 of them over 64.
            hashes = values.astype(np.uint64) * _SPREAD
            signed = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, BANDS * BAND_ROWS, _SEED).to_rows()
            signed = np.array(signed, np.uint32)
            by_band[:, at : at + len(signed)] = _bands(signed)
            yield signed & np.uint32(255)
            bands.rest()

    return _Signed(len(rows), bands, Flat.of(low(), np.uint8))


def _bands(signed: Array) -> Array:
    """One hash of each band's minima, a row a band."""
    parts = signed.reshape(len(signed), BANDS, BAND_ROWS).astype(np.uint64)
    mixed = np.zeros((len(signed), BANDS), np.uint64)
    for column in range(BAND_ROWS):
        mixed = (mixed ^ parts[:, :, column]) * _SPREAD
        mixed ^= mixed >> np.uint64(29)
    return mixed.T
