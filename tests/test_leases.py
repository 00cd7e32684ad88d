"""A caller's leases: order, batches, and what happens when the office stops, goes away or comes back."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import pytest

from pipeline.errors import Stop
from pipeline.leases import Lease, Leases, OwnOffice
from pipeline.limits import Asking, Gate, Granted, Limits, LimitSettings, Outcome, Want
from pipeline.money import Money

WANT = Want(tokens=10, usd=0.5)


def ended(lease: Lease, kind: str = "answered") -> Outcome:
    return Outcome(lease.endpoint, kind)  # type: ignore[arg-type]


@dataclass
class Office:
    """Keeps all that it was told, and grants so many wants at each exchange; `away` holds it for a while."""

    each: int = 1000
    stop: str = ""
    heard: list[Asking] = field(default_factory=list)
    talking: int = 0
    away: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.away.set()

    async def exchange(self, asking: Asking) -> Granted:
        self.talking += 1
        assert self.talking == 1, "two exchanges of one caller at once"
        try:
            await self.away.wait()
            await asyncio.sleep(0)
        finally:
            self.talking -= 1
        self.heard.append(asking)
        if self.stop:
            return Granted(stop=self.stop)
        return Granted((0,) * min(self.each, len(asking.wants)), wait_s=0.01)


def test_leases_come_in_the_order_they_were_asked_for() -> None:
    async def ask() -> list[int]:
        leases, order = Leases(Office(each=3), 1), []

        async def one(number: int) -> None:
            lease = await leases.take(WANT)
            order.append(number)
            leases.give(lease, ended(lease), settled_usd=0.0)

        await asyncio.gather(*(one(number) for number in range(20)))
        await leases.close()
        return order

    assert asyncio.run(ask()) == list(range(20))


def test_a_thousand_leases_take_few_exchanges() -> None:
    office = Office()

    async def ask() -> None:
        leases = Leases(office, 1)

        async def one() -> None:
            lease = await leases.take(WANT)
            await asyncio.sleep(0.001)
            leases.give(lease, ended(lease), settled_usd=0.25)

        await asyncio.gather(*(one() for _ in range(1000)))
        await leases.flush()
        await leases.close()

    asyncio.run(ask())
    assert len(office.heard) < 20
    # All that happened was told once, whatever it was told with.
    assert sum(len(asking.outcomes) for asking in office.heard) == 1000
    assert office.heard[-1].closing
    assert (office.heard[-1].open, office.heard[-1].reserved_usd) == ((0,), 0.0)
    assert office.heard[-1].settled_usd == pytest.approx(250.0)


def test_what_is_open_and_reserved_is_told_as_it_is() -> None:
    office = Office()

    async def ask() -> None:
        leases = Leases(office, 1)
        held = [await leases.take(WANT) for _ in range(3)]
        leases.give(held.pop(), Outcome(0, "limited"), settled_usd=0.125)
        await leases.flush()
        await leases.close()

    asyncio.run(ask())
    flushed = next(asking for asking in office.heard if asking.outcomes)
    assert (flushed.open, flushed.reserved_usd, flushed.settled_usd) == ((2,), 1.0, 0.125)
    assert flushed.outcomes == (Outcome(0, "limited"),)


def test_a_stop_reaches_everyone_who_waits_and_those_who_come_later() -> None:
    async def ask() -> list[object]:
        leases = Leases(Office(stop="nothing is left"), 1)
        first = await asyncio.gather(*(leases.take(WANT) for _ in range(5)), return_exceptions=True)
        later = await asyncio.gather(leases.take(WANT), return_exceptions=True)
        await leases.close()
        return [*first, *later]

    said = asyncio.run(ask())
    assert [(type(one), str(one)) for one in said] == [(Stop, "nothing is left")] * 6


def test_an_office_that_breaks_leaves_nobody_waiting() -> None:
    class Broken(Office):
        async def exchange(self, asking: Asking) -> Granted:
            raise Stop("the office is gone for good")

    async def ask() -> list[object]:
        leases = Leases(Broken(), 1)
        return await asyncio.wait_for(
            asyncio.gather(*(leases.take(WANT) for _ in range(3)), return_exceptions=True), timeout=5
        )

    assert [str(one) for one in asyncio.run(ask())] == ["the office is gone for good"] * 3


def test_callers_wait_while_the_office_is_away_and_go_on_after() -> None:
    office = Office()

    async def ask() -> tuple[float, int]:
        leases = Leases(office, 1)
        held = await leases.take(WANT)
        office.away.clear()
        waiting = [asyncio.create_task(leases.take(WANT)) for _ in range(4)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in waiting)
        # A call that ends meanwhile is no trouble; the office hears of it when it is back.
        leases.give(held, ended(held), settled_usd=0.5)
        started = time.monotonic()
        office.away.set()
        got = await asyncio.gather(*waiting)
        took = time.monotonic() - started
        await leases.flush()
        await leases.close()
        return took, len(got)

    took, got = asyncio.run(ask())
    assert got == 4
    assert took < 1
    assert sum(len(asking.outcomes) for asking in office.heard) == 1


def test_a_caller_that_waits_no_longer_leaves_nothing_open() -> None:
    office = Office(each=0)

    async def ask() -> None:
        leases = Leases(office, 1)
        tired = asyncio.create_task(leases.take(WANT))
        patient = asyncio.create_task(leases.take(WANT))
        await asyncio.sleep(0.05)
        tired.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tired
        office.each = 1000
        lease = await asyncio.wait_for(patient, timeout=5)
        leases.give(lease, ended(lease), settled_usd=0.0)
        await leases.flush()
        await leases.close()

    asyncio.run(ask())
    assert (office.heard[-1].open, office.heard[-1].reserved_usd) == ((0,), 0.0)


def test_a_caller_with_calls_open_is_heard_of_though_nothing_happens() -> None:
    office = Office()

    async def ask() -> None:
        leases = Leases(office, 1)
        await leases.take(WANT)
        heard = len(office.heard)
        await asyncio.sleep(2.5)
        assert len(office.heard) > heard
        await leases.close()

    asyncio.run(ask())


def test_an_office_of_one_s_own_keeps_limits_and_budget() -> None:
    async def ask() -> tuple[int, int, str]:
        gates = [Gate(LimitSettings(calls_in_flight=3), most=99, weight=1, now=0.0, full=True)]
        money = Money(5.0, bought={}, left_open={})
        leases, most, stops = Leases(OwnOffice(Limits(gates, money)), 1), 0, []
        open_now = answered = 0

        async def one() -> None:
            nonlocal open_now, most, answered
            try:
                lease = await leases.take(WANT)
            except Stop as stop:
                stops.append(str(stop))
                return
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(0.001)
            open_now -= 1
            answered += 1
            leases.give(lease, ended(lease), settled_usd=0.4)

        await asyncio.wait_for(asyncio.gather(*(one() for _ in range(50))), timeout=20)
        await leases.close()
        assert money.open_charges() == {}
        assert money.charged_usd == pytest.approx(0.4 * answered)
        return most, answered, stops[0]

    most, answered, said = asyncio.run(ask())
    assert most == 3
    # 12 x 0.4 = 4.8: another 0.5 would not fit, and 11 x 0.4 + 0.5 did.
    assert answered == 12
    assert "$4.8000 is spent" in said


def test_a_lease_that_is_granted_as_its_taker_is_cancelled_does_not_stay_open() -> None:
    limits = Limits([Gate(LimitSettings(), most=1, weight=1.0, now=0.0, full=True)])

    async def run() -> None:
        leases = Leases(OwnOffice(limits), 1)
        taking = asyncio.create_task(leases.take(WANT))
        while not limits.open_at(0):
            await asyncio.sleep(0)
        assert not taking.done(), "the test must come before the task hears of its lease"
        taking.cancel()
        # The one place is free again.
        await asyncio.wait_for(leases.take(WANT), 5)

    asyncio.run(run())
