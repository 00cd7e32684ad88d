"""no_answer, bad_gold: a gold answer that is none, and one that proves nothing right."""

import re

from pipeline.answers import LONGEST
from pipeline.golds import bad_gold as does_not_verify
from pipeline.record import Problem
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings

# What stands where an answer is missing. "none", "no solution" and "0" are answers.
_PLACEHOLDER = re.compile(
    r"(?:n\s?/\s?a|na|nan|null|nil|tbd|todo|unknown|omitted|proof(?:\s+(?:below|above|omitted))?|q\.?e\.?d"
    r"|answers?|final\s+answer"
    r"|(?:see|in)\s+(?:the\s+)?(?:official\s+|attached\s+|full\s+)?(?:solutions?|explanations?|proof|file"
    r"|attachment|above|below|text|figure)"
    r"|(?:answers?\s+(?:will|may)\s+vary|(?:answer\s+|solution\s+)?not\s+(?:provided|given|available|found|shown))"
    r"|[-\N{EN DASH}\N{EM DASH}_?.*\N{HORIZONTAL ELLIPSIS}/]*)[\s.:!]*",
    re.IGNORECASE,
)
_AROUND = re.compile(r"\\(?:boxed|text|mathrm|textbf|mbox)\b|[${}]|\\[()\[\]]")
_LONGEST_PLACEHOLDER = 60
_WORD = re.compile(r"[A-Za-z]{2,}")
_COMMAND = re.compile(r"\\(?!text|mbox|mathrm)[A-Za-z]+")
# Gold answers in words have a few: "no real solution", "not a perfect square", "the second and the fifth".
_WORDS_OF_A_SENTENCE = 9


def no_answer(problem: Problem, settings: RowSettings) -> str | None:
    """A gold that is empty, or that says in its place that there is none; what it says."""
    gold = problem.answer.strip()
    if not gold:
        return ""
    if problem.kind != "math" or len(gold) > _LONGEST_PLACEHOLDER or gold.isdigit():
        return None
    return quoted(gold) if _PLACEHOLDER.fullmatch(_AROUND.sub(" ", gold).strip()) else None


def bad_gold(problem: Problem, settings: RowSettings) -> str | None:
    """A gold that does not verify against itself, whose braces are unbalanced, or that is a sentence."""
    gold = problem.answer
    if problem.kind == "math" and not gold.isdigit():
        if len(gold) > LONGEST:
            return f"{len(gold):,} characters, more than {LONGEST:,}"
        bare = gold.replace("\\{", "").replace("\\}", "")
        if bare.count("{") != bare.count("}"):
            return f"braces that do not match: {quoted(gold)}"
        words = len(_WORD.findall(_COMMAND.sub(" ", gold)))
        if words >= _WORDS_OF_A_SENTENCE:
            return f"a text of {words} words: {quoted(gold)}"
    return does_not_verify(problem.kind, gold)
