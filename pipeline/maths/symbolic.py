"""Compare two written answers as mathematics: our own reading, checked in two independent ways.

    read -> compare -> values that need algebra: computed at random points AND shown by sympy; a difference is held
    against math-verify's own reading. What the checks disagree on is undecided.

Runs in a process that may be killed at any time (`pipeline/judge_process.py`): sympy may take for ever on foreign text.
"""

import re
import signal
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Self

from pipeline.maths.compare import compare
from pipeline.maths.numeric import has_steps, same_value
from pipeline.maths.outcome import Outcome
from pipeline.maths.reading import read
from pipeline.maths.tokens import LONGEST, Unreadable, tokens
from pipeline.maths.tree import CALL, Expr, Num, Sym, renamed, variables
from pipeline.written import normal

_SHOWN_WITHIN_S = 1.0
_VERDICTS = {"same": "correct", "different": "wrong", "unsure": "undecided"}
# "(C) 12" and "C: 12" say 12, with the letter of the choice before it.
_LABEL = re.compile(r"\s*(?:\\text(?:bf)?\s*\{\s*\(?[A-J]\)?[.:]?\s*\}|\([A-J]\)|[A-J][.:])\s*\\?\s*(?=\S)")
DISAGREE = "checks disagree"


def judge(gold: str, found: str, *, held_against_math_verify: bool = True) -> tuple[str, str]:
    """Verdict and reason for two written answers; "undecided" whenever one of them can't be read."""
    if max(len(gold), len(found)) > LONGEST:
        return "undecided", f"an answer of more than {LONGEST:,} characters"
    algebra = _Algebra()
    try:
        if (label := _LABEL.match(found)) and not _LABEL.match(gold):
            found = found[label.end() :]
        outcome = compare(read(gold), read(found), values=algebra.values)
    except (Unreadable, RecursionError) as error:
        return _unread(gold, found, str(error) or "nested too deeply")
    except MemoryError:
        return "undecided", "out of memory"
    except Exception as error:  # noqa: BLE001 hostile text may raise anything from mpmath or sympy; it is a reason
        return "undecided", f"{type(error).__name__}: {error}"[:200]
    if outcome.says == "different" and algebra.asked and held_against_math_verify and _math_verify(gold, found) is True:
        return "undecided", f"{DISAGREE}: {outcome.why} tells them apart, math-verify does not"
    return _VERDICTS[outcome.says], outcome.why


def same_answer(a: str, b: str) -> bool:
    """Whether two answers are one: what votes are counted by, gold or not."""
    if normal(a) == normal(b):
        return True
    # Neither is the gold answer here, so each must accept the other.
    return all(judge(*pair, held_against_math_verify=False)[0] == "correct" for pair in ((a, b), (b, a)))


def votes(answers: list[str]) -> list[int]:
    """The class of each answer: equal ones have one number, counted up in the order they first come."""
    firsts: list[str] = []
    classes = []
    for answer in answers:
        place = next((number for number, first in enumerate(firsts) if same_answer(first, answer)), len(firsts))
        if place == len(firsts):
            firsts.append(answer)
        classes.append(place)
    return classes


class _Algebra:
    """Compares values that need algebra, and remembers whether it was asked."""

    def __init__(self) -> None:
        self.asked = False

    def values(self, gold: Expr, found: Expr) -> Outcome:
        self.asked = True
        found = _same_constants(gold, found)
        computed = same_value(gold, found)
        if computed is None:
            return Outcome("unsure", "too large to compute, or defined nowhere")
        if not computed:
            return Outcome("different", "values")
        shown = _shown(gold, found)
        if shown is None and variables(gold) and (has_steps(gold) or has_steps(found)):
            return Outcome("unsure", "the same at random points, and not shown for steps between them")
        if shown is False:
            return Outcome("unsure", f"{DISAGREE}: the same at random points, not for sympy")
        return Outcome("same", "symbolic" if shown else "values at random points")


def _same_constants(gold: Expr, found: Expr) -> Expr:
    """`found` with constants of integration in gold's case: + c for + C, c_1 for C_1."""
    missing, new = variables(gold) - variables(found), variables(found) - variables(gold)
    case = {name: name.swapcase() for name in new if name[0] in "Cc" and name.swapcase() in missing}
    return renamed(found, case) if case else found


def _shown(gold: Expr, found: Expr) -> bool | None:
    """Whether sympy shows that the difference is 0; None when it shows neither that nor another constant."""
    import sympy

    try:
        with _SoftLimit(_SHOWN_WITHIN_S):
            difference = _sympy(gold) - _sympy(found)
            if sympy.expand(difference) == 0:
                return True
            simple = sympy.simplify(difference)
    except (_OutOfTime, Unreadable, ValueError, TypeError, ArithmeticError, NotImplementedError, AttributeError):
        return None
    if simple == 0:
        return True
    return False if simple.is_Rational else None


def _sympy(tree: Expr) -> Any:
    import sympy

    if isinstance(tree, Num):
        return sympy.Rational(tree.value.numerator, tree.value.denominator)
    if isinstance(tree, Sym):
        constants = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}
        return constants[tree.name] if tree.name in constants else sympy.Symbol(tree.name, real=True)
    args = [_sympy(arg) for arg in tree.args]
    if tree.name == "pow" and args[1].is_Integer and abs(args[1]) > 1000:
        raise Unreadable("a power that sympy would write out")
    if tree.name.startswith(CALL):
        return sympy.Function(tree.name.removeprefix(CALL))(*args)
    if tree.name not in _OPERATIONS:
        raise Unreadable(f"{tree.name} is not put to sympy")
    name = _OPERATIONS[tree.name]
    return name(sympy, *args) if callable(name) else getattr(sympy, name)(*args)


_OPERATIONS: dict[str, Any] = {
    "add": "Add",
    "mul": "Mul",
    "neg": lambda _, a: -a,
    "div": lambda _, a, b: a / b,
    "pow": "Pow",
    "root": lambda sympy, a, n: sympy.real_root(a, n) if a.is_negative and n.is_odd else sympy.root(a, n),
    "degree": lambda sympy, a: a * sympy.pi / 180,
    "percent": lambda _, a: a / 100,
    "fact": "factorial",
    "binom": "binomial",
    "abs": "Abs",
    "log": "log",
    "ln": "log",
    "lg": lambda sympy, a: sympy.log(a, 10),
    "exp": "exp",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arccot": "acot",
    "ceil": "ceiling",
    **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "floor")},
}


def _unread(gold: str, found: str, reason: str) -> tuple[str, str]:
    """What our reader gives up on is only right when it is written the same: nobody else's reading decides alone."""
    try:
        same = [(token.kind, token.text) for token in tokens(gold)] == [(t.kind, t.text) for t in tokens(found)]
    except Unreadable:
        same = False
    return ("correct", "same") if same else ("undecided", f"can't be read: {reason}"[:200])


def _math_verify(gold: str, found: str) -> bool | None:
    """math-verify's opinion, LaTeX only, without its time limits (signals, which count what they stop as wrong)."""
    from math_verify import LatexExtractionConfig, parse, verify

    # Its reader of plain expressions is sympy's parse_expr, which runs what it reads; LaTeX goes through a grammar.
    latex = [LatexExtractionConfig()]
    try:
        gold_read, found_read = (
            parse(f"\\boxed{{{text}}}", extraction_config=latex, parsing_timeout=None, raise_on_error=True)
            for text in (gold, found)
        )
        if not gold_read or not found_read:
            return None
        return bool(verify(gold_read, found_read, timeout_seconds=None, raise_on_error=True))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 it raises anything on foreign text; then it has no opinion
        return None


class _OutOfTime(Exception):
    pass


class _SoftLimit(AbstractContextManager["_SoftLimit"]):
    """Raise _OutOfTime in the block after so many seconds; sympy is Python, so a signal reaches it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> Self:
        signal.signal(signal.SIGVTALRM, self._end)
        signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    @staticmethod
    def _end(_signal: int, _frame: FrameType | None) -> None:
        raise _OutOfTime
