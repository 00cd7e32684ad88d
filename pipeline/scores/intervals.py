"""How sure a share is: 95 % intervals, of single draws and of the mean over problems."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

Z95 = NormalDist().inv_cdf(0.975)


def wilson(right: float, of: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, z2 = right / of, Z95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 / (1 + z2 / of) * math.sqrt(max(0.0, share * (1 - share)) / of + z2 / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def interval(by_problem: Sequence[float], *, draws: int | None = None) -> tuple[float, float]:
    """A 95 % interval of the mean over problems, of one rate from 0 to 1 a problem, made from so many draws in all.

    The error is the clustered one, from the spread of problem means (Miller, 2411.00640), so that many draws of a few
    problems are not taken for many problems. Its shape is Wilson's, for as many single draws as would have that error
    (Korn and Graubard 1998): it stays within 0..1, holds near both ends, and for one draw a problem is Wilson's own.
    Where all problems have the same rate there is no spread to go by: each problem counts as one draw.
    """
    rates = np.asarray(by_problem, dtype=float)
    mean, spread = float(rates.mean()), float(rates.var())
    if spread < 1e-12:
        return wilson(mean * len(rates), len(rates))
    worth = len(rates) * mean * (1 - mean) / spread
    if draws is not None:
        # Problems that are alike by chance do not make a draw worth more than a draw.
        worth = min(worth, float(draws))
    return wilson(mean * worth, worth)
