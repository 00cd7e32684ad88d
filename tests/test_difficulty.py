"""Difficulty: pass rates over judged draws, and the band that is kept."""

import pytest
from pydantic import ValidationError
from rows import problem, trace

from pipeline.difficulty import DifficultySettings, measured, rated
from pipeline.record import Problem, Trace, to_table


def draws(prompt: str, *verdicts: str | None) -> list[Trace]:
    return [trace(prompt, draw=n, verdict=verdict) for n, verdict in enumerate(verdicts)]


def one(*verdicts: str | None, **settings: float | str | None) -> Problem:
    (found,) = rated([problem("p")], draws("p", *verdicts), DifficultySettings(**settings))
    return found


def test_the_rate_is_the_share_of_correct_among_judged_draws() -> None:
    found = one("correct", "wrong", "undecided", None, "wrong")
    assert (found.pass_rate, found.pass_draws, found.drop) == (pytest.approx(1 / 3), 3, None)


def test_the_band_is_open_at_both_ends() -> None:
    band = {"above": 0.25, "below": 0.75}
    assert one("correct", "wrong", "wrong", "wrong", **band).drop == "too_hard"
    assert one("correct", "correct", "wrong", "wrong", **band).drop is None
    easy = one("correct", "correct", "correct", "wrong", **band)
    assert easy.drop == "too_easy"
    assert easy.drop_why == "3 of 4 draws of student are correct; kept are those below 0.75"
    assert one("wrong", above=None).drop is None
    assert one("correct").drop is None


def test_what_could_not_be_judged_is_no_reason_to_drop() -> None:
    found = one("undecided", None)
    assert (found.pass_rate, found.pass_draws, found.drop) == (None, None, None)


def test_what_could_not_be_judged_is_dropped_where_the_recipe_says_so() -> None:
    found = one("undecided", None, "undecided", unmeasured="drop")
    assert (found.pass_rate, found.drop) == (None, "unmeasured")
    assert found.drop_why == "no draw could be judged: 1 refused, 2 undecided"
    (bare,) = rated([problem("p")], [], DifficultySettings(unmeasured="drop"))
    assert bare.drop_why == "no draw could be judged: there is none"
    assert one("undecided", "correct", unmeasured="drop").drop is None


@pytest.mark.parametrize("unmeasured", ["keep", "drop"])
def test_problems_that_could_not_be_measured_are_counted_kept_or_dropped(unmeasured: str) -> None:
    rows = [problem("p"), problem("q"), problem("r"), problem("s", drop="image"), problem("t"), problem("u")]
    traces = [*draws("p", "correct"), *draws("q", "undecided"), *draws("r", "wrong"), *draws("t", None)]
    found = rated(rows, traces, DifficultySettings(unmeasured=unmeasured))
    assert measured(to_table(found, Problem)) == {"measured": 2, "unmeasured": 3}
    assert measured(to_table([], Problem)) == {"measured": 0, "unmeasured": 0}


def test_draws_count_for_their_own_problem_and_dropped_rows_stay_as_they_are() -> None:
    rows = [problem("p"), problem("q"), problem("r", drop="image")]
    traces = [*draws("p", "correct"), *draws("q", "wrong"), *draws("r", "wrong")]
    found = rated(rows, traces, DifficultySettings())
    assert [(row.pass_rate, row.drop) for row in found] == [(1.0, None), (0.0, "too_hard"), (None, "image")]


def test_a_band_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"above=0\.5 must be below below=0\.5"):
        DifficultySettings(above=0.5, below=0.5)
