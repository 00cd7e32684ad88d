r"""multiple_answers: a gold answer that is several: 1 or 2; x = 1, y = 2; 3, 5, 7; \pm 4.

What stands in one pair of brackets is one object, a set, a tuple or an interval, and so is a union of intervals, an
amount in two units (2 hours, 30 minutes) and a family (k\pi, k \in Z). The verifier can judge several answers; this
rule is for who wants one answer a problem.
"""

import re
from collections.abc import Iterator

from pipeline.record import Problem
from pipeline.rules.quoting import quoted
from pipeline.rules.settings import RowSettings

_LONGEST = 2_000
_THOUSANDS = re.compile(r"(?<=\d)\{?,\}?(?:\\!\s?)?(?=\d{3}(?!\d))")
_ESCAPED = re.compile(r"\\[,;:! ]|\\q?quad\b|~")
_TOKEN = re.compile(
    r"\\left|\\right|\\[{}]|\\l(?:angle|brace|vert)|\\r(?:angle|brace|vert)|[()\[\]{}]|\$"
    r"|[,;\uff0c\uff1b\u3001]|\\\\|\\(?:vee|lor|text|mbox|mathrm)\b|"
    r"\\begin\s*\{\w+\*?\}|\\end\s*\{\w+\*?\}|\b(?:or|and|ou|oder)\b|\u6216|\n"
)
_OPENS = frozenset({"(", "[", "{", r"\{", r"\langle", r"\lbrace"})
_CLOSES = frozenset({")", "]", "}", r"\}", r"\rangle", r"\rbrace"})
_BETWEEN = frozenset(
    {",", ";", "\uff0c", "\uff1b", "\u3001", "or", "and", "ou", "oder", "\u6216", r"\vee", r"\lor", "\n"}
)
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf)\s*\{([^{}]*)\}")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_PLUS_MINUS = re.compile(r"(?:^|[=,(\s$])\\(?:pm|mp)|\u00b1")
_CONDITION = re.compile(
    r"\\in\b|\\neq?\b|\\forall|\bfor\b|\bwhere\b|\bwith\b|\bif\b|\bwhen\b|\\ldots|\\dots|\\cdots|\.\.\.|\u2208|\u2260"
)
_ORDER = re.compile(r"[<>]|\\(?:l|g)(?:eq?|eqslant|t)?\b|\u2264|\u2265")
_AMOUNT = re.compile(r"^\$?\d[\d.,/]*\s*\\?\s*([A-Za-z]+)\.?$")
_UNITS = frozenset(
    [
        "hour",
        "hours",
        "hr",
        "hrs",
        "h",
        "minute",
        "minutes",
        "min",
        "mins",
        "m",
        "second",
        "seconds",
        "sec",
        "secs",
        "s",
        "day",
        "days",
        "week",
        "weeks",
        "month",
        "months",
        "year",
        "years",
        "foot",
        "feet",
        "ft",
        "inch",
        "inches",
        "in",
        "yard",
        "yards",
        "yd",
        "pound",
        "pounds",
        "lb",
        "lbs",
        "ounce",
        "ounces",
        "oz",
        "dollar",
        "dollars",
        "cent",
        "cents",
        "km",
        "meter",
        "meters",
        "metre",
        "metres",
        "cm",
        "mm",
        "gallon",
        "gallons",
        "quart",
        "quarts",
        "pint",
        "pints",
        "kg",
        "gram",
        "grams",
        "g",
        "degree",
        "degrees",
        "euro",
        "euros",
    ]
)
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}")
_WORDS_OF_A_SENTENCE = 4
_DECIMAL_COMMA = re.compile(r"-?\d+,0\d*")
_SEVERAL_LETTERS = re.compile(r"(?:\(?[A-J]\)?\s*(?:,|;|and|or|\s)\s*)+\(?[A-J]\)?")


def multiple_answers(problem: Problem, settings: RowSettings) -> str | None:
    """Several answers, and how many."""
    gold = problem.answer.strip()
    if len(gold) > _LONGEST or gold.isdigit():
        return None
    if len(_BOX.findall(gold)) > 1:
        return f"several boxes: {quoted(gold)}"
    if settings.multiple_answers.bracketed == "drop" and _bracketed(gold):
        return f"one object of several: {quoted(gold)}"
    if _PLUS_MINUS.search(gold):
        return f"two answers in one sign: {quoted(gold)}"
    parts = answers_in(gold)
    return f"{len(parts)} answers: {quoted(' | '.join(parts))}" if len(parts) > 1 else None


def answers_in(gold: str) -> list[str]:
    """The answers that a gold answer gives side by side; one, when it is one object."""
    text = _ESCAPED.sub(" ", _THOUSANDS.sub("", _TEXT.sub(r" \1 ", gold)))
    parts = [part for part in (part.strip(" .$") for part in _split(text)) if part]
    if len(parts) < 2:
        return parts
    if any(_CONDITION.search(part) for part in parts[1:]):
        return [text]
    if all(_ORDER.search(part) or "\\infty" in part for part in parts):
        # x < 1 or x > 2 is one region of numbers.
        return [text]
    if _DECIMAL_COMMA.fullmatch(text.strip()) or any(len(_WORD.findall(part)) > _WORDS_OF_A_SENTENCE for part in parts):
        return [text]
    if all((found := _AMOUNT.match(part)) and found[1].lower() in _UNITS for part in parts):
        return [text]
    if (
        re.search(r"\d", text) is None
        and "\\" not in text
        and not _SEVERAL_LETTERS.fullmatch(text.strip())
        and " or " not in text
    ):
        # Words with commas or "and" between them: a name, a sentence, a list that is one text.
        return [text] if re.search(r"[^\W\d_]{2,}", text) else parts
    return parts


def _split(text: str) -> Iterator[str]:
    """The pieces between commas and words that stand in no brackets."""
    depth = begun = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in _OPENS or token.startswith("\\begin"):
            depth += 1
        elif token in _CLOSES or token.startswith("\\end"):
            depth -= 1
        elif depth <= 0 and token in _BETWEEN:
            yield text[begun : match.start()]
            begun = match.end()
    yield text[begun:]


def _bracketed(gold: str) -> bool:
    inner = gold.strip(" $").replace("\\left", "").replace("\\right", "").strip()
    return (
        (inner[:1] in ("(", "[", "]") and "," in inner)
        or inner.startswith((r"\{", r"\langle", r"\lbrace"))
        or "\\cup" in inner
    )
