"""The rules on one problem by name, in the order they are asked; the first that finds something names the drop."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pipeline.record import KINDS, Problem
from pipeline.rules.answer_types import other_type
from pipeline.rules.given_away import given_away
from pipeline.rules.gold import bad_gold, no_answer
from pipeline.rules.image import image
from pipeline.rules.latex import broken_latex
from pipeline.rules.length import too_long, too_short
from pipeline.rules.open_ended import open_ended
from pipeline.rules.parts import multi_part
from pipeline.rules.proof import proof
from pipeline.rules.settings import RowSettings
from pipeline.rules.several import multiple_answers
from pipeline.rules.tongue import other_language

Judge = Callable[[Problem, RowSettings], str | None]


@dataclass(frozen=True, slots=True)
class RowRule:
    """`judge` gives what was found, or None; it is asked only about problems of these kinds."""

    judge: Judge
    kinds: frozenset[str] = KINDS


def _no_prompt(problem: Problem, settings: RowSettings) -> str | None:
    return None if problem.prompt.strip() else ""


# A program, a generated task and a conversation are read by who runs or judges them: no rule on wording is for them.
_PROSE = frozenset({"math", "text", "choice"})
_WRITTEN = frozenset({"math", "text"})
_MATH = frozenset({"math"})

RULES: Mapping[str, RowRule] = {
    "no_prompt": RowRule(_no_prompt),
    "no_answer": RowRule(no_answer),
    # First of those that read: whatever is asked after it reads a text of bounded length.
    "too_long": RowRule(too_long),
    "too_short": RowRule(too_short, _PROSE),
    "image": RowRule(image, _PROSE),
    "broken_latex": RowRule(broken_latex, _PROSE),
    "given_away": RowRule(given_away, _PROSE),
    "proof": RowRule(proof, _WRITTEN),
    "open_ended": RowRule(open_ended, _WRITTEN),
    "multi_part": RowRule(multi_part, _WRITTEN),
    "multiple_answers": RowRule(multiple_answers, _MATH),
    "answer_type": RowRule(other_type, _MATH),
    "language": RowRule(other_language),
    # Last: it may have to read the whole of a formula.
    "bad_gold": RowRule(bad_gold),
}
ALWAYS = frozenset({"no_prompt", "no_answer", "bad_gold"})
"""What makes a problem unusable, whatever the recipe says."""


def unfit(problem: Problem, settings: RowSettings, *, rules: Collection[str]) -> tuple[str, str] | None:
    """The name of the first of `rules` that drops a problem, with what it found; None keeps it."""
    for name, rule in RULES.items():
        if (name in rules or name in ALWAYS) and problem.kind in rule.kinds:
            why = rule.judge(problem, settings)
            if why is not None:
                return name, why
    return None
