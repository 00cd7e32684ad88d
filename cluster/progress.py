"""Live figures of a step: actors report what they did, the driver shows it."""

import contextlib
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ray
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cluster.doing import Doing, doing
from cluster.metrics import Exported
from cluster.placement import beside_driver
from cluster.session import is_terminal

_REPORT_S = 0.5
_EXPORT_S = 1.0
_LOOK_S = 2.0
_LINE_EVERY_S = 10.0
_SILENT_S = 30.0


@ray.remote(num_cpus=0)
class Board:
    """Adds up what all actors report, and exports it. Only shown, never counted on: summaries come from the files."""

    def __init__(self, run: str, step: str, parts: int | None = None) -> None:
        self._counts: Counter[str] = Counter() if parts is None else Counter(parts_done=0)
        self._now: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._exported = Exported(run, step)
        self._due = 0.0
        self.set({"step_active": 1} | ({} if parts is None else {"parts": parts}))

    def add(self, counts: Mapping[str, float]) -> None:
        """Add figures by name."""
        self._counts.update(counts)
        self._export()

    def set(self, figures: Mapping[str, Any], source: str = "") -> None:
        """Replace a source's figures of this moment by name; those of several sources are put together."""
        _, before = self._now.get(source, (0.0, {}))
        self._now[source] = (time.monotonic(), {**before, **figures})
        self._export()

    def read(self) -> dict[str, Any]:
        """All figures so far."""
        self._due = 0.0
        return self._export()

    def _export(self) -> dict[str, Any]:
        now = time.monotonic()
        if now < self._due:
            return {}
        self._due = now + _EXPORT_S
        # What an actor said last that is gone by now holds no more.
        live = [figures for source, (at, figures) in self._now.items() if not source or now - at < _SILENT_S]
        figures = {**self._counts, **together(live)}
        self._exported.tell(figures)
        return figures


def together(each: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of several sources as one: sums, but the largest of shares (`..._used`)."""
    figures: dict[str, Any] = {}
    for one in each:
        for name, value in one.items():
            if name not in figures:
                figures[name] = value
            else:
                figures[name] = max(figures[name], value) if name.endswith("_used") else figures[name] + value
    return figures


def warn(text: str) -> None:
    """Tell people of what went wrong and stops nothing."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Meter:
    """Collects an actor's figures and sends them to the board twice a second."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._source = uuid.uuid4().hex
        self._counts: Counter[str] = Counter()
        self._sent = time.monotonic()

    def add(self, counts: Mapping[str, float]) -> None:
        """Add figures by name."""
        self._counts.update(counts)
        if time.monotonic() - self._sent > _REPORT_S:
            self.flush()

    def set(self, figures: Mapping[str, float]) -> None:
        """Replace what this actor says of this moment; it must be said again within half a minute to hold."""
        self._board.set.remote(dict(figures), self._source)

    def flush(self) -> None:
        """Send what is not sent yet."""
        if self._counts:
            self._board.add.remote(dict(self._counts))
            self._counts.clear()
        self._sent = time.monotonic()


@contextlib.contextmanager
def watched(
    run: str, step: str, *, line: Callable[[Mapping[str, float], float], str], parts: int | None = None
) -> Iterator[Any]:
    """A board for the length of the block, shown live on a terminal and as a line every 10 s elsewhere.

    `line` makes the text from the figures and the seconds since the start.
    """
    with unseen(run, step, parts=parts) as board, doing(step) as mine:
        ended = threading.Event()
        show = threading.Thread(target=_show, args=(f"{run} {step}", board, line, ended, mine), daemon=True)
        show.start()
        try:
            yield board
        finally:
            ended.set()
            show.join(timeout=10)


@contextlib.contextmanager
def unseen(run: str, step: str, *, parts: int | None = None) -> Iterator[Any]:
    """A board for the length of the block that is shown to nobody here; its metrics are exported."""
    # A name is free again only a while after its actor's end.
    name = f"{run}-{step}-board-{uuid.uuid4().hex[:6]}".replace(" ", "-")
    on = {"name": name, "scheduling_strategy": beside_driver()}
    board = Board.options(**on).remote(run, step, parts)  # type: ignore[attr-defined]
    try:
        yield board
    finally:
        ray.kill(board)


def _show(
    title: str,
    board: Any,
    line: Callable[[Mapping[str, float], float], str],
    ended: threading.Event,
    mine: Doing,
) -> None:
    started = time.monotonic()

    def text() -> str:
        figures = ray.get(board.read.remote(), timeout=30)
        mine.figures.update(figures)
        mine.line = line(figures, time.monotonic() - started)
        return f"{title}: {mine.line}"

    with contextlib.suppress(ray.exceptions.RayError):
        if is_terminal():
            console = Console(stderr=True)
            with Live(console=console, refresh_per_second=4) as live:
                while not ended.wait(0.5):
                    live.update(Text(text()))
                live.update(Text(text()))
            return
        printed = time.monotonic()
        while not ended.wait(_LOOK_S):
            said = text()
            if time.monotonic() - printed >= _LINE_EVERY_S:
                printed = time.monotonic()
                print(said, file=sys.stderr, flush=True)
        print(text(), file=sys.stderr, flush=True)
