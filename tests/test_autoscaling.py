"""Distilling on a cluster that grows and shrinks with the work, and one that loses a node: the same traces."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from plain import content, without_ray
from real_nodes import Nodes, autoscaled, until
from standin_lives import Teacher
from tiny import recipe, recorded, start, succeed

from pipeline.standin.settings import StandinSettings

pytestmark = [pytest.mark.ray, pytest.mark.beside]

_PROBLEMS, _DRAWS, _SHARDS = 320, 2, 16
_CALLERS, _IN_FLIGHT, _LATENCY_S = 4, 4, 1.0
_IDLE_S = 5.0
_UP_S, _DOWN_S, _RUN_S = 240.0, 60.0, 400.0


@dataclass(frozen=True)
class Wanted:
    """A curated run, the teacher that it asks, and the traces that must come of it."""

    recipe: Path
    teacher: Teacher
    traces: list[tuple[object, ...]]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wanted]:
    """The run without Ray; one caller fills a node but for the verifier, so as many callers are as many nodes."""
    folder = tmp_path_factory.mktemp("wanted")
    problems = recorded(folder / "problems.jsonl", problems=_PROBLEMS)
    teacher = Teacher(StandinSettings(answers="replay", path=str(problems), replies=("replies.a", "replies.b")))
    path = recipe(
        folder,
        problems,
        shards=_SHARDS,
        teacher={
            "model": "recorded",
            "base_url": teacher.base_url,
            "served_by": "recorded answers",
            "in_flight": _IN_FLIGHT,
            "actors": _CALLERS,
        },
        stream={"caller_cpus": 0.75, "verifier_cpus": 0.25},
    )
    succeed("curate", path)
    teacher.start()
    try:
        traces = without_ray(path, folder, teacher.base_url)
        assert len(traces) == _PROBLEMS * _DRAWS
        yield Wanted(path, teacher, traces)
    finally:
        if teacher.serves:
            teacher.kill()


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """One node of one CPU, and up to three more."""
    with autoscaled(_CALLERS, least=1, idle_s=_IDLE_S) as made:
        until(lambda: _workers(made) == 1, seconds=60, what="the first node")
        yield made


def test_distilling_brings_nodes_and_gives_them_back(wanted: Wanted, nodes: Nodes, tmp_path: Path) -> None:
    with _distilling(wanted, nodes, tmp_path) as run:
        up = run.until(lambda: _workers(nodes) == _CALLERS, "all nodes")
        held = run.ended()
    down = until(lambda: _workers(nodes) == 1, seconds=_DOWN_S, what="one node again")
    print(f"1 -> {_CALLERS} nodes in {up:.0f} s, the run {held:.0f} s, back to 1 in {down:.0f} s after it")
    assert content(tmp_path) == wanted.traces
    assert wanted.teacher.billed["requests"] == len(wanted.traces)


class _Run:
    """A distill command that runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._began = time.monotonic()

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def until(self, there, what: str) -> float:
        """Wait for something while it runs; returns the seconds since it began."""
        until(lambda: there() or self._process.poll() is not None, seconds=_UP_S, what=what)
        assert self._process.poll() is None, f"it ended before {what}: {self._process.communicate()}"
        return time.monotonic() - self._began

    def ended(self) -> float:
        """Wait until it ends, which must be well; returns the seconds since it began."""
        out, err = self._process.communicate(timeout=_RUN_S)
        assert self._process.returncode == 0, out[-2000:] + err[-4000:]
        return time.monotonic() - self._began


def _distilling(wanted: Wanted, nodes: Nodes, folder: Path) -> _Run:
    shutil.copytree(wanted.recipe.parent / "runs", folder / "runs")
    wanted.teacher.restart(latency_s=_LATENCY_S)
    there = (f"storage={folder / 'runs'}", f"cluster.address={nodes.gcs}")
    return _Run(start("distill", wanted.recipe, *there, **nodes.environment))


def _workers(nodes: Nodes) -> int:
    return len(nodes.raylets()) - 1
