"""Parts of forms that a comparison looks at: members, cells, names, both sides of an equation."""

import re
from fractions import Fraction

from pipeline.maths.exact import exact
from pipeline.maths.forms import Assign, Equation, Form, Listing, Matrix, Ratio, SetOf, Value, spread
from pipeline.maths.tree import Expr, Op, Sym, variables
from pipeline.maths.vocabulary import GREEK

_WORD_NAME = re.compile(r"[A-Za-z]{4,}|\s")
_FUNCTION_NAME = re.compile(r"[A-Za-z]\([a-z]\)")


def is_sum(tree: Expr) -> bool:
    """Whether it is a sum of different variables, as m + n is: what a contest asks the value of."""
    if isinstance(tree, Op) and tree.name == "add":
        left, right = tree.args
        return is_sum(left) and is_sum(right) and variables(left).isdisjoint(variables(right))
    return isinstance(tree, Sym)


def other_names(gold: str, found: str) -> bool:
    """Whether two names on the left are of different things; words such as `area`, and f(x) for y, are not."""
    # x_1 and x_2 are the solutions of an equation in x.
    if gold in (found, found.partition("_")[0]) or any(
        _WORD_NAME.search(name) and name not in GREEK for name in (gold, found)
    ):
        return False
    functions = [_FUNCTION_NAME.fullmatch(name) is not None for name in (gold, found)]
    return not (all(functions) or (any(functions) and "y" in (gold, found)))


def names_several(form: Listing | SetOf) -> bool:
    """Whether values are given to more than one name."""
    return len({item.name for item in form.items if isinstance(item, Assign)}) > 1


def members(form: Listing | SetOf) -> list[Form]:
    """The answers in a set or a list of several."""
    return [item for inner in form.items for item in spread(inner)]


def cells(matrix: Matrix) -> list[Form]:
    """The cells of a matrix, row by row."""
    return [cell for row in matrix.rows for cell in row]


def zero_form(form: Form) -> Expr | None:
    """left - right of an equation."""
    if isinstance(form, Equation):
        return Op("add", (form.left, Op("neg", (form.right,))))
    if isinstance(form, Assign) and isinstance(form.form, Value) and form.name.isidentifier():
        return Op("add", (Sym(form.name), Op("neg", (form.form.tree,))))
    return None


def ratio_of(form: Form) -> Fraction | None:
    """What a ratio of two numbers comes to."""
    if not isinstance(form, Ratio) or len(form.items) != 2:
        return None
    values = [exact(item.tree) for item in form.items if isinstance(item, Value)]
    if len(values) < 2 or values[0] is None or not values[1]:
        return None
    return values[0] / values[1]
