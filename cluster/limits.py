"""The one actor that grants requests, tokens and money to all callers of all teachers: each teacher has limits of its
own, and one ceiling on money holds for them together.

Its state is what callers say of themselves and what lies on storage (the ledger's costs, and `ledger/open.json`: the
most that open calls can come to). So it may be lost at any time: Ray starts it again, callers wait for it, and until
it has heard from them it grants nothing.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from cluster.asks import TeacherAt
from cluster.progress import Meter
from pipeline.errors import Stop
from pipeline.ledger import OPEN, spent
from pipeline.limits import Asking, Gate, Granted, Limits, LimitSettings
from pipeline.money import Money
from pipeline.store import Store

_GRACE_S = 3.0
_AGAIN_S, _GONE_S = 0.5, 600.0
_TELL_S = 1.0


@ray.remote(num_cpus=0, max_restarts=-1)
class Keeper:
    """Keeps the limits of one run's teachers, by name."""

    def __init__(self, store: Store, teachers: Sequence[TeacherAt], board: Any) -> None:
        self._store = store
        self._meter = Meter(board)
        self._told_at = 0.0
        now = time.monotonic()
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        budget_usd = teachers[0].budget_usd
        self._money = None if budget_usd is None else _money(store, budget_usd)
        self._limits = {
            teacher.name: Limits(
                # A fresh start must not add a burst to what was asked just before it.
                [_gate(teacher, at, now=now, full=not restarted) for at in range(len(teacher.endpoints))],
                self._money,
                grants_from=now + _GRACE_S if restarted else now,
            )
            for teacher in teachers
        }

    @ray.method(max_task_retries=-1)
    def ready(self) -> bool:
        """Returns once it has read what was spent before; what it raises says why it can't."""
        return True

    def exchange(self, asking: Asking, teacher: str) -> Granted:
        """Take in what a caller of a teacher says, and grant what may start; a reservation is on storage before it
        counts."""
        now = time.monotonic()
        for limits in self._limits.values():
            limits.forget_silent(now)
        granted = self._limits[teacher].exchange(asking, now)
        self._meter.add(Counter(f"requests/{teacher}/{outcome.kind}" for outcome in asking.outcomes))
        if asking.closing or now - self._told_at > _TELL_S:
            self._tell(now)
        if self._money is not None and self._money.unsaved:
            self._save(self._money)
        return granted

    @ray.method(max_task_retries=-1)
    def settle(self) -> None:
        """Close the books of all callers that have nothing open."""
        if self._money is not None:
            self._money.close_idle(spent(self._store).by_caller)
            self._save(self._money)

    def _tell(self, now: float) -> None:
        self._told_at = now
        figures: dict[str, float] = {
            f"{name}/{teacher}": value
            for teacher, limits in self._limits.items()
            for name, value in limits.figures().items()
        }
        if (money := self._money) is not None:
            figures["budget_usd/ceiling"] = money.budget_usd
            figures["budget_usd/reserved"] = money.reserved_usd
            figures["budget_usd/settled"] = money.charged_usd - money.reserved_usd
        self._meter.set(figures)
        self._meter.flush()

    def _save(self, money: Money) -> None:
        charges = money.open_charges()
        self._store.write_json(OPEN, charges)
        money.saved(charges)


class RayOffice:
    """The keeper as callers of one teacher see it: while it is away they wait, and never go on without it."""

    def __init__(self, keeper: Any, teacher: str) -> None:
        self._keeper = keeper
        self._teacher = teacher

    async def exchange(self, asking: Asking) -> Granted:
        """Take in what a caller says, and grant what may start. Raises Stop when the keeper stays away."""
        gone_at = time.monotonic() + _GONE_S
        while True:
            try:
                granted: Granted = await self._keeper.exchange.remote(asking, self._teacher)
                return granted
            except RayActorError as error:
                if time.monotonic() > gone_at:
                    raise Stop("the limits' keeper is gone for good: run the same command again") from error
            except RayTaskError as error:
                raise (error.cause if isinstance(error.cause, Stop) else error) from None
            await asyncio.sleep(_AGAIN_S)


def keeper_of(teachers: Sequence[TeacherAt], store: Store, board: Any, *, name: str) -> Any:
    """A keeper that has read what was spent before, and tells the board. Raises Stop when that can't be read."""
    keeper = Keeper.options(name=name).remote(store, teachers, board)  # type: ignore[attr-defined]
    try:
        ray.get(keeper.ready.remote())
    except RayActorError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise Stop(f"the limits can't be kept: {lines[-1][:300]}") from error
    return keeper


def _gate(teacher: TeacherAt, at: int, *, now: float, full: bool) -> Gate:
    endpoint, settings = teacher.endpoints[at], teacher.settings
    limits = endpoint.limits or settings.limits
    most = settings.in_flight * settings.actors
    if settings.batch is not None:
        # Batches have limits of their own at the provider; only money is counted here.
        limits, most = LimitSettings(), sys.maxsize
    return Gate(
        limits,
        most=most,
        weight=endpoint.weight,
        now=now,
        full=full,
    )


def _money(store: Store, budget_usd: float) -> Money:
    left_open = store.read_json(OPEN) if store.exists(OPEN) else {}
    return Money(budget_usd, bought=spent(store).by_caller, left_open=left_open)
