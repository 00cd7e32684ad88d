"""The ceiling on money: never passed, at no moment and through no kill; and it never hangs anyone."""

import random
from dataclasses import dataclass, field

import pytest

from pipeline.limits import Asking, Gate, Limits, LimitSettings, Want
from pipeline.money import Money


@dataclass
class World:
    """What is true beside what the keeper believes: all bills ever, the ledger, and what lies on storage."""

    draw: random.Random
    billed: float = 0.0
    ledger: dict[str, float] = field(default_factory=dict)
    stored: dict[str, float] = field(default_factory=dict)

    def money(self, budget: float) -> Money:
        return Money(budget, bought=self.ledger, left_open=self.stored)


@dataclass
class Caller:
    """Has calls open; each may cost anything up to its worst."""

    name: str
    settled: float = 0.0
    open: list[float] = field(default_factory=list)

    @property
    def reserved(self) -> float:
        return sum(self.open)

    def end_one(self, world: World) -> None:
        worst = self.open.pop(world.draw.randrange(len(self.open)))
        bill = worst * world.draw.choice([0.0, 0.3, 1.0])
        world.billed += bill
        # The bill is in the ledger before the keeper hears of it.
        world.ledger[self.name] = world.ledger.get(self.name, 0.0) + bill
        self.settled += bill


@pytest.mark.parametrize("seed", range(60))
def test_no_bill_ever_passes_the_budget_through_kills_and_restarts(seed: int) -> None:
    world, budget = World(random.Random(seed)), 10.0
    money, callers, made = world.money(budget), [Caller("0")], 1
    draw = world.draw
    for _ in range(600):
        caller = draw.choice(callers)
        chance = draw.random()
        if chance < 0.45:
            worst = draw.uniform(0.01, 0.8)
            money.note(caller.name, caller.settled, caller.reserved)
            granted = money.reserve(caller.name, worst)
            if money.unsaved:
                world.stored = money.open_charges()
            # The keeper may be killed between writing and answering: then the call is never made.
            if granted and draw.random() < 0.97:
                caller.open.append(worst)
        elif chance < 0.85:
            if caller.open:
                caller.end_one(world)
            money.note(caller.name, caller.settled, caller.reserved)
        elif chance < 0.9:
            # The caller is killed; its open calls are billed at their most, and nobody hears of it.
            world.billed += caller.reserved
            money.lose(caller.name)
            callers.remove(caller)
        elif chance < 0.95:
            money = world.money(budget)
        elif not caller.open:
            money.note(caller.name, caller.settled, 0.0, closing=True)
            callers.remove(caller)
        if chance >= 0.98 or not callers:
            # The whole command is killed, and started again.
            for killed in callers:
                world.billed += killed.reserved
            callers, money = [], world.money(budget)
        if not callers or draw.random() < 0.05:
            callers.append(Caller(str(made)))
            made += 1
        assert world.billed + sum(caller.reserved for caller in callers) <= budget + 1e-9
    assert world.billed > budget / 4


def limits_of(money: Money) -> Limits:
    return Limits([Gate(LimitSettings(), most=10**6, weight=1, now=0.0, full=True)], money)


def test_at_the_budget_there_is_one_line_once_nothing_is_open_and_a_raised_budget_goes_on() -> None:
    limits = limits_of(Money(1.0, bought={}, left_open={}))
    wants = (Want(0, 0.3),) * 10
    assert len(limits.exchange(Asking("a", (0,), wants=wants), 0.0).endpoints) == 3
    # While calls are open, some of what is reserved may come back: nobody is told to stop.
    waiting = limits.exchange(Asking("b", (0,), wants=wants), 0.1)
    assert (waiting.endpoints, waiting.stop) == ((), "")
    assert 0 < waiting.wait_s <= 1
    # They cost less than was reserved, so another fits.
    cheap = limits.exchange(Asking("a", (2,), settled_usd=0.01, reserved_usd=0.6, wants=wants), 0.2)
    assert len(cheap.endpoints) == 1
    ended = limits.exchange(Asking("a", (0,), settled_usd=0.95, wants=wants), 0.3)
    assert ended.endpoints == ()
    for part in ("budget_usd=1 ", "$0.9500 is spent", "may cost $0.3000", "raise budget_usd"):
        assert part in ended.stop
    assert "\n" not in ended.stop
    assert limits.exchange(Asking("c", (0,), wants=wants), 0.4).stop == ended.stop
    raised = limits_of(Money(2.0, bought={"a": 0.95}, left_open={}))
    assert len(raised.exchange(Asking("d", (0,), wants=wants), 0.0).endpoints) == 3


def test_nobody_waits_for_ever_for_a_caller_that_died_with_money_reserved() -> None:
    limits = limits_of(Money(1.0, bought={}, left_open={}))
    limits.exchange(Asking("dead", (0,), wants=(Want(0, 0.8),)), 0.0)
    now, said = 0.0, limits.exchange(Asking("b", (0,), wants=(Want(0, 0.5),)), 0.1)
    while not said.stop and now < 60:
        now += 0.5
        said = limits.exchange(Asking("b", (0,), wants=(Want(0, 0.5),)), now)
        assert said.endpoints == ()
    assert "$0.8000 is spent" in said.stop
    assert 10 < now < 30


def test_a_killed_caller_stays_charged_at_its_most_and_the_line_says_so() -> None:
    money = Money(2.0, bought={"old": 0.5, "killed": 0.25}, left_open={"killed": 1.0})
    assert money.charged_usd == pytest.approx(1.5)
    assert money.reserve("new", 0.5)
    assert not money.reserve("new", 0.01)
    money.note("new", 0.5, 0.0)
    said = money.ceiling(0.01)
    assert said is not None
    assert "$0.7500 of it for calls that were open when a process was killed" in said


def test_what_is_stored_covers_every_reservation_and_is_empty_once_all_are_closed() -> None:
    money = Money(10.0, bought={}, left_open={})
    for usd in (1.0, 2.0):
        assert money.reserve("a", usd)
        assert money.unsaved
        charges = money.open_charges()
        assert charges["a"] >= usd
        # Until they are written, nothing is saved.
        assert money.unsaved
        money.saved(charges)
        assert not money.unsaved
    assert money.open_charges() == {"a": 3.0}
    # What was settled below its reservation leaves room that was stored already: nothing to write.
    money.note("a", 0.5, 0.0)
    assert money.reserve("a", 2.0)
    assert not money.unsaved
    money.note("a", 0.6, 0.0)
    money.reserve("busy", 1.0)
    money.close_idle({"a": 0.6})
    assert money.open_charges() == {"busy": 1.0}
    assert money.charged_usd == pytest.approx(1.6)


def test_a_bill_that_never_reached_the_ledger_stays_charged_after_a_restart() -> None:
    money = Money(1.0, bought={}, left_open={})
    assert money.reserve("a", 0.4)
    money.note("a", 0.4, 0.0)
    # The answer was billed and could not be written: the ledger holds nothing of it.
    money.close_idle({})
    assert Money(1.0, bought={}, left_open=money.open_charges()).charged_usd == pytest.approx(0.4)


def test_two_teachers_spend_under_one_ceiling_and_neither_waits_for_the_others_dead_callers() -> None:
    money = Money(1.0, bought={}, left_open={})
    one, other = (Limits([Gate(LimitSettings(), most=9, weight=1.0, now=0.0, full=True)], money) for _ in range(2))

    def ask(limits: Limits, caller: str, now: float, *, wants: int = 2, **said: float) -> tuple[int, str]:
        granted = limits.exchange(Asking(caller, (0,), wants=(Want(1, 0.4),) * wants, **said), now)
        return len(granted.endpoints), granted.stop

    assert ask(one, "a", 0.0) == (2, "")
    assert money.charged_usd == pytest.approx(0.8)
    # The rest is too little for another call, but what is open at the first teacher may cost less than it can.
    assert ask(other, "b", 1.0) == (0, "")
    ask(one, "a", 2.0, wants=0, settled_usd=0.1, reserved_usd=0.4)
    assert ask(other, "b", 3.0) == (1, "")
    # The first teacher's caller died: only forgetting it there lets the second teacher see the ceiling.
    assert ask(other, "b", 30.0, settled_usd=0.4) == (0, "")
    one.forget_silent(30.0)
    granted, stop = ask(other, "b", 31.0, settled_usd=0.4)
    assert granted == 0
    assert "budget_usd=1 is reached: $0.9000 is spent" in stop
