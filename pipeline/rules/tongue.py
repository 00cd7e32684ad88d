"""language: a problem in a language that is not wanted."""

from pipeline.language import UNKNOWN, language
from pipeline.record import Problem
from pipeline.rules.settings import RowSettings


def other_language(problem: Problem, settings: RowSettings) -> str | None:
    """Another language than those wanted; one that can't be told is never another."""
    wanted = settings.language.wanted
    if not wanted:
        return None
    found = language(problem.prompt)
    return None if found == UNKNOWN or found in wanted else f"it is in {found}, wanted: {', '.join(wanted)}"
