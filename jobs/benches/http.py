"""Calls over HTTP: against what the latencies allow, against a bare aiohttp loop, and against ray.data.llm's processor.

The latencies come from the stand-in; calls without latency go to the canned server, as the stand-in would be slower
than either side. On two cores the server, the loop and the ledger's writer share them, so one caller is all that fits.
"""

import asyncio
import heapq
import time
from collections.abc import Sequence
from typing import Any

import ray

from cluster.session import ClusterSettings, session
from cluster.standin import standin
from jobs.benches.buying import QUESTION, bare, calls_of, ours, warm_up
from jobs.benches.canned import canned
from jobs.benches.result import Result
from jobs.benches.stats import reset_stats, stats
from pipeline.collector import look_seldom
from pipeline.endpoints import TeacherSettings
from pipeline.ledger import Call
from pipeline.standin.latency import latency
from pipeline.standin.settings import StandinSettings

_IN_FLIGHT = 256
_CALLS, _QUICK_CALLS, _ROUNDS = 2000, 4000, 3
_RAY_CALLS, _RAY_BATCH = 48, 4
_LATENCY = StandinSettings(latency_s=2.0, latency_sigma=0.5)


def http() -> list[Result]:
    """What a caller makes of slow answers and of quick ones."""
    calls = calls_of(_CALLS)
    warm_up()
    with standin(_LATENCY, host="127.0.0.1") as base_url:
        settings = TeacherSettings(model="stand-in", base_url=base_url, in_flight=_IN_FLIGHT)
        bought = asyncio.run(ours(settings, calls))
        assert bought.answers == _CALLS, "calls were lost"
        ray_rate = _ray_rate(base_url)
    ideal = _ideal(calls)
    rate = _CALLS / bought.seconds
    return [
        Result("http", bought.seconds, ideal, "what the latencies allow", "s", ideal / bought.seconds, goal=0.95),
        _quick(),
        Result("http_ray", rate, ray_rate, "ray.data.llm's HTTP processor", "calls/s", rate / ray_rate, goal=10.0),
    ]


def _ideal(calls: Sequence[Call]) -> float:
    """Seconds of the greedy schedule: each call starts in the slot that is free first."""
    slots = [0.0] * _IN_FLIGHT
    for call in calls:
        heapq.heapreplace(slots, slots[0] + latency(_LATENCY, QUESTION, call.seed))
    return max(slots)


def _quick() -> Result:
    """Calls a second of one caller with no latency, the better of a few rounds on each side."""
    calls = calls_of(_QUICK_CALLS)
    ours_s, bare_s = [], []
    # As the calling actor does; the bare loop is the faster for it too.
    look_seldom()
    with canned() as base_url:
        settings = TeacherSettings(model="stand-in", base_url=base_url, in_flight=_IN_FLIGHT, stream=False)
        asyncio.run(ours(settings, calls[:100]))
        for _ in range(_ROUNDS):
            ours_s.append(asyncio.run(ours(settings, calls)).seconds)
            bare_s.append(asyncio.run(bare(base_url, _QUICK_CALLS, in_flight=_IN_FLIGHT)).seconds)
    rate, peer = _QUICK_CALLS / min(ours_s), _QUICK_CALLS / min(bare_s)
    return Result("http_quick", rate, peer, "a bare aiohttp loop", "calls/s", rate / peer, goal=0.5)


def _ray_rate(base_url: str) -> float:
    """Calls a second of one actor of ray.data.llm, from its first request on: starting the actor is left out.

    Small batches are its best: within a batch it waits for one answer after the other.
    """
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    config = HttpRequestProcessorConfig(
        url=f"{base_url}/chat/completions", batch_size=_RAY_BATCH, concurrency=1, max_retries=3
    )
    reset_at = reset_stats(base_url)
    with session(ClusterSettings(local_cpus=4, dashboard=False)):
        processor = build_processor(config, preprocess=_payload, postprocess=_reply)
        rows = ray.data.from_items([{"draw": draw} for draw in range(_RAY_CALLS)], override_num_blocks=3)
        answered = processor(rows).take_all()
        ended = time.monotonic()
    assert len(answered) == _RAY_CALLS, "ray.data.llm lost calls"
    return _RAY_CALLS / (ended - _first_arrival(base_url, reset_at))


def _payload(row: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": QUESTION}]
    return {"payload": {"model": "stand-in", "messages": messages, "seed": int(row["draw"])}}


def _reply(row: dict[str, Any]) -> dict[str, Any]:
    return {"reply": row["http_response"]["choices"][0]["message"]["content"]}


def _first_arrival(base_url: str, reset_at: float) -> float:
    """When the first request came since the counts were reset, on time.monotonic, to a tenth of a second."""
    return reset_at + next(at for at, count in enumerate(stats(base_url)["arrivals"]) if count) / 10
