"""Repetition: the share of a text that it has said before, in long stretches of words or in whole sentences."""

import re
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.thoughts.words import Words, is_prose, shortened, stretches

if TYPE_CHECKING:
    import numpy as np

# Below this a text that quotes its problem twice would be all repetition.
_FEWEST_WORDS = 80
_SENTENCE = re.compile(r"[.!?\n\u3002\uff01\uff1f]+")
_SENTENCE_CHARACTERS = 24
_SENTENCE_SIGNS = 8
_SENTENCE_WORDS = 4
_SENTENCE_TIMES = 8


def repetition(words: Words, *, length: int, share: float) -> str | None:
    """Why a text repeats itself too much, or None; `length` in words, `share` of all its words or characters."""
    if len(words.numbers) > _FEWEST_WORDS + length:
        repeated, example = repeats(words, length=length)
        if (found := int(repeated.sum())) >= _FEWEST_WORDS and found > share * len(repeated):
            quote = words.quote(example, example + length)
            return f"{found / len(repeated):.0%} of its words were said before, {length} or more in a row: {quote}"
    return _sentences(words.text, share=share)


def repeated_share(words: Words, *, length: int) -> float:
    """The share of words, 0 to 1, that stand in a stretch of so many words that was said before."""
    if len(words.numbers) <= length:
        return 0.0
    repeated, _ = repeats(words, length=length)
    return float(repeated.mean())


def repeats(words: Words, *, length: int) -> tuple["np.ndarray", int]:
    """Which words were said before in a stretch of at least so many, and where the stretch said most often begins.

    Half of a stretch must be words of sentences: a polynomial may come as often as it is needed.
    """
    import numpy as np

    numbers = np.asarray(words.numbers, dtype=np.int64)
    prose = np.asarray([is_prose(spelling) for spelling in words.spellings])[numbers]
    so_far = np.concatenate([[0], np.cumsum(prose)])
    told = so_far[length:] - so_far[:-length] >= length / 2
    _, first, times = np.unique(stretches(numbers, length), return_index=True, return_counts=True)
    example = int(first[np.argmax(times * told[first])])
    told[first] = False
    edges = np.zeros(len(numbers) + 1, dtype=np.int64)
    edges[: len(told)] += told
    edges[length : length + len(told)] -= told
    return np.cumsum(edges)[:-1] > 0, example


def _sentences(text: str, *, share: float) -> str | None:
    """The sentence said most often, when such sentences fill too much of the text."""
    if len(text) < _SENTENCE_TIMES * _SENTENCE_SIGNS:
        return None
    said = Counter(map(str.strip, _SENTENCE.split(text)))
    often = {sentence: times for sentence, times in said.items() if times >= _SENTENCE_TIMES and _is_long(sentence)}
    again = sum(len(sentence) * (times - 1) for sentence, times in often.items())
    if not often or again <= share * len(text):
        return None
    most = max(often, key=lambda sentence: (often[sentence], sentence))
    return f"{again / len(text):.0%} are sentences said again: {shortened(most)} {often[most]} times"


def _is_long(sentence: str) -> bool:
    if sentence.isascii():
        return len(sentence) >= _SENTENCE_CHARACTERS and sum(map(is_prose, sentence.split())) >= _SENTENCE_WORDS
    return len(sentence) >= _SENTENCE_SIGNS
