"""Texts that change their language on the way, or that are in another one than their problem."""

import re
from collections.abc import Sequence

from pipeline.language import UNKNOWN, Piece, language, languages, other_scripts, words_only
from pipeline.thoughts.words import Words, is_prose, shortened

# How many signs stand for a word of English, roughly; letters of other scripts as many as Latin ones.
_SIGNS_A_WORD = {"han": 1.5, "kana": 2.5, "hangul": 3.0, "thai": 4.0}
_LETTERS_A_WORD = 6.0
# "Answer", "Step 1" or "QED" in a Chinese text are no switch, and no more is one Chinese word in an English one.
_FEWEST_WORDS = 10.0
_FEWEST_SIGNS = 4
_FEWEST_PIECES = 400
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}+")
_SENTENCES = re.compile(r"(?<![\\A-Za-z$])[A-Za-z]{2,}+(?:[ ,;:'\"-]{1,3}+[A-Za-z]++){4,}+")
_MATHS = re.compile(
    r"```[^`]*(?:```|\Z)|\$\$?[^$]{1,400}\$\$?|\\\((?:[^\\]|\\(?!\))){0,400}\\\)|\\\[(?:[^\\]|\\(?!\])){0,1000}\\\]"
)
_FUNCTION_WORDS = frozenset(
    (
        *("the", "of", "and", "is", "to", "we", "that", "in", "so", "it", "this", "for", "be", "are", "if", "then"),
        *("with", "as", "by", "let", "have", "not", "which", "can", "but", "at", "from", "on", "i"),
    )
)
_CHUNK = 60
# Fewer words of sentences are no ground to doubt a chunk, and a smaller share of function words is: measured on worked
# solutions, where no chunk of English has less.
_FEWEST_PROSE = 20
_ENGLISH = 0.15


def language_switch(words: Words, *, prompt: str, share: float, pieces_share: float) -> str | None:
    """Why a text changes its language, or None. What it quotes of its problem is no change.

    `share` is that of words in another script, `pieces_share` that of characters in another language of one script.
    """
    text = words.text
    stretches = [piece for piece in other_scripts(text) if not _is_few(piece)]
    if not stretches:
        return _other_pieces(words, prompt=prompt, share=pieces_share)
    other = sum(map(_num_words, stretches))
    latin = len(_WORD.findall(_MATHS.sub(" ", text)))
    if other > latin:
        return _latin_among(text, prompt=prompt, words=other, share=share)
    foreign = [piece for piece in stretches if text[piece.start : piece.stop] not in prompt]
    found = sum(map(_num_words, foreign))
    if found >= _FEWEST_WORDS and found > share * (latin + other):
        quote = shortened(text[slice(*_longest(foreign))])
        return f"{found / (latin + other):.1%} of its words are {foreign[0].language}: {quote}"
    return _other_pieces(words, prompt=prompt, share=pieces_share)


def other_language(text: str, *, prompt: str) -> str | None:
    """Both languages, when a text is in another one than its problem and both can be told."""
    asked, said = language(prompt), language(text)
    return f"asked in {asked}, said in {said}" if UNKNOWN not in (asked, said) and asked != said else None


def _latin_among(text: str, *, prompt: str, words: float, share: float) -> str | None:
    """Sentences in Latin letters within a text of another script."""
    sentences = [found for found in _SENTENCES.findall(_MATHS.sub(" ", text)) if found not in prompt]
    found = sum(len(sentence.split()) for sentence in sentences)
    if found < _FEWEST_WORDS or found <= share * (words + found):
        return None
    return f"{found / (words + found):.1%} of its words are latin: {shortened(max(sentences, key=len))}"


def _other_pieces(words: Words, *, prompt: str, share: float) -> str | None:
    """Stretches in another language of the same script, by the language of pieces of about 400 characters."""
    text = words.text
    if len(text) < 2 * _FEWEST_PIECES or _is_english(words):
        return None
    pieces = languages(text)
    if len({piece.language for piece in pieces}) < 2:
        return None
    main = _main(pieces)
    foreign = [piece for piece in pieces if _is_foreign(text[piece.start : piece.stop], piece, main, prompt)]
    found = sum(piece.stop - piece.start for piece in foreign)
    if found < _FEWEST_PIECES or found <= share * len(text):
        return None
    quote = shortened(text[slice(*_longest(foreign))])
    return f"{found / len(text):.0%} is {foreign[0].language} among {main}: {quote}"


def _longest(pieces: Sequence[Piece]) -> tuple[int, int]:
    longest = max(pieces, key=lambda piece: (piece.stop - piece.start, -piece.start))
    return longest.start, longest.stop


def _is_english(words: Words) -> bool:
    """Whether all chunks of a text have the function words that English has and no other language: a quick yes."""
    import numpy as np

    kinds = [2 if word.lower() in _FUNCTION_WORDS else int(is_prose(word)) for word in words.spellings]
    of_words = np.asarray(kinds, dtype=np.int8)[np.asarray(words.numbers, dtype=np.int64)]
    edges = np.arange(0, len(of_words), _CHUNK)
    prose = np.add.reduceat(of_words > 0, edges, dtype=np.int64)
    function = np.add.reduceat(of_words > 1, edges, dtype=np.int64)
    return not bool(((prose >= _FEWEST_PROSE) & (function < _ENGLISH * prose)).any())


def _main(pieces: Sequence[Piece]) -> str:
    lengths: dict[str, int] = {}
    for piece in pieces:
        lengths[piece.language] = lengths.get(piece.language, 0) + piece.stop - piece.start
    return max(sorted(lengths), key=lengths.__getitem__)


def _is_foreign(text: str, piece: Piece, main: str, prompt: str) -> bool:
    if piece.language in (main, UNKNOWN) or text.strip() in prompt:
        return False
    words = words_only(text).lower().split()
    return main != "en" or sum(word in _FUNCTION_WORDS for word in words) < _ENGLISH * len(words)


def _is_few(piece: Piece) -> bool:
    return piece.language in _SIGNS_A_WORD and piece.stop - piece.start < _FEWEST_SIGNS


def _num_words(piece: Piece) -> float:
    return (piece.stop - piece.start) / _SIGNS_A_WORD.get(piece.language, _LETTERS_A_WORD)
