"""Say whether two values are equal by computing them: exactly for rationals, else in many digits, at random points.

This is the check that is independent of computer algebra. Two different analytic expressions agree at a random point
with probability 0, and here they must at several, small and large, in 500 digits (the argument of Schwartz and Zippel).
"""

import math
import random
from fractions import Fraction
from typing import Any

from pipeline.maths.exact import BITS, TooLarge, exact
from pipeline.maths.tokens import Unreadable
from pipeline.maths.tree import CALL, Expr, Num, Op, Sym, symbols, variables

_DIGITS = 500
_FINER = 2500
_SPARE = 100
_LARGEST_EXPONENT = 10**6
_SCALES = (1, 1, -1, 0, 100, -1, 1, 0, -100, 30, -0.001, 0.001)
_ENOUGH = 3
_STEPS = frozenset({"abs", "min", "max", "floor", "ceil", "gcd", "lcm", "sgn"})


def same_value(a: Expr, b: Expr) -> bool | None:
    """Whether two trees have the same value wherever both have a real (or, with i in one of them, complex) one.

    None when that can't be told: too large, nowhere defined, or too few points at which both are. Raises Unreadable for
    an operation that it does not know.
    """
    try:
        one, other = exact(a), exact(b)
        if one is not None and other is not None:
            return one == other
        names = sorted(variables(a) | variables(b))
        complex_too = "i" in symbols(a) | symbols(b)
        return _at_points(a, b, names, complex_too=complex_too)
    except (TooLarge, ZeroDivisionError, OverflowError):
        return None


def proportional(a: Expr, b: Expr) -> bool | None:
    """Whether a = c b for one constant c that is not 0: two equations a = 0 and b = 0 then say the same."""
    import mpmath

    names = sorted(variables(a) | variables(b))
    ratios = []
    try:
        with mpmath.workdps(_DIGITS):
            for point in _points(names):
                one, other = value_at(a, point), value_at(b, point)
                if abs(other) > mpmath.mpf(10) ** (_SPARE - _DIGITS) and mpmath.isfinite(one):
                    ratios.append(one / other)
            if len(ratios) < _ENOUGH:
                return None
            return bool(ratios[0] != 0) and all(_near(ratio, ratios[0]) for ratio in ratios)
    except (TooLarge, ZeroDivisionError, OverflowError, ValueError):
        return None


def _at_points(a: Expr, b: Expr, names: list[str], *, complex_too: bool) -> bool | None:
    import mpmath

    usable = 0
    with mpmath.workdps(_DIGITS):
        for point in _points(names):
            try:
                one, other = value_at(a, point), value_at(b, point)
            except (ZeroDivisionError, ValueError, OverflowError):
                # A pole, outside the domain, or too large, for one of them.
                continue
            if mpmath.isnan(one) or mpmath.isnan(other):
                continue
            if names and not complex_too and not (_is_real(one) and _is_real(other)):
                continue
            if not _near(one, other) and not _shrinks(a, b, point, one - other):
                return False
            usable += 1
    return True if usable >= (_ENOUGH if names else 1) else None


def _points(names: list[str]) -> list[dict[str, Any]]:
    """Points to look at: of all sizes, of both signs, and integers; always the same. One, without variables."""
    import mpmath

    if not names:
        return [{}]
    rng = random.Random(len(names))
    points = []
    for scale in _SCALES:
        if scale == 0:
            point = {name: mpmath.mpf(rng.randint(2, 25)) for name in names}
        else:
            point = {name: mpmath.mpf(scale) * rng.randint(10**9, 3 * 10**9) / 10**9 for name in names}
        points.append(point)
    return points


def _is_real(value: Any) -> bool:
    import mpmath

    return bool(abs(mpmath.im(value)) <= abs(value) * mpmath.mpf(10) ** (_SPARE - _DIGITS))


def _near(one: Any, other: Any) -> bool:
    import mpmath

    if mpmath.isinf(one) or mpmath.isinf(other):
        return bool(one == other)
    return bool(abs(one - other) <= max(abs(one), abs(other)) * mpmath.mpf(10) ** (_SPARE - _DIGITS))


def _shrinks(a: Expr, b: Expr, point: dict[str, Any], difference: Any) -> bool:
    """Whether a difference is only rounding, as of 0 and the cosine of a right angle: more digits shrink it."""
    import mpmath

    if not mpmath.isfinite(difference):
        return False
    # Without cancellation, or with much of it, the value itself says how large rounding can be.
    with mpmath.workdps(_FINER):
        one, other = value_at(a, point), value_at(b, point)
        finer = abs(one - other)
        return bool(finer <= abs(difference) * mpmath.mpf(10) ** (_DIGITS - _FINER + _SPARE))


def has_steps(tree: Expr) -> bool:
    """Whether a tree is put together of pieces, so that points between them may be missed."""
    if not isinstance(tree, Op):
        return False
    even = tree.name == "root" and tree.args[1] == Num(Fraction(2)) and bool(variables(tree.args[0]))
    return even or tree.name in _STEPS or any(has_steps(arg) for arg in tree.args)


def value_at(tree: Expr, point: dict[str, Any]) -> Any:
    """The value of a tree in mpmath's present precision, its variables at `point`."""
    import mpmath

    if isinstance(tree, Num):
        if max(tree.value.numerator.bit_length(), tree.value.denominator.bit_length()) > BITS:
            raise TooLarge("more than 12,000 digits")
        return mpmath.mpf(tree.value.numerator) / tree.value.denominator
    if isinstance(tree, Sym):
        return _symbol(tree.name, point)
    if tree.name == "base":
        return value_at(tree.args[0], point)
    values = [value_at(arg, point) for arg in tree.args]
    if any(mpmath.isinf(value) for value in values) and tree.name not in ("neg", "add"):
        raise ValueError("infinity is no number to compute with")
    return _apply(tree.name, values)


def _symbol(name: str, point: dict[str, Any]) -> Any:
    import mpmath

    if name in point:
        return point[name]
    return {"pi": mpmath.pi, "e": mpmath.e, "i": mpmath.mpc(0, 1), "oo": mpmath.inf}[name] * 1


def _apply(name: str, values: list[Any]) -> Any:
    import mpmath

    if name.startswith(CALL):
        return _unknown_function(name, values)
    if name in _PLAIN:
        return _PLAIN[name](*values)
    if name == "pow":
        return _power(*values)
    if name == "root":
        return _root(*values)
    if name in ("fact", "binom"):
        if any(abs(value) > 10_000 for value in values):
            raise TooLarge("a factorial of more than 10,000")
        return mpmath.factorial(*values) if name == "fact" else mpmath.binomial(*values)
    if name == "degree":
        return values[0] * mpmath.pi / 180
    if name in ("ln", "log", "exp"):
        return _log_or_exp(name, values)
    if name in ("floor", "ceil", "gcd", "lcm", "max", "min", "sgn"):
        return _on_reals(name, values)
    if name not in _MPMATH or len(values) != 1:
        raise Unreadable(f"{name} is not understood")
    if abs(values[0]) > 10**15:
        raise TooLarge("a function of a huge number")
    return getattr(mpmath, _MPMATH[name])(values[0])


def _unknown_function(name: str, values: list[Any]) -> Any:
    """Some function that is like no other: always the same for a name, no sum, product or constant of its arguments."""
    import mpmath

    rng = random.Random(name)
    value = mpmath.mpf(rng.randint(2, 9)) / 7
    for argument in values:
        a, b = (mpmath.mpf(rng.randint(10**6, 2 * 10**6)) / 10**6 for _ in range(2))
        value = value + mpmath.sin(a * argument + b) + a * argument
    return value


def _power(base: Any, exponent: Any) -> Any:
    import mpmath

    if abs(exponent) > _LARGEST_EXPONENT:
        raise TooLarge("an exponent of more than a million")
    if base == 0 and mpmath.re(exponent) < 0:
        raise ZeroDivisionError
    return mpmath.power(base, exponent)


def _root(value: Any, degree: Any) -> Any:
    import mpmath

    if degree == 0 or abs(degree) > 1000:
        raise TooLarge("a root of that degree")
    if mpmath.im(value) == 0 and mpmath.re(value) < 0 and degree == int(mpmath.re(degree)) and int(degree) % 2 == 1:
        # School's cube root of a negative number is real.
        return -mpmath.power(-value, 1 / degree)
    return mpmath.power(value, 1 / degree)


def _log_or_exp(name: str, values: list[Any]) -> Any:
    import mpmath

    if name == "exp":
        return _power(mpmath.e * 1, values[0])
    if values[0] == 0:
        raise ZeroDivisionError
    if len(values) == 2:
        if values[1] in (0, 1):
            raise ZeroDivisionError
        return mpmath.log(values[0]) / mpmath.log(values[1])
    return mpmath.log(values[0])


def _on_reals(name: str, values: list[Any]) -> Any:
    import mpmath

    if any(mpmath.im(value) != 0 for value in values):
        raise ValueError(f"{name} of a complex number")
    if name in ("max", "min"):
        return max(values) if name == "max" else min(values)
    if name in ("gcd", "lcm"):
        if any(value != int(value) or abs(value) > 10**18 for value in values):
            raise ValueError(f"{name} of no integer")
        whole = [int(value) for value in values]
        return mpmath.mpf(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))
    return {"floor": mpmath.floor, "ceil": mpmath.ceil, "sgn": mpmath.sign}[name](*values)


_PLAIN: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "neg": lambda a: -a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "percent": lambda a: a / 100,
    "abs": abs,
    "lg": lambda a: _log_or_exp("log", [a, 10]),
}


_MPMATH = {
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "cot": "cot",
    "sec": "sec",
    "csc": "csc",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arccot": "acot",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
}
