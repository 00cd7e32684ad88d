"""Distilling on a cluster of tests/real_nodes.py, and the traces that must come of it however its nodes come and go."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from plain import without_ray
from real_nodes import Nodes, until
from standin_lives import Teacher
from tiny import recipe, recorded, start, succeed

from pipeline.standin.settings import StandinSettings

DRAWS, IN_FLIGHT = 2, 4
_LATENCY_S = 1.0
_WAIT_S, _RUN_S = 240.0, 400.0


@dataclass(frozen=True)
class Wanted:
    """A curated run, the teacher that it asks, and the traces of a run without Ray."""

    recipe: Path
    teacher: Teacher
    traces: list[tuple[object, ...]]


@contextmanager
def wanted(folder: Path, *, problems: int, shards: int, callers: int) -> Iterator[Wanted]:
    """Recorded problems; one caller fills a node of one CPU but for the verifier."""
    source = recorded(folder / "problems.jsonl", problems=problems)
    teacher = Teacher(StandinSettings(answers="replay", path=str(source), replies=("replies.a", "replies.b")))
    asked = {"model": "recorded", "base_url": teacher.base_url, "served_by": "recorded answers"}
    path = recipe(
        folder,
        source,
        shards=shards,
        teacher=asked | {"in_flight": IN_FLIGHT, "actors": callers},
        stream={"caller_cpus": 0.75, "verifier_cpus": 0.25},
    )
    succeed("curate", path)
    teacher.start()
    try:
        traces = without_ray(path, folder, teacher.base_url)
        assert len(traces) == problems * DRAWS
        yield Wanted(path, teacher, traces)
    finally:
        if teacher.serves:
            teacher.kill()


class Distilling:
    """A distill command that runs for as long as the block, into a copy of the curated run."""

    def __init__(self, wanted: Wanted, nodes: Nodes, folder: Path) -> None:
        shutil.copytree(wanted.recipe.parent / "runs", folder / "runs")
        wanted.teacher.restart(latency_s=_LATENCY_S)
        there = (f"storage={folder / 'runs'}", f"cluster.address={nodes.gcs}")
        self._process: subprocess.Popen[str] = start("distill", wanted.recipe, *there, **nodes.environment)
        self._began = time.monotonic()

    def __enter__(self) -> "Distilling":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def until(self, there: Callable[[], bool], what: str) -> float:
        """Wait for something while it runs; returns the seconds since it began."""
        until(lambda: there() or self._process.poll() is not None, seconds=_WAIT_S, what=what)
        assert self._process.poll() is None, f"it ended before {what}: {self._process.communicate()}"
        return time.monotonic() - self._began

    def ended(self) -> float:
        """Wait until it ends, which must be well; returns the seconds since it began."""
        out, err = self._process.communicate(timeout=_RUN_S)
        assert self._process.returncode == 0, out[-2000:] + err[-4000:]
        return time.monotonic() - self._began


def callers(*raylets: psutil.Process) -> int:
    """Callers of a teacher that run on these nodes."""
    processes = [each for raylet in raylets for each in raylet.children(recursive=True)]
    return sum("MapBatches(Generate)" in _command(each) for each in processes)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
