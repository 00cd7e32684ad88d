"""Held-out problems that a text has word for word: whole ones anywhere in it, and runs that cover most of one.

Problems of one kind are put in the same words. Four words in a row that several held-out problems have are such words;
the others tell a problem from its like, and only runs with some of them are evidence. A problem that is mostly put as
others are must have all of its own words covered: of "How many times is the letter m in college?" they are m, college.
"""

# P held-out problems, W words of all of them with one end after each

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.alike.ngrams import Encoded, Grams, Hashes, Ints, Rolling, table
from pipeline.alike.shared import Run, Shared, runs_of

_PUT_WORDS = 4
_FEW_OWNERS = 10
_MANY, _MANY_SHARE = 20, 0.005
"""Words that more rows of a sample have, by number and by share, are how problems are put: no held-out problem leaks so
often."""


@dataclass(frozen=True, slots=True)
class Recital:
    """A held-out problem by its number, the share of it that runs cover, and the longest run."""

    share: float
    owner: int
    run: Run


class Recited:
    """Tables of whole problems and of the n-grams that tell problems apart."""

    def __init__(
        self,
        held: Sequence[Sequence[str]],
        encoded: Encoded,
        *,
        ngram: int,
        share: float,
        common: int,
        least_words: int,
        sample: Encoded,
    ) -> None:
        self._held, self._encoded, self._ngram, self._share = held, encoded, ngram, share
        rolling = Rolling(encoded.ids_W)
        self._whole_P = rolling.spans(encoded.starts_D, encoded.lengths_D)
        self._short = {
            n: table(self._whole_P[owners], owners, np.zeros_like(owners), most_owners=1)
            for n in range(least_words, ngram)
            if len(owners := np.flatnonzero(encoded.lengths_D == n))
        }
        self._own_W = _own_words(encoded, rolling, common) & _rare_words(encoded, rolling, sample)
        hashes, owners, places = _ngrams(encoded, rolling, ngram)
        self._anchors = _rarest(hashes, owners, places)
        before = np.concatenate(([0], np.cumsum(self._own_W)))
        at = encoded.starts_D[owners] + places
        telling = before[at + ngram] > before[at]
        self._grams = table(hashes[telling], owners[telling], places[telling], most_owners=_FEW_OWNERS)
        self._reach_P = _reach(self._grams, len(held), ngram)
        self._needed_P = np.where(self._reach_P > 0, np.ceil(self._reach_P * share), np.iinfo(np.int32).max)

    def own_words(self, owner: int) -> frozenset[str]:
        """The words that tell a held-out problem from its like; none where most of it is put as others are."""
        places = self._own_places(owner)
        return frozenset(self._held[owner][place] for place in places) if self._is_own(owner, places) else frozenset()

    def find(
        self, texts: Sequence[Sequence[str]], encoded: Encoded, asked: Encoded | None = None
    ) -> dict[int, Recital]:
        """What texts have of held-out problems, the one of which most is there; without what their prompts have too."""
        rolling = Rolling(encoded.ids_W)
        hashes = rolling.windows(self._ngram)
        places, grams = self._grams.find(hashes)
        skipped: Collection[tuple[int, int]] = ()
        if asked is not None and len(encoded.ids_W):
            asked_rolling = Rolling(asked.ids_W)
            skipped = frozenset(self._wholes(asked, asked_rolling, asked_rolling.windows(self._ngram)))
            places, grams = self._without(encoded, places, grams, asked, asked_rolling)
        best: dict[int, Recital] = {}
        for text, owner, recital in self._all(texts, encoded, rolling, hashes, places, grams):
            if (text, owner) not in skipped and (text not in best or recital.share > best[text].share):
                best[text] = recital
        return best

    def _all(
        self,
        texts: Sequence[Sequence[str]],
        encoded: Encoded,
        rolling: Rolling,
        hashes: Hashes,
        places: Ints,
        grams: Ints,
    ) -> Iterator[tuple[int, int, Recital]]:
        for (text, owner), at in self._wholes(encoded, rolling, hashes).items():
            yield text, owner, Recital(1.0, owner, (at, 0, len(self._held[owner])))
        runs = runs_of(self._grams, encoded, places=places, grams=grams, words=self._ngram)
        for shared in runs.grouped(self._needed_P):
            recital = self._covered(shared, texts[shared.text])
            if recital is not None:
                yield shared.text, shared.owner, recital

    def _wholes(self, encoded: Encoded, rolling: Rolling, hashes: Hashes) -> dict[tuple[int, int], int]:
        """The texts and the problems that they have as a whole, and where."""
        found: dict[tuple[int, int], int] = {}
        for n, short in self._short.items():
            places, grams = short.find(rolling.windows(n))
            self._note(found, encoded, places, short.owners_E[grams])
        places, grams = self._anchors.find(hashes)
        which, occurrence = self._anchors.occurrences(grams)
        owners = self._anchors.owners_E[occurrence]
        starts = places[which] - self._anchors.places_E[occurrence]
        lengths = self._encoded.lengths_D[owners]
        inside = (starts >= 0) & (starts + lengths <= len(encoded.ids_W))
        owners, starts, lengths = owners[inside], starts[inside], lengths[inside]
        same = rolling.spans(starts, lengths) == self._whole_P[owners]
        self._note(found, encoded, starts[same], owners[same])
        return found

    def _note(self, found: dict[tuple[int, int], int], encoded: Encoded, places: Ints, owners: Ints) -> None:
        texts = encoded.text_of(places)
        at = places - encoded.starts_D[texts]
        for text, owner, place in zip(texts.tolist(), owners.tolist(), at.tolist(), strict=True):
            found.setdefault((text, owner), place)

    def _without(
        self, encoded: Encoded, places: Ints, grams: Ints, asked: Encoded, rolling: Rolling
    ) -> tuple[Ints, Ints]:
        """Those n-grams of the texts that their prompts don't have."""
        asked_places, asked_grams = self._grams.find(rolling.windows(self._ngram))
        size = len(self._grams.hashes_G)
        own = asked.text_of(asked_places) * size + asked_grams
        new = ~np.isin(encoded.text_of(places) * size + grams, own)
        return places[new], grams[new]

    def _covered(self, shared: Shared, text: Sequence[str]) -> Recital | None:
        """What runs cover of a held-out problem; None where that is too little or its numbers are others."""
        held = self._held[shared.owner]
        runs = sorted((_longer(run, text, held) for run in shared.runs), key=lambda run: (-run[2], run))
        covered = {place + word for _, place, length in runs for word in range(length)}
        own = self._own_places(shared.owner)
        missing = len(own) - len(covered.intersection(own))
        allowed = (1 - self._share) * len(own) if self._is_own(shared.owner, own) else 0
        if len(covered) < self._share * len(held) or missing > allowed:
            return None
        if _other_numbers(runs, covered, text, held, near=self._ngram):
            return None
        return Recital(len(covered) / len(held), shared.owner, runs[0])

    def _is_own(self, owner: int, places: Sequence[int]) -> bool:
        return 2 * len(places) >= len(self._held[owner])

    def _own_places(self, owner: int) -> list[int]:
        start = self._encoded.starts_D[owner]
        places: list[int] = np.flatnonzero(self._own_W[start : start + self._encoded.lengths_D[owner]]).tolist()
        return places


def _ngrams(encoded: Encoded, rolling: Rolling, words: int) -> tuple[Hashes, Ints, Ints]:
    """The hashes of all n-grams inside a text, the texts, and the places there."""
    hashes = rolling.windows(words)
    places = np.arange(len(hashes))
    owners = encoded.text_of(places)
    places = places - encoded.starts_D[owners]
    inside = places + words <= encoded.lengths_D[owners]
    return hashes[inside], owners[inside], places[inside]


def _own_words(encoded: Encoded, rolling: Rolling, common: int) -> NDArray[np.bool_]:
    """Which words lie in no four in a row that more than `common` problems have."""
    hashes, owners, places = _ngrams(encoded, rolling, _PUT_WORDS)
    counts = _owners_of(hashes, hashes, owners)
    return _outside(encoded, (encoded.starts_D[owners] + places)[counts > common])


def _rare_words(encoded: Encoded, rolling: Rolling, sample: Encoded) -> NDArray[np.bool_]:
    """Which words lie in no four in a row that many texts of a sample of the sources have."""
    hashes, owners, places = _ngrams(encoded, rolling, _PUT_WORDS)
    theirs, texts, _ = _ngrams(sample, Rolling(sample.ids_W), _PUT_WORDS)
    known = np.isin(theirs, hashes)
    counts = _owners_of(hashes, theirs[known], texts[known])
    many = max(_MANY, _MANY_SHARE * len(sample.lengths_D))
    return _outside(encoded, (encoded.starts_D[owners] + places)[counts > many])


def _owners_of(looked_for: Hashes, hashes: Hashes, owners: Ints) -> Ints:
    """How many different owners have each of these hashes."""
    grams = table(hashes, owners, np.zeros_like(owners), most_owners=len(owners) + 1)
    places, at = grams.find(looked_for)
    counts = np.zeros(len(looked_for), np.int64)
    counts[places] = np.diff(grams.first_G)[at]
    return counts


def _outside(encoded: Encoded, places: Ints) -> NDArray[np.bool_]:
    """Which words lie in none of the runs of four that start at these places."""
    outside = encoded.ids_W > 0
    for word in range(_PUT_WORDS):
        outside[places + word] = False
    return outside


def _rarest(hashes: Hashes, owners: Ints, places: Ints) -> Grams:
    """One n-gram of each problem: the one that the fewest have."""
    _, gram, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    order = np.lexsort((places, counts[gram], owners))
    _, first = np.unique(owners[order], return_index=True)
    chosen = order[first]
    return table(hashes[chosen], owners[chosen], places[chosen], most_owners=len(chosen) + 1)


def _reach(grams: Grams, problems: int, words: int) -> Ints:
    """How many words of each problem lie in an n-gram of the table."""
    order = np.lexsort((grams.places_E, grams.owners_E))
    owners, places = grams.owners_E[order], grams.places_E[order]
    new = np.full(len(owners), words)
    new[:-1] = np.where(np.diff(owners) == 0, np.minimum(np.diff(places), words), words)
    return np.bincount(owners, new, problems).astype(np.int64)


def _longer(run: Run, text: Sequence[str], held: Sequence[str]) -> Run:
    """The run with the equal words before and behind it, which are no evidence by themselves."""
    at, place, length = run
    while at and place and text[at - 1] == held[place - 1]:
        at, place, length = at - 1, place - 1, length + 1
    most = min(len(text) - at, len(held) - place)
    while length < most and text[at + length] == held[place + length]:
        length += 1
    return at, place, length


def _other_numbers(
    runs: Sequence[Run], covered: Collection[int], text: Sequence[str], held: Sequence[str], *, near: int
) -> bool:
    """Whether beside a run, so many words near, each has a number that the other lacks: a template, filled in anew."""
    for at, place, length in runs:
        for start, held_start in ((at - near, place - near), (at + length, place + length)):
            places = range(max(0, held_start), min(held_start + near, len(held)))
            theirs = {held[n] for n in places if n not in covered}
            ours = set(text[max(0, start) : max(0, start + near)])
            if any(map(_is_number, theirs - ours)) and any(map(_is_number, ours - theirs)):
                return True
    return False


def _is_number(word: str) -> bool:
    return word[0].isdigit()
