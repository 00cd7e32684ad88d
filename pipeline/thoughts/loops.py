"""Loops: one block of words said over and over, exactly or with a number that counts on.

Every place is compared with the place one period before it; the period is how far back the same four words last stood.
One step for each word, whatever the text is. In a block that has a phrase twice the first guess is too short, and is
corrected where it first fails.
"""

from dataclasses import dataclass

from pipeline.thoughts.words import Words

_GRAM = 4
_PROSE_WORDS = 4
_SENTENCES_CHARACTERS = 300
# Rows of dots, zeros or "yes" are part of honest tables.
_FRAGMENTS_CHARACTERS = 2000
_COUNTED_PROSE_WORDS = 5
_COUNTED_CHARACTERS = 500


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
    for run in runs(words.numbers, copies=copies):
        if _says_the_same(words, run):
            return f"{words.quote(run.start, run.start + run.period)} {run.copies} times in a row"
    for run in runs(_without_numbers(words), copies=counted):
        if _counts_on(words, run):
            return f"{words.quote(run.start, run.start + run.period)} {run.copies} times, only counting on"
    return None


def runs(numbers: list[int], *, copies: int) -> list[Run]:
    """The stretches that repeat with one period at least so many times, in their order."""
    found: list[Run] = []
    grams = list(zip(*(numbers[shift:] for shift in range(_GRAM)), strict=False))
    last: dict[tuple[int, ...], int] = {}
    period = begin = 0
    for at, gram in enumerate(grams):
        if period and grams[at - period] != gram:
            _add(found, Run(begin, at - 1 + _GRAM, period), copies)
            period = 0
        if not period and (before := last.get(gram)) is not None:
            period, begin = at - before, before
        last[gram] = at
    if period:
        _add(found, Run(begin, len(numbers), period), copies)
    return found


def _add(found: list[Run], run: Run, copies: int) -> None:
    if run.copies >= copies:
        found.append(run)


def _without_numbers(words: Words) -> list[int]:
    is_number = {number for number, word in zip(words.numbers, words.spelt, strict=True) if word.isdecimal()}
    return [-1 if number in is_number else number for number in words.numbers]


def _says_the_same(words: Words, run: Run) -> bool:
    characters = _characters(words, run)
    if words.num_prose(run.start, run.start + run.period) >= _PROSE_WORDS:
        return characters >= _SENTENCES_CHARACTERS
    return characters >= _FRAGMENTS_CHARACTERS


def _counts_on(words: Words, run: Run) -> bool:
    """Whether all numbers of the block stay or go on in one and the same step: a table's results go their own way."""
    if words.num_prose(run.start, run.start + run.period) < _COUNTED_PROSE_WORDS:
        return False
    if _characters(words, run) < _COUNTED_CHARACTERS:
        return False
    counting = set()
    for place in range(run.start, run.start + run.period):
        said = words.spelt[place : run.stop : run.period]
        if said[0].isdecimal():
            steps = {int(after) - int(before) for before, after in zip(said, said[1:], strict=False)}
            if len(steps) > 1:
                return False
            counting |= steps
    return len(counting - {0}) == 1


def _characters(words: Words, run: Run) -> int:
    return sum(map(len, words.spelt[run.start : run.stop]))
