r"""Units behind a value: `10 \text{ cm}^2`, `18 dollars per day`, `90^\circ`; what they are and how they convert."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipeline.maths.tokens import Token

_TABLE = """
length  mm 1/1000  millimeter millimetre
length  cm 1/100  centimeter centimetre
length  m 1  meter metre
length  km 1000  kilometer kilometre
length  in 127/5000  inch inche
length  ft 381/1250  foot feet
length  yd 1143/1250  yard
length  mi 201168/125  mile
mass  mg 1/1000  milligram
mass  g 1  gram gm
mass  kg 1000  kilogram kilo
mass  lb 45359237/100000  pound
mass  oz 45359237/1600000  ounce
time  s 1  second sec
time  min 60  minute
time  h 3600  hour hr
time  day 86400  d
time  week 604800  wk
month  month 1  mo
month  year 12  yr
volume  ml 1/1000  milliliter millilitre
volume  l 1  liter litre
money  dollar 1  usd buck
money  cent 1/100  ¢
angle  degree 1  deg °
radian  radian 1  rad
"""
_UNITS = {
    alias: (name, dimension, Fraction(factor))
    for dimension, name, factor, *aliases in (line.split() for line in _TABLE.strip().splitlines())
    for alias in (name, *aliases)
}
_SPACE = re.compile(r"\\[,;:! ]|[{}()'\",]")
_POWER = re.compile(r"\^\s*(-?)\s*(\d)")
_WORD = re.compile(r"-?\d+|[^\W\d_]+|/|[°¢%]")
_SQUARE, _CUBE = frozenset({"square", "sq"}), frozenset({"cubic", "cu"})
_FILLER = frozenset({"of", "the", "a", "an", "total", "each", "long", "wide", "high", "tall", "away", "old", "units"})


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as powers of its parts: km/h is {km: 1, h: -1}. Words that are no known unit are parts of their own."""

    powers: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return " ".join(name if power == 1 else f"{name}^{power}" for name, power in self.powers)

    @property
    def known(self) -> bool:
        """Whether every part is in the table."""
        return all(name in _UNITS for name, _ in self.powers)


def split_unit(tokens: Sequence[Token]) -> tuple[list[Token], Unit | None]:
    """The tokens of the value and the unit that ends them, if one does."""
    start = len(tokens)
    while start > 1 and _in_unit(tokens, start - 1):
        start -= 1
    while start < len(tokens) and not _begins(tokens[start]):
        start += 1
    # The index of 52_{eight} is inside braces, no unit behind the value.
    open_braces = sum((token.text == "{") - (token.text == "}") for token in tokens[:start])
    if start == len(tokens) or open_braces:
        return list(tokens), None
    return list(tokens[:start]), _unit(tokens[start:])


def conversion(found: Unit, gold: Unit) -> Fraction | None:
    """What a value in `found` is multiplied with to be one in `gold`; None where they do not measure the same."""
    if found == gold:
        return Fraction(1)
    if not (found.known and gold.known) or _dimension(found) != _dimension(gold):
        return None
    return _factor(found) / _factor(gold)


def is_unit(word: str) -> bool:
    """Whether a word alone is a unit in the table."""
    return _singular(word.lower()) in _UNITS


def _begins(token: Token) -> bool:
    return token.kind == "text" or (token.kind == "word" and (len(token.text) > 3 or _known_word(token.text)))


def _known_word(word: str) -> bool:
    return len(word) > 1 and (is_unit(word) or word.lower() in _SQUARE | _CUBE)


def _in_unit(tokens: Sequence[Token], at: int) -> bool:
    token = tokens[at]
    if token.text.lower() in ("and", "or", "pi"):
        return False
    if token.kind in ("word", "text"):
        # One letter is a variable, but for the h of km/h.
        return _begins(token) or token.text.lower() in _FILLER | {"per"} or tokens[at - 1].text in ("/", "per")
    if token.text in ("/", "."):
        return True
    after_unit = at >= 1 and (tokens[at - 1].text == "^" or tokens[at - 1].text == "{")
    if token.kind == "num" and token.text in ("1", "2", "3") and (after_unit or tokens[at - 1].text == "-"):
        return True
    return token.text in ("^", "{", "}", "-") and any(_begins(t) for t in tokens[max(0, at - 4) : at])


def _unit(tokens: Sequence[Token]) -> Unit | None:
    powers: dict[str, int] = {}
    sign, next_power, last = 1, 1, ""
    words = _words(tokens)
    for word in words:
        if word in ("/", "per"):
            sign = -1
        elif word in _SQUARE or word in _CUBE:
            next_power = 2 if word in _SQUARE else 3
        elif word.lstrip("-").isdigit():
            if last:
                powers[last] *= int(word)
        else:
            last = _name(word)
            # Alone it is an ampere, between words an article.
            if last and (last not in _FILLER or len(words) == 1):
                powers[last] = powers.get(last, 0) + sign * next_power
                next_power = 1
    return Unit(tuple(sorted(powers.items()))) if powers else None


def _words(tokens: Sequence[Token]) -> list[str]:
    """The words of a unit, a slash, and the digits of a power with its sign."""
    text = _SPACE.sub(" ", " ".join(token.text for token in tokens).lower()).replace(".", "")
    return _WORD.findall(_POWER.sub(r" \1\2 ", text))


def _name(word: str) -> str:
    word = _singular(word)
    return _UNITS[word][0] if word in _UNITS else word


def _singular(word: str) -> str:
    if word in _UNITS:
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word


def _dimension(unit: Unit) -> dict[str, int]:
    total: dict[str, int] = {}
    for name, power in unit.powers:
        dimension = _UNITS[name][1]
        total[dimension] = total.get(dimension, 0) + power
    return {name: power for name, power in total.items() if power}


def _factor(unit: Unit) -> Fraction:
    factor = Fraction(1)
    for name, power in unit.powers:
        factor *= _UNITS[name][2] ** power
    return factor
