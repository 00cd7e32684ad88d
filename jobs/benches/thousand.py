"""Toward 1,000 callers and 100 million traces: what of a run is kept by one process, at growing sizes.

What 1,000 callers ask of the limits' keeper is reckoned for thoughts of 330 s (20,000 tokens at 60 a second), 256 at
once in each caller: 776 calls/s, and two exchanges a call, one when it ends and one when its answer is written and the
next is wanted. What is measured at some sizes is printed; what comes of it at the full size is the last size times as
many, no more. Storage is a local disk: over a network every file costs tens of milliseconds instead of one.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import ray

from cluster.asks import Part, TeacherAt
from cluster.limits import keeper_of
from cluster.session import ClusterSettings, session
from jobs.benches.result import Result
from pipeline.endpoints import TeacherSettings
from pipeline.ledger import spent
from pipeline.limits import Asking, Outcome, Want
from pipeline.store import Store

_CALLERS, _IN_FLIGHT, _THOUGHT_S = (10, 100, 1000), 256, 330.0
_ASKED = 2 * _CALLERS[-1] * _IN_FLIGHT / _THOUGHT_S
_EXCHANGES, _AT_ONCE = 4000, 200
_FILES, _ALL_SHARDS = (1000, 10_000), 100_000
_PARTS = (500, 2000, 8000)
_START_S, _FLOW_S, _GROWTH_BYTES = 600.0, 3600.0, 4 << 30


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
        Result("thousand_start", start_s, _START_S, "the goal", f"s, bill of {shards}", _START_S / start_s, goal=1.0),
        Result("thousand_parts", _ALL_SHARDS / rate, _FLOW_S, "the goal", f"s, {shards}", _FLOW_S * rate / _ALL_SHARDS, goal=1.0),
        Result("thousand_driver", growth * _ALL_SHARDS / 2**20, _GROWTH_BYTES / 2**20, "the goal", f"MiB, {shards}", _GROWTH_BYTES / (growth * _ALL_SHARDS), goal=1.0),
    ]


def _exchanges(store: Store, budget_usd: float | None) -> float:
    """Exchanges a second of one keeper that hears from the most callers in turn, one call ended and one wanted each."""
    found = 0.0
    for callers in _CALLERS:
        settings = TeacherSettings(
            model="none", base_url="http://127.0.0.1:9/v1", in_flight=_IN_FLIGHT, actors=callers, served_by="bench"
        )
        keeper = keeper_of([TeacherAt(settings, settings.at(), budget_usd)], store, name=f"limits-{callers}-{budget_usd}")
        try:
            found = _rate(lambda at: keeper.exchange.remote(_asking(at, callers), "teacher"))
        finally:
            ray.kill(keeper)
        print(f"{callers:,} callers, budget {budget_usd}: {found:,.0f} exchanges/s", flush=True)
    return found


def _asking(at: int, callers: int) -> Asking:
    name, turn = f"{at % callers:032x}", at // callers
    ended = (Outcome(0, "answered"),) if turn else ()
    return Asking(name, (_IN_FLIGHT - 1,), 0.004 * turn, 2.0, ended, (Want(1000.0, 0.01),))


def _rate(ask: Callable[[int], Any]) -> float:
    """Exchanges a second, from the second turn on."""
    started = 0.0
    for first in range(0, 2 * _EXCHANGES, _AT_ONCE):
        if first == _EXCHANGES:
            started = time.perf_counter()
        ray.get([ask(first + at) for at in range(_AT_ONCE)])
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
    from pipeline.ledger import Entry
    from pipeline.record import to_table

    for at in range(files):
        table = to_table([], Entry).replace_schema_metadata({b"longthought.cost_usd_by_caller": b'{"a":1.0}'})
        store.write_table(f"ledger/problems/shard-{at:06d}/0.parquet", table)
