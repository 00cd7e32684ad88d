"""What is asked of one trace, as a recipe says it."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings import Settings

Rule = Literal[
    "no_thought",
    "empty_reply",
    "too_short",
    "too_long",
    "not_longer",
    "cut_off",
    "leftover_tags",
    "role_markers",
    "no_box",
    "boxes_differ",
    "declined",
    "leaked_answer",
    "language_switch",
    "other_language",
    "not_a_thought",
    "loop",
    "repetition",
]
"""Why a trace is dropped, in the order in which it is asked."""


class ThoughtSettings(Settings):
    """Which traces are fit to be trained on, each looked at by itself."""

    skip: tuple[Rule, ...] = ()
    """Rules that are not asked."""
    thought: Literal["needed", "any"] = "any"
    """needed drops traces without a thought."""
    min_tokens: int = Field(default=0, ge=0)
    """The shortest thought and reply together, tokens of the student."""
    max_tokens: int | None = Field(default=None, gt=0)
    """The longest thought and reply together, tokens of the student; None sets no limit."""
    rewritten: tuple[str, ...] = ()
    """Generations that rewrite a solution: the reply must be longer than that solution, and no thought is asked for."""
    box: Literal["needed", "any"] = "any"
    r"""needed drops replies without \boxed."""
    language: Literal["any", "prompt"] = "any"
    """prompt drops thoughts and replies that are in another language than the problem."""
    foreign_share: float = Field(default=0.01, ge=0, le=1)
    """The largest share of words in another script than the rest of a text (Chinese in an English thought)."""
    foreign_pieces_share: float = Field(default=0.05, ge=0, le=1)
    """The largest share of a text in another language of its script (Spanish in an English thought), by characters."""
    min_markers: int = Field(default=0, ge=0)
    """The fewest places where a thought reflects, checks, tries another way or corrects itself; 0 asks for none."""
    min_markers_per_1000: float = Field(default=0, ge=0)
    """The same for each 1,000 tokens of the student."""
    loop_copies: int = Field(default=4, ge=2)
    """Copies of one block in a row that make a loop; the block has a sentence's words, or the loop is very long."""
    counted_copies: int = Field(default=20, ge=2)
    """The same for blocks that differ only in a number that counts on: check step 17, check step 18."""
    repeated_words: int = Field(default=20, ge=4)
    """Words in a row that count as repeated when the text has had them before."""
    repeated_share: float = Field(default=0.2, ge=0, le=1)
    """The largest share of repeated words in a text, and of sentences that come again and again."""

    @model_validator(mode="after")
    def _band_is_open(self) -> "ThoughtSettings":
        if self.max_tokens is not None and self.max_tokens < self.min_tokens:
            raise ValueError(f"max_tokens={self.max_tokens} must be at least min_tokens={self.min_tokens}")
        return self
