r"""Read a written answer into its form. What it says is in `forms`; whether two say the same is in `compare`."""

import re
from dataclasses import replace
from fractions import Fraction

from pipeline.maths.amounts import amount
from pipeline.maths.exact import exact
from pipeline.maths.forms import (
    LINE,
    Assign,
    Equation,
    Family,
    Form,
    Interval,
    Listing,
    Matrix,
    Ratio,
    Relation,
    Residue,
    Seq,
    SetOf,
    Text,
    Union,
    Value,
    as_interval,
    spread,
)
from pipeline.maths.numerals import in_base
from pipeline.maths.parser import parse
from pipeline.maths.regions import between_regions, half_line, of_variable, unnamed, without
from pipeline.maths.splitting import CLOSE, OPEN, closes, cut, items_in, outside, several
from pipeline.maths.tokens import Token, Unreadable, tokens
from pipeline.maths.tree import Expr, Num, Op, Sym, symbols, variables
from pipeline.maths.units import split_unit
from pipeline.maths.wording import is_known, is_point, name_of, only_words, said

_ORDER = {"<": "<", ">": ">", r"\le": "<=", r"\ge": ">="}
_RELATIONS = frozenset({"=", r"\equiv", r"\approx", r"\ne", r"\in", *_ORDER})
_LEADS_IN = re.compile(
    r"(?i)(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|my|our)\s+)?(?:final\s+|correct\s+)?(?:answer|result|value|"
    r"solution|area|sum|total|number|probability|distance|length|volume|perimeter)s?(?:\s+(?:is|are|equals))?\s*[:=]?"
)
_BASE_WORDS = re.compile(
    r"(?P<digits>\d+)\s*(?:\\(?:text|mbox|mathrm)\s*\{)?\s*\(?\s*(?:in\s+)?base[\s}-]*(?P<base>\w+)\s*\)?\s*\}?\s*$"
)
_FOR_ALL = re.compile(
    r"\\text\s*\{\s*,?\s*(?:for|where)\s+(?:all|any|every|each|some)(?:\s+(?:real|complex|constants?|numbers?))*+\s*\}?"
    r"\s*[A-Za-z]?\s*(?:\\in\s*\\mathbb\s*\{?[RC]\}?)?\s*\}?\s*$"
)
_INTEGER = re.compile(
    r"[\s,;:(]*(?:\\[,;:! ]\s*|\\q?quad\s*|\\text\s*\{[^{}]{0,20}\}|\b(?:for|where|with)\b|[\s(])*+(?P<name>[a-zA-Z])"
    r"\s*\\in\s*\\(?:mathbb|mathbf|Z)\s*\{?\s*Z?\s*\}?[\s).}]*$"
)
PARAMETER = "Z"
# 2025-03-14 is no subtraction.
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}")
_DIGITS_AS_TEXT = re.compile(r"\\(?:text|mathrm)\s*\{([0-9A-F]+)\}")
_IN_BASE = re.compile(r"\$?(?:\\text\s*\{)?(?P<digits>\d*[A-F][0-9A-F]*|\d+[A-F][0-9A-F]*)\}?_\{?(?P<base>\d\d?)\}?\$?")
_MODULO = frozenset({r"\pmod", r"\bmod", r"\mod", "mod"})
_ALIGNED = frozenset({"aligned", "align", "gathered", "split"})
_LETTERS = re.compile(r"[A-Za-z]{2,}(?:\s+[A-Za-z]+)*")
_MATRICES = frozenset({"matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"})


def read(text: str) -> Form:
    """The form of a written answer. Raises Unreadable when a part of it is not understood."""
    if _DATE.fullmatch(text.strip()):
        return Text(text.strip())
    if based := _IN_BASE.fullmatch(_DIGITS_AS_TEXT.sub(r"\1", text.strip())):
        return Value(in_base(based["digits"], based["base"]), text=text)
    text, parameter = _parameter(_FOR_ALL.sub("", text))
    found = _forward(tokens(_based(text)))
    while found and found[-1].text in (".", ",", ";"):
        found.pop()
    if not found:
        raise Unreadable("nothing is written")
    if len(found) == 1 and found[0].kind == "text" and found[0].text != text:
        # Words that were set as words are no product of letters.
        inner = found[0].text
        return said(inner) if _LETTERS.fullmatch(inner) and not is_known(inner) else read(inner)
    if (
        len(found) > 1
        and found[0].kind == "text"
        and _LEADS_IN.fullmatch(found[0].text)
        and found[1].text not in _RELATIONS
    ):
        # \text{The answer is } 12
        found = found[1:]
    if parameter is not None:
        named = [replace(token, text=PARAMETER) if token.text == parameter else token for token in found]
        return Family(_Reader(text).form(_ungrouped(named)))
    return _Reader(text).form(_ungrouped(found))


def _parameter(text: str) -> tuple[str, str | None]:
    """The answer without "for k in Z" behind it, and the name of that parameter."""
    said = _INTEGER.search(text)
    return (text[: said.start()], said["name"]) if said and said.start() else (text, None)


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
        if words := only_words(found):
            return said(words)
        if any(token.text in _MODULO for token in outside(found)):
            return self._residue(found)
        if found[0].kind == "begin" and found[-1].kind == "end":
            return self._environment(found)
        found, parts, either = several(found)
        if len(parts) > 1:
            return self._listing(parts, either=either)
        if len(parts := cut(found, {r"\setminus", r"\backslash"})) == 2:
            return without(self._part(parts[0]), self._part(parts[1]))
        if len(parts := cut(found, {r"\cup"})) > 1:
            return Union(tuple(self._part(part) for part in parts))
        if any(token.text in _RELATIONS for token in outside(found)):
            return self._related(found)
        if len(parts := cut(found, {":", "to"})) > 1:
            return Ratio(tuple(self.form(part) for part in parts))
        if found[-1].kind == "end":
            return self._scaled(found)
        return self._enclosed(found) or amount(found, self._text)

    def _residue(self, found: list[Token]) -> Form:
        """x \\equiv 3 \\pmod 7, 3 mod 7."""
        parts = cut([token for token in found if token.text not in ("(", ")")], _MODULO)
        if len(parts) != 2:
            raise Unreadable("a congruence without its modulus")
        *left, value = cut(parts[0], {r"\equiv", "="})
        if left and (len(left) > 1 or len(left[0]) != 1):
            raise Unreadable("a congruence to solve")
        return Residue(parse(value), parse(parts[1]))

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
        form = unnamed(self.form(found))
        interval = as_interval(form)
        return interval or form

    def _listing(self, parts: list[list[Token]], *, either: bool) -> Form:
        items = [item for part in parts for item in spread(self.form(part))]
        names = {item.name for item in items if isinstance(item, Assign)}
        first = items[0]
        if isinstance(first, Assign) and len(names) == 1:
            # x = 1, 2 gives both to x.
            items = [item if isinstance(item, Assign) else Assign(first.name, item) for item in items]
        between = None if either or len(names) > 1 else between_regions([unnamed(item) for item in items])
        return between or Listing(tuple(items))

    def _environment(self, found: list[Token]) -> Form:
        name = found[0].text
        inner = found[1:-1]
        rows = [row for row in cut(inner, {"\\\\"}, empty=True) if row]
        if name in _ALIGNED:
            return self._aligned(rows)
        if name == "cases":
            return Listing(tuple(self.form([token for token in row if token.text not in ("&", ",")]) for row in rows))
        if name not in _MATRICES:
            raise Unreadable(f"the environment {name} is not understood")
        return Matrix(tuple(tuple(self.form(cell) for cell in cut(row, {"&"})) for row in rows))

    def _aligned(self, rows: list[list[Token]]) -> Form:
        """Equations below each other; a row that begins with its sign goes on with the one above."""
        whole: list[list[Token]] = []
        for row in rows:
            bare = [token for token in row if token.text != "&"]
            if whole and bare and bare[0].text in _RELATIONS:
                whole[-1] += bare
            else:
                whole.append(bare)
        forms = [self.form(row) for row in whole]
        return forms[0] if len(forms) == 1 else Listing(tuple(forms))

    def _related(self, found: list[Token]) -> Form:
        signs = [token.text for token in outside(found) if token.text in _RELATIONS]
        parts = cut(found, _RELATIONS)
        if len(parts) != len(signs) + 1 or not all(parts):
            raise Unreadable("a relation without one of its sides")
        if signs == [r"\in"]:
            return self._part(parts[1])
        if all(sign in ("=", r"\approx", r"\equiv") for sign in signs):
            return self._equation(parts, signs)
        if all(sign in _ORDER for sign in signs):
            return of_variable(parts, self._order(parts, [_ORDER[sign] for sign in signs]))
        if signs == [r"\ne"]:
            left, right = parse(parts[0]), parse(parts[1])
            if isinstance(left, Sym) and not variables(right):
                return without(LINE, SetOf((Value(right),)))
            return Relation("!=", left, right)
        raise Unreadable("relations of several kinds in one")

    def _equation(self, parts: list[list[Token]], signs: list[str]) -> Form:
        if r"\equiv" in signs:
            raise Unreadable("a congruence")
        name = name_of(parts[0])
        if name is None and any(token.text == r"\partial" for token in parts[0]):
            name = " ".join(token.text for token in parts[0])
        if name is None and len(parts) == 2 and name_of(parts[1]) is not None and signs == ["="]:
            # 5 = x
            parts, name = parts[::-1], name_of(parts[1])
        if signs == [r"\approx"] and name is None:
            # "\pi/4 \approx 0.785" says the first, and how large it is.
            return self.form(parts[0])
        if signs[-1] == r"\approx" and len(parts) > 2:
            parts, signs = parts[:-1], signs[:-1]
        if name is not None:
            return self._assign(name, parts)
        if is_point(parts[0]):
            return Assign("".join(token.text for token in parts[0]), self.form(parts[-1]))
        left, right = parse(parts[0]), parse(split_unit(parts[-1])[0])
        if variables(left) or variables(right):
            return Equation(left, right)
        if exact(left) is None or exact(left) != exact(right):
            raise Unreadable("an equation of numbers that does not hold, or that is not plain")
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
            return half_line(trees[0], signs[0], trees[1])
        up = [sign[0] for sign in signs]
        if len(parts) == 3 and up in (["<", "<"], [">", ">"]) and isinstance(trees[1], Sym):
            if up[0] == ">":
                trees, signs = trees[::-1], signs[::-1]
            return Interval(trees[0], trees[2], "=" in signs[0], "=" in signs[1])
        raise Unreadable("a chain of relations")

    def _enclosed(self, found: list[Token]) -> Form | None:
        first, last = found[0].text, found[-1].text
        if first not in OPEN or last not in CLOSE or closes(found, 0) != len(found) - 1:
            return None
        inner = found[1:-1]
        if first == r"\{":
            if not inner:
                return SetOf(())
            if any(token.text in ("|", ":") for token in outside(inner)):
                return self._builder(inner)
            return SetOf(tuple(item for part in items_in(inner) for item in spread(self.form(part))))
        parts = items_in(inner)
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
        parts = cut(inner, {"|", ":"})
        if len(parts) != 2:
            raise Unreadable("a set that is built of conditions")
        head = parts[0][0]
        if len(parts[0]) > 1 and parts[0][1].text != r"\in":
            raise Unreadable("a set of values of an expression")
        if not any(token.text == head.text for token in parts[1]):
            raise Unreadable("a set whose condition is on something else")
        return self._part(parts[1])


def _without_times(found: list[Token]) -> list[Token]:
    return found[:-1] if found and found[-1].text == "*" else found


def _times(factor: Expr, cell: Form) -> Form:
    if not isinstance(cell, Value):
        raise Unreadable("a factor before something else than values")
    return replace(cell, tree=Op("mul", (factor, cell.tree)))


def _ungrouped(found: list[Token]) -> list[Token]:
    """Without braces around all of it."""
    while len(found) > 2 and found[0].text == "{" and found[0].kind == "sym" and closes(found, 0) == len(found) - 1:
        found = found[1:-1]
    return found
