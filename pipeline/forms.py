r"""Read a written answer into its form: a value with its unit, a tuple, an interval, a set, several answers, a matrix,
an equation, a relation, or a text. The form is what is said; whether two say the same is `pipeline/compare.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from pipeline.expression import Expr, Num, Op, Sym, parse, symbols
from pipeline.numeric import exact
from pipeline.tokens import Token, Unreadable, tokens
from pipeline.units import Unit, split_unit

_OPEN, _CLOSE = (
    frozenset({"(", "[", "{", r"\{", r"\langle", r"\lfloor", r"\lceil"}),
    frozenset({")", "]", "}", r"\}", r"\rangle", r"\rfloor", r"\rceil"}),
)
_ORDER = {"<": "<", ">": ">", r"\le": "<=", r"\ge": ">="}
_RELATIONS = frozenset({"=", r"\equiv", r"\approx", r"\ne", r"\in", *_ORDER})
_EMPTY = frozenset(
    {"no solution", "no solutions", "no real solution", "no real solutions", "empty set", "the empty set"}
)
_REALS = frozenset({"all real numbers", "all reals", "the real numbers", "all real x"})
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
        " eighteen nineteen twenty".split()
    )
}
_INFINITY = Sym("oo")
_LEADS_IN = re.compile(r"(?i)(?:\b(?:is|are|equals)|[:=])$")
_BASE_WORDS = re.compile(
    r"(?P<digits>\d+)\s*(?:\\(?:text|mbox|mathrm)\s*\{)?\s*\(?\s*(?:in\s+)?base[\s}-]*(?P<base>\w+)\s*\)?\s*\}?\s*$"
)
_CURRENCIES = {"$": "dollar", "£": "gbp", "€": "euro", "¥": "yen", "₹": "rupee"}
_MATRICES = frozenset({"matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"})
_COUNTS = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_NO_NUMBER = frozenset(
    "or not no more less fewer least most than about approximately around nearly almost maybe perhaps half third quarter"
    " th st nd rd squared cubed to and between but".split()
)
_MOST_ITEMS = 200
_DEEPEST = 30


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
    """Several answers, with commas or words between them. `either` when an `or` stands there."""

    items: tuple["Form", ...]
    either: bool = False


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers between two ends."""

    low: Expr
    high: Expr
    low_closed: bool
    high_closed: bool


_LINE = Interval(Op("neg", (_INFINITY,)), _INFINITY, low_closed=False, high_closed=False)


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
class Ratio:
    """a : b, a time or a ratio."""

    items: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Words, folded: no case, no punctuation around."""

    words: str


Form = Value | Seq | SetOf | Listing | Interval | Union | Matrix | Assign | Equation | Relation | Ratio | Text


def read(text: str) -> Form:
    """The form of a written answer. Raises Unreadable when a part of it is not understood."""
    found = _forward(tokens(_based(text)))
    while found and found[-1].text in (".", ",", ";"):
        found.pop()
    if not found:
        raise Unreadable("nothing is written")
    if len(found) == 1 and found[0].kind == "text" and found[0].text != text:
        return read(found[0].text)
    if len(found) > 1 and found[0].kind == "text" and _LEADS_IN.search(found[0].text):
        # \text{The answer is } 12
        found = found[1:]
    return _Reader(text).form(_ungrouped(found))


def _forward(found: list[Token]) -> list[Token]:
    """]0, 1[ as (0, 1)."""
    if found and found[0].text == "]":
        found[0] = Token("sym", "(")
    if found and found[-1].text == "[":
        found[-1] = Token("sym", ")")
    return found


def _based(text: str) -> str:
    """52 (base 8) as 52_{8}."""
    return _BASE_WORDS.sub(r"\g<digits>_{\g<base>}", text)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def form(self, found: list[Token]) -> Form:
        if not found:
            raise Unreadable("a part of it is empty")
        if words := _only_words(found):
            return _words(words)
        if found[0].kind == "begin" and found[-1].kind == "end":
            return self._environment(found)
        found, parts, either = _several(found)
        if len(parts) > 1:
            return self._listing(parts, either=either)
        if len(parts := _split(found, {r"\setminus", r"\backslash"})) == 2:
            return _without(self._part(parts[0]), self._part(parts[1]))
        if len(parts := _split(found, {r"\cup"})) > 1:
            return Union(tuple(self._part(part) for part in parts))
        if any(token.text in _RELATIONS for token in _outside(found)):
            return self._related(found)
        if len(parts := _split(found, {":", "to"})) > 1:
            return Ratio(tuple(self.form(part) for part in parts))
        if found[-1].kind == "end":
            return self._scaled(found)
        return self._enclosed(found) or self._value(found)

    def _scaled(self, found: list[Token]) -> Form:
        """A matrix with a factor before it."""
        start = next(place for place, token in enumerate(found) if token.kind == "begin")
        matrix = self._environment(found[start:])
        before = found[:start]
        factor = Num(Fraction(-1)) if [token.text for token in before] == ["-"] else parse(_without_times(before))
        assert isinstance(matrix, Matrix)
        rows = [[_times(factor, cell) for cell in row] for row in matrix.rows]
        return Matrix(tuple(tuple(row) for row in rows))

    def _part(self, found: list[Token]) -> Form:
        form = self.form(found)
        interval = as_interval(form)
        return interval or form

    def _listing(self, parts: list[list[Token]], *, either: bool) -> Form:
        items = [item for part in parts for item in spread(self.form(part))]
        names = {item.name for item in items if isinstance(item, Assign)}
        first = items[0]
        if isinstance(first, Assign) and len(names) == 1:
            # x = 1, 2 gives both to x.
            items = [item if isinstance(item, Assign) else Assign(first.name, item) for item in items]
        return Listing(tuple(items), either=either)

    def _environment(self, found: list[Token]) -> Form:
        name = found[0].text
        inner = found[1:-1]
        rows = [row for row in _split(inner, {"\\\\"}, empty=True) if row]
        if name == "cases":
            return Listing(tuple(self.form([token for token in row if token.text not in ("&", ",")]) for row in rows))
        if name not in _MATRICES:
            raise Unreadable(f"the environment {name} is not understood")
        return Matrix(tuple(tuple(self.form(cell) for cell in _split(row, {"&"})) for row in rows))

    def _related(self, found: list[Token]) -> Form:
        signs = [token.text for token in _outside(found) if token.text in _RELATIONS]
        parts = _split(found, _RELATIONS)
        if len(parts) != len(signs) + 1 or not all(parts):
            raise Unreadable("a relation without one of its sides")
        if signs == [r"\in"]:
            return self._part(parts[1])
        if all(sign in ("=", r"\approx", r"\equiv") for sign in signs):
            return self._equation(parts, signs)
        if all(sign in _ORDER for sign in signs):
            return self._order(parts, [_ORDER[sign] for sign in signs])
        if signs == [r"\ne"]:
            left, right = parse(parts[0]), parse(parts[1])
            if isinstance(left, Sym) and not _has_variable(right):
                return _without(_LINE, SetOf((Value(right),)))
            return Relation("!=", left, right)
        raise Unreadable("relations of several kinds in one")

    def _equation(self, parts: list[list[Token]], signs: list[str]) -> Form:
        if r"\equiv" in signs:
            raise Unreadable("a congruence")
        name = _name(parts[0])
        if name is None and len(parts) == 2 and _name(parts[1]) is not None and signs == ["="]:
            # 5 = x
            parts, name = parts[::-1], _name(parts[1])
        if signs == [r"\approx"] and name is None:
            # "\pi/4 \approx 0.785" says the first, and how large it is.
            return self.form(parts[0])
        if signs[-1] == r"\approx" and len(parts) > 2:
            parts, signs = parts[:-1], signs[:-1]
        if name is not None:
            return self._assign(name, parts)
        if _is_point(parts[0]):
            return self.form(parts[-1])
        if len(parts) == 2 and (_has_variable(parse(parts[0])) or _has_variable(parse(split_unit(parts[1])[0]))):
            return Equation(parse(parts[0]), parse(split_unit(parts[1])[0]))
        return self.form(parts[-1])

    def _assign(self, name: str, parts: list[list[Token]]) -> Form:
        form = self.form(parts[-1])
        if isinstance(form, Value) and name in symbols(form.tree):
            # x = 2x + 1 gives x no value by itself.
            return Equation(Sym(name), form.tree)
        return Assign(name, form)

    def _order(self, parts: list[list[Token]], signs: list[str]) -> Form:
        trees = [parse(part) for part in parts]
        if len(parts) == 2:
            return _half_line(trees[0], signs[0], trees[1])
        up = [sign[0] for sign in signs]
        if len(parts) == 3 and up in (["<", "<"], [">", ">"]) and isinstance(trees[1], Sym):
            if up[0] == ">":
                trees, signs = trees[::-1], signs[::-1]
            return Interval(trees[0], trees[2], "=" in signs[0], "=" in signs[1])
        raise Unreadable("a chain of relations")

    def _enclosed(self, found: list[Token]) -> Form | None:
        first, last = found[0].text, found[-1].text
        if first not in _OPEN or last not in _CLOSE or _closes(found, 0) != len(found) - 1:
            return None
        inner = found[1:-1]
        if first == r"\{":
            if not inner:
                return SetOf(())
            if any(token.text in ("|", ":") for token in _outside(inner)):
                return self._builder(inner)
            return SetOf(tuple(item for part in _items(inner) for item in spread(self.form(part))))
        parts = _items(inner)
        if len(parts) > 1 and first in ("(", "[", r"\langle"):
            return Seq(tuple(self.form(part) for part in parts), first, last)
        if len(inner) == 1 and inner[0].kind == "text":
            return self.form(inner)
        if first == "(" and last == ")" and not parts:
            raise Unreadable("empty brackets")
        # Brackets around all of it say nothing, unless they hold one value.
        return self.form(inner) if first in ("(", "[") and (first, last) in (("(", ")"), ("[", "]")) else None

    def _builder(self, inner: list[Token]) -> Form:
        """{x : 1 < x < 2} is the interval that the condition says."""
        parts = _split(inner, {"|", ":"})
        if len(parts) != 2:
            raise Unreadable("a set that is built of conditions")
        return self._part(parts[1])

    def _value(self, found: list[Token]) -> Form:
        if len(found) == 1 and found[0].text == r"\emptyset":
            return SetOf(())
        if [token.text for token in found] == [r"\mathbb", "{", "R", "}"]:
            return _LINE
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
            tree, unit = tree.args[0], Unit((("degree", 1),))
        return _with_sign(Value(tree, unit or money, percent, self._text))


def _counted(tree: Expr, unit: Unit) -> tuple[Expr, Unit | None]:
    """18 million is a number; 18 or more is not one."""
    names = [name for name, _ in unit.powers]
    if not _NO_NUMBER.isdisjoint(names):
        raise Unreadable("a number that is hedged: " + " ".join(names))
    for name in names:
        if name in _COUNTS:
            tree = Op("mul", (tree, Num(Fraction(_COUNTS[name]))))
    rest = tuple(power for power in unit.powers if power[0] not in _COUNTS)
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


def _half_line(left: Expr, sign: str, right: Expr) -> Form:
    if isinstance(right, Sym) and right.name not in ("pi", "e", "i", "oo") and not isinstance(left, Sym):
        left, right = right, left
        sign = {"<": ">", ">": "<"}[sign[0]] + sign[1:]
    if isinstance(left, Op) and left.name == "abs" and isinstance(left.args[0], Sym) and not _has_variable(right):
        closed = sign.endswith("=")
        inside = Interval(Op("neg", (right,)), right, closed, closed)
        return (
            inside
            if sign[0] == "<"
            else _without(_LINE, replace(inside, low_closed=not closed, high_closed=not closed))
        )
    if not isinstance(left, Sym) or _has_variable(right):
        return Relation(sign, left, right)
    closed = sign.endswith("=")
    if sign[0] == ">":
        return Interval(right, _INFINITY, closed, high_closed=False)
    return Interval(Op("neg", (_INFINITY,)), right, low_closed=False, high_closed=closed)


def _is_point(found: list[Token]) -> bool:
    """Names in brackets: (x, y)."""
    return (
        len(found) > 4 and found[0].text == "(" and found[-1].text == ")" and any(token.text == "," for token in found)
    )


def _without_times(found: list[Token]) -> list[Token]:
    return found[:-1] if found and found[-1].text == "*" else found


def _times(factor: Expr, cell: Form) -> Form:
    if not isinstance(cell, Value):
        raise Unreadable("a factor before something else than values")
    return replace(cell, tree=Op("mul", (factor, cell.tree)))


def _without(whole: Form, removed: Form) -> Form:
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
            for place, (low, high) in enumerate(zip(ends, ends[1:], strict=False))
        )
    )


def _exactly(tree: Expr) -> Fraction:
    value = exact(tree)
    if value is None:
        raise Unreadable("a point whose place is not known")
    return value


def _has_variable(tree: Expr) -> bool:
    if isinstance(tree, Sym):
        return tree.name not in ("pi", "e", "i", "oo")
    return isinstance(tree, Op) and any(_has_variable(arg) for arg in tree.args)


def _name(found: list[Token]) -> str | None:
    """The name on the left of an equation: x, f(x), x_1, \\angle ABC, \\text{Area}; None for anything else."""
    words = [token.text for token in found]
    if any(token.kind in ("num", "begin", "end") for token in found[:1]) or any(w in "+-*/^" for w in words):
        return None
    if found[0].kind == "text" or found[0].text in (
        r"\angle",
        r"\triangle",
        r"\overline",
        r"\overrightarrow",
        "|",
        r"\mathbf",
    ):
        return " ".join(words).lower()
    if len(found) == 1 and found[0].kind in ("word", "cmd"):
        return None if words[0] in (r"\pi", "pi", "e", "i", r"\infty", r"\emptyset") else words[0].lstrip("\\")
    try:
        tree = parse(found)
    except Unreadable:
        return None
    if isinstance(tree, Sym):
        return tree.name if tree.name not in ("pi", "e", "oo") else None
    if found[0].kind in ("word", "cmd") and len(found) > 3 and words[1] == "(" and words[-1] == ")":
        # f(x), P(A), f(x, y)
        return "".join(words)
    return None


def _only_words(found: Sequence[Token]) -> str | None:
    if not all(token.kind in ("word", "text") or token.text in ("'", '"', ".", "-", "!", ",", "?") for token in found):
        return None
    words = [token.text for token in found if token.kind in ("word", "text")]
    if len(words) > 1 and all(len(word) == 1 for word in words):
        return None
    if not words or (all(token.kind == "word" for token in found) and all(len(word) <= 3 for word in words)):
        # x, ab, pi: variables and constants; "no" and "yes" are words.
        plain = " ".join(words).lower()
        return plain if plain in ("yes", "no", "true", "not", "all", "odd", "sum", "red") else None
    if any(is_known(word) for word in words) and len(words) == 1:
        return None
    return " ".join(token.text for token in found)


def is_known(word: str) -> bool:
    """Whether a long word is a name of mathematics: theta, arcsin, infinity."""
    try:
        parse([Token("word", word)])
    except Unreadable as error:
        return "missing" in str(error)
    return True


def _words(words: str) -> Form:
    folded = " ".join(re.sub(r"[^\w\s'-]", " ", words.lower()).split())
    if folded in _EMPTY:
        return SetOf(())
    if folded in _REALS:
        return _LINE
    if folded in _NUMBER_WORDS:
        return Value(Num(Fraction(_NUMBER_WORDS[folded])), text=folded)
    for article in ("the ", "a ", "an "):
        folded = folded.removeprefix(article)
    return Text(folded)


def _ungrouped(found: list[Token]) -> list[Token]:
    """Without braces around all of it."""
    while len(found) > 2 and found[0].text == "{" and found[0].kind == "sym" and _closes(found, 0) == len(found) - 1:
        found = found[1:-1]
    return found


def _several(found: list[Token]) -> tuple[list[Token], list[list[Token]], bool]:
    """The tokens with thousands joined, the answers that commas and words part, and whether an `or` does."""
    whole = _joined_outside(found)
    parts = [part for part in _split(whole, {",", ";", "and", "or"}, empty=True) if part]
    if len(parts) > _MOST_ITEMS:
        raise Unreadable(f"more than {_MOST_ITEMS} answers")
    return whole, parts, any(token.text == "or" for token in _outside(whole))


def _items(inner: list[Token]) -> list[list[Token]]:
    """The items in brackets. A comma without a space after it parts thousands only where others have a space."""
    if not inner:
        return []
    commas = [at for at, token in enumerate(inner) if token.text == ","]
    glued = [at for at in commas if _thousands_at(inner, at)]
    if glued and len(glued) < len(commas):
        inner = _joined_thousands(inner)
    parts = _split(inner, {",", ";"}, empty=True)
    if not all(parts):
        raise Unreadable("an item is missing")
    if len(parts) > _MOST_ITEMS:
        raise Unreadable(f"more than {_MOST_ITEMS} items")
    return parts


def _thousands_at(found: Sequence[Token], at: int) -> bool:
    after = found[at + 1] if at + 1 < len(found) else None
    before = found[at - 1] if at else None
    return (
        after is not None
        and before is not None
        and found[at].glued
        and after.glued
        and before.kind == "num"
        and after.kind == "num"
        and len(after.text.partition(".")[0]) == 3
        and len(before.text) <= 3
        and before.text.isdigit()
        and before.text[0] != "0"
    )


def _joined_thousands(found: Sequence[Token]) -> list[Token]:
    """1,234,567 as one number."""
    out: list[Token] = []
    at = 0
    while at < len(found):
        token = found[at]
        joined = token.text
        first = at
        while (
            at + 2 < len(found)
            and found[at + 1].text == ","
            and (_thousands_at(found, at + 1) or (at > first and _goes_on(found, at + 1)))
        ):
            joined += found[at + 2].text
            at += 2
        out.append(token if at == first else Token("num", joined, token.glued))
        at += 1
    return out


def _joined_outside(found: Sequence[Token]) -> list[Token]:
    """Thousands joined, but for what is in brackets: (1,234) is a point."""
    out: list[Token] = []
    run: list[Token] = []
    depth = 0
    for token in found:
        step = _step(token)
        if depth == 0 and step == 0:
            run.append(token)
            continue
        out += _joined_thousands(run)
        run = []
        depth += step
        out.append(token)
    return out + _joined_thousands(run)


def _goes_on(found: Sequence[Token], at: int) -> bool:
    after = found[at + 1]
    return found[at].glued and after.glued and after.kind == "num" and len(after.text.partition(".")[0]) == 3


def _split(found: Sequence[Token], signs: frozenset[str] | set[str], *, empty: bool = False) -> list[list[Token]]:
    """Cut at these signs outside of all brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in found:
        depth += _step(token)
        if depth == 0 and token.text in signs:
            parts.append([])
        else:
            parts[-1].append(token)
    if depth != 0:
        raise Unreadable("brackets that do not match")
    return parts if empty or len(parts) == 1 else [part for part in parts if part]


def _outside(found: Sequence[Token]) -> list[Token]:
    depth, out = 0, []
    for token in found:
        depth += _step(token)
        if depth == 0:
            out.append(token)
    return out


def _step(token: Token) -> int:
    if token.kind == "begin" or (token.text in _OPEN and token.kind in ("sym", "cmd")):
        return 1
    return -1 if token.kind == "end" or (token.text in _CLOSE and token.kind in ("sym", "cmd")) else 0


def _closes(found: Sequence[Token], at: int) -> int:
    depth = 0
    for place in range(at, len(found)):
        depth += _step(found[place])
        if depth == 0:
            return place
    raise Unreadable("brackets that do not match")
