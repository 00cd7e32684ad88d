"""The words of many texts as numbers, so that what is asked of a word is asked once, not at each place it stands at."""

# T texts, W words of all of them, V different words

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.alike.words import words

Array = np.ndarray[Any, np.dtype[Any]]

_NAME = re.compile(r"[A-Z](?<=[a-z,;] [A-Z])[a-z]{1,40}")
_DATES = frozenset(
    """monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december""".split()  # noqa: SIM905
)


class _Codes(dict[str, int]):
    """A word's number: the place at which it was first asked for."""

    def __missing__(self, word: str) -> int:
        self[word] = code = len(self)
        return code


@dataclass(frozen=True, slots=True)
class Said:
    """What some texts say, one after another: W codes of words, the W rows they are in, the T rows' counts of words.

    `named` says of W words whether they are a name in their text, `last` whether none follows in it.
    """

    vocabulary: dict[str, int]
    codes: Array
    rows: Array
    sizes: Array
    named: Array

    @property
    def last(self) -> Array:
        """Of W words, whether it is its text's last."""
        return changes(self.rows[::-1])[::-1]

    def code(self, word: str) -> int:
        """A word's number, -1 if no text has it."""
        return self.vocabulary.get(word, -1)

    def each(self, is_so: Callable[[str], bool]) -> Array:
        """Of V words, whether it is so."""
        return np.fromiter(map(is_so, self.vocabulary), bool, len(self.vocabulary))


def told(texts: Sequence[str]) -> Said:
    """The canonical words of some texts; a name is a capitalised word that begins no sentence and is no date."""
    vocabulary = _Codes()
    codes, sizes, named = array("q"), array("q"), array("q")
    for row, text in enumerate(texts):
        said = words(text)
        codes.extend(map(vocabulary.__getitem__, said))
        sizes.append(len(said))
        named.extend([row << 32 | vocabulary[name] for name in {*map(str.lower, _NAME.findall(text))} - _DATES])
    counts = np.array(sizes, np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    numbers = np.array(codes, np.int64)
    is_named = np.isin(rows << 32 | numbers, np.array(named, np.int64))
    return Said(vocabulary, numbers, rows, counts, is_named)


def changes(values: Array) -> Array:
    """Where a value is not the one before it; the first is."""
    return np.append(True, values[1:] != values[:-1])[: len(values)].astype(bool)
