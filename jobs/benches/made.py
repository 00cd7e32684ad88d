"""Problems for the benchmarks of curation, any number of them, each made from its own number alone.

Each is a few sentences of made words, as common and as rare as words are, with names and numbers. One in ten has no
numbers and one of six answers, as in sets of yes/no and choice questions. One in ten is a copy: the same as an earlier
problem in another writing. One in ten is an earlier problem with other numbers, and so no copy.
"""

import functools
import itertools
import random
from dataclasses import dataclass

from pipeline.record import Problem, problem_id, to_table
from pipeline.store import Store

HOW = ("renamed", "reformatted", "reworded")
"""How a copy differs: other names; other spacing, case and format of numbers; one word in eight another."""

_SYLLABLES = [a + b for a in "bcdfghklmnprstvz" for b in "aeiou"]
_WORDS = [a + b for a in _SYLLABLES for b in _SYLLABLES]
_NAMES = [(a + b).title() + end for a in _SYLLABLES[::4] for b in _SYLLABLES[::7] for end in ("n", "l", "ra", "s")]
_FREQUENT = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(_WORDS))))
_UNNUMBERED = 5
_UNSAID = ("yes", "no", "A", "B", "C", "D")


@dataclass(frozen=True, slots=True)
class Made:
    """The problem of a number; `of` is the number of the problem that it was made from, if any, `how` is how."""

    problem: Problem
    of: int | None = None
    how: str | None = None


def made(number: int) -> Made:
    """The problem of a number, the same in every process."""
    ten, place = divmod(number, 10)
    of = 10 * random.Random(f"of {number}").randint(0, max(0, ten - 1)) + ten % 8
    if place < 8 or ten == 0 or (place == 8 and of % 10 == _UNNUMBERED):
        return Made(_problem(number, _Draw(number, number)))
    if place == 8:
        return Made(_problem(number, _Draw(of, number)), of, "other_numbers")
    how = HOW[ten % len(HOW)]
    return Made(_problem(number, _Draw(of, of, how)), of, how)


def write_shard(store: Store, name: str, numbers: range) -> None:
    """Write a shard of the problems of some numbers."""
    store.write_table(name, to_table([made(number).problem for number in numbers], Problem))


class _Draw:
    """The chances that a problem is made of: words by one number, numbers by another, changes by how it is copied."""

    def __init__(self, words: int, numbers: int, how: str | None = None) -> None:
        self.words, self.numbers = random.Random(f"words {words}"), random.Random(f"numbers {numbers}")
        self.changes, self.how = random.Random(f"{how} {words}"), how
        self.unsaid = words % 10 == _UNNUMBERED
        self.names = self.words.sample(_names(), 2)
        if how == "renamed":
            self.names = self.changes.sample(_names(), 2)

    def word(self) -> str:
        word = self.words.choices(_WORDS, cum_weights=_FREQUENT)[0]
        if self.how == "reworded" and self.changes.random() < 1 / 8:
            return self.changes.choices(_WORDS, cum_weights=_FREQUENT)[0]
        return word

    def number(self) -> str:
        number = int(2 + 60 * self.numbers.random() ** 3 + (self.numbers.random() < 0.2) * 1500)
        return f"${number:,}$" if self.how == "reformatted" else str(number)


def _problem(number: int, draw: _Draw) -> Problem:
    prompt = " ".join(_sentence(draw) for _ in range(draw.words.randint(3, 5)))
    if draw.how == "reformatted":
        prompt = prompt.replace(". ", ".\n\n").replace(" the ", "  The ")
    answer = draw.numbers.choice(_UNSAID) if draw.unsaid else str(draw.numbers.randint(1, 300))
    return Problem(
        id=problem_id(f"{prompt} {number}"),
        source="made",
        kind="text" if draw.unsaid else "math",
        prompt=prompt,
        answer=answer,
        solution="",
        licence="CC0-1.0",
        row=str(number),
        drop=None,
        drop_why=None,
    )


def _sentence(draw: _Draw) -> str:
    words = [draw.word() for _ in range(draw.words.randint(8, 14))]
    words[0] = words[0].title()
    words.insert(3, draw.names[draw.words.random() < 0.5])
    words.insert(5, "the")
    if not draw.unsaid and draw.words.random() < 0.9:
        words.insert(7, draw.number())
    return " ".join(words) + "."


@functools.cache
def _names() -> list[str]:
    return sorted(set(_NAMES))
