"""too_short, too_long: a text that can't be a problem, and one that nothing should have to read."""

import re

from pipeline.record import Problem
from pipeline.rules.settings import RowSettings

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


def too_long(problem: Problem, settings: RowSettings) -> str | None:
    """More characters or words than the settings allow."""
    longest = settings.length
    if len(problem.prompt) > longest.longest_characters:
        return f"{len(problem.prompt):,} characters, more than {longest.longest_characters:,}"
    if longest.longest_words is not None and (words := _words(problem.prompt)) > longest.longest_words:
        return f"{words:,} words, more than {longest.longest_words:,}"
    return None


def too_short(problem: Problem, settings: RowSettings) -> str | None:
    """Fewer words than the settings ask for."""
    # A text of so many characters has the words; counting them all would cost more than all other rules.
    if len(problem.prompt) > 20 * settings.length.shortest_words + 40:
        return None
    words = _words(problem.prompt)
    return (
        f"{words} words, fewer than {settings.length.shortest_words}"
        if words < settings.length.shortest_words
        else None
    )


def _words(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text))
