"""Words in an answer: names on the left of an equation, and answers that are texts."""

import re
from collections.abc import Sequence
from fractions import Fraction

from pipeline.maths.forms import LINE, Form, SetOf, Text, Value
from pipeline.maths.parser import parse
from pipeline.maths.tokens import Token, Unreadable
from pipeline.maths.tree import Num, Sym
from pipeline.maths.vocabulary import ALIASES, CONSTANT_NAMES, FUNCTIONS, GREEK, NUMBER_WORDS, TENS

_EMPTY = frozenset(
    {"no solution", "no solutions", "no real solution", "no real solutions", "empty set", "the empty set"}
)
_SHORT = frozenset({"yes", "no", "true", "not", "all", "odd", "sum", "red"})
_REALS = frozenset({"all real numbers", "all reals", "the real numbers", "all real x"})


def name_of(found: list[Token]) -> str | None:
    """The name on the left of an equation: x, f(x), x_1, \\angle ABC, \\text{Area}; None for anything else."""
    words = [token.text for token in found]
    if any(token.kind in ("num", "begin", "end") for token in found[:1]) or any(w in "+-*/^" for w in words):
        return None
    if (
        found[0].kind == "text"
        or found[0].text
        in (
            r"\angle",
            r"\triangle",
            r"\overline",
            r"\overrightarrow",
            r"\mathbf",
        )
        or (found[0].text == found[-1].text == "|" and all(token.text.isupper() for token in found[1:-1]))
    ):
        return " ".join(words).lower()
    if len(found) == 1 and found[0].kind in ("word", "cmd"):
        return None if words[0] in (r"\pi", "pi", "e", "i", r"\infty", r"\emptyset") else words[0].lstrip("\\")
    try:
        tree = parse(found)
    except Unreadable:
        return None
    if isinstance(tree, Sym):
        return tree.name if tree.name not in ("pi", "e", "oo") else None
    if found[0].kind in ("word", "cmd") and len(found) > 3 and words[1] == "(" and words[-1] == ")":
        # f(x), P(A), f(x, y)
        return "".join(words)
    return None


def only_words(found: Sequence[Token]) -> str | None:
    if not all(token.kind in ("word", "text") or token.text in ("'", '"', ".", "-", "!", ",", "?") for token in found):
        return None
    words = [token.text for token in found if token.kind in ("word", "text")]
    if len(words) > 1 and all(len(word) == 1 for word in words):
        return None
    if not words or (all(token.kind == "word" for token in found) and all(len(word) <= 3 for word in words)):
        # x, ab, pi: variables and constants; "no" and "yes" are words.
        plain = " ".join(words).lower()
        return plain if plain in NUMBER_WORDS or plain in _SHORT else None
    if len(words) == 1 and (len(words[0]) == 1 or is_known(words[0])):
        return None
    return " ".join(token.text for token in found)


def is_known(word: str) -> bool:
    """Whether a word is a name of mathematics: theta, arcsin, infinity."""
    return word in FUNCTIONS or word in GREEK or word in CONSTANT_NAMES or word in ALIASES


def said(words: str) -> Form:
    folded = " ".join(re.sub(r"[^\w\s'-]", " ", words.lower()).split())
    if folded in _EMPTY:
        return SetOf(())
    if folded in _REALS:
        return LINE
    if (number := _number_word(folded)) is not None:
        return Value(Num(Fraction(number)), text=folded)
    for article in ("the ", "a ", "an "):
        folded = folded.removeprefix(article)
    return Text(folded)


def _number_word(words: str) -> int | None:
    """five, twenty-one."""
    tens, *rest = words.replace("-", " ").split() or [""]
    ones = " ".join(rest)
    if not ones:
        return NUMBER_WORDS.get(tens, TENS.get(tens))
    return TENS[tens] + NUMBER_WORDS[ones] if tens in TENS and 0 < NUMBER_WORDS.get(ones, 0) < 10 else None


def is_point(found: list[Token]) -> bool:
    """Names in brackets: (x, y)."""
    return (
        len(found) > 4 and found[0].text == "(" and found[-1].text == ")" and any(token.text == "," for token in found)
    )
