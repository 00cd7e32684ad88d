"""Word n-grams of many texts at once, as 64-bit hashes in numpy arrays, and a table of those to look for.

The hash of a run of words is a polynomial of their numbers, taken from one running sum over all texts (Karp and Rabin,
"Efficient randomized pattern-matching algorithms", 1987), so that runs of any length cost the same.
"""

# W words of all texts, with one separator behind each text; D texts; G different n-grams; E places where they occur

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_UNKNOWN = 0
_SPARSE = 8


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as word numbers: those of text d are ids_W[starts_D[d] : starts_D[d] + lengths_D[d]]."""

    ids_W: Ints
    starts_D: Ints
    lengths_D: Ints

    def text_of(self, places: Ints) -> Ints:
        """The text that each of these places in ids_W lies in."""
        return np.searchsorted(self.starts_D, places, side="right") - 1


class Vocabulary:
    """The numbers of the words that matter, from 1; every other word, and a text's end, is 0 and matches nothing."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.numbers = {word: number for number, word in enumerate(sorted(set(chain.from_iterable(texts))), start=1)}

    def __len__(self) -> int:
        return len(self.numbers) + 1

    def encode(self, texts: Sequence[Sequence[str]]) -> Encoded:
        """The texts as one array."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        starts = np.cumsum(lengths + 1) - lengths - 1
        total = int(lengths.sum()) + len(texts)
        end = ("",)
        flat = chain.from_iterable(chain.from_iterable(zip(texts, repeat(end), strict=False)))
        ids = np.fromiter(map(self.numbers.get, flat, repeat(_UNKNOWN)), np.int64, total)
        return Encoded(ids, starts, lengths)


class Rolling:
    """Hashes of any runs of words of encoded texts."""

    def __init__(self, ids_W: Ints) -> None:
        powers = np.full(len(ids_W) + 1, _BASE, np.uint64)
        inverses = np.full(len(ids_W) + 1, _INVERSE, np.uint64)
        powers[0] = inverses[0] = 1
        np.cumprod(powers, out=powers)
        self._inverses = np.cumprod(inverses, out=inverses)
        self._sums = np.zeros(len(ids_W) + 1, np.uint64)
        np.cumsum(_mixed(ids_W.astype(np.uint64)) * powers[:-1], out=self._sums[1:])

    def windows(self, words: int) -> Hashes:
        """The hash of the run of so many words that starts at each place; shorter than ids_W by words - 1."""
        if words >= len(self._sums):
            return np.zeros(0, np.uint64)
        runs = self._sums[words:] - self._sums[:-words]
        return _mixed(runs * self._inverses[:-words] + np.uint64(words))

    def spans(self, starts: Ints, lengths: Ints) -> Hashes:
        """The hashes of these runs, as `windows` gives them."""
        runs = self._sums[starts + lengths] - self._sums[starts]
        return _mixed(runs * self._inverses[starts] + lengths.astype(np.uint64))


@dataclass(frozen=True, slots=True)
class Grams:
    """A table of hashes, each with the places where it occurs: owner (a text's number) and where in that text."""

    hashes_G: Hashes
    first_G: Ints
    owners_E: Ints
    places_E: Ints
    seen: NDArray[np.bool_]

    def find(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Which of these hashes are in the table, by their place, and their numbers there."""
        if not len(self.hashes_G):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        places = np.flatnonzero(self.seen[_slots(hashes, len(self.seen))])
        at = np.minimum(np.searchsorted(self.hashes_G, hashes[places]), len(self.hashes_G) - 1)
        right = self.hashes_G[at] == hashes[places]
        return places[right], at[right]

    def occurrences(self, grams: Ints) -> tuple[Ints, Ints]:
        """Every occurrence of these hashes: which of `grams` it is of, and where it lies in owners and places."""
        return expanded(self.first_G[grams], self.first_G[grams + 1] - self.first_G[grams])


def table(hashes: Hashes, owners: Ints, places: Ints, *, most_owners: int) -> Grams:
    """A table of these hashes, each with its first place in each owner, without those of more than so many owners."""
    order = np.lexsort((places, owners, hashes))
    hashes, owners, places = hashes[order], owners[order], places[order]
    first = np.ones(len(hashes), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners, places = hashes[first], owners[first], places[first]
    unique, counts = np.unique(hashes, return_counts=True)
    few = counts <= most_owners
    kept = np.repeat(few, counts)
    unique, counts = unique[few], counts[few]
    size = 1 << max(10, (len(unique) * _SPARSE).bit_length())
    seen = np.zeros(size, bool)
    seen[_slots(unique, size)] = True
    return Grams(unique, np.concatenate(([0], np.cumsum(counts))), owners[kept], places[kept], seen)


def expanded(starts: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Every number of the ranges that start there and are so long, and before it which range it is of."""
    which = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return which, np.arange(len(which)) - before[which] + starts[which]


def _slots(hashes: Hashes, size: int) -> Ints:
    return (hashes >> np.uint64(64 - (size.bit_length() - 1))).astype(np.int64)


def _mixed(values: Hashes) -> Hashes:
    """Splitmix64's last steps: neighbouring numbers become unrelated ones."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
