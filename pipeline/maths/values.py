"""Compare two values as they are written: units and percent by gold, exact numbers, decimals by their digits."""

from fractions import Fraction

from pipeline.maths.exact import TooLarge, exact
from pipeline.maths.forms import Value
from pipeline.maths.numeric import value_at
from pipeline.maths.outcome import Outcome, Values
from pipeline.maths.tree import Expr, Num, Op, symbols, variables
from pipeline.maths.units import Unit, conversion

_SHOWN_DIGITS = 4
_FAR = Fraction(1, 50_000)


_DEGREES, _RADIANS = Unit((("degree", 1),)), Unit((("radian", 1),))


class ValueComparison:
    """Compares values; what needs algebra goes to `values`."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def of(self, gold: Value, found: Value) -> Outcome:
        if gold.percent != found.percent:
            return self._percent(gold, found)
        tree = found.tree
        if found.unit == _RADIANS and gold.unit == _DEGREES:
            return self._number(Op("degree", (gold.tree,)), found.tree)
        if found.unit == _RADIANS and gold.unit is None and "pi" not in symbols(gold.tree):
            return Outcome("unsure", "radians where no unit is asked")
        if gold.unit is not None and found.unit is not None and gold.unit != found.unit:
            factor = conversion(found.unit, gold.unit)
            if factor is None:
                return _other_units(gold.unit, found.unit)
            tree = Op("mul", (Num(factor), tree))
        elif (turned := _turned(gold, found)) is not None:
            outcome = self._number(gold.tree, found.tree)
            return outcome if outcome.says == "same" else self._number(*turned)
        return self._number(gold.tree, tree)

    def _percent(self, gold: Value, found: Value) -> Outcome:
        bare = self._number(gold.tree, found.tree)
        if gold.percent:
            return bare if bare.says == "same" else self._number(Op("percent", (gold.tree,)), found.tree)
        share = self._number(gold.tree, Op("percent", (found.tree,)))
        if share.says == "same":
            return share
        if bare.says == "same" and _is_small(gold.tree):
            return Outcome("unsure", "a percent sign behind a number of at most 1")
        return bare

    def _number(self, gold: Expr, found: Expr) -> Outcome:
        """Exact numbers first; a decimal gold answer allows what its digits round to."""
        if gold == found:
            return Outcome("same", "number" if isinstance(gold, Num) else "same")
        if (based := _bases(gold, found)) is not None:
            return based
        try:
            one, other = exact(gold), exact(found)
        except (TooLarge, ZeroDivisionError):
            return Outcome("unsure", "too large to compute, or divided by zero")
        decimals = _decimals(gold)
        if one is not None and other is not None:
            if one == other:
                return Outcome("same", "number")
            return _rounded(one, other, decimals, _decimals(found)) or Outcome("different", "number")
        if one is not None and decimals:
            return self._near_decimal(gold, found, one, decimals)
        return self._values(gold, found)

    def _near_decimal(self, gold: Expr, found: Expr, value: Fraction, decimals: int) -> Outcome:
        """An expression against a decimal gold answer: right when it rounds to that."""
        computed = _computed(found)
        if computed is None:
            return self._values(gold, found)
        return _rounded(value, computed, decimals, None) or Outcome("different", "number")


def _bases(gold: Expr, found: Expr) -> Outcome | None:
    """Numbers in a base: the digits and the base are the answer."""
    based = [_is_based(tree) for tree in (gold, found)]
    if not any(based):
        return None
    if all(based):
        return Outcome("same" if exact(gold) == exact(found) and gold == found else "different", "base")
    if all(isinstance(tree, Op) and tree.name == "base" for tree in (gold, found)):
        # One of them says base 10.
        return Outcome("unsure" if exact(gold) == exact(found) else "different", "base")
    whole, other = (gold, found) if based[0] else (found, gold)
    assert isinstance(whole, Op)
    if _same_digits(whole, other):
        return Outcome("unsure", "the same digits, with the base on one side only")
    return Outcome("unsure" if exact(whole) == exact(other) else "different", "base")


def _same_digits(based: Op, other: Expr) -> bool:
    value, base = (exact(arg) for arg in based.args)
    digits = exact(other)
    if digits is None or base is None or digits.denominator != 1 or digits < 0:
        return False
    try:
        return int(str(digits.numerator), int(base)) == value
    except ValueError:
        return False


def _is_based(tree: Expr) -> bool:
    return isinstance(tree, Op) and tree.name == "base" and tree.args[1] != Num(Fraction(10))


def _turned(gold: Value, found: Value) -> tuple[Expr, Expr] | None:
    """90 degrees against pi/2: the side with the sign in radians."""
    if gold.unit == _DEGREES and found.unit is None:
        return Op("degree", (gold.tree,)), found.tree
    if found.unit == _DEGREES and gold.unit is None:
        return gold.tree, Op("degree", (found.tree,))
    return None


def _other_units(gold: Unit, found: Unit) -> Outcome:
    names = str(found), str(gold)
    if gold.known and found.known and {n for n, _ in gold.powers}.isdisjoint(n for n, _ in found.powers):
        return Outcome("different", f"{names[0]} where {names[1]} is asked")
    return Outcome("unsure", f"{names[0]} where {names[1]} is asked")


def _is_small(tree: Expr) -> bool:
    try:
        value = exact(tree)
    except (TooLarge, ZeroDivisionError):
        return False
    return value is not None and abs(value) <= 1 and value != 0


def _decimals(tree: Expr) -> int:
    """Digits after the point of a tree that is one written decimal number; 0 for all else."""
    if isinstance(tree, Op) and tree.name in ("neg", "percent"):
        return _decimals(tree.args[0])
    return tree.decimals or 0 if isinstance(tree, Num) else 0


def _rounded(gold: Fraction, found: Fraction, decimals: int, found_decimals: int | None) -> Outcome | None:
    """Whether one is the other rounded to its digits, of which there must be enough to be no accident.

    `found_decimals` is None for a value that is exact or computed. None for what is simply different.
    """
    if not decimals:
        return None
    # A decimal with other digits may be another number; an exact value was meant to be rounded.
    if not found_decimals and _rounds_to(found, gold, decimals) and _digits(gold, decimals) >= _SHOWN_DIGITS:
        return Outcome("same", "rounds to the gold answer")
    if _rounds_to(found, gold, decimals) or abs(found - gold) <= _FAR * abs(gold):
        return Outcome("unsure", "close to a decimal gold answer")
    return None


def _rounds_to(value: Fraction, rounded: Fraction, decimals: int) -> bool:
    return bool(abs(value - rounded) * 2 * 10**decimals <= 1)


def _digits(value: Fraction, decimals: int) -> int:
    """Significant digits of a decimal with so many digits after the point."""
    return len(str(abs(round(value * 10**decimals))))


def _computed(tree: Expr) -> Fraction | None:
    import mpmath

    if variables(tree):
        return None
    try:
        with mpmath.workdps(40):
            value = value_at(tree, {})
            if mpmath.im(value) != 0 or not mpmath.isfinite(value):
                return None
            return Fraction(str(mpmath.nstr(mpmath.re(value), 35, min_fixed=-1, max_fixed=0)))
    except (TooLarge, ZeroDivisionError, OverflowError, ValueError):
        return None
