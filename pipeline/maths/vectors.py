"""Vectors that are written as sums of the unit vectors i, j and k."""

from fractions import Fraction

from pipeline.maths.forms import Value
from pipeline.maths.tree import Expr, Num, Op, Sym, symbols

_NAMES = ("i", "j", "k")


def in_unit_vectors(tree: Expr, dimensions: int) -> tuple[Value, ...] | None:
    """The coordinates of 3i - 4j + k; None for what is no such sum, or has more dimensions."""
    names = symbols(tree)
    if not 2 <= dimensions <= 3 or not names & set(_NAMES) or not names <= {*_NAMES[:dimensions], "pi", "e"}:
        return None
    if not _is_linear(tree):
        return None
    points = [{name: Fraction(name == one) for name in _NAMES} for one in _NAMES[:dimensions]]
    return tuple(Value(_at(tree, point)) for point in points)


def _is_linear(tree: Expr) -> bool:
    """A sum of terms that hold one unit vector each, once."""
    if isinstance(tree, Op) and tree.name in ("add", "neg"):
        return all(_is_linear(arg) for arg in tree.args)
    return _degree(tree) == 1


def _degree(tree: Expr) -> int | None:
    """How many unit vectors a term multiplies; None where one stands in something else than a product."""
    if isinstance(tree, Sym):
        return int(tree.name in _NAMES)
    if isinstance(tree, Num) or not symbols(tree) & set(_NAMES):
        return 0
    if tree.name == "mul":
        degrees = [_degree(arg) for arg in tree.args]
        return None if None in degrees else sum(degree or 0 for degree in degrees)
    if tree.name == "div" and not symbols(tree.args[1]) & set(_NAMES):
        return _degree(tree.args[0])
    return None


def _at(tree: Expr, point: dict[str, Fraction]) -> Expr:
    if isinstance(tree, Sym) and tree.name in point:
        return Num(point[tree.name])
    return Op(tree.name, tuple(_at(arg, point) for arg in tree.args)) if isinstance(tree, Op) else tree
