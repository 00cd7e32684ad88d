"""Whether two models differ: on the same problems, with an interval, a p-value and what it would take to tell."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pipeline.scores.intervals import Z95, wilson

Floats = npt.NDArray[np.float64]

_RESAMPLES = 10_000
_EXACT_UP_TO = 13
_AT_ONCE = 1 << 22
_POWER = 0.8
_REACH = Z95 + NormalDist().inv_cdf(_POWER)
# Of 5 problems even 5 to 0 has p = 2/32 > 0.05.
_FEWEST = 6


@dataclass(frozen=True, slots=True)
class Difference:
    """Model a minus model b on the problems both were judged on, and their means there.

    `problems_needed` would tell models that differ this much apart, at 5 % two-sided with 80 % power; None where no
    number would, as they do not differ. `detectable` is the difference that these problems tell apart just so; None
    where the differences show no spread to go by.
    """

    problems: int
    a_mean: float
    b_mean: float
    difference: float
    ci95: tuple[float, float]
    p_value: float
    problems_needed: int | None
    detectable: float | None


def compare(a: Mapping[str, float], b: Mapping[str, float], *, seed: int = 0) -> Difference | None:
    """The paired difference of two models' rates, by problem; None when they share no problem.

    Interval: percentiles of 10,000 bootstrap resamples of problems. p: the share of sign flips of the problems'
    differences that give a mean at least as far from 0 (two-sided); of all flips where at most 13 problems differ, else
    of 10,000 random ones with the observed one counted in. With one draw a problem it is McNemar's exact test.
    """
    shared = sorted(set(a) & set(b))
    if not shared:
        return None
    ours, theirs = (np.array([rates[problem] for problem in shared], dtype=float) for rates in (a, b))
    differences = ours - theirs
    observed = float(differences.mean())
    rng = np.random.default_rng(seed)
    return Difference(
        problems=len(shared),
        a_mean=float(ours.mean()),
        b_mean=float(theirs.mean()),
        difference=observed,
        ci95=_interval(differences, rng),
        p_value=_p_value(differences, rng),
        problems_needed=problems_needed(observed, _variance(differences)),
        detectable=detectable(len(shared), _variance(differences)),
    )


def problems_needed(difference: float, variance: float | None) -> int | None:
    """Problems that tell a paired difference from 0: (1.96 + 0.84)^2 variance / difference^2, the variance a problem's.

    Never fewer than 6, with which the test above can reach 5 % at all. None for no difference, or no known variance.
    """
    if abs(difference) < 1e-12 or variance is None:
        return None
    return max(_FEWEST, math.ceil(_REACH**2 * variance / difference**2 - 1e-9))


def detectable(problems: int, variance: float | None) -> float | None:
    """The paired difference that so many problems tell from 0, at 5 % two-sided with 80 % power."""
    return _REACH * math.sqrt(variance / problems) if variance else None


def fisher(a_right: int, a_of: int, b_right: int, b_of: int) -> float:
    """Fisher's exact two-sided p-value that two shares differ, for figures of which only the counts were published."""
    right = a_right + b_right
    ways = [math.comb(a_of, n) * math.comb(b_of, right - n) for n in range(max(0, right - b_of), min(a_of, right) + 1)]
    observed = math.comb(a_of, a_right) * math.comb(b_of, b_right)
    return sum(way for way in ways if way <= observed) / sum(ways)


def _variance(differences: Floats) -> float | None:
    return float(differences.var(ddof=1)) if len(differences) > 1 else None


def _interval(differences: Floats, rng: np.random.Generator) -> tuple[float, float]:
    size, mean = len(differences), float(differences.mean())
    if differences.max() - differences.min() < 1e-12:
        # No spread to resample. Problems of a kind not seen yet may be as common as Wilson gives them, and differ
        # either way.
        unseen = wilson(0, size)[1]
        return max(-1.0, mean - unseen * (1 + mean)), min(1.0, mean + unseen * (1 - mean))
    means = [differences[rng.integers(0, size, (rows, size))].mean(axis=1) for rows in _blocks(size)]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def _p_value(differences: Floats, rng: np.random.Generator) -> float:
    apart = differences[np.abs(differences) > 1e-12]
    # The tolerance keeps rounding from separating equal sums.
    observed = abs(float(apart.sum())) - 1e-9
    if len(apart) <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(apart)))).reshape(2 ** len(apart), -1)
        return float((np.abs(signs @ apart) >= observed).mean())
    extreme = 0
    for rows in _blocks(len(apart)):
        signs = rng.integers(0, 2, (rows, len(apart)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ apart) >= observed).sum())
    return (extreme + 1) / (_RESAMPLES + 1)


def _blocks(width: int) -> Iterator[int]:
    """The resamples in blocks that fit in memory."""
    rows = max(1, _AT_ONCE // max(1, width))
    for begin in range(0, _RESAMPLES, rows):
        yield min(rows, _RESAMPLES - begin)
