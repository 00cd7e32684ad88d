"""Paired tests against scipy and against every sign flip; the problems needed against simulated experiments."""

import itertools
import random

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, fisher_exact

from pipeline.scores.paired import compare, detectable, fisher, problems_needed


def rated(values: list[float]) -> dict[str, float]:
    return {f"{n:04d}": float(value) for n, value in enumerate(values)}


def test_the_difference_is_over_shared_problems_only() -> None:
    result = compare({"a": 1.0, "b": 0.5, "c": 1.0}, {"a": 0.0, "b": 0.5, "d": 1.0})
    assert result is not None
    assert (result.problems, result.difference) == (2, 0.5)
    assert compare({"a": 1.0}, {"b": 1.0}) is None


def test_the_p_value_is_that_of_all_sign_flips() -> None:
    rng = random.Random(4)
    for size in (1, 3, 6, 9):
        a = {str(n): rng.choice((0.0, 0.25, 0.5, 1.0)) for n in range(size)}
        b = {str(n): rng.choice((0.0, 0.0, 0.25, 0.5)) for n in range(size)}
        differences = np.array([a[key] - b[key] for key in sorted(a)])
        flips = np.array(list(itertools.product((1, -1), repeat=size)))
        exact = float((np.abs(flips @ differences) >= abs(differences.sum()) - 1e-12).mean())
        result = compare(a, b)
        assert result is not None
        # 10,000 random flips: standard deviation at most 0.005.
        assert result.p_value == pytest.approx(exact, abs=0.02)


def test_equal_models_do_not_differ_and_unequal_ones_do() -> None:
    same = compare({str(n): float(n % 2) for n in range(50)}, {str(n): float(n % 2) for n in range(50)})
    assert same is not None
    assert (same.difference, same.p_value, same.problems_needed, same.detectable) == (0.0, 1.0, None, None)
    better = compare({str(n): 1.0 for n in range(50)}, {str(n): float(n % 2) for n in range(50)})
    assert better is not None
    assert better.difference == 0.5
    assert better.p_value < 0.001
    # The normal interval of 50 differences of 0 or 1: 0.5 -+ 1.96 x 0.505 / sqrt(50) = 0.5 -+ 0.14.
    assert better.ci95 == pytest.approx((0.36, 0.64), abs=0.03)


def test_a_model_against_itself_the_other_way_round_is_the_mirror() -> None:
    a = {str(n): float(n % 3 == 0) for n in range(60)}
    b = {str(n): float(n % 4 == 0) for n in range(60)}
    one, other = compare(a, b), compare(b, a)
    assert one is not None
    assert other is not None
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == pytest.approx(other.p_value, abs=0.02)
    assert compare(a, b) == one


def test_one_draw_a_problem_is_mcnemars_exact_test() -> None:
    # 9 problems only a solves, 2 only b: the two-sided binomial test of 9 of 11.
    found = compare(rated([1] * 9 + [0] * 2 + [1] * 20), rated([0] * 9 + [1] * 2 + [1] * 20))
    assert found is not None
    assert found.p_value == pytest.approx(binomtest(9, 11).pvalue, abs=1e-12)
    many = compare(rated([1] * 30 + [0] * 14 + [1] * 99), rated([0] * 30 + [1] * 14 + [1] * 99))
    assert many is not None
    assert many.p_value == pytest.approx(binomtest(30, 44).pvalue, abs=0.006)


def test_the_interval_is_scipys_bootstrap() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.binomial(8, 0.6, 60) / 8, rng.binomial(8, 0.4, 60) / 8
    found = compare(rated(list(a)), rated(list(b)))
    theirs = bootstrap((a - b,), np.mean, method="percentile", n_resamples=10_000, random_state=rng).confidence_interval
    assert found is not None
    assert found.ci95 == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_differences_without_spread_still_have_an_interval() -> None:
    same = compare(rated([1.0] * 30), rated([1.0] * 30))
    assert same is not None
    # Wilson for 0 of 30 ends at 0.1135: so common may problems be on which they do differ.
    assert same.ci95 == pytest.approx((-0.1135, 0.1135), abs=1e-4)
    apart = compare(rated([1.0] * 30), rated([0.0] * 30))
    assert apart is not None
    assert apart.ci95 == pytest.approx((1 - 2 * 0.1135, 1.0), abs=1e-4)


def test_the_interval_covers_the_true_difference() -> None:
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(120):
        skill = rng.beta(2, 2, 60)
        a, b = rng.binomial(4, np.minimum(1, skill + 0.1)) / 4, rng.binomial(4, skill) / 4
        found = compare(rated(list(a)), rated(list(b)))
        assert found is not None
        # The mean of min(1, x + 0.1) - x for x of Beta(2, 2), by integration.
        held += found.ci95[0] <= 0.0991 <= found.ci95[1]
    assert 105 <= held <= 120


def test_the_problems_needed_give_80_percent_power() -> None:
    # Skills of 0.5 against 0.62 with one draw each: differences of mean 0.12 and variance 0.25 + 0.2356.
    needed = problems_needed(0.12, 0.4856)
    assert needed == 265
    rng = np.random.default_rng(7)
    found = rng.binomial(1, 0.62, (4000, needed)) - rng.binomial(1, 0.5, (4000, needed))
    z = found.mean(axis=1) / (found.std(axis=1, ddof=1) / np.sqrt(needed))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.025)
    assert detectable(needed, 0.4856) == pytest.approx(0.12, abs=0.001)


def test_no_difference_needs_no_number_of_problems() -> None:
    assert problems_needed(0.0, 0.3) is None
    assert problems_needed(0.1, None) is None
    # Fewer than 6 problems can't reach 5 % however they fall: 2 / 2^5 > 0.05.
    assert problems_needed(1.0, 0.0) == 6
    single = compare({"a": 1.0}, {"a": 0.0})
    assert single is not None
    assert (single.p_value, single.problems_needed, single.detectable) == (1.0, None, None)


def test_fisher_is_scipys_and_the_papers_headline_is_chance() -> None:
    assert fisher(13, 30, 12, 30) == pytest.approx(1.0)
    checked = 0
    for a, b, n, m in itertools.product((0, 3, 12, 30), (1, 13, 25), (30,), (30, 500)):
        assert fisher(a, n, b, m) == pytest.approx(fisher_exact([[a, n - a], [b, m - b]]).pvalue, rel=1e-6)
        checked += 1
    assert checked == 24
