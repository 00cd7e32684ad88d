"""A caller's side of the limits: every request takes a lease first and gives it back with how it ended.

Leases are asked for in batches, one exchange at a time, so that the limits cost little at thousands of calls a second.
"""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.errors import Stop
from pipeline.limits import Asking, Granted, Limits, Outcome, Want

_PACE_S = 0.01
_HEARTBEAT_S = 2.0


class Office(Protocol):
    """Whoever keeps the limits; it answers however long that takes."""

    async def exchange(self, asking: Asking) -> Granted:
        """Take in what a caller says, and grant what may start."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave for one request, at one endpoint; `usd` is reserved for it."""

    endpoint: int
    want: Want


@dataclass
class OwnOffice:
    """Limits kept in this very process, for a caller that is alone."""

    limits: Limits

    async def exchange(self, asking: Asking) -> Granted:
        """Take in what the caller says, and grant what may start."""
        return self.limits.exchange(asking, time.monotonic())


@dataclass
class Leases:
    """Takes and gives back leases for one caller; belongs to one event loop."""

    office: Office
    endpoints: int
    caller: str = field(default_factory=lambda: uuid.uuid4().hex)
    settled_usd: float = 0.0
    _open: list[int] = field(init=False)
    _reserved: float = 0.0
    _waiting: deque[tuple[Want, asyncio.Future[Lease]]] = field(default_factory=deque)
    _outcomes: list[Outcome] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _talking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _pump: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._open = [0] * self.endpoints

    async def take(self, want: Want) -> Lease:
        """Wait for leave. Raises Stop when no request will ever get it: the budget is used up, or no endpoint works."""
        leave: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiting.append((want, leave))
        self._tell()
        try:
            return await leave
        except asyncio.CancelledError:
            if leave.done() and not leave.cancelled() and leave.exception() is None:
                # Granted in the very moment that nobody waited for it any more.
                self._close(leave.result())
            raise

    def hold(self, want: Want) -> Lease:
        """A lease for a request that another process started and this one took over."""
        self._open[0] += 1
        self._reserved += want.usd
        self._tell()
        return Lease(0, want)

    def give(self, lease: Lease, outcome: Outcome, *, settled_usd: float) -> None:
        """Give a lease back with how the request ended and the most that it can have cost."""
        self.settled_usd += settled_usd
        self._outcomes.append(outcome)
        self._close(lease)

    def _close(self, lease: Lease) -> None:
        self._open[lease.endpoint] -= 1
        # Sums of fractions drift: with nothing open, nothing is reserved.
        self._reserved = self._reserved - lease.want.usd if any(self._open) else 0.0
        self._tell()

    async def flush(self) -> None:
        """Return when the office has heard how every request ended that was given back."""
        async with self._talking:
            if self._outcomes:
                await self._exchange()

    def abandon(self) -> None:
        """Say no more: the office keeps the money charged that was reserved last."""
        if self._pump is not None:
            self._pump.cancel()

    async def close(self) -> None:
        """Tell the office that nothing is open any more."""
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        outcomes, self._outcomes = tuple(self._outcomes), []
        asking = Asking(self.caller, tuple(self._open), self.settled_usd, 0.0, outcomes, closing=True)
        await self.office.exchange(asking)

    def _tell(self) -> None:
        self._news.set()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._exchange_all())

    async def _exchange_all(self) -> None:
        try:
            while self._waiting or any(self._open) or self._outcomes or self._news.is_set():
                async with self._talking:
                    wait = await self._exchange()
                # Until there is news, at most as long as the office said; and never faster than the pace.
                await asyncio.sleep(_PACE_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), max(0.0, wait - _PACE_S))
        except Exception as error:  # noqa: BLE001 whatever it is, everyone who waits must hear of it
            self._refuse(error)

    async def _exchange(self) -> float:
        self._news.clear()
        outcomes, self._outcomes = tuple(self._outcomes), []
        self._waiting = deque((want, leave) for want, leave in self._waiting if not leave.cancelled())
        wants = tuple(want for want, _ in self._waiting)
        granted = await self.office.exchange(
            Asking(self.caller, tuple(self._open), self.settled_usd, self._reserved, outcomes, wants)
        )
        for endpoint in granted.endpoints:
            self._start(endpoint)
        if granted.stop:
            self._refuse(Stop(granted.stop))
        return granted.wait_s if self._waiting else _HEARTBEAT_S

    def _start(self, endpoint: int) -> None:
        want, leave = self._waiting.popleft()
        if leave.cancelled():
            # The office counts it as open until it hears otherwise.
            self._news.set()
            return
        self._open[endpoint] += 1
        self._reserved += want.usd
        leave.set_result(Lease(endpoint, want))

    def _refuse(self, error: Exception) -> None:
        while self._waiting:
            _, leave = self._waiting.popleft()
            if not leave.done():
                leave.set_exception(error)
