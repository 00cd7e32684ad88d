"""A text as numbered words, which loops, repetition and other languages are looked for in."""

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_CJK = r"\u3040-\u30ff\u3400-\u9fff"
_HAS_CJK = re.compile(f"[{_CJK}]")
_SPACED = re.compile(r"\S+")
# Words without spaces are cut: Chinese every 2 signs, and endless digits into many equal words.
_LONGEST = 40
_CUT = re.compile(rf"[{_CJK}]{{1,2}}|[^\s{_CJK}]{{1,16}}")
_AROUND = ".,;:!?\"'()[]*_`…。，；：！？"
_QUOTED = 60

_SPREAD = 0x9E3779B97F4A7C15
_STEP = 0xD6E8FEB86659FD93


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text in order, and each as the place of its spelling in `spellings`."""

    text: str
    cut: bool
    spelt: list[str]
    numbers: list[int]
    spellings: list[str]

    def quote(self, start: int, stop: int) -> str:
        """The text of some words, cut to a length that a reason can hold."""
        matches = list(itertools.islice((_CUT if self.cut else _SPACED).finditer(self.text), start, stop))
        return shortened(self.text[matches[0].start() : matches[-1].end()])


def read(text: str) -> Words:
    """The words of a text, numbered in the order in which their spellings first come."""
    spelt = text.split()
    cut = len(max(spelt, key=len, default="")) > _LONGEST or (not text.isascii() and bool(_HAS_CJK.search(text)))
    if cut:
        spelt = _CUT.findall(text)
    spellings = list(dict.fromkeys(spelt))
    places = dict(zip(spellings, range(len(spellings)), strict=True))
    return Words(text, cut, spelt, [places[word] for word in spelt], spellings)


def is_prose(spelling: str) -> bool:
    """Whether a word belongs to a sentence: no number, sign, single letter, formula or LaTeX command."""
    bare = spelling.strip(_AROUND)
    if bare.isalpha():
        return len(bare) > 1 or bare > "\u2e7f"
    return "'" in bare and bare.replace("'", "").isalpha()


def stretches(numbers: "np.ndarray", length: int) -> "np.ndarray":
    """One 64-bit number for each stretch of so many words in a row: equal for equal stretches.

    A polynomial over the spread numbers; it wraps around, and among a million stretches two different ones meet once in
    10^7 texts.
    """
    import numpy as np

    spread = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(_SPREAD)
    spread ^= spread >> np.uint64(29)
    hashes = np.zeros(max(0, len(numbers) - length + 1), dtype=np.uint64)
    for place in range(length if len(hashes) else 0):
        hashes = hashes * np.uint64(_STEP) + spread[place : place + len(hashes)]
    return hashes


def shortened(text: str) -> str:
    """A quote on one line, in marks."""
    text = " ".join(text[: 2 * _QUOTED].split())
    return f'"{text}"' if len(text) <= _QUOTED else f'"{text[: _QUOTED - 3]}..."'
