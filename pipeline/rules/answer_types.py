"""answer_type: a gold answer of a type that is not wanted."""

import re
from functools import lru_cache

from pipeline.answers import LONGEST
from pipeline.maths.forms import (
    Assign,
    Equation,
    Form,
    Interval,
    Matrix,
    Ratio,
    Relation,
    Residue,
    Seq,
    Text,
    Union,
    Value,
    as_interval,
)
from pipeline.maths.reading import read
from pipeline.maths.tokens import Unreadable
from pipeline.maths.tree import variables
from pipeline.record import Problem
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import AnswerType, RowSettings
from pipeline.written import exact_number, normal

_LETTER = re.compile(r"(?:\\text(?:bf)?\s*\{\s*\(?[A-J]\)?\s*\}|\([A-J]\))")
# (1, 2) is a point as often as an interval; (1, 2] can only be one.
_OPEN_ENDED = re.compile(r"\(\]|\[\)")
_EXACT: frozenset[AnswerType] = frozenset({"integer", "decimal", "fraction"})


def other_type(problem: Problem, settings: RowSettings) -> str | None:
    """Another type than those wanted, or one that can't be told."""
    wanted = settings.answer_type.wanted
    if not wanted:
        return None
    found = answer_type(problem.answer)
    if found in wanted or (found in _EXACT and "numeric" in wanted):
        return None
    return f"{found or 'not readable'}: {quoted(problem.answer)}"


@lru_cache(maxsize=4096)
def answer_type(gold: str) -> AnswerType | None:
    """The type of a gold answer of kind math, None where it can't be read."""
    if _LETTER.fullmatch(gold.strip()):
        return "choice"
    value = exact_number(gold)
    if value is not None:
        if "%" in gold or "." in normal(gold).rstrip(".") or "e" in normal(gold).lower().replace("frac", ""):
            return "decimal"
        return "integer" if value.denominator == 1 and "/" not in gold and "frac" not in gold else "fraction"
    if len(gold) > LONGEST:
        return None
    try:
        return _of(read(gold))
    except (Unreadable, RecursionError):
        return None


def _of(form: Form) -> AnswerType:
    if isinstance(form, Assign):
        return _of(form.form)
    if isinstance(form, Value):
        written = exact_number(form.text)
        if written is not None and written.denominator == 1:
            return "integer"
        return "expression" if variables(form.tree) else "numeric"
    if isinstance(form, Text):
        return "text"
    if isinstance(form, Interval | Union):
        return "interval"
    if isinstance(form, Seq) and as_interval(form) is not None and _OPEN_ENDED.search(form.opener + form.closer):
        return "interval"
    if isinstance(form, Seq | Matrix):
        return "tuple"
    if isinstance(form, Equation | Relation | Residue):
        return "equation"
    return "expression" if isinstance(form, Ratio) else "set"
