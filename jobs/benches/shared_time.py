"""Sides of a benchmark in turns: one runs while all others are stopped, so that what else the machine does hits all.

A side is a command that appends a line to a file at the end of each step: time.monotonic(), the tokens of the step, its
loss, the most memory so far, and its FLOPs. Its first steps, start-up included, are left out. Then each side runs for
some seconds at a time, in an order that turns round; it is stopped with all its children (SIGSTOP), and a step counts
the seconds in which its side ran.
"""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

_POLL_S = 0.05
_START_S = 600.0
_KILL_S = 10.0


class Line(NamedTuple):
    """A line of a side's file."""

    end: float
    tokens: float
    loss: float
    memory: float
    flops: float


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step of a side."""

    seconds: float
    tokens: float
    loss: float
    memory: float
    """The most that the side had so far, bytes."""
    flops: float
    """What the step takes, 0 where that is not known."""


@dataclass(slots=True)
class _Side:
    """A side's process, its file of steps, and the spans in which it ran (time.monotonic)."""

    name: str
    process: subprocess.Popen[bytes]
    file: Path
    log: Path
    ran: list[tuple[float, float]] = field(default_factory=list)
    since: float | None = None

    def lines(self) -> list[Line]:
        """What it wrote of each step so far."""
        text = self.file.read_text() if self.file.exists() else ""
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [Line(*map(float, line.split())) for line in whole]

    def go(self) -> None:
        self._signal(signal.SIGCONT)
        self.since = time.monotonic()

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)
        assert self.since is not None
        self.ran.append((self.since, time.monotonic()))
        self.since = None

    def end(self) -> None:
        """Kill it and all its children."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(_KILL_S)

    def check(self) -> None:
        """Raise RuntimeError when it is over."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the {self.name} side of the benchmark ended:\n{self.log.read_text()[-3000:]}")

    def _signal(self, number: signal.Signals) -> None:
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _tree(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def measured(
    commands: Mapping[str, Sequence[str]],
    *,
    folder: Path,
    warm_up: int,
    turn_s: float,
    turns: int,
) -> dict[str, list[Stepped]]:
    """The steps of each side after its first `warm_up`, over `turns` turns each of at least `turn_s` and one step.

    A command gets the path of its file of steps as its last argument.
    """
    sides: list[_Side] = []
    try:
        for name, command in commands.items():
            sides.append(_started(name, command, folder, warm_up))
        for turn in range(turns):
            for side in sides if turn % 2 == 0 else sides[::-1]:
                _turn(side, turn_s)
        return {side.name: steps(side.lines(), side.ran)[warm_up:] for side in sides}
    finally:
        for side in sides:
            side.end()


def rate(steps_: Sequence[Stepped]) -> float:
    """Tokens a second over all steps."""
    return sum(step.tokens for step in steps_) / sum(step.seconds for step in steps_)


def steps(lines: Sequence[Line], ran: Sequence[tuple[float, float]]) -> list[Stepped]:
    """Each step with the seconds in which its side ran between the end of the one before and its own."""
    found, before = [], ran[0][0]
    for line in lines:
        seconds = sum(max(0.0, min(line.end, stop) - max(before, start)) for start, stop in ran)
        found.append(Stepped(seconds, line.tokens, line.loss, line.memory, line.flops))
        before = line.end
    return found


def _started(name: str, command: Sequence[str], folder: Path, warm_up: int) -> _Side:
    """A side that has done its first steps and is stopped."""
    file, log = folder / f"{name}.steps", folder / f"{name}.log"
    file.unlink(missing_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen([*command, str(file)], stdout=out, stderr=subprocess.STDOUT)
    side = _Side(name, process, file, log)
    side.since = time.monotonic()
    try:
        for _ in _waiting(side, _START_S):
            if len(side.lines()) >= warm_up:
                break
        side.stop()
    except BaseException:
        side.end()
        raise
    return side


def _turn(side: _Side, least_s: float) -> None:
    done = len(side.lines())
    side.go()
    started = time.monotonic()
    for _ in _waiting(side, _START_S):
        if time.monotonic() - started >= least_s and len(side.lines()) > done:
            break
    side.stop()


def _waiting(side: _Side, most_s: float) -> Iterator[None]:
    until = time.monotonic() + most_s
    while time.monotonic() < until:
        side.check()
        yield
        time.sleep(_POLL_S)
    raise RuntimeError(f"the {side.name} side of the benchmark made no step in {most_s:.0f} s")
