"""A value as a tree: numbers as exact fractions, variables, operations."""

from dataclasses import dataclass
from fractions import Fraction

CONSTANTS = frozenset({"pi", "e", "i", "oo"})
"""Names that stand for a number each, oo for infinity."""


@dataclass(frozen=True, slots=True)
class Num:
    """A written number; `decimals` counts its digits after the point, None for an integer."""

    value: Fraction
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Sym:
    """A variable, or one of the constants pi, e, i, oo."""

    name: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operation: add, mul, div, pow, neg, pm, fact, degree, percent, base or a function by its name."""

    name: str
    args: tuple["Num | Sym | Op", ...]


Expr = Num | Sym | Op


CALL = "value of "
"""What the names of operations begin with that are functions nobody has defined: f of x."""
INFINITY = Sym("oo")


def symbols(tree: Expr) -> set[str]:
    """The names of all variables and constants in a tree."""
    if isinstance(tree, Sym):
        return {tree.name}
    return set().union(*(symbols(arg) for arg in tree.args)) if isinstance(tree, Op) else set()


def variables(tree: Expr) -> set[str]:
    """The names of all variables in a tree."""
    return symbols(tree) - CONSTANTS


def renamed(tree: Expr, names: dict[str, str]) -> Expr:
    """The tree with other names for some of its variables."""
    if isinstance(tree, Sym):
        return Sym(names.get(tree.name, tree.name))
    return Op(tree.name, tuple(renamed(arg, names) for arg in tree.args)) if isinstance(tree, Op) else tree
