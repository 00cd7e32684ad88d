"""Say whether two written answers say the same: same, different, or unsure, with the rule that told.

The gold answer decides what is asked: its form (a point or an interval), its unit, its decimals. Values that need
algebra go to `values`, which the caller gives; everything else is decided here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pipeline.expression import Expr, Num, Op, Sym, symbols
from pipeline.forms import (
    Assign,
    Equation,
    Form,
    Interval,
    Listing,
    Matrix,
    Ratio,
    Relation,
    Seq,
    SetOf,
    Text,
    Union,
    Value,
    as_interval,
    spread,
)
from pipeline.numeric import CONSTANTS, TooLarge, exact, proportional, value_at
from pipeline.units import Unit, conversion

_SHOWN_DIGITS = 4
_FAR = Fraction(1, 50_000)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`says` is same, different or unsure; `why` the rule."""

    says: Literal["same", "different", "unsure"]
    why: str


Values = Callable[[Expr, Expr], Outcome]
"""How two values are compared that are no plain numbers: gold first."""


def compare(gold: Form, found: Form, *, values: Values) -> Outcome:
    """Whether `found` says what `gold` says. Raises Unreadable where an operation is not understood."""
    return _Comparison(values).of(gold, found)


class _Comparison:
    def __init__(self, values: Values) -> None:
        self._values = values

    def of(self, gold: Form, found: Form) -> Outcome:
        if isinstance(gold, Listing | SetOf):
            return self._collection(gold, found)
        if isinstance(found, Listing):
            return self._from_listing(gold, found)
        if isinstance(gold, Assign) or isinstance(found, Assign):
            return self._assigned(gold, found)
        if isinstance(gold, Equation) or isinstance(found, Equation):
            return self._equation(gold, found)
        if isinstance(gold, Interval | Union) or isinstance(found, Interval | Union):
            return self._region(gold, found)
        if isinstance(gold, Seq):
            return self._sequence(gold, found)
        if isinstance(gold, Matrix):
            return self._matrix(gold, found)
        if isinstance(gold, Ratio) or isinstance(found, Ratio):
            return self._ratio(gold, found)
        if isinstance(gold, Relation):
            return self._relation(gold, found)
        if isinstance(gold, Value) and isinstance(found, Value):
            return self._value(gold, found)
        return _unlike(gold, found)

    def _collection(self, gold: Listing | SetOf, found: Form) -> Outcome:
        if isinstance(found, Assign):
            found = found.form
        if isinstance(gold, Listing) and isinstance(found, Listing):
            named = self._named(gold.items, found.items)
            if named is not None:
                return named
        if isinstance(found, Seq):
            ordered = self._each(_members(gold), found.items)
            return ordered if ordered.says != "different" else Outcome("unsure", "an ordered answer to a set")
        if isinstance(found, Listing | SetOf):
            return self._unordered(_members(gold), _members(found), sets=isinstance(gold, SetOf))
        if isinstance(gold, SetOf) and isinstance(found, Interval | Union):
            return self._region(gold, found)
        if len(gold.items) == 1:
            return self.of(gold.items[0], found)
        if isinstance(found, Text):
            return Outcome("different", "a text where several answers are asked")
        return Outcome("different", "one answer where several are asked")

    def _from_listing(self, gold: Form, found: Listing) -> Outcome:
        """Several answers where gold is one thing: only a point may be written without its brackets."""
        if isinstance(gold, Seq):
            if (gold.opener, gold.closer) not in (("(", ")"), (r"\langle", r"\rangle")):
                return Outcome("different", "no brackets where they matter")
            items = found.items
            if all(isinstance(item, Assign) for item in items):
                ordered = sorted(items, key=lambda item: item.name if isinstance(item, Assign) else "")
                items = tuple(item.form for item in ordered if isinstance(item, Assign))
            return self._each(gold.items, items)
        if isinstance(gold, Union):
            return self._region(gold, Union(found.items))
        if isinstance(gold, Assign):
            return self.of(gold.form, found)
        # Several answers of which all are the one: x = 5, that is 10/2.
        outcomes = [self.of(gold, item) for item in found.items]
        if any(outcome.says == "different" for outcome in outcomes):
            return Outcome("different", "several answers where one is asked")
        return _all(outcomes)

    def _named(self, gold: Sequence[Form], found: Sequence[Form]) -> Outcome | None:
        """x = 1, y = 2 in any order, where both name what they give."""
        ours = {item.name: item.form for item in gold if isinstance(item, Assign)}
        theirs = {item.name: item.form for item in found if isinstance(item, Assign)}
        if len(ours) != len(gold) or len(theirs) != len(found):
            return None
        if ours.keys() != theirs.keys():
            return Outcome("unsure", "other names are given values")
        return _all([self.of(form, theirs[name]) for name, form in ours.items()])

    def _assigned(self, gold: Form, found: Form) -> Outcome:
        if isinstance(gold, Assign) and isinstance(found, Assign):
            outcome = self.of(gold.form, found.form)
            if gold.name != found.name and outcome.says == "same" and len(gold.name) == len(found.name) == 1:
                return Outcome("unsure", f"{found.name} is given the value where {gold.name} is asked")
            return outcome
        if isinstance(gold, Assign):
            if isinstance(found, Equation):
                return self._equation(gold, found)
            return self.of(gold.form, found)
        assert isinstance(found, Assign)
        if isinstance(gold, Equation):
            return self._equation(gold, found)
        return self.of(gold, found.form)

    def _equation(self, gold: Form, found: Form) -> Outcome:
        if isinstance(gold, Value) and isinstance(found, Equation) and not _variables(gold.tree):
            # m + n = 149 where 149 is asked.
            return self._value(gold, Value(found.right))
        one, other = _zero_form(gold), _zero_form(found)
        if one is None or other is None:
            return Outcome("different", "an equation against none")
        same = proportional(one, other)
        if same is None:
            return Outcome("unsure", "the equations can't be computed")
        return Outcome("same" if same else "different", "equation")

    def _region(self, gold: Form, found: Form) -> Outcome:
        ours, theirs = _regions(gold), _regions(found)
        if ours is None or theirs is None:
            if isinstance(gold, Seq) and isinstance(found, Interval):
                return Outcome("unsure", "an interval against a tuple")
            return Outcome("different", "a region against none")
        return self._unordered(ours, theirs, sets=True)

    def _sequence(self, gold: Seq, found: Form) -> Outcome:
        if isinstance(found, Matrix) and (len(found.rows) == 1 or all(len(row) == 1 for row in found.rows)):
            return self._each(gold.items, tuple(item for row in found.rows for item in row))
        if isinstance(found, SetOf):
            return Outcome("unsure", "a set stands against a tuple or an interval")
        if not isinstance(found, Seq):
            return _unlike(gold, found)
        angle = r"\langle" in (gold.opener, found.opener)
        brackets = "".join((gold.opener, gold.closer)), "".join((found.opener, found.closer))
        if len(gold.items) == 2 and not angle and brackets[0] != brackets[1]:
            return Outcome("different", "other brackets")
        return self._each(gold.items, found.items)

    def _matrix(self, gold: Matrix, found: Form) -> Outcome:
        if isinstance(found, Matrix):
            if [len(row) for row in gold.rows] != [len(row) for row in found.rows]:
                return Outcome("different", "another shape")
            return self._each(_cells(gold), _cells(found))
        if isinstance(found, Seq) and all(len(row) == 1 for row in gold.rows):
            return self._each(_cells(gold), found.items)
        if isinstance(found, Seq) and all(isinstance(item, Seq) for item in found.items):
            rows = Matrix(tuple(item.items for item in found.items if isinstance(item, Seq)))
            return self._matrix(gold, rows)
        return _unlike(gold, found)

    def _ratio(self, gold: Form, found: Form) -> Outcome:
        if isinstance(gold, Ratio) and isinstance(found, Ratio):
            outcome = self._each(gold.items, found.items)
            if outcome.says == "different" and _quotient(gold) is not None and _quotient(gold) == _quotient(found):
                return Outcome("unsure", "the same ratio in other numbers")
            return outcome
        ratio, other = (gold, found) if isinstance(gold, Ratio) else (found, gold)
        if isinstance(ratio, Ratio) and len(ratio.items) == 2 and isinstance(other, Value):
            left, right = ratio.items
            if isinstance(left, Value) and isinstance(right, Value):
                quotient = Value(Op("div", (left.tree, right.tree)))
                return self._value(quotient, other) if ratio is gold else self._value(other, quotient)
        return _unlike(gold, found)

    def _relation(self, gold: Relation, found: Form) -> Outcome:
        if not isinstance(found, Relation):
            return Outcome("different", "no relation where one is asked")
        turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
        if found.sign == gold.sign:
            return _all([self._values(gold.left, found.left), self._values(gold.right, found.right)], doubt=True)
        if found.sign == turned[gold.sign]:
            return _all([self._values(gold.left, found.right), self._values(gold.right, found.left)], doubt=True)
        return Outcome("unsure", "relations that are turned differently")

    def _value(self, gold: Value, found: Value) -> Outcome:
        if gold.percent != found.percent:
            return self._percent(gold, found)
        tree = found.tree
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
            return Outcome("unsure", "a percent sign behind a number below 1")
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

    def _each(self, gold: Sequence[Form], found: Sequence[Form]) -> Outcome:
        if len(gold) != len(found):
            return Outcome("different", f"{len(found)} parts where {len(gold)} are asked")
        return _all([self.of(one, other) for one, other in zip(gold, found, strict=True)])

    def _unordered(self, gold: Sequence[Form], found: Sequence[Form], *, sets: bool) -> Outcome:
        """Whether each has a partner of its own; a set says nothing twice."""
        if sets:
            gold, found = self._without_repeats(gold), self._without_repeats(found)
        if len(gold) != len(found):
            return Outcome("different", f"{len(found)} answers where {len(gold)} are asked")
        left, doubt = list(found), False
        for one in gold:
            outcomes = [self.of(one, other) for other in left]
            partner = next((place for place, outcome in enumerate(outcomes) if outcome.says == "same"), None)
            if partner is not None:
                del left[partner]
            elif any(outcome.says == "unsure" for outcome in outcomes):
                doubt = True
            else:
                return Outcome("different", "an answer of the set is missing")
        return Outcome("unsure", "an answer of the set is doubtful") if doubt else Outcome("same", "each of the set")

    def _without_repeats(self, items: Sequence[Form]) -> list[Form]:
        kept: list[Form] = []
        for item in items:
            if not any(item == other or self.of(other, item).says == "same" for other in kept):
                kept.append(item)
        return kept


def _all(outcomes: Sequence[Outcome], *, doubt: bool = False) -> Outcome:
    """All must be the same; with `doubt` a difference in a part is no difference of the whole."""
    for outcome in outcomes:
        if outcome.says == "different":
            return Outcome("unsure" if doubt else "different", outcome.why)
    return next((outcome for outcome in outcomes if outcome.says == "unsure"), Outcome("same", "each part"))


def _members(form: Listing | SetOf) -> list[Form]:
    return [item for inner in form.items for item in spread(inner)]


def _cells(matrix: Matrix) -> list[Form]:
    return [cell for row in matrix.rows for cell in row]


def _regions(form: Form) -> list[Form] | None:
    """The parts of a region: intervals, and points in braces."""
    if isinstance(form, Assign):
        return _regions(form.form)
    if isinstance(form, Union | Listing):
        inner = [_regions(part) for part in (form.parts if isinstance(form, Union) else form.items)]
        return None if any(part is None for part in inner) else [one for part in inner if part for one in part]
    if isinstance(form, SetOf):
        return list(form.items)
    interval = as_interval(form)
    return None if interval is None else [_Ends(interval)]


def _Ends(interval: Interval) -> Seq:  # noqa: N802 it reads as what it makes
    """An interval as a pair with its brackets: an infinite end is never closed."""
    low_open = not interval.low_closed or _is_infinite(interval.low)
    high_open = not interval.high_closed or _is_infinite(interval.high)
    opener, closer = "(" if low_open else "[", ")" if high_open else "]"
    return Seq((Value(interval.low), Value(interval.high)), opener, closer)


def _is_infinite(tree: Expr) -> bool:
    return tree == Sym("oo") or (isinstance(tree, Op) and tree.name == "neg" and tree.args[0] == Sym("oo"))


def _zero_form(form: Form) -> Expr | None:
    """left - right of an equation."""
    if isinstance(form, Equation):
        return Op("add", (form.left, Op("neg", (form.right,))))
    if isinstance(form, Assign) and isinstance(form.form, Value) and form.name.isidentifier():
        return Op("add", (Sym(form.name), Op("neg", (form.form.tree,))))
    return None


def _quotient(form: Form) -> Fraction | None:
    if not isinstance(form, Ratio) or len(form.items) != 2:
        return None
    values = [exact(item.tree) for item in form.items if isinstance(item, Value)]
    if len(values) < 2 or values[0] is None or not values[1]:
        return None
    return values[0] / values[1]


def _bases(gold: Expr, found: Expr) -> Outcome | None:
    """Numbers in a base: the digits and the base are the answer."""
    based = [_is_based(tree) for tree in (gold, found)]
    if not any(based):
        return None
    if all(based):
        return Outcome("same" if exact(gold) == exact(found) and gold == found else "different", "base")
    whole, other = (gold, found) if based[0] else (found, gold)
    assert isinstance(whole, Op)
    if other == whole.args[0]:
        return Outcome("unsure", "the same digits, with the base on one side only")
    return Outcome("unsure" if exact(whole) == exact(other) else "different", "base")


def _is_based(tree: Expr) -> bool:
    return isinstance(tree, Op) and tree.name == "base" and tree.args[1] != Num(Fraction(10))


def _turned(gold: Value, found: Value) -> tuple[Expr, Expr] | None:
    """90 degrees against pi/2: the side with the sign in radians."""
    degree = Unit((("degree", 1),))
    if gold.unit == degree and found.unit is None:
        return Op("degree", (gold.tree,)), found.tree
    if found.unit == degree and gold.unit is None:
        return gold.tree, Op("degree", (found.tree,))
    return None


def _other_units(gold: Unit, found: Unit) -> Outcome:
    names = "/".join(name for name, _ in found.powers), "/".join(name for name, _ in gold.powers)
    if gold.known and found.known and {n for n, _ in gold.powers}.isdisjoint(n for n, _ in found.powers):
        return Outcome("different", f"{names[0]} where {names[1]} is asked")
    return Outcome("unsure", f"{names[0]} where {names[1]} is asked")


def _is_small(tree: Expr) -> bool:
    try:
        value = exact(tree)
    except (TooLarge, ZeroDivisionError):
        return False
    return value is not None and abs(value) < 1 and value.denominator != 1


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
    # More decimals than gold's may be another number; an exact value was meant to be rounded.
    enough = _SHOWN_DIGITS + (1 if found_decimals else 0)
    if _rounds_to(found, gold, decimals) and _digits(gold, decimals) >= enough:
        return Outcome("same", "rounds to the gold answer")
    coarser = found_decimals is not None and 0 < found_decimals < decimals
    if coarser and _rounds_to(gold, found, found_decimals or 0) and _digits(found, found_decimals or 0) >= enough:
        return Outcome("same", "the gold answer rounded")
    if _rounds_to(found, gold, decimals) or abs(found - gold) <= _FAR * abs(gold):
        return Outcome("unsure", "close to a decimal gold answer")
    return None


def _rounds_to(value: Fraction, rounded: Fraction, decimals: int) -> bool:
    return abs(value - rounded) * 2 * 10**decimals <= 1


def _digits(value: Fraction, decimals: int) -> int:
    """Significant digits of a decimal with so many digits after the point."""
    return len(str(abs(round(value * 10**decimals))))


def _computed(tree: Expr) -> Fraction | None:
    import mpmath

    if _variables(tree):
        return None
    try:
        with mpmath.workdps(40):
            value = value_at(tree, {})
            if mpmath.im(value) != 0 or not mpmath.isfinite(value):
                return None
            return Fraction(str(mpmath.nstr(mpmath.re(value), 35, min_fixed=-1, max_fixed=0)))
    except (TooLarge, ZeroDivisionError, OverflowError, ValueError):
        return None


def _variables(tree: Expr) -> set[str]:
    return symbols(tree) - CONSTANTS


def _unlike(gold: Form, found: Form) -> Outcome:
    if isinstance(gold, Text) and isinstance(found, Text):
        if gold.words == found.words or gold.words.replace(" ", "") == found.words.replace(" ", ""):
            return Outcome("same", "text")
        some = set(gold.words.split()) <= set(found.words.split())
        return Outcome("unsure" if some else "different", "text")
    names = type(found).__name__.lower(), type(gold).__name__.lower()
    return Outcome("different", f"a {names[0]} where a {names[1]} is asked")
