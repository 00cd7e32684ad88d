"""Held-out problems that a text says in other words: the same numbers, and most of the words that tell problems apart."""

# P held-out problems, V words of their vocabulary, D texts

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.alike.ngrams import Encoded, Ints
from pipeline.alike.words import numbers

_TELLING = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """What is compared of one problem: its numbers and what each of its telling words weighs."""

    numbers: frozenset[str]
    words: frozenset[str]


def telling(words: Sequence[str]) -> Problem:
    """Its numbers, and its words without single letters: a variable may have any name."""
    return Problem(frozenset(numbers(words)), frozenset(word for word in words if len(word) > 1 or not word.isalpha()))


class Reworded:
    """Finds the held-out problems that share most of their rarest words with a text, then compares the two in full."""

    def __init__(self, texts: Sequence[Sequence[str]], ids: dict[str, int]) -> None:
        self.problems = [telling(words) for words in texts]
        held = Counter(word for problem in self.problems for word in problem.words)
        self.weights = {word: math.log(1 + len(texts) / count) for word, count in held.items()}
        self.rarest = math.log(1 + len(texts))
        rare = [sorted(problem.words, key=lambda word: (held[word], word))[:_TELLING] for problem in self.problems]
        self.needed_P = np.array([max(1, (len(words) + 1) // 2) for words in rare], np.int64)
        pairs = sorted((ids[word], owner) for owner, words in enumerate(rare) for word in words)
        self.owners_E = np.array([owner for _, owner in pairs], np.int64)
        self.first_V = np.searchsorted(np.array([word for word, _ in pairs], np.int64), np.arange(len(ids) + 2))

    def candidates(self, encoded: Encoded) -> list[tuple[int, int]]:
        """Texts and the problems of which they hold half of the rarest words or more, in order."""
        counts_V = np.diff(self.first_V)
        at = np.flatnonzero(counts_V[encoded.ids_W])
        pairs = np.unique(encoded.text_of(at) * len(counts_V) + encoded.ids_W[at])
        texts, ids = np.divmod(pairs, len(counts_V))
        counts = counts_V[ids]
        which = np.repeat(np.arange(len(ids)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        owners = self.owners_E[self.first_V[ids][which] + within]
        both, hits = np.unique(texts[which] * len(self.problems) + owners, return_counts=True)
        texts, owners = np.divmod(both, len(self.problems))
        enough = hits >= self.needed_P[owners]
        return list(zip(texts[enough].tolist(), owners[enough].tolist(), strict=True))

    def likeness(self, text: Problem, owner: int) -> float:
        """The share of the words of both that is in both, by weight; 0 where a number of the problem is missing."""
        problem = self.problems[owner]
        if not problem.numbers <= text.numbers:
            return 0.0
        both = self._weight(problem.words & text.words)
        return both / (self._weight(problem.words | text.words) or 1.0)

    def _weight(self, words: frozenset[str]) -> float:
        # Sums in another order differ in their last digit.
        return math.fsum(self.weights.get(word, self.rarest) for word in words)
