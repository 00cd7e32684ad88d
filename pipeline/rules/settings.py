"""What the rules on one problem can be set to; a recipe writes these below `curate`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.settings import Settings

AnswerType = Literal[
    "integer",
    "decimal",
    "fraction",
    "numeric",
    "expression",
    "equation",
    "interval",
    "set",
    "tuple",
    "choice",
    "text",
]
"""What a gold answer of kind math is. numeric is any exact number: an integer, a decimal (a percentage too), a
fraction, or one with radicals, pi or e. set is also several answers in a row; tuple is also a point, a vector, a
matrix; equation is also an inequality that is no interval; choice is a letter."""


def _codes(codes: tuple[str, ...]) -> tuple[str, ...]:
    for code in codes:
        if not (2 <= len(code) <= 3 and code.isascii() and code.islower()):
            raise ValueError(f"{code!r} is no ISO 639-1 code; write such as en, zh, es")
    return codes


class LengthSettings(Settings):
    """How long a problem is."""

    shortest_words: int = Field(default=4, ge=0)
    """too_short below this many words (a number, a name or a sign of Chinese is one each), not counting such as
    "Problem 3"; beside a number or a formula two words do: Compute 17*23."""
    longest_words: int | None = Field(default=None, gt=0)
    """too_long above this many words; None sets no limit."""
    longest_characters: int = Field(default=30_000, gt=0)
    """too_long above this many characters, whatever the kind; what is longer no other rule looks at."""


class LanguageSettings(Settings):
    """Which languages problems may be in."""

    wanted: Annotated[tuple[str, ...], AfterValidator(_codes)] = ()
    """ISO 639-1 codes such as [en, zh]. Empty keeps every language: a source is chosen by people who know what it is
    written in. A problem with too few words to tell is always kept."""


class MultipleAnswersSettings(Settings):
    """Which golds the rule multiple_answers drops."""

    bracketed: Literal["keep", "drop"] = "keep"
    r"""A set, tuple or interval in its brackets, \{1, 2\} or (3, 4), is one object: kept, unless this says drop."""


class AnswerTypeSettings(Settings):
    """Which kinds of gold answers are kept; problems of other kinds than math are never dropped by it."""

    wanted: tuple[AnswerType, ...] = ()
    """The types to keep; empty keeps all. The paper's data has numeric alone."""


class RowSettings(Settings):
    """The settings of the rules that look at one problem."""

    length: LengthSettings = LengthSettings()
    """How long a problem is: too_short, too_long."""
    language: LanguageSettings = LanguageSettings()
    """Which languages problems may be in: language."""
    multiple_answers: MultipleAnswersSettings = MultipleAnswersSettings()
    """Which golds count as several: multiple_answers."""
    answer_type: AnswerTypeSettings = AnswerTypeSettings()
    """Which kinds of gold answers are kept: answer_type."""
