"""Calls through an API's troubles: the time they take, what is lost and asked too often; two callers under one limit.

The errors come at once and each 429 names a time to wait, as rate limiters do; the limits hold all calls that long.
The two callers are Ray actors with one keeper of the limits, as in a run.
"""

import asyncio
import heapq
import random
import tempfile
from typing import Any

import ray

from cluster.asks import TeacherAt
from cluster.limits import RayOffice, keeper_of
from cluster.progress import unseen
from cluster.session import ClusterSettings, session
from cluster.standin import standin
from jobs.benches.buying import Bought, bare, bought, calls_of, ours, warm_up
from jobs.benches.result import Result
from jobs.benches.stats import stats
from pipeline.endpoints import TeacherSettings
from pipeline.leases import Leases
from pipeline.limits import LimitSettings
from pipeline.standin.settings import StandinSettings
from pipeline.store import Store
from pipeline.teacher import Teacher, places_of

_CALLS, _IN_FLIGHT = 2000, 256
_TROUBLED = StandinSettings(latency_s=1.0, share_429=0.05, share_500=0.05)
_IDEAL_S = 8.0
_MOST_S = 11.0
_PER_MINUTE, _SLACK = 3000, 1.05
_LIMITED_CALLS = 3400


def errors() -> list[Result]:
    """Two thousand calls, a tenth of the requests failing; then more calls than a minute's limit, from two callers."""
    warm_up()
    with standin(_TROUBLED, host="127.0.0.1") as base_url:
        settings = TeacherSettings(model="stand-in", base_url=base_url, in_flight=_IN_FLIGHT)
        made = asyncio.run(ours(settings, calls_of(_CALLS)))
        seen = stats(base_url)["requests"]
    with standin(_TROUBLED, host="127.0.0.1") as base_url:
        peer = asyncio.run(bare(base_url, _CALLS, in_flight=_IN_FLIGHT))
    failed = sum(count for status, count in seen.items() if status != "200")
    extra = made.requests - _CALLS
    goal, allowed = _IDEAL_S / _MOST_S, _allowed_s()
    return [
        Result("errors", made.seconds, _IDEAL_S, "no errors at all", "s", _IDEAL_S / made.seconds, goal),
        Result("errors_allowed", made.seconds, allowed, "what the same errors allow", "s", allowed / made.seconds, 0.7),
        Result("errors_bare", made.seconds, peer.seconds, "a bare aiohttp loop", "s", peer.seconds / made.seconds, 0.8),
        Result("errors_lost", made.answers, _CALLS, "calls", "answers", made.answers / _CALLS, goal=1.0),
        Result("errors_extra", extra, failed, "errors", "extra requests", failed / max(1, extra), goal=1.0),
        _limited(),
    ]


def _allowed_s() -> float:
    """Seconds of a client that wastes none: it asks again at once after a 500 and when Retry-After says after a 429.

    The stand-in draws its errors by request number, so they are the same for every client.
    """
    starts = [0.0] * _IN_FLIGHT
    left, number, ended = _CALLS - _IN_FLIGHT, 0, 0.0
    while starts:
        start = heapq.heappop(starts)
        number += 1
        drawn = random.Random(number).random()
        if drawn < _TROUBLED.share_429:
            heapq.heappush(starts, start + _TROUBLED.retry_after_s)
        elif drawn < _TROUBLED.share_429 + _TROUBLED.share_500:
            heapq.heappush(starts, start)
        else:
            done = start + _TROUBLED.latency_s
            ended = max(ended, done)
            if left:
                left -= 1
                heapq.heappush(starts, done)
    return ended


def _limited() -> Result:
    """The most requests that the stand-in sees in any minute."""
    with (
        standin(StandinSettings(latency_s=0.5), host="127.0.0.1") as base_url,
        tempfile.TemporaryDirectory() as folder,
        session(ClusterSettings(local_cpus=2, dashboard=False)),
        unseen("bench", "limits") as board,
    ):
        limits = LimitSettings(requests_per_minute=_PER_MINUTE)
        settings = TeacherSettings(model="stand-in", base_url=base_url, limits=limits, actors=2)
        teacher = TeacherAt(settings, settings.at(), None)
        keeper = keeper_of([teacher], Store(folder), board, name="bench-limits")
        calls = calls_of(_LIMITED_CALLS)
        halves = [Caller.remote(teacher, keeper, half) for half in (calls[::2], calls[1::2])]  # type: ignore[attr-defined]
        made: list[Bought] = ray.get([caller.buy.remote() for caller in halves])
        assert sum(each.answers for each in made) == _LIMITED_CALLS, "calls were lost"
        most = stats(base_url)["most_per_minute"]
    allowed = _PER_MINUTE * _SLACK
    return Result("errors_limit", most, allowed, "the limit and 5 %", "requests in a minute", allowed / most, goal=1.0)


@ray.remote(num_cpus=0.5)
class Caller:
    """Buys its calls under limits that it shares."""

    def __init__(self, teacher: TeacherAt, keeper: Any, calls: list[Any]) -> None:
        self._teacher = teacher
        self._keeper = keeper
        self._calls = calls

    async def buy(self) -> Bought:
        """What its calls came to."""
        at = self._teacher
        leases = Leases(RayOffice(self._keeper, at.name), len(at.endpoints))
        async with Teacher(at.settings, places_of(at.endpoints, at.settings, [None]), leases) as teacher:
            return await bought(teacher, self._calls)
