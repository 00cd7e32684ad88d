"""What this command is doing right now: each step's figures, for its status file and for Ray's metrics."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.metrics import Exported
from cluster.session import dashboard_url, job_id
from pipeline.errors import Stop
from pipeline.store import Store

STATUS = "status.json"
_WRITE_S = 5.0

_run = ""
_now: dict[str, "Doing"] = {}
_changing = threading.Lock()


@dataclass
class Doing:
    """One step on its way."""

    step: str
    line: str = ""
    """The figures as people read them."""
    figures: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)

    def add(self, figures: Mapping[str, float]) -> None:
        """Add to figures by name, and export them: for what the driver itself counts."""
        for name, value in figures.items():
            self.figures[name] = self.figures.get(name, 0) + value
        self._exported.tell(self.figures)

    def __post_init__(self) -> None:
        self._exported = Exported(_run, self.step)

    def ended(self) -> None:
        """Nothing more comes."""
        self._exported.tell({"step_active": 0.0})


@contextlib.contextmanager
def doing(step: str, *, parts: int | None = None) -> Iterator[Doing]:
    """A step of this command for the length of the block; its name is without the run's."""
    mine = Doing(step.removeprefix(f"{_run}-"))
    if parts is not None:
        mine.add({"parts": parts, "parts_done": 0, "step_active": 1})
    with _changing:
        _now[mine.step] = mine
    try:
        yield mine
    finally:
        if parts is not None:
            mine.ended()
        with _changing:
            _now.pop(mine.step, None)


def told_rows(step: str, counts: Mapping[str, int]) -> None:
    """Export what became of a step's rows, by outcome, for a step that knows it only at its end."""
    with doing(step) as mine:
        mine.add({f"rows/{outcome}": count for outcome, count in counts.items()})


def told(step: str, figures: Mapping[str, Any]) -> None:
    """Put figures into the status of a step that is on its way; they are exported by others."""
    with _changing:
        if step in _now:
            _now[step].figures.update(figures)


@contextlib.contextmanager
def reported(store: Store, *, run: str, command: str) -> Iterator[None]:
    """Keep `status.json` in the run's folder for the length of the block: what jobs.status reads from anywhere."""
    global _run
    before, _run = _run, run
    ended = threading.Event()
    writing = threading.Thread(target=_write_on, args=(store, command, ended), daemon=True)
    writing.start()
    try:
        yield
    finally:
        ended.set()
        writing.join(timeout=30)
        _run = before


def _write_on(store: Store, command: str, ended: threading.Event) -> None:
    last = False
    while not last:
        last = ended.wait(_WRITE_S)
        with _changing:
            steps = [
                {"step": one.step, "line": one.line, "figures": dict(one.figures), "started": one.started}
                for one in _now.values()
            ]
        status = {"command": command, "at": time.time(), "job": job_id(), "dashboard": dashboard_url(), "steps": steps}
        # A full disk, or a store out of reach, is the work's to report; the status just grows old.
        with contextlib.suppress(Stop, OSError):
            store.write_json(STATUS, status)
