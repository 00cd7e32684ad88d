"""Live figures of a step: actors report what they did, the driver shows it."""

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cluster.placement import beside_driver
from cluster.session import is_terminal

_REPORT_S = 0.5
_LINE_EVERY_S = 10.0


@ray.remote(num_cpus=0)
class Board:
    """Adds up what all actors report. Only shown, never counted on: summaries come from the files."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, counts: Mapping[str, float]) -> None:
        """Add figures by name."""
        self._counts.update(counts)

    def set(self, figures: Mapping[str, float]) -> None:
        """Replace figures by name."""
        for name, figure in figures.items():
            self._counts[name] = figure  # type: ignore[assignment]

    def read(self) -> dict[str, float]:
        """All figures so far."""
        return dict(self._counts)


def warn(text: str) -> None:
    """Tell people of what went wrong and stops nothing."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Meter:
    """Collects an actor's figures and sends them to the board twice a second."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._counts: Counter[str] = Counter()
        self._sent = time.monotonic()

    def add(self, **counts: float) -> None:
        """Add figures by name."""
        self._counts.update(counts)
        if time.monotonic() - self._sent > _REPORT_S:
            self.flush()

    def flush(self) -> None:
        """Send what is not sent yet."""
        if self._counts:
            self._board.add.remote(dict(self._counts))
            self._counts.clear()
        self._sent = time.monotonic()


@contextlib.contextmanager
def watched(title: str, *, line: Callable[[Mapping[str, float], float], str]) -> Iterator[Any]:
    """A board for the length of the block, shown live on a terminal and as a line every 10 s elsewhere.

    `line` makes the text from the figures and the seconds since the start.
    """
    board = Board.options(scheduling_strategy=beside_driver()).remote()  # type: ignore[attr-defined]
    ended = threading.Event()
    show = threading.Thread(target=_show, args=(title, board, line, ended), daemon=True)
    show.start()
    try:
        yield board
    finally:
        ended.set()
        show.join(timeout=10)
        ray.kill(board)


@contextlib.contextmanager
def unseen() -> Iterator[Any]:
    """A board for the length of the block that is shown to nobody."""
    board = Board.options(scheduling_strategy=beside_driver()).remote()  # type: ignore[attr-defined]
    try:
        yield board
    finally:
        ray.kill(board)


def _show(title: str, board: Any, line: Callable[[Mapping[str, float], float], str], ended: threading.Event) -> None:
    started = time.monotonic()

    def text() -> str:
        return f"{title}: {line(ray.get(board.read.remote(), timeout=30), time.monotonic() - started)}"

    with contextlib.suppress(ray.exceptions.RayError):
        if is_terminal():
            console = Console(stderr=True)
            with Live(console=console, refresh_per_second=4) as live:
                while not ended.wait(0.5):
                    live.update(Text(text()))
                live.update(Text(text()))
            return
        while not ended.wait(_LINE_EVERY_S):
            print(text(), file=sys.stderr, flush=True)
        print(text(), file=sys.stderr, flush=True)
