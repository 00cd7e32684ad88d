"""The rules of the limits, by a clock that the tests drive: what may start when, and how endpoints share the calls."""

import itertools
import math
import random
from bisect import bisect_left
from collections import Counter
from typing import Any

import pytest

from pipeline.limits import Asking, Bucket, Gate, Limits, LimitSettings, Outcome, Want, Window

WANT = Want(tokens=100, usd=0.0)


def gate(*, weight: float = 1.0, most: int = 1000, full: bool = True, now: float = 0.0, **settings: Any) -> Gate:
    return Gate(LimitSettings(**settings), most=most, weight=weight, now=now, full=full)


def most_in(times: list[float], *, seconds: float) -> int:
    """The most events in any window of so many seconds, counted by hand."""
    return max(bisect_left(times, at + seconds) - number for number, at in enumerate(times))


def asked(limits: Limits, now: float, *, wants: int, caller: str = "me", **said: Any) -> tuple[int, ...]:
    said = {"open": (0,) * len(limits.gates)} | said
    return limits.exchange(Asking(caller, wants=(WANT,) * wants, **said), now).endpoints


@pytest.mark.parametrize("per_minute", [6, 61, 600, 30_000])
@pytest.mark.parametrize("callers", [1, 7])
def test_requests_of_all_callers_stay_under_the_limit_in_any_minute(per_minute: int, callers: int) -> None:
    limits = Limits([gate(requests_per_minute=per_minute, most=10**9)])
    draw, now, times = random.Random(per_minute), 0.0, []
    while now < 240:
        # Busy, then idle for a while, then all at once.
        now += draw.choice([0.01, 0.02, 0.5]) if draw.random() < 0.999 else draw.uniform(5, 70)
        times += [now] * len(asked(limits, now, wants=draw.randrange(2000), caller=str(draw.randrange(callers))))
    assert most_in(times, seconds=60) <= per_minute * 1.05
    # And it is a limit, not a halt.
    assert most_in(times, seconds=60) >= per_minute * 0.8


def test_tokens_stay_under_the_limit_in_any_minute_and_an_estimate_is_corrected() -> None:
    per_minute, draw = 60_000, random.Random(2)
    limits = Limits([gate(tokens_per_minute=per_minute, most=10**9)])
    now, outcomes, spent = 0.0, [], []
    while now < 600:
        now += 0.1
        granted = asked(limits, now, wants=5, outcomes=tuple(outcomes))
        # Each call says 100 and uses between 50 and 1000, which comes to light a little later.
        used = [draw.randrange(50, 1000) for _ in granted]
        outcomes = [Outcome(0, "answered", tokens - WANT.tokens) for tokens in used]
        spent += [(now, sum(used))]
    windows = [sum(tokens for at, tokens in spent if start <= at < start + 60) for start in range(0, 540, 7)]
    assert max(windows) <= per_minute * 1.05 + 5 * 1000
    assert min(windows) >= per_minute * 0.85


def test_a_call_larger_than_the_burst_goes_alone_and_is_paid_for_afterwards() -> None:
    only = gate(tokens_per_minute=60, full=True)
    large = Want(tokens=60, usd=0)
    assert only.wait(large, open_now=0, now=0) == 0
    only.take(large)
    assert 50 < only.wait(large, open_now=0, now=0.0) <= 60
    assert only.wait(large, open_now=0, now=61.0) == 0


def test_a_bucket_fills_to_its_capacity_and_no_clock_that_steps_back_fills_it() -> None:
    bucket = Bucket(rate=2.0, capacity=4.0, level=0.0, at=100.0)
    assert bucket.wait(1, 100.0) == pytest.approx(0.5)
    assert bucket.wait(3, 101.0) == pytest.approx(0.5)
    assert bucket.wait(1, 50.0) == 0
    assert bucket.level == pytest.approx(2.0)
    bucket.wait(1, 1000.0)
    assert bucket.level == 4.0
    bucket.take(-10)
    assert bucket.level == 4.0


def test_retry_after_holds_all_callers_for_as_long_as_it_says() -> None:
    limits = Limits([gate()])
    assert asked(limits, 0.0, wants=2, caller="a") == (0, 0)
    asked(limits, 1.0, wants=0, caller="a", outcomes=(Outcome(0, "limited", wait_s=20.0),))
    asked(limits, 2.0, wants=0, caller="a", outcomes=(Outcome(0, "limited", wait_s=1.0),))
    for caller in "abc":
        for now in (2.0, 10.0, 20.9):
            assert asked(limits, now, wants=1, caller=caller) == ()
    assert asked(limits, 21.0, wants=1, caller="c") == (0,)


def test_a_429_without_a_time_holds_longer_each_time_and_an_answer_forgets_it() -> None:
    only, now, holds = gate(), 0.0, []
    for _ in range(12):
        only.note(Outcome(0, "limited"), open_now=0, now=now)
        holds.append(only.wait(WANT, open_now=0, now=now))
        now += holds[-1]
    assert 0.1 < holds[0] < 1
    assert all(later > earlier for earlier, later in itertools.pairwise(holds[:5]))
    assert max(holds) <= 30 * 1.25
    only.note(Outcome(0, "answered"), open_now=0, now=now)
    only.note(Outcome(0, "limited"), open_now=0, now=now)
    assert only.wait(WANT, open_now=0, now=now) < 1


def test_what_the_endpoint_counts_wins_where_it_is_less() -> None:
    only = gate(requests_per_minute=6000)
    only.note(Outcome(0, "answered", remaining_requests=0), open_now=0, now=0.0)
    assert only.wait(WANT, open_now=0, now=0.0) == pytest.approx(0.01)
    plenty = gate(requests_per_minute=60)
    plenty.take(WANT)
    plenty.note(Outcome(0, "answered", remaining_requests=1e9), open_now=0, now=0.0)
    assert plenty.wait(WANT, open_now=0, now=0.0) == pytest.approx(1.0)
    tokens = gate(tokens_per_minute=6000)
    tokens.note(Outcome(0, "answered", remaining_tokens=0), open_now=0, now=0.0)
    assert tokens.wait(WANT, open_now=0, now=0.0) == pytest.approx(1.0)
    reset = gate()
    reset.note(Outcome(0, "answered", remaining_requests=0, wait_s=7.0), open_now=0, now=0.0)
    assert reset.wait(WANT, open_now=0, now=0.0) == 7.0


def settled(window: Window, *, capacity: float, rounds: int, by_chance: float = 0.0) -> list[float]:
    """The limits of a window over an endpoint that turns away what is beyond its capacity, round after round."""
    draw, seen = random.Random(5), []
    for _ in range(rounds):
        open_now = int(window.limit)
        for number in range(open_now):
            limited = number >= capacity or draw.random() < by_chance
            window.note(limited=limited, open_now=open_now - number - 1)
        seen.append(window.limit)
    return seen


def test_a_window_shrinks_to_what_the_endpoint_bears_and_grows_again() -> None:
    window = Window(200)
    shrunk = settled(window, capacity=40, rounds=100)[50:]
    assert 28 <= sum(shrunk) / len(shrunk) <= 60
    assert settled(window, capacity=1000, rounds=100)[-1] == 200
    assert settled(Window(8), capacity=0, rounds=50)[-1] == 1


def test_few_429s_by_chance_do_not_shrink_the_window() -> None:
    for most in (16, 64, 500):
        seen = settled(Window(most), capacity=math.inf, rounds=500, by_chance=0.05)
        assert sum(seen) / len(seen) > 0.85 * most, most


def test_outcomes_that_are_told_together_shrink_the_window_as_much_as_one_by_one() -> None:
    limits = Limits([gate(most=100)])
    assert len(asked(limits, 0.0, wants=100)) == 100
    # All hundred ended since the caller last spoke; forty of them were turned away.
    kinds = [Outcome(0, "limited", wait_s=0.0)] * 40 + [Outcome(0, "answered")] * 60
    random.Random(0).shuffle(kinds)
    asked(limits, 1.0, wants=0, outcomes=tuple(kinds))
    assert limits.gates[0].window.limit == pytest.approx(70.0)


def test_calls_in_flight_are_counted_over_all_callers() -> None:
    limits = Limits([gate(calls_in_flight=5)])
    assert len(asked(limits, 0.0, wants=3, caller="a")) == 3
    assert len(asked(limits, 0.1, wants=9, caller="b")) == 2
    assert asked(limits, 0.2, wants=1, caller="a", open=(3,)) == ()
    assert len(asked(limits, 0.3, wants=9, caller="a", open=(1,))) == 2


@pytest.mark.parametrize("per_minute", [300, 60_000])
def test_a_lost_keeper_never_lets_more_through_than_the_limits(per_minute: int) -> None:
    in_flight, draw = 20, random.Random(3)
    made = {"requests_per_minute": per_minute, "calls_in_flight": in_flight}
    limits, now, times = Limits([gate(**made)]), 0.0, []
    ends: dict[str, list[float]] = {caller: [] for caller in "abcd"}
    heard = dict.fromkeys(ends, 0.0)
    while now < 300:
        now += 0.05
        if draw.random() < 0.003:
            limits = Limits([gate(full=False, now=now, **made)], grants_from=now + 3.0)
        for caller, open_until in ends.items():
            open_until[:] = [end for end in open_until if end > now]
            # As callers do: at least every two seconds, and often.
            if now - heard[caller] < 1.9 and draw.random() < 0.9:
                continue
            heard[caller] = now
            got = asked(limits, now, wants=draw.randrange(12), caller=caller, open=(len(open_until),))
            open_until += [now + draw.uniform(0.1, 8) for _ in got]
            times += [now] * len(got)
        assert sum(len([end for end in those if end > now]) for those in ends.values()) <= in_flight
    assert len(times) > 300
    assert most_in(times, seconds=60) <= per_minute * 1.05


def test_a_caller_that_went_silent_has_nothing_open_and_one_that_comes_back_has() -> None:
    limits = Limits([gate(calls_in_flight=4)])
    assert len(asked(limits, 0.0, wants=4, caller="dead")) == 4
    assert asked(limits, 14.0, wants=1, caller="b") == ()
    assert len(asked(limits, 16.0, wants=4, caller="b")) == 4
    asked(limits, 17.0, wants=0, caller="dead", open=(4,))
    assert limits.open_at(0) == 8
    assert asked(limits, 18.0, wants=1, caller="b", open=(3,)) == ()


def test_a_caller_that_closes_leaves_room_at_once() -> None:
    limits = Limits([gate(calls_in_flight=1)])
    assert asked(limits, 0.0, wants=1, caller="a") == (0,)
    limits.exchange(Asking("a", (0,), closing=True), 0.1)
    assert asked(limits, 0.2, wants=1, caller="b") == (0,)


def test_endpoints_share_the_calls_by_weight() -> None:
    limits = Limits([gate(weight=3.0), gate(weight=1.0), gate(weight=6.0)])
    assert Counter(asked(limits, 0.0, wants=100)) == {0: 30, 1: 10, 2: 60}


def test_a_full_endpoint_s_calls_go_to_the_others() -> None:
    limits = Limits([gate(weight=100.0, calls_in_flight=2), gate()])
    assert Counter(asked(limits, 0.0, wants=10)) == {0: 2, 1: 8}
    held = Limits([gate(), gate()])
    asked(held, 0.0, wants=0, outcomes=(Outcome(0, "limited", wait_s=9.0),))
    assert Counter(asked(held, 1.0, wants=5)) == {1: 5}


def test_an_endpoint_that_fails_is_left_alone_and_probed_with_one_call_until_it_answers() -> None:
    limits = Limits([gate(), gate()])
    failed = (Outcome(0, "failed"),) * 5
    asked(limits, 0.0, wants=0, outcomes=failed)
    assert set(asked(limits, 0.1, wants=50)) == {1}
    # After its time on the bench one call tries it, whatever else is wanted.
    probe = asked(limits, 10.0, wants=50)
    assert Counter(probe) == {0: 1, 1: 49}
    asked(limits, 11.0, wants=0, outcomes=(Outcome(0, "failed"),))
    assert set(asked(limits, 11.1, wants=50)) == {1}
    assert Counter(asked(limits, 40.0, wants=50))[0] == 1
    asked(limits, 41.0, wants=0, outcomes=(Outcome(0, "answered"),))
    assert Counter(asked(limits, 41.1, wants=50)) == {0: 25, 1: 25}


def test_an_unusable_endpoint_is_asked_no_more_and_the_last_one_stops_everyone() -> None:
    limits = Limits([gate(), gate()])
    asked(limits, 0.0, wants=0, outcomes=(Outcome(0, "unusable", why="a refuses the key"),))
    assert set(asked(limits, 1000.0, wants=20)) == {1}
    said = limits.exchange(Asking("b", (0, 0), outcomes=(Outcome(1, "unusable", why="b is gone"),)), 1001.0)
    assert said.stop == "a refuses the key"
    assert limits.exchange(Asking("c", (0, 0), wants=(WANT,)), 1002.0).stop
