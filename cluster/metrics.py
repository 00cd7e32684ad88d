"""The figures of a run as Ray's metrics: what Prometheus scrapes, Grafana draws and alerts watch.

A figure's name is its metric's and, after strokes, the values of its labels: `rows/correct`, `requests/teacher/failed`.
Prometheus sees it as `ray_longthought_rows_total{run, step, outcome="correct"}`. The metrics of engines and of training
are in cluster/vllm_stats.py and cluster/training/trackers.py.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from weakref import WeakSet

from ray.util.metrics import Counter, Gauge

_PREFIX = "longthought_"
# Ray forgets a gauge that is not set for two of its intervals (of 10 s by default).
_REPEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure is: a counter only rises, a gauge is of this moment."""

    kind: Literal["counter", "gauge"]
    about: str
    labels: tuple[str, ...] = ()
    """Its labels beside `run` and `step`."""


METRICS = {
    "calls": Metric("counter", "Calls: bought, reused from the ledger, or sent once more (retried)", ("outcome",)),
    "tokens": Metric("counter", "Tokens of the answers that were bought", ("kind",)),
    "cost_usd": Metric("counter", "What was bought, USD, with the most that unsure requests can have cost"),
    "rows": Metric("counter", "Rows by what became of them: a verdict, kept, chosen, or why not", ("outcome",)),
    "verifier_kills": Metric("counter", "Rows that a judging process was killed for: their verdict is undecided"),
    "parts": Metric("gauge", "Parts (shards, slices) of the step"),
    "parts_done": Metric("gauge", "Those of them that are done"),
    "step_active": Metric("gauge", "1 while the step runs"),
    "requests": Metric("counter", "Requests to a teacher by how they ended; limited is 429", ("teacher", "outcome")),
    "requests_open": Metric("gauge", "Requests that are open at a teacher", ("teacher",)),
    "requests_waiting": Metric("gauge", "Requests that wait for a teacher's limits or for money", ("teacher",)),
    "requests_limit": Metric("gauge", "The most requests that may be open at a teacher; less after 429s", ("teacher",)),
    "budget_usd": Metric("gauge", "The run's ceiling on money, what is settled of it and what is reserved", ("kind",)),
}


class Exported:
    """The figures of one step of a run, exported by the process that makes it."""

    def __init__(self, run: str, step: str) -> None:
        self._tags = {"run": run, "step": step}
        self._told: dict[str, float] = {}
        _exported.add(self)
        _repeating()

    def tell(self, figures: Mapping[str, Any]) -> None:
        """Pass on what the figures are now; names that are no metric's are for people alone."""
        for name, value in figures.items():
            metric, *labels = name.split("/")
            if metric in METRICS and value != self._told.get(name):
                self._pass_on(metric, dict(zip(METRICS[metric].labels, labels, strict=True)), name, float(value))

    def repeat(self) -> None:
        """Set the gauges again."""
        for name, value in list(self._told.items()):
            metric, *labels = name.split("/")
            if METRICS[metric].kind == "gauge":
                self._pass_on(metric, dict(zip(METRICS[metric].labels, labels, strict=True)), name, value)

    def _pass_on(self, metric: str, labels: dict[str, str], name: str, value: float) -> None:
        made, tags = _made(metric), self._tags | labels
        if isinstance(made, Gauge):
            made.set(value, tags=tags)
        elif (more := value - self._told.get(name, 0.0)) > 0:
            made.inc(more, tags=tags)
        self._told[name] = value


@cache
def _made(name: str) -> Counter | Gauge:
    metric = METRICS[name]
    kind = Counter if metric.kind == "counter" else Gauge
    return kind(_PREFIX + name, description=metric.about, tag_keys=("run", "step", *metric.labels))


_exported: "WeakSet[Exported]" = WeakSet()


@cache
def _repeating() -> None:
    def repeat() -> None:
        while True:
            time.sleep(_REPEAT_S)
            for one in list(_exported):
                one.repeat()

    threading.Thread(target=repeat, name="metrics", daemon=True).start()
