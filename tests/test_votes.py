"""pass@k and maj@k against counting every subset of k draws, one by one."""

import itertools
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pipeline.errors import Stop
from pipeline.scores.passes import enough, ladder, pass_at
from pipeline.scores.votes import Ballot, Camp, majorities, majority

VERDICTS = ("correct", "wrong", "undecided")
thorough = settings(max_examples=150, deadline=None, database=None, derandomize=True)


def by_counting(draws: list[tuple[int | None, str]], k: int) -> tuple[float, float]:
    """The shares of right and of undecided majorities; a draw is its class (None: no answer) and its verdict."""
    right = undecided = 0.0
    subsets = list(itertools.combinations(draws, k))
    for subset in subsets:
        votes = Counter(vote for vote, _ in subset if vote is not None)
        first = [vote for vote in votes if votes[vote] == max(votes.values())]
        won = [next(verdict for vote, verdict in draws if vote == leader) for leader in first]
        right += won.count("correct") / max(1, len(won))
        undecided += won.count("undecided") / len(won) if won else ("undecided" in {verdict for _, verdict in subset})
    return right / len(subsets), undecided / len(subsets)


@thorough
@given(draws=some.lists(some.booleans(), min_size=1, max_size=9))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_draw(draws: list[bool]) -> None:
    for k in range(1, len(draws) + 1):
        subsets = list(itertools.combinations(draws, k))
        counted = sum(any(subset) for subset in subsets) / len(subsets)
        assert pass_at(k, right=sum(draws), judged=len(draws)) == pytest.approx(counted, abs=1e-12)


@thorough
@given(
    camps=some.lists(some.tuples(some.integers(1, 4), some.sampled_from(VERDICTS)), max_size=4),
    wrong=some.integers(0, 2),
    undecided=some.integers(0, 2),
)
def test_maj_at_k_is_the_share_of_subsets_with_a_right_majority(
    camps: list[tuple[int, str]], wrong: int, undecided: int
) -> None:
    draws = [(place, verdict) for place, (size, verdict) in enumerate(camps) for _ in range(size)]
    draws += [(None, "wrong")] * wrong + [(None, "undecided")] * undecided
    draws = draws[:10]
    if not draws:
        return
    sizes = Counter(draws)
    ballot = Ballot(
        tuple(Camp(size, verdict) for (vote, verdict), size in sizes.items() if vote is not None),
        silent_wrong=sizes[(None, "wrong")],
        silent_undecided=sizes[(None, "undecided")],
    )
    ks = range(1, len(draws) + 1)
    for k, found in zip(ks, majorities(ballot, ks), strict=True):
        assert (found.right, found.undecided) == pytest.approx(by_counting(draws, k), abs=1e-9), k
    whole = majority(ballot)
    assert (whole.right, whole.undecided) == pytest.approx(by_counting(draws, len(draws)), abs=1e-9)


def test_a_tie_is_shared_and_undecided_majorities_count_neither_way_by_hand() -> None:
    tied = majorities(Ballot((Camp(2, "correct"), Camp(2, "wrong"))), [4])[0]
    assert (tied.right, tied.undecided, tied.rate) == (0.5, 0.0, 0.5)
    doubted = majorities(Ballot((Camp(2, "correct"), Camp(1, "wrong"), Camp(3, "undecided"))), [1, 6])
    assert [found.rate for found in doubted] == [pytest.approx(2 / 3), None]
    assert majorities(Ballot((), silent_wrong=3), [1, 3])[1].rate == 0.0


def test_64_draws_of_20_classes_are_exact_at_once() -> None:
    camps = (Camp(20, "correct"), Camp(10, "wrong"), *[Camp(2, "wrong")] * 12, *[Camp(1, "undecided")] * 6)
    ballot = Ballot(camps, silent_wrong=4)
    began = time.perf_counter()
    found = majorities(ballot, ladder(64))
    assert time.perf_counter() - began < 0.2
    assert found[0].right == pytest.approx(20 / 64)
    assert found[-1].right == pytest.approx(1.0)
    assert [one.right for one in found] == sorted(one.right for one in found)


def test_the_ladder_is_the_powers_of_two_and_all_draws() -> None:
    assert [ladder(n) for n in (0, 1, 2, 6, 8)] == [(), (1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8)]


def test_more_draws_than_there_are_is_one_clear_line() -> None:
    enough({"x": 8, "y": 9}, [1, 8], name="aime24")
    with pytest.raises(Stop, match=r"^pass@8 needs 8 draws a problem; aime24 has problem y with 4$"):
        enough({"x": 8, "y": 4}, [1, 8], name="aime24")
    with pytest.raises(Stop, match="pass@0 means nothing"):
        enough({}, [0], name="aime24")
