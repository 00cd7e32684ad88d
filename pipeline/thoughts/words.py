"""A text as numbered words, which loops and repetition are looked for in."""

import itertools
import re
from dataclasses import dataclass

# A run without spaces is cut every 16 signs, Chinese and Japanese every 2: endless digits are then many equal words.
_WORD = re.compile(r"[A-Za-z]{1,16}|[0-9]{1,16}|\\[A-Za-z]{1,16}|[\u3040-\u30ff\u3400-\u9fff]{1,2}|[^\W\d_]{1,16}|\S")
_QUOTED = 60


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text, each with the number of its spelling; `prose[number]` says whether a spelling is a word of a
    sentence and no number, sign, single letter or LaTeX command."""

    text: str
    spelt: list[str]
    numbers: list[int]
    prose: list[bool]

    def num_prose(self, start: int, stop: int) -> int:
        """How many of the words from start to stop belong to sentences."""
        return sum(self.prose[number] for number in self.numbers[start:stop])

    def quote(self, start: int, stop: int) -> str:
        """The text of some words, cut to a length that a reason can hold."""
        matches = itertools.islice(_WORD.finditer(self.text), start, stop)
        first = next(matches)
        return shortened(self.text[first.start() : max((match.end() for match in matches), default=first.end())])


def read(text: str) -> Words:
    """The words of a text, numbered in the order in which their spellings first come."""
    spelt = _WORD.findall(text)
    numbering: dict[str, int] = {}
    numbers = [numbering.setdefault(word, len(numbering)) for word in spelt]
    return Words(text, spelt, numbers, [len(word) > 1 and word.isalpha() for word in numbering])


def shortened(text: str) -> str:
    """A quote on one line, in marks."""
    text = " ".join(text[: 2 * _QUOTED].split())
    return f'"{text}"' if len(text) <= _QUOTED else f'"{text[: _QUOTED - 3]}..."'
