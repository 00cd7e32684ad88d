"""What an answer says: a value with its unit, a tuple, an interval, a set, a matrix, an equation, a text or several."""

from dataclasses import dataclass, field

from pipeline.maths.tree import INFINITY, Expr, Op
from pipeline.maths.units import Unit


@dataclass(frozen=True, slots=True)
class Value:
    """One value, with the unit, percent sign or degree sign that it was written with. `text` is as it was written."""

    tree: Expr
    unit: Unit | None = None
    percent: bool = False
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Seq:
    """Things in order in brackets; with two of them and these brackets it may be meant as an interval."""

    items: tuple["Form", ...]
    opener: str
    closer: str


@dataclass(frozen=True, slots=True)
class SetOf:
    """Things in braces: their order says nothing."""

    items: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Several answers, with commas or words between them."""

    items: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers between two ends."""

    low: Expr
    high: Expr
    low_closed: bool
    high_closed: bool


@dataclass(frozen=True, slots=True)
class Union:
    """Intervals and sets together."""

    parts: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of values."""

    rows: tuple[tuple["Form", ...], ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """`name` = form."""

    name: str
    form: "Form"


@dataclass(frozen=True, slots=True)
class Equation:
    """left = right, where left is no plain name."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Relation:
    """left < right, or another order, that is no interval of one variable."""

    sign: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Residue:
    """A value modulo another one."""

    value: Expr
    modulus: Expr


@dataclass(frozen=True, slots=True)
class Family:
    """What a form gives for every integer put for its parameter, which has the one name here that no answer writes."""

    form: "Form"


@dataclass(frozen=True, slots=True)
class Ratio:
    """a : b, a time or a ratio."""

    items: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Words, folded: no case, no punctuation around."""

    words: str


Form = (
    Value
    | Seq
    | SetOf
    | Listing
    | Interval
    | Union
    | Matrix
    | Assign
    | Equation
    | Relation
    | Residue
    | Family
    | Ratio
    | Text
)


LINE = Interval(Op("neg", (INFINITY,)), INFINITY, low_closed=False, high_closed=False)
"""All real numbers."""


def spread(form: Form) -> list[Form]:
    """The answers of a form that says several, or the form itself."""
    if isinstance(form, Listing):
        return [item for inner in form.items for item in spread(inner)]
    if isinstance(form, Assign) and isinstance(form.form, Listing):
        return [Assign(form.name, item) for item in form.form.items]
    return [form]


def as_interval(form: Form) -> Interval | None:
    """The interval that a form may be meant as: (1, 2), [1, 2), x > 3."""
    if isinstance(form, Interval):
        return form
    if (
        not isinstance(form, Seq)
        or len(form.items) != 2
        or form.opener not in ("(", "[")
        or form.closer not in (")", "]")
    ):
        return None
    low, high = form.items
    if not isinstance(low, Value) or not isinstance(high, Value):
        return None
    return Interval(low.tree, high.tree, form.opener == "[", form.closer == "]")
