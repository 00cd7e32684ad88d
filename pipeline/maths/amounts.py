"""Values as they are written: with a unit, a currency, a percent sign, a plus-minus."""

from dataclasses import replace
from fractions import Fraction

from pipeline.maths.forms import LINE, Form, Listing, SetOf, Value
from pipeline.maths.parser import parse
from pipeline.maths.tokens import Token, Unreadable
from pipeline.maths.tree import Expr, Num, Op
from pipeline.maths.units import Unit, split_unit
from pipeline.maths.vocabulary import COUNTS, HEDGES

_CURRENCIES = {"$": "dollar", "£": "gbp", "€": "euro", "¥": "yen", "₹": "rupee"}


def amount(found: list[Token], text: str) -> Form:
    """The value that tokens say, with its unit, currency and percent sign; two values where a plus-minus stands."""
    if len(found) == 1 and found[0].text == r"\emptyset":
        return SetOf(())
    if [token.text for token in found] == [r"\mathbb", "{", "R", "}"]:
        return LINE
    money = None
    signs = [token.text for token in found if token.text in _CURRENCIES]
    if len(signs) == 1:
        money = Unit(((_CURRENCIES[signs[0]], 1),))
        found = [token for token in found if token.text not in _CURRENCIES]
    value, unit = split_unit(found)
    percent = len(value) > 1 and value[-1].text == "%"
    if percent:
        value = value[:-1]
    if unit is not None and unit.powers in ((("percent", 1),), (("percentage", 1),)):
        percent, unit = True, None
    tree = parse(value)
    if unit is not None:
        tree, unit = _counted(tree, unit)
    if isinstance(tree, Op) and tree.name == "degree":
        # 20 degrees C: the scale is the unit.
        tree, unit = tree.args[0], unit or Unit((("degree", 1),))
    return _with_sign(Value(tree, unit or money, percent, text))


def _counted(tree: Expr, unit: Unit) -> tuple[Expr, Unit | None]:
    """18 million is a number; 18 or more is not one."""
    names = [name for name, _ in unit.powers]
    if not HEDGES.isdisjoint(names):
        raise Unreadable("a number that is hedged: " + " ".join(names))
    for name in names:
        if name in COUNTS:
            tree = Op("mul", (tree, Num(Fraction(COUNTS[name]))))
    rest = tuple(power for power in unit.powers if power[0] not in COUNTS)
    return tree, Unit(rest) if rest else None


def _with_sign(value: Value) -> Form:
    """A value with a plus-minus on top is two values."""
    found = _both(value.tree)
    if found is None:
        return value
    return Listing(tuple(replace(value, tree=tree) for tree in found))


def _both(tree: Expr) -> tuple[Expr, Expr] | None:
    if not isinstance(tree, Op):
        return None
    if tree.name == "pm":
        left, right = tree.args
        return Op("add", (left, right)), Op("add", (left, Op("neg", (right,))))
    for place, arg in enumerate(tree.args):
        inner = _both(arg)
        if inner is not None:
            return tuple(  # type: ignore[return-value]
                Op(tree.name, (*tree.args[:place], one, *tree.args[place + 1 :])) for one in inner
            )
    return None
