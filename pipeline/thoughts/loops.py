"""Loops: one block of words said over and over, exactly or with a number that counts on.

Where stretches of words come that were said before, every place is compared with the place one period before it; the
period is how far back the same four words last stood. In a block that has a phrase twice the first guess is too short,
and is corrected where it first fails. The work grows with the length of the text, whatever the text is.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.thoughts.words import Words, is_prose, stretches

_GRAM = 4
_STRETCH = 12
# A shorter text is searched as a whole.
_FEW_WORDS = 100
_PROSE_WORDS = 4
_SENTENCES_CHARACTERS = 250
# Rows of dots, zeros or "yes" are part of honest tables.
_FRAGMENTS_CHARACTERS = 1500
_COUNTED_PROSE_WORDS = 5
_COUNTED_CHARACTERS = 500
_DIGITS = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class Run:
    """Words from start to stop that repeat with a period; all in words."""

    start: int
    stop: int
    period: int

    @property
    def copies(self) -> int:
        """Whole copies of the block."""
        return (self.stop - self.start) // self.period


def loop(words: Words, *, copies: int, counted: int) -> str | None:
    """The first loop, of at least so many copies, or of so many that differ in a number that counts on."""
    if len(words.text) < _SENTENCES_CHARACTERS:
        return None
    for run in runs(words.numbers, copies=copies):
        if _says_the_same(words, run):
            return f"{words.quote(run.start, run.start + run.period)} {run.copies} times in a row"
    if len(words.text) < _COUNTED_CHARACTERS:
        return None
    for run in runs(_without_digits(words), copies=counted):
        if _counts_on(words, run):
            return f"{words.quote(run.start, run.start + run.period)} {run.copies} times, only counting on"
    return None


def runs(numbers: list[int], *, copies: int) -> Iterator[Run]:
    """The stretches that repeat with one period at least so many times and are long enough to matter."""
    for start, stop in _suspects(numbers):
        yield from _runs_within(numbers[start:stop], offset=start, copies=copies)


def _suspects(numbers: list[int]) -> list[tuple[int, int]]:
    """Where many words in a row were said before, together with as many words before them: a loop's first copy."""
    if len(numbers) < _FEW_WORDS:
        return [(0, len(numbers))]
    import numpy as np

    hashes = stretches(np.asarray(numbers), _STRETCH)
    order = np.argsort(hashes, kind="stable")
    again = np.zeros(len(hashes) + 2, dtype=np.int8)
    again[order[1:] + 1] = hashes[order[1:]] == hashes[order[:-1]]
    edges = np.flatnonzero(np.diff(again)).reshape(-1, 2)
    return [
        (max(0, 2 * start - stop - _STRETCH), min(stop + _STRETCH, len(numbers)))
        for start, stop in edges.tolist()
        if stop - start > _GRAM
    ]


def _runs_within(numbers: list[int], *, offset: int, copies: int) -> Iterator[Run]:
    grams = list(zip(*(numbers[shift:] for shift in range(_GRAM)), strict=False))
    last: dict[tuple[int, ...], int] = {}
    period = begin = 0
    for at, gram in enumerate(grams):
        if period and grams[at - period] != gram:
            if (at - 1 + _GRAM - begin) // period >= copies:
                yield Run(offset + begin, offset + at - 1 + _GRAM, period)
            period = 0
        if not period and (before := last.get(gram)) is not None:
            period, begin = at - before, before
        last[gram] = at
    if period and (len(numbers) - begin) // period >= copies:
        yield Run(offset + begin, offset + len(numbers), period)


def _without_digits(words: Words) -> list[int]:
    """The words as numbers that are equal for words that differ in their digits only."""
    kinds: dict[str, int] = {}
    bare = [
        kinds.setdefault(word if word.isalpha() else _DIGITS.sub("0", word), len(kinds)) for word in words.spellings
    ]
    return [bare[number] for number in words.numbers]


def _says_the_same(words: Words, run: Run) -> bool:
    characters = _characters(words, run)
    return characters >= (_FRAGMENTS_CHARACTERS if _num_prose(words, run) < _PROSE_WORDS else _SENTENCES_CHARACTERS)


def _counts_on(words: Words, run: Run) -> bool:
    """Whether all numbers of the block stay or go on in one and the same step: a table's results go their own way."""
    if _num_prose(words, run) < _COUNTED_PROSE_WORDS or _characters(words, run) < _COUNTED_CHARACTERS:
        return False
    counting = set()
    for place in range(run.start, run.start + run.period):
        if words.spelt[place].isalpha():
            continue
        said = [_DIGITS.findall(word) for word in words.spelt[place : run.stop : run.period]]
        for column in zip(*said, strict=True):
            steps = {int(after) - int(before) for before, after in itertools.pairwise(column)}
            if len(steps) > 1:
                return False
            counting |= steps
    return len(counting - {0}) == 1


def _num_prose(words: Words, run: Run) -> int:
    return sum(map(is_prose, words.spelt[run.start : run.start + run.period]))


def _characters(words: Words, run: Run) -> int:
    return sum(map(len, words.spelt[run.start : run.stop]))
