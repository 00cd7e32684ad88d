"""Difficulty: the share of a model's draws that are correct, as a column, and the band of it that is kept.

open-r1 keeps 0.1 to 0.9 of its student (scripts/pass_rate_filtering), s1 what two small models both fail.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from pipeline.generate import Generation, Sampling
from pipeline.record import Problem, Trace
from pipeline.settings import Settings
from pipeline.truncated import Truncated

GENERATION = "difficulty"
"""What its draws are called in their rows and in the ledger."""
UNMEASURED = "unmeasured"
"""The drop of a problem without a rate."""


class DifficultySettings(Settings):
    """How hard problems are for a model, and which are kept: those with above < pass rate < below."""

    later: ClassVar[frozenset[str]] = frozenset({"unmeasured"})

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
    unmeasured: Literal["keep", "drop"] = "keep"
    """A problem none of whose draws could be judged is kept without a rate, or dropped as unmeasured."""

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
    draws stays without a rate, or is dropped as `unmeasured`.
    """
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    for trace in traces:
        verdicts[trace.id][trace.verdict or "refused"] += 1
    return [_rated(problem, verdicts[problem.id], settings) for problem in problems]


def measured(problems: pa.Table) -> Counter[str]:
    """How many problems have a rate and how many of those that were asked about have none, of their drop, pass_rate."""
    rate = pc.is_valid(problems["pass_rate"])
    asked = pc.or_kleene(pc.is_null(problems["drop"]), pc.fill_null(pc.equal(problems["drop"], UNMEASURED), False))
    without = pc.and_(asked, pc.invert(rate))
    return Counter(measured=pc.sum(rate).as_py() or 0, unmeasured=pc.sum(without).as_py() or 0)


def _rated(problem: Problem, verdicts: Counter[str], settings: DifficultySettings) -> Problem:
    if problem.drop is not None:
        return problem
    correct, judged = verdicts["correct"], verdicts["correct"] + verdicts["wrong"]
    if not judged:
        return _unmeasured(problem, verdicts) if settings.unmeasured == "drop" else problem
    rate = correct / judged
    problem = replace(problem, pass_rate=rate, pass_draws=judged)
    said = f"{correct} of {judged} draws of {settings.engine} are correct"
    if settings.above is not None and rate <= settings.above:
        return replace(problem, drop="too_hard", drop_why=f"{said}; kept are those above {settings.above:g}")
    if settings.below is not None and rate >= settings.below:
        return replace(problem, drop="too_easy", drop_why=f"{said}; kept are those below {settings.below:g}")
    return problem


def _unmeasured(problem: Problem, verdicts: Counter[str]) -> Problem:
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()) if count)
    return replace(problem, drop=UNMEASURED, drop_why=f"no draw could be judged: {said or 'there is none'}")
