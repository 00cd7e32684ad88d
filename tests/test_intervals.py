"""Intervals: scipy's Wilson, the clustered error by hand, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.scores.intervals import interval, wilson


def test_wilson_is_scipys_wilson() -> None:
    checked = 0
    for of in (1, 2, 3, 10, 30, 100, 1319):
        for right in {0, 1, of // 3, of // 2, of - 1, of}:
            theirs = binomtest(right, of).proportion_ci(confidence_level=0.95, method="wilson")
            assert wilson(right, of) == pytest.approx((theirs.low, theirs.high), abs=1e-12), (right, of)
            checked += 1
    assert checked > 30


def test_one_draw_a_problem_has_wilsons_interval() -> None:
    assert interval([1.0, 0.0, 1.0, 1.0]) == pytest.approx(wilson(3, 4))
    assert interval([1.0] * 30) == wilson(30, 30)


def test_several_draws_have_the_clustered_error_of_problem_means() -> None:
    # 200 problems, means 0, 1/2, 1/2, 1 over and over: mean 1/2, variance 1/8, error sqrt(1/8 / 200).
    half = 1.959963984540054 * math.sqrt(1 / 8 / 200)
    assert interval([0.0, 0.5, 0.5, 1.0] * 50) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-3)


def test_an_interval_stays_within_0_and_1_and_has_width_where_all_problems_are_alike() -> None:
    low, high = interval([0.9, 1.0, 1.0])
    assert 0 < low < 0.967 < high < 1
    assert interval([0.5] * 10) == pytest.approx(wilson(5, 10))
    low, high = interval([0.5])
    assert low < 0.1
    assert high > 0.9
    # Two problems that are nearly alike say no more than all their draws would as single ones.
    assert interval([0.5, 0.51], draws=200) == pytest.approx(wilson(101, 200))


def test_more_draws_of_the_same_problems_do_not_make_an_interval_tighter() -> None:
    sure = [0.0, 1.0] * 20
    assert interval(sure, draws=40) == pytest.approx(interval(sure, draws=4000))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    for problems, draws, (a, b) in (
        (30, 1, (2, 2)),
        (30, 16, (2, 2)),
        (30, 4, (20, 0.5)),
        (100, 8, (0.5, 0.5)),
        (200, 4, (1, 6)),
    ):
        rates = rng.binomial(draws, rng.beta(a, b, (600, problems))) / draws
        held = [low <= a / (a + b) <= high for low, high in (interval(list(row)) for row in rates)]
        assert 0.925 <= np.mean(held) <= 0.985, (problems, draws, a, b, np.mean(held))
