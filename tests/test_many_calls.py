"""Buying many calls at once: when a 429 holds everyone, and how many calls exist at a time."""

import asyncio
import gc
import math
from collections.abc import Sequence
from pathlib import Path

from rows import call

from pipeline.generate import Answer, buy
from pipeline.ledger import Call, Ledger
from pipeline.limits import Gate, LimitSettings, Outcome, Want
from pipeline.store import Store
from pipeline.truncated import Truncated

WANT = Want(tokens=1.0, usd=0.0)


def gate_after(*kinds: str, most: int = 64, wait_s: float | None = None) -> Gate:
    gate = Gate(LimitSettings(), most=most, weight=1.0, now=0.0, full=True)
    for kind in kinds:
        gate.note(Outcome(0, kind, wait_s=wait_s if kind == "limited" else None), open_now=0, now=0.0)  # type: ignore[arg-type]
    return gate


def waits(gate: Gate) -> bool:
    return not math.isclose(gate.wait(WANT, open_now=0, now=0.0), 0.0)


def test_the_first_429_holds_everyone() -> None:
    assert waits(gate_after("limited"))
    assert waits(gate_after("limited", most=1))


def test_one_429_in_twenty_holds_nobody_else_and_one_in_five_does() -> None:
    # By hand: the decayed share tends to 1/20 and 1/5, and more than 1/10 holds.
    assert not waits(gate_after(*(["answered"] * 19 + ["limited"]) * 20))
    assert waits(gate_after(*(["answered"] * 4 + ["limited"]) * 20))
    # But a time that the endpoint names holds everyone, however few it names it to.
    assert waits(gate_after(*(["answered"] * 19 + ["limited"]) * 20, wait_s=5.0))


class Counting:
    """Answers at once, and notes how many tasks there are meanwhile."""

    identity, caller, seeded = "model @ host", "caller", True

    def __init__(self) -> None:
        self.most_tasks = 0

    async def answer(self, call: Call) -> Answer:
        self.most_tasks = max(self.most_tasks, len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        return Answer("answered", reply="2", finish_reason="stop")

    async def bought(self, keys: Sequence[str]) -> None:
        """Nothing to tell."""


def test_only_calls_with_a_slot_have_a_task(tmp_path: Path) -> None:
    engine = Counting()
    told = []

    async def work() -> None:
        await buy(
            [call(draw) for draw in range(200)],
            engine=engine,
            ledger=Ledger(Store(str(tmp_path)), "shard"),
            known={},
            truncated=Truncated(),
            slots=asyncio.Semaphore(4),
            invocation="first",
            told=told.append,
        )

    asyncio.run(work())
    assert len({entry.draw for entry in told}) == 200
    # Four calls, the one that starts them, and the ledger's writer.
    assert engine.most_tasks <= 6


def test_looking_seldom_leaves_the_collector_on() -> None:
    from pipeline.collector import look_seldom

    before = gc.get_threshold()
    # An actor that another test ran in this process may have looked seldom already.
    gc.set_threshold(700, 10, 10)
    try:
        look_seldom()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > 700
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
