"""Difficulty: the share of a model's draws that are correct, as a column, and the band of it that is kept.

open-r1 keeps 0.1 to 0.9 of its student (scripts/pass_rate_filtering), s1 what two small models both fail.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from pydantic import Field, model_validator

from pipeline.generate import Generation, Sampling
from pipeline.record import Problem, Trace
from pipeline.settings import Settings
from pipeline.truncated import Truncated

GENERATION = "difficulty"
"""What its draws are called in their rows and in the ledger."""


class DifficultySettings(Settings):
    """How hard problems are for a model, and which are kept: those with above < pass rate < below."""

    engine: str = "student"
    """Who is asked: student (before training), teacher, or a name of evaluate.teachers."""
    prompt: str = "solve"
    """The prompt's name."""
    draws: int = Field(default=4, gt=0)
    """Answers for each problem."""
    sampling: Sampling = Sampling(max_tokens=4096)
    """How they are drawn; an answer that hits max_tokens counts as wrong, it was not solved within them."""
    truncated: Truncated = Truncated()
    """What is done about an answer that hit max_tokens."""
    above: float | None = Field(default=0.0, ge=0, lt=1)
    """A pass rate of this or less is dropped as too_hard; none drops nothing."""
    below: float | None = Field(default=None, gt=0, le=1)
    """A pass rate of this or more is dropped as too_easy; none drops nothing."""

    @model_validator(mode="after")
    def _is_a_band(self) -> "DifficultySettings":
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError(f"above={self.above} must be below below={self.below}, or no problem is kept")
        return self

    @property
    def generation(self) -> Generation:
        """What is asked."""
        return Generation(
            name=GENERATION,
            engine="student" if self.engine == "student" else "teacher",
            prompt=self.prompt,
            draws=self.draws,
            sampling=self.sampling,
            truncated=self.truncated,
        )


def rated(problems: Iterable[Problem], traces: Iterable[Trace], settings: DifficultySettings) -> list[Problem]:
    """The problems with the pass rate of their draws; those outside the band are dropped.

    Draws that could not be judged (undecided, or refused by the engine) count neither way: a problem with no other
    draws stays, without a rate.
    """
    judged: dict[str, list[bool]] = defaultdict(list)
    for trace in traces:
        if trace.verdict in ("correct", "wrong"):
            judged[trace.id].append(trace.verdict == "correct")
    return [_rated(problem, judged.get(problem.id, []), settings) for problem in problems]


def _rated(problem: Problem, correct: list[bool], settings: DifficultySettings) -> Problem:
    if problem.drop is not None or not correct:
        return problem
    rate = sum(correct) / len(correct)
    problem = replace(problem, pass_rate=rate, pass_draws=len(correct))
    said = f"{sum(correct)} of {len(correct)} draws of {settings.engine} are correct"
    if settings.above is not None and rate <= settings.above:
        return replace(problem, drop="too_hard", drop_why=f"{said}; kept are those above {settings.above:g}")
    if settings.below is not None and rate >= settings.below:
        return replace(problem, drop="too_easy", drop_why=f"{said}; kept are those below {settings.below:g}")
    return problem
