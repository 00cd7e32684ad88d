"""too_short, too_long: a text that can't be a problem, and one that nothing should have to read."""

import re

from pipeline.record import Problem
from pipeline.rules.settings import RowSettings

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
# What names a problem says nothing of it, and an address is none.
_NAME = re.compile(
    r"(?i)\b(?:problem|example|question|exercise|part|task|no\.?)\s*[#(]?(?:\d{1,4}|[a-h])\b\)?"
    r"|\(\s*\d{1,3}\s*(?:points?|pts|marks)\s*\)|https?://\S+|\banswer\s*[:=]\s*\S{1,20}\s*\Z"
)
_FORMULA = re.compile(r"\d|[=+*/^<>]|\\[A-Za-z]{2,}")
_FEWEST_BESIDE_A_FORMULA = 2


def too_long(problem: Problem, settings: RowSettings) -> str | None:
    """More characters or words than the settings allow."""
    longest = settings.length
    if len(problem.prompt) > longest.longest_characters:
        return f"{len(problem.prompt):,} characters, more than {longest.longest_characters:,}"
    if longest.longest_words is not None and (words := _words(problem.prompt)) > longest.longest_words:
        return f"{words:,} words, more than {longest.longest_words:,}"
    return None


def too_short(problem: Problem, settings: RowSettings) -> str | None:
    """Fewer words than the settings ask for; two do beside a number or a formula."""
    fewest = settings.length.shortest_words
    # A text of so many characters has the words; counting them all would cost more than other rules.
    if len(problem.prompt) > 20 * fewest + 40:
        return None
    text = _NAME.sub(" ", problem.prompt)
    words = _words(text)
    if words >= fewest or (words >= _FEWEST_BESIDE_A_FORMULA and _FORMULA.search(text)):
        return None
    return f"{words} words, fewer than {fewest}"


def _words(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text))
