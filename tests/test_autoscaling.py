"""Distilling on a cluster that grows and shrinks with the work: the same traces, and each of them bought once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from distilled import Distilling, Wanted, callers, wanted
from plain import content
from real_nodes import Nodes, autoscaled, until

pytestmark = pytest.mark.ray

_CALLERS = 4
_DOWN_S = 60.0


@pytest.fixture
def unbroken(tmp_path: Path) -> Iterator[Wanted]:
    """What is to be distilled: as many callers as there may be nodes."""
    folder = tmp_path / "unbroken"
    folder.mkdir()
    with wanted(folder, problems=320, shards=16, callers=_CALLERS) as made:
        yield made


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """One node of one CPU, and up to three more."""
    with autoscaled(_CALLERS, least=1) as made:
        until(lambda: made.workers == 1, seconds=60, what="the first node")
        yield made


def test_distilling_brings_nodes_and_gives_them_back(unbroken: Wanted, nodes: Nodes, tmp_path: Path) -> None:
    with Distilling(unbroken, nodes, tmp_path) as run:
        up = run.until(lambda: nodes.workers == _CALLERS, "all nodes")
        at_work = run.until(lambda: all(callers(each) == 1 for each in nodes.raylets()[1:]), "a caller on each")
        held = run.ended()
    down = until(lambda: nodes.workers == 1, seconds=_DOWN_S, what="one node again")
    print(f"1 -> {_CALLERS} nodes in {up:.0f} s, a caller on each in {at_work:.0f} s")
    print(f"the run {held:.0f} s, back to 1 in {down:.0f} s after it")
    assert content(tmp_path) == unbroken.traces
    assert unbroken.teacher.billed["requests"] == len(unbroken.traces)
