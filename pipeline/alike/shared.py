"""What texts share word for word with held-out problems: runs of words, and how much of a problem they cover."""

# T texts with a run or more, R runs

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pipeline.alike.ngrams import Encoded, Grams, Ints

Run = tuple[int, int, int]
"""Where it starts in the text and in the problem, and its length; all in words."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The runs that a text shares with one held-out problem."""

    text: int
    owner: int
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs in the order of their texts, owners and places."""

    texts_R: Ints
    owners_R: Ints
    at_R: Ints
    places_R: Ints
    words_R: Ints

    def grouped(self, least_words: Ints) -> Iterator[Shared]:
        """What each text shares with each problem, where the runs may cover least_words[owner] words or more."""
        _, pair_R = np.unique(self.texts_R * len(least_words) + self.owners_R, return_inverse=True)
        enough = np.bincount(pair_R, self.words_R)[pair_R] >= least_words[self.owners_R]
        columns = (self.texts_R, self.owners_R, self.at_R, self.places_R, self.words_R)
        lines = zip(*(column[enough].tolist() for column in columns), strict=True)
        for (text, owner), group in groupby(lines, lambda line: line[:2]):
            yield Shared(text, owner, [(at, place, length) for *_, at, place, length in group])


def runs_of(table: Grams, encoded: Encoded, *, places: Ints, grams: Ints, words: int) -> Runs:
    """The longest runs made of these n-grams, so many words each, that texts and owners of the table share."""
    which, occurrence = table.occurrences(grams)
    at, owners, where = places[which], table.owners_E[occurrence], table.places_E[occurrence]
    texts = encoded.text_of(at)
    at = at - encoded.starts_D[texts]
    order = np.lexsort((at, at - where, owners, texts))
    at, owners, where, texts = at[order], owners[order], where[order], texts[order]
    new = np.ones(len(at), bool)
    new[1:] = (np.diff(texts) != 0) | (np.diff(owners) != 0) | (np.diff(at - where) != 0) | (np.diff(at) != 1)
    first = np.flatnonzero(new)
    lengths = np.diff(np.append(first, len(at))) + words - 1
    return Runs(texts[first], owners[first], at[first], where[first], lengths)
