"""Repetition: the share of a text that it has said before, in long stretches of words or in whole sentences."""

import re
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.thoughts.words import Words, shortened

if TYPE_CHECKING:
    import numpy as np

# A product of two large odd numbers spreads 64 bits; two stretches out of a million collide once in 10^7 texts.
_SPREAD = 0x9E3779B97F4A7C15
_STEP = 0xD6E8FEB86659FD93
# Below this a text that quotes its problem twice would be all repetition.
_FEWEST_WORDS = 100
_SENTENCE = re.compile(r"[.!?\n\u3002\uff01\uff1f]+")
_SENTENCE_CHARACTERS = 24
_SENTENCE_CJK = 8
_SENTENCE_TIMES = 8


def repetition(words: Words, *, length: int, share: float) -> str | None:
    """Why a text repeats itself too much, or None; `length` in words, `share` of all its words or characters."""
    repeated, example = repeats(words, length=length)
    if len(repeated) and (found := int(repeated.sum())) >= _FEWEST_WORDS and found > share * len(repeated):
        quote = words.quote(example, example + length)
        return f"{found / len(repeated):.0%} of its words were said before in {length} or more: {quote}"
    return _sentences(words.text, share=share)


def repeated_share(words: Words, *, length: int) -> float:
    """The share of words, 0 to 1, that stand in a stretch of so many words that was said before."""
    repeated, _ = repeats(words, length=length)
    return float(repeated.mean()) if len(repeated) else 0.0


def repeats(words: Words, *, length: int) -> tuple["np.ndarray", int]:
    """Which words were said before in a stretch of at least so many, and where the stretch said most often begins.

    Half of a stretch must be words of sentences: a polynomial may come as often as it is needed.
    """
    import numpy as np

    count = len(words.numbers)
    if count <= length:
        return np.zeros(count, dtype=bool), 0
    numbers = np.asarray(words.numbers, dtype=np.int64)
    stretches = _hashes(numbers.astype(np.uint64), length)
    prose = np.concatenate([[0], np.cumsum(np.asarray(words.prose)[numbers])])
    _, first, times = np.unique(stretches, return_index=True, return_counts=True)
    again = prose[length:] - prose[:-length] >= length / 2
    example = int(first[np.argmax(times * again[first])])
    again[first] = False
    edges = np.zeros(count + 1, dtype=np.int64)
    edges[:-length] += again
    edges[length:] -= again
    return np.cumsum(edges)[:-1] > 0, example


def _hashes(numbers: "np.ndarray", length: int) -> "np.ndarray":
    """One 64-bit number for each stretch, a polynomial over the numbers of its words; wraps around."""
    import numpy as np

    spread = (numbers + np.uint64(1)) * np.uint64(_SPREAD)
    spread ^= spread >> np.uint64(29)
    hashes = np.zeros(len(numbers) - length + 1, dtype=np.uint64)
    for place in range(length):
        hashes = hashes * np.uint64(_STEP) + spread[place : place + len(hashes)]
    return hashes


def _sentences(text: str, *, share: float) -> str | None:
    """The sentence said most often, when such sentences fill too much of the text."""
    said = Counter(sentence.strip() for sentence in _SENTENCE.split(text))
    often = {sentence: times for sentence, times in said.items() if times >= _SENTENCE_TIMES and _is_long(sentence)}
    again = sum(len(sentence) * (times - 1) for sentence, times in often.items())
    if not often or again <= share * len(text):
        return None
    most = max(often, key=lambda sentence: (often[sentence], sentence))
    return f"{again / len(text):.0%} are sentences said again: {shortened(most)} {often[most]} times"


def _is_long(sentence: str) -> bool:
    if sentence.isascii():
        return (
            len(sentence) >= _SENTENCE_CHARACTERS
            and sentence.count(" ") >= 3
            and sum(map(str.isalpha, sentence)) * 2 > len(sentence)
        )
    return len(sentence) >= _SENTENCE_CJK
