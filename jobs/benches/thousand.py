"""Toward 1,000 callers and 100 million traces: what of a run is kept by one process, at growing sizes.

What 1,000 callers ask of the limits' keeper is reckoned for thoughts of 330 s (20,000 tokens at 60 a second), 256 at
once in each caller: 776 calls/s, and two exchanges a call, one when it ends and one when its answer is written and the
next is wanted. What is measured at some sizes is printed; what comes of it at the full size is the last size times as
many, no more. Storage is a local disk: over a network every file costs tens of milliseconds instead of one.
"""

import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import ray

from cluster.asks import TeacherAt
from cluster.limits import keeper_of
from cluster.session import ClusterSettings, session
from jobs.benches.result import Result
from pipeline.endpoints import TeacherSettings
from pipeline.ledger import Entry, spent
from pipeline.limits import Asking, Outcome, Want
from pipeline.record import to_table
from pipeline.store import Store

_CALLERS, _IN_FLIGHT, _THOUGHT_S = (10, 100, 1000), 256, 330.0
_ASKED = 2 * _CALLERS[-1] * _IN_FLIGHT / _THOUGHT_S
_EXCHANGES, _AT_ONCE = 4000, 200
_FILES, _ALL_SHARDS = (1000, 10_000), 100_000
_PARTS = (500, 2000, 8000)
_START_S, _FLOW_S, _DRIVER_MIB = 600.0, 3600.0, 4096.0


def thousand() -> list[Result]:
    """The keeper of the limits, without and with a budget, the ledger's files at the start, and the stream of parts."""
    with tempfile.TemporaryDirectory() as folder, session(ClusterSettings(local_cpus=2, dashboard=False)):
        store = Store(folder)
        free, budget = (_exchanges(store, budget_usd) for budget_usd in (None, 1e9))
        rate, growth = _flow()
    start_s = _start()
    asked, shards = f"{_CALLERS[-1]:,} callers ask", f"{_ALL_SHARDS:,} shards"
    return [
        Result("thousand_limits", free, _ASKED, asked, "exchanges/s", free / _ASKED, goal=1.0),
        Result("thousand_budget", budget, _ASKED, asked, "exchanges/s", budget / _ASKED, goal=1.0),
        _at_most("thousand_start", start_s, _START_S, f"s, bill of {shards}"),
        _at_most("thousand_parts", _ALL_SHARDS / rate, _FLOW_S, f"s, {shards}"),
        _at_most("thousand_driver", growth * _ALL_SHARDS / 2**20, _DRIVER_MIB, f"MiB, {shards}"),
    ]


def _at_most(name: str, found: float, most: float, unit: str) -> Result:
    return Result(name, found, most, "the goal", unit, most / found, goal=1.0)


def _exchanges(store: Store, budget_usd: float | None) -> float:
    """Exchanges a second of one keeper that hears from the most callers in turn, one call ended and one wanted each."""
    found = 0.0
    for callers in _CALLERS:
        settings = TeacherSettings(
            model="none", base_url="http://127.0.0.1:9/v1", in_flight=_IN_FLIGHT, actors=callers, served_by="bench"
        )
        keeper = keeper_of(
            [TeacherAt(settings, settings.at(), budget_usd)], store, name=f"limits-{callers}-{budget_usd}"
        )
        try:
            found = _rate(keeper, callers)
        finally:
            ray.kill(keeper)
        print(f"{callers:,} callers, budget {budget_usd}: {found:,.0f} exchanges/s", flush=True)
    return found


def _asking(at: int, callers: int) -> Asking:
    name, turn = f"{at % callers:032x}", at // callers
    ended = (Outcome(0, "answered"),) if turn else ()
    return Asking(name, (_IN_FLIGHT - 1,), 0.004 * turn, 2.0, ended, (Want(1000.0, 0.01),))


def _rate(keeper: Any, callers: int) -> float:
    """Exchanges a second, from the second turn on."""
    started = 0.0
    for first in range(0, 2 * _EXCHANGES, _AT_ONCE):
        if first == _EXCHANGES:
            started = time.perf_counter()
        every = [_asking(first + at, callers) for at in range(_AT_ONCE)]
        ray.get([keeper.exchange.remote(asking, "teacher") for asking in every])
    return _EXCHANGES / (time.perf_counter() - started)


def _start() -> float:
    """Seconds in which the bill of the ledger is read when a run with a budget starts, for all shards."""
    found = 0.0
    for files in _FILES:
        with tempfile.TemporaryDirectory() as folder:
            _write_ledger(Store(folder), files)
            began = time.perf_counter()
            spent(Store(folder))
            found = (time.perf_counter() - began) / files
        print(f"{files:,} ledger files: {found * files:.2f} s, {found * 1e6:.0f} us each", flush=True)
    return found * _ALL_SHARDS


def _write_ledger(store: Store, files: int) -> None:
    for at in range(files):
        table = to_table([], Entry).replace_schema_metadata({b"longthought.cost_usd_by_caller": b'{"a":1.0}'})
        store.write_table(f"ledger/problems/shard-{at:06d}/0.parquet", table)


class _Pass:
    """A stage that does nothing, as the stages of the stream are."""

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """One part in, the same part out."""
        yield batch


def _flow() -> tuple[float, float]:
    """Parts a second through two stages that do nothing, and bytes of the driver a part, between the last two sizes."""
    seconds: list[float] = []
    resident: list[int] = []
    for parts in _PARTS:
        began = time.perf_counter()
        rows = ray.data.from_items([_part(at) for at in range(parts)], override_num_blocks=parts)
        made_s = time.perf_counter() - began
        for _ in range(2):
            pool = ray.data.ActorPoolStrategy(
                min_size=1, max_size=1, max_concurrent_calls_per_actor=8, max_tasks_in_flight_per_actor=8
            )
            rows = rows.map_batches(_Pass, batch_size=1, num_cpus=0.5, compute=pool)
        assert sum(1 for _ in rows.iter_rows()) == parts
        seconds.append(time.perf_counter() - began)
        resident.append(psutil.Process().memory_info().rss)
        made = f"{made_s:.1f} s of it until they are in the object store, {resident[-1] / 2**20:.0f} MiB in the driver"
        print(f"{parts:,} parts: {seconds[-1]:.1f} s, {made}", flush=True)
    more = _PARTS[-1] - _PARTS[-2]
    return more / (seconds[-1] - seconds[-2]), (resident[-1] - resident[-2]) / more


def _part(at: int) -> dict[str, str]:
    name = f"shard-{at:06d}"
    return {
        "problems": f"problems/{name}.parquet",
        "ledger": f"problems/{name}",
        "traces": f"traces/{name}.parquet",
        "stop": "",
        "unfinished": "",
    }
