"""Scores: what becomes of right, wrong, undecided, silent and refused draws."""

import random

import pytest
from rows import trace

from pipeline.errors import Stop
from pipeline.record import Trace
from pipeline.scores.score import majority_rates, rates, score, tally


def drawn(problem: str, *verdicts: str | None) -> list[Trace]:
    return [trace(problem, draw=draw, verdict=verdict) for draw, verdict in enumerate(verdicts)]


def test_a_rate_is_the_share_of_right_draws() -> None:
    traces = [*drawn("a", "correct", "wrong", "correct", "correct"), *drawn("b", "wrong")]
    assert sorted(rates(tally(traces).problems).values()) == [0.0, 0.75]


def test_undecided_draws_count_neither_way_but_are_counted() -> None:
    traces = [*drawn("a", "correct", "undecided"), *drawn("b", "wrong", "undecided"), *drawn("c", "undecided")]
    assert sorted(rates(tally(traces).problems).values()) == [0.0, 1.0]
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


def voting(problem: str, *draws: tuple[int | None, str]) -> list[Trace]:
    return [trace(problem, draw=draw, vote=vote, verdict=verdict) for draw, (vote, verdict) in enumerate(draws)]


def test_pass_at_k_leaves_out_undecided_draws_and_says_which_problems_had_too_few() -> None:
    traces = [*drawn("a", "correct", "wrong", "wrong", "wrong"), *drawn("b", "correct", "wrong", "undecided", "wrong")]
    found = {at.k: at for at in score(traces).pass_at}
    assert sorted(found) == [1, 2, 4]
    # a: 1 - C(3,2)/C(4,2) = 1/2; b, of three judged draws: 1 - C(2,2)/C(3,2) = 2/3, and of four 1/2.
    assert (found[2].share, found[2].low, found[2].left_out) == pytest.approx((7 / 12, 1 / 2, 0))
    assert (found[4].share, found[4].low, found[4].left_out) == (1.0, 1.0, 1)
    assert score(traces).as_json()["pass@k_left_out"] == {"4": 1}


def test_what_is_left_of_the_doubts_is_of_the_same_problems_and_never_above_the_value() -> None:
    # At k=2 only b has two judged draws: neither of them is right, whatever becomes of a.
    found = score([*drawn("a", "correct", "undecided"), *drawn("b", "wrong", "wrong")]).pass_at[-1]
    assert (found.k, found.share, found.low, found.left_out) == (2, 0.0, 0.0, 1)
    rng, seen = random.Random(7), 0
    verdicts = {0: "correct", 1: "wrong", 2: "undecided", None: "wrong"}
    for _ in range(200):
        traces = []
        for problem in "abcd":
            votes = rng.choices(list(verdicts), k=rng.randint(1, 7))
            traces += voting(problem, *[(vote, verdicts[vote]) for vote in votes])
        result = score(traces)
        assert result.pass_at_1 is None or result.pass_at_1_low <= result.pass_at_1
        for at in (*result.pass_at, *result.maj_at):
            assert 0 <= at.low <= at.share <= 1
            seen += at.low < at.share
    assert seen > 100


def test_at_k_1_all_three_are_the_same_share() -> None:
    traces = [
        *voting("a", (0, "correct"), (1, "wrong"), (None, "wrong"), (2, "undecided")),
        *voting("b", (0, "correct"), (0, "correct"), (1, "wrong"), (None, "undecided")),
    ]
    result = score(traces)
    assert result.pass_at_1 == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert (result.pass_at[0].share, result.maj_at[0].share) == pytest.approx((result.pass_at_1,) * 2)
    assert (result.pass_at[0].low, result.maj_at[0].low) == pytest.approx((result.pass_at_1_low,) * 2)


def test_the_majority_is_of_answers_not_of_verdicts() -> None:
    # Three wrong answers that differ lose to two that are equal and right.
    traces = voting("a", (0, "correct"), (1, "wrong"), (0, "correct"), (2, "wrong"), (3, "wrong"))
    assert majority_rates(tally(traces).problems) == {traces[0].id: 1.0}
    assert score(traces).maj_at[-1].share == 1.0


def test_a_class_that_was_judged_both_ways_is_undecided() -> None:
    mixed = voting("a", (0, "correct"), (0, "wrong"), (0, "correct"), (1, "wrong"))
    assert majority_rates(tally(mixed).problems) == {}
    at = {at.k: at for at in score([*mixed, *voting("b", *[(0, "correct")] * 4)]).maj_at}
    assert (at[4].share, at[4].low, at[4].left_out) == (1.0, 1.0, 1)


def test_draws_without_votes_have_no_majority() -> None:
    for verdicts in (["correct", "wrong"], ["wrong", "wrong"]):
        result = score(drawn("a", *verdicts))
        assert (result.maj_at, result.unanswered) == ((), None)
    # Where some problems are not voted on, one without any vote may be of their kind.
    mixed = [
        *drawn("code 1", "correct", "wrong"),
        *drawn("code 2", "wrong", "wrong"),
        *voting("a", *[(0, "correct")] * 2),
    ]
    assert [(at.share, at.left_out) for at in score(mixed).maj_at] == [(1.0, 2), (1.0, 2)]
    silent = [*voting("a", *[(0, "correct")] * 2), *voting("b", *[(None, "wrong")] * 2)]
    assert [(at.share, at.left_out) for at in score(silent).maj_at] == [(0.5, 0), (0.5, 0)]


def test_the_share_without_an_answer_is_of_draws_that_were_answered() -> None:
    refused = trace("a", draw=3, verdict=None, drop="refused", vote=None)
    result = score([*voting("a", (0, "correct"), (None, "wrong"), (None, "undecided")), refused])
    assert (result.unanswered, result.undecided_share, result.refused) == (pytest.approx(2 / 3), 0.25, 1)


def test_a_k_that_was_asked_for_needs_its_draws() -> None:
    assert [at.k for at in score(drawn("a", *["wrong"] * 3), ks=[3]).pass_at] == [3]
    with pytest.raises(Stop, match=r"pass@8 needs 8 draws a problem; aime24 has problem [0-9a-f]{32} with 4"):
        score(drawn("a", *["wrong"] * 4), ks=[1, 8], name="aime24")
