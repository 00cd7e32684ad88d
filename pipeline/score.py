"""What a model scored, with how sure that is. In: verdicts per problem; out: pass@1, intervals, paired tests.

`undecided` draws count neither as right nor as wrong; how many there were is part of every score.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np

_Z95 = NormalDist().inv_cdf(0.975)
_RESAMPLES = 10_000


class Judged(Protocol):
    """What a score needs to know of a draw; a Trace is one, and so is a row that someone else wrote."""

    @property
    def id(self) -> str:
        """The problem."""
        ...

    @property
    def verdict(self) -> str | None:
        """correct, wrong, undecided, or None where there was nothing to judge."""
        ...

    @property
    def vote(self) -> int | None:
        """The class of equal answers among the problem's draws, None without an answer."""
        ...

    @property
    def finish_reason(self) -> str:
        """length when it was truncated."""
        ...

    @property
    def thought_tokens(self) -> int:
        """Tokens of the thought."""
        ...

    @property
    def reply_tokens(self) -> int:
        """Tokens of the reply."""
        ...

    @property
    def drop(self) -> str | None:
        """Why there was no reply, None when there was one."""
        ...


@dataclass(frozen=True, slots=True)
class Score:
    """A model on a benchmark. `pass_at_1` is the mean over problems of the share of right draws, None without any.

    `pass_at_1_low` counts every undecided or refused draw as wrong: what is left when none of the doubts is granted.
    """

    problems: int
    samples: int
    pass_at_1: float | None
    pass_at_1_low: float
    ci95: tuple[float, float] | None
    mean_tokens: float
    truncated: float
    undecided: int
    refused: int

    def as_json(self) -> dict[str, object]:
        """The keys of summary/evaluate.json."""
        return {
            "problems": self.problems,
            "samples": self.samples,
            "pass@1": self.pass_at_1,
            "pass@1_low": self.pass_at_1_low,
            "ci95": self.ci95,
            "mean_tokens": self.mean_tokens,
            "truncated": self.truncated,
            "undecided": self.undecided,
            "refused": self.refused,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Model a minus model b on the problems both were judged on."""

    problems: int
    difference: float
    ci95: tuple[float, float]
    p_value: float


def rates(traces: Sequence[Judged]) -> dict[str, float]:
    """Problem id -> share of right draws among the judged ones; problems without a judged draw are left out."""
    right: dict[str, list[bool]] = {}
    for trace in traces:
        if trace.verdict in ("correct", "wrong"):
            right.setdefault(trace.id, []).append(trace.verdict == "correct")
    return {problem: sum(draws) / len(draws) for problem, draws in right.items()}


def score(traces: Sequence[Judged]) -> Score:
    """The score of one model's traces on one benchmark."""
    by_problem = list(rates(traces).values())
    right: dict[str, list[bool]] = {}
    for trace in traces:
        right.setdefault(trace.id, []).append(trace.verdict == "correct")
    answered = [trace for trace in traces if trace.drop is None]
    tokens = [trace.thought_tokens + trace.reply_tokens for trace in answered]
    return Score(
        problems=len({trace.id for trace in traces}),
        samples=len(traces),
        pass_at_1=float(np.mean(by_problem)) if by_problem else None,
        pass_at_1_low=float(np.mean([sum(draws) / len(draws) for draws in right.values()])) if right else 0.0,
        ci95=interval(by_problem) if by_problem else None,
        mean_tokens=float(np.mean(tokens)) if tokens else 0.0,
        truncated=sum(trace.finish_reason == "length" for trace in answered) / max(1, len(answered)),
        undecided=sum(trace.verdict == "undecided" for trace in traces),
        refused=len(traces) - len(answered),
    )


def interval(by_problem: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval of the mean over problems.

    One draw a problem: Wilson's. Several: the normal interval of problem means, so that draws of one problem count as
    one cluster (Miller, 2411.00640), cut to 0..1.
    """
    if all(rate in (0.0, 1.0) for rate in by_problem):
        return wilson(round(sum(by_problem)), len(by_problem))
    values = np.asarray(by_problem)
    if len(values) == 1:
        return 0.0, 1.0
    half = _Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    return max(0.0, mean - half), min(1.0, mean + half)


def wilson(right: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, z2 = right / of, _Z95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def compare(a: Mapping[str, float], b: Mapping[str, float], *, seed: int = 0) -> Difference | None:
    """The paired difference of two models' `rates`; None when they share no problem.

    Interval: percentiles of 10,000 bootstrap resamples of problems. p: the share of 10,000 random sign flips of the
    problems' differences that give a mean at least as far from 0 (two-sided, the observed one counted in).
    """
    shared = sorted(set(a) & set(b))
    if not shared:
        return None
    differences = np.array([a[problem] - b[problem] for problem in shared])
    observed = float(differences.mean())
    rng = np.random.default_rng(seed)
    resampled = np.array([rng.choice(differences, len(differences)).mean() for _ in range(_RESAMPLES)])
    signs = (rng.choice([-1.0, 1.0], len(differences)) for _ in range(_RESAMPLES))
    flipped = np.array([(differences * sign).mean() for sign in signs])
    # The tolerance keeps rounding from separating equal means.
    extreme = int((np.abs(flipped) >= abs(observed) - 1e-12).sum())
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Difference(len(shared), observed, (float(low), float(high)), (extreme + 1) / (_RESAMPLES + 1))
