"""How much may be asked of the teacher and how fast: rules over a clock that is passed in, for one process to keep.

Callers say what they have open and what they want; they are told what they may start, and where. All that a caller
says is absolute ("I have 12 open"), never a change, so a keeper that was lost learns everything from the next words.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from pipeline.money import Money
from pipeline.settings import Settings

_REQUEST_BURST_S = 1.0
_TOKEN_BURST_S = 3.0
_DECREASE, _LIMITED_SHARE, _INCREASE_SHARE = 0.7, 0.1, 0.05
_JUDGED = 20
_FEW = 8
_HOLD_S = (0.25, 30.0)
_BENCH_AFTER, _DOWN_SHARE, _BENCH_S = 5, 0.25, (0.5, 15.0)
_SILENT_S = 15.0
_LONGEST_WAIT_S = 0.5


class LimitSettings(Settings):
    """How fast one endpoint may be asked, by all callers together."""

    requests_per_minute: float | None = Field(default=None, gt=0)
    """The most requests a minute, retries included; none means no limit but what the endpoint says."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """The most tokens a minute, prompt and completion together; none means no limit but what the endpoint says."""
    calls_in_flight: int | None = Field(default=None, gt=0)
    """The most calls open at once; none takes in_flight x actors. It shrinks by itself while the endpoint says 429."""


@dataclass(frozen=True, slots=True)
class Want:
    """A request that waits: the tokens it will likely use, and the most it can cost."""

    tokens: float
    usd: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended; `tokens` is what it used beyond what was reserved for it (negative: less)."""

    endpoint: int
    kind: Literal["answered", "limited", "failed", "refused", "unusable"]
    tokens: float = 0.0
    wait_s: float | None = None
    """What the endpoint said to wait (Retry-After, or until its limit resets)."""
    remaining_requests: float | None = None
    remaining_tokens: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a caller says of itself: calls open at each endpoint, money settled and reserved, news, and wants."""

    caller: str
    open: tuple[int, ...]
    settled_usd: float = 0.0
    reserved_usd: float = 0.0
    outcomes: tuple[Outcome, ...] = ()
    wants: tuple[Want, ...] = ()
    closing: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """The endpoints of the first wants that may start now; ask again after `wait_s`. `stop`: none may, and why."""

    endpoints: tuple[int, ...] = ()
    wait_s: float = 0.0
    stop: str = ""


@dataclass
class Bucket:
    """Fills by `rate` a second up to `capacity`; a want larger than that takes it below zero."""

    rate: float
    capacity: float
    level: float
    at: float

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much may be taken."""
        self.level = min(self.capacity, self.level + self.rate * max(0.0, now - self.at))
        self.at = max(self.at, now)
        return max(0.0, (min(amount, self.capacity) - self.level) / self.rate)

    def take(self, amount: float) -> None:
        """Take it (or give it back, when negative)."""
        self.level = min(self.capacity, self.level - amount)


@dataclass
class Window:
    """How many calls may be open: a little more after each round without trouble, less when many are turned away.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), once a round; a few 429s by chance change nothing.
    """

    most: int
    limit: float = field(init=False)
    _seen: int = 0
    _limited: int = 0
    _stale: int = 0
    _peak: int = 0

    def __post_init__(self) -> None:
        self.limit = float(self.most)

    def note(self, *, limited: bool, open_now: int) -> None:
        """Learn from one outcome; `open_now` calls are still open."""
        if self._stale > 0:
            # It was sent before the last decrease, and says nothing about what is right now.
            self._stale -= 1
            return
        self._seen += 1
        self._limited += limited
        self._peak = max(self._peak, open_now + 1)
        # A share is judged over some number of outcomes, or one 429 by chance would shrink a small window.
        judged = max(self.limit, _JUDGED)
        if self._limited > _LIMITED_SHARE * judged:
            # From the most that were really open: a window that was never full must shrink to where it binds.
            self.limit = max(1.0, min(self.limit, self._peak) * _DECREASE)
            self._seen = self._limited = self._peak = 0
            self._stale = open_now
        elif self._seen >= (judged if self._limited else self.limit):
            self.limit = min(self.most, self.limit + max(1.0, self.most * _INCREASE_SHARE))
            self._seen = self._limited = self._peak = 0


class Gate:
    """One endpoint: its buckets, its window, how long it is held, and whether it works."""

    def __init__(self, settings: LimitSettings, *, most: int, weight: float, now: float, full: bool) -> None:
        self.weight = weight
        self.unusable = ""
        self.window = Window(settings.calls_in_flight or most)
        self._requests = _bucket(settings.requests_per_minute, _REQUEST_BURST_S, now, full, least=1.0)
        self._tokens = _bucket(settings.tokens_per_minute, _TOKEN_BURST_S, now, full, least=1.0)
        self._held_until = now
        self._turned_away = 0
        # Of the late requests, by decaying weight; it starts where the first 429 holds everyone.
        self._limited_share = _LIMITED_SHARE
        self.failures = 0
        self._benched = 0
        self._down = False

    def wait(self, want: Want, *, open_now: int, now: float) -> float:
        """Seconds until this want may start here; infinite when only an answer can make room."""
        if self.unusable:
            return math.inf
        if open_now >= int(self.window.limit):
            return math.inf
        waits = [self._held_until - now]
        if self._requests is not None:
            waits.append(self._requests.wait(1, now))
        if self._tokens is not None:
            waits.append(self._tokens.wait(want.tokens, now))
        return max(0.0, *waits)

    def take(self, want: Want, now: float) -> None:
        """Start a want."""
        if self._down:
            # One at a time tries whether it is back, ever more seldom.
            self._benched += 1
            self._held_until = max(self._held_until, now + _grown(_BENCH_S, self._benched))
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(want.tokens)

    def note(self, outcome: Outcome, *, open_now: int, now: float) -> None:
        """Learn how a request ended."""
        if self._tokens is not None:
            self._tokens.take(outcome.tokens)
        if outcome.kind in ("answered", "refused"):
            if self._benched:
                self._held_until = now
            self.failures = self._turned_away = self._benched = 0
            self._down = False
        elif outcome.kind == "failed":
            self.failures += 1
            # Errors come at once and answers late: a few failures say nothing while many more calls are open.
            self._down = self._down or self.failures >= max(_BENCH_AFTER, open_now * _DOWN_SHARE)
        elif outcome.kind == "unusable":
            self.unusable = outcome.why
        limited = outcome.kind == "limited"
        self._limited_share += (limited - self._limited_share) / max(_FEW, self.window.limit)
        self.window.note(limited=limited, open_now=open_now)
        self._hold(outcome, now)
        self._correct(outcome)

    def _hold(self, outcome: Outcome, now: float) -> None:
        if outcome.kind == "limited" and outcome.wait_s is None and self._limited_share <= _LIMITED_SHARE:
            # A few of many, and no word of how long: who was turned away waits alone.
            return
        wait = outcome.wait_s
        if wait is None and outcome.kind == "limited":
            if now >= self._held_until:
                self._turned_away += 1
            wait = _grown(_HOLD_S, self._turned_away)
        if wait is None and outcome.kind == "failed" and self._down:
            wait = _grown(_BENCH_S, self._benched)
        if wait is not None:
            self._held_until = max(self._held_until, now + wait)

    def _correct(self, outcome: Outcome) -> None:
        # What the endpoint counts wins over what the recipe says, where it is less.
        if self._requests is not None and outcome.remaining_requests is not None:
            self._requests.level = min(self._requests.level, outcome.remaining_requests)
        if self._tokens is not None and outcome.remaining_tokens is not None:
            self._tokens.level = min(self._tokens.level, outcome.remaining_tokens)


class Limits:
    """Grants requests, tokens and money to all callers of one teacher."""

    def __init__(self, gates: Sequence[Gate], money: Money | None = None, *, grants_from: float = -math.inf) -> None:
        self.gates = list(gates)
        self.money = money
        self.stop = ""
        self._grants_from = grants_from
        self._open: dict[str, tuple[int, ...]] = {}
        self._waiting: dict[str, int] = {}
        self._heard: dict[str, float] = {}

    def exchange(self, asking: Asking, now: float) -> Granted:
        """Take in what a caller says, and grant what may start."""
        self._listen(asking, now)
        granted = self._answer(asking, now)
        self._waiting[asking.caller] = len(asking.wants) - len(granted.endpoints)
        if asking.closing:
            self._open.pop(asking.caller, None)
            self._waiting.pop(asking.caller, None)
        return granted

    def figures(self) -> dict[str, int]:
        """Requests that are open, that wait, and the most that may be open."""
        return {
            "requests_open": sum(map(self.open_at, range(len(self.gates)))),
            "requests_waiting": sum(self._waiting.values()),
            "requests_limit": sum(int(gate.window.limit) for gate in self.gates if not gate.unusable),
        }

    def _answer(self, asking: Asking, now: float) -> Granted:
        if asking.closing:
            return Granted()
        if self.stop:
            return Granted(stop=self.stop)
        if now < self._grants_from:
            # After a loss of this process: everyone must have said what is open before anyone gets more.
            return Granted(wait_s=self._grants_from - now)
        return self._grant(asking, now)

    def open_at(self, endpoint: int) -> int:
        """Calls open at an endpoint, over all callers."""
        return sum(those[endpoint] for those in self._open.values())

    def forget_silent(self, now: float) -> None:
        """Wait no longer for callers that say nothing: one that died has nothing open, and its money stays counted.

        Where several teachers' limits share their money, the others' silent callers would hold it up for ever.
        """
        for caller, heard in list(self._heard.items()):
            if now - heard > _SILENT_S:
                del self._heard[caller]
                self._open.pop(caller, None)
                self._waiting.pop(caller, None)
                if self.money is not None:
                    self.money.lose(caller)

    def _listen(self, asking: Asking, now: float) -> None:
        self._open[asking.caller] = asking.open
        self._heard[asking.caller] = now
        self.forget_silent(now)
        if self.money is not None:
            self.money.note(asking.caller, asking.settled_usd, asking.reserved_usd, closing=asking.closing)
        ended = Counter(outcome.endpoint for outcome in asking.outcomes)
        for outcome in asking.outcomes:
            # Those told of after this one were still open when it ended.
            ended[outcome.endpoint] -= 1
            open_now = self.open_at(outcome.endpoint) + ended[outcome.endpoint]
            self.gates[outcome.endpoint].note(outcome, open_now=open_now, now=now)
        if all(gate.unusable for gate in self.gates):
            self.stop = self.stop or self.gates[0].unusable

    def _grant(self, asking: Asking, now: float) -> Granted:
        mine = list(asking.open)
        granted: list[int] = []
        wait = 0.0
        for want in asking.wants:
            wait, at = self._best(want, now)
            if wait > 0:
                break
            if self.money is not None and not self.money.reserve(asking.caller, want.usd):
                self.stop = self.money.ceiling(want.usd) or ""
                wait = _LONGEST_WAIT_S
                break
            self.gates[at].take(want, now)
            granted.append(at)
            mine[at] += 1
            self._open[asking.caller] = tuple(mine)
        return Granted(tuple(granted), min(wait, _LONGEST_WAIT_S), "" if granted else self.stop)

    def _best(self, want: Want, now: float) -> tuple[float, int]:
        """The wait and the endpoint: of those that could start it now, the one with the least open by weight."""
        options = []
        for at, gate in enumerate(self.gates):
            open_now = self.open_at(at)
            # One that fails fast has little open: its failures count, or it would draw all the retries.
            busy = (open_now + gate.failures + 1) / gate.weight
            options.append((gate.wait(want, open_now=open_now, now=now), busy, at))
        wait, _, at = min(options)
        return wait, at


def _bucket(per_minute: float | None, burst_s: float, now: float, full: bool, *, least: float) -> Bucket | None:
    if per_minute is None:
        return None
    rate = per_minute / 60
    capacity = max(least, rate * burst_s)
    return Bucket(rate, capacity, capacity if full else 0.0, now)


def _grown(bounds: tuple[float, float], times: int) -> float:
    low, high = bounds
    return random.uniform(0.75, 1.25) * min(high, low * 2.0 ** min(times, 30))
