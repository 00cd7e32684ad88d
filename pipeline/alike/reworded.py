"""Held-out problems that a text says in other words: the same numbers, most of the same words and of the same formulas.

Words and neighbours in formulas are weighed by how few held-out problems have them; the rarest ones of each problem say
which problems are looked at.
"""

# P held-out problems, V words of their vocabulary

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.alike.ngrams import Encoded, expanded
from pipeline.alike.words import numbers

_RAREST = 8
_NUMBER_WEIGHT = 4.0
"""A problem said in other words keeps its numbers and loses about half of its words."""
_LETTER = "@"

Bag = Counter[str]


class Reworded:
    """Finds the held-out problems of which a text has half of the rarest words, then compares the two in full."""

    def __init__(self, texts: Sequence[Sequence[str]], ids: Mapping[str, int]) -> None:
        self._bags = [bag_of(words) for words in texts]
        self._numbers = [frozenset(numbers(words)) for words in texts]
        held = Counter(word for bag in self._bags for word in bag)
        self._weights = {word: math.log(1 + len(texts) / count) for word, count in held.items()}
        self._unknown = math.log(1 + len(texts))
        self._whole = [self._weight(bag) for bag in self._bags]
        rare = [sorted(bag.keys() & ids.keys(), key=lambda word: (held[word], word))[:_RAREST] for bag in self._bags]
        self._needed_P = np.array([max(1, (len(words) + 1) // 2) for words in rare], np.int64)
        entries = sorted((ids[word], owner) for owner, words in enumerate(rare) for word in words)
        pairs = np.array(entries, np.int64).reshape(-1, 2)
        self._owners_E = pairs[:, 1]
        self._first_V = np.searchsorted(pairs[:, 0], np.arange(len(ids) + 2))

    def candidates(self, encoded: Encoded) -> list[tuple[int, int]]:
        """Texts and the problems of which they hold half of the rarest words or more, in order."""
        counts_V = np.diff(self._first_V)
        at = np.flatnonzero(counts_V[encoded.ids_W])
        pairs = np.unique(encoded.text_of(at) * len(counts_V) + encoded.ids_W[at])
        texts, ids = np.divmod(pairs, len(counts_V))
        which, entries = expanded(self._first_V[ids], counts_V[ids])
        both, hits = np.unique(texts[which] * len(self._bags) + self._owners_E[entries], return_counts=True)
        texts, owners = np.divmod(both, len(self._bags))
        enough = hits >= self._needed_P[owners]
        return list(zip(texts[enough].tolist(), owners[enough].tolist(), strict=True))

    def likest(self, text: Sequence[str], owners: Iterable[int], *, least: float) -> tuple[float, int] | None:
        """The one of `owners` that is most like the text: how much (1: the same) and which; None below `least`."""
        own = frozenset(numbers(text))
        owners = [owner for owner in owners if self._numbers[owner] <= own]
        if not owners:
            return None
        bag = bag_of(text)
        weight = self._weight(bag)
        best: tuple[float, int] | None = None
        for owner in owners:
            theirs = self._whole[owner]
            # No more can be in both than the lighter one weighs.
            if min(weight, theirs) < least * max(weight, theirs):
                continue
            both = self._weight(bag & self._bags[owner])
            likeness = both / (weight + theirs - both)
            if likeness >= least and (best is None or likeness > best[0]):
                best = likeness, owner
        return best

    def _weight(self, bag: Bag) -> float:
        # fsum: a sum in another order would differ in its last digit.
        return math.fsum(self._weights.get(word, self._unknown) * count * _times(word) for word, count in bag.items())


def bag_of(words: Iterable[str]) -> Bag:
    """A problem's words once each; its numbers, signs and neighbours in formulas as often as they occur.

    In formulas all letters are the same, and alone they don't count: a variable may have any name.
    """
    bag: Bag = Counter()
    before = ""
    for word in words:
        if not word.isalpha():
            bag[word] += 1
            part = word
        elif len(word) > 1 or not word.isascii():
            bag[word] = 1
            before = ""
            continue
        else:
            part = _LETTER
        if before and not (_operand(before) and _operand(part)):
            bag[f"{before} {part}"] += 1
        before = part
    return bag


def _times(word: str) -> float:
    """How often a word counts; a neighbour pair holds a space."""
    return _NUMBER_WEIGHT if word[0].isdigit() and " " not in word else 1.0


def _operand(part: str) -> bool:
    return part == _LETTER or part[0].isdigit()
