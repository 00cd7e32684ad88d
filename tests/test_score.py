"""Scores: the share of right draws, how sure it is, and whether two models differ."""

import itertools
import math
import random

import numpy as np
import pytest
from rows import trace
from scipy.stats import binomtest

from pipeline.record import Trace
from pipeline.score import compare, interval, rates, score, wilson


def drawn(problem: str, *verdicts: str | None) -> list[Trace]:
    return [trace(problem, draw=draw, verdict=verdict) for draw, verdict in enumerate(verdicts)]


def test_a_rate_is_the_share_of_right_draws() -> None:
    traces = [*drawn("a", "correct", "wrong", "correct", "correct"), *drawn("b", "wrong")]
    assert sorted(rates(traces).values()) == [0.0, 0.75]


def test_undecided_draws_count_neither_way_but_are_counted() -> None:
    traces = [*drawn("a", "correct", "undecided"), *drawn("b", "wrong", "undecided"), *drawn("c", "undecided")]
    assert sorted(rates(traces).values()) == [0.0, 1.0]
    result = score(traces)
    assert (result.pass_at_1, result.undecided, result.problems, result.samples) == (0.5, 3, 3, 5)


def test_pass_at_1_is_the_mean_over_problems_not_over_draws() -> None:
    assert score([*drawn("a", *["correct"] * 9), *drawn("b", "wrong")]).pass_at_1 == 0.5


def test_nothing_judged_has_no_score() -> None:
    for traces in ([], drawn("a", "undecided"), [trace(verdict=None, drop="refused")]):
        result = score(traces)
        assert result.pass_at_1 is None
        assert result.ci95 is None


def test_tokens_truncation_and_refusals_are_counted() -> None:
    traces = [
        trace(draw=0, thought_tokens=10, reply_tokens=2),
        trace(draw=1, thought_tokens=30, reply_tokens=0, finish_reason="length", verdict="wrong"),
        trace(draw=2, verdict=None, drop="refused", thought_tokens=0, reply_tokens=0, finish_reason=""),
    ]
    result = score(traces)
    assert (result.mean_tokens, result.truncated, result.refused) == (21.0, 0.5, 1)


def test_the_json_has_the_contracts_keys() -> None:
    said = score(drawn("a", "correct")).as_json()
    assert {"problems", "samples", "pass@1", "ci95", "mean_tokens", "truncated"} <= set(said)


def test_wilson_is_scipys_wilson() -> None:
    checked = 0
    for of in (1, 2, 3, 10, 30, 100, 1319):
        for right in {0, 1, of // 3, of // 2, of - 1, of}:
            theirs = binomtest(right, of).proportion_ci(confidence_level=0.95, method="wilson")
            assert wilson(right, of) == pytest.approx((theirs.low, theirs.high), abs=1e-12), (right, of)
            checked += 1
    assert checked > 30


def test_one_draw_a_problem_has_wilsons_interval() -> None:
    assert interval([1.0, 0.0, 1.0, 1.0]) == wilson(3, 4)


def test_several_draws_have_the_interval_of_problem_means_by_hand() -> None:
    # Means 0, 1/2, 1/2, 1: mean 1/2, variance (1/4 + 0 + 0 + 1/4) / 3 = 1/6, error sqrt(1/6 / 4).
    half = 1.959963984540054 * math.sqrt(1 / 24)
    assert interval([0.0, 0.5, 0.5, 1.0]) == pytest.approx((0.5 - half, 0.5 + half))


def test_an_interval_stays_within_0_and_1() -> None:
    low, high = interval([0.9, 1.0, 1.0])
    assert 0 <= low < high == 1.0
    assert interval([0.5]) == (0.0, 1.0)


def test_more_draws_of_the_same_problems_do_not_make_an_interval_tighter() -> None:
    assert interval([0.0, 1.0] * 20 + [0.5]) == pytest.approx(interval(list(rates(_repeated(10)).values())), abs=0.01)


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
    assert (same.difference, same.ci95, same.p_value) == (0.0, (0.0, 0.0), 1.0)
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


def _repeated(draws: int) -> list[Trace]:
    sure = [one for n in range(20) for one in drawn(f"no {n}", *["wrong"] * draws)]
    sure += [one for n in range(20) for one in drawn(f"yes {n}", *["correct"] * draws)]
    return sure + drawn("half", *(["correct", "wrong"] * (draws // 2)))
