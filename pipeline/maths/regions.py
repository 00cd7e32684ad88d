"""Intervals and what is made of them: inequalities, unions, differences."""

import itertools
from dataclasses import replace
from fractions import Fraction

from pipeline.maths.exact import exact
from pipeline.maths.forms import LINE, Assign, Form, Interval, Listing, Relation, Seq, SetOf, Union, Value, as_interval
from pipeline.maths.tokens import Token, Unreadable
from pipeline.maths.tree import INFINITY, Expr, Op, Sym, variables


def half_line(left: Expr, sign: str, right: Expr) -> Form:
    if isinstance(right, Sym) and right.name not in ("pi", "e", "i", "oo") and not isinstance(left, Sym):
        left, right = right, left
        sign = {"<": ">", ">": "<"}[sign[0]] + sign[1:]
    if isinstance(left, Op) and left.name == "abs" and isinstance(left.args[0], Sym) and not variables(right):
        closed = sign.endswith("=")
        inside = Interval(Op("neg", (right,)), right, closed, closed)
        return (
            inside if sign[0] == "<" else without(LINE, replace(inside, low_closed=not closed, high_closed=not closed))
        )
    if not isinstance(left, Sym) or variables(right):
        return Relation(sign, left, right)
    closed = sign.endswith("=")
    if sign[0] == ">":
        return Interval(right, INFINITY, closed, high_closed=False)
    return Interval(Op("neg", (INFINITY,)), right, low_closed=False, high_closed=closed)


def without(whole: Form, removed: Form) -> Form:
    """An interval without points or without an interval inside it, as a union."""
    if not isinstance(whole, Interval):
        raise Unreadable("a difference of sets that is no interval without a part")
    if isinstance(removed, Interval):
        low = Interval(whole.low, removed.low, whole.low_closed, not removed.low_closed)
        return Union((low, Interval(removed.high, whole.high, not removed.high_closed, whole.high_closed)))
    if not isinstance(removed, SetOf) or not all(isinstance(item, Value) for item in removed.items):
        raise Unreadable("a difference of sets that is no interval without points")
    points = sorted((item.tree for item in removed.items if isinstance(item, Value)), key=_exactly)
    ends = [whole.low, *points, whole.high]
    last = len(points)
    return Union(
        tuple(
            Interval(low, high, place == 0 and whole.low_closed, place == last and whole.high_closed)
            for place, (low, high) in enumerate(itertools.pairwise(ends))
        )
    )


def _exactly(tree: Expr) -> Fraction:
    value = exact(tree)
    if value is None:
        raise Unreadable("a point whose place is not known")
    return value


def regions(form: Form) -> list[Form] | None:
    """The parts of a region: intervals, and points in braces."""
    if isinstance(form, Assign):
        return regions(form.form)
    if isinstance(form, Union | Listing):
        inner = [regions(part) for part in (form.parts if isinstance(form, Union) else form.items)]
        return None if any(part is None for part in inner) else [one for part in inner if part for one in part]
    if isinstance(form, SetOf):
        return list(form.items)
    interval = as_interval(form)
    return None if interval is None else [ends(interval)]


def ends(interval: Interval) -> Seq:
    """An interval as a pair with its brackets: an infinite end is never closed."""
    low_open = not interval.low_closed or _is_infinite(interval.low)
    high_open = not interval.high_closed or _is_infinite(interval.high)
    opener, closer = "(" if low_open else "[", ")" if high_open else "]"
    return Seq((Value(interval.low), Value(interval.high)), opener, closer)


def _is_infinite(tree: Expr) -> bool:
    return tree == Sym("oo") or (isinstance(tree, Op) and tree.name == "neg" and tree.args[0] == Sym("oo"))


def of_variable(parts: list[list[Token]], form: Form) -> Form:
    """A region with the name of its variable: x > 2 is not y > 2."""
    names = [part[0].text for part in parts if len(part) == 1 and part[0].kind == "word" and len(part[0].text) == 1]
    return Assign(names[0], form) if isinstance(form, Interval | Union) and len(names) == 1 else form


def unnamed(form: Form) -> Form:
    """What is given to a name, without the name."""
    return form.form if isinstance(form, Assign) else form


def _hole(region: Union) -> Expr | None:
    """The one point that a line lacks."""
    parts = [part for part in region.parts if isinstance(part, Interval)]
    if len(parts) != 2 or parts[0].low != LINE.low or parts[1].high != LINE.high or parts[0].high != parts[1].low:
        return None
    return parts[0].high


def between_regions(items: list[Form]) -> Form | None:
    """x >= 2 and x < 5: what two regions have in common."""
    if len(items) != 2 or not all(isinstance(item, Interval | Union) for item in items):
        return None
    region = [item for item in items if isinstance(item, Interval)]
    holes = [item for item in items if isinstance(item, Union)]
    if len(region) == len(holes) == 1 and (hole := _hole(holes[0])) is not None:
        # x >= -1 and x != 2
        return without(region[0], SetOf((Value(hole),)))
    up = [item for item in items if isinstance(item, Interval) and item.high == INFINITY]
    down = [item for item in items if isinstance(item, Interval) and item.low == LINE.low]
    if len(up) != 1 or len(down) != 1 or up == down:
        return None
    return Interval(up[0].low, down[0].high, up[0].low_closed, down[0].high_closed)
