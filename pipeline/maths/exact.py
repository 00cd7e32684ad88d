"""The exact value of rational arithmetic, within a size that is worth computing."""

import math
from fractions import Fraction
from typing import Any

from pipeline.maths.tree import Expr, Num, Sym

BITS = 40_000
"""The longest numerator or denominator, bits: some 12,000 digits."""


class TooLarge(ValueError):
    """The value has more digits than are worth computing."""


def exact(tree: Expr) -> Fraction | None:
    """The value of a tree that holds only rational arithmetic, or None. Raises TooLarge, ZeroDivisionError."""
    if isinstance(tree, Num):
        return tree.value
    if isinstance(tree, Sym):
        return None
    if tree.name == "base":
        return exact(tree.args[0])
    values = [exact(arg) for arg in tree.args]
    known = [value for value in values if value is not None]
    if len(known) < len(values) or tree.name not in _EXACT:
        return None
    value: Fraction | None = _EXACT[tree.name](*known)
    if value is not None and max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS:
        raise TooLarge("more than 12,000 digits")
    return value


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return None
    if abs(exponent) * max(base.numerator.bit_length(), base.denominator.bit_length()) > BITS:
        raise TooLarge("more than 12,000 digits")
    return Fraction(base ** int(exponent))


def _exact_factorial(n: Fraction) -> Fraction | None:
    if n.denominator != 1 or n < 0:
        return None
    if n > 3000:
        raise TooLarge("a factorial of more than 3,000")
    return Fraction(math.factorial(int(n)))


def _exact_binomial(n: Fraction, k: Fraction) -> Fraction | None:
    if n.denominator != 1 or k.denominator != 1 or k < 0 or n < 0:
        return None
    if n > 5000:
        raise TooLarge("a binomial of more than 5,000")
    return Fraction(math.comb(int(n), int(k)))


_EXACT: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "neg": lambda a: -a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": _exact_power,
    "percent": lambda a: a / 100,
    "fact": _exact_factorial,
    "binom": _exact_binomial,
    "abs": abs,
    "floor": lambda a: Fraction(math.floor(a)),
    "ceil": lambda a: Fraction(math.ceil(a)),
    "max": max,
    "min": min,
}
